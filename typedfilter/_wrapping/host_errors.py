"""What callbacks raised on the host, for whoever receives JAX's report of it.

An exception can't cross a compiled program: JAX raises one of its own, whose text holds the
traceback of the original. Here are the last few originals, so that a caller who meets such a report can raise
the exception itself. None is kept that only callers would meet who do not ask, as JAX's own do not.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import threading
from collections.abc import Generator
from types import TracebackType

from typedfilter._values.context import setting

__all__ = ["asking", "is_received", "original", "receiving", "remember"]

# A few only: an exception keeps the frames alive that it went through.
_last: collections.deque[Exception] = collections.deque(maxlen=4)


_receiving: contextvars.ContextVar[bool] = contextvars.ContextVar("typedfilter_receiving", default=False)


@contextlib.contextmanager
def receiving() -> Generator[None]:
    """What is traced inside is called by somebody who asks for what its callbacks raise."""
    with setting(_receiving, True):
        yield


def is_received() -> bool:
    """Whether what is being traced is called by somebody who asks."""
    return _receiving.get()


class _Asking:
    """How many calls are waiting just now, in whatever thread; callbacks run in threads of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1


asking = _Asking()


def remember(error: Exception) -> None:
    """Keep what a callback raised, until its caller asks for it."""
    _last.append(error)


def original(report: BaseException) -> Exception | None:
    """The exception of a callback that `report` tells of, if it does; given away once."""
    if not isinstance(report, RuntimeError) or not _last:
        return None
    text = str(report).rstrip()
    for error in reversed(tuple(_last)):
        # The file in which it was raised: somebody else's error may have the same text.
        if _file(error) in text and text.endswith(f"{type(error).__name__}: {error}".rstrip(": \n")):
            with contextlib.suppress(ValueError):  # another thread was quicker
                _last.remove(error)
            return error
    return None


def _file(error: Exception) -> str:
    """The file in which an exception was raised, as tracebacks name it."""
    where: TracebackType | None = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return "" if where is None else f'File "{where.tb_frame.f_code.co_filename}"'
