"""`Traced[...]` on a field of a model: a number in it is an input, not a part of the structure."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from typedfilter import Traced, filter_grad, filter_jit, pytree_dataclass


@pytree_dataclass
class Model:
    weight: Any
    rate: Traced[float]
    name: str


def test_a_number_in_a_traced_field_does_not_trace_again():
    traces = 0

    @filter_jit
    def apply(model: Model):
        nonlocal traces
        traces += 1
        return model.weight * model.rate

    assert apply(Model(jnp.ones(2), 1.0, "a")).tolist() == [1.0, 1.0]
    assert apply(Model(jnp.ones(2), 2.0, "a")).tolist() == [2.0, 2.0]
    assert traces == 1


def test_a_number_in_a_traced_field_is_differentiated():
    @filter_grad
    def loss(model: Model) -> Any:
        return jnp.sum(model.weight * model.rate)

    grads = loss(Model(jnp.ones(2), 3.0, "a"))
    assert grads.weight.tolist() == [3.0, 3.0]
    assert float(grads.rate) == 2.0
    assert grads.name is None
