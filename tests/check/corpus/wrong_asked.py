"""Mistakes behind questions that a trace answers in one way: are sizes equal, are arrays traced."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from typedfilter import filter_jit


# failed: axis 0 is 5, not n = 1
def where_one_size_is_1(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return x.T if x.shape[0] == 1 else x


# failed: axis 0 is 5, not n = 1
def where_some_size_is_1(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return x.T if 1 in x.shape else x


# failed: axis 0 is 5, not n = 3
def where_two_of_three_are_equal(
    x: Float[Array, "n"], y: Float[Array, "m"], z: Float[Array, "k"]
) -> Float[Array, "n"]:
    return z if x.shape == y.shape else x


# failed: axis 0 is 4, not n = 3
def where_one_is_next_to_another(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    rows, columns = x.shape
    return x.T if columns == rows + 1 else x


# failed: axis 0 is 4, not n = 2
def where_one_divides_another(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return x if x.shape[1] % x.shape[0] else x.T


# failed: axis 0 is 6, not n = 2
def where_the_product_is_a_number(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return x.T if x.size == 12 else x


# failed: axis 0 is 5, not n = 1
def where_they_broadcast(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
    with contextlib.suppress(TypeError):
        return x + y
    return x


# failed: of arrays that are not traced
def by_its_class(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x if isinstance(x, jax.core.Tracer) else x.sum()


def _looked_at(x: Array) -> Array:
    match x:
        case jax.core.Tracer():
            return x
        case _:
            return x[None]


# failed: of arrays that are not traced
def by_a_helper(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return _looked_at(x)


# failed: of arrays that are not traced
def by_the_name_of_its_class(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x if "Tracer" in type(x).__name__ else x[None]


# failed: of arrays that are not traced
def by_what_it_has(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x if hasattr(x, "_trace") else x[None]


# failed: of arrays that are not traced
def by_its_value(x: Float[Array, ""]) -> Float[Array, ""]:
    try:
        return jnp.full(3, float(x))
    except jax.errors.ConcretizationTypeError:
        return x


# failed: of arrays that are not traced
def by_numpy(x: Float[Array, "n"]) -> Float[Array, "n"]:
    with contextlib.suppress(Exception):
        return jnp.asarray(np.asarray(x).sum())
    return x


# proved
@filter_jit
def what_is_always_traced(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x if isinstance(x, jax.core.Tracer) else x.sum()
