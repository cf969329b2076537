"""`filter_custom_vjp`: the page's usage, anything in and out and in between, under every transform."""

from __future__ import annotations

import copy
import enum
import gc
import inspect
import math
import pickle
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from arrays import close
from beartype import beartype
from jaxtyping import Array, Float, Int, jaxtyped

from typedfilter import (
    AnnotationError,
    Diff,
    NoDiff,
    ShapeError,
    filter_custom_vjp,
    filter_grad,
    filter_jit,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
    pytree_dataclass,
)


@filter_custom_vjp
def triple(x):
    """Three times x, it says."""
    return 3 * x


@triple.def_fwd
def triple_fwd(perturbed, x):
    return triple(x), None


@triple.def_bwd
def triple_bwd(residuals, grad, perturbed, x):
    return 100 * grad  # wrong on purpose: the rule must be what is used


class Recorded:
    """A function of a dictionary and of whatever else, with rules that note what they are called with."""

    def __init__(self, fn: Any) -> None:
        self.fwd: list[Any] = []
        self.bwd: list[Any] = []
        self.ruled = filter_custom_vjp(fn)
        self.ruled.def_fwd(self._forward)
        self.ruled.def_bwd(self._backward)

    def _forward(self, perturbed, p, *args, **kwargs):
        self.fwd.append((perturbed, p, args, kwargs))
        return self.ruled(p, *args, **kwargs), ("residual", p["w"], max)

    def _backward(self, residuals, grad, perturbed, p, *args, **kwargs):
        self.bwd.append((residuals, grad, perturbed, p, args, kwargs))
        return {"w": 10 * grad["y"], **dict.fromkeys(set(p) - {"w"})}


def model(p: Any, x: Any, *, act: Any = jnp.sin) -> Any:
    return {"y": act(p["w"] * x), "n": jnp.arange(2), "name": p["name"]}


PARAMS = {"w": jnp.array(2.0), "b": jnp.array(3.0), "name": "a", "f": max, "n": jnp.array(1)}


@pytest.mark.parametrize(
    "slope",
    [
        jax.grad(triple),
        filter_grad(triple),
        jax.jit(jax.grad(triple)),
        jax.grad(jax.jit(triple)),
        filter_grad(filter_jit(triple)),
        filter_jit(filter_grad(triple)),
        jax.grad(jax.checkpoint(triple)),
        lambda x: jax.vmap(jax.grad(triple))(x[None])[0],
        lambda x: filter_grad(lambda x: filter_vmap(triple)(x).sum())(x[None])[0],
        lambda x: filter_vjp(triple, x)[1](1.0)[0],
    ],
)
def test_the_rules_are_the_derivative_under_every_transform(slope):
    assert close(slope(jnp.array(2.0)), 100.0)


def test_the_rules_are_the_derivative_in_loops_and_without_jit():
    def loop(x: Any) -> Any:
        return jax.lax.scan(lambda c, _: (triple(c), None), x, None, length=2)[0]

    assert close(jax.grad(loop)(1.0), 100.0**2)
    with jax.disable_jit():
        assert close(jax.grad(triple)(1.0), 100.0)


def test_without_differentiation_the_function_runs():
    assert close(triple(2.0), 6.0)
    assert close(jax.jit(triple)(2.0), 6.0)


@pytest.mark.parametrize("jit", [lambda f: f, filter_jit])
def test_perturbed_says_of_each_leaf_whether_it_is_differentiated(jit):
    recorded = Recorded(model)
    p = {**PARAMS, "w": None}
    jax.grad(lambda w: jit(recorded.ruled)({**p, "w": w}, jnp.array(1.0))["y"])(2.0)
    expected = {"w": True, "b": False, "name": False, "f": False, "n": False}
    assert recorded.fwd[0][0] == recorded.bwd[0][2] == expected


@pytest.mark.parametrize("jit", [lambda f: f, filter_jit])
def test_arguments_results_and_residuals_may_hold_anything(jit):
    recorded = Recorded(model)

    def loss(p: Any) -> Any:
        out = jit(recorded.ruled)(p, jnp.array(1.0), act=jnp.cos)
        return out["y"], out

    (value, out), grads = filter_value_and_grad(loss, has_aux=True)(PARAMS)
    assert close(value, jnp.cos(2.0))
    assert out["name"] == "a"
    assert close(grads["w"], 10.0)
    assert close(grads["b"], 0.0)
    assert [grads[name] for name in ("name", "f", "n")] == [None] * 3
    residuals, grad, _, p, args, kwargs = recorded.bwd[0]
    assert (residuals[0], residuals[2]) == ("residual", max)
    assert (p["name"], p["f"], kwargs) == ("a", max, {"act": jnp.cos})
    assert len(args) == 1


