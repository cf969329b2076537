"""Arrays where a type is annotated whose values are static, such as `float`: no transform loses them.

The right values are those of the same function without annotations.
"""

from __future__ import annotations

import warnings
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import PyTree

from typedfilter import (
    AnnotationError,
    NoDiff,
    Static,
    StaticArgumentError,
    filter_checkpoint,
    filter_closure_convert,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_eval_shape,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_make_jaxpr,
    filter_pmap,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
)
from typedfilter.errors import CheckWarning

T, X = jnp.asarray(2.0), jnp.asarray(3.0)
XS = jnp.arange(3.0)


def plain(t, x):
    return t**2 * x


def number(t: float, x: Array) -> Array:
    return t**2 * x


def perhaps(t: float | None, x: Array) -> Array:
    return plain(t, x)


def whole(t: complex, x: Array) -> Array:
    return plain(t, x)


FUNCTIONS = [number, perhaps, whole]


def equal(found, expected):
    jax.tree.map(np.testing.assert_allclose, found, expected)


# ------------------------------------------------------------------------------------- derivatives and traces


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("t", [T, np.float32(2.0), np.asarray(2.0, np.float32)])
def test_an_array_is_differentiated_and_a_python_number_is_not(f, t):
    _, pull = filter_vjp(f, t, X)
    equal(pull(jnp.asarray(1.0)), (12.0, 4.0))
    equal(filter_jvp(f, (t, X), (jnp.asarray(1.0), None)), (12.0, 12.0))
    equal(filter_linearize(f, t, X)[1](jnp.asarray(1.0), None), 12.0)
    assert filter_vjp(f, 2.0, X)[1](jnp.asarray(1.0))[0] is None


def test_what_is_being_traced_is_differentiated_below_a_compiled_function():
    equal(filter_jit(lambda t: filter_vjp(number, t, X)[1](jnp.asarray(1.0)))(T), (12.0, 4.0))


def test_markers_decide_before_types_do():
    def frozen(t: NoDiff[float], x: Array) -> Array:
        return plain(t, x)

    def static(t: Static[float], x: Array) -> Array:
        return plain(t, x)

    for f in (frozen, static):
        assert filter_vjp(f, T, X)[1](jnp.asarray(1.0))[0] is None


@pytest.mark.parametrize("f", FUNCTIONS)
def test_rules_of_ones_own_are_asked_for_its_derivative(f):
    ruled = filter_custom_jvp(f)

    @ruled.def_jvp
    def _(primals, tangents):
        (t, x), (dt, _) = primals, tangents
        return plain(t, x), 10 * dt

    assert float(jax.jvp(lambda t: ruled(t, X), (T,), (jnp.asarray(1.0),))[1]) == 10.0


@pytest.mark.parametrize("f", FUNCTIONS)
def test_it_is_an_input_wherever_arrays_are(f):
    equal(filter_closure_convert(f, T, X)(jnp.asarray(5.0), X), 75.0)
    assert len(filter_make_jaxpr(f)(T, X)[0].in_avals) == 2
    assert filter_eval_shape(f, jax.ShapeDtypeStruct((), jnp.float32), X).shape == ()
    equal(jax.grad(filter_checkpoint(f))(T, X), 12.0)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_an_array_of_numbers_is_mapped_and_one_number_is_broadcast(f):
    for mapped in (filter_vmap(f), filter_jit(filter_vmap(f))):
        equal(mapped(XS, XS), plain(XS, XS))
    for t in (2.0, T):
        equal(filter_vmap(f)(t, XS), plain(2.0, XS))
    equal(filter_pmap(f)(XS[:1], XS[:1]), plain(XS[:1], XS[:1]))


# ---------------------------------------------------------------------------- what checks refuse, and without


def text_of(error, call):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


REFUSED = """\
number(): argument `t` is static (annotated float) but is an array
  expected: a hashable value
  found: an array f32[]
  fix: annotate it as an array (Float[Array, ""]) or Traced[...], or pass a Python value: t.item()"""
NOTHING = """\
number(): argument `t` is annotated float and can't be differentiated, and {} has nothing else
  fix: put a floating-point argument first, or mark one as Diff[...]"""


def named(f=number):
    """A function of its own: what was told of another is not told of it."""

    def number(t: float, x: Array) -> Array:
        return f(t, x)

    number.__qualname__ = "number"
    return number


def test_a_compiled_function_refuses_it_at_every_call():
    jitted = filter_jit(named())
    for _ in range(2):
        assert text_of(StaticArgumentError, lambda: jitted(T, X)) == REFUSED
    assert text_of(StaticArgumentError, lambda: jitted.lower(T, X)) == REFUSED
    equal(jitted(2.0, X), 12.0)


