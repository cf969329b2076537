"""A limit on the time of one trial: `while n != 1: n = n // 2` never ends where `n` is a symbol.

Only where the system has such a timer, and nobody else uses it; elsewhere there is no limit.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Generator
from types import FrameType

from typedfilter.check.trials.raised import is_users

SECONDS = 10.0
_LOOK_AGAIN = 0.02
_IN_THE_END = 3  # times as many seconds, and it is stopped wherever it is


class OutOfTimeError(BaseException):
    """The trial takes too long. Not an Exception: the code under test may catch these."""


@contextlib.contextmanager
def patience(file: str) -> Generator[None]:
    """Raise `OutOfTimeError` in what runs inside after some seconds.

    Seconds that the process itself computes, so that a verdict does not hang on who else is at work; one that
    waits is given a few times as many. In the user's own code (that of `file`, and what is not installed) if
    it can be met there: an exception that is raised in a callback of a library is lost, and reported as
    nobody's.
    """
    if not _is_free():
        yield
        return
    began, computed = time.monotonic(), time.process_time()

    def look(number: int, frame: FrameType | None) -> None:
        late = time.monotonic() - began > _IN_THE_END * SECONDS
        if not late and time.process_time() - computed < SECONDS:
            return
        if late or (frame is not None and is_users(frame.f_code.co_filename, file)):
            signal.setitimer(signal.ITIMER_REAL, SECONDS, _LOOK_AGAIN)  # not while this is on its way
            raise OutOfTimeError(f"it takes more than {SECONDS:g} seconds to trace")

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, _LOOK_AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _is_free() -> bool:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getitimer(signal.ITIMER_REAL)[0] == 0.0 and signal.getsignal(signal.SIGALRM) is not None
