"""Tangents and cotangents beside the values that they belong to: aligned leaf by leaf, or a readable error.

Serves `filter_jvp`, `filter_vjp` and the custom rules: in all of them a pytree has the structure of
another one, arrays of the same shape and dtype, and `None` for what is zero or not differentiated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from typedfilter._values.carried import is_zero
from typedfilter._values.leaves import (
    as_array,
    as_struct,
    is_array,
    is_array_like,
    is_float0,
    is_inexact_array,
    is_inexact_array_like,
    is_number,
)
from typedfilter._values.nodes import is_leaf_def, one_level
from typedfilter._values.text import array_text, brief
from typedfilter._values.trees import flatten, same_structure
from typedfilter.errors import PytreeError, ShapeError, TypedFilterError

E = TypeVar("E", bound=TypedFilterError)
RETURNED = "return"


@dataclasses.dataclass(frozen=True)
class Undifferentiated:
    """Stands for a leaf without a tangent in a tree of `jax.ShapeDtypeStruct`s."""

    text: str


Slot = jax.ShapeDtypeStruct | Undifferentiated
"""What a tangent of one leaf looks like, kept after the call that it belongs to."""


def slot_for(leaf: Any) -> Slot:
    """The slot of a leaf: also of a constant, whose tangent has no effect."""
    if is_inexact_array(leaf) or is_number(leaf):
        return as_struct(leaf)
    return Undifferentiated(f"of type {type(leaf).__name__}")


def zeros_in(slot: Any) -> jax.Array:
    """The tangent that is left out."""
    return jnp.zeros(slot.shape, slot.dtype)


@dataclasses.dataclass(frozen=True)
class Beside:
    """A pytree of tangents that belongs to a pytree of values, and what messages call both."""

    function: str  # the user's function
    name: str  # of the tangents; `"return"` where `function` is a rule that returns them
    owner: str  # of the values
    kind: str  # what one of them is: a tangent, a cotangent, a gradient
    prefix: str = ""  # where, in what a rule returns, the tangents are
    numbers: bool = False  # whether Python numbers have tangents, if no annotation says otherwise
    cast: bool = False  # whether one of another precision is converted

    def leaves(self, values: Any, tangents: Any, mask: Sequence[bool]) -> list[jax.Array | None]:
        """The tangent of each leaf of `values`, as an array like it; `None` where it is zero.

        Args:
            values: any pytree.
            tangents: a pytree of the same structure, with `None` for leaves, or whole subtrees, whose
                tangent is zero.
            mask: which leaves of `values` are differentiated: the others must have `None`.

        Raises:
            PytreeError: the structures differ.
            ShapeError: a tangent does not have the shape or dtype of its value, or there must be none.
        """
        owners = flatten(values)[0]
        aligned = self._aligned(values, tangents)
        found: list[jax.Array | None] = []
        for index, (value, tangent) in enumerate(zip(owners, aligned, strict=True)):
            if tangent is None or (is_zero(tangent) and _fits_zero(value, tangent)):
                found.append(None)
                continue
            if not mask[index]:
                raise self._unwanted(_path(values, index), value, tangent)
            array = _converted(value, tangent, self.cast)
            if array is None:
                raise self._misfit(_path(values, index), value, tangent)
            found.append(array)
        return found

    def error(self, cls: type[E], path: str, problem: str, **facts: str) -> E:
        """An error about the tangent at `path`."""
        if self.name != RETURNED:
            return cls(problem, function=self.function, parameter=self.name + path, **facts)
        where = f"at {self.prefix}{path} " if self.prefix + path else ""
        return cls(where + problem, function=self.function, parameter=RETURNED, **facts)

    def _aligned(self, values: Any, tangents: Any) -> list[Any]:
        owners, owner_def = flatten(values, _is_none)
        leaves, treedef = flatten(tangents, _is_none)
        pairs = list(zip(leaves, owners, strict=False))
        if same_structure(treedef, owner_def) and all(
            leaf is None or owner is not None for leaf, owner in pairs
        ):
            return [leaf for leaf, owner in pairs if owner is not None]
        return self._walk((), values, tangents)

    def _walk(self, path: tuple[Any, ...], value: Any, tangent: Any) -> list[Any]:
        if tangent is None:
            return [None] * len(flatten(value)[0])
        keys, children, treedef = one_level(value)
        if is_leaf_def(treedef):
            return [tangent]
        _, others, other_def = one_level(tangent)
        if not same_structure(treedef, other_def):
            raise self._mismatch(jax.tree_util.keystr(path), value, tangent)
        parts = [
            self._walk((*path, *key), child, other)
            for key, child, other in zip(keys, children, others, strict=True)
        ]
        return [leaf for part in parts for leaf in part]

    def _mismatch(self, path: str, value: Any, tangent: Any) -> PytreeError:
        expected, actual = _describe(value), _describe(tangent)
        return self.error(
            PytreeError,
            path,
            f"does not match `{self.owner}{path}`",
            expected=f"{expected}, or None if the {self.kind} is zero" if value is not None else expected,
            actual=f"{actual} whose static parts differ" if actual == expected else actual,
            fix=f"give it the structure of {self.owner}, with None where there is no {self.kind}",
        )

    def _unwanted(self, path: str, value: Any, tangent: Any) -> ShapeError:
        reason = f"is {_leaf_text(value)}"
        known = isinstance(value, jax.ShapeDtypeStruct)  # of what could be differentiated
        if known or (is_inexact_array_like(value) if self.numbers else is_inexact_array(value)):
            reason = "is annotated as never differentiated"
        return self.error(
            ShapeError,
            path,
            f"is a {self.kind} for what is not differentiated: `{self.owner}{path}` {reason}",
            expected="None",
            actual=_describe(tangent),
            fix=f"put None in its place; only floating-point and complex arrays have a {self.kind}",
        )

    def _misfit(self, path: str, value: Any, tangent: Any) -> ShapeError:
        return self.error(
            ShapeError,
            path,
            f"does not fit `{self.owner}{path}`: it is {_describe(tangent)}",
            expected=f"{_fitting(value)}, or None if the {self.kind} is zero",
            actual=_describe(tangent),
            fix=f"give the {self.kind} the shape and dtype of what it belongs to",
        )


def _converted(value: Any, tangent: Any, cast: bool) -> jax.Array | None:
    """`tangent` as an array that fits `value`; `None` if it doesn't fit."""
    shape, dtype = _shape_and_dtype(value)
    if not is_array_like(tangent):
        return None
    if not is_array(tangent) and isinstance(tangent, (float, complex)):
        # Python numbers have no precision of their own, as everywhere in JAX.
        fits = shape == () and (isinstance(tangent, float) or jnp.issubdtype(dtype, jnp.complexfloating))
        return jnp.asarray(tangent).astype(dtype) if fits else None
    array = as_array(tangent)
    if cast and array.dtype != dtype and _are_of_one_kind(array.dtype, dtype):  # a weak type stays weak
        array = array.astype(dtype)
    return array if array.shape == shape and array.dtype == dtype else None


