"""Calls that have passed their check: what was checked once is not checked again.

Of most annotations the verdict is a function of classes, shapes, dtypes and the structure of containers: a
call is known by these, and nothing of its arguments is kept. Where an annotation looks at more (a value, the
attributes of an object), no call is known. Knows kinds, and nothing of functions or error texts.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from inspect import Parameter
from typing import Any, ClassVar

import jax
import jaxtyping
import numpy as np
from jax.tree_util import tree_flatten

from typedfilter._reading import dims, kinds
from typedfilter._reading.fields import field_kinds
from typedfilter._reading.kinds import Kind
from typedfilter._shapes.bindings import Seen
from typedfilter._values.described import VALUES, is_permanent, is_told, is_told_leaf, of_leaf

Describe = Callable[[Any], Hashable]
_NAME = re.compile(r"[A-Za-z_]\w*")


class Look(enum.IntEnum):
    """What of a value a check looks at, from nothing to more than can be told."""

    NOTHING = 0
    CLASS = 1
    LEAF = 2  # its class, and the shape and dtype of an array
    VALUE = 3  # the same, and what a number or a string is
    TREE = 4  # the structure of containers, and each leaf in them
    ALL = 5


# ------------------------------------------------------------------------------------ what a kind looks at


def looks_at(kind: Kind, inside: frozenset[type] = frozenset()) -> Look:
    """What the check of a kind depends on; `inside` are the records that it stands in."""
    if not kind.refuses:
        return Look.NOTHING
    match kind:
        case kinds.Array() | kinds.NumpyArray() | kinds.NumpyScalar() | kinds.Scalar():
            return Look.LEAF
        case kinds.Literal():
            return Look.VALUE
        case kinds.Callable():
            return Look.CLASS
        case kinds.Union(_, members) | kinds.Variable(members=members):
            return most(looks_at(member, inside) for member in members)
        case kinds.Record():
            return _of_record(kind, inside)
        case kinds.Class():
            return _of_class(kind)
        case _:
            return _of_container(kind, inside)


def most(looks: Iterable[Look]) -> Look:
    """What several checks of one value look at."""
    found = set(looks)
    return Look.ALL if {Look.VALUE, Look.TREE} <= found else max(found, default=Look.NOTHING)


def _of_class(kind: kinds.Class) -> Look:
    """Of a class, `isinstance` looks at the class; of a protocol, at the attributes of the instance."""
    if issubclass(kind.cls, jax.Array):
        return Look.LEAF
    meta: Any = type(kind.cls)
    plain = meta.__instancecheck__ in (type.__instancecheck__, abc.ABCMeta.__instancecheck__)
    told = plain and not kind.arguments and not getattr(kind.cls, "_is_protocol", False)
    return Look.CLASS if told else Look.ALL


def _of_container(kind: Kind, inside: frozenset[type]) -> Look:
    match kind:
        case kinds.Tuple() | kinds.Rest():
            return _of_parts(kind.parts, inside)
        case kinds.Each(_, origin, item) if origin in (list, tuple):
            return _of_parts((item,), inside)
        case kinds.Mapping(_, origin, key, item) if origin is dict and key.hint in (str, Any):
            return _of_parts((item,), inside)
        case kinds.Tree(_, leaf, None) if not kind.is_per_leaf:
            return _of_parts((leaf,), inside)
        case _:
            return Look.ALL


def _of_record(kind: kinds.Record, inside: frozenset[type]) -> Look:
    if kind.arguments or kind.cls in inside:
        return Look.ALL
    return _of_parts(field_kinds(kind).values(), inside | {kind.cls})


def _of_parts(parts: Iterable[Kind], inside: frozenset[type]) -> Look:
    """Of a container: what is in it is told by shape and dtype, or not at all."""
    looks = {looks_at(part, inside) for part in parts if part.hint is not type(None)}
    return Look.TREE if looks <= {Look.NOTHING, Look.LEAF, Look.TREE} else Look.ALL


# ------------------------------------------------------------------------------------------ what a value is


def _of_value(value: Any) -> Hashable:
    return (type(value), value) if type(value) in VALUES else of_leaf(value)


def _of_tree(value: Any) -> Hashable:
    leaves, treedef = tree_flatten(value)
    return treedef, *map(of_leaf, leaves)


_DESCRIBE: dict[Look, Describe] = {
    Look.NOTHING: lambda value: None,
    Look.CLASS: type,
    Look.LEAF: of_leaf,
    Look.VALUE: _of_value,
    Look.TREE: _of_tree,
    Look.ALL: lambda value: object(),
}


def _is_told(look: Look, value: Any) -> bool:
    """Whether the description of a value says all that its check looked at, and keeps nothing alive."""
    if look is Look.TREE:
        return is_told(value)
    if look is Look.VALUE and type(value) not in VALUES:
        return is_told_leaf(value)
    return look is Look.NOTHING or is_told_leaf(value) or _is_told_object(value)


def _is_told_object(value: Any) -> bool:
    cls = type(value)
    return value.__class__ is cls and is_permanent(cls)


# ----------------------------------------------------------------------------------- what names stand for


@dataclasses.dataclass(frozen=True)
class _Sized:
    """Stands for an array, so that names are bound to its sizes without it."""

    shape: tuple[int, ...]
    dtype: ClassVar[Any] = np.dtype(np.float32)


class Known:
    """A call that has passed.

    Attributes:
        seen: what has bound dimensions, with what stands for the arrays.
        computes: whether the function computes with a number that is an array.
        returned: descriptions of results that have passed after it.
        decides: whether what the arguments have bound is all that a result is compared with. A body binds
            names of its own: what they stand for is not known by its arguments.
    """

    __slots__ = ("_binding", "_names", "computes", "decides", "returned", "seen")

    def __init__(self, seen: Seen, computes: bool, returns: Kind) -> None:
        self.computes = computes
        self.returned: set[Hashable] = set()
        self.seen: Seen = [
            (path, jaxtyping.Shaped[_Sized, cls.dim_str], _Sized(tuple(value.shape)))
            for path, cls, value in seen
        ]
        self._names: dict[str, int] = {}
        self._binding: list[tuple[Any, _Sized]] = []
        for _, cls, array in self.seen:
            sizes = _sizes(cls, array.shape)
            if sizes is None:
                self._binding.append((cls, array))
            else:
                self._names |= sizes
        if self._names:
            cls = jaxtyping.Shaped[_Sized, " ".join(self._names)]
            self._binding.insert(0, (cls, _Sized(tuple(self._names.values()))))
        self.decides = _is_decided(returns, self._names)

    def bind(self) -> None:
        """Bind in jaxtyping's context what the check of this call has bound."""
        for cls, array in self._binding:
            isinstance(array, cls)


