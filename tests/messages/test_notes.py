"""Notes on JAX's errors: whole texts, and that nothing else gets one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import Donate, Static, Traced, filter_custom_vjp, filter_jacfwd, filter_jit, filter_vmap
from typedfilter._reading.plan import plan_of
from typedfilter._wrapping import notes

X = jnp.ones((32, 10))
ONE = "with one compilation for each value"


def notes_of(call: Callable[[], Any]) -> list[str]:
    with pytest.raises(Exception) as caught:
        call()
    written = getattr(caught.value, "__notes__", [])
    return [text for text in written if text.startswith("typedfilter")]


@filter_jit
def loop(x: Float[Array, "b n"], n: Traced[int], name: str = "s"):
    for _ in range(n):
        x = x + 1
    return x


@filter_jit
def branch(x: Float[Array, "b n"], train: Traced[bool]):
    return x if train else -x


@filter_jit
def untyped(n, model):
    return n if n > 2 else 1


@filter_jit
def multiplied(x, y):
    return x @ y


@filter_jit
def hosted(x):
    return np.sin(x)


LEAKED: list[Any] = []


@filter_jit
def leaking(x):
    LEAKED.append(x)
    return x


@filter_jit
def using(x):
    return x + LEAKED[0]


def test_a_loop_over_a_traced_number_says_whose_decision_that_was():
    assert notes_of(lambda: loop(X, 3)) == [
        """\
typedfilter: raised by JAX in loop(), under filter_jit
  x: f32[32,10], traced (Float[Array, 'b n'])
  n: i32[], traced (Traced[int])
  name: 's', static (str)
  dimensions: b=32, n=10
  fix: `n` is traced by its annotation Traced[int]; Static[int] makes it a constant, with one compilation \
for each value
  fix: to loop up to a traced number, use filter_fori_loop; to index by one, a jax.numpy array"""
    ]


def test_a_branch_on_a_traced_flag_says_whose_decision_that_was():
    (text,) = notes_of(lambda: branch(X, True))
    assert text.splitlines()[-2:] == [
        f"  fix: `train` is traced by its annotation Traced[bool]; Static[bool] makes it a constant, {ONE}",
        "  fix: to branch on a traced value, use filter_cond or jax.numpy.where; to loop, filter_while_loop",
    ]


def test_the_cures_cure():
    def looped(x: Float[Array, "b n"], n: Static[int]):
        return loop.__wrapped__(x, n)

    def branched(x: Float[Array, "b n"], train: Static[bool]):
        return branch.__wrapped__(x, train)

    assert (filter_jit(looped)(X, 3) == X + 3).all()
    assert (filter_jit(branched)(X, False) == -X).all()
    assert untyped(3, None) == 3


def test_without_annotations_arrays_are_what_is_traced():
    model = {"w": X, "act": jnp.tanh}
    assert notes_of(lambda: untyped(jnp.array(3), model)) == [
        """\
typedfilter: raised by JAX in untyped(), under filter_jit
  n: i32[], traced
  model: a dict of 2 with 1 array, 1 static
  fix: `n` is traced since it is an array: pass a Python value, or annotate Static[int]
  fix: to branch on a traced value, use filter_cond or jax.numpy.where; to loop, filter_while_loop"""
    ]


def test_a_mismatch_that_jax_finds_shows_what_it_was_given():
    assert notes_of(lambda: multiplied(X, X)) == [
        """\
typedfilter: raised by JAX in multiplied(), under filter_jit
  x: f32[32,10], traced
  y: f32[32,10], traced"""
    ]


def test_numpy_in_a_body_is_told_of_jax_numpy():
    (text,) = notes_of(lambda: hosted(X))
    assert "compute with jax.numpy in the place of NumPy" in text


def test_a_leaked_tracer_is_told_of_what_finds_it():
    leaking(X)
    (text,) = notes_of(lambda: using(X))
    assert "typedfilter.testing.assert_no_tracer_leaks shows where" in text


def test_under_an_eager_map_the_batch_is_shown():
    def picked(x):
        return x or -x

    assert notes_of(lambda: filter_vmap(picked)(jnp.ones(3))) == [
        """\
typedfilter: raised by JAX in picked(), under filter_vmap
  x: f32[3]
  fix: to branch on a traced value, use filter_cond or jax.numpy.where; to loop, filter_while_loop"""
    ]


def test_a_forward_derivative_through_a_reverse_rule_says_what_to_write():
    @filter_custom_vjp
    def squared(x):
        return x**2

    squared.def_fwd(lambda perturbed, x: (x**2, x))
    squared.def_bwd(lambda x, g, perturbed, *args: 2 * x * g)

    def total(x):
        return squared(x).sum()

    (text,) = notes_of(lambda: filter_jacfwd(total)(jnp.ones(3)))
    assert text.splitlines()[0] == "typedfilter: raised by JAX in squared(), under filter_custom_vjp"
    assert "filter_custom_vjp has a rule for reverse mode only" in text


def test_out_of_memory_lists_what_is_not_donated():
    def step(params: Donate[Float[Array, "b n"]], x: Float[Array, "b n"]): ...

    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
    notes.note(error, plan_of(step), "filter_jit", (X, X), {})
    assert error.__notes__ == [
        """\
typedfilter: raised by JAX in step(), under filter_jit
  params: f32[32,10], traced, donated (Donate[Float[Array, 'b n']])
  x: f32[32,10], traced (Float[Array, 'b n'])
  dimensions: b=32, n=10
  fix: not donated: `x` (0.0 MiB); annotate as Donate[...] what the result takes the place of"""
    ]


@pytest.mark.parametrize("raised", [ValueError("mine"), TypeError("mine"), RuntimeError("mine")], ids=repr)
def test_an_error_of_the_users_own_gets_no_note(raised):
    def fails(x):
        raise raised

    assert notes_of(lambda: filter_jit(filter_vmap(fails))(X)) == []


def test_values_whose_repr_raises_are_shown_all_the_same():
    class Shy:
        def __repr__(self):
            raise KeyError("no")

    (text,) = notes_of(lambda: untyped(jnp.array(3), Shy()))
    assert "  model: <test_values_whose_repr_raise" in text
