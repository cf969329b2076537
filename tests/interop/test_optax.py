"""Optax: its states, which are named tuples, travel through jit, and its updates fit our gradients."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import (
    Donate,
    NoDiff,
    Static,
    apply_updates,
    filter_jit,
    filter_value_and_grad,
    is_inexact_array,
    partition,
    pytree_dataclass,
)

X = jax.random.normal(jax.random.key(0), (16, 3))
Y = X @ jnp.array([1.0, -2.0, 3.0])
OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "adam": optax.adam(0.1),
    "chain": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1)),
    "schedule": optax.sgd(optax.cosine_decay_schedule(0.2, 100)),
}
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))


@pytree_dataclass
class Model:
    weight: Float[Array, "n"]
    offset: NoDiff[Float[Array, ""]]
    power: Static[int] = 1

    def __call__(self, x: Float[Array, "b n"]) -> Float[Array, "b"]:
        return (x @ self.weight + self.offset) ** self.power


def loss(model, x, y):
    return (
        jnp.mean((jax.vmap(model)(x) - y) ** 2)
        if isinstance(model, eqx.Module)
        else jnp.mean((model(x) - y) ** 2)
    )


def train(step, model, state):
    losses = []
    for _ in range(60):
        model, state, value = step(model, state, X, Y)
        losses.append(float(value))
    assert losses[-1] < 0.1 * losses[0]
    return model, state


def step_with(optimizer, **options):
    traces = []

    @filter_jit(**options)
    def step(model, state, x, y):
        traces.append(model)
        value, grads = filter_value_and_grad(loss)(model, x, y)
        trained, _ = partition(model, is_inexact_array)
        updates, state = optimizer.update(grads, state, trained)
        return apply_updates(model, updates), state, value

    return step, traces


def trained_part(model):
    """What has a gradient: the arrays that are not frozen."""
    return dataclasses.replace(model, offset=None)


@optimizers
def test_a_model_of_ours_is_trained(optimizer):
    model = Model(jnp.zeros(3), jnp.array(0.0))
    step, traces = step_with(optimizer)

    def update(model, state, x, y):
        value, grads = filter_value_and_grad(loss)(model, x, y)
        updates, state = optimizer.update(grads, state, trained_part(model))
        return apply_updates(model, updates), state, value

    model, _ = train(filter_jit(update), model, optimizer.init(trained_part(model)))
    np.testing.assert_allclose(model.offset, 0.0)
    assert traces == []


@optimizers
def test_a_model_of_equinox_is_trained_in_one_compilation(optimizer):
    model = eqx.nn.Linear(3, "scalar", key=jax.random.key(1))
    step, traces = step_with(optimizer)
    train(step, model, optimizer.init(eqx.filter(model, is_inexact_array)))
    assert len(traces) == 1


def test_states_can_be_donated():
    optimizer = OPTIMIZERS["adam"]
    weight = jnp.zeros(3)

    @filter_jit
    def step(
        weight: Donate[Float[Array, "n"]],
        state: Donate[optax.OptState],
        x: Float[Array, "b n"],
        y: Float[Array, "b"],
    ):
        value, grads = filter_value_and_grad(lambda w: jnp.mean((x @ w - y) ** 2))(weight)
        updates, state = optimizer.update(grads, state, weight)
        return optax.apply_updates(weight, updates), state, value

    state = optimizer.init(weight)
    train(step, weight, state)
    assert weight.is_deleted()
    assert state[0].mu.is_deleted()


def test_an_optimizer_is_a_static_argument():
    traces = []

    @filter_jit
    def step(optimizer, weight, state):
        traces.append(optimizer)
        return optimizer.update(2 * weight, state, weight)

    weight = jnp.ones(3)
    for optimizer in (OPTIMIZERS["sgd"], OPTIMIZERS["adam"], OPTIMIZERS["sgd"]):
        step(optimizer, weight, optimizer.init(weight))
    assert traces == [OPTIMIZERS["sgd"], OPTIMIZERS["adam"]]
