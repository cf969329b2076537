"""`filter_linearize`: the linear map at a point, with `None` for zero in both directions, as a pytree."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from typedfilter import (
    NoDiff,
    PytreeError,
    ShapeError,
    filter_grad,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_vmap,
)


def model(p: dict[str, Any], x: Any) -> dict[str, Any]:
    return {"y": p["act"](p["w"] * x), "w": p["w"] * 1.0, "name": p["name"], "n": 3, "k": jnp.arange(2)}


PARAMS = {"act": jnp.tanh, "w": jnp.array(2.0), "name": "linear"}
ALONG_W = {"act": None, "w": jnp.array(1.0), "name": None}
X = jnp.array([0.5, -0.25])


@pytest.mark.parametrize("tangents", [(ALONG_W, X), (ALONG_W, None), (None, 2 * X), (None, None)])
def test_the_map_is_that_of_filter_jvp_in_every_direction(tangents):
    out, linear = filter_linearize(model, PARAMS, X)
    wanted, pushed = filter_jvp(model, (PARAMS, X), tangents)
    np.testing.assert_array_equal(out["y"], wanted["y"])
    assert (out["name"], out["n"]) == ("linear", 3)
    found = linear(*tangents)
    assert {name: value is None for name, value in found.items()} == {n: v is None for n, v in pushed.items()}
    for name in ("y", "w"):
        if found[name] is not None:
            np.testing.assert_allclose(found[name], pushed[name], rtol=1e-6)


def test_the_function_runs_once_for_many_directions():
    calls: list[int] = []

    def fn(x: Any) -> Any:
        calls.append(0)
        return x**3

    _, linear = filter_linearize(fn, 2.0)
    assert [float(linear(t)) for t in (1.0, 2.0)] == [12.0, 24.0]
    assert len(calls) == 1


def test_auxiliary_data_is_returned_as_it_is():
    out, linear, aux = filter_linearize(lambda x: (x * 2, {"x": x, "s": "aux"}), X, has_aux=True)
    np.testing.assert_array_equal(out, 2 * X)
    np.testing.assert_array_equal(linear(X), 2 * X)
    np.testing.assert_array_equal(aux["x"], X)
    assert aux["s"] == "aux"


def test_the_map_is_a_pytree_that_goes_through_jit_and_vmap():
    traces: list[int] = []

    @filter_jit
    def apply(linear: Any, x: Any) -> Any:
        traces.append(0)
        return linear(ALONG_W, x)

    for scale in (1.0, 2.0):
        _, linear = filter_linearize(model, {**PARAMS, "w": jnp.array(scale)}, X)
        np.testing.assert_allclose(apply(linear, X)["y"], linear(ALONG_W, X)["y"], rtol=1e-6)
    assert len(traces) <= 2  # the linear programs of two calls are two static values to JAX
    rows = filter_vmap(lambda t: linear(None, t)["y"])(jnp.eye(2))
    np.testing.assert_allclose(rows, jax.jacobian(lambda x: model(PARAMS, x)["y"])(X), rtol=1e-6)


def test_it_runs_inside_of_other_transforms():
    def second(x: Any) -> Any:
        return filter_linearize(lambda y: y**3, x)[1](1.0)

    assert float(jax.grad(second)(2.0)) == 12.0
    assert float(filter_jit(filter_grad(second))(jnp.asarray(2.0))) == 12.0
    np.testing.assert_allclose(jax.vmap(second)(jnp.array([1.0, 2.0])), [3.0, 12.0])


def test_what_is_marked_has_no_tangent():
    def fn(x: Float[Array, "2"], w: NoDiff[Float[Array, ""]]) -> Any:
        return x * w

    _, linear = filter_linearize(fn, X, jnp.asarray(3.0))
    np.testing.assert_array_equal(linear(X, None), 3 * X)
    with pytest.raises(ShapeError, match="is annotated as never differentiated"):
        linear(X, jnp.asarray(1.0))


def test_tangents_that_do_not_fit_are_refused():
    _, linear = filter_linearize(model, PARAMS, X)
    with pytest.raises(ShapeError) as wrong:
        linear(None, jnp.ones(3))
    assert str(wrong.value).splitlines() == [
        "model(): argument `tangents[1]` does not fit `primals[1]`: it is an array f32[3]",
        "  expected: an array f32[2], or None if the tangent is zero",
        "  found: an array f32[3]",
        "  fix: give the tangent the shape and dtype of what it belongs to",
    ]
    with pytest.raises(PytreeError) as missing:
        linear(None)
    assert str(missing.value).splitlines() == [
        "model(): argument `tangents` does not match `primals`",
        "  expected: tuple of 2, or None if the tangent is zero",
        "  found: tuple of 1",
        "  fix: give it the structure of primals, with None where there is no tangent",
    ]


def test_nothing_to_differentiate_is_a_map_to_none():
    out, linear = filter_linearize(lambda s: (s, 1), "x")
    assert out == ("x", 1)
    assert linear(None) == (None, None)
