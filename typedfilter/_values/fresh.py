"""What is given to everybody anew: mutable values of Python's own, of which a program keeps one.

A compiled program returns what is no array as it was when it was traced. An object that callers could
change, or use up, must not be the same one for all of them.
"""

from __future__ import annotations

import array
import collections
import copy
import dataclasses
import io
import operator
import random
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from typedfilter._values.memory import ByClass
from typedfilter._values.split import Rest
from typedfilter.errors import StaticArgumentError


def is_changeable(leaf: Any) -> bool:
    """Whether this is a mutable value of Python's or NumPy's own that JAX takes for a leaf, or holds one."""
    return type(leaf) in _COPIES or (_is_record(type(leaf)) and fresh(leaf) is not leaf)


def fresh(value: Any) -> Any:
    """A copy of what callers could change: of containers of Python's own, at every depth."""
    cls = type(value)
    copied = _COPIES.get(cls) or _INSIDE.get(cls) or (_record if _is_record(cls) else None)
    return value if copied is None else copied(value)


def used_up(leaf: Any) -> str | None:
    """What this is, if it can be used once: an iterator, a generator, a coroutine; else `None`."""
    for kind, name in _ONCE.items():
        if isinstance(leaf, kind):
            return name
    own = type(leaf).__module__ in ("builtins", "itertools")
    return f"an iterator ({type(leaf).__name__})" if own and isinstance(leaf, Iterator) else None


def fresh_rest(rest: Rest) -> Rest:
    """What was no array in a result, for one more caller."""
    if not any(map(is_changeable, rest.others)):
        return rest
    return Rest(rest.treedef, rest.taken_at, rest.others_at, list(map(fresh, rest.others)))


def refuse_used_up(leaf: Any, function: str) -> None:
    """Raise `StaticArgumentError` where a leaf of a result could be used once only, after the trace."""
    if used_up(leaf) is not None:
        _refuse(leaf, function, "can be used once, and a program returns it at every call")


def refuse_late(leaves: Sequence[Any], function: str) -> None:
    """Raise `StaticArgumentError` where a leaf of a result would run on once the trace is over."""
    for leaf in leaves:
        if isinstance(leaf, _LATE):
            _refuse(leaf, function, "runs when the arrays that it was given are gone")


def _refuse(leaf: Any, function: str, why: str) -> NoReturn:
    if hasattr(type(leaf), "close"):
        leaf.close()
    what = used_up(leaf) or ""
    raise StaticArgumentError(
        f"is {what}, which {why}",
        function=function,
        parameter="return",
        expected="arrays, and values that stay what they are",
        actual=what,
        fix="return a list or a tuple of what it yields, and await outside of compiled functions",
    )


def _namespace(value: types.SimpleNamespace) -> types.SimpleNamespace:
    return types.SimpleNamespace(**{name: fresh(one) for name, one in vars(value).items()})


def _items(value: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    return ((key, fresh(one)) for key, one in value.items())


def _tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    copied = tuple(map(fresh, value))
    return value if all(map(operator.is_, value, copied)) else copied


def _has_values(cls: type) -> bool:
    """Whether instances are known by their fields alone, as `dataclasses.dataclass` makes them.

    Those with fields that can be set, and a hash all the same, are not: which one it is matters.
    """
    params = getattr(cls, "__dataclass_params__", None)
    return params is not None and params.eq and (params.frozen or cls.__hash__ is None)


_is_record = ByClass(_has_values).__getitem__


def _record(value: Any) -> Any:
    fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    changed = {name: copied for name, old in fields.items() if (copied := fresh(old)) is not old}
    if not changed and type(value).__dataclass_params__.frozen:
        return value
    made = copy.copy(value)
    for name, copied in changed.items():
        object.__setattr__(made, name, copied)
    return made


_ONCE: dict[type, str] = {
    types.CoroutineType: "a coroutine (of an async def)",
    types.AsyncGeneratorType: "an asynchronous generator",
    types.GeneratorType: "a generator",
}
_LATE = tuple(_ONCE)
_COPIES: dict[type, Callable[[Any], Any]] = {
    set: set,
    bytearray: bytearray,
    array.array: lambda value: value[:],
    collections.Counter: collections.Counter,
    collections.deque: lambda value: collections.deque(map(fresh, value), value.maxlen),
    types.SimpleNamespace: _namespace,
    collections.UserDict: lambda value: collections.UserDict(_items(value.data)),
    collections.UserList: lambda value: collections.UserList(map(fresh, value.data)),
    np.ndarray: np.ndarray.copy,  # of strings, say: any other is an array to JAX
    **dict.fromkeys((random.Random, np.random.Generator, np.random.RandomState), copy.deepcopy),
    **dict.fromkeys((io.StringIO, io.BytesIO), copy.copy),
}
_INSIDE: dict[type, Callable[[Any], Any]] = {
    list: lambda value: list(map(fresh, value)),
    tuple: _tuple,
    dict: lambda value: dict(_items(value)),
    collections.OrderedDict: lambda value: collections.OrderedDict(_items(value)),
    collections.defaultdict: lambda value: collections.defaultdict(value.default_factory, _items(value)),
}
