"""`filter_custom_jvp`: the page's example, symbolic zeros, anything in and out, under every transform."""

from __future__ import annotations

import copy
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
from jax.custom_derivatives import zero_from_primal
from jaxtyping import Array, Float, jaxtyped

from typedfilter import (
    Diff,
    NoDiff,
    ShapeError,
    filter_custom_jvp,
    filter_grad,
    filter_hessian,
    filter_jit,
    filter_jvp,
    filter_vmap,
    pytree_dataclass,
)


@filter_custom_jvp
def triple(x):
    """Three times x, it says."""
    return 3 * x


@triple.def_jvp
def triple_jvp(primals, tangents):
    return triple(*primals), 100 * tangents[0]  # wrong on purpose: the rule must be what is used


def recording(fn: Any) -> tuple[Any, list[Any]]:
    """`fn` with the rule that it itself is linear in x, and what the rule was called with."""
    seen: list[Any] = []
    ruled = filter_custom_jvp(fn)

    @ruled.def_jvp
    def rule(primals, tangents, **kwargs):
        seen.append((primals, tangents, kwargs))
        return ruled(*primals, **kwargs), ruled(tangents[0], *primals[1:], **kwargs)

    return ruled, seen


def test_the_example_of_the_equinox_documentation_works():
    @filter_custom_jvp
    def call(x, y, *, fn):
        return fn(x, y)

    @call.def_jvp
    def call_jvp(primals, tangents, *, fn):
        x, y = primals
        tx, ty = tangents
        assert ty is None
        primal_out = call(x, y, fn=fn)
        tangent_out = 2 * tx
        return primal_out, tangent_out

    x, y = jnp.array(2.0), jnp.array(2.0)
    fn = lambda a, b: a + b
    assert close(call(x, y, fn=fn), 4.0)
    assert close(filter_grad(call)(x, y, fn=fn), 2.0)


def test_without_differentiation_the_function_runs():
    assert close(triple(2.0), 6.0)
    assert close(jax.jit(triple)(2.0), 6.0)


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
        lambda x: filter_jvp(triple, (x,), (1.0,))[1],
        lambda x: jax.linearize(triple, x)[1](1.0),
    ],
)
def test_the_rule_is_the_derivative_under_every_transform(slope):
    assert close(slope(jnp.array(2.0)), 100.0)


def test_the_rule_is_the_derivative_in_loops_and_without_jit():
    def loop(x: Any) -> Any:
        return jax.lax.scan(lambda c, _: (triple(c), None), x, None, length=2)[0]

    assert close(jax.grad(loop)(1.0), 100.0**2)
    with jax.disable_jit():
        assert close(jax.grad(triple)(1.0), 100.0)


def test_rules_are_differentiated_for_second_derivatives():
    @filter_custom_jvp
    def cube(x):
        return x**3

    cube.def_jvp(lambda primals, tangents: (cube(*primals), 3 * primals[0] ** 2 * tangents[0]))
    assert close(filter_hessian(cube)(jnp.array(2.0)), 12.0)
    assert close(filter_jit(filter_hessian(cube))(jnp.array(2.0)), 12.0)


def test_tangents_of_what_is_not_differentiated_are_none():
    scaled, seen = recording(lambda x, y, n, p: x * y * n * p["w"])
    p = {"w": jnp.array(2.0), "act": max, "n": 1}
    filter_jvp(scaled, (jnp.array(1.0), jnp.array(2.0), jnp.array(3), p), (1.0, None, None, None))
    _, tangents, _ = seen[0]
    assert tangents[1:] == (None, None, {"w": None, "act": None, "n": None})
    assert close(tangents[0], 1.0)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit, filter_jit])
def test_symbolic_zeros_stay_symbolic_through_jit(jit):
    scaled, seen = recording(lambda x, y: x * y)
    jax.grad(lambda x: jit(scaled)(x, jax.lax.stop_gradient(x)))(jnp.array(1.0))
    assert seen[0][1][1] is None


def test_leaves_of_one_argument_are_told_apart():
    ruled, seen = recording(lambda p: {"y": p["a"] * 2})

    @ruled.def_jvp
    def rule(primals, tangents):
        seen.append(tangents)
        return ruled(*primals), {"y": tangents[0]["a"]}

    filter_grad(lambda a: ruled({"a": a, "b": jnp.array(1.0)})["y"])(jnp.array(1.0))
    assert seen[0][0]["b"] is None
    assert seen[0][0]["a"] is not None


def test_primals_arrive_as_arrays_also_where_nothing_is_traced():
    ruled, seen = recording(lambda x, y: x * y)
    jax.grad(ruled)(2.0, np.float32(3.0))
    assert all(isinstance(primal, jax.Array) for primal in seen[0][0])