def _is_decided(kind: Kind, names: Collection[str]) -> bool:
    found = [dim for one in kind.every if isinstance(one, kinds.Array) for dim in one.dims]
    return not any(map(_is_more_than_a_size, found)) and all(
        name in names for dim in found for name in _NAME.findall(dim.text)
    )


def _sizes(cls: Any, shape: tuple[int, ...]) -> dict[str, int] | None:
    """What an array has bound the names of its annotation to; `None` where there is more than single axes."""
    words = dims.parse(cls.dim_str)
    if any(map(_is_more_than_a_size, words)):
        return None
    sizes: dict[str, int] = {}
    front = next((i for i, dim in enumerate(words) if dim.variadic), len(words))
    pairs = [*zip(words[:front], shape, strict=False)]
    pairs += [*zip(reversed(words[front + 1 :]), reversed(shape), strict=False)]
    for dim, size in pairs:
        if dim.kind == "named":
            sizes.setdefault(dim.text, size)
    return sizes


def _is_more_than_a_size(dim: dims.Dim) -> bool:
    return dim.broadcast or dim.per_leaf or (dim.variadic and dim.kind == "named")


# ------------------------------------------------------------------------------------------------ the memory


class Place:
    """One parameter, or the result: what its check looks at, and the default, which is not checked."""

    __slots__ = ("default", "describe", "look")

    def __init__(self, look: Look, default: Any = Parameter.empty) -> None:
        self.look = look
        self.default = default
        self.describe: Describe = _DESCRIBE[look]

    def tells(self, value: Any) -> bool:
        """Whether the description of a value says all that its check can have looked at."""
        return value is self.default or _is_told(self.look, value)


@dataclasses.dataclass(frozen=True)
class Places:
    """The parameters of a body: what takes one argument, by position and by name; `*args` and `**kwargs`."""

    positional: tuple[Place, ...]
    named: Mapping[str, Place]
    rest: Place | None
    extra: Place | None

    @property
    def every(self) -> list[Place]:
        variadic = [place for place in (self.rest, self.extra) if place is not None]
        return [*self.positional, *self.named.values(), *variadic]

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[Place, Any]]:
        """Each argument of a call with its place, if it has one: if not, that is the function's to say."""
        found = [*zip(self.positional, args, strict=False)]
        if self.rest is not None:
            found += [(self.rest, value) for value in args[len(self.positional) :]]
        for name, value in kwargs.items():
            place = self.named.get(name, self.extra)
            if place is not None:
                found.append((place, value))
        return found


class Memory:
    """The calls of one body that have passed."""

    limit: ClassVar[int] = 128  # calls; with more, all are forgotten
    patience: ClassVar[int] = 8  # calls in a row that can't be known, until none is looked up any more

    def __init__(self, places: Places, returns: Kind, *, used: bool = True) -> None:
        look = looks_at(returns)
        self._places = places
        self._returns = returns
        self._result = None if look is Look.ALL else Place(look)
        self._passed: dict[Hashable, Known] = {}
        hopeless = not used or any(place.look is Look.ALL for place in places.every)
        self._refused = self.patience if hopeless else 0

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Hashable, Known | None]:
        """What tells calls with these arguments from others, if anything does, and what is known of them."""
        if self._refused >= self.patience:
            return None, None
        try:
            described = [
                _DEFAULT if value is place.default else place.describe(value)
                for place, value in self._places.of(args, kwargs)
            ]
            key = len(args), tuple(kwargs), tuple(described)
            return key, self._passed.get(key)
        except Exception:  # somebody's node, which can't be taken apart or compared: for the check to say
            return None, None

    def add(
        self, key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any], seen: Seen, computes: bool
    ) -> None:
        """Know a call again that has passed, if its arguments are what they were when the key was made."""
        told = key is not None and all(place.tells(value) for place, value in self._places.of(args, kwargs))
        if not told or self.find(args, kwargs)[0] != key:
            self._refused += 1
            return
        if len(self._passed) >= self.limit:
            self._passed.clear()
        self._refused = 0
        self._passed[key] = Known(seen, computes, self._returns)

    def result(self, known: Known, value: Any) -> Hashable:
        """What tells a result of a known call from all others; `None` where more than that decides."""
        if self._result is None or not known.decides:
            return None
        try:
            return self._result.describe(value)
        except Exception:
            return None

    def add_result(self, known: Known, key: Hashable, value: Any) -> None:
        """Know a result again that has passed."""
        if key is None:
            return
        assert self._result is not None
        if len(known.returned) < self.limit and self._result.tells(value):
            known.returned.add(key)
        else:
            known.decides = False


_DEFAULT = "default"
