"""Every form that a type can have, read once into a small frozen value: a `Kind`.

Knows typing, jaxtyping, beartype and NumPy. Whatever is asked of a type afterwards (its role, whether it
can be a pair, whether a value is one, which values to try) is a fold over kinds, and takes no typing form
apart again. Knows nothing of markers, functions or values; of a class it knows the name, since what
stands in its fields is for `fields` to read.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import functools
import re
import sys
import types
import typing
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

import jax
import jaxtyping
import numpy as np
import typing_extensions
from beartype import BeartypeConf
from beartype.door import is_bearable
from beartype.roar import BeartypeException

from typedfilter._reading import dims
from typedfilter._reading.forms import (
    LITERALS,
    UNIONS,
    UNPACKS,
    arguments_of,
    is_array_class,
    is_tree_class,
    is_unpacked,
    limits_of,
    plain,
)

_CONTAINER_MODULES = ("builtins", "collections", "collections.abc")
_CONF = BeartypeConf(is_pep484_tower=True)


def is_bearable_by(value: Any, hint: Any) -> bool:
    """What beartype says of a value and one of the forms that are left to it."""
    return is_bearable(value, hint, conf=_CONF)


def _is_known_to_beartype(hint: Any) -> bool:
    try:
        is_bearable(None, hint, conf=_CONF)
    except BeartypeException:
        return False
    return True


# ------------------------------------------------------------------------------------------------- kinds


@dataclasses.dataclass(frozen=True, eq=False)
class Kind:
    """One type. `hint` is the type itself, for messages."""

    hint: Any

    @property
    def instance_class(self) -> type | None:
        """The class that its values are instances of; None where there is no such class."""
        origin = get_origin(self.hint) or self.hint
        return origin if isinstance(origin, type) else None

    @property
    def parts(self) -> tuple[Kind, ...]:
        """The kinds of what a value holds: elements, members of a union, leaves of a tree."""
        return ()

    @functools.cached_property
    def every(self) -> tuple[Kind, ...]:
        """This kind, and all kinds inside of it."""
        return self, *(kind for part in self.parts for kind in part.every)

    @functools.cached_property
    def binds(self) -> bool:
        """Whether a value can bind dimension or structure names."""
        return any(isinstance(kind, Array | Tree) for kind in self.every)

    @functools.cached_property
    def refuses(self) -> bool:
        """Whether there is anything to check: whether some value can be told not to be one."""
        return True


class Anything(Kind):
    """`Any`, `object`, and names that are not known: every value is one."""

    @functools.cached_property
    def refuses(self) -> bool:
        return False


ANYTHING = Anything(Any)


class Opaque(Kind):
    """A form that none of the others is: what beartype can't read either is not checked."""

    @functools.cached_property
    def refuses(self) -> bool:
        return _is_known_to_beartype(self.hint)


@dataclasses.dataclass(frozen=True, eq=False)
class Array(Kind):
    """A jaxtyping array."""

    @property
    def dims(self) -> tuple[dims.Dim, ...]:
        return dims.parse(self.hint.dim_str)

    @property
    def array_type(self) -> Any:
        return self.hint.array_type

    @property
    def takes_tracers(self) -> bool:
        """Whether a tracer is of the array type."""
        return self.array_type is Any or (
            isinstance(self.array_type, type) and issubclass(jax.Array, self.array_type)
        )

    def allows(self, dtype: str) -> bool:
        """Whether a dtype of this name is one of those."""
        if not isinstance(self.hint.dtypes, tuple):
            return True  # jaxtyping's mark for any dtype
        return any(
            one.match(dtype) is not None if isinstance(one, re.Pattern) else one == dtype
            for one in self.hint.dtypes
        )

    def takes_dtype(self, dtype: Any) -> bool:
        """Whether arrays of `dtype` are such arrays."""
        is_key = jax.numpy.issubdtype(dtype, jax.dtypes.prng_key)
        return self.allows("prng_key" if is_key else np.dtype(dtype).name) or self.allows(dtype.type.__name__)

    @property
    def is_key(self) -> bool:
        return self.allows("prng_key") and not self.allows("float32")

    @functools.cached_property
    def with_tracers(self) -> Any:
        """The jaxtyping class that takes a tracer in the place of a NumPy array, too."""
        if self.array_type is not np.ndarray:
            return self.hint
        return type(self.hint)(self.hint.__name__, (self.hint,), {"array_type": (np.ndarray, jax.Array)})


@dataclasses.dataclass(frozen=True, eq=False)
class NumpyArray(Kind):
    """`np.ndarray`, `NDArray[np.float32]`; `scalar` is the scalar type of the dtype, if that is told."""

    scalar: Any


