"""One annotation in, one `Hint` out: the type without our markers, and what the markers say.

Floor 1. Knows typing and jaxtyping; knows nothing of functions, plans or values. The table of roles stands
here, and every contradiction that one annotation can hold is refused here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NoReturn, get_args, get_origin
from weakref import WeakKeyDictionary

import jax
import numpy as np
import typing_extensions
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike

from typedfilter._reader import UNIONS, Metadata, Reader, is_array_class, is_unpacked
from typedfilter._scope import Scope, annotations_of
from typedfilter._show import show
from typedfilter.annotations import (
    AxisSpec,
    DiffMarker,
    DonateMarker,
    NoDiffMarker,
    StaticMarker,
    TracedMarker,
)
from typedfilter.errors import AnnotationError

__all__ = [
    "UNANNOTATED",
    "UNIONS",
    "Differentiable",
    "Hint",
    "Role",
    "Scope",
    "class_hints",
    "is_array_class",
    "named",
    "parse",
    "show",
]


class Role(enum.Enum):
    """What `filter_jit` does with an argument."""

    AUTO = "auto"  # the reference rule, leaf by leaf: arrays traced, everything else static
    ARRAYS = "arrays"  # annotated to hold arrays only: traced whole, Python scalars too
    TRACED = "traced"  # Traced[T]: every leaf traced
    STATIC = "static"  # a compile-time constant


class Differentiable(enum.Enum):
    """Whether an argument can be differentiated, as far as its annotation tells."""

    BY_DTYPE = "by dtype"
    ALWAYS = "always"
    NEVER = "never"


@dataclasses.dataclass(frozen=True)
class Hint:
    """What one annotation says."""

    annotation: Any  # as written (evaluated where possible), markers included: for messages
    type: Any  # markers removed at every depth: what jaxtyping and beartype check; Any where unknown
    role: Role = Role.AUTO
    why: str = "not annotated"  # for explain: 'annotated Static[int]', 'not annotated', 'name `X` not found'
    differentiable: Differentiable = Differentiable.BY_DTYPE
    donate: bool = False
    static_marker: bool = False  # Static[...] was written (and not only implied by `int`)
    axis: AxisSpec | None = None  # where VmapAxis was written
    diff: bool | None = None  # True: Diff, False: NoDiff
    sharding: PartitionSpec | None = None
    unresolved: tuple[str, ...] = ()  # names that could not be found (yet)
    opaque: tuple[str, ...] = ()  # those of them behind which a marker may hide

    @property
    def annotated(self) -> bool:
        """Whether there is an annotation at all."""
        return self.annotation is not inspect.Parameter.empty

    @property
    def marked(self) -> bool:
        """Whether any marker of ours was written."""
        others = (self.axis, self.diff, self.sharding)
        traced = self.role is Role.TRACED
        return self.donate or self.static_marker or traced or any(fact is not None for fact in others)


UNANNOTATED = Hint(inspect.Parameter.empty, Any)


def parse(annotation: Any, scope: Scope | None = None) -> Hint:
    """Read one annotation; names in strings are looked up in `scope`.

    Raises:
        AnnotationError: it contradicts itself, can't be evaluated, or holds a marker where it can't be
            honoured. Function and parameter are for the caller to fill in.
    """
    if annotation is inspect.Parameter.empty:
        return UNANNOTATED
    reader = Reader(Scope() if scope is None else scope, annotation)
    kind, metadata = reader.read(reader.whole)
    if is_unpacked(reader.whole):
        _refuse_marked_members(reader)
    role, differentiable = _classify(kind)
    markers = _Markers.of(metadata)
    _refuse_contradictions(reader, markers, role, differentiable, kind)
    if markers.static:
        role, differentiable = Role.STATIC, Differentiable.NEVER
    elif markers.traced:
        role, differentiable = Role.TRACED, _differentiable_if_traced(kind, role, differentiable)
    return Hint(
        annotation=reader.whole,
        type=kind,
        role=role,
        why=_why(reader, role, bool(metadata)),
        differentiable=differentiable,
        donate=markers.donate,
        static_marker=markers.static,
        axis=markers.axes[0] if markers.axes else None,
        diff=True if markers.diff else False if markers.nodiff else None,
        sharding=markers.shardings[0] if markers.shardings else None,
        unresolved=tuple(reader.unresolved),
        opaque=tuple(reader.opaque),
    )


def _why(reader: Reader, role: Role, marked: bool) -> str:
    written = f"annotated {show(reader.whole)}"
    if role is not Role.AUTO or not reader.unresolved:
        return written
    names = ", ".join(f"`{name}`" for name in reader.unresolved)
    missing = f"name{'s' if len(reader.unresolved) > 1 else ''} {names} not found"
    return f"{written}; {missing}" if marked else missing


# Markers ------------------------------------------------------------------------------------------------


class _Markers(NamedTuple):
    static: bool
    traced: bool
    donate: bool
    diff: bool
    nodiff: bool
    axes: tuple[AxisSpec, ...]
    shardings: tuple[PartitionSpec, ...]

    @classmethod
    def of(cls, metadata: Metadata) -> _Markers:
        kinds = {type(item) for item in metadata}
        flags = (
            kind in kinds for kind in (StaticMarker, TracedMarker, DonateMarker, DiffMarker, NoDiffMarker)
        )
        axes = tuple(dict.fromkeys(item for item in metadata if isinstance(item, AxisSpec)))
        shardings = tuple(dict.fromkeys(item for item in metadata if isinstance(item, PartitionSpec)))
        return cls(*flags, axes, shardings)


def _refuse_contradictions(
    reader: Reader, markers: _Markers, role: Role, differentiable: Differentiable, kind: Any
) -> None:
    """Raise where the markers contradict one another or the type that they stand around."""
    refuse = reader.refuse
    inner = show(kind)
    static = markers.static or (role is Role.STATIC and not markers.traced)
    what = "what is static" if markers.static else f"`{inner}`, which is static,"
    if markers.static and markers.traced:
        refuse("what is static is not traced", "keep one of Static and Traced")
    if markers.static and (role is Role.ARRAYS or _has_array_member(kind)):
        refuse("arrays can't be static: they are not hashable", f"write {inner}, or annotate a hashable type")
    if markers.traced and _never_traced(kind):
        refuse(f"`{inner}` can't become an array", f"write Static[{inner}], or {inner} alone")
    if markers.donate and static:
        refuse(f"{what} holds no arrays to donate", "drop Donate")
    if len(markers.axes) > 1:
        axes = " and ".join(str(spec.axis) for spec in markers.axes)
        refuse(f"it maps axes {axes} at once", "keep one VmapAxis")
    if static and markers.axes and markers.axes[0].axis is not None:
        refuse(f"{what} has no axis to map", "drop VmapAxis, or write VmapAxis[None]")
    if len(markers.shardings) > 1:
        refuse("it has two shardings", "keep one PartitionSpec")
    if static and markers.shardings:
        refuse(f"{what} is not on any device", "drop the PartitionSpec")
    _refuse_undifferentiable(refuse, markers, static, differentiable, what, inner)


def _refuse_marked_members(reader: Reader) -> None:
    """`**options: Unpack[Options]` is one annotation for many arguments; fields with markers would be lost."""
    for record in get_args(reader.whole):
        for name, hint in class_hints(record).items() if typing_extensions.is_typeddict(record) else ():
            if hint.marked:
                reader.refuse(
                    f"the marker on its `{name}` can't be honoured", f"make `{name}` a parameter of its own"
                )


def _refuse_undifferentiable(
    refuse: Callable[[str, str], NoReturn],
    markers: _Markers,
    static: bool,
    differentiable: Differentiable,
    what: str,
    inner: str,
) -> None:
    if markers.diff and markers.nodiff:
        refuse("it can't be differentiated and not be", "keep one of Diff and NoDiff")
    if markers.diff and static:
        refuse(f"{what} can't be differentiated", "drop Diff")
    if markers.diff and differentiable is Differentiable.NEVER and not markers.traced:
        refuse(
            f"`{inner}` has no floating-point dtype to differentiate",
            "drop Diff, or annotate a floating dtype",
        )


# The table of roles ---------------------------------------------------------------------------------------

_Classified = tuple[Role, Differentiable]
_BY_RULE: _Classified = (Role.AUTO, Differentiable.BY_DTYPE)
_CONSTANT: _Classified = (Role.STATIC, Differentiable.NEVER)
_STATIC_CLASSES = frozenset({int, float, complex, bool, str, bytes, type(None), type, np.dtype})
_ARRAY_LIKE = frozenset(get_args(ArrayLike)) | {bool, int, float, complex}
_NEVER_TRACED = (str, bytes, type(None), type, np.dtype, enum.Enum)


def _classify(kind: Any) -> _Classified:
    """The row of the table that a type (without markers) is in."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _classify(kind.__origin__)
    if is_array_class(kind):
        return Role.ARRAYS, _of_dtypes(kind.dtypes)
    if isinstance(origin, type) and issubclass(origin, np.ndarray):
        return _of_ndarray(get_args(kind))
    if origin in UNIONS:
        return _of_union(get_args(kind))
    if origin is Literal or origin in (type, np.dtype):
        return _CONSTANT
    if origin in (tuple, list, dict):
        return _of_container(origin, get_args(kind))
    return _of_class(kind) if isinstance(kind, type) and origin is None else _BY_RULE


