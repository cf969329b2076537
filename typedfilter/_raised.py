"""What callbacks raised on the host, for whoever receives JAX's report of it.

Floor 0. An exception can't cross a compiled program: JAX raises one of its own, whose text ends with that
of the original. Here are the last few originals, so that a caller who meets such a report can raise the
exception itself.
"""

from __future__ import annotations

import collections
import contextlib

__all__ = ["original", "remember"]

# A few only: an exception keeps the frames alive that it went through.
_last: collections.deque[Exception] = collections.deque(maxlen=4)


def remember(error: Exception) -> None:
    """Keep what a callback raised, until its caller asks for it."""
    _last.append(error)


def original(report: BaseException) -> Exception | None:
    """The exception of a callback that `report` tells of, if it does; given away once."""
    if not isinstance(report, RuntimeError) or not _last:
        return None
    text = str(report).rstrip()
    for error in reversed(tuple(_last)):
        if text.endswith(f"{type(error).__name__}: {error}".rstrip(": \n")):
            with contextlib.suppress(ValueError):  # another thread was quicker
                _last.remove(error)
            return error
    return None