class NumpyScalar(Kind):
    """`np.float32`, and `jnp.float32`, whose instances are arrays without axes."""


class Scalar(Kind):
    """`bool`, `int`, `float` or `complex`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Literal(Kind):
    """`Literal["a", 3]`."""

    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Union(Kind):
    """`A | B`."""

    members: tuple[Kind, ...]

    @property
    def parts(self) -> tuple[Kind, ...]:
        return self.members

    @functools.cached_property
    def refuses(self) -> bool:
        return all(member.refuses for member in self.members)


class Variable(Kind):
    """A TypeVar; its members are its constraints, or its bound; none where it has neither."""

    @functools.cached_property
    def members(self) -> tuple[Kind, ...]:
        """Read when they are asked for: a bound in quotes may name a class that comes later."""
        try:
            limits = limits_of(self.hint)
        except NameError:  # which type checkers alone know
            return ()
        return tuple(kind_of(_unquoted(limit, self.hint)) for limit in limits)

    @property
    def parts(self) -> tuple[Kind, ...]:
        return self.members

    @functools.cached_property
    def refuses(self) -> bool:
        return bool(self.members) and all(member.refuses for member in self.members)


@dataclasses.dataclass(frozen=True, eq=False)
class Rest(Kind):
    """`*tuple[A, ...]` among the items of a tuple: any number of elements."""

    item: Kind

    @property
    def parts(self) -> tuple[Kind, ...]:
        return (self.item,)


@dataclasses.dataclass(frozen=True, eq=False)
class Tuple(Kind):
    """`tuple[A, B]`, of which one item may be a `Rest`."""

    items: tuple[Kind, ...]

    @property
    def parts(self) -> tuple[Kind, ...]:
        return self.items

    def items_for(self, count: int) -> tuple[Kind, ...] | None:
        """A kind for each of `count` elements; None where a tuple can't have that many."""
        at = next((i for i, item in enumerate(self.items) if isinstance(item, Rest)), None)
        if at is None:
            return self.items if len(self.items) == count else None
        more = count - len(self.items) + 1
        if more < 0:
            return None
        return (*self.items[:at], *self.items[at].parts * more, *self.items[at + 1 :])


@dataclasses.dataclass(frozen=True, eq=False)
class Each(Kind):
    """`list[A]`, `tuple[A, ...]`, `Sequence[A]`, `set[A]`, `Iterable[A]`: one type for every element."""

    origin: Any
    item: Kind

    @property
    def parts(self) -> tuple[Kind, ...]:
        return (self.item,)


@dataclasses.dataclass(frozen=True, eq=False)
class Mapping(Kind):
    """`dict[K, V]`, `Mapping[K, V]`, `Counter[K]`."""

    origin: Any
    key: Kind
    item: Kind

    @property
    def parts(self) -> tuple[Kind, ...]:
        return (self.key, self.item)


@dataclasses.dataclass(frozen=True, eq=False)
class Tree(Kind):
    """`PyTree[leaf]`, `PyTree[leaf, "T"]`, and `PyTree` alone, which says neither."""

    leaf: Kind
    structure: str | None

    @property
    def parts(self) -> tuple[Kind, ...]:
        return (self.leaf,)

    @functools.cached_property
    def refuses(self) -> bool:
        return self.structure is not None or self.leaf.refuses

    @functools.cached_property
    def is_per_leaf(self) -> bool:
        """Whether a name means another size at each leaf: `PyTree[Float[Array, "?n"], "T"]`."""
        return any(isinstance(kind, Array) and any(dim.per_leaf for dim in kind.dims) for kind in self.every)


@dataclasses.dataclass(frozen=True, eq=False)
class Callable(Kind):
    """`Callable[[A], B]`; `parameters` are None for `...`, both are for a bare `Callable`."""

    parameters: tuple[Kind, ...] | None
    result: Kind | None


@dataclasses.dataclass(frozen=True, eq=False)
class Class(Kind):
    """Any other class, with its type arguments."""

    cls: type
    arguments: tuple[Any, ...]

    @functools.cached_property
    def refuses(self) -> bool:
        """Whether `isinstance` answers for this class (it refuses for most protocols, and a bare `Float`)."""
        if self.is_type_of:
            return _is_known_to_beartype(self.asked)
        try:
            isinstance(None, self.cls)
        except (TypeError, jaxtyping.AnnotationError):
            return False
        return True

    @property
    def is_type_of(self) -> bool:
        """Whether this is `type[X]`, of which more is asked than that it is a class."""
        return self.cls is type and bool(self.arguments)

    @property
    def asked(self) -> Any:
        return types.GenericAlias(type, self.arguments)  # typing.Type[X] makes beartype warn


