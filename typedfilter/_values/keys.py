"""When two static values are the same: exact structural keys, and one shared object for each of them.

Knows Python values; knows nothing of pytrees, annotations or transforms. Python's `==` is too
coarse to share a compilation by (`1 == 1.0 == True`, `0.0 == -0.0`) and too fine for a NaN, so values are
compared by keys that are equal only when no program could tell the values apart.
"""

from __future__ import annotations

import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import operator
import pathlib
import re
import struct
import sys
import types
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol, TypeVar

import jax
import jax.core
import numpy as np

from typedfilter._compat import text_of
from typedfilter._values.leaves import leaf_is_array_type
from typedfilter._values.memory import ByClass, InternTable

_CONTAINERS: tuple[type, ...] = (tuple, list, frozenset, set, dict)


def _fields_compared(cls: type) -> tuple[str, ...]:
    """The fields by which instances of a dataclass are told apart; none where identity decides."""
    if not dataclasses.is_dataclass(cls) or _inherits_eq(cls, object):
        return ()
    return tuple(field.name for field in dataclasses.fields(cls) if field.compare)


def _has_generated_eq(cls: type) -> bool:
    """Whether `cls.__eq__` is what `dataclasses` writes, hence says nothing that the fields don't."""
    code = getattr(cls.__eq__, "__code__", None)
    reference: Any = dataclasses.make_dataclass("reference", _FIELDS_COMPARED[cls]).__eq__
    written = reference.__code__
    return code is not None and (code.co_code, code.co_names, code.co_consts) == (
        written.co_code,
        written.co_names,
        written.co_consts,
    )


def _structure_fields(cls: type) -> tuple[str, ...]:
    """The fields of a `pytree_dataclass` that has static fields alone, and no `__eq__` of its own."""
    hidden = vars(cls).get("__typedfilter_static__")
    if hidden is None or not _inherits_eq(cls, object) or "__hash__" in vars(cls):
        return ()
    names = tuple([field.name for field in dataclasses.fields(cls)])
    return names if set(names) == set(hidden.names) else ()


_STRUCTURES = ByClass(_structure_fields)
_FIELDS_COMPARED = ByClass(_fields_compared)
_HAS_GENERATED_EQ = ByClass(_has_generated_eq)


def exact_key(value: object) -> Hashable:
    """A key that equals another one exactly when no program could tell the two values apart.

    Types count at every depth, floats by their bits, dataclasses by the fields they compare, containers by
    their elements in the order of iteration (which a program can see, of a `frozenset` too). Of any other
    object its exact type and its own `__eq__` decide. Not to be called by `map` nor in a generator, which
    take a `StopIteration` of a user's `__hash__` for their own.

    Raises:
        TypeError: the value, or something inside it, is unhashable.
    """
    try:
        return _key(value, False)
    except RecursionError:
        return tuple(_pieces(value))


