"""The report of a check: all verdicts, what they come to, and their text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from typedfilter.check.report import results, text
from typedfilter.check.report.results import Result, Status, Unreadable

_WORST_FIRST: tuple[Status, ...] = ("failed", "skipped", "checked", "proved")


@dataclasses.dataclass(frozen=True, repr=False)
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
        return results.count(self.results, status)

    @property
    def share(self) -> float:
        """The share of the functions that were judged, from 0 to 1."""
        return results.share(self.results)

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
        return results.exit_status(self.results, self.unreadable)

    def __str__(self) -> str:
        if len(self) == 1 and not self.unreadable:
            return text.plain(text.result_lines(self.results[0]))
        return text.plain(text.lines(self.results, self.unreadable))

    __repr__ = __str__  # what a prompt shows of `check_shapes(f)`
