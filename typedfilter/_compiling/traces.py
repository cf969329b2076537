"""What a compiled function was traced for, by what its programs are keyed by, and who wants to know of it.

A trace is remembered part by part (`keyed`), never by texts. All happens while JAX traces.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

from typedfilter._compat import trace_contexts
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Plan
from typedfilter._reading.roles import Role
from typedfilter._values.keyed import Part, parts_of

_REMEMBERED = 32  # traces of a function; with more of them, the oldest is forgotten


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument in one trace: its nodes, static fields and leaves, by path."""

    hint: Hint | None
    parts: dict[Any, Part]


@dataclasses.dataclass(frozen=True)
class Trace:
    """What one trace is keyed by: the arguments, by name, and JAX's settings."""

    arguments: dict[str, Argument]
    contexts: dict[str, Any]

    @classmethod
    def of(cls, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trace:
        arguments = {}
        for name, param, value in plan.arguments(args, kwargs):
            hint = None if param is None else param.hint
            static = hint is not None and hint.role is Role.STATIC
            arguments[name] = Argument(hint, parts_of(value, static=static))
        return cls(arguments, trace_contexts())


@dataclasses.dataclass(eq=False, slots=True, weakref_slot=True)
class History:
    """The traces of one function with one set of options, for as long as that is there."""

    function: str  # its qualified name
    place: tuple[str, int] | None  # its file and first line
    limit: int | None = None  # `max_traces`
    look: Callable[[Any], None] | None = None  # called with the arguments of each trace, at its end
    count: int = 0  # how often it was traced
    latest: collections.deque[Trace] = dataclasses.field(
        default_factory=functools.partial(collections.deque, maxlen=_REMEMBERED)
    )

    def clear(self) -> None:
        """Forget all traces, as the programs are forgotten."""
        self.count = 0
        self.latest = collections.deque(maxlen=_REMEMBERED)  # another thread may read the old one

    def add(self, trace: Trace, arguments: Any) -> None:
        """A trace has come to its end."""
        self.count += 1
        self.latest.append(trace)
        if self.look is not None:
            self.look(arguments)


@dataclasses.dataclass(frozen=True)
class TraceEvent:
    """A function is being traced."""

    history: History  # its earlier traces
    trace: Trace  # this one
    anew: Anew | None = None  # what it is, where such a function is made anew each time


trace_observers: list[Callable[[TraceEvent], None]] = []
"""Called each time that a jitted function is traced; empty unless somebody wants to know."""


# ------------------------------------------------------------------------- functions that are made anew


@dataclasses.dataclass(frozen=True)
class Anew:
    """A function is transformed of whose code there were others."""

    captured: tuple[str, ...]  # the names that it closes over
    number: int  # which one of its code this is


_of_code: weakref.WeakKeyDictionary[types.CodeType, tuple[Callable[[], Any], int, str]] = (
    weakref.WeakKeyDictionary()
)
_A_FEW = 2  # functions of one code that are there at once: those of a factory


def made_anew(fn: Any) -> Anew | None:
    """Whether functions of this code come and go: the last that was traced is gone, or there are many."""
    if not isinstance(fn, types.FunctionType):
        return None
    code = fn.__code__
    before, number, filename = _of_code.get(code, (None, 0, ""))
    if filename != code.co_filename:  # equal code of two files is equal to Python
        before, number = None, 0
    last = None if before is None else before()
    if last is fn:
        return None
    _of_code[code] = weakref.ref(fn), number + 1, code.co_filename
    if before is None or (last is not None and number < _A_FEW):
        return None
    return Anew(code.co_freevars, number + 1)
