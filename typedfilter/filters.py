"""Which leaves are arrays, and the taking apart and putting together of pytrees by such questions.

Knows pytrees and dtypes; knows nothing of annotations, plans or transforms. Every function flattens
each tree once and then works on flat lists of leaves.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from typedfilter._values.leaves import _is_inexact, is_array_like
from typedfilter._values.nodes import is_leaf_def
from typedfilter._values.text import describe
from typedfilter._values.trees import IsLeaf, flatten, not_a_prefix, same_structure, zip_trees
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.errors import PytreeError

__all__ = [
    "apply_updates",
    "combine",
    "filter",
    "partition",
    "tree_equal",
]

T = TypeVar("T")


# --- predicates ---------------------------------------------------------------------------------------------


# --- filter and partition -----------------------------------------------------------------------------------


@ends_at_caller
def filter(
    pytree: T,
    filter_spec: Any,
    inverse: bool = False,
    replace: Any = None,
    is_leaf: IsLeaf = None,
) -> T:
    """`pytree` with the leaves that `filter_spec` does not select replaced.

    Args:
        pytree: any pytree.
        filter_spec: a predicate of leaves, a bool, or a pytree of these whose structure is a prefix of that
            of `pytree`.
        inverse: keep what is not selected instead.
        replace: what stands in the place of the other leaves.
        is_leaf: asked at each node below a predicate; where it says `True` the predicate gets the node.

    Raises:
        PytreeError: `filter_spec` is not a prefix, or holds something else than bools and predicates.
    """
    leaves, rebuild, mask = _select("filter", pytree, filter_spec, is_leaf)
    kept: T = rebuild(
        [leaf if chosen != inverse else replace for leaf, chosen in zip(leaves, mask, strict=True)]
    )
    return kept


@ends_at_caller
def partition(pytree: T, filter_spec: Any, replace: Any = None, is_leaf: IsLeaf = None) -> tuple[T, T]:
    """`pytree` in two: the leaves that `filter_spec` selects, and the others. `combine` undoes it.

    Both parts have the structure of `pytree`, with `replace` where the leaf went to the other one. Arguments
    and errors are those of `filter`.
    """
    leaves, rebuild, mask = _select("partition", pytree, filter_spec, is_leaf)
    pairs = list(zip(leaves, mask, strict=True))
    selected: T = rebuild([leaf if chosen else replace for leaf, chosen in pairs])
    others: T = rebuild([replace if chosen else leaf for leaf, chosen in pairs])
    return selected, others


_Selection: TypeAlias = "tuple[list[Any], Callable[[list[Any]], Any], Sequence[bool]]"


def _select(function: str, pytree: Any, spec: Any, is_leaf: IsLeaf) -> _Selection:
    """The leaves of `pytree`, what puts as many values back in their places, and which are selected."""
    entries, spec_def = flatten(spec)
    if is_leaf_def(spec_def):
        return _select_below(function, spec, 0, spec, pytree, is_leaf)
    leaves, treedef = flatten(pytree)
    if same_structure(treedef, spec_def) and all(isinstance(entry, bool) for entry in entries):
        return leaves, treedef.unflatten, entries
    try:
        subtrees = spec_def.flatten_up_to(pytree)
    except ValueError:
        raise not_a_prefix(function, spec, pytree) from None
    parts = [
        _select_below(function, spec, index, entry, subtree, is_leaf)
        for index, (entry, subtree) in enumerate(zip(entries, subtrees, strict=True))
    ]
    mask = [chosen for part in parts for chosen in part[2]]
    if is_leaf is None:  # then the leaves are those of the whole, whose own treedef keeps its static parts
        return leaves, treedef.unflatten, mask

    def rebuild(values: list[Any]) -> Any:
        remaining = iter(values)
        return spec_def.unflatten([part[1]([next(remaining) for _ in part[0]]) for part in parts])

    return [leaf for part in parts for leaf in part[0]], rebuild, mask


def _select_below(
    function: str, spec: Any, index: int, entry: Any, subtree: Any, is_leaf: IsLeaf
) -> _Selection:
    """What entry number `index` of the spec selects of the subtree that it stands for."""
    leaves, treedef = flatten(subtree, is_leaf)
    if isinstance(entry, (bool, np.bool_)):
        return leaves, treedef.unflatten, [bool(entry)] * len(leaves)
    if callable(entry):
        return leaves, treedef.unflatten, [bool(entry(leaf)) for leaf in leaves]
    raise PytreeError(
        "is neither a bool nor a predicate",
        function=function,
        parameter=f"filter_spec{jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(spec)[index][0])}",
        actual=repr(entry),
        fix="write True, False or a function of one leaf that returns a bool",
    )


# --- combine and apply_updates ------------------------------------------------------------------------------


@ends_at_caller
def combine(*pytrees: T, is_leaf: IsLeaf = None) -> T:
    """One pytree of several: at each place the first leaf that is not `None`. Undoes `partition`.

    A `None` also stands for a whole subtree that another pytree has in that place.

    Args:
        pytrees: pytrees of one structure, at least one.
        is_leaf: where it says `True` of a node, the node is taken whole.

    Raises:
        PytreeError: the structures don't match, or there is no pytree.
    """
    if not pytrees:
        raise PytreeError("needs at least one pytree", function="combine", fix="pass the parts to combine")
    stop = _is_none if is_leaf is None else (lambda node: node is None or is_leaf(node))
    leaves, treedef = flatten(pytrees[0], is_leaf=stop)
    columns = [leaves, *(_leaves_at(treedef, pytree) for pytree in pytrees[1:])]
    if all(column is not None for column in columns):
        whole: T = treedef.unflatten(map(_first_present, zip(*columns, strict=True)))
    else:
        names = [f"pytrees[{index}]" for index in range(len(pytrees))]
        whole = zip_trees("combine", names, pytrees, stop, _first_present)
    return whole


@ends_at_caller
def apply_updates(model: T, updates: Any) -> T:
    """`model + updates`, leaf by leaf; where an update is `None` the leaf stays as it is.

    Args:
        model: any pytree.
        updates: a pytree of the same structure, with `None` for leaves (or whole subtrees) to leave alone.

    Raises:
        PytreeError: the structures don't match, or an update can't be added to its leaf.
    """
    leaves, treedef = flatten(model)
    changes = _leaves_at(treedef, updates)
    if changes is not None:
        try:
            updated: T = treedef.unflatten(map(_add, zip(leaves, changes, strict=True)))
        except (TypeError, ValueError):
            _refuse_unlike(model, leaves, changes)
            raise
    else:
        names = ("model", "updates")
        updated = zip_trees("apply_updates", names, (model, updates), _is_none, _add, needs_first=True)
    return updated


_is_none: Callable[[Any], bool] = functools.partial(operator.is_, None)  # in C: it is asked at every node


def _leaves_at(treedef: Any, tree: Any) -> list[Any] | None:
    """The leaf of `tree`, or `None`, at each leaf of `treedef`. `None` if the structures differ otherwise."""
    try:
        column: list[Any] = treedef.flatten_up_to(tree)
    except ValueError:
        return None
    shape = flatten(column)[1]
    present = len(column) - sum(map(_is_none, column))
    # Else one of them is a subtree. (An empty one is a single node, as a leaf is, but has no leaf.)
    return column if (shape.num_leaves, shape.num_nodes) == (present, len(column) + 1) else None


def _refuse_unlike(model: Any, leaves: Sequence[Any], changes: Sequence[Any]) -> None:
    """Name the first leaf whose update has a shape that it can't be added with."""
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(model)[0]]
    for path, leaf, change in zip(paths, leaves, changes, strict=True):
        if not (is_array_like(leaf) and is_array_like(change)):  # JAX warns of what has no shape
            continue
        try:
            jnp.broadcast_shapes(jnp.shape(leaf), jnp.shape(change))
        except ValueError:
            raise PytreeError(
                f"is {describe(change)}, but `model{path}` is {describe(leaf)}",
                function="apply_updates",
                parameter=f"updates{path}",
                expected=f"an update for {describe(leaf)}",
                actual=describe(change),
                fix="make the updates from gradients with respect to this very model",
            ) from None


