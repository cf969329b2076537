"""`PyTree[X]` of an `X` that is made of arrays: traced whole, and no leaf in it is static."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, PyTree

from typedfilter import ShapeError, explain, filter_checkpoint, filter_jit, filter_vmap

Tree = PyTree[Float[Array, "..."]]


def double(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: leaf * 2, tree)


def test_it_is_traced_whole_on_the_direct_path():
    assert "call path: direct" in str(explain(filter_jit(double)))
    tree = {"a": [jnp.ones(2), 3.0]}
    found = filter_jit(double)(tree)
    np.testing.assert_array_equal(found["a"][0], [2.0, 2.0])
    assert found["a"][1] == 6.0


@pytest.mark.parametrize("leaf", ["s", len], ids=["a string", "a function"])
def test_a_static_leaf_in_it_is_an_error_that_names_its_path(leaf: Any):
    with pytest.raises(ShapeError, match=r"argument `tree\['a'\]\[1\]` is not an array"):
        filter_jit(double)({"a": [jnp.ones(2), leaf]})


def test_numpy_leaves_are_arrays_where_nothing_is_compiled():
    tree = {"a": np.ones((2, 3), np.float32)}
    for made in (filter_checkpoint(double), filter_vmap(double), filter_jit(double)):
        np.testing.assert_array_equal(made(tree)["a"], 2 * tree["a"])
    with jax.disable_jit():
        np.testing.assert_array_equal(filter_jit(double)(tree)["a"], 2 * tree["a"])