def test_python_numbers_stay_python_numbers_where_nothing_is_traced_as_with_jax():
    @filter_custom_jvp
    def f(x, y, *, fn):
        return fn(x, y), {"n": 2}

    f.def_jvp(lambda primals, tangents, fn: (f(*primals, fn=fn), (tangents[0] ** 2 + tangents[1], None)))

    @jax.custom_jvp
    def g(x, y):
        return x**2 + y

    g.defjvp(lambda primals, tangents: (g(*primals), tangents[0] ** 2 + tangents[1]))
    out = jax.jvp(lambda x, y: f(x, y, fn=lambda a, b: a**2 + b)[0], (2.0, 1.5), (3.0, 4.0))
    expected = jax.jvp(g, (2.0, 1.5), (3.0, 4.0))
    assert [(type(one), one) for one in out] == [(type(one), one) for one in expected]


@pytest.mark.parametrize("number", [1.0, np.float32(1.0), np.array(1.0, np.float32), jnp.array(1.0)])
def test_a_result_that_is_a_python_float_has_a_tangent(number):
    @filter_custom_jvp
    def sine(x):
        return {"y": math.sin(x), "z": 2 * x, "w": math.pi, "name": "a"}

    @sine.def_jvp
    def rule(primals, tangents):
        (x,), (tx,) = primals, tangents
        out = {"y": math.sin(x), "z": 2 * x, "w": math.pi, "name": "a"}
        return out, {"y": tx * math.cos(x), "z": 2 * tx, "w": None, "name": None}

    for name, slope in {"y": math.cos(1.0), "z": 2.0, "w": 0.0}.items():
        assert close(jax.grad(lambda x, name=name: sine(x)[name])(number), slope)
    out, tangent = filter_jvp(sine, (jnp.asarray(number),), (1.0,))
    assert close(out["y"], math.sin(1.0))
    assert close(tangent["y"], math.cos(1.0))
    assert tangent["w"] is None
    assert sine(number)["y"] == math.sin(1.0)


def test_numpy_bfloat16_is_differentiable():
    slope = filter_grad(lambda x: triple(x).sum())(np.ones(2, ml_dtypes.bfloat16))
    assert slope.dtype == jnp.bfloat16
    assert close(slope.astype(float), 100.0)


def test_the_rule_may_return_a_list_of_two():
    @filter_custom_jvp
    def f(x):
        return x

    @f.def_jvp
    def rule(primals, tangents):
        return [primals[0], 7 * tangents[0]]

    assert close(jax.grad(f)(1.0), 7.0)


def test_none_as_tangent_of_the_result_means_zero():
    @filter_custom_jvp
    def f(x):
        return {"a": x, "b": (x, x)}

    f.def_jvp(lambda primals, tangents: (f(*primals), {"a": tangents[0], "b": None}))
    _, tangent = filter_jvp(f, (2.0,), (1.0,))
    assert close(tangent["a"], 1.0)
    assert tangent["b"] == (None, None)  # still symbolic outside
    assert close(jax.grad(lambda x: f(x)["b"][0])(2.0), 0.0)
    assert close(jax.grad(jax.jit(lambda x: f(x)["b"][0]))(2.0), 0.0)


def test_the_symbolic_zeros_of_jax_are_zeros_in_what_a_rule_returns():
    @filter_custom_jvp
    def f(x):
        return {"a": x, "b": (x, 2)}

    zero = zero_from_primal(jnp.array(1.0), symbolic_zeros=True)
    f.def_jvp(lambda primals, tangents: (f(*primals), {"a": tangents[0], "b": (zero, None)}))
    _, tangent = filter_jvp(f, (jnp.array(2.0),), (1.0,))
    assert close(tangent["a"], 1.0)
    assert tangent["b"] == (None, None)
    wrong = zero_from_primal(jnp.ones(2), symbolic_zeros=True)
    f.def_jvp(lambda primals, tangents: (f(*primals), {"a": wrong, "b": None}))
    with pytest.raises(ShapeError, match=r"at \[1\]\['a'\] does not fit `primal_out\['a'\]`"):
        filter_jvp(f, (jnp.array(2.0),), (1.0,))


def test_results_may_hold_anything():
    @filter_custom_jvp
    def f(x):
        return {"y": 2 * x, "n": jnp.arange(2), "name": "a", "f": max}

    nothing = {"n": None, "name": None, "f": None}
    f.def_jvp(lambda primals, tangents: (f(*primals), {"y": 2 * tangents[0], **nothing}))
    for g in (f, filter_jit(f)):
        out, tangent = filter_jvp(g, (jnp.array(3.0),), (1.0,))
        assert (out["name"], out["f"]) == ("a", max)
        assert close(tangent["y"], 2.0)
        assert [tangent[name] for name in nothing] == [None] * 3


