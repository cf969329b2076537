"""Equinox's modules as arguments and as the transformed callable: nothing of ours knows them."""

from __future__ import annotations

import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jax import Array
from jaxtyping import Float, Key, jaxtyped

from typedfilter import (
    NoDiff,
    Static,
    Traced,
    VmapAxis,
    VmapAxisError,
    apply_updates,
    combine,
    filter_checkpoint,
    filter_closure_convert,
    filter_cond,
    filter_eval_shape,
    filter_grad,
    filter_hessian,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_make_jaxpr,
    filter_pmap,
    filter_pure_callback,
    filter_scan,
    filter_shard,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
    is_array,
    is_inexact_array,
    partition,
    testing,
    tree_equal,
)

KEY = jax.random.key(0)
X = jnp.linspace(-1.0, 1.0, 3)
MODELS = {
    "linear": lambda: eqx.nn.Linear(3, 2, key=KEY),
    "mlp": lambda: eqx.nn.MLP(3, 2, 4, 2, key=KEY),
    "sequential": lambda: eqx.nn.Sequential([eqx.nn.Linear(3, 4, key=KEY), eqx.nn.Lambda(jnp.tanh)]),
    "layer norm": lambda: eqx.nn.LayerNorm(3),
    "dropout": lambda: eqx.nn.Dropout(0.5, inference=True),
}
models = pytest.mark.parametrize("model", [make() for make in MODELS.values()], ids=list(MODELS))
close = lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def loss(model, x):
    return jnp.sum(model(x) ** 2)


class Affine(eqx.Module):
    """Fields of every kind, with markers on some."""

    weight: Float[Array, "n"]
    frozen: NoDiff[Float[Array, "n"]]
    power: Static[int] = eqx.field(static=True)
    act: object = jnp.tanh
    name: str = "affine"

    def __call__(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return jnp.sum(self.act((self.weight + self.frozen) * x) ** self.power)

    @filter_jit
    def jitted(self, x):
        return self(x)


def affine(power=2):
    return Affine(jnp.ones(3), 2 * jnp.ones(3), power)


# As an argument ----------------------------------------------------------------------------------------


@models
def test_jit_of_a_function_of_a_model(model):
    close(filter_jit(lambda m, x: m(x))(model, X), model(X))


@models
def test_a_model_comes_back_from_jit_as_it_was(model):
    assert tree_equal(filter_jit(lambda m: m)(model), model)


@models
def test_gradients_are_those_that_equinox_finds(model):
    ours, theirs = filter_grad(loss)(model, X), eqx.filter_grad(loss)(model, X)
    assert jax.tree_util.tree_structure(ours) == jax.tree_util.tree_structure(theirs)
    assert tree_equal(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "mlp", "sequential", "layer norm"])
def test_a_step_of_gradient_descent_lowers_the_loss(name):
    model = MODELS[name]()
    value, grads = filter_jit(filter_value_and_grad(loss))(model, X)
    step = apply_updates(model, jax.tree_util.tree_map(lambda g: -1e-2 * g, grads))
    assert loss(step, X) < value


@models
def test_partition_and_combine(model):
    arrays, rest = partition(model, is_array)
    assert tree_equal(combine(arrays, rest), model)


def test_an_ensemble_is_made_and_evaluated():
    keys = jax.random.split(KEY, 4)

    @filter_vmap
    def make(key: Key[Array, ""]):
        return eqx.nn.MLP(3, 2, 4, 1, key=key)

    ensemble = make(keys)
    out = filter_vmap(lambda m, x: m(x), in_axes=(0, None))(ensemble, X)
    close(out, jnp.stack([eqx.nn.MLP(3, 2, 4, 1, key=key)(X) for key in keys]))


def test_directional_derivatives_and_cotangents():
    model = MODELS["mlp"]()
    tangent = jax.tree_util.tree_map(
        lambda leaf: jnp.ones_like(leaf) if is_inexact_array(leaf) else None, model
    )
    value, out = filter_jvp(loss, (model, X), (tangent, None))
    grad = filter_grad(loss)(model, X)
    close(value, loss(model, X))
    leaves = zip(jax.tree_util.tree_leaves(grad), jax.tree_util.tree_leaves(tangent), strict=True)
    close(out, sum(jnp.vdot(g, t) for g, t in leaves))
    _, pull = filter_vjp(loss, model, X)
    assert tree_equal(pull(jnp.array(1.0))[0], grad, rtol=1e-5, atol=1e-6)


