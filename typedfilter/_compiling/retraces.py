"""Why a function is traced again, in words: what changed since the trace most like it, and the cure."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import types
from collections.abc import Iterator
from typing import Any

from typedfilter._compiling.traces import Argument, History, Leaf, Trace, TraceEvent, trace_observers
from typedfilter._reading.hints import Hint
from typedfilter._values.text import array_text, steps
from typedfilter.errors import RetraceError

__all__ = ["Retrace", "log", "retrace_of", "tell"]

_logger = logging.getLogger("typedfilter")
_ABSENT = "absent"
_ANEW = "define the function, and transform it, once: not in the loop that calls it"


@dataclasses.dataclass(frozen=True)
class Change:
    """One thing that differs between two traces, and how to keep it from differing."""

    text: str
    cure: str


@dataclasses.dataclass(frozen=True)
class Retrace:
    """A function is traced again.

    Attributes:
        function: its name.
        place: its file and line.
        number: which of its traces this is.
        changes: what differs from the trace most like it.
    """

    function: str
    place: str
    number: int
    changes: tuple[Change, ...]

    @property
    def what(self) -> str:
        return "; ".join(change.text for change in self.changes)

    @property
    def cures(self) -> str:
        return "; ".join(dict.fromkeys(change.cure for change in self.changes))

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        subject = f"{self.function}(){where} is traced again (trace {self.number})"
        return f"{subject}: {self.what}\n  fix: {self.cures}"

    def error(self, allowed: str) -> RetraceError:
        """This as an error."""
        return RetraceError(
            f"is traced again (trace {self.number}), {allowed}",
            function=self.function,
            expected="a program that is there already" + (f" ({self.place})" if self.place else ""),
            actual=self.what,
            fix=self.cures,
        )


def tell(event: TraceEvent) -> None:
    """Tell everybody who wants to know that a function is traced, before it is.

    Raises:
        RetraceError: it was traced as often as its `max_traces` allows.
    """
    limit = event.history.limit
    if limit is not None and event.history.count >= limit:
        retrace = retrace_of(event, first=True)
        assert retrace is not None
        raise retrace.error(f"and max_traces is {limit}")
    for observer in tuple(trace_observers):
        observer(event)
    if not trace_observers and os.environ.get("TYPEDFILTER_LOG_RETRACES", "0").lower() not in _OFF:
        log(event, logging.WARNING)


_OFF = ("", "0", "off", "false", "no")


def log(event: TraceEvent, level: int) -> None:
    """Log a trace that is not the first of its function."""
    retrace = retrace_of(event)
    if retrace is not None:
        _logger.log(level, "%s", retrace)


def retrace_of(event: TraceEvent, *, first: bool = False) -> Retrace | None:
    """Why a function is traced again; `None` at its first trace, unless that counts as well."""
    history = event.history
    place = "" if history.place is None else f"{history.place[0]}:{history.place[1]}"
    if not history.count and event.is_anew:
        changes: tuple[Change, ...] = (Change("it is another function object of the same code", _ANEW),)
    elif history.count or first:
        changes = tuple(_fewest(history, event.trace))
    else:
        return None
    return Retrace(history.function, place, history.count + 1, changes)


def _fewest(history: History, now: Trace) -> list[Change]:
    """The changes since the most similar of the earlier traces, the latest of equals."""
    found = min((list(_changes(old, now)) for old in reversed(history.latest)), key=len, default=[])
    return found or [Change("nothing that it is keyed by differs", "keep its programs: a cache was cleared")]


def _changes(old: Trace, new: Trace) -> Iterator[Change]:
    for name in dict.fromkeys((*old.arguments, *new.arguments)):
        before, after = old.arguments.get(name), new.arguments.get(name)
        if before is None or after is None:
            yield Change(
                f"`{name}` {_passed(before)} -> {_passed(after)}", f"pass `{name}` each time, or never"
            )
        else:
            yield from _argument_changes(name, before, after)
    for name, value in new.contexts.items():
        if old.contexts[name] != value:
            text = f"{name} {old.contexts[name]!r} -> {value!r}"
            yield Change(text, f"call it under one setting of {name}")


def _passed(argument: Argument | None) -> str:
    if argument is None:
        return _ABSENT
    leaves = list(argument.leaves.values())
    return _shown(leaves[0]) if len(leaves) == 1 else "passed"


def _argument_changes(name: str, before: Argument, after: Argument) -> Iterator[Change]:
    nothing = True
    for path in dict.fromkeys((*before.leaves, *after.leaves)):
        old, new = before.leaves.get(path), after.leaves.get(path)
        if old is None or new is None or not new.is_same(old):
            nothing = False
            texts = _texts(path, old, new)
            yield Change(f"`{name}{steps(path)}` {texts[0]} -> {texts[1]}", _cure(name, after.hint, old, new))
    if nothing and before.structure != after.structure:
        text = f"`{name}` {before.structure_text} -> {after.structure_text}"
        yield Change(text, f"pass `{name}` in one structure, with equal static fields")


def _texts(path: Any, old: Leaf | None, new: Leaf | None) -> tuple[str, str]:
    absent = _ABSENT if path else "None"
    first, second = [absent if leaf is None else _shown(leaf) for leaf in (old, new)]
    return first, f"another {second}" if first == second else second


def _shown(leaf: Leaf) -> str:
    if leaf.aval is not None:
        weak = " (weakly typed)" if getattr(leaf.aval, "weak_type", False) else ""
        return array_text(leaf.aval.dtype, leaf.aval.shape) + weak
    return leaf.text


def _cure(name: str, hint: Hint | None, old: Leaf | None, new: Leaf | None) -> str:
    if old is None or new is None:
        return f"pass `{name}` in one structure"
    if old.aval is not None and new.aval is not None:
        return _array_cure(name, old.aval, new.aval)
    if old.aval is not None or new.aval is not None:
        return f"pass `{name}` as an array each time, or as a Python value each time"
    return _static_cure(name, hint, old, new)


def _array_cure(name: str, old: Any, new: Any) -> str:
    if old.shape != new.shape:
        return f"pad `{name}` to one shape, or to a few (buckets)"
    if old.dtype != new.dtype:
        return f"convert `{name}` to one dtype"
    if getattr(old, "weak_type", False) != getattr(new, "weak_type", False):
        return f"pass `{name}` as a Python number each time, or as an array each time"
    return f"place `{name}` in one way each time"


def _static_cure(name: str, hint: Hint | None, old: Leaf, new: Leaf) -> str:
    value = None if new.ref is None else new.ref()
    if value is None and new.ref is None:
        kind = _number(old, new)
        if kind and not (hint is not None and hint.static_marker):
            return f"annotate `{name}` as Traced[{kind}], so that its value is no constant of the program"
        return f"`{name}` is static, with a program for each value: pass fewer values, or trace it"
    if isinstance(value, types.FunctionType):
        return f"`{name}` is a new function each time: define it once, outside of the loop that calls"
    if isinstance(value, functools.partial):
        return f"`{name}` is a new functools.partial each time: make it once, outside of the loop that calls"
    if value is not None and getattr(type(value), "__eq__", None) is object.__eq__:
        cls = type(value).__qualname__
        return f"keep one {cls}, or let {cls} compare by value (a frozen dataclass): it compares by identity"
    return f"pass an equal value for `{name}` each time"


def _number(old: Leaf, new: Leaf) -> str:
    """The Python type of a number of which both are."""
    kinds = [leaf.key[0] for leaf in (old, new) if isinstance(leaf.key, tuple)]
    for kind in (bool, int, float, complex):
        if len(kinds) == 2 and all(one in (int, kind) if kind is float else one is kind for one in kinds):
            return kind.__name__
    return ""
