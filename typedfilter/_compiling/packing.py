"""A pytree that mixes arrays and anything else, as one node for `jax.jit`.

The arrays of a packed tree are children; the rest is interned by what a program can tell apart, and
stands in JAX's caches as a token. For each structure it is remembered where its arrays are, and for each
combination of leaf classes which structure that is: a call does no work for single leaves.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
from jax.tree_util import tree_flatten

from typedfilter._compiling.remembered import can_change, remember, seen
from typedfilter._compiling.tokens import Content, Kept, Token, strong, weaken
from typedfilter._reading.fields import leaf_marks
from typedfilter._values.keys import stays_equal
from typedfilter._values.layouts import Layout
from typedfilter._values.leaves import leaf_is_array_type
from typedfilter._values.memory import InternTable
from typedfilter._values.split import Rest
from typedfilter._values.trees import Treedef, own_classes

IsArrayType = Callable[[type], bool | None]


def every_type(cls: type) -> bool:
    """Of `Traced[...]`, every leaf is an array, or becomes one."""
    return True


class StaticPart(Content):
    """The rest of a packed argument. Functions in it are held weakly: the caller holds them."""

    __slots__ = ("layout", "statics", "stays_equal", "treedef")

    def __init__(
        self, layout: Layout[StaticPart], treedef: Treedef, statics: tuple[Any, ...], dicts: Hashable
    ) -> None:
        super().__init__(None)
        self.layout = layout  # which lives as long as a part of it does
        self.treedef = treedef
        self.statics = [weaken(static, self) for static in statics]
        self.key = layout.keyed(self.statics), dicts
        self.stays_equal = all(map(stays_equal, statics))

    @property
    def is_current(self) -> bool:
        """Whether nobody has changed an object in it since its key was made."""
        then: tuple[Any, ...] = self.key[0]
        return self.layout.keyed(map(strong, self.statics)) == then

    def rest(self) -> Rest:
        return Rest(
            self.treedef, self.layout.taken_at, self.layout.others_at, list(map(strong, self.statics))
        )


class Packed:
    """A pytree with the arrays of another one as children, and a token for the rest as auxiliary data.

    `part` keeps the rest alive where the tree was packed; where JAX has rebuilt it, the token has to do.
    """

    __slots__ = ("arrays", "part", "token")

    def __init__(self, arrays: Sequence[Any], token: Token, part: StaticPart | None = None) -> None:
        self.arrays = arrays
        self.token = token
        self.part = part

    def rest(self) -> Rest:
        rest: Rest = self.token.get().rest()
        return rest

    def plain_tree(self) -> Any:
        """The tree where it is one of plain containers and arrays alone, else `None`."""
        part = self.token.get()
        if part is None or part.statics or own_classes(part.treedef):
            return None
        return unpack(self)


def _flatten_with_keys(packed: Packed) -> tuple[list[tuple[Any, Any]], Token]:
    # Only asked for where JAX names arguments, while it traces; so the paths are not kept.
    part = packed.token.get()
    if part is None:
        return [(jax.tree_util.SequenceKey(i), array) for i, array in enumerate(packed.arrays)], packed.token
    names = [jax.tree_util.GetAttrKey(name) for name in part.layout.names]
    return list(zip(names, packed.arrays, strict=True)), packed.token


jax.tree_util.register_pytree_with_keys(
    Packed,
    _flatten_with_keys,
    lambda token, arrays: Packed(list(arrays), token),
    lambda packed: (packed.arrays, packed.token),
)


def unpack(value: Any) -> Any:
    """The inverse of `pack`; anything that is not packed comes back as it is."""
    return value.rest().join(value.arrays) if type(value) is Packed else value


def _packed(layout: Layout[StaticPart], kept: Kept, tree: Any, leaves: list[Any], treedef: Treedef) -> Packed:
    arrays, key, part = layout.apart(tree, leaves)
    if part is None:
        make = functools.partial(StaticPart, layout, treedef, layout.take_others(leaves), key[1])
        part = layout.parts.get_or_add(key, make)
    kept.keep(part)
    return Packed(arrays, part.token, part)


class _ByTypes:
    """The layout of a structure whose leaves have these classes: one look-up instead of one a leaf."""

    __slots__ = ("__weakref__", "is_frozen", "key", "layout")

    def __init__(
        self, key: tuple[Treedef, tuple[type, ...], IsArrayType], layout: Layout[StaticPart], tree: Any
    ) -> None:
        self.key = key
        self.layout = weakref.ref(layout)
        # A tree of the same structure has equal static fields, and leaves of the same classes: asked once.
        self.is_frozen = key[2] is leaf_is_array_type and not can_change(tree)


# Entries of the second live as long as their layout, layouts as long as a static part of them.
_layouts: InternTable[Layout[StaticPart]] = InternTable()
_by_types: InternTable[_ByTypes] = InternTable()


def pack(kept: Kept, tree: Any, is_array_type: IsArrayType = leaf_is_array_type) -> Packed:
    """`tree` as one node for `jax.jit`: arrays as children, everything else interned, compared exactly.

    Args:
        kept: keeps the rest, so that it is recognised at the next call.
        tree: any pytree.
        is_array_type: which classes of leaves are arrays.

    Raises:
        TypeError: a leaf that is not an array is unhashable.
    """
    if is_array_type is leaf_is_array_type:
        return _pack(kept, tree, is_array_type)[0]
    leaves, treedef = tree_flatten(tree)
    layout = _layout(tree, treedef, tuple(map(type, leaves)), is_array_type)
    return _packed(layout, kept, tree, leaves, treedef)


def _pack(kept: Kept, tree: Any, is_array_type: IsArrayType) -> tuple[Packed, _ByTypes]:
    leaves, treedef = tree_flatten(tree)
    key = treedef, tuple(map(type, leaves)), is_array_type
    entry = _by_types.get(key)
    layout = None if entry is None else entry.layout()
    if entry is None or layout is None:
        layout = _layout(tree, *key)
        entry = _by_types.get_or_add(key, functools.partial(_ByTypes, key, layout, tree))
        layout.by_types.append(entry)
    return _packed(layout, kept, tree, leaves, treedef), entry


class Packer:
    """`pack` for one argument of a program, quicker where that has the structure of the call before.

    To compare a tree with a structure takes JAX half the time that it takes to flatten one and look its
    structure up. But where it finds a difference, its error quotes the tree: the `repr` of arrays, which has
    to wait for them. So trees are compared after some calls of one structure only, and after each difference
    four times as many: a program whose structures keep changing does not get there.
    """

    __slots__ = ("_entry", "_is_array_type", "_kept", "_patience", "_to_go")

    def __init__(
        self, kept: Kept, is_array_type: IsArrayType = leaf_is_array_type, patience: int = 4
    ) -> None:
        self._kept = kept
        self._is_array_type = is_array_type
        self._patience = patience
        self._to_go = patience  # calls with the structure of `_entry`, until trees are compared with it
        self._entry: Callable[[], _ByTypes | None] = lambda: None

    @property
    def remembers(self) -> bool:
        """Whether frozen models are known again."""
        return self._is_array_type is leaf_is_array_type

    def __call__(self, tree: Any) -> Packed:
        known = seen(id(tree))
        if known is not None and known() is tree and self._is_array_type is leaf_is_array_type:
            part = known.part()
            if part is not None:
                self._kept.keep(part)
                return Packed(known.arrays, part.token, part)
        packed, is_frozen = self._packed(tree)
        if is_frozen and packed.part is not None:
            remember(tree, tuple(packed.arrays), packed.part)
        return packed

    def _packed(self, tree: Any) -> tuple[Packed, bool]:
        """`tree` packed, and whether nothing in it can change."""
        if self._to_go <= 0:
            again = self._again(tree)
            if again is not None:
                return again
        packed, entry = _pack(self._kept, tree, self._is_array_type)
        if entry is not self._entry():
            self._entry, self._to_go = weakref.ref(entry), self._patience
        self._to_go -= 1
        return packed, entry.is_frozen

    def _again(self, tree: Any) -> tuple[Packed, bool] | None:
        """`tree` packed, if it differs from those before in its arrays only."""
        entry = self._entry()
        layout = None if entry is None else entry.layout()
        if entry is None or layout is None:
            return None
        treedef, types, _ = entry.key
        try:
            leaves = treedef.flatten_up_to(tree)
        except Exception:  # a ValueError; or whatever the `repr` of a leaf raises
            self._patience *= 4
            self._to_go = self._patience
            return None
        # Of a class that was a leaf's there are leaves only: what is below one has another class.
        if tuple(map(type, leaves)) != types:
            return None
        arrays, _, part = layout.apart(tree, leaves)
        if part is None:
            return None
        self._kept.keep(part)
        return Packed(arrays, part.token, part), entry.is_frozen


def _layout(
    tree: Any, treedef: Treedef, types: tuple[type, ...], is_array_type: IsArrayType
) -> Layout[StaticPart]:
    marks = leaf_marks(tree)
    kinds = tuple(
        kind if mark.static or (is_array_type(kind) is False and not mark.traced) else None
        for kind, mark in zip(types, marks, strict=True)
    )
    return _layouts.get_or_add((treedef, kinds), functools.partial(Layout, tree, (treedef, kinds)))


def taken_leaves(tree: Any, is_array_type: IsArrayType = leaf_is_array_type) -> list[bool]:
    """For each leaf of a tree, whether it would travel as an array."""
    leaves, treedef = tree_flatten(tree)
    taken = set(_layout(tree, treedef, tuple(map(type, leaves)), is_array_type).taken_at)
    return [i in taken for i in range(len(leaves))]
