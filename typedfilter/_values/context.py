"""A context variable set for a while, whatever interrupts what is done meanwhile."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Generator
from typing import TypeVar

__all__ = ["setting"]

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
