"""`filter_shard`: put arrays on devices, inside and outside of `filter_jit`.

Floor 4. How one array is placed is decided in `_sharding`; here is the prefix over a pytree.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
from jax.sharding import PartitionSpec, Sharding

from typedfilter._diagnose import brief
from typedfilter._lift import is_passed
from typedfilter._sharding import mesh_problem, place, rank_problem
from typedfilter._template import structure_text
from typedfilter.errors import ShapeError

__all__ = ["filter_shard"]

T = TypeVar("T")
_TARGETS = (jax.Device, Sharding, PartitionSpec)


def filter_shard(x: T, device_or_shardings: Any) -> T:
    """Move arrays to a device, or split them over several; whatever is no array stays as it is.

    Outside of compiled code arrays are really moved, also those that are committed to other devices. Inside
    it is a constraint that the compiler fulfils, as `jax.lax.with_sharding_constraint` and, for explicit
    mesh axes, `jax.sharding.reshard` do.

    Args:
        x: any pytree.
        device_or_shardings: a `jax.Device`, a `jax.sharding.Sharding`, a `jax.sharding.PartitionSpec` of
            the ambient mesh (`jax.set_mesh`), or a pytree of these whose structure is a prefix of that of
            `x`; `None` in it leaves a subtree alone.

    Returns:
        A copy of `x` with its arrays placed; NumPy arrays become JAX arrays.

    Raises:
        ShapeError: `device_or_shardings` is none of these, or is not a prefix; a `PartitionSpec` has more
            dimensions than an array, or does not fit the ambient mesh.
    """
    found, treedef = jax.tree_util.tree_flatten_with_path(x)
    targets = _spread(device_or_shardings, x)
    leaves = [
        _place(jax.tree_util.keystr(path), leaf, target) if is_passed(leaf) and target is not None else leaf
        for (path, leaf), target in zip(found, targets, strict=True)
    ]
    moved: T = jax.tree_util.tree_unflatten(treedef, leaves)
    return moved


def _place(where: str, leaf: Any, target: Any) -> Any:
    if isinstance(target, PartitionSpec):
        problem = mesh_problem(target) or rank_problem(target, leaf)
        if problem is not None:
            raise ShapeError(function="filter_shard", parameter="x" + where, **problem)
    return place(leaf, target)


def _spread(targets: Any, tree: Any) -> list[Any]:
    """A prefix of targets over all leaves of a tree."""
    out: list[Any] = []

    def below(target: Any, subtree: Any) -> None:
        out.extend([target] * len(jax.tree_util.tree_leaves(subtree)))

    found = jax.tree_util.tree_leaves_with_path(targets, is_leaf=_is_target)
    for path, target in found:
        if not _is_target(target):
            raise ShapeError(
                f"is {brief(target)}, which is no place for an array",
                function="filter_shard",
                parameter="device_or_shardings" + jax.tree_util.keystr(path),
                expected="a jax.Device, a jax.sharding.Sharding, a PartitionSpec, or a pytree of these",
                actual=brief(target),
                fix="of a mesh, pass jax.sharding.NamedSharding(mesh, PartitionSpec(...))",
            )
    try:
        jax.tree_util.tree_map(below, targets, tree, is_leaf=_is_target)
    except ValueError:
        raise ShapeError(
            "does not fit the structure of x",
            function="filter_shard",
            parameter="device_or_shardings",
            expected=f"a prefix of {structure_text(jax.tree_util.tree_structure(tree))}",
            actual=structure_text(jax.tree_util.tree_structure(targets, is_leaf=_is_target)),
            fix="pass one for all of x, or a pytree like its upper levels; None leaves a subtree alone",
        ) from None
    return out


def _is_target(node: Any) -> bool:
    return node is None or isinstance(node, _TARGETS)
