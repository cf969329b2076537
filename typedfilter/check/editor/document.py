"""A file that is open in an editor: its text, positions in it, and what an edit has left in its place.

Knows how the protocol counts (lines from 0, units of UTF-16); knows nothing of verdicts.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

_ENDS = re.compile(r"\r\n|\r|\n")


class Text:
    """The text of a file, by lines that count from 1, as Python's do."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: list[str] = _ENDS.split(text)

    def line(self, number: int) -> str:
        """A line without its end; empty where there is none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def place(self, line: int, column: int) -> dict[str, int]:
        """The protocol's position of a character."""
        return {"line": line - 1, "character": _units(self.line(line)[:column])}

    def span(self, line: int, column: int | None = None, end: int | None = None) -> dict[str, Any]:
        """The protocol's range of a piece of a line, or of what is written on the whole line."""
        text = self.line(line)
        column = len(text) - len(text.lstrip()) if column is None else column
        return {
            "start": self.place(line, column),
            "end": self.place(line, len(text) if end is None else end),
        }

    def column(self, line: int, character: int) -> int:
        """The character at a position of the protocol; the end of the line where that is longer."""
        units = 0
        for number, one in enumerate(self.line(line)):
            if units >= character:
                return number
            units += _units(one)
        return len(self.line(line))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def moved(before: Text, after: Text) -> tuple[range, range]:
    """The lines (from 0) that an edit has replaced, in the text before it and in the text after."""
    old, new = before.lines, after.lines
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))
    start = sum(1 for _ in pairs)
    most = min(len(old), len(new)) - start
    backwards = itertools.islice(zip(reversed(old), reversed(new), strict=False), most)
    kept = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], backwards))
    return range(start, len(old) - kept), range(start, len(new) - kept)