def test_second_derivatives():
    hessian = filter_hessian(lambda m: m(X))(affine())
    close(hessian.weight.weight, jax.hessian(lambda w: Affine(w, 2 * jnp.ones(3), 2)(X))(jnp.ones(3)))


def test_jacobians():
    jacobian = filter_jacrev(lambda m: m(X))(MODELS["linear"]())
    assert jacobian.weight.shape == (2, 2, 3)


def test_a_model_passes_through_every_other_transform():
    model = MODELS["mlp"]()
    expected = model(X)
    close(filter_checkpoint(lambda m, x: m(x))(model, X), expected)
    assert filter_eval_shape(lambda m, x: m(x), model, X) == jax.ShapeDtypeStruct((2,), jnp.float32)
    _, structs, static = filter_make_jaxpr(lambda m: m)(model)
    assert tree_equal(combine(structs, static), filter_eval_shape(lambda m: m, model))
    close(filter_closure_convert(lambda m, x: m(x), model, X)(model, X), expected)
    close(
        filter_pmap(lambda m, x: m(x), in_axes=(None, 0))(model, jnp.stack([X, X])), jnp.stack([expected] * 2)
    )
    moved = filter_shard(model, jax.devices()[1])
    assert moved.layers[0].weight.devices() == {jax.devices()[1]}
    declared = jax.ShapeDtypeStruct((2,), jnp.float32)
    back = filter_jit(
        lambda m, x: filter_pure_callback(lambda m, x: np.asarray(m(x)), m, x, result_shape_dtypes=declared)
    )
    close(back(model, X), expected)


# As the transformed callable ---------------------------------------------------------------------------


@models
def test_jit_of_a_model(model):
    jitted = filter_jit(model)
    close(jitted(X), model(X))
    assert jitted.trace(X).jaxpr.consts == []


def test_the_models_of_one_class_share_a_compilation():
    traces = []

    class Counted(eqx.Module):
        weight: Array

        def __call__(self, x):
            traces.append(x)
            return self.weight * x

    for scale in range(3):
        close(filter_jit(Counted(jnp.ones(3) * scale))(X), scale * X)
    assert len(traces) == 1


def test_vmap_of_a_model_maps_its_argument_only():
    model = MODELS["mlp"]()
    close(filter_vmap(model)(jnp.stack([X, -X])), jax.vmap(model)(jnp.stack([X, -X])))


def test_grad_of_a_model_is_with_respect_to_its_argument():
    model = affine()
    close(filter_grad(model)(X), jax.grad(model)(X))


def test_checkpoints_and_jaxprs_of_a_model():
    model = MODELS["mlp"]()
    close(filter_checkpoint(model)(X), model(X))
    assert filter_make_jaxpr(model)(X)[1] == jax.ShapeDtypeStruct((2,), jnp.float32)
    assert filter_eval_shape(model, X) == jax.ShapeDtypeStruct((2,), jnp.float32)
    assert len(filter_closure_convert(model, X).consts) == 6


def test_a_jitted_model_is_a_pytree_that_can_be_trained():
    model = filter_jit(affine())
    grads = filter_grad(lambda m, x: m(x))(model, X)
    close(grads.__wrapped__.weight, eqx.filter_grad(lambda m, x: m(x))(affine(), X).weight)


# Markers on fields, methods ---------------------------------------------------------------------------


def test_a_field_that_is_not_differentiable_is_frozen():
    grads = filter_grad(lambda m, x: m(x))(affine(), X)
    assert grads.frozen is None
    assert grads.weight.shape == (3,)


def test_a_method_can_be_jitted():
    model = affine()
    close(model.jitted(X), model(X))
    assert model.jitted.lower(X).compile()(X) == model.jitted(X)


def test_static_fields_decide_the_compilation():
    traces = []

    @filter_jit
    def f(model, x):
        traces.append(model.power)
        return model(x)

    for power in (2, 3, 2):
        f(affine(power), X)
    assert traces == [2, 3]


