"""How the benchmark times, by a clock that stands still unless a call moves it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from typedfilter.bench._scale import exponent
from typedfilter.bench._timing import Timer, ratio


class Clock:
    """Seconds that pass only where somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def takes(self, name: str, seconds: float, out: Any = None) -> Callable[[], Any]:
        def call() -> Any:
            self.calls.append(name)
            self.now += seconds
            return out

        return call


class Pending:
    """A result that takes a second to wait for."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.waited = 0

    def block_until_ready(self) -> Pending:
        self.clock.now += 1.0
        self.waited += 1
        return self


def test_the_time_is_that_of_one_call():
    clock = Clock()
    times = Timer(clock).calls({"a": clock.takes("a", 0.25), "b": clock.takes("b", 2**-20)}, 3)
    assert times["a"] == [0.25] * 3
    assert times["b"] == pytest.approx([2**-20] * 3)


def test_contenders_take_turns_and_each_comes_first_in_turn():
    clock = Clock()
    contenders = {name: clock.takes(name, 1.0) for name in "abc"}
    timer = Timer(clock)
    timer.calls(contenders, 0)
    before = len(clock.calls)
    timer.calls(contenders, 4)
    assert "".join(clock.calls[before:])[before:] == "abcbcacababc"


def test_short_calls_are_timed_in_batches_and_long_ones_alone():
    clock = Clock()
    timer = Timer(clock)
    contenders = {"long": clock.takes("long", 1.0), "short": clock.takes("short", 0.0001)}
    timer.calls(contenders, 0)
    clock.calls.clear()
    timer.calls(contenders, 1)
    warming = 6
    assert clock.calls.count("long") - warming == 1
    assert 19 <= clock.calls.count("short") - warming <= 20


def test_waiting_for_a_result_is_not_timed_and_happens_before_the_next_contender():
    clock = Clock()
    pending = Pending(clock)
    times = Timer(clock).calls({"a": clock.takes("a", 0.5, pending)}, 4)
    assert times["a"] == [0.5] * 4
    assert pending.waited == 3 + 1 + 4


def test_a_first_call_is_of_something_new_in_each_round_and_making_it_is_not_timed():
    clock = Clock()
    made: list[int] = []

    def make() -> Callable[[], Any]:
        clock.now += 100.0
        made.append(len(made))
        return clock.takes("call", 0.5)

    assert Timer(clock).first_calls({"a": make}, 3) == {"a": [0.5] * 3}
    assert len(made) == len(clock.calls) == 1 + 3


def test_when_a_call_returns_is_told_from_when_its_result_is_ready():
    clock = Clock()
    assert Timer(clock).once(clock.takes("a", 0.5, Pending(clock))) == (0.5, 1.5)


def test_garbage_is_not_collected_meanwhile_and_is_again_afterwards():
    seen: list[bool] = []
    Timer().first_calls({"a": lambda: lambda: seen.append(gc.isenabled())}, 2)
    assert seen == [True, False, False]
    assert gc.isenabled()


def test_a_ratio_is_the_median_over_rounds_not_that_of_medians():
    assert ratio([1.0, 10.0, 100.0], [1.0, 5.0, 100.0]) == 1.0
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == 2.0


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_growth_is_the_power_of_the_size(power: float):
    sizes = (16, 64, 256)
    assert exponent(sizes, [3e-6 * size**power for size in sizes]) == pytest.approx(power)
