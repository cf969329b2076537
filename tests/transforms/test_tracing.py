"""`filter_make_jaxpr` and `filter_eval_shape`: what a function would do, with anything in and out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Float

import typedfilter as tf
from typedfilter import ShapeError, Static, Traced, combine, filter_eval_shape, filter_make_jaxpr

STRUCT = jax.ShapeDtypeStruct((3,), jnp.float32)


def double(x, name="n"):
    return {"y": 2 * x, "name": name, "none": None}


class TestMakeJaxpr:
    def test_it_returns_a_closed_jaxpr_that_computes_the_function(self):
        jaxpr, _, _ = filter_make_jaxpr(double)(jnp.arange(3.0))
        assert isinstance(jaxpr, ClosedJaxpr)
        (out,) = jaxpr_as_fun(jaxpr)(jnp.arange(3.0))
        assert jnp.array_equal(out, 2 * jnp.arange(3.0))

    def test_the_second_result_has_a_struct_for_each_array(self):
        _, structs, _ = filter_make_jaxpr(double)(jnp.arange(3.0))
        assert structs == {"y": STRUCT, "name": None, "none": None}

    def test_the_third_result_has_everything_else(self):
        _, _, static = filter_make_jaxpr(double)(jnp.arange(3.0), "m")
        assert static == {"y": None, "name": "m", "none": None}

    def test_the_two_combine_to_the_shape_of_the_result(self):
        _, structs, static = filter_make_jaxpr(double)(STRUCT)
        assert combine(structs, static) == filter_eval_shape(double, STRUCT)

    @pytest.mark.parametrize(
        "example", [jnp.ones(3), np.ones(3, np.float32), STRUCT], ids=["jax", "numpy", "struct"]
    )
    def test_whatever_has_shape_and_dtype_is_traced(self, example):
        jaxpr, _, _ = filter_make_jaxpr(double)(example)
        assert [str(aval) for aval in jaxpr.in_avals] == ["float32[3]"]

    def test_an_object_of_another_library_with_shape_and_dtype_is_traced(self):
        class Tensor:
            shape = (3,)
            dtype = np.dtype("float32")

        assert filter_make_jaxpr(double)(Tensor())[1]["y"] == STRUCT

    @pytest.mark.parametrize("value", [True, 2, 2.0, 2j, "s", None, np.float32, jnp.sin])
    def test_everything_else_is_static(self, value):
        seen = []

        def f(x, v):
            seen.append(v)
            return x, v

        jaxpr, _, static = filter_make_jaxpr(f)(STRUCT, value)
        assert len(jaxpr.in_avals) == 1
        assert seen == [value]
        assert static == (None, value)

    def test_numpy_arrays_that_jax_has_no_dtype_for_are_static(self):
        words = np.array(["a", "b"])
        _, _, static = filter_make_jaxpr(lambda x, w: (x, w))(STRUCT, words)
        assert static[1] is words

    def test_keyword_arguments_are_traced_too(self):
        jaxpr, _, _ = filter_make_jaxpr(lambda x, *, y: x + y)(STRUCT, y=jnp.ones(3))
        assert len(jaxpr.in_avals) == 2

    def test_weak_types_are_those_of_the_examples(self):
        jaxpr, _, _ = filter_make_jaxpr(lambda x: x + 1)(jnp.asarray(1.0))
        assert jaxpr.in_avals[0].weak_type == jnp.asarray(1.0).weak_type

    def test_the_annotation_decides_before_the_rule(self):
        def f(x: Traced[float], n: Static[int]):
            return x * n

        jaxpr, _, _ = filter_make_jaxpr(f)(2.0, 3)
        assert len(jaxpr.in_avals) == 1

    def test_its_signature_and_name_are_those_of_the_function(self):
        made = filter_make_jaxpr(double)
        assert made.__name__ == "double"
        assert repr(made) == "filter_make_jaxpr(double)"

    def test_it_checks_the_body(self):
        def f(x: Float[Array, "3 3"]):
            return x

        with pytest.raises(ShapeError):
            filter_make_jaxpr(f)(STRUCT)
        assert filter_make_jaxpr(check=False)(f)(STRUCT)[1] == STRUCT


class TestEvalShape:
    def test_arrays_of_the_result_become_structs(self):
        assert filter_eval_shape(double, jnp.arange(3.0)) == {"y": STRUCT, "name": "n", "none": None}

    def test_arguments_may_be_structs(self):
        assert filter_eval_shape(double, STRUCT, name="k") == {"y": STRUCT, "name": "k", "none": None}

    def test_nothing_is_computed(self):
        def f(x):
            assert isinstance(x, jax.core.Tracer)
            return x @ x

        huge = jax.ShapeDtypeStruct((10**6, 10**6), jnp.float32)
        assert filter_eval_shape(f, huge) == huge

    @pytest.mark.parametrize("value", [True, 2, 2.0, 2j, "s", {1, 2}, jnp.sin, float])
    def test_any_python_object_passes(self, value):
        assert filter_eval_shape(lambda x, v: (x, v), STRUCT, value) == (STRUCT, value)

    def test_a_class_is_evaluated_like_a_function(self):
        class Pair(tuple):
            __slots__ = ()

            def __new__(cls, a, b):
                return super().__new__(cls, (a, b))

        out = filter_eval_shape(lambda x: tuple(Pair(x, 1)), STRUCT)
        assert out == (STRUCT, 1)

    def test_leaves_that_are_arrays_inside_of_containers_are_structs(self):
        model = {"layers": [(STRUCT, jnp.tanh), (STRUCT, None)]}
        out = filter_eval_shape(lambda m: m, model)
        assert out == model

    def test_it_is_checked_like_the_function(self):
        def f(x: Float[Array, "a"], y: Float[Array, "a"]) -> Float[Array, "a"]:
            return x + y[:1]

        with pytest.raises(ShapeError):
            filter_eval_shape(f, STRUCT, jax.ShapeDtypeStruct((4,), jnp.float32))


# Equal calls in a loop ------------------------------------------------------------------------------------

SIZES = {"n": 2}
runs: list[int] = []


def helper(x):
    return jnp.tile(x, SIZES["n"])


def layer(x):
    runs.append(1)
    return jnp.tanh(helper(x))[: len(x)]


def keep(x):
    runs.append(1)
    return x[0] < 0


def step(carry, x):
    runs.append(1)
    return carry + x, x


LOOPED = {
    "eval_shape": (filter_eval_shape, jax.eval_shape),
    "make_jaxpr": (lambda f, x: filter_make_jaxpr(f)(x), lambda f, x: jax.make_jaxpr(f)(x)),
    "closure_convert": (
        lambda f, x: tf.filter_closure_convert(f, x)(x),
        lambda f, x: jax.closure_convert(f, x)[0](x),
    ),
    "checkpoint": (lambda f, x: tf.filter_checkpoint(f)(x), lambda f, x: jax.checkpoint(f)(x)),
    "jit": (lambda f, x: tf.filter_jit(f)(x), lambda f, x: jax.jit(f)(x)),
    "while": (lambda f, x: tf.filter_while_loop(keep, f, x), lambda f, x: jax.lax.while_loop(keep, f, x)),
    "scan": (lambda f, x: tf.filter_scan(step, x, x)[0], lambda f, x: jax.lax.scan(step, x, x)[0]),
    "cond": (lambda f, x: tf.filter_cond(True, f, f, x), lambda f, x: jax.lax.cond(True, f, f, x)),
    "switch": (lambda f, x: tf.filter_switch(1, [f, f], x), lambda f, x: jax.lax.switch(1, [f, f], x)),
    "vmap": (lambda f, x: tf.filter_vmap(f)(x[None]), lambda f, x: jax.vmap(f)(x[None])),
    "vjp": (tf.filter_vjp, jax.vjp),
    "jvp": (lambda f, x: tf.filter_jvp(f, (x,), (x,)), lambda f, x: jax.jvp(f, (x,), (x,))),
    "jacobian": (lambda f, x: tf.filter_jacrev(f)(x), lambda f, x: jax.jacrev(f)(x)),
    "lambda": (
        lambda f, x: tf.filter_while_loop(lambda x: keep(x), lambda x: f(x), x),
        lambda f, x: jax.lax.while_loop(lambda x: keep(x), lambda x: f(x), x),
    ),
}


@pytest.mark.parametrize("traced", [True, False], ids=["in a trace", "eager"])
@pytest.mark.parametrize(("ours", "jaxs"), LOOPED.values(), ids=LOOPED)
def test_equal_layers_run_no_more_often_than_under_what_jax_has_for_it(ours, jaxs, traced):
    def count(call):
        def network(x):
            for _ in range(4):
                call(layer, x)
            return x

        jax.clear_caches()
        runs.clear()
        (jax.jit(network).trace if traced else network)(jnp.ones(3))
        return len(runs)

    assert count(ours) <= count(jaxs)


class Sizes:
    n = 2


def of_a_closure():
    n = 2

    def body(x):
        return jnp.tile(x, n)

    def change():
        nonlocal n
        n = 3

    return body, change


def of_a_dictionary():
    return helper, lambda: SIZES.update(n=3)


def of_a_helper():
    return (lambda x: helper(x)), lambda: SIZES.update(n=3)


def of_an_object():
    sizes = Sizes()
    return (lambda x: jnp.tile(x, sizes.n)), lambda: setattr(sizes, "n", 3)


def of_a_class():
    class Own:
        n = 2

    return (lambda x: jnp.tile(x, Own.n)), lambda: setattr(Own, "n", 3)


def of_numpy():
    n = np.array([2])
    return (lambda x: jnp.tile(x, int(n[0]))), lambda: n.fill(3)


def of_a_default():
    def body(x, n=2):
        return jnp.tile(x, n)

    return body, lambda: setattr(body, "__defaults__", (3,))


@pytest.mark.parametrize(
    "make",
    [of_a_closure, of_a_dictionary, of_a_helper, of_an_object, of_a_class, of_numpy, of_a_default],
    ids=lambda make: make.__name__,
)
def test_what_a_function_reads_is_read_anew_where_it_changes(make, monkeypatch):
    monkeypatch.setitem(SIZES, "n", 2)
    body, change = make()
    for size in (2, 3):
        assert filter_eval_shape(body, jnp.ones(3)).shape == (3 * size,)
        assert filter_make_jaxpr(body)(jnp.ones(3))[1].shape == (3 * size,)
        if make is not of_a_default:  # a conversion is for the parameters as they were
            assert tf.filter_closure_convert(body, jnp.ones(3)).out_struct.shape == (3 * size,)
        change()
