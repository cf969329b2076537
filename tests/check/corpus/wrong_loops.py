"""Loops and branches whose bodies, carries or results are not what the annotations say."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from typedfilter import (
    filter_cond,
    filter_fori_loop,
    filter_map,
    filter_scan,
    filter_switch,
    filter_while_loop,
)


# failed: carry
def step(carry: Float[Array, "n"], x: Float[Array, "n"]) -> tuple[Float[Array, "n"], Float[Array, ""]]:
    return carry[:-1] + x[1:], jnp.sum(x)


# failed: returns another carry than it was given
def shrinks(xs: Float[Array, "t n"]) -> Float[Array, "n"]:
    def body(carry: Any, x: Any) -> Any:
        return carry[:-1], None

    return filter_scan(body, jnp.zeros(xs.shape[1]), xs)[0]


# failed: returns another carry than it was given
def renames(xs: Float[Array, "t"]) -> Float[Array, ""]:
    def body(carry: Any, x: Any) -> Any:
        return {"sum": carry["sum"] + x, "name": "b"}, None

    return filter_scan(body, {"sum": 0.0, "name": "a"}, xs)[0]["sum"]


# failed: argument `x`
def not_a_row(xs: Float[Array, "t n m"]) -> Float[Array, ""]:
    def body(carry: Float[Array, ""], x: Float[Array, "n"]) -> tuple[Float[Array, ""], None]:
        return carry + jnp.sum(x), None

    return filter_scan(body, 0.0, xs)[0]


# failed: the return value
def transposed(xs: Float[Array, "t n"]) -> Float[Array, "n t"]:
    return filter_map(lambda x: x * 2, xs)


# failed: returns another carry than it was given
def becomes_integer(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return filter_fori_loop(0, 3, lambda i, y: y.astype(jnp.int32), x)


# failed: does not say whether to go on
def never_ends(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return filter_while_loop(lambda y: y > 0, lambda y: y - 1, x)


# failed: returns another result than the branch
def first_or_all(flag: Bool[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return filter_cond(flag, lambda x: x, lambda x: x[:1], x)


# failed: returns another result than the branch
def some_label(index: Int[Array, ""], x: Float[Array, "n"]) -> Any:
    return filter_switch(index, [lambda x: (x, "a"), lambda x: (x, "b")], x)


# failed: has length
def uneven(a: Float[Array, "n"], b: Float[Array, "m"]) -> Float[Array, ""]:
    return filter_scan(lambda c, x: (c + x[0] * x[1], None), 0.0, (a, b))[0]
