"""The one split and the one join: a pytree into a flat tuple of arrays and the rest, and back.

Floor 3. Every transform is built on it. `split` takes the leaves that a mask chooses; `pack` does the same
for `jax.jit`, where the rest has to be hashable: it is interned, so that JAX compares it by identity, and
it travels as the auxiliary data of one registered node (design, section 4). Works on flat leaf lists, and
remembers for each structure where its arrays are.
"""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax
from jax.tree_util import PyTreeDef, tree_flatten

from typedfilter._fields import leaf_marks
from typedfilter._intern import InternTable
from typedfilter._keys import exact_key, is_self_exact
from typedfilter.filters import leaf_is_array_type

__all__ = [
    "Carried",
    "Packed",
    "Rest",
    "is_traceable",
    "join_leaves",
    "pack",
    "pack_output",
    "split",
    "split_at",
    "unpack",
]


def join_leaves(total: int, *parts: tuple[Sequence[int], Iterable[Any]]) -> list[Any]:
    """One list of `total` leaves from pairs of positions and what stands there; `None` elsewhere."""
    leaves: list[Any] = [None] * total
    for positions, values in parts:
        for position, value in zip(positions, values, strict=True):
            leaves[position] = value
    return leaves


class Rest:
    """What `split` left behind: the structure, and every leaf that was not taken."""

    __slots__ = ("__weakref__", "others", "others_at", "taken_at", "treedef")

    def __init__(
        self, treedef: PyTreeDef, taken_at: Sequence[int], others_at: Sequence[int], others: Sequence[Any]
    ) -> None:
        self.treedef = treedef
        self.taken_at = taken_at
        self.others_at = others_at
        self.others = others

    def join(self, taken: Iterable[Any]) -> Any:
        """The tree, with `taken` in the place of the leaves that were taken."""
        return self.treedef.unflatten(self.leaves(taken))

    def leaves(self, taken: Iterable[Any]) -> list[Any]:
        """The flat leaves of `join(taken)`."""
        return join_leaves(
            self.treedef.num_leaves, (self.taken_at, taken), (self.others_at, self.others)
        )

    def with_none(self, taken: Iterable[Any]) -> Any:
        """The tree, with `taken` in their places and `None` for all other leaves: a gradient, say."""
        return self.treedef.unflatten(join_leaves(self.treedef.num_leaves, (self.taken_at, taken)))


def split(tree: Any, take: Callable[[list[Any]], Sequence[bool]]) -> tuple[list[Any], Rest]:
    """The leaves for which `take(leaves)` is true, as a flat list, and the rest; `rest.join` is the inverse."""
    leaves, treedef = tree_flatten(tree)
    return _split(leaves, treedef, take(leaves))


def split_at(tree: Any, mask: Sequence[bool]) -> tuple[list[Any], Rest]:
    """As `split`, with the choice already made, leaf by leaf."""
    leaves, treedef = tree_flatten(tree)
    return _split(leaves, treedef, mask)


def _split(leaves: list[Any], treedef: PyTreeDef, mask: Sequence[bool]) -> tuple[list[Any], Rest]:
    taken_at = [i for i, taken in enumerate(mask) if taken]
    if len(taken_at) == len(leaves):
        return leaves, Rest(treedef, taken_at, (), ())
    others_at = [i for i, taken in enumerate(mask) if not taken]
    return [leaves[i] for i in taken_at], Rest(treedef, taken_at, others_at, [leaves[i] for i in others_at])


class Carried:
    """A pytree node without children, on which a Python object travels past JAX and back."""

    __slots__ = ("back", "there")

    def __init__(self, there: Any) -> None:
        self.there = there
        self.back: Any = None


jax.tree_util.register_pytree_node(Carried, lambda carried: ((), carried), lambda carried, _: carried)


def is_traceable(leaf: Any) -> bool:
    """Whether the class of `leaf` says array. What its dtype is, JAX finds out when it traces."""
    return leaf_is_array_type(type(leaf)) is not False


# ----------------------------------------------------------------------------------- for jit: packed


class StaticPart(Rest):
    """The rest of a packed tree: interned, hence compared and hashed by identity."""

    __slots__ = ("key", "layout")

    def __init__(self, layout: _Layout, treedef: PyTreeDef, statics: tuple[Any, ...], key: Hashable) -> None:
        super().__init__(treedef, layout.taken_at, layout.others_at, statics)
        self.layout = layout
        self.key = key


class Packed:
    """A pytree whose children are the arrays of another one, and whose auxiliary data is the rest of it."""

    __slots__ = ("arrays", "part")

    def __init__(self, arrays: Sequence[Any], part: StaticPart) -> None:
        self.arrays = arrays
        self.part = part


def _flatten_with_keys(packed: Packed) -> tuple[list[tuple[Any, Any]], StaticPart]:
    # Only asked for where JAX names arguments, while it traces; so the paths are not kept.
    part = packed.part
    tree = part.treedef.unflatten(range(part.treedef.num_leaves))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    names = [jax.tree_util.GetAttrKey(paths[i].removeprefix(".")) for i in part.taken_at]
    return list(zip(names, packed.arrays, strict=True)), part


jax.tree_util.register_pytree_with_keys(
    Packed,
    _flatten_with_keys,
    lambda part, arrays: Packed(arrays, part),
    lambda packed: (packed.arrays, packed.part),
)


