"""`typedfilter docs`: pages of the guide in the terminal, and the reference of public names."""

from __future__ import annotations

import argparse
import inspect
import pydoc
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any, get_origin

from typedfilter._values.text import meant

FOLDER = Path(__file__).parent
_ALL = "api"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.add_argument(
        "topic", nargs="?", help="a page, or a public name such as filter_jit; without it, all are listed"
    )


def run(args: argparse.Namespace) -> int:
    """Show a page; 2 if there is none of that name."""
    if args.topic is None:
        print(_contents())
        return 0
    text = _text_of(args.topic)
    if text is None:
        print(f"typedfilter docs: {_unknown(args.topic)}", file=sys.stderr)
        return 2
    if sys.stdout.isatty():
        pydoc.pager(_within(shutil.get_terminal_size().columns, text))
    else:
        print(text)
    return 0


def pages() -> dict[str, Path]:
    """Each page by its topic."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.md"))}


def title_of(page: Path) -> str:
    """The first heading of a page."""
    return next(line for line in page.read_text().splitlines() if line.startswith("# ")).removeprefix("# ")


def _contents() -> str:
    found = pages()
    width = max(map(len, found))
    rows = [f"  {topic.ljust(width)}  {title_of(page)}" for topic, page in found.items()]
    names = textwrap.fill(", ".join(_public_names()), 100, initial_indent="  ", subsequent_indent="  ")
    rows.append(f"  {_ALL.ljust(width)}  Every public name, with its signature and its docstring")
    return "\n".join(["typedfilter docs TOPIC shows a page:", *rows, "or what a public name is:", names])


def _public_names() -> list[str]:
    import typedfilter

    return list(typedfilter.__all__)


def _text_of(topic: str) -> str | None:
    found = pages()
    exact = topic.removesuffix(".md")
    if exact not in found and topic not in _public_names():  # there are both `static` and `Static`
        exact = exact.lower()
    if exact in found:
        return found[exact].read_text()
    if topic == _ALL:
        return "\n\n\n".join(map(_reference, _public_names()))
    return _reference(topic) if topic in _public_names() else None


_APART = re.compile(r"#|\||```| {4}|$")  # a line that is shown as it is written
_POINT = re.compile(r"- |\d+\. ")


def _within(width: int, text: str) -> str:
    """A text whose prose keeps within a width; code and tables stay as they are written."""
    paragraphs: list[tuple[bool, str]] = []  # whether it is prose, and what it says
    code = False
    for line in text.splitlines():
        prose = not code and not _APART.match(line)
        if prose and not _POINT.match(line) and paragraphs and paragraphs[-1][0]:
            paragraphs[-1] = True, f"{paragraphs[-1][1]} {line.strip()}"
        else:
            paragraphs.append((prose, line))
        code ^= line.startswith("```")
    return "\n".join(_filled(width, said) if prose else said for prose, said in paragraphs)


def _filled(width: int, paragraph: str) -> str:
    point = _POINT.match(paragraph)
    below = " " * point.end() if point else ""
    return textwrap.fill(
        paragraph, width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )


def _reference(name: str) -> str:
    """The signature and the docstring of a public name."""
    import typedfilter

    found = getattr(typedfilter, name)
    doc = inspect.getdoc(found) or ""
    return f"{name}{_signature(found)}\n\n{textwrap.indent(doc, '    ')}".rstrip()


def _signature(found: Any) -> str:
    import typedfilter

    if get_origin(found) is Annotated:  # a marker around any type
        return "[T]"
    if found in (typedfilter.VmapAxis, typedfilter.ScanAxis):
        return "[axis, T]"
    if not callable(found):
        return ""
    try:
        return str(inspect.signature(found))
    except (TypeError, ValueError):
        return ""


def _unknown(topic: str) -> str:
    slip = meant(topic, [*pages(), _ALL, *_public_names()])
    found = f"there is no page or public name {topic!r}" + (f"; {slip}" if slip else "")
    return f"{found} (without a topic, all are listed)"
