"""What callbacks raised on the host, for whoever receives JAX's report of it.

An exception can't cross a compiled program: JAX raises one of its own, whose text holds the
traceback of the original. Here are the last few originals, so that a caller who meets such a report can raise
the exception itself. None is kept that only callers would meet who do not ask, as JAX's own do not.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from typedfilter._compat import HOST_REPORTS, can_be_told, equinox_error, text_of
from typedfilter._wrapping.frames import called_from, raise_as_it_is

T = TypeVar("T")

# A few only: an exception keeps the frames alive that it went through.
_LIMIT = 16
_NAME = "typedfilter_callback_"
_kept: dict[int, tuple[BaseException, TracebackType | None]] = {}
_numbers = itertools.count()


class _Asking:
    """Inside, what a callback raises arrives as itself, and not as JAX's report of it.

    Counted is how many wait just now, in whatever thread; callbacks run in threads of their own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, kind: type[BaseException] | None, report: BaseException | None, _: object) -> None:
        with self._lock:
            self.count -= 1
        found = None if report is None else original(report)
        if found is not None:
            raise_as_it_is(found)


asking = _Asking()


def kept(run: Callable[[], T]) -> T:
    """What `run` returns; what it raises is kept until its caller asks for it.

    It runs below a function with a number in its name, which JAX's report shows: so that of several threads
    each finds its own error, and one without a text is found as well. The report tells of what has called the
    innermost frame of the traceback: of a generator nobody is known, so JAX gets the traceback up to there.
    """
    number = next(_numbers)

    def numbered() -> T:
        try:
            return run()
        except BaseException as error:  # JAX reports of an interrupt as well
            _keep(number, error)
            if not can_be_told(error):  # where JAX asks for its text, the process ends
                raise RuntimeError(f"{type(error).__name__}, whose text can't be told") from None
            if not _can_be_set(error):  # a context manager of JAX's would raise what refuses that
                raise RuntimeError(f"{type(error).__name__}, which lets nothing be set") from None
            if error.__traceback__ is not None:
                BaseException.with_traceback(error, called_from(error.__traceback__))
            raise

    numbered.__code__ = numbered.__code__.replace(co_name=f"{_NAME}{number}")
    return numbered()


def _can_be_set(error: BaseException) -> bool:
    """Whether its traceback can be, as Python's context managers do from 3.12 on with what passes them."""
    traceback = error.__traceback__
    try:
        error.__traceback__ = traceback
    except Exception:  # of a frozen dataclass, say
        return False
    return True


def _keep(number: int, error: BaseException) -> None:
    _kept[number] = error, error.__traceback__
    for old in tuple(_kept)[:-_LIMIT]:
        _kept.pop(old, None)


def original(report: BaseException) -> BaseException | None:
    """The exception of a callback that `report` tells of, if it does; given away once."""
    if not isinstance(report, HOST_REPORTS):
        return None
    text = text_of(report)
    # Of several callbacks each called a program that called the next one: the last of them raised.
    numbers = re.findall(rf"\b{_NAME}(\d+)\b", text)
    for number in map(int, reversed(numbers)):
        kept = _kept.pop(number, None)
        if kept is not None:
            return BaseException.with_traceback(*kept)  # of any class, which may let nothing be set
    return None if numbers else equinox_error(text)
