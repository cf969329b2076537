"""`filter_vjp`: arbitrary pytrees, `None` cotangents, and a pullback that is a pytree."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from arrays import close
from jaxtyping import Array, Float

from typedfilter import (
    AnnotationError,
    Diff,
    NoDiff,
    ShapeError,
    filter_grad,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_vjp,
    filter_vmap,
    pytree_dataclass,
)


def model(p: dict[str, Any], x: Any, *, scale: Any = 1.0) -> dict[str, Any]:
    return {"y": p["act"](p["w"] * x) * scale, "n": jnp.arange(2), "name": p["name"], "number": 1.5}


PARAMS = {"act": jnp.sin, "w": jnp.array(2.0), "name": "linear"}
COTANGENT = {"y": jnp.array(1.0), "n": None, "name": None, "number": None}


def test_the_result_comes_back_as_it_is():
    out, _ = filter_vjp(model, PARAMS, jnp.array(0.5))
    assert close(out["y"], jnp.sin(1.0))
    assert out["n"].tolist() == [0, 1]
    assert (out["name"], out["number"]) == ("linear", 1.5)


def test_cotangents_of_the_arguments_are_a_tuple_of_their_structure():
    _, pull = filter_vjp(model, PARAMS, jnp.array(0.5))
    params, x = pull(COTANGENT)
    assert close(params["w"], 0.5 * jnp.cos(1.0))
    assert close(x, 2.0 * jnp.cos(1.0))
    assert params["act"] is None
    assert params["name"] is None


def test_python_numbers_and_integers_have_no_cotangent():
    _, pull = filter_vjp(lambda x, y, n: x * y * n, jnp.array(2.0), 3.0, jnp.arange(2))
    assert [value is None for value in pull(jnp.ones(2))] == [False, True, True]


def test_the_cotangent_of_a_python_number_in_the_result_has_no_effect():
    out, pull = filter_vjp(model, PARAMS, jnp.array(0.5))
    cotangent = jax.tree.map(lambda leaf: jnp.ones(()) if isinstance(leaf, float) else None, out)
    params, x = pull({**cotangent, "y": jnp.array(1.0)})
    assert close(params["w"], 0.5 * jnp.cos(1.0))
    assert close(x, 2.0 * jnp.cos(1.0))
    with pytest.raises(ShapeError, match="does not fit `out\\['number'\\]`: it is an array f32"):
        pull({**COTANGENT, "number": jnp.ones(2)})


def test_numpy_bfloat16_has_a_cotangent():
    x = np.ones(2, ml_dtypes.bfloat16)
    _, pull = filter_vjp(lambda x: x * 2, x)
    assert pull(x)[0].dtype == jnp.bfloat16


def test_none_stands_for_a_zero_cotangent():
    _, pull = filter_vjp(lambda x: (2 * x, {"b": 3 * x}), jnp.array(1.0))
    assert close(pull((None, {"b": 1.0}))[0], 3.0)
    assert close(pull((1.0, None))[0], 2.0)
    assert close(pull(None)[0], 0.0)


def test_one_evaluation_serves_many_cotangents():
    runs: list[int] = []

    def square(x: Array) -> Array:
        runs.append(1)
        return x * x

    _, pull = filter_vjp(square, jnp.arange(3.0))
    assert close(pull(jnp.ones(3))[0], 2 * jnp.arange(3.0))
    assert close(pull(2 * jnp.ones(3))[0], 4 * jnp.arange(3.0))
    assert runs == [1]


def test_aux_comes_back_as_it_is():
    out, pull, aux = filter_vjp(lambda x: (x * x, {"x": x, "f": max, "n": 1}), jnp.array(3.0), has_aux=True)
    assert close(out, 9.0)
    assert close(aux["x"], 3.0)
    assert (aux["f"], aux["n"]) == (max, 1)
    assert not isinstance(aux["x"], jax.core.Tracer)
    assert close(pull(jnp.array(1.0))[0], 6.0)


def test_the_pair_with_aux_may_be_a_list():
    def f(x: Any) -> Any:  # to type checkers the pair is a tuple
        return [x * x, "aux"]

    out, pull, aux = filter_vjp(f, jnp.array(3.0), has_aux=True)
    assert (float(out), float(pull(jnp.array(1.0))[0]), aux) == (9.0, 6.0, "aux")


def test_keyword_arguments_are_passed_and_not_differentiated():
    out, pull = filter_vjp(model, PARAMS, jnp.array(0.5), scale=jnp.array(3.0))
    assert close(pull(COTANGENT)[0]["w"], 1.5 * jnp.cos(1.0))
    assert len(pull(COTANGENT)) == 2


def test_a_complex_result_has_a_complex_cotangent():
    out, pull = filter_vjp(lambda x: x * (1 + 2j), jnp.ones(2))
    expected = jax.vjp(lambda x: x * (1 + 2j), jnp.ones(2))[1](1j * jnp.ones(2, jnp.complex64))
    assert close(pull(1j * jnp.ones(2, jnp.complex64))[0], expected[0])


def test_a_result_without_arrays_has_nothing_to_pull_back():
    out, pull = filter_vjp(lambda x: "a", jnp.ones(2))
    assert out == "a"
    assert close(pull(None)[0], jnp.zeros(2))


def test_without_primals_there_is_nothing_to_pull_back_to():
    out, pull = filter_vjp(lambda: jnp.ones(2))
    assert pull(jnp.ones(2)) == ()


# --------------------------------------------------------------------------------------- the pullback


@pytest.mark.parametrize("jit", [jax.jit, filter_jit])
def test_the_pullback_is_an_argument_of_jit(jit):
    _, pull = filter_vjp(model, PARAMS, jnp.array(0.5))
    inside = jit(lambda pull, cotangent: pull(cotangent))(pull, COTANGENT)
    assert close(inside[0]["w"], pull(COTANGENT)[0]["w"])
    assert inside[0]["act"] is None


@pytest.mark.parametrize("jit", [jax.jit, filter_jit])
def test_the_pullback_is_a_result_of_jit(jit):
    pull = jit(lambda x: filter_vjp(jnp.sin, x)[1])(jnp.array(2.0))
    assert close(pull(1.0)[0], jnp.cos(2.0))


def test_the_leaves_of_the_pullback_are_arrays():
    _, pull = filter_vjp(model, PARAMS, jnp.array(0.5))
    assert jax.tree.leaves(pull)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(pull))


def test_the_pullback_can_be_mapped():
    _, pull = filter_vjp(jnp.sin, jnp.arange(3.0))
    assert close(jax.vmap(pull)(jnp.eye(3))[0], jnp.diag(jnp.cos(jnp.arange(3.0))))


def test_the_pullback_has_a_readable_repr():
    assert repr(filter_vjp(model, PARAMS, jnp.array(0.5))[1]) == "<vjp of model>"


def test_under_vmap_and_grad():
    def slope(x: Any) -> Any:
        return filter_vjp(jnp.sin, x)[1](jnp.ones_like(x))[0]

    xs = jnp.arange(3.0)
    assert close(filter_vmap(slope)(xs), jnp.cos(xs))
    assert close(filter_grad(slope)(jnp.array(2.0)), -jnp.sin(2.0))


def test_without_jit():
    with jax.disable_jit():
        assert close(filter_vjp(jnp.sin, jnp.array(2.0))[1](1.0)[0], jnp.cos(2.0))


# ----------------------------------------------------------------------------------------- annotations


def test_annotated_scalars_are_differentiable():
    def f(x: Float[Array, ""]) -> Float[Array, ""]:
        return x * x

    assert close(filter_vjp(f, 3.0)[1](1.0)[0], 6.0)


def test_nodiff_arguments_have_no_cotangent():
    def f(x: Float[Array, ""], y: NoDiff[Float[Array, ""]]) -> Float[Array, ""]:
        return x * y

    _, pull = filter_vjp(f, jnp.array(2.0), jnp.array(3.0))
    assert close(pull(1.0)[0], 3.0)
    assert pull(1.0)[1] is None


def test_nodiff_fields_have_no_cotangent():
    @pytree_dataclass
    class Layer:
        w: Float[Array, ""]
        frozen: NoDiff[Float[Array, ""]]

    _, pull = filter_vjp(lambda layer: layer.w * layer.frozen, Layer(jnp.array(2.0), jnp.array(3.0)))
    assert pull(1.0)[0].frozen is None
    assert close(pull(1.0)[0].w, 3.0)


def test_with_diff_arguments_only_these_have_cotangents():
    def f(x: Float[Array, ""], y: Diff[Float[Array, ""]]) -> Float[Array, ""]:
        return x * y

    _, pull = filter_vjp(f, jnp.array(2.0), jnp.array(3.0))
    assert pull(1.0)[0] is None
    assert close(pull(1.0)[1], 2.0)


def test_the_body_is_checked():
    def f(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return x + y

    with pytest.raises(ShapeError, match=r"f\(\): argument `y`"):
        filter_vjp(f, jnp.ones(2), jnp.ones(3))


def marked(a: Float[Array, ""], x: Diff[Float[Array, ""]]) -> Float[Array, ""]:
    return a * x


def named(a: Float[Array, ""], **xs: Diff[Float[Array, ""]]) -> Float[Array, ""]:
    return a * sum(xs.values())


TWO = jnp.array(2.0)
POSITIONAL = "differentiates positional arguments, and it is none"
WITHOUT: dict[str, Any] = {
    "by name": (lambda: filter_vjp(marked, TWO, x=TWO), "filter_vjp", "x", "pass it by position"),
    "forward": (lambda: filter_jvp(marked, (TWO,), (None,), x=TWO), "filter_jvp", "x", "pass it by position"),
    "left out": (lambda: filter_linearize(marked, TWO), "filter_linearize", "x", "pass it by position"),
    "variadic": (
        lambda: filter_vjp(named, TWO, y=TWO),
        "filter_vjp",
        "xs",
        "pass a function of it alone, that has it as a positional parameter",
    ),
}


@pytest.mark.parametrize(("call", "transform", "name", "fix"), WITHOUT.values(), ids=WITHOUT)
def test_what_is_marked_diff_must_be_where_it_can_be_differentiated(call, transform, name, fix):
    with pytest.raises(AnnotationError) as refused:
        call()
    assert str(refused.value).splitlines()[-2:] == [
        f"{refused.value.function}(): argument `{name}` is marked Diff, but {transform} {POSITIONAL}",
        f"  fix: {fix}",
    ]


def test_only_what_is_marked_diff_has_a_tangent():
    assert filter_vjp(marked, TWO, TWO)[1](jnp.array(1.0)) == (None, 2.0)
    assert filter_jvp(marked, (TWO, TWO), (None, 1.0))[1] == 2.0
    with pytest.raises(
        ShapeError, match=r"argument `tangents\[0\]` is a tangent for what is not differentiated"
    ):
        filter_jvp(marked, (TWO, TWO), (1.0, None))
