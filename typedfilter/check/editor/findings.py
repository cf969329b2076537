"""What is known of an open file, as an editor is told it: diagnostics, hints behind lines, words on hover.

Knows verdicts and the protocol's shapes for them; knows nothing of how they are found or sent.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from typedfilter.check.editor.document import Text, moved
from typedfilter.check.report.listing import Listing
from typedfilter.check.report.results import Frame, Result, Unreadable
from typedfilter.check.report.text import facts
from typedfilter.check.run import is_unjudged

ERROR, WARNING, INFORMATION = 1, 2, 3
_TYPE = 1  # the kind of a hint
_NAME = re.compile(r"[^\W\d]\w*")


@dataclasses.dataclass
class Findings:
    """What is known of one file."""

    file: str  # its path
    text: Text  # what it says; all lines below are those of this text, and 0 where they were edited since
    listings: dict[str, Listing] = dataclasses.field(default_factory=dict[str, Listing])  # by function
    unreadable: Unreadable | None = None  # why there is nothing to say
    strict: bool = False  # whether what is not judged is worth a warning

    def edit(self, text: Text) -> range:
        """Go on with another text; the lines of it (from 0) that are new."""
        old, new = moved(self.text, text)

        def move(line: int) -> int:
            if line - 1 < old.start:
                return line
            return 0 if line - 1 in old else line + new.stop - old.stop

        self.text = text
        self.listings = {name: _moved(one, move) for name, one in self.listings.items()}
        if self.unreadable is not None and self.unreadable.line:
            line = move(self.unreadable.line)
            self.unreadable = dataclasses.replace(self.unreadable, line=line) if line else None
        return new

    def diagnostics(self) -> list[dict[str, Any]]:
        """What is wrong, line by line."""
        found = [one for one in map(self._diagnostic, self.listings.values()) if one is not None]
        if self.unreadable is not None:
            line = self.unreadable.line or 1
            found.append(diagnostic(self.text.span(line), ERROR, "not-imported", self.unreadable.message))
        return sorted(found, key=lambda one: (one["range"]["start"]["line"], one["message"]))

    def _diagnostic(self, listing: Listing) -> dict[str, Any] | None:
        result = listing.result
        severity = _severity(result, self.strict)
        if severity is None:
            return None
        here = self._range(result)
        return None if here is None else diagnostic(here, severity, _code(result), _words(result))

    def _range(self, result: Result) -> dict[str, Any] | None:
        """Where a verdict is shown: at the annotation that does not hold, the line that raised, the `def`."""
        span, frame = result.span, result.frame
        if result.status == "failed" and span is not None and self._is_here(span.file):
            return self.text.span(span.line, span.column, span.end) if span.line else None
        is_raised = result.status == "failed" and frame is not None and self._is_here(frame.file)
        line = frame.line if frame is not None and is_raised else result.line
        return self.text.span(line) if line else None

    def _is_here(self, file: str) -> bool:
        return os.path.realpath(file) == self.file

    def on_lines(self, first: int, last: int) -> Iterator[tuple[Listing, dict[str, Any] | None]]:
        """The functions that something is shown of on these lines, or whose `def` is there."""
        for listing in self.listings.values():
            shown = self._diagnostic(listing)
            begins = shown["range"]["start"]["line"] + 1 if shown is not None else 0
            if first <= begins <= last or first <= listing.result.line <= last:
                yield listing, shown

    def hints(self, first: int, last: int) -> list[dict[str, Any]]:
        """A hint behind each of these lines on which something is known."""
        found: dict[int, list[str]] = {}
        for listing in self.listings.values():
            for line in listing.shapes:
                if first <= line <= last and listing.note(line) not in found.get(line, []):
                    found.setdefault(line, []).append(listing.note(line))
        return [
            {
                "position": self.text.place(line, len(self.text.line(line))),
                "label": " | ".join(notes),
                "kind": _TYPE,
                "paddingLeft": True,
            }
            for line, notes in sorted(found.items())
        ]

    def hover(self, line: int, character: int) -> dict[str, Any] | None:
        """What is known of the name at a position: the shapes it has there, or the verdict on a function."""
        column = self.text.column(line, character)
        word = next((m for m in _NAME.finditer(self.text.line(line)) if m.start() <= column <= m.end()), None)
        if word is None:
            return None
        lines = [text for listing in self.listings.values() for text in _about(listing, word[0], line)]
        if not lines:
            return None
        return {
            "contents": {"kind": "markdown", "value": "\n\n".join(dict.fromkeys(lines))},
            "range": self.text.span(line, word.start(), word.end()),
        }


def diagnostic(place: Mapping[str, Any], severity: int, code: str, message: str) -> dict[str, Any]:
    """One of the protocol's diagnostics."""
    return {
        "range": dict(place),
        "severity": severity,
        "code": code,
        "source": "typedfilter",
        "message": message,
    }


def _moved(listing: Listing, move: Callable[[int], int]) -> Listing:
    result, span, frame = listing.result, listing.result.span, listing.result.frame
    shapes = {move(line): names for line, names in listing.shapes.items()}
    shapes.pop(0, None)
    return dataclasses.replace(
        listing,
        result=dataclasses.replace(
            result,
            line=move(result.line),
            span=None if span is None else dataclasses.replace(span, line=move(span.line)),
            frame=_moved_frame(frame, result.file, move),
        ),
        first=move(listing.first),
        last=move(listing.last),
        shapes=shapes,
        remarks=(),
    )


def _moved_frame(frame: Frame | None, file: str, move: Callable[[int], int]) -> Frame | None:
    if frame is None or frame.file != file:
        return frame
    return dataclasses.replace(frame, line=move(frame.line))


def _severity(result: Result, strict: bool) -> int | None:
    """How much a verdict matters; None where there is nothing to say."""
    if result.status == "failed":
        return ERROR
    if strict and is_unjudged(result):
        return WARNING
    return INFORMATION if result.by_letter else None


def _code(result: Result) -> str:
    if result.status == "failed":
        return "failed"
    return "by-letter" if result.by_letter else "not-judged"


def _words(result: Result) -> str:
    """A verdict in lines."""
    said = result.message if result.status == "failed" else f"{result.status}: {result.message}"
    lines = [said, *(f"{label}: {text}" for label, text in facts(result))]
    return "\n".join([*lines, *([f"fix: {result.fix}"] if result.fix else [])])


def _about(listing: Listing, name: str, line: int) -> Iterator[str]:
    """What is known of a name on a line of a function, or on its `def` of the function itself."""
    if line == listing.result.line and listing.result.function.rpartition(".")[2] == name:
        yield f"`{listing.result.function}`: {listing.result.status}\n\n{_words(listing.result)}"
    if not listing.first <= line <= listing.last:
        return
    part = re.compile(rf"{re.escape(name)}(?![\w])")
    for above in sorted((one for one in listing.shapes if one <= line), reverse=True):
        known = {one: texts for one, texts in listing.shapes[above].items() if part.match(one)}
        if known:
            lines = "\n".join(f"{one}: {' or '.join(texts)}" for one, texts in known.items())
            yield f"```python\n{lines}\n```"
            return