class _Layout:
    """Where the arrays of one structure are, and the live static parts of it."""

    __slots__ = ("__weakref__", "entries", "exact", "dict_paths", "key", "others_at", "parts", "take", "take_others", "taken_at")

    def __init__(self, tree: Any, key: tuple[PyTreeDef, tuple[type | None, ...]]) -> None:
        _, kinds = key
        self.key = key
        self.taken_at = [i for i, kind in enumerate(kinds) if kind is None]
        self.others_at = [i for i, kind in enumerate(kinds) if kind is not None]
        self.take = _getter(self.taken_at)
        self.take_others = _getter(self.others_at)
        self.exact = all(kind is None or is_self_exact(kind) for kind in kinds)
        self.dict_paths = _dict_paths(tree)
        self.parts: InternTable[StaticPart] = InternTable()
        self.entries: list[_ByTypes] = []

    def pack(self, tree: Any, leaves: list[Any], treedef: PyTreeDef) -> Packed:
        statics = self.take_others(leaves)
        key: Hashable = statics if self.exact else tuple(map(exact_key, statics))
        if self.dict_paths:
            key = key, _exact_dict_keys(tree, self.dict_paths)
        part = self.parts.get(key)
        if part is None:
            part = self.parts.get_or_add(key, lambda: StaticPart(self, treedef, statics, key))
        return Packed(self.take(leaves), part)


class _ByTypes:
    """The layout of a structure whose leaves have these classes: one look-up instead of one a leaf."""

    __slots__ = ("__weakref__", "key", "layout")

    def __init__(self, key: tuple[PyTreeDef, tuple[type, ...]], layout: _Layout) -> None:
        self.key = key
        self.layout = weakref.ref(layout)


# Entries of the second live as long as their layout, layouts as long as a static part of them.
_layouts: InternTable[_Layout] = InternTable()
_by_types: InternTable[_ByTypes] = InternTable()


def pack(tree: Any, is_array_type: Callable[[type], bool | None] = leaf_is_array_type) -> Packed:
    """`tree` as one node for `jax.jit`: arrays as children, everything else interned, compared exactly.

    Raises:
        TypeError: a leaf that is not an array is unhashable.
    """
    leaves, treedef = tree_flatten(tree)
    types = tuple(map(type, leaves))
    if is_array_type is not leaf_is_array_type:
        return _layout(tree, treedef, types, is_array_type).pack(tree, leaves, treedef)
    entry = _by_types.get((treedef, types))
    layout = None if entry is None else entry.layout()
    if layout is None:
        layout = _layout(tree, treedef, types, is_array_type)
        _remember(layout, (treedef, types))
    return layout.pack(tree, leaves, treedef)


def _layout(
    tree: Any, treedef: PyTreeDef, types: tuple[type, ...], is_array_type: Callable[[type], bool | None]
) -> _Layout:
    marks = leaf_marks(tree)
    kinds = tuple(
        kind if mark.static or is_array_type(kind) is False else None
        for kind, mark in zip(types, marks, strict=True)
    )
    return _layouts.get_or_add((treedef, kinds), lambda: _Layout(tree, (treedef, kinds)))


def _remember(layout: _Layout, key: tuple[PyTreeDef, tuple[type, ...]]) -> None:
    entry = _ByTypes(key, layout)
    layout.entries.append(_by_types.get_or_add(key, lambda: entry))


def unpack(value: Any) -> Any:
    """The inverse of `pack`; anything that is not packed comes back as it is."""
    return value.part.join(value.arrays) if type(value) is Packed else value


def pack_output(tree: Any) -> Any:
    """What a traced body returns to JAX: the tree itself where it holds arrays only, else packed."""
    leaves = jax.tree_util.tree_leaves(tree)
    return tree if all(map(is_traceable, leaves)) else pack(tree)


def _getter(positions: Sequence[int]) -> Callable[[list[Any]], tuple[Any, ...]]:
    if len(positions) > 1:
        return operator.itemgetter(*positions)
    if positions:
        (only,) = positions
        return lambda leaves: (leaves[only],)
    return lambda leaves: ()


# JAX compares the keys of dictionaries with `==`, so that {1: x}, {1.0: x} and {True: x} have one structure.
# Where a structure holds its dictionaries is found once; a call then only looks at their keys.

_Step = Callable[[Any], Any]


def _dict_paths(tree: Any) -> list[tuple[_Step, ...]]:
    """The way to every dictionary in a tree, as look-ups to do one after another."""
    if jax.tree_util.all_leaves([tree]):
        return []
    paths: list[tuple[_Step, ...]] = [()] if isinstance(tree, dict) else []
    for step in _steps(tree):
        paths += [(step, *path) for path in _dict_paths(step(tree))]
    return paths


def _steps(tree: Any) -> list[_Step]:
    """A look-up for each child of a node; none for a leaf."""
    if isinstance(tree, dict):
        return [operator.itemgetter(key) for key in tree]
    if isinstance(tree, (tuple, list)):
        return [operator.itemgetter(i) for i in range(len(tree))]
    found = jax.tree_util.default_registry.flatten_one_level(tree)
    count = 0 if found is None else len(tuple(found[0]))
    return [functools.partial(_child, i) for i in range(count)]


def _child(index: int, node: Any) -> Any:
    return tuple(jax.tree_util.default_registry.flatten_one_level(node)[0])[index]


def _exact_dict_keys(tree: Any, paths: Iterable[tuple[_Step, ...]]) -> tuple[Hashable, ...]:
    """The exact keys of the dictionaries at these places; `None` where they are plain strings."""
    keys: list[Hashable] = []
    for path in paths:
        node = tree
        for step in path:
            node = step(node)
        keys.append(None if set(map(type, node)) <= _PLAIN_KEYS else frozenset(map(exact_key, node)))
    return tuple(keys)


_PLAIN_KEYS = {str}
