"""The whole text of every error that the derivatives raise."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Float, Int
from refusals import lines

from typedfilter import (
    Diff,
    NoDiff,
    TypedFilterError,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_vjp,
)
from typedfilter.errors import AnnotationError, NoRuleError, PytreeError, RuleError, ShapeError

ONES = jnp.ones(2)


def text(kind: type[TypedFilterError], call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(kind) as e:
        call(*args, **kwargs)
    assert type(e.value) is kind
    return str(e.value)


def f(x: Any, y: Any = None) -> Any:
    return x


def backward(*_: Any) -> None:
    """A backward rule that is not called."""


# filter_jvp ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("primals", "tangents", "name", "found"),
    [
        (2.0, (1.0,), "primals", "float 2.0"),
        (ONES, (1.0,), "primals", "an array f32[2]"),
        ((2.0,), 1.0, "tangents", "float 1.0"),
        ((2.0,), {"x": 1.0}, "tangents", "dict {'x': 1.0}"),
        ((2.0,), None, "tangents", "NoneType None"),
    ],
)
def test_primals_and_tangents_that_are_no_sequences(primals, tangents, name, found):
    assert text(ShapeError, filter_jvp, f, primals, tangents) == lines(
        f"f(): argument `{name}` is not a tuple or list, with one entry for each argument",
        "expected: a tuple or list",
        f"found: {found}",
        f"fix: write {name}=(...,), also where there is one argument",
    )


def test_primals_and_tangents_of_different_length():
    assert text(ShapeError, filter_jvp, f, (1.0, 2.0), (1.0,)) == lines(
        "f(): argument `tangents` has 1 entry, but `primals` has 2 entries",
        "expected: one entry for each argument, 2 in all",
        "found: 1 entry",
        "fix: give one tangent for each primal, None where it is zero",
    )


def test_tangents_of_another_structure():
    assert text(PytreeError, filter_jvp, f, (1.0, {"a": [1.0, 2.0]}), (None, {"a": [1.0]})) == lines(
        "f(): argument `tangents[1]['a']` does not match `primals[1]['a']`",
        "expected: list of 2, or None if the tangent is zero",
        "found: list of 1",
        "fix: give it the structure of primals, with None where there is no tangent",
    )
    assert text(PytreeError, filter_jvp, f, ({"a": 1.0},), ({"b": 1.0},)) == lines(
        "f(): argument `tangents[0]` does not match `primals[0]`",
        "expected: dict with ['a'], or None if the tangent is zero",
        "found: dict with ['b']",
        "fix: give it the structure of primals, with None where there is no tangent",
    )
    assert text(PytreeError, filter_jvp, f, ((None, 1.0),), ((1.0, 1.0),)) == lines(
        "f(): argument `tangents[0][0]` does not match `primals[0][0]`",
        "expected: None",
        "found: float 1.0",
        "fix: give it the structure of primals, with None where there is no tangent",
    )


@pytest.mark.parametrize(
    ("primal", "tangent", "expected", "found"),
    [
        (ONES, jnp.ones(3), "an array f32[2]", "an array f32[3]"),
        (ONES, 1.0, "an array f32[2]", "float 1.0"),
        (ONES, jnp.arange(2), "an array f32[2]", "an array i32[2]"),
        (ONES, ONES.astype(jnp.bfloat16), "an array f32[2]", "an array bf16[2]"),
        (ONES, (1.0, 1.0), "an array f32[2]", "tuple of 2"),
        (ONES, "a", "an array f32[2]", "str 'a'"),
        (2.0, 1, "an array f32[]", "int 1"),
        (2.0, 1j, "an array f32[]", "complex 1j"),
        (2j, np.ones(()), "an array c64[]", "an array f32[]"),
    ],
)
def test_tangents_that_do_not_fit_their_primal(primal, tangent, expected, found):
    assert text(ShapeError, filter_jvp, f, ({"w": primal},), ({"w": tangent},)) == lines(
        f"f(): argument `tangents[0]['w']` does not fit `primals[0]['w']`: it is {found}",
        f"expected: {expected}, or None if the tangent is zero",
        f"found: {found}",
        "fix: give the tangent the shape and dtype of what it belongs to",
    )


@pytest.mark.parametrize(
    ("primal", "shown"), [(2, "int 2"), ("a", "str 'a'"), (jnp.arange(2), "an array i32[2]")]
)
def test_tangents_of_what_is_not_differentiated(primal, shown):
    assert text(ShapeError, filter_jvp, f, ([primal],), ([1.0],)) == lines(
        "f(): argument `tangents[0][0]` is a tangent for what is not differentiated: "
        f"`primals[0][0]` is {shown}",
        "expected: None",
        "found: float 1.0",
        "fix: put None in its place; only floating-point and complex arrays have a tangent",
    )


def test_tangents_against_the_annotation():
    def annotated(x: float, y: NoDiff[Float[Array, ""]]) -> Any:
        return x * y

    for primals, tangents, at in (((2.0, 3.0), (1.0, None), 0), ((2.0, 3.0), (None, 1.0), 1)):
        assert text(ShapeError, filter_jvp, annotated, primals, tangents) == lines(
            f"annotated(): argument `tangents[{at}]` is a tangent for what is not differentiated: "
            f"`primals[{at}]` is annotated as never differentiated",
            "expected: None",
            "found: float 1.0",
            "fix: put None in its place; only floating-point and complex arrays have a tangent",
        )


# filter_vjp ---------------------------------------------------------------------------------------------


def test_cotangents_that_do_not_match_the_result():
    _, pull = filter_vjp(lambda x: {"y": (x, 3), "n": jnp.arange(2)}, ONES)
    assert text(PytreeError, pull, {"y": (ONES,), "n": None}) == lines(
        "<lambda>(): argument `cotangent['y']` does not match `out['y']`",
        "expected: tuple of 2, or None if the cotangent is zero",
        "found: tuple of 1",
        "fix: give it the structure of out, with None where there is no cotangent",
    )
    assert text(ShapeError, pull, {"y": (jnp.ones(3), None), "n": None}) == lines(
        "<lambda>(): argument `cotangent['y'][0]` does not fit `out['y'][0]`: it is an array f32[3]",
        "expected: an array f32[2], or None if the cotangent is zero",
        "found: an array f32[3]",
        "fix: give the cotangent the shape and dtype of what it belongs to",
    )
    assert text(ShapeError, pull, {"y": (ONES, 1.0), "n": None}) == lines(
        "<lambda>(): argument `cotangent['y'][1]` is a cotangent for what is not differentiated: "
        "`out['y'][1]` is of type int",
        "expected: None",
        "found: float 1.0",
        "fix: put None in its place; only floating-point and complex arrays have a cotangent",
    )


def test_has_aux_without_a_pair():
    assert text(ShapeError, filter_vjp, f, ONES, has_aux=True) == lines(
        "f(): the return value is not a pair, which filter_vjp(has_aux=True) needs",
        "expected: (value, auxiliary data)",
        "found: an array f32[2]",
        "fix: return such a pair, or leave has_aux out",
    )
    for transform in (filter_jacfwd, filter_jacrev, filter_hessian):
        assert text(ShapeError, transform(f, has_aux=True), ONES) == lines(
            f"f(): the return value is not a pair, which {transform.__name__}(has_aux=True) needs",
            "expected: (value, auxiliary data)",
            "found: an array f32[2]",
            "fix: return such a pair, or leave has_aux out",
        )


# Jacobians ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [filter_jacfwd, filter_jacrev, filter_hessian])
def test_jacobians_of_what_they_can_not_differentiate(transform):
    name = transform.__name__
    assert text(ShapeError, transform(f), 3) == lines(
        "f(): argument `x` can't be differentiated: it is int 3",
        "expected: an array of a floating-point or complex dtype, or a pytree with one",
        "found: int 3",
        "fix: pass a floating-point array (jax.numpy.asarray), or mark another argument as Diff[...]",
    )
    assert text(ShapeError, transform(f), {"w": 1j * ONES}) == lines(
        f"f(): argument `x['w']` can't be differentiated by {name}: it is an array c64[2]",
        "expected: a real array",
        "found: an array c64[2]",
        "fix: pass real and imaginary parts; or use filter_jvp, which takes complex tangents",
    )
    assert text(ShapeError, transform(f)) == lines(
        "f(): argument `x` is missing, and is what would be differentiated",
        f"fix: pass it; {name} differentiates its first argument, or those marked Diff[...]",
    )


@pytest.mark.parametrize("transform", [filter_jacrev, filter_hessian])
def test_reverse_mode_of_a_complex_result(transform):
    assert text(ShapeError, transform(lambda x: {"y": x * 1j}), ONES) == lines(
        f"<lambda>(): the return value can't be differentiated by {transform.__name__}: "
        "at ['y'] it holds an array c64[2]",
        "expected: real arrays",
        "found: an array c64[2]",
        "fix: return real and imaginary parts; or use filter_vjp, which takes complex cotangents",
    )
    assert text(ShapeError, transform(lambda x: x * 1j), ONES).startswith(
        f"<lambda>(): the return value can't be differentiated by {transform.__name__}: it is an array c64[2]"
    )


@pytest.mark.parametrize(
    "transform", [filter_jacfwd, filter_jacrev, filter_hessian, filter_custom_vjp], ids=lambda t: t.__name__
)
def test_annotations_that_leave_nothing_to_differentiate(transform):
    def counts(n: Int[Array, "n"]) -> Float[Array, "n"]:
        return n * 1.0

    assert text(AnnotationError, transform, counts) == lines(
        "counts(): argument `n` is annotated Int[Array, 'n'] and can't be differentiated, and "
        f"{transform.__name__} has nothing else",
        "fix: put a floating-point argument first, or mark one as Diff[...]",
    )


# Rules --------------------------------------------------------------------------------------------------


def with_jvp(fn: Any, rule: Any) -> Any:
    fn.__name__ = fn.__qualname__ = "f"
    ruled = filter_custom_jvp(fn)
    ruled.def_jvp(rule)
    return ruled


def with_vjp(fn: Any, fwd: Any, bwd: Any) -> Any:
    fn.__name__ = fn.__qualname__ = "f"
    ruled = filter_custom_vjp(fn)
    ruled.def_fwd(fwd)
    ruled.def_bwd(bwd)
    return ruled


def test_missing_rules_are_named():
    jvp, vjp = filter_custom_jvp(f), filter_custom_vjp(f)
    with pytest.raises(RuntimeError) as e:
        jvp(1.0)
    assert str(e.value) == lines(
        "f(): has no JVP rule yet",
        "fix: write @f.def_jvp above the rule, before the first call",
    )
    with pytest.raises(RuntimeError) as e:
        vjp(1.0)
    assert str(e.value) == lines(
        "f(): has no forward rule and no backward rule yet",
        "fix: write @f.def_fwd and @f.def_bwd above the rules, before the first call",
    )
    vjp.def_bwd(backward)
    with pytest.raises(RuntimeError) as e:
        vjp(1.0)
    assert str(e.value) == lines(
        "f(): has no forward rule yet",
        "fix: write @f.def_fwd above the rule, before the first call",
    )


def test_a_rule_that_is_not_callable():
    with pytest.raises(RuntimeError) as e:
        filter_custom_vjp(f).def_fwd(3)
    assert str(e.value) == lines(
        "f(): gets a forward rule that is not callable",
        "expected: a function",
        "found: 3",
        "fix: write @f.def_fwd above the rule",
    )


def test_diff_on_another_argument_than_the_first_of_a_vjp():
    def two(x: Float[Array, ""], y: Diff[Float[Array, ""]]) -> Float[Array, ""]:
        return x * y

    assert text(AnnotationError, filter_custom_vjp, two) == lines(
        "two(): argument `y` is marked Diff, but filter_custom_vjp has a derivative for the first argument "
        "only",
        "fix: make it the first parameter; pack several into one tuple",
    )


@pytest.mark.parametrize("jit", [lambda g: g, filter_jit])
def test_a_differentiated_keyword_argument_of_a_jvp(jit):
    ruled = with_jvp(lambda x, *, by: x * by["w"], lambda primals, tangents, by: None)
    assert text(NoRuleError, jax.grad(jit(lambda w: ruled(1.0, by={"w": w}))), jnp.array(2.0)) == lines(
        "f(): argument `by['w']` is differentiated, but filter_custom_jvp has no derivative with respect to "
        "it",
        "expected: an array that nothing is differentiated with respect to",
        "found: a derivative with respect to an array f32[]",
        "fix: pass it by position, or through jax.lax.stop_gradient",
    )


@pytest.mark.parametrize("jit", [lambda g: g, filter_jit])
def test_a_differentiated_argument_of_a_vjp_that_is_not_the_first(jit):
    ruled = with_vjp(lambda x, *ys: x * ys[1], lambda p, x, *ys: None, lambda r, g, p, x, *ys: None)
    assert text(NoRuleError, jax.grad(jit(lambda y: ruled(1.0, 2.0, y))), jnp.array(2.0)) == lines(
        "f(): argument `ys[1]` is differentiated, but filter_custom_vjp has no derivative with respect to it",
        "expected: an array that nothing is differentiated with respect to",
        "found: a derivative with respect to an array f32[]",
        "fix: pack it into the first argument, as a tuple; or pass it through jax.lax.stop_gradient",
    )


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_a_function_that_its_own_program_has_outlived(kind):
    def program() -> Any:
        def f(x: Any, y: NoDiff[Array]) -> Any:
            return x * y

        ruled: Any
        if kind == "jvp":
            ruled = filter_custom_jvp(f)
            ruled.def_jvp(lambda primals, tangents: (primals[0] * primals[1], tangents[0] * primals[1]))
        else:
            ruled = filter_custom_vjp(f)
            ruled.def_fwd(lambda perturbed, x, y: (x * y, y))
            ruled.def_bwd(lambda residuals, grad, perturbed, x, y: grad * residuals)
        return jax.make_jaxpr(filter_jit(ruled))(2.0, 3.0)

    outlives = jaxpr_as_fun(program())
    gc.collect()
    assert outlives(2.0, 3.0)[0] == 6.0
    assert jax.grad(lambda x: outlives(x, 3.0)[0])(2.0) == 3.0
    assert text(RuleError, jax.grad(lambda y: outlives(2.0, y)[0]), 3.0) == lines(
        "f(): is gone, and a derivative of what it was compiled into has to run it",
        "fix: keep a reference to it for as long as that is differentiated",
    )


def test_rules_that_return_no_pair():
    jvp = with_jvp(lambda x: x, lambda primals, tangents: tangents[0])
    assert text(ShapeError, filter_jvp, jvp, (ONES,), (ONES,)) == lines(
        "f.def_jvp(): the return value is not a pair, which a JVP rule must return",
        "expected: (primal_out, tangent_out)",
        "found: an array f32[2]",
        "fix: return the result and its tangent",
    )
    vjp = with_vjp(lambda x: x, lambda p, x: 3, lambda r, g, p, x: g)
    assert text(ShapeError, filter_vjp, vjp, ONES) == lines(
        "f.def_fwd(): the return value is not a pair, which a forward rule must return",
        "expected: (out, residuals)",
        "found: int 3",
        "fix: return the result and what the backward rule needs, None if that is nothing",
    )


@pytest.mark.parametrize("jit", [lambda g: g, filter_jit])
def test_rules_that_return_another_static_result(jit):
    jvp = with_jvp(lambda x: {"y": x, "s": ("a",)}, lambda p, t: ({"y": p[0], "s": ("b",)}, None))
    vjp = with_vjp(lambda x: {"y": x, "s": ("a",)}, lambda p, x: ({"y": x, "s": ("b",)}, None), backward)
    for name, call in (
        ("def_jvp", lambda: filter_jvp(jit(jvp), (ONES,), (ONES,))),
        ("def_fwd", lambda: filter_vjp(jit(vjp), ONES)),
    ):
        assert text(ShapeError, call) == lines(
            f"f.{name}(): the return value at [0]['s'][0] is str 'b', where f returns str 'a'",
            "expected: str 'a'",
            "found: str 'b'",
            "fix: return from the rule what the function itself returns",
        )


def test_rules_that_return_another_structure_or_shape():
    for value, at, expected, found in (
        ({"y": ONES, "s": "a"}, "[0]", "tuple of 2", "dict of 2"),
        ((ONES, "a"), "[0][0]", "an array f32[]", "an array f32[2]"),
        (("a", ONES), "[0][0]", "an array f32[]", "str 'a'"),
        ((1j, "a"), "[0][0]", "an array f32[]", "complex 1j"),
    ):
        vjp = with_vjp(lambda x: (x.sum(), "a"), lambda p, x, value=value: (value, None), backward)
        assert text(ShapeError, filter_vjp, vjp, ONES) == lines(
            f"f.def_fwd(): the return value at {at} is {found}, where f returns {expected}",
            f"expected: {expected}",
            f"found: {found}",
            "fix: return from the rule what the function itself returns",
        )


@pytest.mark.parametrize(
    ("tangent", "kind", "message"),
    [
        (
            {"y": jnp.ones(3), "s": None},
            ShapeError,
            lines(
                "f.def_jvp(): the return value at [1]['y'] does not fit `primal_out['y']`: it is an array "
                "f32[3]",
                "expected: an array f32[2], or None if the tangent is zero",
                "found: an array f32[3]",
                "fix: give the tangent the shape and dtype of what it belongs to",
            ),
        ),
        (
            {"y": ONES, "s": 1.0},
            ShapeError,
            lines(
                "f.def_jvp(): the return value at [1]['s'] is a tangent for what is not differentiated: "
                "`primal_out['s']` is str 'a'",
                "expected: None",
                "found: float 1.0",
                "fix: put None in its place; only floating-point and complex arrays have a tangent",
            ),
        ),
        (
            (ONES, None),
            PytreeError,
            lines(
                "f.def_jvp(): the return value at [1] does not match `primal_out`",
                "expected: dict with ['s'], ['y'], or None if the tangent is zero",
                "found: tuple of 2",
                "fix: give it the structure of primal_out, with None where there is no tangent",
            ),
        ),
    ],
)
def test_tangents_that_a_rule_returns(tangent, kind, message):
    jvp = with_jvp(lambda x: {"y": x, "s": "a"}, lambda p, t: ({"y": p[0], "s": "a"}, tangent))
    assert text(kind, filter_jvp, jvp, (ONES,), (ONES,)) == message
    assert text(kind, filter_jvp, filter_jit(jvp), (ONES,), (ONES,)) == message


@pytest.mark.parametrize(
    ("gradient", "kind", "message"),
    [
        (
            {"w": jnp.ones(3), "s": None},
            ShapeError,
            lines(
                "f.def_bwd(): the return value at ['w'] does not fit `x['w']`: it is an array f32[3]",
                "expected: an array f32[2], or None if the gradient is zero",
                "found: an array f32[3]",
                "fix: give the gradient the shape and dtype of what it belongs to",
            ),
        ),
        (
            {"w": None, "s": ONES},
            ShapeError,
            lines(
                "f.def_bwd(): the return value at ['s'] is a gradient for what is not differentiated: "
                "`x['s']` is str 'a'",
                "expected: None",
                "found: an array f32[2]",
                "fix: put None in its place; only floating-point and complex arrays have a gradient",
            ),
        ),
        (
            [ONES],
            PytreeError,
            lines(
                "f.def_bwd(): the return value does not match `x`",
                "expected: dict with ['s'], ['w'], or None if the gradient is zero",
                "found: list of 1",
                "fix: give it the structure of x, with None where there is no gradient",
            ),
        ),
    ],
)
def test_gradients_that_a_rule_returns(gradient, kind, message):
    vjp = with_vjp(lambda x: x["w"].sum(), lambda p, x: (x["w"].sum(), None), lambda r, g, p, x: gradient)
    argument = {"w": ONES, "s": "a"}
    assert text(kind, filter_grad(vjp), argument) == message
    assert text(kind, filter_jit(filter_grad(vjp)), argument) == message
