"""The classifier: two dataclasses whose fields say what they hold. Knows nothing of data or training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from typedfilter import Static, pytree_dataclass
from typedfilter.check import example

Activation: TypeAlias = Callable[[Float[Array, "*any"]], Float[Array, "*any"]]


@pytree_dataclass
class Linear:
    """An affine map of vectors of size `in` to vectors of size `out`."""

    weight: Float[Array, "out in"]
    bias: Float[Array, "out"]

    def __call__(self, x: Float[Array, "in"]) -> Float[Array, "out"]:
        return self.weight @ x + self.bias


@pytree_dataclass
class MLP:
    """Affine maps with an activation between them; takes one example, and `filter_vmap` takes many."""

    layers: tuple[Linear, ...]
    activation: Static[Activation]

    def __call__(self, x: Float[Array, "pixels"]) -> Float[Array, "classes"]:
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


@example(n_in=3, n_out=2)
def init_linear(key: Key[Array, ""], n_in: int, n_out: int) -> Linear:
    """Weights that keep the variance of activations through a ReLU (He initialisation), and no bias."""
    weight = jax.random.normal(key, (n_out, n_in)) * jnp.sqrt(2 / n_in)
    return Linear(weight, jnp.zeros(n_out))


@example(sizes=(4, 3, 2))
def init_mlp(key: Key[Array, ""], sizes: tuple[int, ...]) -> MLP:
    """One `Linear` for each pair of neighbours in `sizes`."""
    keys = jax.random.split(key, len(sizes) - 1)
    layers = tuple(map(init_linear, keys, sizes[:-1], sizes[1:]))
    return MLP(layers, activation=jax.nn.relu)
