"""Questions about single leaves: is it an array, is it traced, does it stand for one?

Knows dtypes and JAX's array types; knows nothing of trees, annotations or transforms.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any, TypeGuard

import jax.core
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from typedfilter._values.memory import ByClass


def said_by(obj: Any, name: str) -> Any:
    """`getattr`, of an object of anybody's: one that raises, whatever it raises, has nothing to say."""
    try:
        return getattr(obj, name, None)
    except Exception:
        return None


def is_struct(leaf: Any) -> TypeGuard[jax.ShapeDtypeStruct]:
    """Whether this is a `jax.ShapeDtypeStruct`, and does not only say so of its class, as a mock does."""
    return issubclass(type(leaf), jax.ShapeDtypeStruct)


def is_passed(leaf: Any) -> bool:
    """Whether a leaf goes through JAX: an array, or anything else that is being traced."""
    return is_array(leaf) or isinstance(leaf, jax.core.Tracer)


def stands_for_array(leaf: Any) -> bool:
    """Whether a leaf is passed, or has the shape and dtype of an array as a `jax.ShapeDtypeStruct` has."""
    if is_passed(leaf) or is_struct(leaf):
        return True
    shape, dtype = said_by(leaf, "shape"), said_by(leaf, "dtype")
    known = isinstance(leaf, (np.ndarray, np.generic))  # of strings or objects: JAX has no such dtype
    return not known and isinstance(shape, tuple) and isinstance(dtype, np.dtype)


def as_struct(leaf: Any) -> jax.ShapeDtypeStruct:
    """The `jax.ShapeDtypeStruct` of what stands for an array, or is a Python number."""
    if is_struct(leaf):
        return leaf
    if stands_for_array(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))


def struct_of(leaf: Any, axis: int | None = None) -> Any:
    """What stands for an array, or for a number that becomes one, less an axis."""
    if is_struct(leaf):
        shape, dtype, weak = leaf.shape, leaf.dtype, leaf.weak_type
    else:
        try:
            aval = jax.typeof(leaf)
        except TypeError:  # a call with it ends in an error that says more
            return leaf
        shape, dtype, weak = aval.shape, aval.dtype, aval.weak_type
    if axis is not None and -len(shape) <= axis < len(shape):
        at = axis % len(shape)
        shape = (*shape[:at], *shape[at + 1 :])
    return jax.ShapeDtypeStruct(shape, dtype, weak_type=weak)


def as_array(leaf: Any) -> jax.Array:
    """An array or number as an array of JAX; what is one already, a tracer too, stays as it is.

    `jnp.asarray` would compile a conversion for the tracer of a derivative outside of a compiled program.
    """
    return leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)


def is_float0(value: Any) -> bool:
    """Whether this is JAX's own tangent of integers, which says nothing."""
    return is_array(value) and value.dtype == jax.dtypes.float0


def is_number(leaf: Any) -> bool:
    """Whether this is a Python number that a derivative could be taken of; NumPy's scalars are arrays."""
    cls = type(leaf)
    return issubclass(cls, (float, complex)) and not issubclass(cls, (np.generic, enum.Enum))


@functools.lru_cache(maxsize=256)
def _is_traceable(dtype: np.dtype[Any]) -> bool:
    if dtype.kind in "biufc":
        return dtype.isnative and dtype.char not in "gG"  # g, G: extended precision, unknown to XLA
    return dtype.kind == "V" and (dtype == jax.dtypes.float0 or jnp.issubdtype(dtype, np.number))


@functools.lru_cache(maxsize=256)
def _is_inexact(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, np.inexact)


def _is_jaxs_own(cls: type) -> bool:
    """Whether JAX itself made a class whose instances it traces; anybody's class may have an `aval`."""
    return cls.__module__.partition(".")[0] in ("jax", "jaxlib") and hasattr(cls, "aval")


def _leaf_is_array_type(cls: type) -> bool | None:
    if issubclass(cls, Tracer) or (_is_jaxs_own(cls) and not issubclass(cls, jax.Array)):
        return None  # what is traced need not be an array (a Ref, say)
    if issubclass(cls, np.ndarray):
        return None
    if issubclass(cls, np.generic):
        return _is_traceable(np.dtype(cls))
    return issubclass(cls, jax.Array)


leaf_is_array_type: Callable[[type], bool | None] = ByClass(_leaf_is_array_type).__getitem__
"""What `is_array` says of every instance of exactly this class; `None` if it depends on the instance."""


def is_array(element: Any) -> TypeGuard[jax.Array]:
    """Whether `element` is an array that JAX can trace.

    True for JAX arrays, tracers included, and for NumPy arrays and scalars of a boolean, integer, floating
    or complex dtype (bfloat16, float8 and the like too). NumPy arrays of objects, strings, dates or records
    are not arrays here: JAX has no such types.

    To type checkers it is a `jax.Array` then: what is usual with arrays works alike for NumPy's.
    """
    known = leaf_is_array_type(type(element))
    if known is not None:
        return known
    if isinstance(element, np.ndarray):
        return _is_traceable(element.dtype)
    return isinstance(element, jax.Array)


_REF: Any = getattr(jax, "Ref", ())  # a class since JAX 0.8


def is_array_or_ref(element: Any) -> bool:
    """Whether `element` is an array (`is_array`), or a `jax.Ref`, whose array can be changed in place."""
    return is_array(element) or isinstance(element, _REF)


def holds_ref(tree: Any) -> bool:
    """Whether there is a `jax.Ref` in a tree."""
    return any(isinstance(leaf, _REF) for leaf in jax.tree_util.tree_leaves(tree))


def is_array_like(element: Any) -> bool:
    """Whether `element` is an array (`is_array`), a Python number, or an object with `__jax_array__`."""
    return (
        is_array(element)
        or issubclass(type(element), (bool, int, float, complex))
        or hasattr(type(element), "__jax_array__")
    )


def is_inexact_array(element: Any) -> TypeGuard[jax.Array]:
    """Whether `element` is an array (`is_array`) of a floating or complex dtype."""
    return is_array(element) and _is_inexact(element.dtype)


def is_inexact_array_like(element: Any) -> bool:
    """Whether `element` is, or has a `__jax_array__` that is, an inexact array; or a `float` or `complex`."""
    if hasattr(type(element), "__jax_array__") and not is_array(element):
        element = element.__jax_array__()
    return is_inexact_array(element) or (
        issubclass(type(element), (float, complex)) and not issubclass(type(element), np.generic)
    )


def is_array_or_struct(element: Any) -> TypeGuard[jax.Array | jax.ShapeDtypeStruct]:
    """Whether `element` is an array (`is_array`) or a `jax.ShapeDtypeStruct`."""
    return is_array(element) or is_struct(element)


@dataclasses.dataclass(frozen=True)
class IfArray:
    """What `if_array` returns: arrays are mapped to `axis`, everything else to `None`."""

    axis: int

    def __call__(self, leaf: Any) -> int | None:
        """`axis` for an array, `None` for anything else."""
        return self.axis if is_array(leaf) else None


def if_array(axis: int) -> IfArray:
    """An entry of `in_axes` or `out_axes`: map arrays along `axis`, broadcast everything else."""
    return IfArray(axis)
