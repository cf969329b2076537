"""What a compiled function was traced for, by what its programs are keyed by, and who wants to know of it.

A trace is remembered by the shapes and dtypes of arrays and the exact keys of static values, never by their
texts; nothing that is remembered keeps an object of the user's alive. All happens while JAX traces.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import types
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax

from typedfilter._compat import trace_contexts
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Plan
from typedfilter._values.keys import exact_key
from typedfilter._values.leaves import is_passed
from typedfilter._values.text import safe_repr

__all__ = ["History", "Leaf", "Trace", "TraceEvent", "trace_observers"]

_REMEMBERED = 32  # traces of a function; with more of them, the oldest is forgotten
_SHOWN = 60
_ATOMS = (type(None), bool, int, float, complex, str, bytes, enum.Enum)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One leaf of an argument in one trace.

    Attributes:
        aval: of an array.
        key: of a static value that is made of numbers and texts, its exact key.
        ref: of any other static value; dead where that is gone.
        text: for people.
    """

    text: str
    aval: Any = None
    key: Hashable = None
    ref: Callable[[], Any] | None = None

    @classmethod
    def of(cls, leaf: Any, passed: bool) -> Leaf:
        """A leaf, of which `is_passed` says whether it goes through JAX."""
        if passed:
            return cls("", aval=jax.typeof(leaf))
        if _is_atomic(leaf):
            return cls(safe_repr(leaf, _SHOWN), key=(type(leaf), exact_key(leaf)))
        try:
            return cls(_named(leaf), ref=weakref.ref(leaf))
        except TypeError:  # a tuple, say
            return cls(_named(leaf), key=_hash(leaf))

    def is_same(self, other: Leaf) -> bool:
        """Whether a program for one is a program for the other."""
        if self.aval is not None or other.aval is not None:
            return bool(self.aval == other.aval)
        if self.ref is None or other.ref is None:
            return self.ref is other.ref and self.key == other.key
        mine, others = self.ref(), other.ref()
        return mine is not None and (mine is others or _equal(mine, others))


def _is_atomic(value: Any) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(_is_atomic, value))
    return isinstance(value, _ATOMS)


def _named(value: Any) -> str:
    """A value by its name or its class; its own repr may be long, or do anything."""
    if type(value) is types.FunctionType:
        return f"<function {value.__qualname__.rpartition('<locals>.')[2]}>"
    return f"<{type(value).__qualname__} object>"


def _hash(value: Any) -> Hashable:
    try:
        return type(value), hash(exact_key(value))
    except Exception:
        return type(value).__qualname__


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(exact_key(one) == exact_key(other))
    except Exception:
        return False


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument in one trace: its leaves by path, and the structure around them."""

    hint: Hint | None
    leaves: dict[Any, Leaf]
    structure: Hashable
    structure_text: str


@dataclasses.dataclass(frozen=True)
class Trace:
    """What one trace is keyed by: the arguments, by name, and JAX's settings."""

    arguments: dict[str, Argument]
    contexts: dict[str, Any]

    @classmethod
    def of(cls, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trace:
        given = plan.arguments(args, kwargs)
        flat = [jax.tree_util.tree_flatten_with_path(value) for _, _, value in given]
        passed = iter(list(map(is_passed, [leaf for pairs, _ in flat for _, leaf in pairs])))
        arguments = {
            name: _argument(None if param is None else param.hint, *parts, passed)
            for (name, param, _), parts in zip(given, flat, strict=True)
        }
        return cls(arguments, trace_contexts())


def _argument(hint: Hint | None, pairs: list[Any], treedef: Any, passed: Iterator[bool]) -> Argument:
    leaves = {path: Leaf.of(leaf, next(passed)) for path, leaf in pairs}
    if len(pairs) == 1 and pairs[0][0] == ():
        return Argument(hint, leaves, None, "")
    try:
        key: Hashable = hash(treedef)
    except Exception:
        key = None  # something in it has no hash: JAX says so
    text = safe_repr(treedef, 4 * _SHOWN).removeprefix("PyTreeDef(").removesuffix(")")
    return Argument(hint, leaves, (len(pairs), key), text)


class History:
    """The traces of one function with one set of options, for as long as that is there.

    Attributes:
        function: its qualified name.
        place: its file and first line.
        limit: `max_traces`.
        count: how often it was traced.
        latest: its last traces.
    """

    __slots__ = ("__weakref__", "count", "function", "latest", "limit", "place")

    def __init__(self, function: str, place: tuple[str, int] | None, limit: int | None = None) -> None:
        self.function = function
        self.place = place
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget all traces, as the programs are forgotten."""
        self.count = 0
        self.latest: collections.deque[Trace] = collections.deque(maxlen=_REMEMBERED)

    def add(self, trace: Trace) -> None:
        """A trace has come to its end."""
        self.count += 1
        self.latest.append(trace)


@dataclasses.dataclass(frozen=True)
class TraceEvent:
    """A function is being traced.

    Attributes:
        history: its earlier traces.
        trace: this one.
        is_anew: whether functions of this code are made anew each time.
    """

    history: History
    trace: Trace
    is_anew: bool = False


trace_observers: list[Callable[[TraceEvent], None]] = []
"""Called each time that a jitted function is traced; empty unless somebody wants to know."""

_of_code: weakref.WeakKeyDictionary[types.CodeType, tuple[Callable[[], Any], int]] = (
    weakref.WeakKeyDictionary()
)
_A_FEW = 2  # functions of one code that are there at once: those of a factory


def is_made_anew(fn: Any) -> bool:
    """Whether functions of this code come and go: the last that was traced is gone, or there are many."""
    if not isinstance(fn, types.FunctionType):
        return False
    before, number = _of_code.get(fn.__code__, (None, 0))
    last = None if before is None else before()
    if last is not fn:
        _of_code[fn.__code__] = weakref.ref(fn), number + 1
    return before is not None and last is not fn and (last is None or number >= _A_FEW)
