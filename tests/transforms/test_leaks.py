"""Under JAX's leak checker: no transform holds a tracer when its trace is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import typedfilter as tf

X = jnp.arange(3.0)


def double(x: Any) -> Any:
    return x * 2


def total(x: Any) -> Any:
    return (x * 2).sum()


def by_forward_rule() -> Any:
    made: Any = tf.filter_custom_jvp(lambda x: x * 2)
    made.def_jvp(lambda primals, tangents: (primals[0] * 2, tangents[0] * 2))
    return tf.filter_grad(lambda x: made(x).sum())(X)


def by_reverse_rule() -> Any:
    made: Any = tf.filter_custom_vjp(lambda x: x * 2)
    made.def_fwd(lambda perturbed, x: (x * 2, None))
    made.def_bwd(lambda residuals, grad, perturbed, x: grad * 2)
    return tf.filter_grad(lambda x: made(x).sum())(X)


CALLS: dict[str, Callable[[], Any]] = {
    "filter_jit": lambda: tf.filter_jit(lambda tree: double(tree[0]))([X, "a"]),
    "filter_jit, of a stack": lambda: tf.filter_jit(tf.filter_vmap(tf.filter_grad(total)))(jnp.stack([X, X])),
    "filter_value_and_grad": lambda: tf.filter_value_and_grad(total)(X),
    "filter_vmap": lambda: tf.filter_vmap(double)(X),
    "filter_jacfwd": lambda: tf.filter_jacfwd(double)(X),
    "filter_jacrev": lambda: tf.filter_jacrev(double)(X),
    "filter_hessian": lambda: tf.filter_hessian(total)(X),
    "filter_jvp": lambda: tf.filter_jvp(double, (X,), (X,)),
    "filter_vjp": lambda: tf.filter_vjp(double, X)[1](X),
    "filter_linearize": lambda: tf.filter_linearize(double, X)[1](X),
    "filter_checkpoint": lambda: tf.filter_checkpoint(double)(X),
    "filter_closure_convert": lambda: tf.filter_closure_convert(double, X)(X),
    "filter_eval_shape": lambda: tf.filter_eval_shape(double, X),
    "filter_make_jaxpr": lambda: tf.filter_make_jaxpr(double)(X),
    "filter_cond": lambda: tf.filter_cond(jnp.array(True), double, lambda x: x, X),
    "filter_switch": lambda: tf.filter_switch(jnp.array(1), [double, lambda x: x], X),
    "filter_scan": lambda: tf.filter_scan(lambda carry, x: (carry + x, x), jnp.zeros(()), X),
    "filter_while_loop": lambda: tf.filter_while_loop(
        lambda carry: carry[0] < 3, lambda carry: (carry[0] + 1, carry[1]), (jnp.array(0), "a")
    ),
    "filter_fori_loop": lambda: tf.filter_fori_loop(0, 3, lambda i, carry: carry + i, X),
    "filter_map": lambda: tf.filter_map(double, X),
    "filter_associative_scan": lambda: tf.filter_associative_scan(jnp.add, X),
    "filter_pure_callback": lambda: tf.filter_pure_callback(double, X, result_shape_dtypes=X),
    "filter_custom_jvp": by_forward_rule,
    "filter_custom_vjp": by_reverse_rule,
}


@pytest.mark.parametrize("name", CALLS)
def test_no_transform_holds_a_tracer_beyond_its_trace(name: str):
    with jax.checking_leaks():
        jax.block_until_ready(jax.tree.leaves(CALLS[name]()))
