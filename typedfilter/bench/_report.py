"""Rows as a table and as JSON. Knows nothing of how they were measured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from typedfilter.bench._machine import in_words
from typedfilter.bench._rows import Row

_LAYOUT = "{:>6} {:>8}  {:8} {:16} {:21} {:>11} {:>9}  {}"


def head(machine: dict[str, Any], missing: Sequence[str]) -> str:
    """What comes before the rows."""
    columns = _LAYOUT.format("ratio", "at most", "", "case", "against", "typedfilter", "other", "what")
    notes = [f"{name} is not installed: not compared with it" for name in missing]
    return "\n".join([*in_words(machine), *notes, "", columns])


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The rows of one case; what was measured is said where it changes."""
    said = ""
    for row in rows:
        yield _line(row, row.what if row.what != said else "").rstrip()
        said = row.what


def _line(row: Row, what: str) -> str:
    verdict = {None: "", True: "met", False: "NOT MET"}[row.met]
    target = "" if row.target is None else f"{row.target:.2f}"
    times = [_seconds(row.ours), _seconds(row.theirs)]
    return _LAYOUT.format(_value(row), target, verdict, row.case, row.against, *times, what)


def summary(rows: Iterable[Row], busy: str = "") -> str:
    """What comes after them; `busy` says why no target should be judged by them, if so."""
    judged = [row for row in rows if row.met is not None]
    missed = [row for row in judged if not row.met]
    text = f"{len(judged) - len(missed)} of {len(judged)} targets met"
    if missed and busy:
        text += f"; {busy}"
    for row in missed:
        against = f" against {row.against}" if row.against else ""
        text += f"\nnot met: {row.case}{against}: {_value(row)}, target {row.target:.2f}"
    return text


def as_json(machine: dict[str, Any], rows: Iterable[Row]) -> str:
    """All of it as one JSON object: `machine`, and `rows` with the fields of `Row` and `met`."""
    found = [dataclasses.asdict(row) | {"met": row.met} for row in rows]
    return json.dumps({"machine": machine, "rows": found}, indent=2)


def _value(row: Row) -> str:
    value = abs(row.value) if round(row.value, 2) == 0 else row.value  # no minus sign in front of zero
    return f"{value:.2f}" + (" s" if row.unit == "s" else "")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds / 1e-6:.2f} us"
