"""From JAX's errors about places to ones that name the argument.

Runs only when something was raised, and looks at the arguments alone: an error that they don't explain is
the user's own, and passes unchanged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.core
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from typedfilter._compat import (
    concrete_mesh,
    says_incompatible_devices,
    says_incompatible_mesh,
    says_placed_otherwise,
    says_spread_numpy,
)
from typedfilter._placing.places import (
    devices_of,
    devices_text,
    for_jax,
    numpy_problem,
    places_text,
)
from typedfilter._placing.shardings import Placement, Said
from typedfilter._placing.specs import fit_problem, mesh_problem
from typedfilter._reading.text import sharding_text
from typedfilter._reading.within import every_place
from typedfilter._values.leaves import is_array_or_struct
from typedfilter._values.text import array_text
from typedfilter.errors import AnnotationError, ShapeError, TypedFilterError


def placement_error(
    placement: Placement, error: Exception, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TypedFilterError | None:
    """What places have to do with an error of JAX; `None` if that is of something else."""
    if not placement.says_something or isinstance(error, TypedFilterError):
        return None
    found = _misfit(placement, args, kwargs)
    if found is not None:
        return found
    if says_spread_numpy(error):
        return numpy_error(placement, args, kwargs)
    if says_placed_otherwise(error):
        return _mismatch(placement, args, kwargs)
    if says_incompatible_devices(error):
        return _elsewhere(placement, args, kwargs)
    if says_incompatible_mesh(error) and len(_meshes(placement)) > 1:
        return _two_meshes(placement)
    return None


def _values(
    placement: Placement, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Said]]:
    said = placement.of_arguments(len(args), tuple(kwargs))
    for (name, _, value), one in zip(placement.plan.arguments(args, kwargs), said, strict=True):
        yield name, value, one


def _all_places(said: Said) -> list[Any]:
    return jax.tree_util.tree_leaves(said.places) if said.option else list(every_place(said.places))


def _leaves(value: Any, said: Said) -> Iterator[tuple[str, Any, Any]]:
    """Each leaf with its path and its place."""
    found = jax.tree_util.tree_leaves_with_path(value)
    for (path, leaf), target in zip(found, said.spread(value), strict=True):
        yield jax.tree_util.keystr(path), leaf, target


def _misfit(placement: Placement, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TypedFilterError | None:
    """The first place that can't be about its argument, or about the ambient mesh."""
    function = placement.plan.function
    for name, value, said in _values(placement, args, kwargs):
        cls = ShapeError if said.option else AnnotationError
        for place in () if said.option else every_place(said.places):
            problem = mesh_problem(place)
            if problem is not None:
                return problem.error(cls, function, name)
        try:
            targets = said.of_leaves(placement.plan, name, value)
        except ShapeError as error:
            return error
        leaves = jax.tree_util.tree_leaves_with_path(value)
        for (path, leaf), target in zip(leaves, targets, strict=True):
            problem = fit_problem(target, leaf, even=True) if is_array_or_struct(leaf) else None
            if problem is not None:
                where = name + jax.tree_util.keystr(path)
                return problem.error(ShapeError, function, where)
    result = placement.of_result()
    cls = ShapeError if result.option else AnnotationError
    for target in _all_places(result):
        problem = mesh_problem(target)
        if problem is not None:
            return problem.error(cls, function, "return")
    return None


