"""`filter_jvp`: arbitrary pytrees, `None` for zero tangents in both directions, nested in everything."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from arrays import close
from jaxtyping import Array, Float

from typedfilter import (
    NoDiff,
    ShapeError,
    filter_custom_vjp,
    filter_grad,
    filter_jit,
    filter_jvp,
    filter_vmap,
    pytree_dataclass,
)

ACTIVATION = jnp.tanh


def model(p: dict[str, Any], x: Any) -> dict[str, Any]:
    return {"y": p["act"](p["w"] * x), "w": p["w"], "name": p["name"], "n": 3}


PARAMS = {"act": ACTIVATION, "w": jnp.array(2.0), "name": "linear"}
ALONG_W = {"act": None, "w": jnp.array(1.0), "name": None}


def test_arguments_and_results_may_hold_anything():
    out, tangent = filter_jvp(model, (PARAMS, 0.5), (ALONG_W, None))
    assert out["name"] == "linear"
    assert out["n"] == 3
    expected, slope = jax.jvp(lambda w: jnp.tanh(w * 0.5), (2.0,), (1.0,))
    assert close(out["y"], expected)
    assert close(tangent["y"], slope)
    assert close(tangent["w"], 1.0)
    assert tangent["name"] is None
    assert tangent["n"] is None


@pytest.mark.parametrize("number", [1.5, 1.5 + 2j])
def test_python_numbers_are_differentiable(number):
    out, tangent = filter_jvp(lambda x: x * x, (number,), (1.0,))
    assert close(out, number * number)
    assert close(tangent, 2 * number)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.complex64])
def test_numpy_arrays_of_every_inexact_dtype_are_differentiable(dtype):
    x = np.ones(2, dtype)
    out, tangent = filter_jvp(lambda x: x * 2, (x,), (x,))
    assert tangent.dtype == out.dtype == dtype
    assert np.all(np.asarray(tangent) == np.asarray(out))


def test_a_python_number_is_a_tangent_of_any_precision():
    _, tangent = filter_jvp(lambda x: x, (jnp.ones((), jnp.bfloat16),), (1.0,))
    assert tangent.dtype == jnp.bfloat16
    _, tangent = filter_jvp(lambda x: x, (jnp.ones((), jnp.complex64),), (1.0,))
    assert tangent.dtype == jnp.complex64


def test_a_result_that_does_not_depend_on_a_perturbed_input_has_no_tangent():
    def f(x: Any, y: Any) -> Any:
        return {"both": x * y, "x": x, "y": y, "constant": jnp.ones(2), "held": jax.lax.stop_gradient(x)}

    _, tangent = filter_jvp(f, (jnp.array(2.0), jnp.array(3.0)), (None, jnp.array(1.0)))
    assert {name for name, value in tangent.items() if value is not None} == {"both", "y"}
    _, tangent = filter_jvp(f, (jnp.array(2.0), jnp.array(3.0)), (jnp.array(1.0), None))
    assert {name for name, value in tangent.items() if value is not None} == {"both", "x"}


def test_dependence_is_followed_into_jit_scan_and_cond():
    def f(x: Any, y: Any) -> Any:
        swapped = jax.jit(lambda a, b: (b, a))(x, y)
        carry, ys = jax.lax.scan(lambda c, a: (c, a * x), y, jnp.arange(3.0))
        chosen = jax.lax.cond(True, lambda: y, lambda: 2 * y)
        return {"swapped": swapped, "carry": carry, "ys": ys, "chosen": chosen}

    _, tangent = filter_jvp(f, (2.0, 3.0), (1.0, None))
    assert tangent["swapped"][0] is None
    assert tangent["carry"] is None
    assert tangent["chosen"] is None
    assert close(tangent["swapped"][1], 1.0)
    assert close(tangent["ys"], jnp.arange(3.0))


def test_results_that_can_not_be_differentiated_have_no_tangent():
    def f(x: Any) -> Any:
        return jnp.round(x).astype(int), x > 0, jnp.floor(x)

    assert filter_jvp(f, (2.5,), (1.0,))[1] == (None, None, None)


def test_a_zero_tangent_that_is_an_array_is_a_tangent():
    _, tangent = filter_jvp(lambda x: x * 3, (2.0,), (0.0,))
    assert close(tangent, 0.0)


def test_without_any_tangent_the_function_is_called_as_it_is():
    seen: list[Any] = []

    def f(x: Any, y: Any) -> Any:
        seen.append((x, y))
        return x, y

    assert filter_jvp(f, (1.5, "a"), (None, None)) == ((1.5, "a"), (None, None))
    assert seen == [(1.5, "a")]


def test_what_has_no_tangent_arrives_untouched():
    seen: list[Any] = []

    def f(x: Any, n: Any) -> Any:
        seen.append(n)
        return x * n

    filter_jvp(f, (2.0, 3.0), (1.0, None))
    assert seen == [3.0]
    assert type(seen[0]) is float


def test_none_stands_for_a_whole_subtree():
    out, tangent = filter_jvp(model, (PARAMS, 0.5), (None, 1.0))
    assert close(tangent["y"], 2.0 * (1 - jnp.tanh(1.0) ** 2))
    assert tangent["w"] is None


def test_none_among_the_primals_stays_none():
    out, tangent = filter_jvp(lambda x: x, ((None, 2.0),), ((None, 1.0),))
    assert out[0] is None
    assert tangent[0] is None
    assert close(tangent[1], 1.0)


def test_keyword_arguments_are_passed_and_not_differentiated():
    def f(x: Any, *, scale: Any, act: Any) -> Any:
        return act(x * scale), scale

    _, tangent = filter_jvp(f, (2.0,), (1.0,), scale=jnp.array(3.0), act=jnp.sin)
    assert close(tangent[0], 3 * jnp.cos(6.0))
    assert tangent[1] is None


def test_lists_are_sequences_of_primals_too():
    assert close(filter_jvp(jnp.sin, [0.0], [1.0])[1], 1.0)


def test_float0_is_taken_for_no_tangent():
    float0 = np.zeros((2,), jax.dtypes.float0)
    _, tangent = filter_jvp(lambda n, x: n * x, (jnp.arange(2), 2.0), (float0, 1.0))
    assert close(tangent, jnp.arange(2.0))


def test_structured_results_keep_their_class():
    class Pair(NamedTuple):
        value: Any
        name: str

    out, tangent = filter_jvp(lambda x: Pair(x, "a"), (2.0,), (1.0,))
    assert type(out) is type(tangent) is Pair
    assert tangent.name is None


# ---------------------------------------------------------------------------------------------- nested


def test_nested_in_itself_the_inner_one_sees_its_own_tangents_only():
    def f(x: Any, y: Any) -> Any:
        return x * y, jnp.sin(y)

    def inner(y: Any) -> Any:
        return filter_jvp(f, (2.0, y), (1.0, None))

    (_, tangent), (_, mixed) = filter_jvp(inner, (3.0,), (1.0,))
    assert close(tangent[0], 3.0)
    assert tangent[1] is None  # sin(y) depends on y, which is perturbed outside only
    assert close(mixed[0], 1.0)
    assert mixed[1] is None


def test_second_derivatives_by_nesting():
    def slope(x: Any) -> Any:
        return filter_jvp(lambda x: x**3, (x,), (1.0,))[1]

    assert close(filter_jvp(slope, (2.0,), (1.0,))[1], 12.0)


@pytest.mark.parametrize("jit", [jax.jit, filter_jit])
def test_under_jit(jit):
    out, tangent = jit(lambda x: filter_jvp(lambda x, y: (x * y, y), (x, 3.0), (1.0, None)))(jnp.array(2.0))
    assert close(tangent[0], 3.0)
    assert tangent[1] is None


@pytest.mark.parametrize("vmap", [jax.vmap, filter_vmap])
def test_under_vmap(vmap):
    tangent = vmap(lambda x: filter_jvp(jnp.sin, (x,), (jnp.ones_like(x),))[1])(jnp.arange(3.0))
    assert close(tangent, jnp.cos(jnp.arange(3.0)))


@pytest.mark.parametrize("grad", [jax.grad, filter_grad])
def test_under_grad(grad):
    slope = grad(lambda x: filter_jvp(lambda x, y: jnp.sin(x) * y, (x, 3.0), (1.0, None))[1])
    assert close(slope(jnp.array(2.0)), -3 * jnp.sin(2.0))


def test_around_our_own_transforms():
    f = filter_jit(lambda x, name: (filter_vmap(jnp.sin)(x), name))
    out, tangent = filter_jvp(f, (jnp.arange(3.0), "a"), (jnp.ones(3), None))
    assert out[1] == "a"
    assert close(tangent[0], jnp.cos(jnp.arange(3.0)))


def test_without_jit():
    with jax.disable_jit():
        _, tangent = filter_jvp(lambda x, y: (x * y, y), (2.0, 3.0), (1.0, None))
    assert close(tangent[0], 3.0)
    assert tangent[1] is None


def test_the_probe_leaves_nothing_in_the_program():
    def f(x: Any) -> Any:
        return filter_jvp(lambda x, y: (jnp.sin(x), y), (x, x), (1.0, None))[1]

    assert "custom_jvp" not in str(jax.make_jaxpr(f)(2.0))


def test_bound_methods_and_callable_modules_are_functions():
    @pytree_dataclass
    class Scale:
        by: Float[Array, ""]

        def __call__(self, x: Any) -> Any:
            return self.by * x

    scale = Scale(jnp.array(3.0))
    assert close(filter_jvp(scale, (2.0,), (1.0,))[1], 3.0)
    assert close(filter_jvp(scale.__call__, (2.0,), (1.0,))[1], 3.0)
    assert close(filter_jvp(lambda s: s(2.0), (scale,), (Scale(jnp.array(1.0)),))[1], 2.0)


def test_jax_says_that_a_vjp_rule_has_no_forward_mode():
    @filter_custom_vjp
    def f(x):
        return x

    f.def_fwd(lambda perturbed, x: (x, None))
    f.def_bwd(lambda residuals, grad, perturbed, x: grad)
    with pytest.raises(TypeError, match="forward-mode"):
        filter_jvp(f, (1.0,), (1.0,))


def test_a_derivative_of_a_derivative_compiles_nothing_that_jax_would_not(caplog: pytest.LogCaptureFixture):
    def twice(jvp: Any) -> Any:
        return jvp(lambda x, t: jvp(jnp.tanh, (x,), (t,)), (x, x), (x, x))

    x = jnp.ones((3, 1, 2, 1))  # of no other test: what is compiled stays compiled
    expected = twice(jax.jvp)
    with jax.log_compiles():
        found = twice(filter_jvp)
    assert not [record for record in caplog.records if "Compiling" in record.getMessage()]
    assert jax.tree.all(jax.tree.map(close, found, expected))


# ------------------------------------------------------------------------------------------ annotations


def test_what_is_marked_nodiff_can_not_have_a_tangent():
    def f(x: Float[Array, ""], y: NoDiff[Float[Array, ""]]) -> Float[Array, ""]:
        return x * y

    assert close(filter_jvp(f, (2.0, 3.0), (1.0, None))[1], 3.0)
    with pytest.raises(ShapeError, match=r"`tangents\[1\]` is a tangent for what is not differentiated"):
        filter_jvp(f, (2.0, 3.0), (1.0, 1.0))


def test_a_field_marked_nodiff_can_not_have_a_tangent():
    @pytree_dataclass
    class Layer:
        w: Float[Array, ""]
        frozen: NoDiff[Float[Array, ""]]

    layer = Layer(jnp.array(2.0), jnp.array(3.0))
    along = Layer(jnp.array(1.0), jnp.array(1.0))
    with pytest.raises(ShapeError, match=r"`tangents\[0\].frozen` is a tangent for what is not"):
        filter_jvp(lambda layer: layer.w * layer.frozen, (layer,), (along,))


def test_the_body_is_checked():
    def f(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return x + y

    with pytest.raises(ShapeError, match=r"f\(\): argument `y`"):
        filter_jvp(f, (jnp.ones(2), jnp.ones(3)), (jnp.ones(2), None))


def test_a_call_that_does_not_bind_is_pythons_to_report():
    with pytest.raises(TypeError, match="positional argument"):
        filter_jvp(lambda x: x, (1.0, 2.0), (1.0, None))
