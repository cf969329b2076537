"""A call as a function of its arrays alone: everything else travels around JAX, in and out.

Floor 3. Serves the transforms that treat all arrays alike (checkpoints, jaxprs, closures). What a parameter
is annotated as decides for its whole argument; where it says nothing, arrays are passed, leaf by leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.hints import Role
from typedfilter._reading.plan import Param, Plan
from typedfilter._values.split import Rest, split
from typedfilter.filters import is_array, is_array_like

__all__ = ["Arguments", "Lifted", "as_struct", "is_passed", "stands_for_array", "take_arrays"]

Predicate = Callable[[Any], bool]


def is_passed(leaf: Any) -> bool:
    """Whether a leaf goes through JAX: an array, or anything else that is being traced."""
    return is_array(leaf) or isinstance(leaf, jax.core.Tracer)


def stands_for_array(leaf: Any) -> bool:
    """Whether a leaf is passed, or has the shape and dtype of an array as a `jax.ShapeDtypeStruct` has."""
    if is_passed(leaf) or isinstance(leaf, jax.ShapeDtypeStruct):
        return True
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    known = isinstance(leaf, (np.ndarray, np.generic))  # of strings or objects: JAX has no such dtype
    return not known and isinstance(shape, tuple) and isinstance(dtype, np.dtype)


def as_struct(leaf: Any) -> jax.ShapeDtypeStruct:
    """The `jax.ShapeDtypeStruct` of what stands for an array, or is a Python number."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    if stands_for_array(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))


class Arguments:
    """The arguments of one call without their arrays.

    Attributes:
        names: those that were passed by name, which come last.
        masks: for each argument, which of its leaves are arrays.
    """

    def __init__(self, count: int, names: tuple[str, ...], masks: list[list[bool]], rest: Rest) -> None:
        self.count = count
        self.names = names
        self.masks = masks
        self.rest = rest

    def join(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with `arrays` in the place of those of the call."""
        values = self.rest.join(arrays)
        return values[: self.count], dict(zip(self.names, values[self.count :], strict=True))


def take_arrays(
    plan: Plan | None, args: Sequence[Any], kwargs: Mapping[str, Any], is_array: Predicate = is_passed
) -> tuple[list[Any], Arguments]:
    """The arrays of a call, flat, and the rest of its arguments.

    Without a plan there are no annotations to go by: arrays are passed, whatever argument they are in.
    """
    values = [*args, *kwargs.values()]
    params: list[Param | None] = [None] * len(values)
    if plan is not None:
        params = [plan.positional(i) for i in range(len(args))]
        params += [plan.keyword(name) for name in kwargs]
    masks = [_passed(param, value, is_array) for param, value in zip(params, values, strict=True)]
    arrays, rest = split(values, lambda _: [yes for mask in masks for yes in mask])
    return arrays, Arguments(len(args), tuple(kwargs), masks, rest)


class Lifted:
    """A function from the arrays of a call to those of its result, for JAX's own transforms.

    Attributes:
        out: what else the result held when the function ran last.
    """

    out: Rest

    def __init__(self, body: Callable[..., Any], arguments: Arguments) -> None:
        self.body = body
        self.arguments = arguments

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        args, kwargs = self.arguments.join(arrays)
        found, self.out = split(self.body(*args, **kwargs), lambda leaves: list(map(is_passed, leaves)))
        return found


def _passed(param: Param | None, value: Any, is_array: Predicate) -> list[bool]:
    """For each leaf of an argument, whether it is passed."""
    role = Role.AUTO if param is None else param.hint.role
    leaves = jax.tree_util.tree_leaves(value)
    if role is Role.STATIC:
        return [False] * len(leaves)
    marks = leaf_marks(value)
    numbers = role in (Role.ARRAYS, Role.TRACED)
    return [
        (is_array(leaf) or (numbers and is_array_like(leaf))) and not mark.static
        for leaf, mark in zip(leaves, marks, strict=True)
    ]
