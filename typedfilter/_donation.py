"""Keeping JAX quiet about donated buffers that it could not use, where that was asked for.

Floor 1. JAX warns while it lowers, which is right after it traced. So a filter for that one message goes
in when a call traces, and out when that call ends: a compiled call does nothing, and at no time are the
filters of the process replaced as a whole, which would undo what other threads do to them meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Generator
from typing import Any

import jax
import jax.core

__all__ = ["Caution", "Quietly", "quiet_from_here", "quietly"]

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


class _Here(threading.local):
    """How often this thread has asked for silence. Calls nest: one is traced inside of another."""

    count = 0


_here = _Here()


class Caution:
    """Whether a program may be lowered by a call that does not trace it, since that was done before."""

    __slots__ = ("needed",)

    def __init__(self) -> None:
        self.needed = False


class Quietly:
    """Calls a jitted function whose body says `quiet_from_here()` when it is traced."""

    __slots__ = ("call", "caution")

    def __init__(self, call: Callable[..., Any], caution: Caution) -> None:
        self.call = call
        self.caution = caution

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if self.caution.needed:
            with quietly(True):
                return self.call(*args, **kwargs)
        before = _here.count
        out: Any = None
        try:
            out = self.call(*args, **kwargs)
            return out
        finally:
            if _here.count > before:
                _loud_again(before)
                leaves = jax.tree_util.tree_leaves(out)
                if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):  # it is lowered some time later
                    self.caution.needed = True


@contextlib.contextmanager
def quietly(wanted: bool) -> Generator[None]:
    """As `Quietly`, for what traces or lowers without a call; silent all along if `wanted`."""
    before = _here.count
    if wanted:
        quiet_from_here()
    try:
        yield
    finally:
        _loud_again(before)


def quiet_from_here() -> None:
    """Ignore JAX's warning until the call that this thread is in ends."""
    _here.count += 1
    _silence.begin()


def _loud_again(count: int) -> None:
    """Undo every `quiet_from_here()` of this thread since there were `count`."""
    times, _here.count = _here.count - count, count
    _silence.end(times)
