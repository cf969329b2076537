"""The transformed functions: their annotations alone say what is traced, static, donated and mapped.

Every model is one of an ensemble: a leading axis that `filter_vmap` takes off, so that each body below
reads as the mathematics of one model, and is checked as such.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int, Key

from typedfilter import (
    Donate,
    Optimiser,
    Static,
    Traced,
    VmapAxis,
    apply_updates,
    filter_jit,
    filter_value_and_grad,
    filter_vmap,
    pytree_dataclass,
)
from typedfilter.demo.model import MLP, init_mlp

TRACES: Counter[str] = Counter()
"""How often each body ran: once for each compilation, since afterwards JAX runs what it compiled."""


@pytree_dataclass
class TrainState:
    """What a step consumes and makes anew."""

    model: MLP
    moments: Any  # optax's


@filter_jit
@filter_vmap
def init_state(
    key: Key[Array, ""],
    sizes: Static[tuple[int, ...]],
    optimiser: Static[Optimiser],
) -> TrainState:
    """A fresh model, and the optimiser's state for it, of each key."""
    TRACES["init_state"] += 1
    model = init_mlp(key, sizes)
    return TrainState(model, optimiser.init(model))


@filter_value_and_grad
def loss(model: MLP, images: Float[Array, "batch pixels"], labels: Int[Array, "batch"]) -> Float[Array, ""]:
    """Cross-entropy, and its gradient with respect to the model."""
    logits = filter_vmap(model)(images)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


@filter_jit
@filter_vmap
def train_step(
    state: Donate[TrainState],
    images: Annotated[Float[Array, "batch pixels"], VmapAxis[None]],
    labels: Annotated[Int[Array, "batch"], VmapAxis[None]],
    learning_rate: Traced[float],
    optimiser: Static[Optimiser],
) -> tuple[TrainState, Float[Array, ""]]:
    """One step of the optimiser down the gradient of the loss, for each model."""
    TRACES["train_step"] += 1
    value, gradient = loss(state.model, images, labels)
    direction, moments = optimiser.update(gradient, state.moments, state.model)
    updates = jax.tree.map(lambda d: -learning_rate * d, direction)
    return TrainState(apply_updates(state.model, updates), moments), value


@filter_jit
@filter_vmap
def predict(
    model: MLP, images: Annotated[Float[Array, "batch pixels"], VmapAxis[None]]
) -> Float[Array, "batch classes"]:
    """The logarithm of the probability that each model gives to each class."""
    TRACES["predict"] += 1
    return jax.nn.log_softmax(filter_vmap(model)(images))
