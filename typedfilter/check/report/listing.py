"""The source of a function with shapes beside its lines: as text, as JSON, as a page of HTML.

Knows verdicts and lines of files; knows nothing of how shapes are found.
"""

from __future__ import annotations

import dataclasses
import html
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from typedfilter._values.shown import page
from typedfilter.check.report import source
from typedfilter.check.report import text as _text
from typedfilter.check.report.results import Result, Unreadable

_GUTTER = 8  # of the numbers of lines: `   12 | `
_NARROWEST = 24  # column of comments
_SHAPE = re.compile(r"([^\s,]+: )?(\w+\[[^\]]*\]|\d+ more \w+)")


@dataclasses.dataclass(frozen=True)
class Remark:
    """What is wrong on a line: a sentence, and facts on lines of their own."""

    line: int
    text: str


@dataclasses.dataclass(frozen=True)
class Listing:
    """A verdict, and what was seen on the lines of its function."""

    result: Result  # the verdict
    first: int = 0  # the first line of the function, 0 where nothing was seen,
    last: int = 0  # and the last
    # by line and name (`h`, `params["w"]`): the texts of what was there
    shapes: Mapping[int, Mapping[str, Sequence[str]]] = dataclasses.field(
        default_factory=dict[int, dict[str, list[str]]]
    )
    remarks: tuple[Remark, ...] = ()  # what is wrong, and where

    @property
    def ok(self) -> bool:
        """Whether nothing raised, and every annotation that was looked at holds."""
        return not self.remarks and self.result.status != "failed"

    def note(self, line: int) -> str:
        """The shapes on a line: `q: f32[b,n], k: f32[b,m]`."""
        return ", ".join(f"{name}: {' or '.join(texts)}" for name, texts in self.shapes.get(line, {}).items())


def as_text(listing: Listing, width: int) -> str:
    """The source with a column of comments, at most so many characters wide where the source allows it."""
    if not listing.shapes:
        return _text.plain(_text.result_lines(listing.result))
    column = _column(listing, width)
    lines = [_head(listing.result)]
    for number in range(listing.first, listing.last + 1):
        lines += _source_lines(listing, number, column, width)
        for remark in listing.remarks:
            if remark.line == number:
                lines += [f"{'':{_GUTTER - 2}}! {line}" for line in remark.text.splitlines()]
    return "\n".join(line.rstrip() for line in lines)


def _head(result: Result) -> str:
    place = f"{_text.shown(result.file)}:{result.line}: {result.status} {result.function}"
    return place if result.status == "failed" else f"{place}: {result.message}"


def _column(listing: Listing, width: int) -> int:
    """Where comments begin: right of the lines that have one, but for those that leave too little room."""
    most = max(_NARROWEST, width * 3 // 5, width - 36)
    file = listing.result.file
    ends = [_GUTTER + len(source.line_text(file, line)) + 2 for line in listing.shapes]
    return max([_NARROWEST, *(end for end in ends if end <= most)])


def _source_lines(listing: Listing, number: int, column: int, width: int) -> Iterator[str]:
    line = f"{number:>{_GUTTER - 3}} | {source.line_text(listing.result.file, number)}"
    wrapped = _wrapped(listing.note(number), max(_NARROWEST, width - column - 2))
    if not wrapped:
        yield line
    elif len(line) + 2 > column:  # the source is longer: the comment stands below it
        yield line
        yield from (f"{'':{column}}# {more}" for more in wrapped)
    else:
        yield f"{line:<{column}}# {wrapped[0]}"
        yield from (f"{'':{column}}# {more}" for more in wrapped[1:])


def _wrapped(note: str, width: int) -> list[str]:
    """The lines of a comment; a shape stays whole."""
    whole = _SHAPE.sub(lambda found: found[0].replace(" ", "\0"), note)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def as_json(listings: Sequence[Listing], unreadable: Sequence[Unreadable]) -> str:
    """One object: `functions` with the shapes on their lines, `errors` with what could not be read."""
    errors = [{"target": one.target, "message": one.message} for one in unreadable]
    return json.dumps({"functions": [_facts(one) for one in listings], "errors": errors}, indent=2)


def _facts(listing: Listing) -> dict[str, Any]:
    result = listing.result
    return {
        "function": result.function,
        "file": _text.shown(result.file),
        "line": result.line,
        "status": result.status,
        "message": result.message,
        "fix": result.fix,
        "lines": [
            {"line": number, "shapes": {name: list(texts) for name, texts in listing.shapes[number].items()}}
            for number in sorted(listing.shapes)
        ],
        "remarks": [{"line": remark.line, "text": remark.text} for remark in listing.remarks],
    }


def as_html(listings: Sequence[Listing]) -> str:
    """A page for a browser, in its light or dark colours: the source, and shapes at the right."""
    body = "".join(map(_section, listings))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark"><title>Shapes</title></head>'
        f"<body>{page(body)}</body></html>\n"
    )


def _section(listing: Listing) -> str:
    if not listing.shapes:
        return f"<pre>{html.escape(_text.plain(_text.result_lines(listing.result)))}</pre>"
    rows = "".join(_rows(listing))
    return f"<h3>{html.escape(_head(listing.result))}</h3><table>{rows}</table>"


def _rows(listing: Listing) -> Iterator[str]:
    for number in range(listing.first, listing.last + 1):
        code = html.escape(source.line_text(listing.result.file, number))
        note = html.escape(listing.note(number))
        yield (
            f'<tr><td><small>{number}</small></td><td style="white-space:pre">{code}</td><td>{note}</td></tr>'
        )
        for remark in listing.remarks:
            if remark.line == number:
                text = html.escape(remark.text)
                yield f'<tr><td></td><td colspan="2" style="white-space:pre"><b>{text}</b></td></tr>'
