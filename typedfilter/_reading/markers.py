"""Takes one annotation apart: the type that the checkers see, and the markers around it.

Knows the forms that typing has (aliases, strings, unions, `Annotated`, ...); knows nothing of what a
marker means. Its one rule: a marker counts around a whole annotation, and anywhere else it is an error; but
for places, which the elements of a container may have.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import typing
from typing import Annotated, Any, ClassVar, Final, ForwardRef, TypeVar, get_args, get_origin

import jax
import jax.typing
import jaxtyping
import typing_extensions
from jax.experimental.layout import Format
from jax.sharding import PartitionSpec, Sharding

from typedfilter import annotations as _annotations
from typedfilter._reading.forms import (
    LITERALS,
    QUALIFIERS,
    UNIONS,
    alias_of,
    alias_value,
    is_array_class,
    is_bare_dtype,
    is_tree_class,
    is_unpacked,
    limits_of,
    rebuilt,
)
from typedfilter._reading.kinds import Kind, kind_of
from typedfilter._reading.names import Scope, Unknown, annotations_of, home_of, meant
from typedfilter._reading.text import show
from typedfilter._reading.within import Maybe, Placed, is_structure, of_container
from typedfilter.annotations import MARKER_NAMES, AxisSpec, Marker, ScanSpec, StaticMarker
from typedfilter.errors import AnnotationError
from typedfilter.vmap_axis import AXES, how_to_write

BARE_DTYPE = "alone says neither array nor shape"
"""What is wrong with `Float` as the whole of a type."""

PLACES = (PartitionSpec, Sharding, jax.Device, Format)
"""What says where an array is to be."""
_NO_TYPES = (typing.ParamSpecArgs, typing.ParamSpecKwargs)
_UNCHECKED = (typing.Self, typing_extensions.Self, Final, ClassVar, inspect.Parameter.empty)
_STRINGS = (typing.LiteralString, typing_extensions.LiteralString)
_OUTERMOST = (
    "put the marker around the whole annotation, as in Donate[list[Array]]; or make it an argument of its own"
)

_AROUND = "put the place around the whole annotation, or make what it is about an argument of its own"
_THEIR_STATIC = (
    "__jax_dataclasses_static_field__",
)  # in `jax_dataclasses.Static`, which need not be installed

_DEEPEST = 64  # names within names: what goes on, such as `type Grown[T] = Grown[list[T]] | T`, ends there

Metadata = tuple[Any, ...]  # markers and places, innermost first


class Reader:
    """Reads one annotation (and what it refers to), and remembers the names that it could not find."""

    def __init__(self, scope: Scope, whole: Any, returned: bool = False) -> None:
        self._scope = scope
        self._reading: set[Any] = set()  # recursive aliases end where they come round again
        self.unresolved: dict[str, None] = {}
        self.opaque: dict[str, None] = {}  # unresolved, and a marker may hide behind it
        self._returned = returned  # until a type with arguments is met
        self.scan_inside: ScanSpec | None = None  # of the second of a pair that is returned
        self.axes_inside: dict[int, AxisSpec] = {}  # of the elements of a tuple that is returned
        self.placed_inside: list[Any] = []  # the types of what has a place inside of a container
        self.whole = self._evaluated(whole)

    def kind(self) -> tuple[Kind, Metadata]:
        """What the whole annotation says of a value, and the markers that stand around it."""
        inner, found = self.read(self.whole)
        # `*args: *Ts` says something of all the arguments together; of each, nothing is known.
        return kind_of(Any if is_unpacked(self.whole) else inner), found

    def read(self, annotation: Any) -> tuple[Any, Metadata]:
        """The type without our markers, and the markers that stand around it."""
        if isinstance(annotation, str | ForwardRef):
            return self._guarded(show(annotation), lambda: self._evaluated(annotation))
        if (alias := alias_of(annotation)) is not None:
            key = alias, repr(annotation)  # `Pair[Pair[int]]` comes round again with other arguments
            return self._guarded(key, lambda: self._alias_value(annotation, alias))
        if isinstance(annotation, typing.NewType):
            return self.read(annotation.__supertype__)
        if isinstance(annotation, dataclasses.InitVar):
            return self.read(annotation.type)
        if isinstance(annotation, _NO_TYPES):
            return Any, ()
        origin = get_origin(annotation)
        if origin in QUALIFIERS:
            return self.read(get_args(annotation)[0])
        if origin is Annotated:
            return self._annotated(annotation)
        if origin in UNIONS:
            return self._union(annotation)
        if origin not in (None, *LITERALS):
            return self._generic(annotation, origin)
        if is_tree_class(annotation) and hasattr(annotation, "leaftype"):
            return self._pytree(annotation)
        if typing_extensions.is_typeddict(annotation):
            return annotation, self._keys(annotation)
        return self._bare(annotation), ()

    def refuse(self, reason: str, fix: str) -> typing.NoReturn:
        """Raise for the annotation as a whole."""
        raise AnnotationError(f"is annotated {show(self.whole)}, but {reason}", fix=fix)

    # Names -------------------------------------------------------------------------------------------

    def _guarded(self, key: Any, value: collections.abc.Callable[[], Any]) -> tuple[Any, Metadata]:
        if key in self._reading or len(self._reading) >= _DEEPEST:
            return Any, ()
        self._reading.add(key)
        try:
            return self.read(value())
        finally:
            self._reading.remove(key)

    def _evaluated(self, annotation: Any) -> Any:
        if not isinstance(annotation, ForwardRef):
            return self._scope.evaluate(annotation) if isinstance(annotation, str) else annotation
        found = self._scope.evaluate(annotation.__forward_arg__)
        if isinstance(found, Unknown) and (home := home_of(annotation)) is not None:
            return home[annotation.__forward_arg__]
        return found

    def _alias_value(self, annotation: Any, alias: Any) -> Any:
        try:
            return alias_value(annotation)
        except NameError as error:  # the value is evaluated late, and as a whole: nothing of it is known
            name = error.name or str(alias)
            self.unresolved[name] = self.opaque[name] = None
            return Any

    def _unknown(self, placeholder: Unknown, *, subscripted: bool = False) -> Any:
        name = placeholder.__name__
        self.unresolved[name] = None
        misspelt = subscripted and meant(name) is not None and not self._scope.mentions(name)
        if misspelt or name.rpartition(".")[2] in MARKER_NAMES:
            self.opaque[name] = None
        return Any

    # Forms -------------------------------------------------------------------------------------------

    def _bare(self, annotation: Any) -> Any:
        if isinstance(annotation, Unknown):
            return self._unknown(annotation)
        if isinstance(annotation, type) and issubclass(annotation, (*AXES, Marker)):
            name = show(annotation)
            self.refuse(f"`{name}` alone says neither axis nor type", _fix_for_bare(name))
        if is_bare_dtype(annotation):
            name = show(annotation)
            self.refuse(f"`{name}` {BARE_DTYPE}", f"write {name}[Array, '...']")
        if isinstance(annotation, PLACES):
            self.refuse("a place alone says nothing of a type", f"write Annotated[T, {show(annotation)}]")
        if is_array_class(annotation):
            return self._array(annotation)
        if isinstance(annotation, TypeVar):
            self._limits(annotation)
            return annotation
        return _checkable(annotation)

    def _limits(self, variable: TypeVar) -> None:
        try:
            limits = limits_of(variable)
        except NameError as error:
            self.unresolved[error.name or str(variable)] = None
            return
        for limit in limits:
            self._inside(limit)

    def _array(self, annotation: Any) -> Any:
        if annotation.array_type is Annotated:  # all that jaxtyping keeps of Float[Donate[Array], "n"]
            fix = "put the marker around the whole annotation, as in Donate[Float[Array, 'n']]"
            self.refuse("a marker inside of a jaxtyping annotation is lost", fix)
        if not isinstance(annotation.array_type, Unknown):
            return annotation
        self._unknown(annotation.array_type)
        return annotation.dtype[Any, annotation.dim_str]

    def _pytree(self, annotation: Any) -> tuple[Any, Metadata]:
        leaf, places = self._member(annotation.leaftype)
        if is_structure(places):
            self.refuse("the leaves of a PyTree are in one place each", _AROUND)
        found = () if places is None else (places,)
        if leaf is annotation.leaftype:
            return annotation, found
        structure = annotation.structure
        tree = jaxtyping.PyTree[leaf] if structure is None else jaxtyping.PyTree[leaf, structure]
        return tree, found

    def _keys(self, record: Any) -> Metadata:
        """The places of the keys of a TypedDict, which have no other markers."""
        if record in self._reading:
            return ()
        self._reading.add(record)
        scope = Scope.of_class(record)
        places = {name: self._key(record, name, scope, one) for name, one in annotations_of(record).items()}
        self._reading.remove(record)
        if all(place is None for place in places.values()):
            return ()
        whole = record.__total__ and not record.__optional_keys__
        return (Placed(places if whole else Maybe(places)),)

    def _key(self, record: Any, name: str, scope: Scope, annotation: Any) -> Any:
        try:
            reader = Reader(scope, annotation)
            reader._reading = self._reading
            kind, found = reader.read(reader.whole)
        except AnnotationError as error:
            if error.__cause__ is not None:  # somebody else's prose
                return None
            raise
        marks = [item for item in found if isinstance(item, Marker) and not isinstance(item, StaticMarker)]
        if marks:
            raise AnnotationError(
                f"is annotated {show(reader.whole)}, but of a TypedDict a key has no marker but a place",
                function=record.__qualname__.rpartition("<locals>.")[2],
                parameter=name,
                fix="make it a parameter of its own, or a field of a pytree_dataclass",
            )
        return self._one_place(kind, found)

    def _annotated(self, annotation: Any) -> tuple[Any, Metadata]:
        if annotation.__origin__ is _annotations.T:
            name = show(annotation)
            self.refuse(f"`{name}` alone has no type", _fix_for_bare(name))
        inner, found = self.read(annotation.__origin__)
        rest: list[Any] = []
        for item in annotation.__metadata__:
            ours = self._metadata(item)
            if ours is None:
                rest.append(item)
            else:
                found += ours
        return (Annotated[(inner, *rest)] if rest else inner), found

    def _metadata(self, item: Any) -> Metadata | None:
        """The markers that one piece of `Annotated` metadata stands for; `None` if it is not ours."""
        if isinstance(item, (Marker, *PLACES)):
            return (item,)
        if isinstance(item, Unknown):
            self._unknown(item)
            return ()
        if _is_static_elsewhere(item):
            return (StaticMarker(),)
        if isinstance(item, type) and issubclass(item, (*AXES, Marker, PartitionSpec)):
            self.refuse(f"`{show(item)}` is the class and not a value", _fix_for_bare(show(item)))
        if get_origin(item) is not Annotated:
            return None
        # VmapAxis[1] is itself Annotated[Any, ...], and Static is Annotated[T, ...]; the type does not count.
        _, found = self.read(item.__origin__)
        for part in item.__metadata__:
            found += self._metadata(part) or ()
        return found or None

    def _union(self, annotation: Any) -> tuple[Any, Metadata]:
        members = get_args(annotation)
        parts = [self.read(member) for member in members]
        solid = [part for part in parts if part != (type(None), ())]
        marked = [found for _, found in solid if found]
        if marked and len(solid) > 1:
            fix = "put the marker around the whole union, as in Donate[A | B]"
            self.refuse("a marker on one member of a union can't be honoured", fix)
        kinds = tuple(part[0] for part in parts)
        found = tuple(map(_perhaps, marked[0])) if marked else ()
        return rebuilt(annotation, kinds), found

    def _generic(self, annotation: Any, origin: Any) -> tuple[Any, Metadata]:
        old = getattr(annotation, "__args__", ())  # typing.Callable and typing.List alone have none
        returned = self._returned and origin is tuple and ... not in old
        self._returned = False
        if isinstance(origin, Unknown):
            for arg in old:  # a string may be dimensions, as in Float[Array, "b n"], unless a marker is in it
                if not isinstance(arg, str) or any(name in arg for name in MARKER_NAMES):
                    self._inside(arg)
            return self._unknown(origin, subscripted=True), ()
        members = [
            self._element(arg, i, len(old)) if returned else self._member(arg) for i, arg in enumerate(old)
        ]
        new = tuple(kind for kind, _ in members)
        found = self._of_container(origin, old, [places for _, places in members])
        return (rebuilt(annotation, new) if old else annotation), found

    def _of_container(self, origin: Any, old: tuple[Any, ...], places: list[Any]) -> Metadata:
        if all(place is None for place in places):
            return ()
        fixed = origin is tuple and ... not in old and not any(map(is_unpacked, old))
        found = of_container(origin, places, fixed)
        if found is None:
            self.refuse(f"a place inside of {show(origin)}[...] can't be honoured", _AROUND)
        return (Placed(found),) if is_structure(found) else (found,)

    def _element(self, annotation: Any, index: int, count: int) -> tuple[Any, Any]:
        """One element of a tuple that is returned, and its place: it may say where the mapped axis goes.

        The second of a pair is, of a scan, the result of one step, and may say along which it is stacked.
        """
        kind, found = self.read(annotation)
        rest = [item for item in found if not isinstance(item, (Placed, *PLACES))]
        only = rest[0] if len(rest) == 1 else None
        if isinstance(only, AxisSpec):
            self.axes_inside[index] = only
        elif isinstance(only, ScanSpec) and (index, count) == (1, 2):
            self.scan_inside = only
        else:
            return self._member(annotation)
        return kind, self._one_place(kind, [item for item in found if item is not only])

    def _member(self, annotation: Any) -> tuple[Any, Any]:
        """The type of what stands inside of another, and its place."""
        if annotation is None or annotation is ...:
            return annotation, None
        kind, found = self.read(annotation)
        if any(not isinstance(item, (Placed, *PLACES)) for item in found):
            self.refuse("a marker inside of another type can't be honoured", _OUTERMOST)
        return kind, self._one_place(kind, found)

    def _one_place(self, kind: Any, found: collections.abc.Sequence[Any]) -> Any:
        places = list(dict.fromkeys(item for item in found if isinstance(item, (Placed, *PLACES))))
        if len(places) > 1:
            self.refuse("it has two shardings", "keep one PartitionSpec")
        if not places:
            return None
        self.placed_inside.append(kind)
        return places[0].places if isinstance(places[0], Placed) else places[0]

    def _inside(self, annotation: Any) -> Any:
        kind, places = self._member(annotation)
        if places is not None:
            self.refuse("a marker inside of another type can't be honoured", _OUTERMOST)
        return kind


def _perhaps(item: Any) -> Any:
    """A marker of what may be `None`."""
    return Placed(Maybe(item.places)) if isinstance(item, Placed) and is_structure(item.places) else item


def _is_static_elsewhere(item: object) -> bool:
    """Whether `jax_dataclasses.Static`, or `jax.typing.Static` where JAX has it, is `Annotated` with this."""
    theirs = (*_THEIR_STATIC, *getattr(getattr(jax.typing, "Static", None), "__metadata__", ()))
    return any(item is one or (type(item) is type(one) is str and item == one) for one in theirs)


def _fix_for_bare(name: str) -> str:
    if name in {axis.__name__ for axis in AXES}:
        return how_to_write(name)
    if name == "PartitionSpec":
        return "write Annotated[T, PartitionSpec('x')]"
    return f"write {name}[T]"


def _checkable(annotation: Any) -> Any:
    """`annotation` where a type checker at run time can do something with it, else `Any`."""
    if annotation is None:
        return type(None)
    if any(annotation is form for form in _UNCHECKED):
        return Any
    if any(annotation is form for form in _STRINGS):
        return str
    known = isinstance(annotation, type) or get_origin(annotation) is not None
    return annotation if known or type(annotation).__module__ in ("typing", "typing_extensions") else Any
