"""Flax: `flax.struct` dataclasses as arguments, results and callables, and a linen module's parameters."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import (
    NoDiff,
    filter_checkpoint,
    filter_closure_convert,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_make_jaxpr,
    filter_pmap,
    filter_value_and_grad,
    filter_vmap,
    tree_equal,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the import: an old flax on a new Python
    import flax.linen as nn
    from flax import struct

X = jnp.linspace(-1.0, 1.0, 3)


@struct.dataclass
class State:
    weight: Float[Array, "n"]
    frozen: NoDiff[Float[Array, "n"]]
    step: Any = 0
    apply: Any = struct.field(pytree_node=False, default=jnp.tanh)

    def __call__(self, x):
        return jnp.sum(self.apply((self.weight + self.frozen) * x))


def state(**changes):
    return State(jnp.ones(3), 2 * jnp.ones(3)).replace(**changes)


def test_a_struct_travels_through_jit():
    out = filter_jit(lambda s: s.replace(weight=2 * s.weight))(state(step=3))
    assert tree_equal(out, state(step=3, weight=2 * jnp.ones(3)))
    assert type(out.step) is int


def test_its_static_field_and_its_numbers_decide_the_compilation():
    traces = []

    @filter_jit
    def f(s, x):
        traces.append((s.apply, s.step))
        return s(x)

    for changes in ({}, {"apply": jnp.sin}, {"step": 1}, {"step": True}, {}):
        f(state(**changes), X)
    assert [(fn, repr(step)) for fn, step in traces] == [
        (jnp.tanh, "0"),
        (jnp.sin, "0"),
        (jnp.tanh, "1"),
        (jnp.tanh, "True"),
    ]


def test_its_gradient_has_none_for_what_is_frozen_or_no_array():
    value, grads = filter_value_and_grad(lambda s, x: s(x))(state(), X)
    np.testing.assert_allclose(value, state()(X), rtol=1e-6)
    assert (grads.frozen, grads.step) == (None, None)
    expected = jax.grad(lambda w: state(weight=w)(X))(jnp.ones(3))
    np.testing.assert_allclose(grads.weight, expected, rtol=1e-6)


def test_it_is_a_callable_whose_arrays_stay_inputs():
    jitted = filter_jit(state())
    np.testing.assert_allclose(jitted(X), state()(X), rtol=1e-6)
    assert jitted.trace(X).jaxpr.consts == []


@pytest.mark.parametrize("map_", [filter_vmap, filter_pmap])
def test_it_is_mapped_leaf_by_leaf(map_):
    many = state(weight=jnp.ones((2, 3)), frozen=jnp.ones((2, 3)))
    out = map_(lambda s: s.replace(weight=s.weight + 1))(many)
    assert tree_equal(out, many.replace(weight=many.weight + 1))


def test_it_passes_through_the_other_transforms():
    expected = state()(X)
    np.testing.assert_allclose(filter_checkpoint(lambda s, x: s(x))(state(), X), expected, rtol=1e-6)
    np.testing.assert_allclose(filter_closure_convert(lambda x: state()(x), X)(X), expected, rtol=1e-6)
    assert filter_eval_shape(state(), X) == jax.ShapeDtypeStruct((), jnp.float32)
    assert filter_make_jaxpr(lambda s: s)(state())[2] == State(None, None)


def test_the_parameters_of_a_linen_module_are_trained():
    module = nn.Dense(1)
    params = module.init(jax.random.key(0), X)

    @filter_jit
    def step(params, module, x):
        grads = filter_grad(lambda p: jnp.sum(module.apply(p, x) ** 2))(params)
        return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, params, grads)

    before = jnp.sum(module.apply(params, X) ** 2)
    assert jnp.sum(module.apply(step(params, module, X), X) ** 2) < before