def _fits_zero(value: Any, tangent: Any) -> bool:
    """Whether a zero of JAX's own (what `zero_from_primal` makes, say) is one for `value`."""
    return is_float0(tangent) or tangent.shape == _shape_and_dtype(value)[0]


def _are_of_one_kind(one: Any, two: Any) -> bool:
    """Whether both are floating-point dtypes, or both complex."""
    kinds = (jnp.floating, jnp.complexfloating)
    return any(jnp.issubdtype(one, kind) and jnp.issubdtype(two, kind) for kind in kinds)


def _shape_and_dtype(value: Any) -> tuple[tuple[int, ...], Any]:
    if isinstance(value, jax.ShapeDtypeStruct):
        return value.shape, value.dtype
    return jnp.shape(value), jnp.result_type(value)


def _path(tree: Any, index: int) -> str:
    return jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(tree)[index][0])


def _describe(node: Any) -> str:
    keys, _, treedef = one_level(node)
    if node is None:
        return "None"
    if is_leaf_def(treedef):
        return _leaf_text(node)
    name = type(node).__name__
    if isinstance(node, (tuple, list)):
        return f"{name} of {len(keys)}"
    return f"{name} with {', '.join(jax.tree_util.keystr(key) for key in keys) or 'no children'}"


def _leaf_text(leaf: Any) -> str:
    if isinstance(leaf, Undifferentiated):
        return leaf.text
    return _fitting(leaf) if isinstance(leaf, jax.ShapeDtypeStruct) else brief(leaf)


def _fitting(value: Any) -> str:
    """What a tangent of `value` is."""
    shape, dtype = _shape_and_dtype(value)
    return f"an array {array_text(dtype, shape)}"


def _is_none(node: object) -> bool:
    return node is None
