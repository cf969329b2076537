"""One annotation in, one `Hint` out: the type without our markers, and what the markers say.

Knows typing and jaxtyping; knows nothing of functions, plans or values. Every contradiction that
one annotation can hold is refused here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Generator, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import jax
import typing_extensions

from typedfilter._reading.dims import is_readable, meant_by
from typedfilter._reading.forms import arguments_of, is_unpacked, qualifiers_of
from typedfilter._reading.kinds import ANYTHING, Array, Kind, kind_of
from typedfilter._reading.markers import BARE_DTYPE, PLACES, Metadata, Reader
from typedfilter._reading.names import Scope, annotations_of, meant
from typedfilter._reading.roles import Differentiable, Role, RoleTable, differentiable_if_traced, never_traced
from typedfilter._reading.text import show
from typedfilter._reading.within import Placed
from typedfilter.annotations import (
    MARKER_NAMES,
    AxisSpec,
    DiffMarker,
    DonateMarker,
    NoDiffMarker,
    ScanSpec,
    StaticMarker,
    TracedMarker,
)
from typedfilter.errors import AnnotationError


@dataclasses.dataclass(frozen=True)
class Hint:
    """What one annotation says."""

    annotation: Any  # as written (evaluated where possible), markers included: for messages
    kind: Kind = dataclasses.field(compare=False)  # the type without markers; `Any` where it is unknown
    role: Role = Role.AUTO
    why: str = "not annotated"  # for explain: 'annotated Static[int]', 'not annotated', 'name `X` not found'
    differentiable: Differentiable = Differentiable.BY_DTYPE
    donate: bool = False
    static_marker: bool = False  # Static[...] was written (and not only implied by `int`)
    axis: AxisSpec | None = None  # where VmapAxis was written
    axes: tuple[tuple[int, AxisSpec], ...] = ()  # likewise, on elements of a tuple that is returned
    scan: ScanSpec | None = None  # where ScanAxis was written
    diff: bool | None = None  # True: Diff, False: NoDiff
    sharding: Any = None  # a PartitionSpec, a Sharding, a Format or a device; or those of parts: see `within`
    unresolved: tuple[str, ...] = ()  # names that could not be found (yet)
    opaque: tuple[str, ...] = ()  # those of them behind which a marker may hide

    @property
    def type(self) -> Any:
        """The type as typing writes it, markers removed at every depth."""
        return self.kind.hint

    @property
    def is_open(self) -> bool:
        """Whether the annotation leaves to the class of an argument what of it are arrays."""
        return self.role is Role.AUTO or (self.role is Role.TRACED and role_of(self.kind) is Role.AUTO)

    @property
    def annotated(self) -> bool:
        """Whether there is an annotation at all."""
        return self.annotation is not inspect.Parameter.empty

    @property
    def marked(self) -> bool:
        """Whether any marker of ours was written."""
        others = (self.axis, self.scan, self.diff, self.sharding, self.axes or None)
        traced = self.role is Role.TRACED
        return self.donate or self.static_marker or traced or any(fact is not None for fact in others)


UNANNOTATED = Hint(inspect.Parameter.empty, ANYTHING)


def parse(annotation: Any, scope: Scope | None = None, *, returned: bool = False) -> Hint:
    """Read one annotation; names in strings are looked up in `scope`.

    Of a tuple that is `returned`, each element may say where the mapped axis goes; of a pair, the second
    along which axis it is stacked.

    Raises:
        AnnotationError: it contradicts itself, can't be evaluated, or holds a marker where it can't be
            honoured. Function and parameter are for the caller to fill in.
    """
    if annotation is inspect.Parameter.empty:
        return UNANNOTATED
    reader = Reader(Scope() if scope is None else scope, annotation, returned)
    if is_unpacked(reader.whole):
        _refuse_marked_members(reader)
    kind, metadata = reader.kind()
    _refuse_unreadable(reader, kind)
    role, differentiable = _table.of(kind)
    markers = _Markers.of(metadata)
    if markers.traced:
        differentiable = differentiable_if_traced(kind, role, differentiable)
    for applies, reason, fix in _contradictions(markers, role, differentiable, kind, reader.placed_inside):
        if applies:
            reader.refuse(reason, fix)
    if markers.static:
        role, differentiable = Role.STATIC, Differentiable.NEVER
    elif markers.traced:
        role = Role.TRACED
    return Hint(
        annotation=reader.whole,
        kind=kind,
        role=role,
        why=_why(reader, role, bool(metadata)),
        differentiable=differentiable,
        donate=markers.donate,
        static_marker=markers.static,
        axis=markers.axes[0] if markers.axes else None,
        axes=tuple(reader.axes_inside.items()),
        scan=markers.scans[0] if markers.scans else reader.scan_inside,
        diff=True if markers.diff else False if markers.nodiff else None,
        sharding=_places_of(markers.shardings[0]) if markers.shardings else None,
        unresolved=tuple(reader.unresolved),
        opaque=tuple(reader.opaque),
    )


def _refuse_unreadable(reader: Reader, kind: Kind) -> None:
    for dim in (dim for one in kind.every if isinstance(one, Array) for dim in one.dims):
        if not is_readable(dim):
            right = meant_by(dim) or "n+1"
            reader.refuse(f"`{dim.text}` is no dimension", fix=f"write an expression, such as `{right}`")


def refuse_lost_marker(hint: Hint, function: str, parameter: str) -> None:
    """Raise `AnnotationError` where a marker may hide behind a name that will not be found any more."""
    name = next(iter(hint.opaque), "")
    slip_of = None if name.rpartition(".")[2] in MARKER_NAMES else meant(name)
    if slip_of is not None:
        raise AnnotationError(
            f"has an annotation in which `{name}` is not found: did you mean `{slip_of}`?",
            function=function,
            parameter=parameter,
            actual=show(hint.annotation),
            fix=f"write {slip_of}, or import `{name}`",
        )
    if hint.opaque:
        fix = "import it also at run time, not only under `if TYPE_CHECKING`"
        if name in MARKER_NAMES:
            fix = f"import it: from typedfilter import {name}"
        raise AnnotationError(
            f"has an annotation in which `{name}` is not found, and a marker may hide in it",
            function=function,
            parameter=parameter,
            fix=fix,
        )


def _why(reader: Reader, role: Role, marked: bool) -> str:
    written = f"annotated {show(reader.whole)}"
    if role is not Role.AUTO or not reader.unresolved:
        return written
    names = ", ".join(_with_slip(name) for name in reader.unresolved)
    missing = f"name{'s' if len(reader.unresolved) > 1 else ''} {names} not found"
    return f"{written}; {missing}" if marked else missing


def _with_slip(name: str) -> str:
    slip_of = meant(name)
    return f"`{name}`" if slip_of in (None, name) else f"`{name}` (did you mean `{slip_of}`?)"


# Markers ------------------------------------------------------------------------------------------------


class _Markers(NamedTuple):
    static: bool
    traced: bool
    donate: bool
    diff: bool
    nodiff: bool
    axes: tuple[AxisSpec, ...]
    scans: tuple[ScanSpec, ...]
    shardings: tuple[Any, ...]

    @classmethod
    def of(cls, metadata: Metadata) -> _Markers:
        kinds = {type(item) for item in metadata}
        axes = tuple(dict.fromkeys(item for item in metadata if isinstance(item, AxisSpec)))
        scans = tuple(dict.fromkeys(item for item in metadata if isinstance(item, ScanSpec)))
        shardings = tuple(dict.fromkeys(item for item in metadata if isinstance(item, (Placed, *PLACES))))
        return cls(
            static=StaticMarker in kinds,
            traced=TracedMarker in kinds,
            donate=DonateMarker in kinds,
            diff=DiffMarker in kinds,
            nodiff=NoDiffMarker in kinds,
            axes=axes,
            scans=scans,
            shardings=shardings,
        )


def _contradictions(
    markers: _Markers, role: Role, differentiable: Differentiable, kind: Kind, placed: Sequence[Any]
) -> Iterator[tuple[bool, str, str]]:
    """What one annotation can't say at once: whether it does, why it can't, and the fix."""
    static, traced, inner = markers.static, markers.traced, show(kind.hint)
    fixed = static or (role is Role.STATIC and not traced)
    what = "what is static" if static else f"`{inner}`, which is static,"
    yield static and traced, "what is static is not traced", "keep one of Static and Traced"
    arrays = static and (role is Role.ARRAYS or _table.has_array_member(kind))
    fix = "drop Static, and it is traced; or annotate a hashable type"
    yield arrays, "arrays can't be static: they are not hashable", fix
    fix = f"write Static[{inner}], or {inner} alone"
    yield traced and never_traced(kind), f"`{inner}` can't become an array", fix
    yield markers.donate and fixed, f"{what} holds no arrays to donate", "drop Donate"
    several = " and ".join(str(spec.axis) for spec in markers.axes)
    yield len(markers.axes) > 1, f"it maps axes {several} at once", "keep one VmapAxis"
    fix = "drop VmapAxis, or write VmapAxis[None]"
    yield fixed and _has_axis(markers.axes), f"{what} has no axis to map", fix
    several = " and ".join(str(spec.axis) for spec in markers.scans)
    yield len(markers.scans) > 1, f"it scans axes {several} at once", "keep one ScanAxis"
    fix = "drop ScanAxis, or write ScanAxis[None]"
    yield static and _has_axis(markers.scans), f"{what} has no axis to scan", fix
    yield len(markers.shardings) > 1, "it has two shardings", "keep one PartitionSpec"
    yield fixed and bool(markers.shardings), f"{what} is not on any device", "drop the PartitionSpec"
    for one in () if traced else placed:
        reason = f"`{show(one)}`, which is static, is not on any device"
        yield role_of(kind_of(one)) is Role.STATIC, reason, "drop the PartitionSpec"
    fix = "keep one of Diff and NoDiff"
    yield markers.diff and markers.nodiff, "it can't be differentiated and not be", fix
    yield markers.diff and fixed, f"{what} can't be differentiated", "drop Diff"
    never = markers.diff and differentiable is Differentiable.NEVER
    fix = "drop Diff, or annotate a floating dtype"
    yield never, f"`{inner}` has no floating-point dtype to differentiate", fix


def _has_axis(specs: Sequence[AxisSpec | ScanSpec]) -> bool:
    return bool(specs) and specs[0].axis is not None


def _places_of(item: Any) -> Any:
    return item.places if isinstance(item, Placed) else item


def _refuse_marked_members(reader: Reader) -> None:
    """`**options: Unpack[Options]` is one annotation for many arguments, whose markers would be lost."""
    for record in arguments_of(reader.whole):
        for name, hint in class_hints(record).items() if typing_extensions.is_typeddict(record) else ():
            if hint.marked:
                reader.refuse(
                    f"the marker on its `{name}` can't be honoured", f"make `{name}` a parameter of its own"
                )


# Classes --------------------------------------------------------------------------------------------------

_table = RoleTable(lambda cls: [(hint.role, hint.differentiable) for hint in class_hints(cls).values()])
_class_hints: WeakKeyDictionary[type, dict[str, Hint]] = WeakKeyDictionary()


def class_hints(cls: type, strict: bool = False) -> dict[str, Hint]:
    """A hint for each annotated attribute of a class and its bases, by name; class variables are left out.

    Args:
        cls: the class.
        strict: whether a field may not be annotated `Float` alone, as it may in somebody else's class.

    Raises:
        AnnotationError: an annotation contradicts itself or can't be read; class and field are named.
    """
    known = _class_hints.get(cls, {})
    if known and not any(hint.unresolved for hint in known.values()):
        return known
    found: dict[str, Hint] = {}
    for base in reversed(cls.__mro__):
        found.update(_own_hints(base, known, strict))
    _class_hints[cls] = found
    return found


def _own_hints(cls: type, known: dict[str, Hint], strict: bool) -> dict[str, Hint]:
    annotations = annotations_of(cls)
    scope = Scope.of_class(cls) if annotations else Scope()
    found: dict[str, Hint] = {}
    for name, annotation in annotations.items():
        former = known.get(name)  # its names may have come from frames that are gone
        if former is None or former.unresolved:
            with named(cls.__qualname__.rpartition("<locals>.")[2], name):
                former = _field(annotation, scope, strict)
        if not _is_class_variable(former):
            found[name] = former
    return found


def _field(annotation: Any, scope: Scope, strict: bool) -> Hint:
    try:
        return parse(annotation, scope)
    except AnnotationError as error:
        marked = any(name in error.problem for name in MARKER_NAMES)
        if not (strict or marked) and BARE_DTYPE in error.problem:
            return Hint(annotation, kind_of(jax.Array), why="annotation says no shape")
        # Somebody else's class may be annotated with prose; it has a say only where it uses our markers.
        unreadable = isinstance(annotation, str) and error.__cause__ is not None
        if not unreadable or any(name in annotation for name in MARKER_NAMES):
            raise
        return Hint(annotation, ANYTHING, why="annotation can't be read")


def _is_class_variable(hint: Hint) -> bool:
    annotation = hint.annotation
    if annotation is ClassVar or annotation is dataclasses.KW_ONLY:
        return True
    return "ClassVar" in qualifiers_of(annotation)


def role_of(kind: Kind) -> Role:
    """The role of a type without markers."""
    return _table.of(kind)[0]


@contextlib.contextmanager
def named(function: str, parameter: str) -> Generator[None, None, None]:
    """Fill in, on the way out, whose annotation it is that an `AnnotationError` speaks of."""
    try:
        yield
    except AnnotationError as error:
        if not error.function:
            error.function, error.parameter = function, parameter
        raise
