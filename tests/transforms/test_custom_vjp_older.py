"""`defvjp` of `filter_custom_vjp`: rules of older code, which are not told what is differentiated."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from typedfilter import ShapeError, filter_custom_vjp, filter_jit, filter_value_and_grad, filter_vmap
from typedfilter.errors import RuleError

OLDER = (
    "filter_custom_vjp(three).defvjp() is for older code: .def_fwd and .def_bwd set rules that know what is "
    "differentiated, and so need not compute what is zero"
)


def three(pair: Any, name: str = "three", *, add: int = 0) -> dict[str, Any]:
    x, y = pair
    return {"first": x + 1, "second": y * y, "count": jnp.int32(3), "name": name}


def forward(pair: Any, name: str = "three", *, add: int = 0) -> Any:
    return three(pair, name), (pair, "any object")


def with_rules(seen: list[Any]) -> Any:
    def backward(residuals: Any, grad_out: Any, pair: Any, name: str, *, add: int) -> Any:
        (_, y), note = residuals
        seen.append((dict(grad_out), note, name, add))
        return 10 * grad_out["first"] + add, 100 * grad_out["second"] * y

    function = filter_custom_vjp(three)
    with pytest.warns(DeprecationWarning, match=f"^{re.escape(OLDER)}$") as caught:
        function.defvjp(forward, backward)
    assert [one.filename for one in caught] == [__file__]
    return function


def test_rules_that_are_set_at_once_get_arrays_for_zeros_and_whatever_else_the_function_gets():
    seen: list[Any] = []
    function = with_rules(seen)

    def loss(pair: Any) -> Any:
        return function(pair, "a name", add=5)["first"] * 2

    value, (gx, gy) = filter_value_and_grad(loss)((jnp.float32(1), jnp.float32(3)))
    assert (float(value), float(gx), float(gy)) == (4.0, 25.0, 0.0)
    [(grad_out, note, name, add)] = seen
    assert (note, name, add) == ("any object", "a name", 5)
    assert (float(grad_out["first"]), float(grad_out["second"])) == (2.0, 0.0)
    assert (grad_out["second"].dtype, grad_out["count"], grad_out["name"]) == (jnp.float32, None, None)


def test_rules_that_are_set_at_once_work_compiled_and_mapped():
    function = with_rules([])

    @filter_jit
    @filter_vmap
    def gradient(x: Any, y: Any) -> Any:
        return jax.grad(lambda pair: function(pair, "a name", add=0)["second"])((x, y))

    gx, gy = gradient(jnp.arange(2.0), jnp.arange(2.0) + 1)
    assert (gx.tolist(), gy.tolist()) == ([0.0, 0.0], [100.0, 200.0])


def test_a_forward_rule_that_is_set_at_once_and_returns_no_pair_is_named():
    function = filter_custom_vjp(lambda x: x)
    with pytest.warns(DeprecationWarning, match="is for older code"):
        function.defvjp(lambda x: x, lambda residuals, grad, x: grad)
    with pytest.raises(ShapeError, match=r"def_fwd\(\): the return value is not a pair"):
        jax.grad(function)(1.0)


def test_a_rule_that_is_set_at_once_and_not_callable_is_named():
    function: Any = filter_custom_vjp(three)
    with (
        pytest.warns(DeprecationWarning, match="is for older code"),
        pytest.raises(RuleError, match="gets a backward rule that is not callable"),
    ):
        function.defvjp(forward, None)