def _pieces(value: Any) -> Iterator[Hashable]:
    """What a value is nested of, without recursion: each container with its length before its elements."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        cls = type(one)
        if cls not in (tuple, frozenset):
            yield _key(one, False)
            continue
        yield cls, len(one)
        waiting += reversed(tuple(one))


def _key(value: Any, owned: bool) -> Hashable:
    """As `exact_key`; `owned` says that a hashable dataclass vouches for the mutable containers in it."""
    cls = type(value)
    return _KEY_MAKERS[cls](cls, value, owned)


def _opaque_key(cls: type, value: Any, owned: bool) -> Hashable:
    hash(value)
    return cls, value


def _inherits_eq(cls: Any, base: Any) -> bool:
    return cls.__eq__ is base.__eq__


def _float_key(cls: type, value: Any, owned: bool) -> Hashable:
    bits = struct.pack("d", value)
    return (cls, bits) if _inherits_eq(cls, float) else (cls, bits, value)


def _complex_key(cls: type, value: Any, owned: bool) -> Hashable:
    bits = struct.pack("dd", value.real, value.imag)
    return (cls, bits) if _inherits_eq(cls, complex) else (cls, bits, value)


def _numpy_key(cls: type, value: Any, owned: bool) -> Hashable:
    if issubclass(cls, np.void):  # tobytes() would read the padding between the fields
        hash(value)
        return cls, value.dtype, _key(value.item(), True)
    if value.dtype.char in "gG":  # the same for the padding of 80 bit numbers
        return cls, value.dtype, repr(value)
    return cls, value.dtype, value.tobytes()


def _span_key(cls: type, value: Any, owned: bool) -> Hashable:
    """Of a range (empty ones are equal) or a slice (unhashable before Python 3.12; here by what it holds)."""
    return cls, _key(value.start, owned), _key(value.stop, owned), _key(value.step, owned)


def _decimal_key(cls: type, value: Any, owned: bool) -> Hashable:
    """Digits and exponent: `1.0` is `1.00` to `==`, and `0` is `-0`."""
    digits: Hashable = tuple(value.as_tuple())
    return (cls, digits) if _inherits_eq(cls, decimal.Decimal) else (cls, digits, value)


def _moment_key(cls: type, value: Any, owned: bool) -> Hashable:
    """What a time or a date with a time shows, in which zone: one moment has many."""
    base = datetime.datetime if issubclass(cls, datetime.datetime) else datetime.time
    shown = cls, value.isoformat(), value.fold, _key(value.tzinfo, owned)
    return shown if _inherits_eq(cls, base) else (*shown, value)


def _zone_key(cls: type, value: Any, owned: bool) -> Hashable:
    return cls, value.utcoffset(None), value.tzname(None)


def _alias_key(cls: type, value: Any, owned: bool) -> Hashable:
    """Of `list[1]`, which is `list[True]` to `==`."""
    return cls, value.__origin__, _key(value.__args__, True), repr(value)


def _view_key(cls: type, value: Any, owned: bool) -> Hashable:
    """Of a memory view: equal ones may give the same bytes another format."""
    hash(value)  # of what can be written to it raises
    return cls, value, value.format, value.shape


def _code_key(cls: type, value: Any, owned: bool) -> Hashable:
    return cls, value, value.co_filename


def _pickled_key(cls: type, value: Any, owned: bool) -> Hashable:
    """Of what the standard library ships: what it is pickled from, too, which tells more than its `==`."""
    hash(value)
    reduce: Callable[[Any], Any] = copyreg.dispatch_table.get(cls, _reduced)
    return cls, value, _key(reduce(value), True)


def _reduced(value: Any) -> Any:
    return value.__reduce_ex__(2)


# The standard library compares these by all that they are: nothing would be gained, and time lost.
_EXACT = (datetime.date, datetime.timedelta, fractions.Fraction, pathlib.PurePosixPath, re.Pattern)


def _is_pickled_by_its_own(cls: type) -> bool:
    """Whether the standard library compares and pickles these, and not by `vars()`, where caches may lie."""
    if cls in copyreg.dispatch_table:
        return cls not in _EXACT
    compares = next(base for base in cls.__mro__ if "__eq__" in vars(base))
    ships = compares.__module__.partition(".")[0] in sys.stdlib_module_names - {"builtins"}
    ways = ("__reduce__", "__reduce_ex__", "__getstate__")
    own = any(name in vars(base) for name in ways for base in cls.__mro__[:-1])
    return ships and own and not issubclass(cls, _EXACT)


def _container_key(cls: type, value: Any, owned: bool) -> Hashable:
    if cls.__hash__ is None and not owned:
        hash(value)
    items = value.items() if issubclass(cls, dict) else value
    elements = tuple([_key(item, owned) for item in items])
    base = next(base for base in _CONTAINERS if issubclass(cls, base))
    if _inherits_eq(cls, base):
        return cls, elements
    hash(value)
    return cls, elements, value


def _fields_key(cls: type, value: Any, owned: bool) -> Hashable:
    hash(value)
    fields = tuple([_key(getattr(value, name), True) for name in _FIELDS_COMPARED[cls]])
    return (cls, fields) if _HAS_GENERATED_EQ[cls] else (cls, fields, value)


def _structure_key(cls: type, value: Any, owned: bool) -> Hashable:
    """To JAX two such objects are one structure: so they are as static values."""
    return cls, tuple([_key(getattr(value, name), True) for name in _STRUCTURES[cls]])


def _with_hidden_fields(cls: Any) -> tuple[type, ...]:
    """`cls` itself if it is a tuple that holds more than its elements, as `time.struct_time` does."""
    hidden = issubclass(cls, tuple) and getattr(cls, "n_fields", 0) != getattr(cls, "n_sequence_fields", 0)
    return (cls,) if hidden else ()


def _key_maker(cls: type) -> Callable[[type, Any, bool], Hashable]:
    if issubclass(cls, enum.Enum):  # members are single objects, whatever type their values mix in
        return _opaque_key
    for bases, maker in (
        (np.generic, _numpy_key),  # before float: np.float64 is one
        (_with_hidden_fields(cls), _pickled_key),
        (float, _float_key),
        (complex, _complex_key),
        ((range, slice), _span_key),
        (_CONTAINERS, _container_key),
        (decimal.Decimal, _decimal_key),
        ((datetime.datetime, datetime.time), _moment_key),
        (datetime.timezone, _zone_key),
        (types.GenericAlias, _alias_key),
        (memoryview, _view_key),
        (types.CodeType, _code_key),
    ):
        if issubclass(cls, bases):
            return maker
    if not _FIELDS_COMPARED[cls] and _is_pickled_by_its_own(cls):
        return _pickled_key
    if _FIELDS_COMPARED[cls]:
        return _fields_key
    return _structure_key if _STRUCTURES[cls] else _opaque_key


_KEY_MAKERS = ByClass(_key_maker)
_SELF_EXACT = ByClass(lambda cls: _KEY_MAKERS[cls] is _opaque_key)

is_self_exact: Callable[[type], bool] = _SELF_EXACT.__getitem__
"""Whether two values of exactly this class that are `==` can't be told apart by a program.

