"""What a pytree must look like, leaf by leaf, and where another one differs from that.

Arrays are given by shape and dtype, everything else by its exact value. Serves whatever fixes a
program for some arguments or results, and later meets others. Knows nothing of plans or transforms.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from typedfilter._values.dictionaries import Dicts, exact_dict_keys
from typedfilter._values.keys import exact_key
from typedfilter._values.leaves import as_struct, is_passed
from typedfilter._values.text import brief, struct_text, structure_text
from typedfilter._values.trees import same_structure


@dataclasses.dataclass(frozen=True)
class Difference:
    """Where a tree does not fit a template."""

    where: str  # the path of the leaf; empty if the structure differs
    what: str  # in what it differs: structure, type, shape, dtype or value
    expected: str
    actual: str
    static: bool = False  # whether it is about a value that is no array


class Template:
    """The structure of a tree, the shape and dtype of its arrays, and everything else exactly.

    Attributes:
        structs: of the arrays, as a flat list.
    """

    def __init__(self, tree: Any, mask: Sequence[bool]) -> None:
        found, treedef = jax.tree_util.tree_flatten_with_path(tree)
        self.treedef: Any = treedef
        self.paths: list[Any] = [path for path, _ in found]
        self.mask: Sequence[bool] = mask
        self.leaves: list[Any] = [
            as_struct(leaf) if is_array else leaf for (_, leaf), is_array in zip(found, mask, strict=True)
        ]
        self.structs: list[Any] = [leaf for leaf, is_array in zip(self.leaves, mask, strict=True) if is_array]
        self._dicts = Dicts.of(tree)
        self._dict_keys = exact_dict_keys(tree, self._dicts)

    @functools.cached_property
    def key(self) -> Hashable:
        """Equal for templates that are the same exactly; a new object where something is unhashable."""
        leaves = zip(self.leaves, self.mask, strict=True)
        try:
            texts = tuple([struct_text(leaf) if is_array else exact_key(leaf) for leaf, is_array in leaves])
            key = self.treedef, tuple(self.mask), texts, self._dict_keys
            hash(key)
        except TypeError:
            return object()
        return key

    def fit(self, tree: Any, batch: tuple[int, ...] = ()) -> list[Any] | Difference:
        """The arrays of `tree`, flat, or the first difference.

        A Python number fits where a scalar array of its kind is due, and becomes one. Arrays have the
        axes `batch` in front of their own.
        """
        leaves, treedef = jax.tree_util.tree_flatten(tree)
        # Hashes too: to JAX 0.10 and 0.12, the treedefs of two dataclasses with equal fields are equal.
        same = same_structure(treedef, self.treedef)
        if not same or self._dict_keys != exact_dict_keys(tree, self._dicts):
            return Difference("", "structure", structure_text(self.treedef), structure_text(treedef))
        arrays: list[Any] = []
        for path, wanted, is_array, leaf in zip(self.paths, self.leaves, self.mask, leaves, strict=True):
            where = jax.tree_util.keystr(path)
            if is_array:
                array = _as_array(wanted, leaf)
                expected = struct_text(wanted, batch)
                if array is None or struct_text(array) != expected:
                    return Difference(where, _what(wanted, array, batch), expected, brief(leaf))
                arrays.append(array)
            elif not same_static(wanted, leaf):
                return Difference(where, "value", brief(wanted), brief(leaf), static=True)
        return arrays

    def join(self, arrays: Sequence[Any], copied: Callable[[Any], Any] | None = None) -> Any:
        """The tree, with `arrays` in the places of its arrays, and what else it holds `copied`."""
        remaining = iter(arrays)
        leaves = [
            next(remaining) if is_array else leaf if copied is None else copied(leaf)
            for leaf, is_array in zip(self.leaves, self.mask, strict=True)
        ]
        return self.treedef.unflatten(leaves)


def same_static(one: Any, two: Any) -> bool:
    """Whether no program can tell two values apart; of unhashable ones type and `==` decide."""
    if one is two:
        return True
    if is_passed(one) or is_passed(two):
        return False
    try:
        return exact_key(one) == exact_key(two)
    except TypeError:
        return type(one) is type(two) and bool(
            np.all(one == two)
        )  # arrays of objects are compared by element


def _as_array(wanted: Any, leaf: Any) -> Any:
    """`leaf` if it is an array, and as one if it is a Python number of the kind that is due."""
    if is_passed(leaf):
        return leaf
    kinds = {bool: np.bool_, int: np.integer, float: np.floating, complex: np.complexfloating}
    kind = kinds.get(type(leaf))
    if kind is None or not jnp.issubdtype(wanted.dtype, kind):
        return None
    try:
        return np.asarray(leaf, wanted.dtype)
    except OverflowError:
        return None


def _what(wanted: Any, array: Any, batch: tuple[int, ...]) -> str:
    if array is None:
        return "type"
    return "dtype" if array.shape == (*batch, *wanted.shape) else "shape"
