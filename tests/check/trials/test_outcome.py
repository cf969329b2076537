"""What is traced once: cases that several readings share, and what JAX knows of the symbols of one name."""

from __future__ import annotations

import gc
import weakref

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float

from typedfilter._reading.plan import plan_of
from typedfilter.check import check_shapes
from typedfilter.check.inputs.signature import signature_of
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.trials.subject import subjects_of
from typedfilter.check.trials.verdict import verdict_of


def verdict(fn):
    (result,) = check_shapes(fn)
    return result


def test_what_several_readings_share_is_traced_once():
    shapes = []

    def fn(x: Float[Array, "n"], y: Float[Array, "n"] | Float[Array, "n_minus_1"]) -> Float[Array, "n"]:
        shapes.append(str((x.shape, y.shape)))
        return x.at[x.shape[0] - y.shape[0] :].add(y)

    assert verdict(fn).message == "where n_minus_1 = n-1; for all sizes; in 2 cases"
    assert "((n,), (n,))" in shapes
    assert len(set(shapes)) == len(shapes)


def test_what_a_remembered_trial_has_asked_still_counts():
    def fn(x: Float[Array, "n"], y: Float[Array, "n"] | Float[Array, "n_minus_1"]) -> Float[Array, "n"]:
        if y.shape[0] % 7 == 5 and x.shape[0] > 90:
            return y
        return x.at[x.shape[0] - y.shape[0] :].add(y)

    assert verdict(fn).status == "checked"


def test_what_a_remembered_trial_has_read_still_counts():
    class Layer(eqx.Module):
        weight: Float[Array, "n"] | Float[Array, "n n"]

    def fn(
        layer: Layer, x: Float[Array, "n"], y: Float[Array, "n"] | Float[Array, "n_minus_1"]
    ) -> Float[Array, "n"]:
        return layer.weight.sum() * x.at[x.shape[0] - y.shape[0] :].add(y)

    assert verdict(fn).message == "where n_minus_1 = n-1; for all sizes; in 4 cases"


def test_what_is_jitted_is_traced_once_with_the_symbols_of_one_name_in_all_functions():
    shapes = []

    @jax.jit
    def doubled(x):
        shapes.append(str(x.shape))
        return 2 * x

    def one(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
        return doubled(x)

    def other(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return doubled(x)

    assert [verdict(one).status, verdict(other).status] == ["proved", "proved"]
    assert shapes.count("(n,)") == 1


def test_what_is_remembered_of_a_trial_holds_none_of_its_arrays():
    seen = []

    class Layer:
        def __init__(self, weight: Float[Array, "n m"]) -> None:
            seen.append(weakref.ref(weight))
            self.weight = jnp.concatenate([weight, weight], axis=5)

    def fn(layer: Layer, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x

    (subject,) = subjects_of(fn)
    signature = signature_of(subject, plan_of(fn), {})
    with pytest.raises(UnbuildableError, match="its arguments can't be made: ValueError"):
        verdict_of([signature])
    gc.collect()
    assert signature.outcomes
    assert seen
    assert [ref() for ref in seen if ref() is not None] == []
