"""Optax: its states, which are named tuples, travel through jit, and its updates fit our gradients."""

from __future__ import annotations

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import (
    Diff,
    Donate,
    NoDiff,
    PytreeError,
    Static,
    Traced,
    apply_updates,
    combine,
    filter,
    filter_grad,
    filter_jit,
    filter_value_and_grad,
    is_inexact_array,
    partition,
    pytree_dataclass,
    trainable,
    tree_equal,
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


# trainable ------------------------------------------------------------------------------------------------


@pytree_dataclass
class Head:
    weight: Float[Array, "n"]
    scale: NoDiff[Float[Array, ""]]


@pytree_dataclass
class Frozen:
    """With everything that an optimizer must leave alone."""

    weight: Float[Array, "n"]
    mean: NoDiff[Float[Array, "n"]]
    head: Head
    count: Array
    name: Static[str] = "frozen"
    rate: float = 2.0

    def __call__(self, x):
        return self.rate * self.head.scale * ((x - self.mean) @ (self.weight * self.head.weight)) + self.count


def frozen():
    head = Head(jnp.ones(3), scale=jnp.array(0.5))
    return Frozen(jnp.array([0.5, 1.0, 1.5]), jnp.array([1.0, 0.0, 0.0]), head, jnp.arange(1))


def mean_error(model, x, y):
    return jnp.mean((model(x) - y) ** 2)


def labels(tree):
    return jax.tree_util.tree_map_with_path(lambda path, _: "head" if "head" in str(path) else "body", tree)


TRAINED = {
    "adam": optax.adam(0.1),
    "adamw": optax.adamw(0.1, weight_decay=0.1),
    "multi_transform": optax.multi_transform({"head": optax.adamw(0.1), "body": optax.sgd(0.1)}, labels),
    "lbfgs": optax.lbfgs(),
    "masked": optax.chain(
        optax.masked(optax.add_decayed_weights(0.1), functools.partial(trainable, mask=True)), optax.sgd(0.1)
    ),
}


def trained_by_hand(optimizer, steps):
    """The same with plain JAX and optax, on a dictionary of what is trained."""
    model = frozen()

    def loss(params):
        whole = dataclasses.replace(
            model, weight=params["weight"], head=dataclasses.replace(model.head, weight=params["head"])
        )
        return mean_error(whole, X, Y)

    params = {"weight": model.weight, "head": model.head.weight}
    state = optimizer.init(params)
    for _ in range(steps):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value=value, grad=grads, value_fn=loss)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trainable_is_trained_as_by_hand_and_nothing_else_changes(name):
    optimizer = optax.with_extra_args_support(TRAINED[name])
    model, start = frozen(), frozen()

    @filter_jit
    def step(model, state):
        value, grads = filter_value_and_grad(mean_error)(model, X, Y)
        updates, state = optimizer.update(
            grads,
            state,
            trainable(model),
            value=value,
            grad=grads,
            value_fn=lambda part: mean_error(combine(part, model), X, Y),
        )
        return apply_updates(model, updates), state

    state = optimizer.init(trainable(model))
    assert not any(leaf.shape == () and leaf == 0.5 for leaf in jax.tree.leaves(state))
    for _ in range(3):
        model, state = step(model, state)
    expected = trained_by_hand(optimizer, 3)
    assert jnp.allclose(model.weight, expected["weight"], rtol=1e-4)
    assert jnp.allclose(model.head.weight, expected["head"], rtol=1e-4)
    assert not jnp.array_equal(model.weight, start.weight)
    for same in ("mean", "count", "name", "rate"):
        assert jnp.array_equal(getattr(model, same), getattr(start, same)) if same != "name" else model.name
    assert model.head.scale == 0.5


def shape_of(tree):
    return jax.tree.structure(tree)


@pytest.mark.parametrize(
    "model",
    [
        frozen(),
        {"a": jnp.ones(2), "n": jnp.arange(2), "f": jnp.tanh, "x": 1.0, "none": None, "np": np.ones(2)},
        eqx.nn.MLP(2, 2, 2, 1, key=jax.random.key(0)),
        (),
        [1, "a"],
    ],
    ids=["dataclass", "dict", "module", "empty", "nothing"],
)
def test_what_is_trainable_is_what_has_a_gradient(model):
    gradient = filter_grad(
        lambda m: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(filter(m, is_inexact_array))) + 0.0
    )
    part, mask = trainable(model), trainable(model, mask=True)
    assert shape_of(part) == shape_of(gradient(model))
    assert shape_of(mask) == shape_of(model)
    kept, other = partition(model, mask)
    assert tree_equal(kept, part) in (True, jnp.array(True))
    assert tree_equal(combine(part, other), model) in (True, jnp.array(True))


def test_annotations_of_the_loss_decide_what_is_trainable():
    def one(x: Array, head: Diff[Head], rate: Traced[float]) -> Float[Array, ""]:
        return jnp.sum(x * head.weight * head.scale) * rate

    def two(head: Diff[Head], x: Array, *, rate: Diff[Traced[float]]) -> Float[Array, ""]:
        return jnp.sum(x * head.weight * head.scale) * rate

    def none(head: NoDiff[Head], x: Diff[Array]) -> Float[Array, ""]:
        return jnp.sum(x * head.weight)

    head, x = frozen().head, jnp.arange(3.0)
    for loss in (one, filter_grad(one), filter_jit(filter_value_and_grad(one))):
        assert shape_of(trainable(head, loss=loss)) == shape_of(filter_grad(one)(x, head, 2.0))
    part = trainable((head, 2.0), loss=two)
    assert shape_of(part) == shape_of(filter_grad(two)(head, x, rate=2.0))
    assert trainable((head, 2.0), loss=two, mask=True)[1] is True
    assert trainable(2.0) is None
    assert trainable(x, loss=none) is x


def test_a_loss_of_several_needs_a_tuple():
    def two(a: Diff[Array], b: Diff[Array]) -> Float[Array, ""]:
        return jnp.sum(a * b)

    with pytest.raises(PytreeError) as raised:
        trainable(X, loss=two)
    assert (
        str(raised.value)
        == """\
trainable(): argument `model` is no tuple of what two is differentiated with respect to
  expected: a tuple: (a, b)
  found: an array f32[16,3]
  fix: pass the arguments that are Diff, in their order: the gradient is such a tuple"""
    )
