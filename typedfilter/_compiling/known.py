"""Bodies that JAX knows again: one function object for all calls of a function that are the same.

JAX traces what it knows by identity once. To lift a call to arrays takes a function of our own; so that is
kept, on the user's function, with all that the user's function reads beside its arguments: where something of
that is another object, or has another content, the body is another one, too. JAX itself does not look there.
"""

from __future__ import annotations

import enum
import functools
import inspect
import operator
import types
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import jax.core
import numpy as np

from typedfilter._compiling.remembered import is_settled
from typedfilter._placing.bodies import is_placing
from typedfilter._shapes.switch import check_mode
from typedfilter._values.carried import Carried
from typedfilter._values.fresh import is_changeable, used_up
from typedfilter._values.keys import exact_key, may_be_read_anew
from typedfilter._values.leaves import is_passed
from typedfilter._values.memory import Attached
from typedfilter._values.split import Rest, Taken, split_where

B = TypeVar("B")


class Body:
    """A function from the arrays of a call to its result, as one node for JAX."""

    def __init__(self, function: Callable[..., Any], arguments: Taken) -> None:
        self.function = function
        self.arguments = arguments.without_arrays()

    def __call__(self, arrays: Sequence[Any]) -> Carried:
        args, kwargs = self.arguments.join(arrays)
        return Carried(*split_where(self.function(*args, **kwargs), is_passed))


_Bodies: TypeAlias = "dict[Hashable, tuple[list[Any], Any]]"
_bodies: Attached[_Bodies] = Attached("__typedfilter_bodies__", dict)
_MAX_BODIES = 64


def traced_once(
    fn: Callable[..., Any],
    key: Hashable | None,
    new: Callable[[], B],
    trace: Callable[[B], tuple[Any, Carried]],
) -> tuple[Any, Carried]:
    """`trace(body)`, of the body that stood for the same call before, if there is one.

    Args:
        fn: the user's function. Of anything but a plain function, nothing is kept.
        key: what tells its calls apart; `None` where nothing does.
        new: makes a body.
        trace: has JAX trace it: what it gives, and the result of the body, with structs for arrays.
    """
    if key is None or type(fn) is not types.FunctionType:
        return trace(new())
    bodies = _bodies.of(fn)
    kept = bodies.get(key)
    if kept is not None and _are_same(kept[0], _read_by(fn)):
        return trace(kept[1])
    body = new()
    out = trace(body)
    reads = _read_by(fn)  # only now: it may have counted its runs
    if reads is not None and not any(map(_is_for_one, out[1].rest.others)):
        if len(bodies) >= _MAX_BODIES:
            bodies.clear()
        bodies[key] = reads, body
    return out


def _is_for_one(leaf: Any) -> bool:
    """Whether a leaf of a result must not be the same object for several callers."""
    return is_changeable(leaf) or used_up(leaf) is not None


def call_key(taken: Taken) -> Hashable | None:
    """What tells a call from others but for its arrays, which JAX tells apart; `None` where nothing does."""
    rests = [rest for rest in taken.rests if isinstance(rest, Rest)]
    if any(may_be_read_anew(value) for rest in rests for value in rest.others):
        return None
    try:
        static = tuple([(rest.treedef, *rest.taken_at, exact_key(tuple(rest.others))) for rest in rests])
        key = static, taken.names, check_mode(), is_placing()
        hash(key)
    except TypeError:
        return None
    return key


# ------------------------------------------------------------------------------------ what a function reads

_MOST_READ = 512  # objects; of a function that reads more, nothing is kept


def _are_same(before: list[Any], now: list[Any] | None) -> bool:
    return now is not None and len(before) == len(now) and all(map(operator.is_, before, now))


def _read_by(fn: types.FunctionType) -> list[Any] | None:
    """All that a function, and the functions of its package that it calls, read beside their arguments.

    Of containers, their content. `None` where something may change that can't be looked at.
    """
    package = _package(fn)
    found: list[Any] = []
    functions: set[int] = set()
    waiting: list[Any] = [fn]
    while waiting:
        value = waiting.pop()
        found.append(value)
        inside = () if id(value) in functions else _inside(value, package)
        if inside is None or len(found) > _MOST_READ:
            return None
        if callable(value):
            functions.add(id(value))
        waiting += inside
    return found


def _inside(value: Any, package: str) -> Sequence[Any] | None:
    """What else is read where a value is; `None` where it may change, and can't be looked at."""
    cls: Any = type(value)
    if cls is dict:
        return [*value, *value.values()]
    if cls is list or cls is set:  # `in` would ask a metaclass
        return list(value)
    function = inspect.unwrap(value) if callable(value) else None
    if isinstance(function, types.FunctionType):
        try:
            return _around(function) if _package(function) == package else ()
        except ValueError:  # a variable that is not there yet
            return None
    return () if _lasts(value, package) else None


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "").partition(".")[0]


def _around(fn: types.FunctionType) -> list[Any]:
    """What a function finds around itself: variables of functions, of its module, and defaults."""
    captured = [cell.cell_contents for cell in fn.__closure__ or ()]
    names = _names(fn.__code__)
    return [*captured, *(fn.__globals__.get(name) for name in names), fn.__defaults__, fn.__kwdefaults__]


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names of globals that code may read, functions inside of it included."""
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return (*code.co_names, *(name for one in inner for name in _names(one)))


def _lasts(value: Any, package: str) -> bool:
    """Whether a value stays what it is."""
    if isinstance(value, jax.core.Tracer | np.ndarray):
        return False
    if isinstance(value, types.ModuleType):
        return value.__name__.partition(".")[0] != package
    if isinstance(value, type):  # with attributes of its own
        return _package(value) != package or issubclass(value, enum.Enum)
    if value is None or type(value).__module__.startswith("jax"):
        return True
    return is_settled(value) and not may_be_read_anew(value)
