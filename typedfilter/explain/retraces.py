"""`log_retraces`: says what made a jitted function trace again, and how to keep it from doing so.

Hears of traces from `_compiling.traces.trace_observers`; what changed is found in `_compiling.retraces`.
Costs nothing while it is off.
"""

from __future__ import annotations

import logging
from types import TracebackType

from typedfilter._compiling.retraces import log
from typedfilter._compiling.traces import TraceEvent, trace_observers
from typedfilter._wrapping.frames import ends_at_caller


class Undo:
    """Ends the logging when called, or at the end of a `with` block."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._observer = self._observe
        trace_observers.append(self._observer)

    def __call__(self) -> None:
        """Stop logging; a second time does nothing."""
        if self._observer in trace_observers:
            trace_observers.remove(self._observer)

    def __repr__(self) -> str:
        state = "on" if self._observer in trace_observers else "ended"
        return f"<log_retraces(): {state}; a call, or the end of a `with` block, ends it>"

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self()

    def _observe(self, event: TraceEvent) -> None:
        log(event, self._level)


@ends_at_caller
def log_retraces(level: int = logging.WARNING) -> Undo:
    """Log, each time that a `filter_jit` function is traced again, what changed, and how to avoid it.

    What a call is keyed by is compared with the earlier trace that is most like it, also with one from before
    the logging began, and goes to the logger `"typedfilter"`: ``step() (train.py:12) is traced again
    (trace 2): `x` f32[3] -> f32[4]``, and a line with the cure. With the environment variable
    TYPEDFILTER_LOG_RETRACES=1 it is on from the start.

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
