"""Sound functions in which symbols are inconclusive, so that sizes are tried."""

import jax.numpy as jnp
from jaxtyping import Array, Float

import typedfilter


# checked
def branch_on_a_size(x: Float[Array, "n"]) -> Float[Array, ""]:
    if x.shape[0] > 3:
        return x[3]
    return x[0]


# checked
def python_loop(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return jnp.stack([x[i] * i for i in range(x.shape[0])])


# checked
def grid(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x * jnp.linspace(0.0, 1.0, x.shape[0])


# checked
def initial_scale(w: Float[Array, "i o"]) -> Float[Array, "i o"]:
    return w * w.shape[0] ** -0.5


# checked
def size_as_a_number(x: Float[Array, "n"]) -> Float[Array, ""]:
    return x.sum() / float(x.shape[0])


# checked
def refuses_odd_sizes(x: Float[Array, "n"]) -> Float[Array, "n//2"]:
    if x.shape[0] % 2:
        raise ValueError(f"an even size, please, not {x.shape[0]}")
    return x.reshape(-1, 2).sum(axis=1)


# checked
def asserts_equal_sizes(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
    assert x.shape == y.shape
    return x + y


# proved
@typedfilter.check.example(n=32)
def takes_one_size(x: Float[Array, "n"]) -> Float[Array, "4 n//4"]:
    if x.shape[0] % 4:
        raise ValueError("a multiple of 4")
    return x.reshape(4, -1)


# proved
def squeezes_by_hand(x: Float[Array, "n m"]) -> Float[Array, "*rest"]:
    return x[0] if x.shape[0] == 1 else x


# checked: it refuses n=3: ValueError: even sizes only
def refused_on_one_line(x: Float[Array, "n"]) -> Float[Array, "n//2"]:
    if x.shape[0] % 2: raise ValueError("even sizes only")  # noqa: E701 (one line is what is tested)  # fmt: skip
    return x.reshape(-1, 2).sum(1)


# checked: d=128
def multiples_of_a_large_number(x: Float[Array, "d"]) -> Float[Array, "d//128 128"]:
    if x.shape[0] % 128 != 0:
        raise ValueError("a multiple of 128")
    return x.reshape(-1, 128)


# checked: for all sizes; in 47 cases, 465 were left out
def nine_flags(
    x: Float[Array, "n"],
    a: bool,
    b: bool,
    c: bool,
    d: bool,
    e: bool,
    f: bool,
    g: bool,
    h: bool,
    i: bool,
) -> Float[Array, "n"]:
    return x * (a + b + c + d + e + f + g + h + i)
