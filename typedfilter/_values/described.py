"""What can be told of a value without keeping it: classes, shapes, dtypes, and the structure of containers.

Where that says all that a decision can have looked at, it is made once for all values that look alike. A
description holds no array and no object of the user's; `is_told` says whether nothing else matters.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any

import jax
from jax.tree_util import tree_flatten

from typedfilter._values.leaves import leaf_is_array_type
from typedfilter._values.memory import ByClass

VALUES = (bool, int, str, bytes, type(None))
"""Classes whose values are told apart by `==`, once the class is known."""
_NUMBERS = (bool, int, float, complex, type(None))
_NODES = (tuple, list, dict, type(None))


def of_leaf(leaf: Any) -> Hashable:
    """The class of a leaf, with the shape and dtype of an array.

    Raises:
        AttributeError: it is traced, and has neither.
    """
    cls: Any = type(leaf)
    return cls if leaf_is_array_type(cls) is False else (cls, leaf.shape, leaf.dtype)


def is_told(tree: Any, by_class: bool = False) -> bool:
    """Whether the structure of a tree, with `of_leaf` of each leaf, is all that there is to tell.

    Not where a node has auxiliary data; nor where a leaf is an object of anybody's, which may hold more.

    Args:
        tree: any pytree.
        by_class: of what is no array, nothing but the class matters.
    """
    nodes: list[Any] = []

    def look(node: Any) -> bool:
        nodes.append(node)
        return False

    leaves, _ = tree_flatten(tree, is_leaf=look)
    told = _is_told_class if by_class else is_told_leaf
    return all(map(told, leaves)) and all(map(_is_told_node, nodes))


def _is_told_class(leaf: Any) -> bool:
    cls = type(leaf)
    return is_told_leaf(leaf) or (leaf_is_array_type(cls) is False and is_permanent(cls))


def is_told_leaf(leaf: Any) -> bool:
    """Whether `of_leaf` says all of a leaf but the values in it."""
    cls = type(leaf)
    if cls in _NUMBERS:
        return True
    if leaf_is_array_type(cls) is False or not is_permanent(cls):  # nothing is asked of anybody's object
        return False
    sizes = getattr(leaf, "shape", None)
    return isinstance(sizes, tuple) and all(type(size) is int for size in sizes)


def _is_told_node(node: Any) -> bool:
    """Whether JAX's structure of a node, which compares keys with `==`, tells it from any other."""
    cls = type(node)
    if cls is dict:
        return all(type(key) is str for key in node)
    record = issubclass(cls, tuple) and hasattr(cls, "_fields") and is_permanent(cls)
    return cls in _NODES or record or jax.tree_util.all_leaves([node])


def _is_permanent(cls: type) -> bool:
    own = cls.__module__.partition(".")[0] in ("builtins", "jax", "jaxlib", "numpy")
    return own or getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls


is_permanent = ByClass(_is_permanent).__getitem__
"""Whether a class lives as long as the process."""
