"""Loops and branches whose bodies and results are what the annotations say."""

from __future__ import annotations

from typing import Annotated, Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from typedfilter import (
    ScanAxis,
    filter_associative_scan,
    filter_cond,
    filter_fori_loop,
    filter_jit,
    filter_linearize,
    filter_map,
    filter_scan,
    filter_switch,
    filter_vmap,
    filter_while_loop,
    pytree_dataclass,
)


# proved
def step(carry: Float[Array, "n"], x: Float[Array, "n"]) -> tuple[Float[Array, "n"], Float[Array, ""]]:
    return carry + x, jnp.sum(x)


# proved
def sums(xs: Float[Array, "t n"]) -> tuple[Float[Array, "n"], Float[Array, "t"]]:
    return filter_scan(step, jnp.zeros(xs.shape[1]), xs)


# proved
@filter_jit
def sums_backwards(xs: Float[Array, "t n"]) -> Float[Array, "t"]:
    return filter_scan(step, jnp.zeros(xs.shape[1]), xs, reverse=True)[1]


# proved
@filter_vmap
def sums_of_each(xs: Float[Array, "t n"]) -> Float[Array, "n"]:
    return filter_scan(step, jnp.zeros(xs.shape[1]), xs)[0]


# proved
def total(xs: Float[Array, "t n"]) -> Float[Array, ""]:
    def add(carry: float, x: Float[Array, "n"]) -> tuple[Float[Array, ""], None]:
        return carry + jnp.sum(x), None

    return filter_scan(add, 0.0, xs)[0]


# proved
def columns(xs: Float[Array, "n t"]) -> Float[Array, "n t"]:
    def column(
        carry: Float[Array, ""], x: Annotated[Float[Array, "n"], ScanAxis[1]]
    ) -> tuple[Float[Array, ""], Annotated[Float[Array, "n"], ScanAxis[1]]]:
        return carry + 1, x * carry

    return filter_scan(column, jnp.zeros(()), xs)[1]


@pytree_dataclass
class Layers:
    """Layers of one width."""

    w: Float[Array, "layers n n"]
    b: Float[Array, "layers n"]
    name: str = "layers"


# proved
def through_layers(layers: Layers, x: Float[Array, "k n"]) -> Float[Array, "k n"]:
    def layer(x: Float[Array, "k n"], one: Any) -> tuple[Float[Array, "k n"], None]:
        return jnp.tanh(x @ one.w + one.b), None

    return filter_scan(layer, x, layers)[0] if x.shape[1] == layers.w.shape[1] else x


# proved
def powers(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return filter_fori_loop(0, 3, lambda i, y: y * x, x)


# proved
def halved(x: Float[Array, "n"]) -> Float[Array, "n"]:
    def goes_on(state: tuple[int, Float[Array, "n"]]) -> Bool[Array, ""]:
        return jnp.max(state[1]) > 1

    def halve(state: tuple[int, Float[Array, "n"]]) -> tuple[Int[Array, ""], Float[Array, "n"]]:
        return state[0] + 1, state[1] / 2

    return filter_while_loop(goes_on, halve, (0, x))[1]


# proved
def either(flag: Bool[Array, ""], x: Float[Array, "n"]) -> dict[str, Any]:
    return filter_cond(flag, lambda x, s: {"x": x, "s": s}, lambda x, s: {"x": -x, "s": s}, x, "name")


# proved
def one_of(index: Int[Array, ""], x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return filter_switch(index, [jnp.sin, jnp.cos, jnp.tanh], x)


# proved
def rows(x: Float[Array, "n m"]) -> Float[Array, "n"]:
    return filter_map(jnp.sum, x)


# checked: (n=3, m=5)
def running(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return filter_associative_scan(jnp.add, x, axis=1)


# proved
def pushed(x: Float[Array, "n"], v: Float[Array, "n"]) -> Float[Array, "n"]:
    return filter_linearize(jnp.sin, x)[1](v)
