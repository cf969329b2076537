"""What a check found, as values: one `Result` a function, and the `Report` of all.

Floor 5. Knows nothing of how results are found or shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["proved", "checked", "failed", "skipped"]

_WORST_FIRST: tuple[Status, ...] = ("failed", "skipped", "checked", "proved")


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
        fix: what to write so that it is no longer skipped.
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
    span: Span | None = None
    frame: Frame | None = None


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A file, module or name in which nothing could be judged, and why; `traceback` where it raised."""

    target: str
    message: str
    traceback: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """All verdicts, in the order of the files and of the lines in them."""

    results: tuple[Result, ...]
    unreadable: tuple[Unreadable, ...] = ()

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def count(self, status: Status) -> int:
        """How many functions have this verdict."""
        return sum(1 for result in self.results if result.status == status)

    @property
    def status(self) -> Status:
        """The worst verdict of all; that of the function where there is only one."""
        found = {result.status for result in self.results}
        for status in _WORST_FIRST:
            if status in found:
                return status
        return "skipped"

    @property
    def ok(self) -> bool:
        """Whether something was judged, and nothing is wrong with it."""
        return self.exit_status == 0

    @property
    def exit_status(self) -> int:
        """0: all good. 1: a failure. 2: something could not be read, or nothing was judged."""
        if self.unreadable or self.count("skipped") == len(self.results):
            return 2
        return 1 if self.count("failed") else 0

    def __str__(self) -> str:
        from typedfilter.check.report.text import plain_report

        return plain_report(self)
