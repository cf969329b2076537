"""The one split and the one join: pytrees into a flat list of arrays and the rests, and back.

Every transform is built on it, on flat leaf lists. `_compiling.packing` adds what `jax.jit` needs: a rest
that is hashable, and compared exactly.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import jax
from jax.tree_util import tree_flatten

from typedfilter._values.trees import Treedef


def join_leaves(total: int, *parts: tuple[Sequence[int], Iterable[Any]]) -> list[Any]:
    """One list of `total` leaves from pairs of positions and what stands there; `None` elsewhere."""
    leaves: list[Any] = [None] * total
    for positions, values in parts:
        for position, value in zip(positions, values, strict=True):
            leaves[position] = value
    return leaves


@dataclasses.dataclass(slots=True, eq=False, repr=False, weakref_slot=True)
class Rest:
    """What `split` left behind: the structure, and every leaf that was not taken."""

    treedef: Treedef
    taken_at: Sequence[int]
    others_at: Sequence[int]
    others: Sequence[Any]

    def join(self, taken: Iterable[Any]) -> Any:
        """The tree, with `taken` in the place of the leaves that were taken."""
        return self.treedef.unflatten(self.leaves(taken))

    def leaves(self, taken: Iterable[Any]) -> list[Any]:
        """The flat leaves of `join(taken)`."""
        return join_leaves(self.treedef.num_leaves, (self.taken_at, taken), (self.others_at, self.others))

    @property
    def mask(self) -> list[bool]:
        """Which of the leaves were taken."""
        taken = set(self.taken_at)
        return [i in taken for i in range(self.treedef.num_leaves)]

    def with_none(self, taken: Iterable[Any]) -> Any:
        """The tree, with `taken` in their places and `None` for all other leaves: a gradient, say."""
        return self.treedef.unflatten(join_leaves(self.treedef.num_leaves, (self.taken_at, taken)))


def split(tree: Any, take: Callable[[list[Any]], Sequence[bool]]) -> tuple[list[Any], Rest]:
    """The leaves that `take(leaves)` says, as a flat list, and the rest; `rest.join` is the inverse."""
    leaves, treedef = tree_flatten(tree)
    return split_leaves(leaves, treedef, take(leaves))


def split_where(tree: Any, is_taken: Callable[[Any], bool]) -> tuple[list[Any], Rest]:
    """As `split`, with the choice made leaf by leaf."""
    leaves, treedef = tree_flatten(tree)
    return split_leaves(leaves, treedef, list(map(is_taken, leaves)))


def split_leaves(leaves: list[Any], treedef: Treedef, mask: Sequence[bool]) -> tuple[list[Any], Rest]:
    """As `split`, of a tree that is flattened already, with the choice made leaf by leaf."""
    taken_at = [i for i, taken in enumerate(mask) if taken]
    if len(taken_at) == len(leaves):
        return leaves, Rest(treedef, taken_at, (), ())
    others_at = [i for i, taken in enumerate(mask) if not taken]
    return [leaves[i] for i in taken_at], Rest(treedef, taken_at, others_at, [leaves[i] for i in others_at])


Piece: TypeAlias = tuple[list[Any], Treedef, Sequence[bool]]
"""An argument that is flattened, and which of its leaves are to be taken."""


class Whole:
    """An argument of which nothing is taken."""

    __slots__ = ("value",)
    taken_at: tuple[int, ...] = ()

    def __init__(self, value: Any) -> None:
        self.value = value

    def join(self, taken: Iterable[Any]) -> Any:
        return self.value

    def with_none(self, taken: Iterable[Any]) -> Any:
        return None


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Taken:
    """The arguments of one call, with some leaves taken out."""

    arrays: list[Any]  # what was taken, flat
    rests: Sequence[Rest | Whole]  # of each argument, what is left
    count: int  # how many arguments were passed by position
    names: tuple[str, ...]  # of those that were passed by name, which come last

    def without_arrays(self) -> Taken:
        """What can be joined as this can, and keeps no array of the call alive."""
        return Taken([], self.rests, self.count, self.names)

    @property
    def masks(self) -> list[list[bool]]:
        """For each argument, which of its leaves were taken."""
        return [rest.mask for rest in self.rests if isinstance(rest, Rest)]

    def join(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with `arrays` in the place of what was taken."""
        values: list[Any] = []
        at = 0
        for rest in self.rests:  # as `parts` does; but this runs in every call
            end = at + len(rest.taken_at)
            values.append(rest.join(arrays[at:end]))
            at = end
        return values[: self.count], dict(zip(self.names, values[self.count :], strict=True))

    def trees(self, arrays: Sequence[Any]) -> list[Any]:
        """Each argument with `arrays` in the place of what was taken, and `None` for all other leaves."""
        return [rest.with_none(part) for rest, part in self.parts(arrays)]

    def parts(self, arrays: Sequence[Any]) -> Iterable[tuple[Rest | Whole, Sequence[Any]]]:
        """What is left of each argument, with its part of `arrays`."""
        at = 0
        for rest in self.rests:
            end = at + len(rest.taken_at)
            yield rest, arrays[at:end]
            at = end


def taken(pieces: Iterable[Piece | Whole], count: int, names: tuple[str, ...]) -> Taken:
    """The arguments of a call, of which `count` by position, with what is chosen taken out."""
    arrays: list[Any] = []
    rests: list[Rest | Whole] = []
    for piece in pieces:
        if isinstance(piece, Whole):
            rests.append(piece)
        else:
            found, rest = split_leaves(*piece)
            arrays += found
            rests.append(rest)
    return Taken(arrays, rests, count, names)


class Parcel:
    """A pytree node without children, on which a Python object travels past JAX and back."""

    __slots__ = ("back", "there")

    def __init__(self, there: Any) -> None:
        self.there = there
        self.back: Any = None


jax.tree_util.register_pytree_node(Parcel, lambda parcel: ((), parcel), lambda parcel, _: parcel)


def getter(positions: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes the elements at these positions, or with these keys, out of a container."""
    if len(positions) > 1:
        return operator.itemgetter(*positions)
    if positions:
        (only,) = positions
        return lambda values: (values[only],)
    return lambda values: ()