def test_static_results_made_anew_by_each_run_are_no_difference():
    @filter_custom_jvp
    def f(x):
        return x, lambda: 1, object()

    f.def_jvp(lambda primals, tangents: (f(*primals), (tangents[0], None, None)))
    assert close(jax.grad(lambda x: f(x)[0])(2.0), 1.0)


def test_a_number_where_the_function_returns_an_array_is_that_array():
    @filter_custom_jvp
    def f(x):
        return jnp.sign(x), "a"

    f.def_jvp(lambda primals, tangents: ((1.0, "a"), (tangents[0], None)))
    out, tangent = filter_jvp(f, (jnp.array(2.0),), (1.0,))
    assert out[0].dtype == jnp.float32
    assert close(tangent[0], 1.0)


def test_keyword_arguments_reach_the_rule_and_may_hold_anything():
    scaled, seen = recording(lambda x, *, by, how: how(x * by["w"]))
    assert close(jax.grad(lambda x: scaled(x, by={"w": jnp.array(3.0)}, how=lambda z: 2 * z))(1.0), 6.0)
    assert set(seen[0][2]) == {"by", "how"}


def test_frozen_keyword_arguments_are_constants():
    scaled, _ = recording(lambda x, *, by: x * by)
    assert close(jax.grad(lambda x: scaled(x, by=jax.lax.stop_gradient(x)))(3.0), 3.0)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit])
def test_a_differentiated_keyword_argument_is_refused(jit):
    scaled, _ = recording(lambda x, *, by: x * by["w"])
    with pytest.raises(ShapeError, match=r"argument `by\['w'\]` is differentiated"):
        jax.grad(jit(lambda by: scaled(2.0, by={"w": by})))(3.0)


def test_nodiff_arguments_are_frozen():
    def f(x: Float[Array, ""], y: NoDiff[Float[Array, ""]]) -> Float[Array, ""]:
        return x * y

    ruled, seen = recording(f)
    assert [float(value) for value in jax.grad(ruled, (0, 1))(2.0, 3.0)] == [3.0, 0.0]
    assert seen[0][1][1] is None
    assert close(jax.grad(ruled, 1)(2.0, 3.0), 0.0)  # the rule would multiply None


def test_with_diff_arguments_all_others_are_frozen():
    def f(x: Diff[Float[Array, ""]], y: Float[Array, ""]) -> Float[Array, ""]:
        return x * y

    ruled, seen = recording(f)
    assert [float(value) for value in jax.grad(ruled, (0, 1))(2.0, 3.0)] == [3.0, 0.0]


# ---------------------------------------------------------------------------------- methods, wrappers


def test_methods_static_methods_and_class_methods_can_have_rules():
    class Thing:
        by = 2.0

        @filter_custom_jvp
        def of(self, x):
            return self.by * x

        @of.def_jvp
        def of_jvp(primals, tangents):
            assert tangents[0] is None
            return primals[0].of(primals[1]), 7 * tangents[1]

        @filter_custom_jvp
        @staticmethod
        def static(x):
            return x

        @filter_custom_jvp
        @classmethod
        def of_class(cls, x):
            return x * cls.by

    Thing.static.def_jvp(lambda primals, tangents: (primals[0], 5 * tangents[0]))
    Thing.of_class.def_jvp(lambda primals, tangents: (primals[1] * 2, 6 * tangents[1]))
    assert close(Thing().of(3.0), 6.0)
    assert close(jax.grad(Thing().of)(3.0), 7.0)
    assert close(jax.grad(Thing.static)(3.0), 5.0)
    assert close(jax.grad(Thing.of_class)(3.0), 6.0)


def test_the_object_of_a_method_may_be_differentiated():
    @pytree_dataclass
    class Scale:
        by: Float[Array, ""]

        @filter_custom_jvp
        def __call__(self, x):
            return self.by * x

        @__call__.def_jvp
        def _rule(primals, tangents):
            return primals[0](primals[1]), 10 * tangents[0].by

    slope = filter_grad(lambda scale, x: scale(x))(Scale(jnp.array(2.0)), jnp.array(3.0))
    assert close(slope.by, 10.0)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit, filter_jit])
@pytest.mark.parametrize("of", [lambda module: module, lambda module: module.times])
def test_arrays_of_a_module_under_a_rule_are_inputs(jit, of):
    @pytree_dataclass
    class Scale:
        by: Float[Array, ""]

        def times(self, x):
            return self.by * x

        __call__ = times

    def slope(by: Any, x: Any) -> Any:
        ruled = filter_custom_jvp(of(Scale(by)))
        ruled.def_jvp(lambda primals, tangents: (ruled(*primals), 9 * tangents[0]))
        return jax.grad(ruled)(x)

    assert close(jit(slope)(jnp.array(2.0), jnp.array(3.0)), 9.0)
    with pytest.raises(ShapeError, match=r"argument `self\.by` is differentiated"):
        jax.grad(lambda by: filter_with_rule(of(Scale(by)))(2.0))(3.0)


