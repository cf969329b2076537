"""What stands in a field for an array: a number, an array of NumPy's, a description without values.

Who makes a model may pass any of them for a `Float[Array, "n"]`, as who calls a function may; unlike there,
nothing becomes an array before it is looked at, since a field keeps what it was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from typedfilter._reading import kinds
from typedfilter._values.leaves import stands_for_array


class Standing(jax.ShapeDtypeStruct):
    """Shape and dtype of what stands for an array."""


def is_raw(leaf: Any) -> bool:
    """Whether a value is no JAX array, and would become one: a number, or NumPy's array of numbers."""
    if isinstance(leaf, np.ndarray | np.generic):
        return bool(jnp.issubdtype(leaf.dtype, np.number)) or leaf.dtype == np.bool_
    return isinstance(leaf, bool | int | float | complex)


def standing(value: Any, kind: kinds.Array, stacked: int) -> Any:
    """`value`, or what stands for it where that is not the array itself, without the axes of a stack."""
    raw = kind.takes_tracers and (is_raw(value) or isinstance(value, jax.ShapeDtypeStruct))
    is_array = isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct)
    if not raw and not (stacked and is_array):
        return value
    shape = np.shape(value) if is_raw(value) else value.shape
    dtype = value.dtype if is_array else jnp.result_type(value)
    if isinstance(value, np.ndarray):
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    shape = shape[stacked:] if len(shape) >= stacked else shape
    return Standing(shape, dtype)  # type: ignore[no-untyped-call]  # JAX's constructor


def is_node(value: Any) -> bool:
    """Whether JAX looks into a value; what it doesn't is no model, whatever its class is annotated with."""
    return not jax.tree_util.all_leaves([value])


def holds_arrays(values: Iterable[Any]) -> bool:
    """Whether there is an array among the leaves of these values, or a number that would become one.

    Where there is none, a model is a tree of something else: of axes, masks, labels, shardings.
    """
    leaves = jax.tree.leaves(list(values))
    return any(stands_for_array(leaf) or isinstance(leaf, float | complex) for leaf in leaves)


def depths(values: Iterable[Any], least: int) -> range:
    """How many axes in front may be those of a stack of models: as many as all arrays share.

    A scalar has none: who maps over the stack passes it to each model.

    Args:
        least: how many arrays have to have them. One alone is no evidence.
    """
    shapes = [leaf.shape for leaf in jax.tree.leaves(list(values)) if stands_for_array(leaf)]
    shapes = [shape for shape in shapes if shape]
    if len(shapes) < least:
        return range(0)
    shared = 0
    for sizes in zip(*shapes, strict=False):
        if any(size != sizes[0] for size in sizes):
            break
        shared += 1
    return range(1, shared + 1)
