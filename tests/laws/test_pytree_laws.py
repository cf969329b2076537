"""Laws of `pytree_dataclass`: nothing is lost on the way through JAX, and structures are compared exactly."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from typedfilter.annotations import Static
from typedfilter.pytree import pytree_dataclass


@pytree_dataclass
class Node:
    child: Any
    tag: Static[Any]
    other: Any = None


@pytree_dataclass(slots=True)
class Slim:
    tag: Static[Any]
    child: Any


@pytree_dataclass
class Bare:
    child: Any


TAGS = [
    0,
    1,
    0.0,
    -0.0,
    1.0,
    False,
    True,
    None,
    "a",
    (1,),
    (1.0,),
    (True,),
    np.int32(1),
    np.float32(1),
    range(0),
]

tags = st.sampled_from(TAGS) | st.builds(float, st.just("nan"))
leaves = st.integers(0, 2) | st.none() | st.builds(np.arange, st.integers(0, 2))
trees = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Node, inner, tags, inner)
        | st.builds(Slim, tags, inner)
        | st.builds(Bare, inner)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=4,
)


def shape_of(tree: Any) -> str:
    """The structure as text, leaves and values of arrays left out: written without JAX's treedefs."""
    match tree:
        case Node():
            return f"Node({shape_of(tree.child)}, {tree.tag!r}, {shape_of(tree.other)})"
        case Slim():
            return f"Slim({tree.tag!r}, {shape_of(tree.child)})"
        case Bare():
            return f"Bare({shape_of(tree.child)})"
        case list():
            return f"[{', '.join(map(shape_of, tree))}]"
        case None:
            return "None"
        case _:
            return "*"


@given(trees)
def test_unflattening_what_was_flattened_gives_the_same_tree(tree):
    leaves, treedef = jax.tree.flatten(tree)
    again = treedef.unflatten(leaves)
    assert shape_of(again) == shape_of(tree)
    assert all(one is two for one, two in zip(jax.tree.leaves(again), leaves, strict=True))
    assert jax.tree.structure(again) == treedef


@given(trees, trees)
def test_structures_are_equal_exactly_when_no_program_can_tell_them_apart(one, two):
    same = shape_of(one) == shape_of(two)
    assert (jax.tree.structure(one) == jax.tree.structure(two)) == same
    if same:
        assert hash(jax.tree.structure(one)) == hash(jax.tree.structure(two))
