"""A report for people: what was found, the line it stands on, what was expected; plain, or with colours.

Lines are lists of (text, style): a terminal with rich shows the styles, anything else the text.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from typedfilter.check.report import source
from typedfilter.check.report.results import (
    STATUSES,
    Frame,
    Result,
    Span,
    Status,
    Unreadable,
    count,
    exit_status,
    share,
)

Line: TypeAlias = list[tuple[str, str]]
"""Pieces of text with their style: a word that rich knows, or nothing."""

_STYLES: Mapping[Status, str] = {
    "proved": "green",
    "checked": "cyan",
    "failed": "bold red",
    "skipped": "yellow",
}


def lines(
    results: Sequence[Result], unreadable: Sequence[Unreadable], quiet: bool = False, skipped: bool = True
) -> Iterator[Line]:
    """The whole report; when quiet, without what is proved or checked.

    Functions that are skipped for one reason are told together in the end; without `skipped`, not at all.
    """
    alike = by_reason(results)
    together = {id(result) for group in alike.values() for result in group}
    for result in results:
        if result.status == "skipped":
            shown_here = skipped and id(result) not in together
        else:
            shown_here = not quiet or result.status == "failed" or result.by_letter
        if shown_here:
            yield from result_lines(result)
    for reason, group in alike.items() if skipped else ():
        yield from _group_lines(reason, group)
    yield from _unread(unreadable)
    if not results and not unreadable:
        yield [("no annotated function found: nothing was checked", "bold red")]
    yield from _summary(results, unreadable)


_MANY = 3
_NAMED = 3
_PLACE = re.compile(r"^(?:in one case )?(?:field )?`[^`]*`(?: of `[^`]*`)?:? ")


def by_reason(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The functions that are skipped for a reason that many are skipped for, by that; the most first."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.status == "skipped":
            groups.setdefault(_PLACE.sub("a parameter or field ", result.message), []).append(result)
    many = [(reason, group) for reason, group in groups.items() if len(group) >= _MANY]
    return dict(sorted(many, key=lambda item: -len(item[1])))


def _group_lines(reason: str, group: Sequence[Result]) -> Iterator[Line]:
    yield [("skipped", _STYLES["skipped"]), (f" {len(group)} functions: {reason}", "")]
    fix = group[0].fix
    if fix:
        yield [("  fix: ", "dim"), (fix, "")]
    places = [f"{r.function} ({shown(r.file)}:{r.line})" for r in group[:_NAMED]]
    more = f", and {len(group) - _NAMED} more" if len(group) > _NAMED else ""
    yield [("  in ", "dim"), (", ".join(places) + more, "")]


def _unread(unreadable: Sequence[Unreadable]) -> Iterator[Line]:
    """What could not be read; a traceback that several files share is said once."""
    seen: dict[tuple[str, str], list[Unreadable]] = {}
    for problem in unreadable:
        # The way there is that of each file; a module is missing wherever it is asked for.
        raised = problem.traceback.rpartition("\n  File ")[2]
        missing = "ModuleNotFoundError" in problem.message
        key = (problem.message, "" if missing else raised or problem.target)
        seen.setdefault(key, []).append(problem)
    for first, *others in seen.values():
        yield from _unreadable_lines(first)
        if others:
            names = ", ".join(other.target for other in others[:_NAMED])
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            yield [(f"  the same for {len(others)} more: ", "dim"), (names + more, "")]


def plain(report_lines: Iterable[Line]) -> str:
    """The text of lines."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in report_lines)


def print_rich(report_lines: Iterable[Line], console: Any) -> None:
    """Print lines on a console of rich's."""
    from rich.text import Text

    for line in report_lines:
        console.print(Text.assemble(*((text, style) for text, style in line)), soft_wrap=True)


def shown(file: str) -> str:
    """A path as messages say it: relative to the current folder where it lies below."""
    path = Path(file)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else file


def result_lines(result: Result) -> Iterator[Line]:
    """One verdict."""
    place = f"{shown(result.file)}:{result.line}: "
    head: Line = [(place, ""), (result.status, _STYLES[result.status]), (f" {result.function}", "bold")]
    if result.status != "failed":
        yield [*head, (f": {result.message}", "")]
        yield from _fix_lines(result)
        return
    yield head
    for text in result.message.splitlines():
        yield [(f"  {text}", "")]
    yield from _signature_lines(result)
    yield from _fact_lines(result)
    if result.frame is not None:
        yield from _frame_lines(result.frame)
    yield from _fix_lines(result)


def _fix_lines(result: Result) -> Iterator[Line]:
    if result.fix:
        yield [("  fix: ", "dim"), (result.fix, "")]


def _signature_lines(result: Result) -> Iterator[Line]:
    line = result.span.line if result.span is not None else result.line
    if not source.line_text(result.file, line):
        return
    yield _source_line(result.file, line)
    if result.span is not None:
        yield _underline(result.span)


def _source_line(file: str, line: int) -> Line:
    return [(f"  {line:>5} | ", "dim"), (source.line_text(file, line), "")]


def _underline(span: Span) -> Line:
    before = source.line_text(span.file, span.line)[: span.column]
    # Tabs stay tabs, so that the carets stand where the annotation stands.
    blank = "".join(c if c == "\t" else " " for c in before)
    return [("        | ", "dim"), (blank, ""), ("^" * max(1, span.end - span.column), "bold red")]


def facts(result: Result) -> list[tuple[str, str]]:
    """What is known of a failure beside its message, each with a label."""
    every = (
        ("expected", result.expected),
        ("found", result.found),
        ("where", ", ".join(f"{name} is {where}" for name, where in result.dims.items())),
        ("with", ", ".join(result.case)),
        ("for example at", _sizes_text(result.sizes)),
        ("but not at", _sizes_text(result.good_sizes)),
    )
    return [(label, text) for label, text in every if text]


def _fact_lines(result: Result) -> Iterator[Line]:
    for label, text in facts(result):
        first, *rest = textwrap.wrap(text, 96, break_long_words=False, break_on_hyphens=False)
        yield [(f"  {label}: ", "dim"), (first, "")]
        for more in rest:
            yield [(f"    {more}", "")]


def _sizes_text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _frame_lines(frame: Frame) -> Iterator[Line]:
    yield [("  raised in ", "dim"), (f"{frame.function} ({shown(frame.file)}:{frame.line})", "")]
    yield _source_line(frame.file, frame.line)


def _unreadable_lines(problem: Unreadable) -> Iterator[Line]:
    yield [(f"{problem.target}: ", ""), ("not checked", "bold red"), (f": {problem.message}", "")]
    for text in problem.traceback.splitlines():
        yield [(f"  {text}", "dim")]


def _summary(results: Sequence[Result], unreadable: Sequence[Unreadable]) -> Iterator[Line]:
    counts = [(status, count(results, status)) for status in STATUSES]
    parts = [f"{number} {status}" for status, number in counts if number]
    if unreadable:
        parts.append(f"{len(unreadable)} not read")
    if parts:
        files = len({result.file for result in results})
        where = f" in {files} {'file' if files == 1 else 'files'}" if files else ""
        ok = exit_status(results, unreadable) == 0
        if count(results, "skipped"):
            yield [(f"{share(results):.0%} of {len(results)} functions judged", "")]
        meant = sum(result.by_letter and result.status in ("proved", "checked") for result in results)
        if meant:
            they = "it is" if meant == 1 else "they are"
            yield [(f"{meant} of the good ones only as {they} meant: --strict takes that for a failure", "")]
        yield [(", ".join(parts) + where, "bold" if ok else "bold red")]
