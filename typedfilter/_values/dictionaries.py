"""The keys of the dictionaries in a tree, exactly.

JAX compares them with `==`, so that {1: x}, {1.0: x} and {True: x} have one structure. Where a structure
holds its dictionaries is found once; of each tree of that structure only their keys are looked at.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax

from typedfilter._values.keys import exact_key
from typedfilter._values.split import getter

Step = Callable[[Any], Any]


def follow(steps: Sequence[Step], node: Any) -> Any:
    """What stands at the end of a way into a tree."""
    for step in steps:
        node = step(node)
    return node


@dataclasses.dataclass(frozen=True)
class Dicts:
    """Where the dictionaries of a structure are."""

    # from one of the nodes that were found before, by number, to children of it that are to be found
    # after these; the tree itself is the first
    steps: list[tuple[int, Step]]
    take: Step  # from all that was found to the dictionaries

    @classmethod
    def of(cls, tree: Any) -> Dicts | None:
        """Those of a tree; `None` where there are none."""
        steps: list[tuple[int, Step]] = []
        found = [tree]
        for number, node in enumerate(found):  # which grows meanwhile
            holding = [key for key, child in _children(node).items() if _holds_dicts(child)]
            if holding:
                steps.append((number, _stepping(node, holding)))
                found += steps[-1][1](node)
        at = [number for number, node in enumerate(found) if _is_dict(node)]
        return cls(steps, getter(at)) if at else None


def _is_dict(node: Any) -> bool:
    return isinstance(node, dict) and not jax.tree_util.all_leaves([node])


def _holds_dicts(tree: Any) -> bool:
    return any(map(_is_dict, jax.tree_util.tree_leaves(tree, is_leaf=_is_dict)))


def _children(node: Any) -> dict[Any, Any]:
    """The children of a node, by what finds them there; none of a leaf."""
    if jax.tree_util.all_leaves([node]):
        return {}
    if isinstance(node, dict):
        return node
    return dict(enumerate(node if isinstance(node, tuple | list) else _one_level(node)))


def _one_level(node: Any) -> tuple[Any, ...]:
    found = jax.tree_util.default_registry.flatten_one_level(node)
    return () if found is None else tuple(found[0])


def _stepping(node: Any, keys: list[Any]) -> Step:
    get = getter(keys)
    return get if isinstance(node, dict | tuple | list) else lambda node: get(_one_level(node))


def exact_dict_keys(tree: Any, dicts: Dicts | None) -> tuple[Hashable, ...]:
    """The exact keys of the dictionaries at these places; of none where all are plain strings."""
    if dicts is None:
        return ()
    found = [tree]
    for number, step in dicts.steps:
        found += step(found[number])
    nodes = dicts.take(found)
    if _PLAIN_KEYS.issuperset(map(type, itertools.chain.from_iterable(nodes))):
        return ()
    return tuple([frozenset([exact_key(key) for key in node]) for node in nodes])


_PLAIN_KEYS = frozenset((str,))
