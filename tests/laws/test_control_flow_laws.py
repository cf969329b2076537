"""Laws of loops and branches: they are `jax.lax` on hand-partitioned state, and a loop in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from typedfilter import (
    combine,
    filter_associative_scan,
    filter_cond,
    filter_fori_loop,
    filter_jit,
    filter_map,
    filter_scan,
    filter_switch,
    filter_while_loop,
    is_array_like,
    partition,
)

few = settings(max_examples=min(12, settings().max_examples))  # most examples compile

numbers = st.sampled_from([0.5, 2.0, jnp.asarray(0.25), np.float32(1.5), jnp.array([1.0, -2.0])])
statics = st.sampled_from(["a", None, jnp.tanh, ("b", frozenset({1})), b"x"])
carries = st.recursive(
    numbers | statics,
    lambda inner: st.lists(inner, max_size=2) | st.fixed_dictionaries({"k": inner}),
    max_leaves=3,
).map(lambda tree: {"state": tree, "sum": 0.0})
lengths = st.integers(1, 4)


def halve(leaf: Any) -> Any:
    return leaf * 0.5 + 0.25 if is_array_like(leaf) else leaf


def step(carry: Any, x: Any) -> Any:
    """Changes what is an array or a number, and hands on everything else."""
    state = jax.tree.map(halve, carry["state"])
    total = carry["sum"] + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(state) if is_array_like(leaf)) * x
    return {"state": state, "sum": total}, {"total": total, "static": "s", "number": 3}


def agree(one: Any, two: Any, exact: bool = False) -> None:
    ones, one_def = jax.tree.flatten(one)
    twos, two_def = jax.tree.flatten(two)
    assert one_def == two_def
    for a, b in zip(ones, twos, strict=True):
        if is_array_like(a):
            np.testing.assert_allclose(a, b, rtol=1e-5)
            assert jnp.shape(a) == jnp.shape(b)
            assert not exact or jnp.asarray(a).dtype == jnp.asarray(b).dtype
        else:
            assert a is b or (type(a), a) == (type(b), b)


def by_hand(carry: Any, xs: Any, **options: Any) -> Any:
    dynamic, static = partition(carry, is_array_like)
    kept: list[Any] = []

    def flat(dynamic: Any, x: Any) -> Any:
        new, y = step(combine(dynamic, static), x)
        arrays, others = partition(y, is_array_like)
        kept.append(others)
        return partition(new, is_array_like)[0], arrays

    last, ys = jax.lax.scan(flat, dynamic, xs, **options)
    return combine(last, static), combine(ys, kept[-1])


def in_python(carry: Any, xs: Any, reverse: bool = False, **options: Any) -> Any:
    order = list(reversed(range(len(xs)))) if reverse else list(range(len(xs)))
    ys: dict[int, Any] = {}
    for i in order:
        carry, ys[i] = step(carry, xs[i])
    arrays = [partition(ys[i], is_array_like)[0] for i in range(len(xs))]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)
    return carry, combine(stacked, partition(ys[0], is_array_like)[1])


def scan(carry: Any, xs: Any, **options: Any) -> Any:
    return filter_scan(step, carry, xs, **options)


@few
@given(carries, lengths, st.booleans(), st.sampled_from([1, 2, True]))
def test_a_scan_is_that_of_jax_on_what_is_traced_and_a_loop_in_python(carry, length, reverse, unroll):
    xs = jnp.linspace(0.5, 1.0, length)
    found = scan(carry, xs, reverse=reverse, unroll=unroll)
    agree(found, by_hand(carry, xs, reverse=reverse, unroll=unroll), exact=True)
    agree(found, in_python(carry, xs, reverse=reverse))


TRANSFORMED: dict[str, Callable[[Callable[..., Any]], Callable[[Any], Any]]] = {
    "grad": lambda loss: jax.grad(loss),
    "value_and_grad of jit": lambda loss: jax.value_and_grad(jax.jit(loss)),
    "jit": lambda loss: filter_jit(loss),
    "vmap": lambda loss: jax.vmap(lambda x: loss(jnp.stack([x, 2 * x]))),
    "jvp": lambda loss: lambda xs: jax.jvp(loss, (xs,), (jnp.ones_like(xs),)),
    "checkpoint": lambda loss: jax.grad(jax.checkpoint(loss)),
    "hessian": lambda loss: jax.hessian(loss),
}


@few
@given(carries, lengths, st.sampled_from(sorted(TRANSFORMED)), st.booleans())
def test_a_scan_is_differentiated_mapped_and_compiled_as_a_loop_in_python(carry, length, name, eager):
    xs = jnp.linspace(0.5, 1.0, length)

    def loss(loop: Any, xs: Any) -> Any:
        last, ys = loop(carry, xs)
        return last["sum"] ** 2 + ys["total"].sum()

    found, wanted = (TRANSFORMED[name](functools.partial(loss, loop)) for loop in (scan, in_python))
    if eager:
        with jax.disable_jit():
            agree(found(xs), wanted(xs))
    else:
        agree(found(xs), wanted(xs))


@few
@given(carries, st.integers(0, 4), st.integers(0, 4))
def test_counted_and_conditional_loops_are_a_loop_in_python(carry, lower, upper):
    def body(i: Any, carry: Any) -> Any:
        return step(carry, i + 1.0)[0]

    wanted = carry
    for i in range(lower, upper):
        wanted = body(i, wanted)
    counted = filter_fori_loop(lower, upper, body, carry)
    agree(counted, wanted)
    agree(filter_jit(lambda up: filter_fori_loop(lower, up, body, carry))(jnp.int32(upper)), wanted)
    _, last = filter_while_loop(
        lambda state: state[0] < upper, lambda state: (state[0] + 1, body(state[0], state[1])), (lower, carry)
    )
    agree(last, wanted)


@few
@given(carries, st.integers(-1, 3), st.sampled_from(["value", "grad", "vmap", "disable_jit"]))
def test_a_branch_is_the_function_that_is_chosen(carry, index, how):
    branches = [lambda c, x: step(c, x), lambda c, x: step(c, 2.0 * x), lambda c, x: step(c, x * x)]
    chosen = branches[min(max(index, 0), 2)]

    def switched(x: Any) -> Any:
        return filter_switch(index, branches, carry, x)

    def conditional(x: Any) -> Any:
        return filter_cond(index > 0, branches[1], branches[0], carry, x)

    other = branches[1] if index > 0 else branches[0]
    for found, wanted in ((switched, chosen), (conditional, other)):
        if how == "value":
            agree(found(0.5), wanted(carry, 0.5))
        elif how == "disable_jit":
            with jax.disable_jit():
                agree(found(0.5), wanted(carry, 0.5))
        else:
            transform = jax.grad if how == "grad" else jax.vmap
            x = jnp.asarray(0.5) if how == "grad" else jnp.array([0.5, 1.5])
            out = transform(lambda x, f=found: f(x)[1]["total"] * 1.0)(x)
            agree(out, transform(lambda x, f=wanted: f(carry, x)[1]["total"] * 1.0)(x))


@few
@given(carries, st.integers(1, 5), st.sampled_from([None, 1, 2, 3]))
def test_a_map_is_a_list_of_results_in_any_batches(carry, length, batch_size):
    xs = jnp.linspace(0.5, 1.0, length)
    out = filter_map(lambda x: step(carry, x)[1], xs, batch_size=batch_size)
    agree(out["total"], jnp.stack([step(carry, x)[1]["total"] for x in xs]))
    assert out["static"] == "s"


@few
@given(st.integers(1, 6), st.booleans(), st.sampled_from([0, 1, -1]))
def test_an_associative_scan_is_that_of_jax_beside_what_is_static(length, reverse, axis):
    elems = jnp.linspace(0.5, 1.5, 3 * length).reshape(length, 3)
    elems = elems if axis == 0 else elems.T

    def fn(one: Any, two: Any) -> Any:
        return {"x": one["x"] * two["x"], "name": one["name"]}

    out = filter_associative_scan(fn, {"x": elems, "name": "n"}, reverse=reverse, axis=axis)
    agree(out, {"x": jax.lax.associative_scan(jnp.multiply, elems, reverse, axis % 2), "name": "n"})


@pytest.mark.parametrize("start", [0, 0.0, True, jnp.int32(0), np.int32(0), jnp.float32(0)])
def test_weakly_typed_starts_are_promoted_as_jax_does(start):
    xs = jnp.ones(3, jnp.float32)

    def body(carry: Any, x: Any) -> Any:
        return jnp.where(x > 5, carry, carry) + (0 if carry.dtype == bool else x), None

    def run(scan: Any) -> Any:
        try:
            out = scan(body, start, xs)[0]
        except TypeError:
            return TypeError
        return out.dtype, out.weak_type, float(out)

    assert run(filter_scan) == run(jax.lax.scan)
