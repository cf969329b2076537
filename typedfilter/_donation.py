"""Keeping JAX quiet about donated buffers that it could not use, where that was asked for.

Floor 1. JAX warns while it lowers, which is right after it traced. So a filter for that one message goes
in when a call traces, and out when that call ends: a compiled call does nothing, and at no time are the
filters of the process replaced as a whole, which would undo what other threads do to them meanwhile.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["Quietly", "loud_again", "quiet_from_here"]

_MESSAGE = "Some donated buffers were not usable"


class _Silence:
    """One filter for JAX's warning, in place while any thread needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed = 0
        self._entry: Any = None

    def begin(self) -> None:
        with self._lock:
            self._needed += 1
            if self._needed == 1:
                warnings.filterwarnings("ignore", message=_MESSAGE)
                self._entry = warnings.filters[0]

    def end(self, times: int) -> None:
        with self._lock:
            self._needed -= times
            filters: Any = warnings.filters
            # Another thread may have put older filters back as a whole, and ours went with that.
            if self._needed == 0 and self._entry in filters:
                filters.remove(self._entry)


_silence = _Silence()
_here = threading.local()


class Quietly:
    """Calls a jitted function whose body says `quiet_from_here()` when it is traced."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.call(*args, **kwargs)
        finally:
            if getattr(_here, "count", 0):
                loud_again()


def quiet_from_here() -> None:
    """Ignore JAX's warning until `loud_again()`."""
    _here.count = getattr(_here, "count", 0) + 1
    _silence.begin()


def loud_again() -> None:
    """Undo every `quiet_from_here()` of this thread."""
    count, _here.count = _here.count, 0
    _silence.end(count)
