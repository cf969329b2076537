"""Results that are shapes only: where their arrays would be, if the program ran.

JAX knows what it was told as `out_shardings`; what fields and rules say happens in the body, and leaves no
trace in shapes but on Explicit axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, Sharding

from typedfilter._compat import concrete_mesh, spec_entries
from typedfilter._placing.bodies import targets_of_result
from typedfilter._placing.shardings import Placement


def with_shardings(placement: Placement, result: Any) -> Any:
    """A result of structs, each with the sharding that its array will have; as it is where none is said."""
    targets = targets_of_result(placement, result)
    if not any(target is not None for target in targets):
        return result
    leaves, treedef = jax.tree_util.tree_flatten(result)
    mesh = concrete_mesh() if placement.mesh is None else placement.mesh
    sharded = [_sharded(leaf, target, mesh) for leaf, target in zip(leaves, targets, strict=True)]
    return jax.tree_util.tree_unflatten(treedef, sharded)


def with_names(
    placement: Placement, call: tuple[Sequence[Any], Mapping[str, Any]], infos: Any, shardings: Any, mesh: Any
) -> Any:
    """The shardings of the arguments of a program, as their places say them where that is the same.

    What a field or a rule says, the compiler tells by numbers of devices alone.

    Args:
        placement: of the function.
        call: the arguments that it was compiled for.
        infos: what has the dimensions of each array, in the structure of `shardings`.
        shardings: as JAX says them.
        mesh: the ambient one at that time.
    """
    args, kwargs = call
    said = placement.of_arguments(len(args), tuple(kwargs))
    arguments = zip(placement.plan.arguments(args, kwargs), said, strict=True)
    targets = [t for (name, _, value), one in arguments for t in one.of_leaves(placement.plan, name, value)]
    specs = dict.fromkeys(target for target in targets if isinstance(target, PartitionSpec))
    known = [target for target in targets if isinstance(target, NamedSharding)]
    known += [] if mesh is None else [NamedSharding(mesh, spec) for spec in specs]
    leaves, treedef = jax.tree_util.tree_flatten(shardings, is_leaf=lambda node: node is None)
    shapes = jax.tree_util.tree_leaves(infos)
    if len(leaves) != len(shapes):
        return shardings
    named = [_named(leaf, len(info.shape), known) for leaf, info in zip(leaves, shapes, strict=True)]
    return jax.tree_util.tree_unflatten(treedef, named)


def _named(sharding: Any, ndim: int, known: Sequence[NamedSharding]) -> Any:
    if isinstance(sharding, NamedSharding) or not isinstance(sharding, Sharding):
        return sharding
    return next((one for one in known if _fits(one, ndim) and one.is_equivalent_to(sharding, ndim)), sharding)


def _fits(place: NamedSharding, ndim: int) -> bool:
    return len(spec_entries(place.spec)) <= ndim


def is_elsewhere(leaf: Any, place: Any) -> bool:
    """Whether an array is committed to another place, so that a program has to move it."""
    mesh = concrete_mesh() if isinstance(place, PartitionSpec) else None
    place = NamedSharding(mesh, place) if mesh is not None else place
    if not isinstance(place, Sharding) or not hasattr(leaf, "committed"):
        return False
    return bool(leaf.committed) and not leaf.sharding.is_equivalent_to(place, leaf.ndim)


def _has_devices(sharding: Any) -> bool:
    """Whether a sharding says on which devices; that of a type on Explicit axes does not."""
    return sharding is not None and not isinstance(getattr(sharding, "mesh", None), AbstractMesh)


def _sharded(leaf: Any, target: Any, mesh: Any) -> Any:
    if not isinstance(leaf, jax.ShapeDtypeStruct) or _has_devices(leaf.sharding):
        return leaf
    if target is None:  # as its type says
        target = getattr(leaf.sharding, "spec", None)
    if isinstance(target, PartitionSpec):
        target = None if mesh is None else NamedSharding(mesh, target)
    if not isinstance(target, Sharding):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=target, weak_type=leaf.weak_type)