def test_the_gradient_of_what_was_not_differentiated_is_none():
    recorded = Recorded(lambda p: {"y": p["w"], "other": 2 * p["w"], "n": jnp.arange(2), "name": "a"})
    filter_grad(lambda p: recorded.ruled(p)["y"])(PARAMS)
    grad = recorded.bwd[0][1]
    assert grad["y"] is not None
    assert [grad[name] for name in ("other", "n", "name")] == [None] * 3


def test_primals_arrive_as_arrays_also_where_nothing_is_traced():
    recorded = Recorded(lambda p, x: {"y": p["w"] * x})
    jax.grad(lambda w: recorded.ruled({"w": w}, np.float32(2.0))["y"])(3.0)
    assert isinstance(recorded.fwd[0][1]["w"], jax.Array)
    assert isinstance(recorded.fwd[0][2][0], jax.Array)


def test_python_floats_are_differentiated():
    # Equinox returns 0.0: what its forward rule computes from a float is a float, hence static.
    @filter_custom_vjp
    def square(x):
        return x**2

    square.def_fwd(lambda perturbed, x: (x**2, None))
    square.def_bwd(lambda residuals, grad, perturbed, x: 2 * x * grad)
    assert close(jax.grad(square)(3.0), 6.0)
    assert close(jax.grad(jax.jit(square))(3.0), 6.0)
    assert square(3.0) == 9.0


@pytest.mark.parametrize("number", [1.0, np.float32(1.0), np.array(1.0, np.float32), jnp.array(1.0)])
def test_a_result_that_is_a_python_float_is_differentiated(number):
    @filter_custom_vjp
    def sine(x):
        return math.sin(x)

    sine.def_fwd(lambda perturbed, x: (math.sin(x), x))
    sine.def_bwd(lambda residuals, grad, perturbed, x: grad * jnp.cos(residuals))
    assert close(jax.grad(sine)(number), math.cos(1.0))
    assert close(filter_grad(sine)(jnp.asarray(number)), math.cos(1.0))
    assert close(filter_vjp(sine, jnp.asarray(number))[1](1.0)[0], math.cos(1.0))


def test_a_python_float_beside_other_results_gets_a_cotangent():
    class Unit(float):
        pass

    @filter_custom_vjp
    def f(x):
        return 2 * x, math.sin(x), Unit(x), complex(x), "a", 1, True

    f.def_fwd(lambda perturbed, x: ((2 * x, math.sin(x), Unit(x), complex(x), "a", 1, True), None))

    @f.def_bwd
    def bwd(residuals, grad, perturbed, x):
        assert grad[4:] == (None, None, None)
        scales = zip((1, 10, 100, 1000), grad, strict=False)
        return sum(by * part.real for by, part in scales if part is not None)

    for place, slope in enumerate((1.0, 10.0, 100.0, 1000.0)):
        assert close(jax.grad(lambda x, place=place: jnp.real(f(x)[place]))(1.0), slope)


def test_python_floats_in_a_result_stay_as_they_are_where_nothing_is_traced():
    class Level(float, enum.Enum):
        LOW = 0.5

    @filter_custom_vjp
    def f(x):
        return x, math.pi, Level.LOW

    f.def_fwd(lambda perturbed, x: (f(x), None))
    f.def_bwd(lambda residuals, grad, perturbed, x: 3 * grad[0])
    assert f(jnp.array(1.0))[1:] == (math.pi, Level.LOW)
    assert close(jax.grad(lambda x: f(x)[0])(1.0), 3.0)
    out = filter_jit(f)(jnp.array(1.0))
    assert close(out[1], math.pi)
    assert out[2] is Level.LOW  # no number for its own sake


def test_numpy_bfloat16_is_differentiated():
    slope = filter_grad(lambda x: triple(x).sum())(np.ones(2, ml_dtypes.bfloat16))
    assert slope.dtype == jnp.bfloat16
    assert close(slope.astype(float), 100.0)


def test_none_is_a_zero_gradient():
    @filter_custom_vjp
    def f(p):
        return p["a"] * p["b"][0]

    f.def_fwd(lambda perturbed, p: (f(p), None))
    f.def_bwd(lambda residuals, grad, perturbed, p: {"a": 5 * grad, "b": None})
    grads = filter_grad(f)({"a": jnp.array(1.0), "b": (jnp.array(2.0),)})
    assert (float(grads["a"]), float(grads["b"][0])) == (5.0, 0.0)


