"""Keeping JAX quiet about donated buffers that it could not use, where that was asked for.

JAX warns while it lowers, which is right after it traced. So a filter for that one message goes
in when a call traces, and out when that call ends: a compiled call does nothing, and at no time are the
filters of the process replaced as a whole, which would undo what other threads do to them meanwhile. What
was traced before it is called (ahead of time, or inside of another function) is counted until it is lowered.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
import warnings
from collections.abc import Callable, Generator
from typing import Any

import jax
import jax.core
import jax.monitoring

from typedfilter._compat import UNUSABLE_DONATIONS

# A group that nobody else would write: a filter that is equal to a user's own could not be told from that.
_ENTRY = ("ignore", re.compile(f"(?:{UNUSABLE_DONATIONS})"), Warning, None, 0)


class _Silence:
    """One filter for JAX's warning, in place while any thread needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed = 0
        self._lists: list[Any] = []  # where it stands; others may replace the filters as a whole meanwhile

    def begin(self) -> None:
        with self._lock:
            self._needed += 1
            filters: Any = warnings.filters
            if not any(filters is known for known in self._lists):
                self._lists.append(filters)
                filters.insert(0, _ENTRY)

    def end(self, times: int) -> None:
        with self._lock:
            self._needed -= times
            if self._needed == 0:
                now: Any = warnings.filters
                for filters in (now, *self._lists):
                    with contextlib.suppress(ValueError):
                        while True:
                            filters.remove(_ENTRY)
                self._lists.clear()


_silence = _Silence()


class _Here(threading.local):
    """What this thread is doing. Calls nest: one is traced inside of another."""

    count = 0  # how often it has asked for silence
    lowered = False  # whether it has lowered anything since it last traced a body


_here = _Here()


class Caution:
    """How many traces of a function a call may lower that does not trace them, since that was done before."""

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending = 0

    def traced_only(self) -> None:
        """There is a trace that was not lowered."""
        self.pending += 1

    @contextlib.contextmanager
    def quietly(self) -> Generator[None]:
        """Silence for a call that may lower without a trace, or for what is done without a call."""
        _listen()
        before = _here.count
        try:
            quiet_from_here()
            _here.lowered = False
            yield
            traced = _here.count > before + 1
            if traced and not _here.lowered:
                self.traced_only()
            elif _here.lowered and not traced:
                self.pending = max(0, self.pending - 1)
        finally:
            _loud_again(before)


class Quietly:
    """Calls a jitted function whose body says `quiet_from_here()` when it is traced."""

    __slots__ = ("call", "caution")

    def __init__(self, call: Callable[..., Any], caution: Caution) -> None:
        self.call = call
        self.caution = caution

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if self.caution.pending:
            with self.caution.quietly():
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
                    self.caution.traced_only()


def quiet_from_here() -> None:
    """Ignore JAX's warning until the call that this thread is in ends."""
    _here.count += 1
    _silence.begin()


def traced_up_to_here() -> None:
    """The body of a quiet function is traced: what is lowered from now on is that function."""
    _here.lowered = False


def _loud_again(count: int) -> None:
    """Undo every `quiet_from_here()` of this thread since there were `count`."""
    times, _here.count = _here.count - count, count
    _silence.end(times)


@functools.cache
def _listen() -> None:
    jax.monitoring.register_event_duration_secs_listener(_on_event)


def _on_event(event: str, duration_secs: float, **_: Any) -> None:
    if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
        _here.lowered = True
