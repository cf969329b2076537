"""What a check found of one function, as a value, and what could not be read.

Knows nothing of how results are found or shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

Status: TypeAlias = Literal["proved", "checked", "failed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclasses.dataclass(frozen=True)
class Span:
    """A piece of one line of a file; columns count from 0, `end` is exclusive."""

    file: str
    line: int
    column: int
    end: int


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where in the user's code something was raised."""

    file: str
    line: int
    function: str


@dataclasses.dataclass(frozen=True)
class Result:
    """The verdict on one function.

    Attributes:
        function: its qualified name.
        file: where it is written; empty where that is not known.
        line: that of its `def`.
        status: `proved` (for all sizes), `checked` (at the sizes that `message` names), `failed`, `skipped`.
        message: what was found, in a sentence.
        expected: the annotation that does not hold.
        found: what was there instead.
        dims: where each dimension name of the signature is bound.
        sizes: sizes at which it fails.
        good_sizes: sizes at which it does not, if it fails at some only.
        case: the alternatives with which it fails.
        fix: what to write so that it is no longer skipped, or so that its annotations say what holds.
        guessed: whether it is good with values that nobody said; `message` names them.
        by_letter: whether it is good only where more holds than its annotations say; `message` says what.
        span: the annotation that does not hold, in the file.
        frame: the innermost line of the user's code when the trace itself fails.
    """

    function: str
    file: str
    line: int
    status: Status
    message: str
    expected: str = ""
    found: str = ""
    dims: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    good_sizes: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    case: tuple[str, ...] = ()
    fix: str = ""
    guessed: bool = False
    by_letter: bool = False
    span: Span | None = None
    frame: Frame | None = None


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A file, module or name in which nothing could be judged, and why; `traceback` where it raised.

    `line` is that of the file from which it was raised; 0 where there is none.
    """

    target: str
    message: str
    traceback: str = ""
    line: int = 0


def count(results: Sequence[Result], status: Status) -> int:
    """How many functions have this verdict."""
    return sum(1 for result in results if result.status == status)


def share(results: Sequence[Result]) -> float:
    """The share of the functions that were judged: proved, checked or failed."""
    return 1.0 - count(results, "skipped") / len(results) if results else 0.0


def exit_status(results: Sequence[Result], unreadable: Sequence[Unreadable]) -> int:
    """0: all good. 1: a failure. 2: something could not be read, or nothing was judged."""
    if unreadable or count(results, "skipped") == len(results):
        return 2
    return 1 if count(results, "failed") else 0
