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
_lock = threading.Lock()
_active = 0
_here = threading.local()
_installed: list[Any] = []


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
    global _active
    _here.count = getattr(_here, "count", 0) + 1
    with _lock:
        _active += 1
        if _active == 1:
            warnings.filterwarnings("ignore", message=_MESSAGE)
            _installed.append(warnings.filters[0])


def loud_again() -> None:
    """Take the filter out again, once no thread needs it."""
    global _active
    with _lock:
        _active -= _here.count
        _here.count = 0
        if _active == 0:
            entry = _installed.pop()
            # Another thread may have put older filters back as a whole, and ours went with that.
            if entry in warnings.filters:
                warnings.filters.remove(entry)  # type: ignore[attr-defined]  # a list; typeshed says Sequence
