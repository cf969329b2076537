"""Predicates of leaves, as conditions. Executed as well: see test_static."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, ShapeDtypeStruct
from typing_extensions import assert_type

from typedfilter import filter, is_array, is_array_or_struct, is_inexact_array, partition

X = jnp.arange(3.0)


def doubled(leaf: Any) -> Any:
    return leaf * 2 if is_array(leaf) else leaf


def negated(leaf: Any) -> Any:
    return -leaf if is_inexact_array(leaf) else leaf


def with_default(bias: Array | None) -> Array:
    return bias if is_array(bias) else X


def size_of(leaf: object) -> int:
    return leaf.size if is_array_or_struct(leaf) else 0


def first_of(leaf: Array | np.ndarray[Any, Any] | str) -> object:
    # The other branch keeps all types: what is no array here may be one of NumPy's (of strings, say).
    return leaf[0] if not is_array(leaf) else leaf.sum()


def scaled(leaf: Any, by: float) -> Array:
    if not is_inexact_array(leaf):
        raise TypeError(leaf)
    assert_type(leaf, Array)
    return leaf.astype(jnp.float32) * by


def accepted() -> None:
    print(jax.tree.map(doubled, [X, "a", np.arange(3)]), negated(X), negated(3), scaled(X, 0.5))
    print(size_of(X), size_of(ShapeDtypeStruct((3,), jnp.float32)), size_of("a"))
    print(first_of("abc"), first_of(X), first_of(np.array(["a"])))
    assert_type(with_default(None), Array)
    assert_type([leaf for leaf in [X, None] if is_array(leaf)], list[Array])
    assert_type(filter({"a": X}, is_array), dict[str, Array])
    print(partition([X, "a"], is_inexact_array))


def rejected(leaf: object) -> None:
    leaf + 1  # type: ignore[operator]
    if is_array(leaf):
        leaf.shpae  # type: ignore[attr-defined]


if __name__ == "__main__":
    accepted()
