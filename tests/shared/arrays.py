"""Arrays for tests, and whether two of them hold the same numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array


def f32(*shape: int) -> Array:
    """Zeros of this shape."""
    return jnp.zeros(shape, jnp.float32)


def i32(*shape: int) -> Array:
    """Integers, likewise."""
    return jnp.zeros(shape, jnp.int32)


def close(one: Any, two: Any) -> bool:
    """Whether two arrays are equal but for rounding."""
    return bool(jnp.allclose(one, two, rtol=1e-5))
