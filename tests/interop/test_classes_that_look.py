"""Classes of others whose constructors look at their fields: none is built around what is no array.

JAX builds them around tracers, which are arrays; a number, a name or a shape in the place of one is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import typedfilter as tf

flax_struct = pytest.importorskip("flax.struct")

W = jnp.array([1.0, 2.0, 3.0])


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    w: Array
    bias: Array

    def __post_init__(self) -> None:
        assert self.w.ndim == self.bias.ndim


@flax_struct.dataclass
class Flax:
    w: Array
    power: int = flax_struct.field(pytree_node=False, default=2)

    def __post_init__(self) -> None:
        assert self.w.shape


class Module(eqx.Module):
    w: Array
    name: str = "module"

    def __check_init__(self) -> None:
        assert self.w.dtype == jnp.float32


class Node:
    def __init__(self, w: Any) -> None:
        assert isinstance(w, jax.Array), type(w)
        self.w = w


class Keyed(Node):
    pass


jax.tree_util.register_pytree_node(Node, lambda node: ((node.w,), None), lambda _, w: Node(*w))
jax.tree_util.register_pytree_with_keys(
    Keyed, lambda node: (((jax.tree_util.GetAttrKey("w"), node.w),), None), lambda _, w: Keyed(*w)
)

CLASSES: dict[str, Callable[[Any], Any]] = {
    "registered": lambda w: Registered(w, w),
    "flax": Flax,
    "equinox": Module,
    "node": Node,
    "keyed": Keyed,
}


def doubled(tree: Any) -> Any:
    return tree["node"].w * 2


def kept(tree: Any) -> Any:
    return tree


# What returns `2 * W`, of a class beside a leaf that is no array.
RUNS: dict[str, Callable[[Any], Any]] = {
    "jit": lambda tree: tf.filter_jit(doubled)(tree),
    "jit, first unlike it": lambda tree: [tf.filter_jit(doubled)({**tree, "more": n}) for n in (1, W)][1],
    "result": lambda tree: doubled(tf.filter_jit(kept)(tree)),
    "ahead": lambda tree: tf.filter_jit(doubled).lower(tree).compile()(tree),
    "grad": lambda tree: tf.filter_grad(lambda tree: (tree["node"].w ** 2).sum())(tree)["node"].w,
    "value_and_grad": lambda tree: (
        tf.filter_value_and_grad(lambda t: doubled(t).sum())(tree)[1]["node"].w * W
    ),
    "vmap": lambda tree: tf.filter_jit(tf.filter_vmap(doubled, in_axes=None, axis_size=2))(tree)[0],
    "checkpoint": lambda tree: tf.filter_checkpoint(doubled)(tree),
    "closure_convert": lambda tree: tf.filter_closure_convert(doubled, tree)(tree),
    "scan": lambda tree: doubled(tf.filter_scan(lambda c, _: (c, None), tree, None, length=2)[0]),
    "cond": lambda tree: doubled(tf.filter_cond(True, kept, kept, tree)),
    "shard": lambda tree: doubled(tf.filter_shard(tree, jax.devices()[1])),
}
# What only looks.
LOOKS: dict[str, Callable[[Any], Any]] = {
    "explain": lambda tree: str(tf.explain(tf.filter_jit(doubled), tree)),
    "explain a map": lambda tree: str(tf.explain(tf.filter_jit(tf.filter_vmap(doubled)), tree)),
    "trees of stages": lambda tree: tf.filter_jit(kept).lower(tree).compile().out_tree,
    "arguments of stages": lambda tree: tf.filter_jit(kept).lower(tree).args_info,
    "export": lambda tree: jax.export.export(tf.filter_jit(doubled))(tree).in_tree,
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("cls", CLASSES)
def test_it_is_built_around_arrays(cls, name):
    np.testing.assert_allclose(RUNS[name]({"node": CLASSES[cls](W), "name": "n"}), 2 * W)


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("cls", CLASSES)
def test_it_may_be_looked_at(cls, name):
    assert LOOKS[name]({"node": CLASSES[cls](W), "name": "n"}) is not None


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_about_what_is_beside_it_names_that(cls):
    tree = {"node": CLASSES[cls](W), "beside": [set()]}
    with pytest.raises(tf.StaticArgumentError) as caught:
        tf.filter_jit(doubled)(tree)
    assert caught.value.parameter == "tree['beside'][0]"
