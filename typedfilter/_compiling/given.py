"""Arrays that were given away, and that somebody still holds: a program that is given one again must not run.

Releases of JAX end the process there, if the array is on several devices. To ask every array of every call
costs too much: asked are those that are donated, arguments that are arrays, and all of them while somebody
holds what a call has donated. That is remembered weakly; mostly none of it is left when the next call looks.
"""

from __future__ import annotations

import collections
import inspect
import itertools
import operator
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax

__all__ = ["NAMES", "Guarded", "forget_all", "remember"]


class Guarded(NamedTuple):
    """The parameters of a function whose arrays may be gone.

    Attributes:
        donated: those that it donates;
        kept: those that it doesn't, by name;
        variadic: and those of them that take several arguments.
    """

    donated: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    variadic: tuple[str, ...] = ()

    @classmethod
    def of(cls, donated: tuple[str, ...], rest: Iterable[inspect.Parameter]) -> Guarded:
        """Of those that are donated, by name, and of the others that may take arrays."""
        rest = list(rest)
        several = {param.name for param in rest if param.kind in (param.VAR_POSITIONAL, param.VAR_KEYWORD)}
        kept = tuple(param.name for param in rest if param.name not in several)
        return cls(donated, kept, tuple(param.name for param in rest if param.name in several))

    def written(self, prefix: str) -> str:
        """The lines that look at the arguments, in a function that has `NAMES` behind this prefix."""
        lines = _DONATED.format(_=prefix, names=", ".join(self.donated)) if self.donated else ""
        if not self.kept and not self.variadic:
            return lines
        direct = [f" or {prefix}type({name}) is {prefix}array and {name}.is_deleted()" for name in self.kept]
        names = ", ".join((*self.kept, *self.variadic))
        return lines + _KEPT.format(_=prefix, direct="".join(direct), names=names)


# In C, and without a frame: this is in the way of each call that donates.
_DONATED = """
            if {_}array is not None:
                {_}leaves = {_}flatten(({names},))[0]
                {_}are = {_}map({_}is, {_}map({_}type, {_}leaves), {_}same({_}array))
                {_}arrays = {_}list({_}compress({_}leaves, {_}are))
                if True in {_}map({_}is_deleted, {_}arrays):
                    raise {_}gone
                {_}fresh.extend({_}map({_}ref, {_}arrays))
                if {_}len({_}fresh) > {_}many:
                    {_}settle()"""
_KEPT = """
            if {_}array is not None and ({_}fresh or {_}left{direct}):
                {_}refuse(({names},), {_}array)"""

_MANY = 32
_fresh: collections.deque[weakref.ref[Any]] = collections.deque()  # what calls have donated of late
_left: dict[int, weakref.ref[Any]] = {}  # what of it is deleted, and held by somebody, by its id
_flatten = jax.tree_util.default_registry.flatten
_is_deleted = operator.methodcaller("is_deleted")


_gone = RuntimeError("Array has been deleted with shape unknown.")  # is explained as JAX's own is


def remember(arguments: Any, array: type) -> None:
    """Remember the arrays of arguments that are about to be donated."""
    _fresh.extend(map(weakref.ref, _arrays(arguments, array)))


def _refuse(arguments: tuple[Any, ...], array: type) -> None:
    """Refuse arguments of which an array is gone."""
    _settle()
    if True in map(_is_deleted, _arrays(arguments, array)):
        raise _gone


def _arrays(arguments: Any, array: type) -> list[Any]:
    leaves = _flatten(arguments)[0]
    return list(itertools.compress(leaves, map(operator.is_, map(type, leaves), itertools.repeat(array))))


def _settle() -> None:
    """Keep only what is deleted, and held by somebody."""
    taken = [_fresh.popleft() for _ in range(len(_fresh))]
    for array in [array for array in map(operator.call, taken) if array is not None]:
        if array.is_deleted():
            _left[id(array)] = weakref.ref(array, _forgetting(id(array)))


def _forgetting(key: int) -> Any:
    return lambda _: _left.pop(key, None)


NAMES: dict[str, Any] = {
    "array": None,
    "flatten": _flatten,
    "compress": itertools.compress,
    "is": operator.is_,
    "same": itertools.repeat,
    "is_deleted": _is_deleted,
    "gone": _gone,
    "ref": weakref.ref,
    "many": _MANY,
    "settle": _settle,
    "refuse": _refuse,
    "fresh": _fresh,
    "left": _left,
}
"""What the lines of a guard use; `array` is the class of arrays, once there are several devices."""


def forget_all() -> None:
    """Forget what was donated, for tests."""
    _fresh.clear()
    _left.clear()
