"""Why a function is traced again, in words: what changed since the trace most like it, and the cure."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from typedfilter._compiling.cures import cure_for, cure_for_anew
from typedfilter._compiling.traces import Argument, History, Trace, TraceEvent, trace_observers
from typedfilter._reading.text import spec_text
from typedfilter._values.keyed import Leaf, Node, Part
from typedfilter._values.text import array_text, steps
from typedfilter.errors import RetraceError

_logger = logging.getLogger("typedfilter")
_ABSENT = "absent"
_LOST = "keep its programs: a cache was cleared, or a setting of JAX is another that none of these is"
_MOST = 5  # changes that are told
_MOST_PLACES = 3  # for one cure


@dataclasses.dataclass(frozen=True)
class Change:
    """One thing that differs between two traces, and how to keep it from differing."""

    text: str  # where, before and after
    cure: str  # what to do, in which `{}` stands for where
    where: str = ""  # that
    weight: int = 1  # how many parts differ in it


@dataclasses.dataclass(frozen=True)
class Retrace:
    """A function is traced again."""

    function: str  # its name
    place: str  # its file and line
    number: int  # which of its traces this is
    changes: tuple[Change, ...]  # what differs from the trace most like it

    @property
    def what(self) -> str:
        return "; ".join(_cut([change.text for change in self.changes], _MOST))

    @property
    def cures(self) -> str:
        places: dict[str, list[str]] = {}
        for change in self.changes:
            places.setdefault(change.cure, []).append(change.where)
        cures = [cure.replace("{}", ", ".join(_cut(where, _MOST_PLACES))) for cure, where in places.items()]
        return "; ".join(_cut(cures, _MOST))

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
    if event.anew is not None:
        cure = cure_for_anew(event.anew.captured)
        change = Change("it is another function object of the same code", cure)
        return Retrace(history.function, place, event.anew.number, (change,))
    if history.count or first:
        changes = tuple(_fewest(history, event.trace))
        return Retrace(history.function, place, history.count + 1, changes)
    return None


def _fewest(history: History, now: Trace) -> list[Change]:
    """The changes since the most similar of the earlier traces, the latest of equals."""
    found = min((list(_changes(old, now)) for old in reversed(history.latest)), key=_weight, default=[])
    return found or [Change("nothing that it is keyed by differs", _LOST)]


def _weight(changes: Sequence[Change]) -> int:
    return sum(change.weight for change in changes)


def _changes(old: Trace, new: Trace) -> Iterator[Change]:
    for name in dict.fromkeys((*old.arguments, *new.arguments)):
        before, after = old.arguments.get(name), new.arguments.get(name)
        if before is not None and after is not None:
            yield from _argument_changes(name, before, after)
            continue
        first, second = (_ABSENT if one is None else _shown(one.parts[()]) for one in (before, after))
        yield Change(f"`{name}` {first} -> {second}", "pass {} each time, or never", f"`{name}`")
    for name, value in new.contexts.items():
        if old.contexts[name] != value:
            text = f"{name} {_setting(old.contexts[name])} -> {_setting(value)}"
            yield Change(text, "call it under one setting of {}", name)


def _argument_changes(name: str, before: Argument, after: Argument) -> Iterator[Change]:
    paths = list(dict.fromkeys((*before.parts, *after.parts)))
    told: set[Any] = set()  # of nodes that are others: what is in them is, too
    for path in paths:
        old, new = before.parts.get(path), after.parts.get(path)
        if any(path[:i] in told for i in range(len(path))) or (old and new and new.is_same(old)):
            continue
        weight = 1
        if isinstance(old, Node) or isinstance(new, Node):
            told.add(path)
            weight = sum(other[: len(path)] == path for other in paths)
        first, second = _texts(old, new)
        where = f"`{name}{steps(path)}`"
        yield Change(f"{where} {first} -> {second}", cure_for(path, after.hint, old, new), where, weight)


# ------------------------------------------------------------------------------------------------- texts


def _cut(texts: Sequence[str], most: int) -> list[str]:
    texts = list(dict.fromkeys(texts))
    return texts if len(texts) <= most + 1 else [*texts[:most], f"and {len(texts) - most} more"]


def _texts(old: Part | None, new: Part | None) -> tuple[str, str]:
    first, second = [_ABSENT if part is None else _shown(part) for part in (old, new)]
    if first == second and isinstance(old, Leaf) and isinstance(new, Leaf) and old.aval is not None:
        first, second = first + _place(old.aval), second + _place(new.aval)
    return first, f"another {second}" if first == second else second


def _shown(part: Part) -> str:
    if isinstance(part, Node) or part.aval is None:
        return part.text
    weak = " (weakly typed)" if getattr(part.aval, "weak_type", False) else ""
    return array_text(part.aval.dtype, part.aval.shape) + weak


def _place(aval: Any) -> str:
    sharding = getattr(aval, "sharding", None)
    return f" split by {spec_text(sharding.spec)}" if isinstance(sharding, jax.sharding.NamedSharding) else ""


def _setting(value: Any) -> str:
    if not isinstance(value, jax.sharding.AbstractMesh):
        return repr(value)
    axes = zip(value.axis_names, value.axis_sizes, value.axis_types, strict=True)
    return ", ".join(f"{name}={size} ({kind.name})" for name, size, kind in axes) or "none"