def _of_class(cls: type) -> _Classified:
    if cls in _STATIC_CLASSES or issubclass(cls, (enum.Enum, np.dtype)):
        return _CONSTANT
    if issubclass(cls, (jax.Array, np.ndarray)):
        return Role.ARRAYS, Differentiable.BY_DTYPE
    if issubclass(cls, np.generic):
        return _of_scalar_type(cls)
    if typing_extensions.is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        return _of_members([_classify(hint.type) for hint in class_hints(cls).values()])
    return _BY_RULE


def _of_dtypes(dtypes: Any) -> Differentiable:
    if not isinstance(dtypes, tuple):  # Shaped: any dtype
        return Differentiable.BY_DTYPE
    inexact = [str(name).startswith(("float", "bfloat", "complex")) for name in dtypes]
    if all(inexact):
        return Differentiable.ALWAYS
    return Differentiable.BY_DTYPE if any(inexact) else Differentiable.NEVER


def _of_scalar_type(cls: type) -> _Classified:
    """NumPy's scalar types; those that JAX can't trace (strings, dates, objects) are like any class."""
    if jax.dtypes.issubdtype(cls, np.inexact):
        return Role.ARRAYS, Differentiable.ALWAYS
    if jax.dtypes.issubdtype(cls, np.integer) or cls is np.bool_:
        traceable = not issubclass(cls, np.timedelta64)
        return (Role.ARRAYS, Differentiable.NEVER) if traceable else _BY_RULE
    return (Role.ARRAYS, Differentiable.BY_DTYPE) if cls in (np.number, np.generic) else _BY_RULE


