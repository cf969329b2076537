"""A report for machines: one JSON object, or workflow commands for GitHub Actions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from typedfilter.check.report import text as _text
from typedfilter.check.report.report import Report
from typedfilter.check.report.results import STATUSES, Result, Unreadable


def as_json(report: Report, skipped: bool = True) -> str:
    """One object: `results` has one object a function, `errors` what could not be read.

    Without `skipped`, functions that are skipped are in the `summary` only.
    """
    return json.dumps(
        {
            "results": [_result(one) for one in report.results if skipped or one.status != "skipped"],
            "errors": [
                {"target": e.target, "line": e.line, "message": e.message, "traceback": e.traceback}
                for e in report.unreadable
            ],
            "summary": {status: report.count(status) for status in STATUSES},
            "judged": round(report.share, 4),
        },
        indent=2,
    )


def _result(result: Result) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "function": result.function,
        "file": _text.shown(result.file),
        "line": result.line,
        "status": result.status,
        "message": result.message,
        "expected": result.expected,
        "found": result.found,
        "dims": dict(result.dims),
        "sizes": dict(result.sizes),
        "good_sizes": dict(result.good_sizes),
        "case": list(result.case),
        "fix": result.fix,
        "by_letter": result.by_letter,
        "guessed": result.guessed,
    }
    if result.span is not None:
        span = result.span
        facts["annotation"] = {"line": span.line, "column": span.column + 1, "end_column": span.end + 1}
    if result.frame is not None:
        frame = result.frame
        facts["frame"] = {"file": _text.shown(frame.file), "line": frame.line, "function": frame.function}
    return facts


def as_github(report: Report, skipped: bool = True) -> str:
    """One annotation for each function that failed or was skipped, and for what could not be read."""
    alike = _text.by_reason(report.results) if skipped else {}
    together = {id(result) for group in alike.values() for result in group}
    kinds = ("failed", "skipped") if skipped else ("failed",)
    told = [r for r in report.results if r.status in kinds or r.by_letter]
    lines = [_command(result) for result in told if id(result) not in together]
    lines += [_group(reason, group) for reason, group in alike.items()]
    lines += [_unreadable(problem) for problem in report.unreadable]
    if not report.results and not report.unreadable:
        lines.append("::error title=typedfilter check::no annotated function found: nothing was checked")
    lines.append(_text.plain(list(_text.lines(report.results, report.unreadable, quiet=True))[-1:]))
    return "\n".join(lines)


def _group(reason: str, group: Sequence[Result]) -> str:
    """One notice for functions that are skipped for one reason, at the first of them."""
    first = group[0]
    properties = {
        "file": _text.shown(first.file),
        "line": first.line,
        "title": f"{len(group)} functions: skipped",
    }
    return _workflow_command("notice", properties, f"{reason}\nfix: {first.fix}" if first.fix else reason)


def _command(result: Result) -> str:
    properties: dict[str, Any] = {"file": _text.shown(result.file), "line": result.line}
    if result.span is not None:
        properties = properties | {
            "line": result.span.line,
            "col": result.span.column + 1,
            "endColumn": result.span.end,
        }
    properties["title"] = f"{result.function}: {result.status}"
    body = _text.plain(list(_text.result_lines(result))[1:]) if result.status == "failed" else result.message
    if result.fix and result.status != "failed":
        body += f"\nfix: {result.fix}"
    return _workflow_command("error" if result.status == "failed" else "notice", properties, body)


def _unreadable(problem: Unreadable) -> str:
    body = f"{problem.target}: {problem.message}\n{problem.traceback}".rstrip()
    place = {"file": problem.target, "line": problem.line} if problem.line else {}
    return _workflow_command("error", {**place, "title": "typedfilter check"}, body)


def _workflow_command(kind: str, properties: dict[str, Any], body: str) -> str:
    said = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in properties.items())
    return f"::{kind} {said}::{_escaped(body)}"


def _escaped(text: str, more: str = "") -> str:
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
