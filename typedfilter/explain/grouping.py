"""Blocks that repeat, told once: `model.blocks[0-11].weight`, twelve times."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

FEW = 20  # leaves that are shown one by one
_INDEX = re.compile(r"\[(\d+)\]")


@dataclasses.dataclass(frozen=True)
class Group:
    """Leaves that differ in one index of their path alone; mostly a single one."""

    path: str  # of all of them, `[first-last]` in the place of that index
    rows: tuple[Any, ...]  # the leaves


def grouped(rows: Sequence[Any]) -> list[Group]:
    """The rows in their order; where there are many, those alike in all but one index together.

    Args:
        rows: with `path`, and `alike`, which is equal for rows that may stand for each other.
    """
    if len(rows) <= FEW:
        return [Group(row.path, (row,)) for row in rows]
    found: dict[Any, list[Any]] = {}
    for row in rows:
        pattern = _INDEX.sub("[*]", row.path, count=1)
        found.setdefault((pattern, row.alike), []).append(row)
    return [_group(pattern, members) for (pattern, _), members in found.items()]


def _group(pattern: str, members: list[Any]) -> Group:
    if len(members) == 1:
        return Group(members[0].path, tuple(members))
    indices = [int(_INDEX.findall(member.path)[0]) for member in members]
    return Group(pattern.replace("*", _ranges(indices), 1), tuple(members))


def _ranges(indices: Sequence[int]) -> str:
    """Whole numbers as ranges: `0-3,5`."""
    parts: list[list[int]] = []
    for index in sorted(set(indices)):
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
