"""How long calls take: contenders in turn, many rounds, medians.

Knows nothing of what it times, but that a result may have to be waited for. A machine is never quiet: so
contenders are compared within a round, moments apart, and a ratio is the median over rounds.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

import jax

Call = Callable[[], Any]
Times = dict[str, list[float]]  # by contender, the seconds that one call took in each round

_BATCH_SECONDS = 0.002  # long against the clock's own cost, short against what disturbs a machine


class Timer:
    """Times calls by a clock: a function that returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock

    def calls(self, contenders: Mapping[str, Call], rounds: int) -> Times:
        """The time of one call of each contender, in each round: the mean over a batch of calls.

        What a call starts and does not wait for is waited for after each batch, off the clock.
        """
        sizes = {name: self._batch_size(call) for name, call in contenders.items()}
        timed = {n: functools.partial(self._mean, call, sizes[n]) for n, call in contenders.items()}
        return _in_turn(timed, rounds)

    def first_calls(self, makers: Mapping[str, Callable[[], Call]], rounds: int) -> Times:
        """The time of the first call of what each maker makes: in each round, one that is new."""
        for make in makers.values():
            make()()  # whatever happens but once in a process
        return _in_turn({n: functools.partial(self._first, make) for n, make in makers.items()}, rounds)

    def once(self, call: Call) -> tuple[float, float]:
        """After which time a call returns, and after which its result is ready."""
        start = self._clock()
        out = call()
        returned = self._clock()
        jax.block_until_ready(out)
        return returned - start, self._clock() - start

    def _batch_size(self, call: Call) -> int:
        for _ in range(3):
            jax.block_until_ready(call())
        return max(1, int(_BATCH_SECONDS / max(self._batch(call, 3) / 3, 1e-9)))

    def _mean(self, call: Call, size: int) -> float:
        return self._batch(call, size) / size

    def _first(self, make: Callable[[], Call]) -> float:
        return self._batch(make(), 1)

    def _batch(self, call: Call, size: int) -> float:
        repeat = itertools.repeat(None, size)
        out = None
        start = self._clock()
        for _ in repeat:
            out = call()
        seconds = self._clock() - start
        jax.block_until_ready(out)
        return seconds


def _in_turn(timed: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    times: Times = {name: [] for name in timed}
    names = list(timed)
    with _no_collection():
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:  # nobody always comes after the same one
                times[name].append(timed[name]())
            gc.collect(0)
    return times


@contextlib.contextmanager
def _no_collection() -> Generator[None]:
    """No garbage collection but where it is asked for."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over rounds of what our time was in terms of theirs."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
