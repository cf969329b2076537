"""What is measured, and what came out, as data: cases, and one row for each comparison with its target."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from typedfilter.bench._timing import Call, Timer, Times, ratio

OURS = "typedfilter"


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement."""

    case: str  # the name that `--only` takes
    what: str  # was measured
    value: float  # what is compared with the target; a ratio is our time in terms of the other one
    unit: str = ""  # of `value`; empty for a ratio
    against: str = ""  # the other contender; empty where there is none
    target: float | None = None  # what `value` should be at most; `None` where it is only reported
    ours: float | None = None  # the median of our seconds, of a ratio
    theirs: float | None = None  # the median of the other contender's

    @property
    def met(self) -> bool | None:
        """Whether the target is met, to the digits that are shown; `None` without one."""
        return None if self.target is None else round(self.value, 2) <= self.target


@dataclasses.dataclass(frozen=True)
class Lab:
    """What a case measures with."""

    timer: Timer
    equinox: Any = None  # the module, where it is installed
    rounds_asked: int | None = None

    def rounds(self, usual: int) -> int:
        """How many rounds to time: those asked for, or as many as a case usually needs."""
        return usual if self.rounds_asked is None else self.rounds_asked


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing to measure."""

    name: str
    what: str
    run: Callable[[Lab], list[Row]]


def of_calls(
    name: str,
    what: str,
    contenders: Callable[[Any], dict[str, Call]],
    targets: Mapping[str, float],
    rounds: int = 300,
    extra: Callable[[Times], list[Row]] = lambda times: [],
) -> Case:
    """A case that compares calls.

    Args:
        contenders: from equinox, or `None` where it is not installed, to what is to be called.
        targets: by contender, what our time should be at most in terms of its time.
        extra: further rows from the same times.
    """

    def run(lab: Lab) -> list[Row]:
        times = lab.timer.calls(contenders(lab.equinox), lab.rounds(rounds))
        return [*compare(name, what, times, targets), *extra(times)]

    return Case(name, what, run)


def compare(name: str, what: str, times: Times, targets: Mapping[str, float]) -> list[Row]:
    """One row for each contender besides ours, with the target against it."""
    return [
        Row(
            name,
            what,
            ratio(times[OURS], times[other]),
            against=other,
            target=targets.get(other),
            ours=statistics.median(times[OURS]),
            theirs=statistics.median(times[other]),
        )
        for other in times
        if other != OURS
    ]