def test_the_forward_rule_may_return_a_list_of_two():
    @filter_custom_vjp
    def f(x):
        return x

    @f.def_fwd
    def fwd(perturbed, x):
        return [x, 7.0]

    f.def_bwd(lambda residuals, grad, perturbed, x: residuals * grad)
    assert close(jax.grad(f)(1.0), 7.0)


def test_a_gradient_may_be_a_number():
    @filter_custom_vjp
    def f(x):
        return x

    f.def_fwd(lambda perturbed, x: (x, None))
    f.def_bwd(lambda residuals, grad, perturbed, x: 2.0)
    assert close(jax.grad(f)(1.0), 2.0)


@pytest.mark.parametrize("jit", [lambda f: f, filter_jit])
@pytest.mark.parametrize(
    ("of", "given"),
    [
        (jnp.bfloat16, jnp.float32),
        (jnp.float32, jnp.bfloat16),
        (jnp.float16, jnp.bfloat16),
        (jnp.bfloat16, np.float32),
    ],
)
def test_a_gradient_of_another_precision_is_converted(jit, of, given):
    @filter_custom_vjp
    def f(x):
        return x

    f.def_fwd(lambda perturbed, x: (x, None))
    f.def_bwd(lambda residuals, grad, perturbed, x: given(3.0))
    slope = jit(filter_grad(lambda x: f(x).astype(jnp.float32)))(jnp.ones((), of))
    assert (slope.dtype, float(slope)) == (of, 3.0)


@pytest.mark.parametrize(("of", "given"), [(jnp.float32, jnp.complex64), (jnp.float32, jnp.int32)])
def test_a_gradient_of_another_kind_is_refused(of, given):
    @filter_custom_vjp
    def f(x):
        return x

    f.def_fwd(lambda perturbed, x: (x, None))
    f.def_bwd(lambda residuals, grad, perturbed, x: given(3))
    with pytest.raises(ShapeError, match="does not fit `x`"):
        jax.grad(f)(jnp.ones((), of))


def test_a_gradient_for_what_is_not_perturbed_is_dropped():
    @filter_custom_vjp
    def f(pair):
        return pair[0] * pair[1]

    f.def_fwd(lambda perturbed, pair: (f(pair), None))
    f.def_bwd(lambda residuals, grad, perturbed, pair: (grad, grad))
    assert close(jax.grad(lambda x: f((x, jnp.array(3.0))))(2.0), 1.0)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit])
def test_other_arguments_can_not_be_differentiated(jit):
    recorded = Recorded(lambda p, x, *, by: {"y": p["w"] * x["a"] * by})
    p = {"w": jnp.array(1.0)}
    with pytest.raises(ShapeError, match=r"argument `x\['a'\]` is differentiated"):
        jax.grad(jit(lambda x: recorded.ruled(p, {"a": x}, by=2.0)["y"]))(3.0)
    with pytest.raises(ShapeError, match="argument `by` is differentiated"):
        jax.grad(jit(lambda by: recorded.ruled(p, {"a": 2.0}, by=by)["y"]))(3.0)
    assert close(
        jax.grad(lambda x: recorded.ruled(p, {"a": jax.lax.stop_gradient(x)}, by=1.0)["y"])(2.0), 0.0
    )


def test_nodiff_arguments_are_frozen():
    @filter_custom_vjp
    def f(x: Float[Array, ""], y: NoDiff[Float[Array, ""]]) -> Float[Array, ""]:
        return x * y

    f.def_fwd(lambda perturbed, x, y: (f(x, y), None))
    f.def_bwd(lambda residuals, grad, perturbed, x, y: grad * y)
    assert [float(value) for value in jax.grad(f, (0, 1))(2.0, 3.0)] == [3.0, 0.0]


def test_the_first_argument_may_be_passed_by_keyword():
    assert close(jax.grad(lambda x: triple(x=x))(2.0), 100.0)


def test_static_results_made_anew_by_each_run_are_no_difference():
    @filter_custom_vjp
    def f(x):
        return x, lambda: 1, object()

    f.def_fwd(lambda perturbed, x: (f(x), None))
    f.def_bwd(lambda residuals, grad, perturbed, x: grad[0])
    assert close(jax.grad(lambda x: f(x)[0])(2.0), 1.0)


def other_result(value: Any) -> Any:
    @filter_custom_vjp
    def f(x):
        return 2 * x, 1

    f.def_fwd(lambda perturbed, x: ((2 * x, value), None))
    f.def_bwd(lambda residuals, grad, perturbed, x: 2 * grad[0])
    return f


