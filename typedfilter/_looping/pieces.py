"""One tree of a loop or branch, taken apart: what is traced, what is static, and what tells both apart.

The rule is that of `jax.lax`: arrays and Python numbers are traced, in carries, operands and results.
Everything else is static, and so is whatever stands in a `Static` parameter or field.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Hashable, Sequence
from typing import Any

from jax.tree_util import tree_leaves

from typedfilter._reading import kinds
from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.plan import Param
from typedfilter._values.keys import exact_key
from typedfilter._values.leaves import is_array_like, is_passed
from typedfilter._values.split import Rest, split


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A tree taken apart."""

    leaves: list[Any]  # what is traced, flat
    rest: Rest  # everything else
    # the exact keys of its dictionaries, of which JAX takes 1, 1.0 and True for one
    dicts: tuple[Hashable, ...] = ()
    # for each of `leaves`, along which axis a loop steps through it; `None` where it is seen whole
    axes: tuple[int | None, ...] = ()

    @property
    def key(self) -> Hashable:
        """Equal for pieces of the same structure and static part; a new object where that is unhashable."""
        rest = self.rest
        try:
            key = (
                rest.treedef,
                tuple(rest.taken_at),
                tuple([exact_key(value) for value in rest.others]),
                self.dicts,
                self.axes,
            )
            hash(key)
        except TypeError:
            return object()
        return key


def is_traced(leaf: Any) -> bool:
    """Whether `jax.lax` would trace a leaf: an array, or a Python number."""
    return is_passed(leaf) or (is_array_like(leaf) and not isinstance(leaf, enum.Enum))


def is_static(param: Param | None) -> bool:
    """Whether an argument is static as a whole: `Static[...]` or `Literal[...]` is written."""
    return param is not None and (param.hint.static_marker or isinstance(param.hint.kind, kinds.Literal))


def take_traced(tree: Any, *, static: bool = False) -> Piece:
    """A carry, an operand or a result: its arrays and numbers, unless all of it is static."""
    marks = leaf_marks(tree)
    traced, rest = split(
        tree,
        lambda leaves: [
            not static and not mark.static and is_traced(leaf)
            for leaf, mark in zip(leaves, marks, strict=True)
        ],
    )
    return Piece(list(map(_value, traced)), rest, exact_keys_of_dicts(tree))


def take_given(trees: Sequence[Any], static: Sequence[bool]) -> Piece:
    """Several operands, some of which may be static as a whole, as one piece: the tuple of them."""
    pieces = [take_traced(tree, static=is_static) for tree, is_static in zip(trees, static, strict=True)]
    masks: list[bool] = []
    for piece in pieces:
        taken = set(piece.rest.taken_at)
        masks += [i in taken for i in range(piece.rest.treedef.num_leaves)]
    _, rest = split(tuple(trees), lambda _: masks)
    dicts = tuple(key for piece in pieces for key in piece.dicts)
    return Piece([leaf for piece in pieces for leaf in piece.leaves], rest, dicts)


def take_captured(tree: Any) -> Piece:
    """What a body holds (a model whose method it is, say): arrays are inputs, as everywhere else."""
    marks = leaf_marks(tree)
    arrays, rest = split(
        tree,
        lambda leaves: [
            is_passed(leaf) and not mark.static for leaf, mark in zip(leaves, marks, strict=True)
        ],
    )
    return Piece(arrays, rest, exact_keys_of_dicts(tree))


def take_result(tree: Any) -> tuple[list[Any], Rest]:
    """The arrays of what a loop returns, and everything else as it is."""
    piece = take_captured(tree)
    return piece.leaves, piece.rest


def _value(leaf: Any) -> Any:
    # JAX has stopped to ask for it where it meets one inside of a tree.
    ask = None if is_passed(leaf) else getattr(type(leaf), "__jax_array__", None)
    return leaf if ask is None else ask(leaf)


def exact_keys_of_dicts(tree: Any) -> tuple[Hashable, ...]:
    """For each dictionary in a tree its keys, exactly; `None` where they are plain strings."""
    keys: list[Hashable] = []

    def look(node: Any) -> bool:
        if isinstance(node, dict):
            plain = all(type(key) is str for key in node)
            keys.append(None if plain else frozenset([exact_key(key) for key in node]))
        return False

    tree_leaves(tree, is_leaf=look)
    return tuple(keys)