def test_arrays_of_a_module_under_a_rule_can_be_mapped():
    @pytree_dataclass
    class Scale:
        by: Float[Array, ""]

        def __call__(self, x):
            return self.by * x

    out = jax.vmap(lambda by: filter_with_rule(Scale(by))(2.0))(jnp.arange(3.0))
    assert close(out, 2 * jnp.arange(3.0))


def filter_with_rule(fn: Any) -> Any:
    ruled = filter_custom_jvp(fn)
    ruled.def_jvp(lambda primals, tangents: (ruled(*primals), tangents[0]))
    return ruled


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit, filter_jit])
def test_frozen_arrays_of_a_module_under_a_rule_are_constants(jit):
    @pytree_dataclass
    class Scale:
        by: NoDiff[Float[Array, ""]]

        def __call__(self, x):
            return self.by * x

    def ruled(by: Any, x: Any) -> Any:
        f = filter_custom_jvp(Scale(by))
        f.def_jvp(lambda primals, tangents: (4 * primals[0], 9 * tangents[0]))
        return f(x)

    assert close(jax.grad(jit(lambda by: ruled(by, 2.0)))(jnp.array(4.0)), 0.0)
    assert close(jax.grad(jit(lambda x: ruled(jnp.array(4.0), x)))(jnp.array(2.0)), 9.0)


def test_a_rule_defined_after_jit_was_applied_is_found():
    @filter_custom_jvp
    def f(x):
        return x

    jitted = filter_grad(filter_jit(f))
    f.def_jvp(lambda primals, tangents: (primals[0], 4 * tangents[0]))
    assert close(jitted(jnp.array(1.0)), 4.0)


def test_def_jvp_returns_the_rule():
    assert triple_jvp.__name__ == "triple_jvp"


def test_wrappers_look_like_the_function():
    assert repr(triple) == "filter_custom_jvp(triple)"
    assert triple.__doc__ == "Three times x, it says."
    assert inspect.signature(triple) == inspect.signature(triple.__wrapped__)
    assert pickle.loads(pickle.dumps(triple)) is triple
    copied = copy.deepcopy(filter_with_rule(jnp.sin))
    assert close(jax.grad(copied)(0.5), 1.0)


def test_jaxtyped_and_hashing_work_on_top():
    over = jaxtyped(typechecker=beartype)(triple)
    assert close(over(2.0), 6.0)
    assert close(jax.grad(over)(2.0), 100.0)
    assert {triple: 1}[triple] == 1


def test_wrappers_are_pytrees_with_their_rules():
    leaves, treedef = jax.tree.flatten(triple)
    assert close(jax.grad(treedef.unflatten(leaves))(1.0), 100.0)
    assert close(filter_jit(lambda f, x: jax.grad(f)(x))(triple, jnp.array(1.0)), 100.0)


def test_the_function_and_the_rule_are_checked():
    @filter_custom_jvp
    def f(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * y

    f.def_jvp(lambda primals, tangents: (primals[0][:1], tangents[0][:1]))
    with pytest.raises(ShapeError, match=r"f\(\): argument `y`"):
        f(jnp.ones(2), jnp.ones(3))
    with pytest.raises(ShapeError, match=r"f\(\): argument `y`"):
        jax.jvp(lambda x: f(x, jnp.ones(3)), (jnp.ones(2),), (jnp.ones(2),))
    with pytest.raises(ShapeError, match=r"f\(\): the return value"):
        jax.jvp(lambda x: f(x, jnp.ones(2)), (jnp.ones(2),), (jnp.ones(2),))


def test_checks_can_be_turned_off():
    @filter_custom_jvp(check=False)
    def f(x: Float[Array, "n"]) -> Float[Array, "n m"]:
        return x

    f.def_jvp(lambda primals, tangents: (primals[0], tangents[0]))
    assert close(f(jnp.ones(2)), 1.0)
    assert close(jax.jvp(f, (jnp.ones(2),), (jnp.ones(2),))[1], 1.0)


def test_a_dropped_function_is_freed_with_its_rule():
    def used() -> weakref.ref[Any]:
        held = type("Held", (), {})()

        @filter_custom_jvp
        def f(x):
            return x

        f.def_jvp(lambda primals, tangents: (held and f(*primals), tangents[0]))
        jax.grad(f)(1.0)
        jax.jit(jax.grad(f))(1.0)
        return weakref.ref(held)

    alive = used()
    gc.collect()
    assert alive() is None