GRADIENTS = {
    "filter_grad": (filter_grad, 12.0),
    "filter_value_and_grad": (filter_value_and_grad, (12.0, 12.0)),
    "filter_jacfwd": (filter_jacfwd, 12.0),
    "filter_jacrev": (filter_jacrev, 12.0),
    "filter_hessian": (filter_hessian, 6.0),
}


@pytest.fixture(params=["option", "variable"])
def switched(request, monkeypatch):
    """Sets the mode of checks: by option, or by environment."""

    def switch(mode):
        if request.param == "option":
            return {"check": {"warn": "warn", "off": False}[mode]}
        monkeypatch.setenv("TYPEDFILTER_CHECK", mode)
        return {}

    return switch


def told(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = call()
    assert all(one.category is CheckWarning for one in found)
    return result, [str(one.message) for one in found]


@pytest.mark.parametrize(("mode", "expected"), [("warn", [REFUSED]), ("off", [])])
def test_a_compiled_function_traces_it_where_that_is_told_or_off(mode, expected, switched):
    count = 0

    def counted(t, x):
        nonlocal count
        count += 1
        return plain(t, x)

    jitted = filter_jit(named(counted), **switched(mode))
    result, found = told(lambda: [jitted(t, X) for t in (T, 2 * T, 3 * T)])
    equal(result, [12.0, 48.0, 108.0])
    assert (found, count) == (expected, 1)
    equal(jitted.lower(T, X).compile()(3 * T, X), 108.0)
    equal(jax.jit(jitted)(T, X), 12.0)
    equal(jax.grad(jitted)(T, X), 12.0)


@pytest.mark.parametrize("transform", GRADIENTS)
@pytest.mark.parametrize("mode", ["warn", "off"])
def test_the_first_argument_is_differentiated_where_that_is_told_or_off(transform, mode, switched):
    make, expected = GRADIENTS[transform]
    assert text_of(AnnotationError, lambda: make(named())) == NOTHING.format(transform)
    options = switched(mode)
    derivative, found = told(lambda: make(named(), **options))
    assert found == ([NOTHING.format(transform)] if mode == "warn" else [])
    equal(derivative(T, X), expected)


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_backward_rules_are_asked_for_it_where_that_is_told_or_off(mode, switched):
    assert text_of(AnnotationError, lambda: filter_custom_vjp(named())) == NOTHING.format("filter_custom_vjp")
    options = switched(mode)
    ruled, _ = told(lambda: filter_custom_vjp(named(), **options))
    ruled.def_fwd(lambda perturbed, t, x: (plain(t, x), None))
    ruled.def_bwd(lambda residuals, grad, perturbed, t, x: 10 * grad)
    equal(jax.grad(lambda t: ruled(t, X))(T), 10.0)


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_a_function_of_numbers_alone_is_mapped_where_that_is_told_or_off(mode, switched):
    def square(t: float) -> float:
        return t * t

    assert "has no argument to map" in text_of(AnnotationError, lambda: filter_vmap(square))
    options = switched(mode)
    equal(told(lambda: filter_vmap(square, **options)(XS))[0], XS * XS)


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_what_markers_say_is_refused_in_every_mode(mode, switched):
    options = switched(mode)

    def static(t: Static[float], x: Array) -> Array:
        return plain(t, x)

    def frozen(t: NoDiff[Array], x: Array) -> Array:
        return plain(t, x)

    assert "is static (annotated Static[float])" in text_of(
        StaticArgumentError, lambda: filter_jit(static, **options)(T, X)
    )
    assert "is annotated NoDiff[Array]" in text_of(AnnotationError, lambda: filter_grad(frozen, **options))


@pytest.mark.parametrize("mode", ["warn", "off"])
def test_what_is_no_array_travels_where_arrays_are_annotated_if_that_is_told_or_off(mode, switched):
    def apply(how: Literal["sum"], tree: PyTree[Array], act: Array) -> Array:
        return act(tree["x"].sum() if tree["how"] is how else X)

    options = switched(mode)
    tree = {"x": XS, "how": "sum"}
    jitted = filter_jit(apply, **options)
    equal(told(lambda: jitted("sum", tree, jnp.sin))[0], jnp.sin(3.0))
    equal(told(lambda: jitted.lower("sum", tree, jnp.sin).compile()("sum", tree, jnp.sin))[0], jnp.sin(3.0))
    equal(told(lambda: filter_jit(apply, **options)(XS, tree, jnp.sin))[0], jnp.sin(3.0))
