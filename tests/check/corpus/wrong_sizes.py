"""Functions that are wrong at some sizes only, or only with some of their options: each fails."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

BLOCK = 16


# failed: for example at: n=2
def even_sizes_of_a_mode(x: Float[Array, "n"], mode: Literal["a", "b"]) -> Float[Array, "n"]:
    if mode == "b" and x.shape[0] % 2 == 0:
        return x[:-1]
    return x


# failed: for example at: n=40
def a_number_of_a_mode(x: Float[Array, "n"], mode: Literal["a", "b"]) -> Float[Array, "n"]:
    return x[:-1] if mode == "b" and x.shape[0] == 40 else x


# failed: mask: None
def an_option(x: Float[Array, "n"], mask: Float[Array, "n"] | None = None) -> Float[Array, "n"]:
    if mask is None and x.shape[0] % 2 == 0:
        return x[1:]
    return x


# failed: n=128
def a_large_size(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:] if x.shape[0] == 128 else x


# failed: n=129
def beyond_a_large_size(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[:128]


# failed: n=8
def in_a_nested_function(x: Float[Array, "n"]) -> Float[Array, "n"]:
    def pick(y):
        return y[1:] if y.shape[0] == 8 else y

    return pick(x)


def _trimmed(x):
    return x[1:] if x.shape[0] == 24 else x


# failed: n=24
def in_a_helper(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return _trimmed(x)


# failed: n=16
def by_a_number_of_the_module(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:] if x.shape[0] % BLOCK == 0 else x


# failed: n=16
def by_the_annotation(x: Float[Array, "n"]) -> Float[Array, "16*(n//16+1)"]:
    return jnp.pad(x, (0, -x.shape[0] % int("16")))  # a number that the code does not mention


# failed: axis 0 is n - 1, not n
def five_flags(
    x: Float[Array, "n"],
    a: bool = False,
    b: bool = False,
    c: bool = False,
    d: bool = False,
    e: bool = False,
) -> Float[Array, "n"]:
    if a and b and c and d and e:
        return x[1:]
    return x


def _two(x, y):
    return x + y


# failed: 'list' object has no attribute 'sum'
def a_list_is_no_array(xs: list[Float[Array, "n"]], flag: bool = False) -> Float[Array, "n"]:
    if flag:
        return xs.sum(0)  # type: ignore[attr-defined]
    return sum(xs[1:], xs[0])


# failed: has no attribute
def a_typing_mistake(p: dict[str, Float[Array, "n"]], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x.summ() + sum(p.values())  # type: ignore[attr-defined]


# failed: values to unpack
def keys_for_items(p: dict[str, Float[Array, "n"]]) -> Float[Array, "n"]:
    total: Array = jnp.zeros(())
    for _, value in p:
        total = total + value
    return total


# failed: takes 2 positional arguments but 3 were given
def a_helper_of_two(xs: tuple[Float[Array, "n"], ...], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return _two(x, xs[0], 1)  # type: ignore[call-arg]


# failed: 'NoneType' object
def what_append_returns(xs: list[Float[Array, "n"]]) -> Float[Array, "n"]:
    ys = xs.append(xs[0])  # type: ignore[func-returns-value]
    return ys[0]  # type: ignore[index, no-any-return]


# failed: axis 0 is n, not count
def counted_as_many(x: Int[Array, "n"], count: int) -> Int[Array, "count"]:
    return jnp.zeros(x.shape[0], int).at[x].add(count)


# failed: axis 0 is n + 2*before, not n+{before} = n + before
def padded_twice(x: Float[Array, "n"], before: int) -> Float[Array, "n+{before}"]:
    return jnp.pad(x, (before, before))


# failed: axis 0 is k + 1, not k
def one_too_many(x: Float[Array, "n"], k: int) -> Float[Array, "k"]:
    return jax.lax.top_k(x, k + 1)[0]


# failed: axis 0 is 4, not rows = 3
def one_row_too_many(x: Float[Array, "d"], rows: int = 3) -> Float[Array, "rows d"]:
    return jnp.ones((rows + 1, 1)) * x


# failed: but no argument binds `times`
def without_braces(x: Float[Array, "n"], times: int) -> Float[Array, "n*times"]:
    return jnp.tile(x, times)