def _of_ndarray(args: tuple[Any, ...]) -> _Classified:
    scalar = next(iter(get_args(args[1])), None) if len(args) == 2 else None  # ndarray[shape, dtype[scalar]]
    if isinstance(scalar, type) and issubclass(scalar, np.generic):
        return _of_scalar_type(scalar)
    return Role.ARRAYS, Differentiable.BY_DTYPE


def _of_union(members: tuple[Any, ...]) -> _Classified:
    solid = [member for member in members if member is not type(None)]
    rows = [_classify(member) for member in solid]
    roles = {role for role, _ in rows}
    if roles == {Role.ARRAYS, Role.STATIC} and _is_array_like(solid):
        arrays = [row for row, member in zip(rows, solid, strict=True) if is_array_class(member)]
        return Role.ARRAYS, _common(verdict for _, verdict in arrays)
    if len(roles) == 1:
        return roles.pop(), _common(verdict for _, verdict in rows)
    return _BY_RULE


def _is_array_like(members: list[Any]) -> bool:
    """Whether these are what `ArrayLike` and `Float[ArrayLike, ""]` expand to, Python scalars included."""
    classes = [member.array_type if is_array_class(member) else member for member in members]
    numpy = np.ndarray in classes and any(
        isinstance(cls, type) and issubclass(cls, np.generic) for cls in classes
    )
    return numpy and jax.Array in classes and all(cls in _ARRAY_LIKE for cls in classes)