def numpy_error(
    placement: Placement, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TypedFilterError | None:
    """The error for the first NumPy array that each of several processes would have to share out."""
    return _misfit(placement, args, kwargs) or shared_out(placement, args, kwargs)


def shared_out(placement: Placement, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ShapeError | None:
    """The same, of places that need not fit: they may be about what a transform gives to the function."""
    for name, value, said in _values(placement, args, kwargs):
        for path, leaf, target in _leaves(value, said):
            problem = numpy_problem(target, leaf)
            if problem is not None:
                return problem.error(ShapeError, placement.plan.function, name + path)
    return None


def _concrete(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and leaf.committed


def _mismatch(placement: Placement, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ShapeError | None:
    """The error for the first array that is split in another way than its place says."""
    for name, value, said in _values(placement, args, kwargs):
        for path, leaf, target in _leaves(value, said):
            if not _is_other(leaf, target):
                continue
            devices = devices_of(_full(target))
            if devices is not None and set(devices) != leaf.sharding.device_set:
                return _elsewhere_error(
                    placement, name + path, leaf, devices, said.option or "its annotation"
                )
            return ShapeError(
                f"is placed otherwise than its {said.option or 'annotation'} says, and isn't moved in secret",
                function=placement.plan.function,
                parameter=name + path,
                expected=_place_text(target),
                actual=f"an array {array_text(leaf.dtype, leaf.shape)} on {_place_text(leaf.sharding)}",
                fix="move it before the call: filter_shard; or leave the place of this argument open",
            )
    return None


def sliced(
    placement: Placement, error: Exception, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments of a call that JAX has refused, split as their places say, if each device has its part.

    What is computed while a mesh is set is whole on each of its devices. To split it sends nothing.
    """
    if not placement.says_something or not says_placed_otherwise(error):
        return None
    values = []
    moves = False
    for _, value, said in _values(placement, args, kwargs):
        pairs = [(leaf, target) for _, leaf, target in _leaves(value, said)]
        other = [_is_other(*pair) for pair in pairs]
        if any(yes and not _is_whole(*pair) for yes, pair in zip(other, pairs, strict=True)):
            return None
        moves = moves or any(other)
        leaves = [jax.device_put(*pair) if yes else pair[0] for yes, pair in zip(other, pairs, strict=True)]
        values.append(jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(value), leaves))
    return (values[: len(args)], dict(zip(kwargs, values[len(args) :], strict=True))) if moves else None


def _is_other(leaf: Any, target: Any) -> bool:
    """Whether an array is bound to another place than `target`, or is in another kind of memory."""
    wanted = _full(target) if target is not None else None
    if wanted is None or not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
        return False
    same_memory = getattr(wanted, "memory_kind", None) in (None, leaf.sharding.memory_kind)
    elsewhere = leaf.committed and not leaf.sharding.is_equivalent_to(wanted, leaf.ndim)
    return not same_memory or elsewhere


def _is_whole(leaf: Any, target: Any) -> bool:
    """Whether each device of a place has all of an array."""
    wanted = _full(target)
    same_memory = getattr(wanted, "memory_kind", None) in (None, leaf.sharding.memory_kind)
    return (
        same_memory
        and leaf.sharding.is_fully_replicated
        and leaf.sharding.device_set == set(devices_of(wanted) or ())
    )


def _place_text(target: Any) -> str:
    target = getattr(target, "sharding", target)
    if isinstance(target, NamedSharding) and not isinstance(target.mesh, AbstractMesh):
        device: Any = next(iter(target.device_set))
        usual = target.memory_kind in (None, device.default_memory().kind)
        kind = "" if usual else f" in {target.memory_kind} memory"
        return sharding_text(target) + kind
    devices = devices_of(target)
    return places_text(target) if devices is None else devices_text(devices)


def _full(target: Any) -> Any:
    """A place as a sharding over devices; `None` where only a mesh of devices could tell."""
    target = for_jax(getattr(target, "sharding", target))
    if not isinstance(target, PartitionSpec):
        return target
    mesh = concrete_mesh()
    return None if mesh is None else NamedSharding(mesh, target)


# ------------------------------------------------------------------------------------ sets of devices, meshes


def _elsewhere(placement: Placement, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ShapeError | None:
    """The error for the first array that is bound to other devices than a place names."""
    everywhere = list(_everywhere(placement, args, kwargs))
    for name, value, said in _values(placement, args, kwargs):
        for path, leaf, target in _leaves(value, said):
            wanted = [devices_of(target)] if target is not None else everywhere
            for devices in wanted:
                if devices is not None and _concrete(leaf) and devices_of(leaf.sharding) != devices:
                    option = (said.option or "its annotation") if target is not None else "out_shardings"
                    return _elsewhere_error(placement, name + path, leaf, devices, option)
    texts = sorted({devices_text(devices) for devices in everywhere})
    if len(texts) < 2:
        return None
    return ShapeError(
        f"is placed on {' and on '.join(texts)}, and a program runs in one place",
        function=placement.plan.function,
        expected="in_shardings and out_shardings that all name the same devices",
        actual=", ".join(texts),
        fix="name the same devices, or move the result with filter_shard, outside of the function",
    )


def _everywhere(
    placement: Placement, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    said = [*placement.of_arguments(len(args), tuple(kwargs)), placement.of_result()]
    for place in itertools.chain.from_iterable(map(_all_places, said)):
        devices = devices_of(place)
        if devices is not None:
            yield devices


def _elsewhere_error(
    placement: Placement, where: str, array: Any, devices: tuple[Any, ...], option: str
) -> ShapeError:
    found, wanted = devices_text(array.sharding.device_set), devices_text(devices)
    if set(devices) == array.sharding.device_set:
        found, wanted = f"{found} in one order", f"{wanted} in another"
    return ShapeError(
        f"is committed to {found}, but {option} names {wanted}, and a program runs in one place",
        function=placement.plan.function,
        parameter=where,
        expected=f"an array on {wanted}, or one that is not committed",
        actual=f"an array {array_text(array.dtype, array.shape)} on {found}",
        fix="move it there before the call: filter_shard",
    )


def _meshes(placement: Placement) -> set[Any]:
    options = placement.options
    leaves = () if options is None else (*options.inputs.leaves, *options.output.leaves)
    return {leaf.mesh for leaf in leaves if isinstance(leaf, NamedSharding)}


def _two_meshes(placement: Placement) -> ShapeError:
    """The error for a result whose place JAX takes from one mesh and can't say on another."""
    return ShapeError(
        "has no place of its own, and more than one mesh is named",
        function=placement.plan.function,
        parameter="return",
        expected="a place for each part of the result in out_shardings, or one mesh",
        actual=f"out_shardings={places_text(placement.of_result().places)}",
        fix="pass out_shardings, or split all arguments over one mesh",
    )