Then `jax.jit`'s own comparison of static arguments, by type and `==`, is exact. False for floats, complex
numbers, NumPy scalars, containers, ranges, slices, decimals, times and dataclasses that compare by their
fields."""


class _Entry(Protocol):
    """What stands for a value in a table, by its exact key."""

    key: Any
    value: Any


class Interned:
    """The one object that stands for all values of one exact key; compared and hashed by identity."""

    __slots__ = ("__weakref__", "key", "value")

    value: Any  # the value, as first seen
    key: Any  # its `exact_key`

    def __init__(self, value: object, key: Hashable) -> None:
        self.value = value
        self.key = key

    def __repr__(self) -> str:
        return repr(self.value)

    def __reduce__(self) -> tuple[Any, ...]:
        return intern, (self.value,)


def stays_equal(value: Any) -> bool:
    """Whether no program can change what a hashable value is equal to, without force."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        cls = type(one)
        if issubclass(cls, tuple | frozenset):
            waiting += one
        elif _FIELDS_COMPARED[cls]:
            if not getattr(cls, "__dataclass_params__").frozen:  # noqa: B009 (type checkers know no such attribute)
                return False
            waiting += [getattr(one, name) for name in _FIELDS_COMPARED[cls]]
    return True  # what compares itself stands in the key itself, and changes there


_OTHERS = frozenset({*sys.stdlib_module_names, "jax", "jaxlib", "ml_dtypes", "numpy", "typedfilter"})


def may_be_read_anew(value: Any) -> bool:
    """Whether this is an object of a user's class, whose attributes a body may find to be others next time.

    Which object it is does not tell. An `__eq__` of its own decides, as it does of any static value.
    """
    cls: Any = type(value)
    if isinstance(value, type | enum.Enum | types.ModuleType):
        return False
    if issubclass(cls, tuple | frozenset):
        return any(map(may_be_read_anew, value))
    if cls.__module__.partition(".")[0] in _OTHERS:
        return cls.__eq__ is object.__eq__ and not callable(value)
    params = getattr(cls, "__dataclass_params__", None)
    if params is None or not params.frozen:
        return params is not None or cls.__eq__ is object.__eq__
    held = (getattr(value, field.name, None) for field in dataclasses.fields(cls))
    return any(map(may_be_read_anew, held))


E = TypeVar("E", bound=_Entry)


def current(table: InternTable[E], value: object, key: Hashable, make: Callable[[], E]) -> E:
    """The live entry with this key whose value still has it.

    Somebody may have changed the object that was seen first: what is traced from now on must not see that.
    """
    found = table.get_or_add(key, make)
    while found.value is not value and not stays_equal(found.value) and exact_key(found.value) != key:
        found.key = object()  # nobody finds it any more
        found = table.get_or_add(key, make)
    return found


_TABLE: InternTable[Interned] = InternTable()


def intern(value: object) -> Interned:
    """The one live `Interned` with the exact key of `value`. It lives as long as somebody holds it.

    Raises:
        TypeError: the value, or something inside it, is unhashable.
    """
    key = exact_key(value)
    return current(_TABLE, value, key, lambda: Interned(value, key))


def static_problem(value: object) -> str | None:
    """Why `value` can't be static, as a predicate ("is unhashable: list"); `None` if it can."""
    cls = type(value)  # a mock with a specification only says that it is an array
    known = issubclass(cls, (np.ndarray, jax.core.Tracer))
    if known or (leaf_is_array_type(cls) and isinstance(value, jax.Array)):
        return "is an array"
    try:
        exact_key(value)
    except TypeError as error:
        return _unhashable(value, error)
    except Exception as error:
        return f"has a __hash__ that raised {type(error).__name__}: {text_of(error)}"
    try:
        same = operator.eq(value, value)
    except Exception as error:
        return f"has an __eq__ that raised {type(error).__name__}: {text_of(error)}"
    if isinstance(same, (jax.Array, np.ndarray)):
        return "has an __eq__ that returned an array"
    try:
        bool(same)
    except Exception as error:
        return f"has an __eq__ whose result raised {type(error).__name__}: {text_of(error)}"
    return None


def _unhashable(value: object, error: TypeError) -> str:
    if type(value).__hash__ is None:
        return f"is unhashable: {type(value).__name__}"
    culprit = _first_unhashable(value)
    if culprit is None:
        return f"has a __hash__ that raised TypeError: {text_of(error)}"
    if isinstance(culprit, (jax.Array, np.ndarray)):
        return f"is unhashable: {type(value).__name__} with an array inside"
    return f"is unhashable: {type(value).__name__} with a {type(culprit).__name__} inside"


def _first_unhashable(value: Any) -> object | None:
    cls = type(value)
    inside = list(value) if issubclass(cls, (tuple, frozenset)) else []
    inside += [getattr(value, name, None) for name in _FIELDS_COMPARED[cls]]
    for item in inside:
        if type(item).__hash__ is None or isinstance(item, (jax.Array, np.ndarray)):
            return item  # type: ignore[no-any-return]  # elements of a container are Any
        culprit = _first_unhashable(item)
        if culprit is not None:
            return culprit
    return None
