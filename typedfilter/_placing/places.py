"""Places, and pytrees of them: what says where arrays are to be, as a user writes it.

A `PartitionSpec` is about the ambient mesh (`jax.set_mesh`); a rule is a callable that says it of each leaf.
Moves nothing, and knows nothing of functions and their annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from typedfilter._compat import spec_entries
from typedfilter._placing.specs import Problem
from typedfilter._reading.markers import PLACES
from typedfilter._reading.text import sharding_text, spec_text
from typedfilter._reading.within import Each, Maybe
from typedfilter._values.leaves import is_array_or_struct, is_passed
from typedfilter._values.text import array_text, brief, structure_text


def for_jax(target: Any) -> Any:
    """A place as `jax.jit` and constraints take it."""
    return SingleDeviceSharding(target) if isinstance(target, jax.Device) else target


def is_free(target: Any) -> bool:
    """Whether a place leaves a dimension to the compiler."""
    target = getattr(target, "sharding", target)
    spec = target.spec if isinstance(target, NamedSharding) else target
    return isinstance(spec, PartitionSpec) and PartitionSpec.UNCONSTRAINED in spec_entries(spec)


def numpy_problem(target: Any, array: Any) -> Problem | None:
    """Why each of several processes can't be asked for an array: it has a part, and would give it for all."""
    if not isinstance(array, np.ndarray) or not _is_split(target):
        return None
    return Problem(
        problem="is a NumPy array of this process alone, and is to be split over the devices of several",
        expected=f"one jax.Array of all processes, for {places_text(target)}",
        actual=f"a NumPy array {array_text(array.dtype, array.shape)} in each process",
        fix="make it of the parts: jax.make_array_from_process_local_data(sharding, array)",
    )


def _is_split(target: Any) -> bool:
    target = getattr(target, "sharding", target)
    spec = target.spec if isinstance(target, NamedSharding) else target
    if isinstance(spec, PartitionSpec):
        return spec != PartitionSpec(*[None] * len(spec))
    return target is not None


def devices_of(target: Any) -> tuple[Any, ...] | None:
    """The devices that a place is about, in its order; `None` where that is not known."""
    target = getattr(target, "sharding", target)
    if isinstance(target, jax.Device):
        return (target,)
    if not isinstance(target, Sharding) or isinstance(getattr(target, "mesh", None), AbstractMesh):
        return None
    if isinstance(target, NamedSharding):
        devices: Any = target.mesh.devices
        return tuple(devices.flat)
    return tuple(sorted(target.device_set, key=lambda device: device.id))


def devices_text(devices: Iterable[Any]) -> str:
    """Devices by their numbers: `devices 0, 1`."""
    given = [device.id for device in devices]
    numbers = sorted(given)
    shown = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 4 else ", ".join(map(str, numbers))
    return f"device{'s' if len(numbers) > 1 else ''} {shown}"


class _Shown:
    """Has the repr of a place in short."""

    def __init__(self, place: Any) -> None:
        self.text = str(place)
        if isinstance(place, PartitionSpec):
            self.text = spec_text(place)
        elif isinstance(place, Sharding):
            self.text = sharding_text(place)
        elif not isinstance(place, PLACES) and callable(place):
            self.text = getattr(place, "__qualname__", None) or repr(place)
        elif isinstance(place, Each):
            self.text = f"[{places_text(place.places)}, ...]"
        elif isinstance(place, Maybe):
            self.text = places_text(place.places)

    def __repr__(self) -> str:
        return self.text


def places_text(places: Any) -> str:
    """A pytree of places in short, for people: of a mesh, what it is called and how long it is."""
    return repr(jax.tree_util.tree_map(_Shown, places, is_leaf=is_place))


# ---------------------------------------------------------------------------------------- pytrees of places


class NoPrefixError(ValueError):
    """Places are given in a structure that is no prefix of that of the arrays."""


def is_place(node: Any) -> bool:
    """Whether an array can be put there; `None` leaves arrays where they are."""
    return node is None or isinstance(node, PLACES)


def _is_rule(node: Any) -> bool:
    return not is_place(node) and callable(node) and jax.tree_util.all_leaves([node])


def has_rules(places: Any) -> bool:
    """Whether a pytree of places leaves some of them to a rule, or to what a value turns out to hold."""
    leaves = jax.tree_util.tree_leaves(places, is_leaf=is_place)
    return any(_is_rule(leaf) or isinstance(leaf, Each | Maybe) for leaf in leaves)


def no_place(places: Any) -> tuple[str, Problem] | None:
    """The first leaf of a pytree that is no place: its path, and the fields of an error; or `None`."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(places, is_leaf=is_place):
        if not is_place(leaf) and not _is_rule(leaf):
            return jax.tree_util.keystr(path), _no_place(leaf)
    return None


def _no_place(leaf: Any) -> Problem:
    return Problem(
        problem=f"is {brief(leaf)}, which is no place for an array",
        expected="a jax.Device, a jax.sharding.Sharding, a PartitionSpec, or a pytree of these",
        actual=brief(leaf),
        fix="of a mesh, pass jax.sharding.NamedSharding(mesh, PartitionSpec(...))",
    )


def prefix_problem(problem: str, places: Any, tree: Any, one: str) -> Problem:
    """That `places` is no prefix of `tree`; `one` is for what a single place would be."""
    return Problem(
        problem,
        f"a prefix of {structure_text(jax.tree_util.tree_structure(tree))}",
        structure_text(jax.tree_util.tree_structure(places, is_leaf=is_place)),
        f"{one}, or a pytree like its upper levels; None leaves a subtree alone",
    )


def spread_places(
    places: Any, tree: Any, refuse: Callable[[str, Problem], Exception] | None = None
) -> list[Any]:
    """A prefix of places over all leaves of a tree, with rules asked about each array.

    Args:
        places: a prefix.
        tree: any pytree.
        refuse: makes an exception of a path and the fields of an error: a rule may return anything.

    Raises:
        NoPrefixError: `places` is no prefix.
    """
    out: list[Any] = []

    def below(target: Any, subtree: Any) -> None:
        out.extend([target] * len(jax.tree_util.tree_leaves(subtree)))

    try:
        jax.tree_util.tree_map(below, places, tree, is_leaf=is_place)
    except ValueError as error:
        raise NoPrefixError(str(error)) from None
    return _ruled(out, tree, refuse) if has_rules(places) else out


def _ruled(targets: list[Any], tree: Any, refuse: Callable[[str, Problem], Exception] | None) -> list[Any]:
    """`targets`, with what the rules among them say of the arrays that they stand at."""
    found: list[Any] = []
    for (path, leaf), target in zip(jax.tree_util.tree_leaves_with_path(tree), targets, strict=True):
        said = target
        if _is_rule(target):
            said = target(leaf) if is_passed(leaf) or is_array_or_struct(leaf) else None
        if not is_place(said) and refuse is not None:
            raise refuse(jax.tree_util.keystr(path), _no_place(said))
        found.append(said)
    return found
