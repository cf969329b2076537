"""`log_retraces`: says which argument made a jitted function trace again.

Hears of traces from `_compiling.traces.trace_observers`, and keeps texts of what it heard, never values: a
tracer must not outlive its trace. Costs nothing while it is off.
"""

from __future__ import annotations

import collections
import logging
import threading
import weakref
from types import TracebackType
from typing import Any

import jax

from typedfilter._compiling.traces import Identity, TraceEvent, trace_observers
from typedfilter._values.text import describe, steps

__all__ = ["Undo", "log_retraces"]

_REMEMBERED = 64  # traces of a function; with more of them, the oldest is forgotten
_REPR_LIMIT = 60
_logger = logging.getLogger("typedfilter")

Seen = dict[str, dict[str, str]]  # by argument, the leaves of it by path, each as text


class _Traces:
    """The traces of one function."""

    def __init__(self) -> None:
        self.count = 0
        self.latest: collections.deque[Seen] = collections.deque(maxlen=_REMEMBERED)


class Undo:
    """Ends the logging when called, or at the end of a `with` block."""

    def __init__(self, level: int) -> None:
        self._level = level
        # By identity, not by name: every lambda is called <lambda>.
        self._traces: weakref.WeakKeyDictionary[Identity, _Traces] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()  # traces in several threads; at trace time a lock is nothing
        self._observer = self._observe
        trace_observers.append(self._observer)

    def __call__(self) -> None:
        """Stop logging; a second time does nothing."""
        if self._observer in trace_observers:
            trace_observers.remove(self._observer)

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self()

    def _observe(self, event: TraceEvent) -> None:
        now = {name: _leaves(value) for name, value in event.arguments.items()}
        with self._lock:
            traces = self._traces.setdefault(event.identity, _Traces())
            traces.count += 1
            count = traces.count
            # Against the most similar of the earlier traces, the latest of equals.
            changes = min((_changes(old, now) for old in reversed(traces.latest)), key=len, default=None)
            traces.latest.append(now)
        if changes is not None:
            nothing = ["no argument differs from an earlier trace"]
            _logger.log(
                self._level,
                "%s() is traced again (%d times now): %s",
                event.function,
                count,
                "; ".join(changes or nothing),
            )


def log_retraces(level: int = logging.WARNING) -> Undo:
    """Log, each time that a `filter_jit` function is traced again, which argument is new, and how.

    What a call has is compared with the earlier trace that is most like it, and goes to the logger
    `"typedfilter"`: ``step() is traced again (2 times now): `x` f32[3] -> f32[4]``. Traces from before the
    logging began are not known.

    Args:
        level: of the messages.

    Returns:
        What ends the logging: call it, or use it as a context manager.

    Raises:
        TypeError: `level` is no number.
    """
    # Here, and not by `logging` in the middle of somebody's trace.
    if not isinstance(level, int):  # pyright: ignore[reportUnnecessaryIsInstance] # who has no types
        raise TypeError(
            f"log_retraces() takes a level such as logging.INFO, which is a number, not {level!r}"
        )
    return Undo(level)


def _leaves(value: Any) -> dict[str, str]:
    """Each leaf as text, and the structure, by which leaves at the same places may still differ."""
    leaves = {steps(path): _text(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(value)}
    if not jax.tree_util.all_leaves([value]):
        leaves[" structure"] = str(jax.tree_util.tree_structure(value))
    return leaves


def _text(leaf: Any) -> str:
    if isinstance(leaf, jax.Array):
        weak = " (weakly typed)" if getattr(leaf, "weak_type", False) else ""
        return f"{describe(leaf)}{weak}"
    text = repr(leaf)
    return text if len(text) <= _REPR_LIMIT else f"{text[:_REPR_LIMIT]}..."


def _changes(old: Seen, new: Seen) -> list[str]:
    found: list[str] = []
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name, {}), new.get(name, {})
        paths = [path for path in dict.fromkeys((*before, *after)) if before.get(path) != after.get(path)]
        leaves = [path for path in paths if path != " structure"]
        for path in leaves or paths:
            place = "" if path == " structure" else path
            found.append(f"`{name}{place}` {before.get(path, 'absent')} -> {after.get(path, 'absent')}")
    return found
