"""One node of a pytree: its children and how they are reached, or that it is a leaf."""

from __future__ import annotations

from typing import Any

import jax


def is_leaf_def(treedef: Any) -> bool:
    """Whether this is the treedef of a leaf. (JAX's `treedef_is_leaf` also says so of `None` and `()`.)"""
    return bool(treedef == _LEAF)


_LEAF = jax.tree.structure(0)


def one_level(node: Any) -> tuple[list[tuple[Any, ...]], list[Any], Any]:
    """The keys, the children and the treedef of one node (of a leaf: no key, itself, the leaf treedef)."""
    children: list[tuple[Any, Any]]
    treedef: Any
    children, treedef = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda inner: inner is not node)
    return [key for key, _ in children], [child for _, child in children], treedef
