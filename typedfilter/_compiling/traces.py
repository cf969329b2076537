"""Who wants to know of traces, and what they are told.

An engine tells each of `trace_observers` when it traces; it costs nothing while there is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from typedfilter._reading.plan import Plan

__all__ = ["Identity", "TraceEvent", "trace_observers"]


class Identity:
    """Stands for a function with one set of options, as long as that is there; compared by identity."""

    __slots__ = ("__weakref__",)


@dataclasses.dataclass(frozen=True)
class TraceEvent:
    """A function is being traced; `arguments` are what its body receives, by name."""

    function: str
    arguments: dict[str, Any]
    identity: Identity


trace_observers: list[Callable[[TraceEvent], None]] = []
"""Called each time that a jitted function is traced; empty unless somebody wants to know."""


def _tell(plan: Plan, identity: Identity, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    arguments = {name: value for name, _, value in plan.arguments(args, kwargs)}
    event = TraceEvent(plan.function, arguments, identity)
    for observer in tuple(trace_observers):
        observer(event)
