"""Mistakes behind choices that a caller may make: members, defaults, exceptions, flags, nested models."""

import dataclasses
import enum
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, NotRequired, Optional, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num


class Options(TypedDict):
    scale: Float[Array, ""]
    shift: NotRequired[Float[Array, "n"]]


# failed: axis 0 is n - 1
def with_a_key_that_may_be_missing(x: Float[Array, "n"], options: Options) -> Float[Array, "n"]:
    return x[1:] if "shift" in options else x * options["scale"]


# failed: axis 0 is n - 1
def in_a_tuple(x: Float[Array, "n"], how: tuple[Literal["a", "b"], ...]) -> Float[Array, "n"]:
    return x[1:] if "b" in how else x


# failed: with: how='c'
def of_the_last(x: Float[Array, "n"], how: Literal["a", "b", "c"] | bool) -> Float[Array, "n"]:
    return x[1:] if how == "c" else x


# failed: with: how=True
def where_it_is_true(x: Float[Array, "n"], how: bool | None = None) -> Float[Array, "n"]:
    return x[1:] if how is True else x


class Sides(enum.Flag):
    LEFT = 1
    RIGHT = 2


# failed: axis 0 is n - 1
def on_both_sides(x: Float[Array, "n"], sides: Sides) -> Float[Array, "n"]:
    return x[1:] if Sides.LEFT in sides and Sides.RIGHT in sides else x


class Plain(eqx.Module):
    weight: Float[Array, "n"]


class Scaled(Plain):
    scale: Float[Array, ""]


# failed: axis 0 is n - 1
def of_one_class(model: Plain | Scaled) -> Float[Array, "n"]:
    return model.weight[1:] if isinstance(model, Scaled) else model.weight


@functools.singledispatch
def _applied(model: Any, x: Array) -> Array:
    return x


@_applied.register
def _(model: Scaled, x: Array) -> Array:
    return x[1:]


# failed: axis 0 is n - 1
def by_dispatch(model: Plain | Scaled, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return _applied(model, x)


class Nested(eqx.Module):
    weight: Float[Array, "n"]
    inner: Optional["Nested"] = None

    # failed: axis 0 is n - 1
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x if self.inner is None else self.inner(x)[1:]


# failed: axis 0 is n - 1
def of_ints(x: Num[Array, "n"]) -> Num[Array, "n"]:
    return x[1:] if jnp.issubdtype(x.dtype, jnp.integer) else x


# failed: 2 axes, not 1
def of_several(xs: Sequence[Float[Array, "n"]]) -> Float[Array, "n"]:
    return xs[0] if len(xs) < 3 else jnp.stack(xs)


# failed: axis 0 is m
def where_it_is_given(
    x: Float[Array, "n"], f: Callable[[Float[Array, "n"]], Float[Array, "m"]] | None = None
) -> Float[Array, "n"]:
    return x if f is None else f(x)


@dataclasses.dataclass(frozen=True)
class Config:
    kind: Literal["x", "y"] = "x"


# failed: axis 0 is n - 1
def of_a_default_config(x: Float[Array, "n"], config: Config = Config()) -> Float[Array, "n"]:
    return x[1:] if config.kind == "y" else x


# failed: floordiv(n + 1, 2)
def of_both(
    x: Float[Array, "n"], mask: Bool[Array, "n"] | None = None, flip: bool = False
) -> Float[Array, "n"]:
    return x[::2] if mask is not None and flip else x


# failed: axis 0 is n - 1
def after_an_assertion(x: Float[Array, "n"]) -> Float[Array, "n"]:
    try:
        assert x.shape[0] == 3
    except AssertionError:
        return x[1:]
    return x


# failed: axis 0 is n - 1
def by_pattern(x: Float[Array, "n"], w: Float[Array, "n"] | Float[Array, ""] | None) -> Float[Array, "n"]:
    match w:
        case None:
            return x
        case jax.Array(ndim=0):
            return x[1:] * w
        case _:
            return x * w


class State(NamedTuple):
    x: Float[Array, "n"]
    kind: Literal[0, 1] = 0


# failed: `.x` of the return value
def of_a_tuple(state: State) -> State:
    return State(state.x[1:], 1) if state.kind else state


# failed: 0 axes, not 1
def caught(x: Float[Array, "n"], y: Int[Array, "m"]) -> Float[Array, "n"]:
    try:
        return x + y
    except TypeError:
        return x.sum()


_BLOCKS = {"size": 24}


# failed: axis 0 is 12, not n = 24
def wrong_in_whole_blocks(x: Float[Array, "n"]) -> Float[Array, "n"]:
    if x.shape[0] % _BLOCKS["size"]:
        raise ValueError(f"{x.shape[0]} is no multiple of {_BLOCKS['size']}")
    return x[::2]
