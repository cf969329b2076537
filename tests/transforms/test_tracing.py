"""`filter_make_jaxpr` and `filter_eval_shape`: what a function would do, with anything in and out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Float

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