class Record(Class):
    """A NamedTuple (by attribute) or a TypedDict (by key)."""

    @functools.cached_property
    def refuses(self) -> bool:
        return True

    @property
    def keyed(self) -> bool:
        return typing_extensions.is_typeddict(self.cls)


# ----------------------------------------------------------------------------------------------- reading


def kind_of(hint: Any) -> Kind:
    """Read a type that has no markers of ours any more."""
    hint = plain(hint)
    origin, args = get_origin(hint), arguments_of(hint)
    if hint is Any or hint is object or isinstance(hint, str | ForwardRef):
        return Anything(hint)
    if isinstance(hint, TypeVar):
        return Variable(hint)
    if origin in UNIONS:
        return Union(hint, tuple(map(kind_of, args)))
    if origin in LITERALS:
        return Literal(hint, args)
    if origin is None:
        return _of_class(hint, ()) if isinstance(hint, type) else _of_form(hint)
    return _of_generic(hint, origin, args)


def _unquoted(limit: Any, variable: TypeVar) -> Any:
    """A limit of a type variable that is written in quotes, by the names of the module that made it."""
    if not isinstance(limit, ForwardRef):
        return limit
    names = vars(sys.modules.get(variable.__module__, typing))
    try:
        found = eval(limit.__forward_arg__, dict(names))
    except Exception:  # a name that exists for type checkers only
        return Any
    return Any if getattr(found, "__parameters__", ()) else found  # it may be limited by itself


def _of_form(hint: Any) -> Kind:
    return Callable(hint, None, None) if hint is typing.Callable else Opaque(hint)


def _of_class(cls: Any, args: tuple[Any, ...], hint: Any = None) -> Kind:
    hint = cls if hint is None else hint
    if is_array_class(cls):
        return Array(cls)
    if is_tree_class(cls):
        leaf = kind_of(getattr(cls, "leaftype", Any))
        return Tree(cls, leaf, getattr(cls, "structure", None))
    if cls in (bool, int, float, complex):
        return Scalar(cls)
    if cls is np.ndarray:
        return NumpyArray(hint, None)
    if cls is collections.abc.Callable:
        return Callable(hint, None, None)
    if issubclass(cls, np.generic) or isinstance(cls, type(jax.numpy.float32)):
        return NumpyScalar(cls)
    record = typing_extensions.is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    return (Record if record else Class)(hint, cls, args)


def _of_generic(hint: Any, origin: Any, args: tuple[Any, ...]) -> Kind:
    if origin is tuple:
        return _of_tuple(hint, args)
    if isinstance(origin, type) and issubclass(origin, np.ndarray):
        scalar = next(iter(get_args(args[1])), None) if len(args) == 2 else None
        return NumpyArray(hint, scalar)
    if origin is collections.abc.Callable:
        return _of_callable(hint, args)
    if not isinstance(origin, type):
        return Opaque(hint)
    if origin.__module__ in _CONTAINER_MODULES and args:
        if issubclass(origin, collections.abc.Mapping) and len(args) == 2:
            return Mapping(hint, origin, kind_of(args[0]), kind_of(args[1]))
        if origin is collections.Counter:
            return Mapping(hint, origin, kind_of(args[0]), kind_of(int))
        if issubclass(origin, collections.abc.Iterable) and len(args) == 1:
            return Each(hint, origin, kind_of(args[0]))
    return _of_class(origin, args, hint)


def _of_callable(hint: Any, args: tuple[Any, ...]) -> Kind:
    if len(args) != 2:
        return Callable(hint, None, None)
    parameters = tuple(map(kind_of, args[0])) if isinstance(args[0], list) else None
    return Callable(hint, parameters, kind_of(args[1]))


def _of_tuple(hint: Any, args: tuple[Any, ...]) -> Kind:
    if len(args) == 2 and args[1] is ...:
        return Each(hint, tuple, kind_of(args[0]))
    items: list[Kind] = []
    for arg in args:
        if is_unpacked(arg):
            items.extend(_unpacked(arg))
        elif arg != ():
            items.append(kind_of(arg))
    return Tuple(hint, tuple(items))


def _unpacked(arg: Any) -> tuple[Kind, ...]:
    """What `*tuple[A, B]`, `*tuple[A, ...]` and `*Ts` put among the elements of a tuple."""
    inner = arg if get_origin(arg) not in UNPACKS else arguments_of(arg)[0]
    kind = _of_tuple(inner, arguments_of(inner)) if get_origin(inner) is tuple else Anything(inner)
    if isinstance(kind, Tuple):
        return kind.items
    return (Rest(arg, kind.item if isinstance(kind, Each) else kind),)
