"""A context variable set for a while, whatever interrupts what is done meanwhile; and whether we compile."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def setting(variable: contextvars.ContextVar[T], value: T) -> Generator[None]:
    """`variable` is `value` inside.

    It is set inside of the `try`: a signal that arrives between the two would leave it set for good.
    """
    before = variable.get()
    try:
        variable.set(value)
        yield
    finally:
        variable.set(before)


_compiling: contextvars.ContextVar[bool] = contextvars.ContextVar("typedfilter_compiling", default=False)


def compiling() -> contextlib.AbstractContextManager[None]:
    """What runs inside is traced for a program of `filter_jit`: its places count, and its host is asked."""
    return setting(_compiling, True)


def is_compiling() -> bool:
    """Whether what runs now is traced for a program of `filter_jit`."""
    return _compiling.get()
