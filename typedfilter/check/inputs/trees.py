"""Trees of which only the leaves are known, in a few structures; and the structure that a choice stands for.

Knows nodes; knows nothing of types.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax

from typedfilter.check.inputs.nodes import Maker, Node, Point

STRUCTURE = "structure"  # what the choice of one is called: `structure T`, `structure of params`

# A leaf of each structure is the number under which its node is made.
_STRUCTURES: tuple[Any, ...] = ((0, 1), 0, {"a": 0, "b": [1, 2]})
_STRUCTURE_NAMES = ("a pair", "a single leaf", "a dictionary of three leaves")


@dataclasses.dataclass(frozen=True)
class TreeNode:
    """`PyTree[leaf, "T"]`: leaves of one type in several structures; a composite name nests them."""

    label: str
    key: str
    structure: str | None
    leaf: Callable[[str], Node]

    @property
    def inner(self) -> Node:
        """How each of the leaves is made."""
        return self.leaf("0")

    def points(self) -> Iterator[Point]:
        for piece in self._pieces:
            yield self._point(piece)
        yield from self.leaf("0").points()

    @property
    def _pieces(self) -> tuple[str, ...]:
        return tuple((self.structure or "").split()) or (f"of {self.key}",)

    def _point(self, piece: str) -> Point:
        key = f"of {self.key} around" if piece == "..." else piece
        names = tuple(f"`{self.label}` {name}" for name in _STRUCTURE_NAMES)
        return Point(f"{STRUCTURE} {key}", names, soft=STRUCTURE)

    def skeleton(self, maker: Maker) -> Any:
        """The tree of this case with a number for each leaf."""
        tree: Any = 0
        for piece in self._pieces:
            inner = _STRUCTURES[maker.choose(self._point(piece))]
            tree = jax.tree.map(lambda _, inner=inner: inner, tree)
        return tree

    def make(self, maker: Maker) -> Any:
        skeleton = self.skeleton(maker)
        made = [self.leaf(str(index)).make(maker) for index in range(len(jax.tree.leaves(skeleton)))]
        return jax.tree.unflatten(jax.tree.structure(skeleton), made)


def structure(chosen: int) -> Any:
    """The tree structure that option of a structure name stands for."""
    return jax.tree.structure(_STRUCTURES[chosen])
