"""How anything that is no array travels past JAX and back: as nodes without children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero

from typedfilter._values.leaves import is_array, is_float0, is_number
from typedfilter._values.split import Rest, split_where
from typedfilter._values.trees import same_structure


class _Shape(Rest):
    """The rest of a result; equal to others around the same places. JAX compares function and rule."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Shape):
            return False
        return self.taken_at == other.taken_at and same_structure(self.treedef, other.treedef)

    def __hash__(self) -> int:
        return hash(self.treedef)


class Carried:
    """A pytree on its way through JAX: its arrays are children, everything else is auxiliary data."""

    __slots__ = ("arrays", "rest")

    arrays: tuple[Any, ...]
    rest: Rest

    def __init__(self, arrays: Sequence[Any], rest: Rest) -> None:
        self.arrays = tuple(arrays)
        self.rest = rest

    @classmethod
    def of(cls, tree: Any) -> Carried:
        arrays, rest = split_where(tree, is_array)
        return cls(arrays, rest)

    @classmethod
    def of_result(cls, tree: Any) -> Carried:
        """As `of`, of what is differentiated: a Python float has a derivative as an array has."""
        arrays, rest = split_where(tree, lambda leaf: is_array(leaf) or is_number(leaf))
        return cls(arrays, rest)

    def comparable(self) -> Carried:
        """The same as the result of a function, or of the rule that stands for it."""
        rest = self.rest
        return Carried(self.arrays, _Shape(rest.treedef, rest.taken_at, rest.others_at, rest.others))

    def concrete(self) -> Carried:
        return self.with_arrays(concrete(self.arrays))

    def with_arrays(self, arrays: Sequence[Any]) -> Carried:
        return Carried(arrays, self.rest)

    def join(self) -> Any:
        return self.rest.join(self.arrays)


jax.tree_util.register_pytree_node(
    Carried,
    lambda carried: (carried.arrays, carried.rest),
    lambda rest, arrays: Carried(tuple(arrays), rest),
)


def concrete(values: Sequence[Any]) -> list[Any]:
    """What JAX passes to a rule, as JAX arrays: where nothing is traced it may be Python or NumPy numbers."""
    # A rule may branch on them, and while JAX linearizes it, `asarray` would return tracers.
    return [value if _is_ready(value) else jax.device_put(value) for value in values]


def _is_ready(value: Any) -> bool:
    return isinstance(value, jax.Array) or is_zero(value)


def is_zero(tangent: Any) -> bool:
    """Whether a tangent or cotangent that JAX passes to a rule is zero, or that of integers."""
    return isinstance(tangent, SymbolicZero) or is_float0(tangent)
