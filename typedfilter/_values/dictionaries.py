"""The keys of the dictionaries in a tree, exactly.

JAX compares them with `==`, so that {1: x}, {1.0: x} and {True: x} have one structure. Where a structure
holds its dictionaries is found once; of each tree of that structure only their keys are looked at.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax

from typedfilter._values.keys import exact_key

Step = Callable[[Any], Any]


def follow(steps: Sequence[Step], node: Any) -> Any:
    """What stands at the end of a way into a tree."""
    for step in steps:
        node = step(node)
    return node


def dict_paths(tree: Any) -> list[tuple[Step, ...]]:
    """The way to every dictionary in a tree, as look-ups to do one after another."""
    if jax.tree_util.all_leaves([tree]):
        return []
    paths: list[tuple[Step, ...]] = [()] if isinstance(tree, dict) else []
    for step in _steps(tree):
        paths += [(step, *path) for path in dict_paths(step(tree))]
    return paths


def _steps(tree: Any) -> list[Step]:
    """A look-up for each child of a node; none for a leaf."""
    if isinstance(tree, dict):
        return [operator.itemgetter(key) for key in tree]
    if isinstance(tree, (tuple, list)):
        return [operator.itemgetter(i) for i in range(len(tree))]
    found = jax.tree_util.default_registry.flatten_one_level(tree)
    count = 0 if found is None else len(tuple(found[0]))
    return [functools.partial(_child, i) for i in range(count)]


def _child(index: int, node: Any) -> Any:
    return tuple(jax.tree_util.default_registry.flatten_one_level(node)[0])[index]


def exact_dict_keys(tree: Any, paths: Iterable[tuple[Step, ...]]) -> tuple[Hashable, ...]:
    """The exact keys of the dictionaries at these places; `None` where they are plain strings."""
    keys: list[Hashable] = []
    for path in paths:
        node = follow(path, tree)
        keys.append(None if set(map(type, node)) <= _PLAIN_KEYS else frozenset(map(exact_key, node)))
    return tuple(keys)


_PLAIN_KEYS = {str}
