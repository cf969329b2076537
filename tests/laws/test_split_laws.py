"""Laws of the one split and the one join, and of packed trees: what goes in comes out, told apart exactly."""

from __future__ import annotations

import collections
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from typedfilter._compiling.packing import Packed, Packer, pack, unpack
from typedfilter._compiling.tokens import Kept
from typedfilter._values.keys import exact_key
from typedfilter._values.split import join_leaves, split, split_leaves
from typedfilter.annotations import Static
from typedfilter.pytree import pytree_dataclass


class Pair(NamedTuple):
    one: Any
    two: Any


@pytree_dataclass
class Node:
    child: Any
    tag: Static[Any]


arrays = st.builds(lambda n: np.arange(n), st.integers(0, 3)) | st.builds(jnp.ones, st.integers(0, 2))
scalars = st.sampled_from([0, 1, 2, -1, 0.0, -0.0, 1.0, float("nan"), True, False, 1j, 1 + 0j, np.float32(1)])
others = st.sampled_from(
    ["", "a", b"a", None, print, jnp.sin, int, frozenset({1}), frozenset({True}), range(2)]
)
leaves = arrays | scalars | others
keys = st.sampled_from(["a", "b", "c"]) | st.sampled_from([1, 2]) | st.sampled_from([1.0, True])


def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def dictionaries(names: Any) -> st.SearchStrategy[Any]:
        return st.dictionaries(names, inner, max_size=3)

    return (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Node, inner, scalars | others)
        | dictionaries(st.sampled_from("abc"))
        | dictionaries(st.sampled_from([1, 2.0]))
        | dictionaries(st.sampled_from([True, 2]))
        | dictionaries(st.sampled_from("abc")).map(collections.OrderedDict)
    )


trees = st.recursive(leaves, branches, max_leaves=8)


def identical(one: Any, two: Any) -> bool:
    """The same classes all the way down, and the very same leaves."""
    first, first_def = jax.tree.flatten(one)
    second, second_def = jax.tree.flatten(two)
    return described(one) == described(two) and first_def == second_def and all(map(_is, first, second))


def _is(one: Any, two: Any) -> bool:
    return one is two


def described(tree: Any) -> Any:
    """What a program can tell of a tree without looking at the values of arrays."""
    if isinstance(tree, (np.ndarray, jax.Array)):
        return "array"
    if isinstance(tree, Node):
        return Node, described(tree.child), exact_key(tree.tag)
    if isinstance(tree, dict):
        return type(tree), frozenset((exact_key(key), described(value)) for key, value in tree.items())
    if isinstance(tree, (tuple, list)):
        return type(tree), tuple(map(described, tree))
    return "array" if isinstance(tree, np.generic) else exact_key(tree)


# ---------------------------------------------------------------------------------------------------- split


@given(trees, st.data())
def test_joining_what_was_split_gives_the_tree_back(tree, data):
    flat = jax.tree.leaves(tree)
    mask = data.draw(st.lists(st.booleans(), min_size=len(flat), max_size=len(flat)))
    taken, rest = split(tree, lambda _: mask)
    assert identical(rest.join(taken), tree)
    assert all(map(_is, taken, [leaf for leaf, chosen in zip(flat, mask, strict=True) if chosen]))
    assert all(map(_is, rest.others, [leaf for leaf, chosen in zip(flat, mask, strict=True) if not chosen]))


@given(trees, st.data())
def test_other_leaves_may_stand_where_leaves_were_taken(tree, data):
    flat = jax.tree.leaves(tree)
    mask = data.draw(st.lists(st.booleans(), min_size=len(flat), max_size=len(flat)))
    taken, rest = split(tree, lambda _: mask)
    new = [object() for _ in taken]
    joined = rest.leaves(new)
    assert [leaf for leaf, chosen in zip(joined, mask, strict=True) if chosen] == new
    kept = [leaf for leaf, chosen in zip(joined, mask, strict=True) if not chosen]
    assert all(map(_is, kept, rest.others))
    only = jax.tree.leaves(rest.with_none(new), is_leaf=lambda leaf: leaf is None)
    assert [leaf for leaf in only if leaf is not None] == new


