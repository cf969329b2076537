"""Pytrees side by side: where several match, and a readable error at the first place where they don't.

Knows pytrees and their key paths; knows nothing of what the leaves are. Walks level by level, so it
is for the cases that one flat comparison of treedefs can't settle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax

from typedfilter._values.nodes import is_leaf_def, one_level
from typedfilter.errors import PytreeError

IsLeaf: TypeAlias = "Callable[[Any], bool] | None"
Treedef: TypeAlias = Any
"""JAX's `PyTreeDef`, of which type checkers see no attributes."""


def flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], Any]:
    """`jax.tree.flatten`; the treedef is `Any`, since to type checkers JAX's PyTreeDef has no attributes."""
    return jax.tree.flatten(tree, is_leaf=is_leaf)


_PLAIN = {tuple, list, dict, type(None)}


def own_classes(treedef: Treedef) -> set[type]:
    """The classes of the nodes of a tree, but those of plain containers."""
    data = treedef.node_data()
    own: set[type] = set() if data is None or data[0] in _PLAIN else {data[0]}
    return own.union(*map(own_classes, treedef.children()))


def same_structure(one: Treedef, two: Treedef) -> bool:
    """Whether two trees are made of the same classes, in the same way.

    JAX's own `==` takes two registered dataclasses for one where their static fields are equal; the hash
    tells their classes apart.
    """
    if one is two or one != two:
        return one is two
    try:
        return hash(one) == hash(two)
    except TypeError:  # a static field that is unhashable, in somebody else's node
        return str(one) == str(two)


def zip_trees(
    function: str,
    names: Sequence[str],
    trees: Sequence[Any],
    stop: Callable[[Any], bool],
    join: Callable[[Sequence[Any]], Any],
    *,
    needs_first: bool = False,
) -> Any:
    """Join trees whose structures differ at most in a `None` for a subtree.

    Args:
        function: the public function that asks, for messages.
        names: what that function calls the trees.
        trees: the trees.
        stop: nodes that are joined whole.
        join: what to make of the leaves, or whole subtrees, at one place.
        needs_first: `None` in the first tree may not stand for what others have there.

    Raises:
        PytreeError: the structures differ.
    """

    def walk(path: tuple[Any, ...], nodes: Sequence[Any]) -> Any:
        present = [(name, node) for name, node in zip(names, nodes, strict=True) if node is not None]
        if needs_first and present and nodes[0] is None:
            raise _mismatch(function, path, (names[0], None), present[0])
        if len(present) <= 1 or any(stop(node) for _, node in present):
            return join(nodes)
        keys, _, treedef = one_level(present[0][1])
        for other in present[1:]:
            if not same_structure(one_level(other[1])[2], treedef):
                raise _mismatch(function, path, present[0], other)
        if is_leaf_def(treedef):
            return join(nodes)
        rows = [[None] * len(keys) if node is None else one_level(node)[1] for node in nodes]
        columns = zip(keys, *rows, strict=True)
        return treedef.unflatten([walk((*path, *key), children) for key, *children in columns])

    return walk((), trees)


def _where_prefix_ends(path: tuple[Any, ...], prefix: Any, full: Any) -> tuple[Any, Any, Any] | None:
    keys, entries, treedef = one_level(prefix)
    if is_leaf_def(treedef):
        return None
    _, children, full_def = one_level(full)
    if not same_structure(treedef, full_def):
        return path, prefix, full
    for key, entry, child in zip(keys, entries, children, strict=True):
        found = _where_prefix_ends((*path, *key), entry, child)
        if found is not None:
            return found
    return None


def _mismatch(
    function: str, path: tuple[Any, ...], expected: tuple[str, Any], found: tuple[str, Any]
) -> PytreeError:
    where = jax.tree_util.keystr(path)
    wanted, actual = _describe(expected[1]), _describe(found[1])
    return PytreeError(
        f"does not match `{expected[0]}{where}`",
        function=function,
        parameter=f"{found[0]}{where}",
        expected=wanted,
        actual=f"{actual} whose static parts differ" if actual == wanted else actual,
        fix=_FIXES[function],
    )


_FIXES = {
    "filter": "give filter_spec the structure of the pytree, or of its upper levels",
    "partition": "give filter_spec the structure of the pytree, or of its upper levels",
    "combine": "combine parts of one pytree, as partition returns them",
    "apply_updates": "give updates the structure of the model, with None for what stays as it is",
}


def _describe(node: Any) -> str:
    name = type(node).__name__
    keys, _, treedef = one_level(node)
    if node is None:
        return "None"
    if is_leaf_def(treedef):
        return f"a leaf of type {name}"
    if isinstance(node, (tuple, list)):
        return f"{name} of {len(keys)}"
    return f"{name} with {', '.join(map(jax.tree_util.keystr, keys)) or 'no children'}"


def not_a_prefix(function: str, spec: Any, pytree: Any) -> PytreeError:
    path, entry, subtree = _where_prefix_ends((), spec, pytree) or ((), spec, pytree)
    return _mismatch(function, path, ("pytree", subtree), ("filter_spec", entry))
