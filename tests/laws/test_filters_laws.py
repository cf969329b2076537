"""Laws of taking pytrees apart and putting them together."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from typedfilter import filters
from typedfilter._values.leaves import is_array
from typedfilter.filters import combine, partition

leaves = st.sampled_from([0, 1.5, "a", print, np.float32(2), None]) | st.builds(
    lambda n: np.arange(n), st.integers(0, 3)
)


def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.tuples(inner, inner)
    return st.lists(inner, max_size=3) | pairs | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)


trees = st.recursive(leaves, branches, max_leaves=8)
predicates = st.sampled_from(
    [is_array, callable, lambda leaf: isinstance(leaf, (int, str)), lambda leaf: True]
)


def identical(one: Any, two: Any) -> bool:
    first, first_def = jax.tree.flatten(one)
    second, second_def = jax.tree.flatten(two)
    return first_def == second_def and all(a is b for a, b in zip(first, second, strict=True))


def spec_for(data: st.DataObject, tree: Any) -> Any:
    """A spec whose structure is a random prefix of that of the tree."""
    entries = st.booleans() | predicates
    if not isinstance(tree, (list, tuple, dict)) or data.draw(st.booleans()):
        return data.draw(entries)
    children, treedef = jax.tree.flatten(tree, is_leaf=lambda node: node is not tree)
    return treedef.unflatten([spec_for(data, child) for child in children])


@given(trees, st.data())
def test_combining_what_was_partitioned_gives_the_same_leaves(tree, data):
    assert identical(combine(*partition(tree, spec_for(data, tree))), tree)


@given(trees, predicates)
def test_the_order_of_the_parts_does_not_matter(tree, predicate):
    arrays, rest = partition(tree, predicate)
    assert identical(combine(arrays, rest), combine(rest, arrays))


@given(trees, st.data(), st.sampled_from([None, 0, "-"]))
def test_partition_is_filter_and_its_inverse(tree, data, replace):
    spec = spec_for(data, tree)
    kept, others = partition(tree, spec, replace)
    assert identical(kept, filters.filter(tree, spec, replace=replace))
    assert identical(others, filters.filter(tree, spec, inverse=True, replace=replace))


@given(trees, predicates)
def test_filtering_twice_is_filtering_once(tree, predicate):
    once = filters.filter(tree, predicate)
    assert identical(filters.filter(once, predicate), once)


@given(trees, predicates)
def test_a_tree_of_bools_selects_as_the_predicate_that_made_it(tree, predicate):
    mask = jax.tree.map(lambda leaf: bool(predicate(leaf)), tree)
    assert identical(filters.filter(tree, mask), filters.filter(tree, predicate))


@given(trees, predicates)
def test_nodes_that_is_leaf_keeps_whole_are_put_back_whole(tree, predicate):
    def whole(node: Any) -> bool:
        return isinstance(node, tuple)

    selected, others = partition(tree, lambda node: whole(node) or bool(predicate(node)), is_leaf=whole)
    assert identical(combine(selected, others), tree)
