"""Under JAX's own switches each transform does as JAX's does: the same numbers, or the same error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import typedfilter as tf

Body = Callable[[Any], Any]
held: list[Any] = []


def leaking(x: Any) -> Any:
    held.append(x)
    return jnp.sum(x)


# Each switch with what it is about, beside what it has nothing to say of.
SWITCHES: dict[str, tuple[Any, Body]] = {
    "jax_enable_x64": (True, lambda x: jnp.sum(x * 2.0) + jnp.arange(2)[1]),
    "jax_debug_nans": (True, lambda x: jnp.sum(jnp.log(x - 5))),
    "jax_enable_checks": (True, lambda x: jnp.sum(x * 2.0)),
    "jax_numpy_dtype_promotion": ("strict", lambda x: jnp.sum(x * jnp.arange(3))),
    "jax_numpy_rank_promotion": ("raise", lambda x: jnp.sum(x + jnp.ones((3, 3), x.dtype))),
    "jax_no_tracing": (True, lambda x: jnp.sum(x - 1)),
    "jax_check_tracer_leaks": (True, leaking),
    "jax_transfer_guard": ("disallow", lambda x: jnp.sum(x + np.ones(3, np.float32))),
}


def custom_jvp(f: Body) -> Body:
    ours = tf.filter_custom_jvp(lambda x: f(x))
    ours.def_jvp(lambda primals, tangents: (ours(*primals), jnp.sum(tangents[0] * primals[0])))
    return tf.filter_grad(ours)


def jax_custom_jvp(f: Body) -> Body:
    own = jax.custom_jvp(lambda x: f(x))
    own.defjvp(lambda primals, tangents: (own(*primals), jnp.sum(tangents[0] * primals[0])))
    return jax.grad(own)


def custom_vjp(f: Body) -> Body:
    ours = tf.filter_custom_vjp(lambda x: f(x))
    ours.def_fwd(lambda perturbed, x: (f(x), x))
    ours.def_bwd(lambda x, g, perturbed, _: g * x)
    return tf.filter_grad(ours)


def jax_custom_vjp(f: Body) -> Body:
    own = jax.custom_vjp(lambda x: f(x))
    own.defvjp(lambda x: (f(x), x), lambda x, g: (g * x,))
    return jax.grad(own)


def twice(x: Any) -> Any:
    return jnp.stack([x, x])


# Ours beside JAX's, of a function of one array.
TRANSFORMS: dict[str, tuple[Callable[[Body], Body], Callable[[Body], Body]]] = {
    "jit": (tf.filter_jit, jax.jit),
    "grad": (tf.filter_grad, jax.grad),
    "value_and_grad": (tf.filter_value_and_grad, jax.value_and_grad),
    "vmap": (lambda f: lambda x: tf.filter_vmap(f)(twice(x)), lambda f: lambda x: jax.vmap(f)(twice(x))),
    "jvp": (lambda f: lambda x: tf.filter_jvp(f, (x,), (x,)), lambda f: lambda x: jax.jvp(f, (x,), (x,))),
    "vjp": (
        lambda f: lambda x: tf.filter_vjp(f, x)[1](jnp.sum(x)),
        lambda f: lambda x: jax.vjp(f, x)[1](jnp.sum(x)),
    ),
    "linearize": (
        lambda f: lambda x: tf.filter_linearize(f, x)[1](x),
        lambda f: lambda x: jax.linearize(f, x)[1](x),
    ),
    "jacfwd": (tf.filter_jacfwd, jax.jacfwd),
    "checkpoint": (
        lambda f: tf.filter_grad(tf.filter_checkpoint(f)),
        lambda f: jax.grad(jax.checkpoint(f)),
    ),
    "custom_jvp": (custom_jvp, jax_custom_jvp),
    "custom_vjp": (custom_vjp, jax_custom_vjp),
    "scan": (
        lambda f: lambda x: tf.filter_scan(lambda c, y: (c, f(y)), jnp.sum(x), twice(x)),
        lambda f: lambda x: jax.lax.scan(lambda c, y: (c, f(y)), jnp.sum(x), twice(x)),
    ),
    "while_loop": (
        lambda f: lambda x: tf.filter_while_loop(lambda c: c < 1, lambda c: f(x), jnp.sum(x) * 0),
        lambda f: lambda x: jax.lax.while_loop(lambda c: c < 1, lambda c: f(x), jnp.sum(x) * 0),
    ),
    "cond": (
        lambda f: lambda x: tf.filter_cond(jnp.sum(x) > 0, f, f, x),
        lambda f: lambda x: jax.lax.cond(jnp.sum(x) > 0, f, f, x),
    ),
    "eval_shape": (lambda f: lambda x: tf.filter_eval_shape(f, x), lambda f: lambda x: jax.eval_shape(f, x)),
    "pure_callback": (
        lambda f: (
            lambda x: tf.filter_pure_callback(
                np.sum, f(x), result_shape_dtypes=jax.ShapeDtypeStruct((), x.dtype)
            )
        ),
        lambda f: lambda x: jax.pure_callback(np.sum, jax.ShapeDtypeStruct((), x.dtype), f(x)),
    ),
    "compiled ahead": (
        lambda f: lambda x: tf.filter_jit(f).lower(x).compile()(x),
        lambda f: lambda x: jax.jit(f).lower(x).compile()(x),
    ),
}


@contextlib.contextmanager
def switched(switch: str) -> Generator[None]:
    before = getattr(jax.config, switch)
    try:
        jax.config.update(switch, SWITCHES[switch][0])
        yield
    finally:
        jax.config.update(switch, before)


def outcome(call: Callable[[], Any]) -> Any:
    """The class of an error; or of each leaf its dtype, whether that is weak, its shape and its numbers."""
    held.clear()
    try:
        leaves = jax.tree.leaves(call())
    except Exception as error:
        return type(error)
    finally:
        held.clear()
    return [
        (
            leaf.dtype,
            leaf.weak_type,
            leaf.shape,
            np.asarray(leaf).tolist() if hasattr(leaf, "devices") else "",
        )
        for leaf in leaves
    ]


# Where ours differs, and why.
OTHERWISE = {
    ("scan", "jax_transfer_guard"): "the loop is compiled as a whole, constants with it",
    ("eval_shape", "jax_no_tracing"): "each call traces: JAX remembers the trace of a function",
}
CASES = [(name, switch) for name in TRANSFORMS for switch in SWITCHES if (name, switch) not in OTHERWISE]


@pytest.mark.parametrize(("transform", "switch"), CASES)
@pytest.mark.parametrize("touched", [False, True])
def test_a_transform_does_as_that_of_jax(transform: str, switch: str, touched: bool):
    x = jnp.arange(1.0, 4.0)
    body = SWITCHES[switch][1] if touched else lambda x: jnp.sum(x * x)
    # Of each a function of its own: JAX remembers what it has traced before.
    ours, right = [make(lambda x: body(x)) for make in TRANSFORMS[transform]]
    if switch == "jax_no_tracing":  # what is compiled is not traced again
        outcome(lambda: ours(x))
        outcome(lambda: right(x))
    with switched(switch):
        assert outcome(lambda: ours(x)) == outcome(lambda: right(x))


def test_a_first_call_moves_nothing_of_its_own():
    x = jnp.arange(1.0, 4.0)
    with jax.transfer_guard("disallow_explicit"):
        np.testing.assert_array_equal(tf.filter_jit(lambda x: x * x)(x), x * x)