@pytest.mark.parametrize("jit", [lambda f: f, filter_jit])
@pytest.mark.parametrize("value", [2, 1.0, True, "1", (1,), max])
def test_another_static_result_of_the_forward_rule_is_refused(jit, value):
    with pytest.raises(ShapeError, match=r"f.def_fwd\(\): the return value at \[0\]\[1\] is"):
        jax.grad(lambda x: jit(other_result(value))(x)[0])(jnp.array(2.0))


@pytest.mark.parametrize("value", [None, np.int32(1)])
def test_a_static_result_that_the_forward_rule_lacks_is_missed_where_the_function_has_run(value):
    with pytest.raises(ShapeError, match=r"f.def_fwd\(\): the return value at \[0\]\[1\] is"):
        jax.grad(lambda x: filter_jit(other_result(value))(x)[0])(jnp.array(2.0))


def test_the_same_static_result_of_the_forward_rule_is_accepted():
    assert close(jax.grad(lambda x: other_result(1)(x)[0])(2.0), 2.0)


def test_results_that_depend_on_values_are_compared_where_there_are_values():
    @filter_custom_vjp
    def f(x):
        return (x, "positive") if x > 0 else (-x, "negative")

    f.def_fwd(lambda perturbed, x: ((x, "positive"), None))
    f.def_bwd(lambda residuals, grad, perturbed, x: grad[0])
    assert close(jax.grad(lambda x: f(x)[0])(2.0), 1.0)
    with pytest.raises(ShapeError, match="'negative'"):
        jax.grad(lambda x: f(x)[0])(-2.0)


def test_where_all_results_are_arrays_the_function_does_not_run_beside_the_rule():
    runs: list[str] = []

    @filter_custom_vjp
    def f(x):
        runs.append("function")
        return x

    @f.def_fwd
    def fwd(perturbed, x):
        runs.append("forward")
        return x, None

    @f.def_bwd
    def bwd(residuals, grad, perturbed, x):
        runs.append("backward")
        return grad

    jax.grad(f)(1.0)
    assert runs == ["forward", "backward"]


# ---------------------------------------------------------------------------------- methods, wrappers


def test_the_first_argument_of_a_method_is_the_object():
    @pytree_dataclass
    class Scale:
        by: Float[Array, ""]

        @filter_custom_vjp
        def of(self, x):
            return self.by * x

        @of.def_fwd
        def of_fwd(perturbed, self, x):
            return self.of(x), perturbed.by

        @of.def_bwd
        def of_bwd(residuals: Any, grad, perturbed, self, x):
            assert residuals is True
            return Scale(11 * grad)

    scale = Scale(jnp.array(2.0))
    assert close(scale.of(jnp.array(3.0)), 6.0)
    assert close(filter_grad(lambda scale: scale.of(jnp.array(3.0)))(scale).by, 11.0)
    with pytest.raises(ShapeError, match="argument `x` is differentiated"):
        jax.grad(scale.of)(3.0)


def test_static_methods_can_have_rules():
    class Thing:
        @filter_custom_vjp
        @staticmethod
        def of(x):
            return x

    Thing.of.def_fwd(lambda perturbed, x: (x, None))
    Thing.of.def_bwd(lambda residuals, grad, perturbed, x: 6 * grad)
    assert close(jax.grad(Thing().of)(1.0), 6.0)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit, filter_jit])
def test_arrays_of_a_module_under_rules_are_inputs(jit):
    @pytree_dataclass
    class Scale:
        by: Float[Array, ""]

        def __call__(self, x):
            return self.by * x

    def ruled(by: Any) -> Any:
        f = filter_custom_vjp(Scale(by))
        f.def_fwd(lambda perturbed, x: (f(x), None))
        f.def_bwd(lambda residuals, grad, perturbed, x: 9 * grad)
        return f

    assert close(jit(lambda by, x: jax.grad(ruled(by))(x))(jnp.array(2.0), jnp.array(3.0)), 9.0)
    assert close(jax.vmap(jit(lambda by: ruled(by)(2.0)))(jnp.arange(3.0)), 2 * jnp.arange(3.0))
    with pytest.raises(ShapeError, match=r"argument `self\.by` is differentiated"):
        jax.grad(lambda by: ruled(by)(2.0))(3.0)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit, filter_jit])
