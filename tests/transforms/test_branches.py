"""`filter_cond` and `filter_switch`: operands and results of any kind, one program for each choice."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from typedfilter import Static, filter_cond, filter_grad, filter_jit, filter_switch, pytree_dataclass


@pytree_dataclass
class Scale:
    """A callable with a parameter."""

    w: Float[Array, ""]
    name: str = "scale"

    def __call__(self, x: Any, mode: str) -> Any:
        return {"y": self.w * x, "mode": mode, "n": 1}


def shift(x: Any, mode: str) -> Any:
    return {"y": x + 1.0, "mode": mode, "n": 2}


@pytest.mark.parametrize("pred", [True, False, 1, 0.0, jnp.asarray(True), np.False_])
def test_the_branch_that_is_chosen_returns_what_is_static_as_it_is(pred):
    out = filter_cond(pred, Scale(jnp.asarray(3.0)), shift, 2.0, "m")
    assert (float(out["y"]), out["mode"], int(out["n"])) == ((6.0, "m", 1) if pred else (3.0, "m", 2))


def test_arrays_of_a_branch_are_inputs_and_have_gradients():
    def run(scale: Scale, pred: Any) -> Any:
        return filter_cond(pred, scale, shift, 2.0, "m")["y"]

    assert float(filter_grad(run)(Scale(jnp.asarray(3.0)), True).w) == 2.0
    assert float(filter_grad(run)(Scale(jnp.asarray(3.0)), jnp.asarray(False)).w) == 0.0
    mapped = jax.vmap(lambda p: run(Scale(jnp.asarray(3.0)), p))(jnp.array([True, False]))
    np.testing.assert_array_equal(mapped, [6.0, 3.0])


def test_an_index_outside_of_the_branches_is_the_nearest_one():
    branches = [lambda x: x, lambda x: 2 * x, lambda x: 3 * x]
    assert [float(filter_switch(i, branches, 1.0)) for i in (-5, 0, 1, 2, 7)] == [1, 1, 2, 3, 3]
    assert [float(filter_jit(filter_switch)(jnp.int32(i), branches, 1.0)) for i in (1, 9)] == [2, 3]
    assert float(filter_switch(0, branches[1:2], 1.0)) == 2.0


def test_branches_that_are_called_again_are_not_traced_again():
    traces: list[str] = []

    def left(x: Any, s: Any) -> Any:
        traces.append("left")
        return x

    def right(x: Any, s: Any) -> Any:
        traces.append("right")
        return -x

    for pred in (True, False, True):
        assert float(filter_cond(pred, left, right, 1.0, "s")) == (1 if pred else -1)
        assert float(filter_switch(int(pred), [right, left], 1.0, "s")) == (1 if pred else -1)
    assert traces == ["left", "right", "right", "left"]
    filter_cond(True, left, right, 1.0, "t")
    filter_cond(True, right, left, 1.0, "s")
    assert traces[4:] == ["left", "right", "right", "left"]


def test_without_a_trace_only_the_branch_that_is_chosen_runs():
    def never(x: Any) -> Any:
        raise AssertionError("is called")

    with jax.disable_jit():
        assert filter_cond(True, lambda x: x, never, "static") == "static"
        assert filter_switch(1, [never, lambda x: x], "static") == "static"


def test_a_static_operand_is_a_number_where_a_branch_says_so():
    def power(x: Any, n: Static[int]) -> Any:
        assert type(n) is int
        return x**n

    assert float(filter_cond(True, power, lambda x, n: x * n, 3.0, 2)) == 9.0
    assert float(filter_cond(False, lambda x, n: x * n, power, 3.0, 3)) == 27.0


def test_results_without_arrays_and_operands_without_arrays():
    assert filter_cond(True, lambda: None, lambda: None) is None
    assert filter_cond(True, lambda s: ("a", s), lambda s: ("a", s), "b") == ("a", "b")


def test_a_branch_is_freed_with_its_programs():
    def make() -> Any:
        return lambda x: x * 2.0

    one, two = make(), make()
    filter_cond(True, one, two, 1.0)
    refs = [weakref.ref(one), weakref.ref(two)]
    del two
    gc.collect()
    assert refs[1]() is None  # the programs of a branch do not keep another one alive
    del one
    gc.collect()
    assert refs[0]() is None
