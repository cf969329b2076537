"""What `explain` shows in a notebook: its tables as HTML, the leaves of a subtree behind an opening mark."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from typedfilter._values.shown import page


def explanation_page(
    head: str,
    parameters: tuple[Sequence[str], Iterable[Sequence[str]]],
    leaves: tuple[Sequence[str], Sequence[Sequence[str]]] | None,
    notes: Iterable[str],
) -> str:
    """The HTML of an explanation.

    Args:
        head: the function and its stack.
        parameters: the names of the columns, and a row for each parameter.
        leaves: likewise for each leaf, whose path comes first; `None` where no arguments were given.
        notes: lines that go below.
    """
    parts = [f"<b>{html.escape(head)}</b>", _table(*parameters)]
    if leaves is not None:
        parts += _by_parameter(*leaves)
    parts += [f"<small>{html.escape(note)}</small><br>" for note in notes if note]
    return page("".join(parts))


def _by_parameter(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for name, group in itertools.groupby(rows, lambda row: re.split(r"[.\[]", row[0], maxsplit=1)[0]):
        members = list(group)
        count = f"{len(members)} {'row' if len(members) == 1 else 'rows'}"
        summary = f"<summary>{html.escape(name)} <small>{count}</small></summary>"
        yield f"<details{' open' if len(members) <= 8 else ''}>{summary}{_table(columns, members)}</details>"


def _table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