def _of_container(origin: type, args: tuple[Any, ...]) -> _Classified:
    if origin is dict:
        # JAX finds a dictionary's entries by ==, which takes 1, 1.0 and True for one key. Strings are safe.
        return _of_members([_classify(args[1])]) if args and args[0] is str else _BY_RULE
    return _of_members([_classify(arg) for arg in args if arg is not ...])


def _of_members(rows: list[_Classified]) -> _Classified:
    if not rows or any(role is not Role.ARRAYS for role, _ in rows):
        return _BY_RULE
    return Role.ARRAYS, _common(verdict for _, verdict in rows)


def _common(verdicts: Iterable[Differentiable]) -> Differentiable:
    distinct = set(verdicts)
    return distinct.pop() if len(distinct) == 1 else Differentiable.BY_DTYPE


def _has_array_member(kind: Any) -> bool:
    members = [arg for arg in get_args(kind) if arg is not ...] if get_origin(kind) is tuple else []
    return any(_classify(member)[0] is Role.ARRAYS for member in members)


def _never_traced(kind: Any) -> bool:
    if get_origin(kind) in UNIONS:
        return all(_never_traced(member) for member in get_args(kind))
    if get_origin(kind) is Literal:
        return any(isinstance(value, str | bytes | enum.Enum) for value in get_args(kind))
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, _NEVER_TRACED)


def _differentiable_if_traced(kind: Any, role: Role, verdict: Differentiable) -> Differentiable:
    if role is Role.ARRAYS or kind in (int, bool):  # an int is never a float; a float may be given as an int
        return verdict
    return Differentiable.BY_DTYPE


# Classes --------------------------------------------------------------------------------------------------

_class_hints: WeakKeyDictionary[type, dict[str, Hint]] = WeakKeyDictionary()
_under_way = threading.local()


def class_hints(cls: type) -> dict[str, Hint]:
    """A hint for each annotated attribute of a class and its bases, by name; class variables are left out.

    Raises:
        AnnotationError: an annotation contradicts itself or can't be read; class and field are named.
    """
    known = _class_hints.get(cls, {})
    if known and not any(hint.unresolved for hint in known.values()):
        return known
    busy: set[type] = _under_way.__dict__.setdefault("classes", set())
    if cls in busy:  # a class that mentions itself
        return {}
    busy.add(cls)
    try:
        found: dict[str, Hint] = {}
        for base in reversed(cls.__mro__):
            found.update(_own_hints(base, known))
    finally:
        busy.remove(cls)
    _class_hints[cls] = found
    return found


def _own_hints(cls: type, known: dict[str, Hint]) -> dict[str, Hint]:
    annotations = annotations_of(cls)
    scope = Scope.of_class(cls) if annotations else Scope()
    found: dict[str, Hint] = {}
    for name, annotation in annotations.items():
        former = known.get(name)  # its names may have come from frames that are gone
        if former is None or former.unresolved:
            with named(cls.__qualname__.rpartition("<locals>.")[2], name):
                former = parse(annotation, scope)
        if not _is_class_variable(former):
            found[name] = former
    return found


def _is_class_variable(hint: Hint) -> bool:
    annotation = hint.annotation
    return annotation is ClassVar or annotation is dataclasses.KW_ONLY or get_origin(annotation) is ClassVar


@contextlib.contextmanager
def named(function: str, parameter: str) -> Iterator[None]:
    """Fill in, on the way out, whose annotation it is that an `AnnotationError` speaks of."""
    try:
        yield
    except AnnotationError as error:
        if not error.function:
            error.function, error.parameter = function, parameter
        raise