def test_a_function_in_a_field_is_static():
    traces = []

    @filter_jit
    def f(model, x):
        traces.append(model.act)
        return model(x)

    for act in (jnp.tanh, jnp.sin, jnp.tanh):
        f(Affine(jnp.ones(3), jnp.ones(3), 2, act), X)
    assert traces == [jnp.tanh, jnp.sin]


def test_ours_and_theirs_stack():
    model = MODELS["mlp"]()
    expected = jax.vmap(model)(jnp.stack([X, -X]))
    batch = jnp.stack([X, -X])
    close(eqx.filter_jit(filter_vmap(model))(batch), expected)
    close(filter_jit(eqx.filter_vmap(model))(batch), expected)
    assert tree_equal(
        filter_jit(eqx.filter_grad(loss))(model, X),
        eqx.filter_jit(filter_grad(loss))(model, X),
        rtol=1e-5,
        atol=1e-6,
    )


def test_stacked_modules_are_scanned_and_modules_are_carried_and_chosen():
    keys = jax.random.split(KEY, 4)
    stacked = filter_vmap(lambda key: eqx.nn.MLP(3, 3, 4, 1, key=key))(keys)
    expected = X
    for key in keys:
        expected = eqx.nn.MLP(3, 3, 4, 1, key=key)(expected)
    found = filter_jit(lambda layers: filter_scan(lambda x, layer: (layer(x), None), X, layers)[0])(stacked)
    close(found, expected)

    cell = eqx.nn.GRUCell(3, 3, key=KEY)

    def train(cell, x):
        value, grads = filter_value_and_grad(lambda cell: (cell(x, jnp.zeros(3)) ** 2).sum())(cell)
        return apply_updates(cell, jax.tree.map(lambda grad: -0.1 * grad, grads)), value

    trained, losses = filter_scan(train, cell, jnp.stack([X, X, X]))
    one = cell
    for step in range(3):
        one, value = train(one, X)
        close(losses[step], value)
    close(trained.weight_ih, one.weight_ih)
    assert trained.use_bias is True

    other = eqx.nn.GRUCell(3, 3, key=keys[0])
    close(filter_cond(jnp.asarray(False), cell, other, X, X), other(X, X))


class Scaled(eqx.Module):
    w: Float[Array, "n"]

    def plain(self, x: Float[Array, "n"], rate: Traced[float] = 1.0) -> Float[Array, "n"]:
        return self.w * x * rate

    @jaxtyped(typechecker=beartype)
    def checked(self, x: Float[Array, "n"], rate: Traced[float] = 1.0) -> Float[Array, "n"]:
        return self.w * x * rate

    def column(self, x: VmapAxis[1, Float[Array, "n"]]) -> Array:
        return self.w * x


@pytest.mark.parametrize("name", ["plain", "checked"])
def test_the_annotations_of_a_bound_method_count_which_is_an_object_of_equinox(name):
    model, x = Scaled(jnp.arange(3.0)), jnp.array([1.0, 2.0, 3.0])
    method = getattr(model, name)
    assert not isinstance(method, types.MethodType)  # else there is nothing to show
    jitted = filter_jit(method)
    with testing.max_traces(jitted, 1):
        for rate in (2.0, 3.0):
            assert jnp.array_equal(jitted(x, rate), model.w * x * rate)
    assert jnp.array_equal(filter_vmap(method)(jnp.stack([x, x])), jnp.stack([model.w * x] * 2))
    for transform in (filter_jit, filter_checkpoint, filter_vmap):
        with pytest.raises(TypeError, match="x"):
            transform(method)(jnp.ones((2, 2)))


def test_markers_of_a_bound_method_of_equinox_are_honoured():
    model, x = Scaled(jnp.arange(3.0)), jnp.arange(6.0).reshape(3, 2)
    assert jnp.array_equal(filter_vmap(model.column)(x), model.w * x.T)
    slope = filter_grad(lambda x: filter_vmap(model.column)(x).sum())(x)
    assert jnp.array_equal(slope, jnp.stack([model.w, model.w], axis=1))
    with pytest.raises(VmapAxisError, match=r"column\(\): argument `x` has no axis 1"):
        filter_vmap(model.column)(jnp.ones(3))