@given(trees)
def test_a_choice_is_asked_for_all_leaves_at_once_and_in_order(tree):
    asked: list[Any] = []

    def none(flat):
        asked.append(flat)
        return [False] * len(flat)

    taken, rest = split(tree, none)
    assert len(asked) == 1
    assert all(map(_is, asked[0], jax.tree.leaves(tree)))
    assert taken == []
    assert identical(rest.join([]), tree)
    everything, rest = split_leaves(*jax.tree.flatten(tree), [True] * len(asked[0]))
    assert identical(rest.join(everything), tree)


@given(st.lists(st.integers(), max_size=6), st.data())
def test_leaves_are_joined_from_any_parts_in_any_order(values, data):
    places = data.draw(st.permutations(range(len(values))))
    cut = data.draw(st.integers(0, len(values)))
    parts = [(part, [values[i] for i in part]) for part in (places[:cut], places[cut:])]
    assert join_leaves(len(values), *parts) == values
    assert join_leaves(len(values), *reversed(parts)) == values


# ----------------------------------------------------------------------------------------------------- pack


@given(trees)
def test_unpacking_what_was_packed_gives_the_tree_back(tree):
    kept = Kept()
    packed = pack(kept, tree)
    assert identical(unpack(packed), tree)
    flat, treedef = jax.tree.flatten(packed)
    assert all(isinstance(leaf, (np.ndarray, np.generic, jax.Array)) for leaf in flat)
    rebuilt = treedef.unflatten(flat)
    assert type(rebuilt) is Packed
    assert identical(unpack(rebuilt), tree)


ALIKE: list[list[Any]] = [
    [0, 0.0, -0.0, False, 0j],
    [1, 1.0, True, 1 + 0j],
    [frozenset({1}), frozenset({True})],
    ["a", b"a"],
]


NAMES: list[list[Any]] = [[1, 1.0, True], [2, 2.0]]  # numbers that can be sorted, as JAX sorts keys


def confused(data: st.DataObject, tree: Any, groups: list[list[Any]] = ALIKE) -> Any:
    """`tree` with some of its values replaced by others that are equal to them, or nearly so."""
    if isinstance(tree, Node):
        return Node(confused(data, tree.child), confused(data, tree.tag))
    if isinstance(tree, dict):
        return type(tree)((confused(data, key, NAMES), confused(data, value)) for key, value in tree.items())
    if isinstance(tree, Pair):
        return Pair(*[confused(data, child) for child in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)(confused(data, child) for child in tree)
    if isinstance(tree, (np.ndarray, jax.Array, np.generic)):
        return tree
    alike = next((group for group in groups if tree in group), [tree])
    return data.draw(st.sampled_from([tree, *alike]))


@given(trees, st.data())
def test_two_packed_trees_have_one_structure_exactly_when_no_program_can_tell_them_apart(one, data):
    kept, two = Kept(), confused(data, one)
    first, second = pack(kept, one), pack(kept, two)
    same = described(one) == described(two)
    assert (jax.tree.structure(first) == jax.tree.structure(second)) == same
    if same:
        assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(second))


@given(trees)
def test_a_tree_that_is_made_anew_has_the_same_structure(tree):
    kept = Kept()
    again = jax.tree.map(lambda leaf: leaf + 0 if isinstance(leaf, (np.ndarray, jax.Array)) else leaf, tree)
    first, second = pack(kept, tree), pack(kept, again)
    assert jax.tree.structure(first) == jax.tree.structure(second)


@given(st.lists(trees, min_size=1, max_size=4), st.data())
def test_packing_the_calls_of_one_program_is_packing_each_of_them(some, data):
    """However often which of them comes: the shorter way of a program is no other way."""
    kept = Kept()
    packer = Packer(kept)
    for tree in data.draw(st.lists(st.sampled_from(some), max_size=6)):
        for _ in range(data.draw(st.sampled_from([1, 2, 6]))):
            packed = packer(tree)
            assert identical(unpack(packed), tree)
            assert jax.tree.structure(packed) == jax.tree.structure(pack(kept, tree))