def _first_present(values: Sequence[Any]) -> Any:
    for value in values:
        if value is not None:
            return value
    return None


def _add(values: Sequence[Any]) -> Any:
    value, change = values
    return value if change is None else value + change


# --- tree_equal ---------------------------------------------------------------------------------------------


@ends_at_caller
def tree_equal(*pytrees: Any, typematch: bool = False, rtol: Any = 0.0, atol: Any = 0.0) -> bool | jax.Array:
    """Whether all pytrees are equal: the same structure, equal leaves.

    Arrays are equal if shape, dtype and values are; JAX and NumPy arrays can be equal to each other, but not
    to Python numbers. Other leaves are compared with `==`. A NaN is equal to nothing.

    Args:
        pytrees: at least one.
        typematch: ask also for the same types of leaves, so that `1` and `1.0` differ, as do arrays of JAX
            and of NumPy.
        rtol: relative tolerance for inexact arrays.
        atol: absolute tolerance for inexact arrays.

    Returns:
        A bool, or a boolean array of shape () where JAX arrays were compared (traced if one of them is).

    Raises:
        PytreeError: there is no pytree.
    """
    if not pytrees:
        raise PytreeError("needs at least one pytree", function="tree_equal", fix="pass those to compare")
    leaves, treedef = flatten(pytrees[0])
    outcome: bool | jax.Array = True
    for other in pytrees[1:]:
        other_leaves, other_def = flatten(other)
        # Hashes too: to JAX 0.10 and 0.12, the treedefs of two dataclasses with equal fields are equal.
        if not same_structure(other_def, treedef):
            return False
        for one, two in zip(leaves, other_leaves, strict=True):
            if typematch and type(one) is not type(two):
                return False
            same = _leaf_equal(one, two, rtol, atol)
            if same is False:
                return False
            outcome = outcome & same
    return outcome


def _is_any_array(leaf: Any) -> bool:
    return isinstance(leaf, (np.ndarray, np.generic, jax.Array))  # of objects or strings too


def _leaf_equal(one: Any, two: Any, rtol: Any, atol: Any) -> Any:
    if _is_any_array(one) != _is_any_array(two):
        return False
    if not _is_any_array(one):
        return bool(one == two)
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    exact = not _is_inexact(one.dtype) or (_is_zero(rtol) and _is_zero(atol))
    on_device = any(isinstance(array, jax.Array) for array in (one, two))
    if exact:
        return jnp.all(one == two) if on_device else bool(np.all(one == two))
    return (jnp if on_device else np).allclose(one, two, rtol=rtol, atol=atol)


def _is_zero(tolerance: Any) -> bool:
    return isinstance(tolerance, (int, float)) and tolerance == 0
