"""Sound code that asks which sizes are equal, whether arrays are traced, which dtype they have."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int


# proved
def alone(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return x if x.shape[0] == 1 else x - x.mean(0)


# proved
def equal_or_not(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
    return x + y if x.shape == y.shape else x


# proved
def of_two_numbers(x: Float[Array, "n c"]) -> Float[Array, "n c"]:
    return x / 255 if x.shape[-1] in (1, 3) else x


# proved
def never_empty(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x if x.shape[0] == 0 or not x.size else 2 * x


# checked: at (
def even(x: Float[Array, "n"]) -> Float[Array, "n"]:
    if x.shape[0] % 2:
        return 2 * x
    return x.reshape(2, -1).ravel()


# checked: traced, and called with arrays (n=3)
def validated(x: Float[Array, "n"]) -> Float[Array, "n"]:
    if not isinstance(x, jax.core.Tracer) and bool((x < 0).any()):
        raise ValueError("a negative rate")
    return x


# checked: traced only: called with arrays (n=3), it refuses them: ValueError: a positive rate
def refused(x: Float[Array, "n"]) -> Float[Array, "n"]:
    try:
        if float(x[0]) > 0:
            raise ValueError("a positive rate")
    except jax.errors.ConcretizationTypeError:
        pass
    return x


# checked: with float32 only: with float16
def promised(x: Float[Array, "n"]) -> Float32[Array, "n"]:
    return x


# checked: with int32 only: with int16, the return value is not what is annotated: 2 axes, not 1
def compared(x: Int[Array, "n"]) -> Int[Array, "n"]:
    return x if x.dtype == jnp.int32 else x[None]


# proved
def converted(x: Float[Array, "n"]) -> Float32[Array, "n"]:
    return x.astype(jnp.float32)