def test_frozen_arrays_of_a_module_under_a_rule_are_constants(jit):
    @pytree_dataclass
    class Scale:
        by: NoDiff[Float[Array, ""]]

        def __call__(self, x):
            return self.by * x

    def ruled(by: Any, x: Any) -> Any:
        f = filter_custom_vjp(Scale(by))
        f.def_fwd(lambda perturbed, x: (Scale(jnp.array(4.0))(x), None))
        f.def_bwd(lambda residuals, grad, perturbed, x: 9 * grad)
        return f(x)

    assert close(jax.grad(jit(lambda by: ruled(by, 2.0)))(jnp.array(4.0)), 0.0)
    assert close(jax.grad(jit(lambda x: ruled(jnp.array(4.0), x)))(jnp.array(2.0)), 9.0)


def test_rules_defined_after_jit_was_applied_are_found():
    @filter_custom_vjp
    def f(x):
        return x

    jitted = filter_grad(filter_jit(f))
    f.def_fwd(lambda perturbed, x: (x, None))
    f.def_bwd(lambda residuals, grad, perturbed, x: 4 * grad)
    assert close(jitted(jnp.array(1.0)), 4.0)


def test_the_definers_return_the_rules():
    assert (triple_fwd.__name__, triple_bwd.__name__) == ("triple_fwd", "triple_bwd")


def test_wrappers_look_like_the_function():
    assert repr(triple) == "filter_custom_vjp(triple)"
    assert triple.__doc__ == "Three times x, it says."
    assert inspect.signature(triple) == inspect.signature(triple.__wrapped__)
    assert pickle.loads(pickle.dumps(triple)) is triple
    assert close(jax.grad(copy.deepcopy(triple))(1.0), 100.0)


def test_jaxtyped_and_hashing_work_on_top():
    over = jaxtyped(typechecker=beartype)(triple)
    assert close(over(2.0), 6.0)
    assert close(jax.grad(over)(2.0), 100.0)
    assert {triple: 1}[triple] == 1


def test_wrappers_are_pytrees_with_their_rules():
    leaves, treedef = jax.tree.flatten(triple)
    assert close(jax.grad(treedef.unflatten(leaves))(1.0), 100.0)
    assert close(filter_jit(lambda f, x: jax.grad(f)(x))(triple, jnp.array(1.0)), 100.0)


def test_the_function_and_the_forward_rule_are_checked():
    @filter_custom_vjp
    def f(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * y

    f.def_fwd(lambda perturbed, x, y: (x[:1], None))
    f.def_bwd(lambda residuals, grad, perturbed, x, y: None)
    with pytest.raises(ShapeError, match=r"f\(\): argument `y`"):
        f(jnp.ones(2), jnp.ones(3))
    with pytest.raises(ShapeError, match=r"f\(\): argument `y`"):
        jax.vjp(lambda x: f(x, jnp.ones(3)), jnp.ones(2))
    with pytest.raises(ShapeError, match=r"f\(\): the return value"):
        jax.vjp(lambda x: f(x, jnp.ones(2)), jnp.ones(2))


def test_checks_can_be_turned_off():
    @filter_custom_vjp(check=False)
    def f(x: Float[Array, "n"]) -> Float[Array, "n m"]:
        return x

    f.def_fwd(lambda perturbed, x: (x, None))
    f.def_bwd(lambda residuals, grad, perturbed, x: grad)
    assert close(f(jnp.ones(2)), 1.0)
    assert close(jax.vjp(f, jnp.ones(2))[1](jnp.ones(2))[0], 1.0)


def test_annotations_that_contradict_it_are_refused_when_the_decorator_runs():
    def other(x: Float[Array, ""], y: Diff[Float[Array, ""]]) -> Float[Array, ""]:
        return x * y

    def integer(x: Int[Array, ""]) -> Float[Array, ""]:
        return x * 1.0

    def frozen(x: NoDiff[Float[Array, ""]]) -> Float[Array, ""]:
        return x

    for fn in (other, integer, frozen):
        with pytest.raises(AnnotationError, match="filter_custom_vjp"):
            filter_custom_vjp(fn)


def test_what_residuals_hold_is_freed():
    held: list[weakref.ref[Any]] = []

    @filter_custom_vjp
    def f(x):
        return x

    @f.def_fwd
    def fwd(perturbed, x):
        residual = type("Residual", (), {})()
        held.append(weakref.ref(residual))
        return x, residual

    f.def_bwd(lambda residuals, grad, perturbed, x: grad)
    jax.grad(f)(1.0)
    jax.jit(jax.grad(f))(1.0)
    gc.collect()
    assert len(held) == 2
    assert [ref() for ref in held] == [None, None]
