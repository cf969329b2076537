"""Where arrays live: on a device, or split over a mesh.

Outside of a trace arrays are moved; in one they are constrained, which is all that a program can ask
for. A `PartitionSpec` is about the ambient mesh (`jax.set_mesh`). Of a mesh, `Auto` axes take constraints and
`Explicit` ones a reshard. Knows nothing of functions and their annotations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.core
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from typedfilter._compat import SET_MESH
from typedfilter._values.leaves import is_passed
from typedfilter._values.text import array_text, brief, structure_text

__all__ = [
    "NoPrefixError",
    "devices_of",
    "devices_text",
    "fit_problem",
    "is_place",
    "mesh_problem",
    "no_place",
    "place",
    "place_tree",
    "places_text",
    "prefix_texts",
    "spread_places",
]


def place(array: Any, target: Any) -> Any:
    """`array` on a device or with a sharding: moved, or constrained where a program is being traced.

    Args:
        array: an array; NumPy's become JAX's.
        target: a `jax.Device`, a `jax.sharding.Sharding`, or a `PartitionSpec` of the ambient mesh.
    """
    if not isinstance(array, jax.core.Tracer) and not _is_staging():
        return jax.device_put(array, target)
    if isinstance(target, jax.Device):
        target = SingleDeviceSharding(target)
    return _constrained(array, target)


def _is_staging() -> bool:
    """Whether what is computed now becomes a part of a program, also where nothing in it is traced.

    In a program, `jax.device_put` of what the program closes over says nothing about the result.
    """
    return isinstance(jax.lax.full((), False), jax.core.Tracer)  # dropped from the program: nothing uses it


@functools.partial(jax.jit, static_argnums=1, inline=True)  # under jit, since eager constraints can do less
def _constrained(array: Any, target: Any) -> Any:
    if not isinstance(target, NamedSharding | PartitionSpec):
        return jax.lax.with_sharding_constraint(array, target)
    ambient = jax.sharding.get_abstract_mesh()
    mesh = target.mesh if isinstance(target, NamedSharding) else ambient
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if AxisType.Explicit in kinds.values():
        if ambient.empty:
            array = jax.device_put(array, target)  # nothing else says which devices the program runs on
        array = jax.sharding.reshard(array, _only(AxisType.Explicit, kinds, target))
    if AxisType.Auto in kinds.values():
        array = jax.lax.with_sharding_constraint(array, _only(AxisType.Auto, kinds, target))
    return array


def _only(kind: Any, kinds: dict[Any, Any], target: Any) -> Any:
    """`target` without the mesh axes of other kinds."""
    if set(kinds.values()) == {kind}:
        return target

    def keep(entry: Any) -> Any:
        names = entry if isinstance(entry, tuple) else (entry,)
        return tuple(name for name in names if kinds.get(name) is kind) or None

    if isinstance(target, NamedSharding):
        return NamedSharding(target.mesh, PartitionSpec(*map(keep, target.spec)))
    return PartitionSpec(*map(keep, target))


def devices_of(target: Any) -> frozenset[Any] | None:
    """The devices that a place is about; `None` where that is not known."""
    if isinstance(target, jax.Device):
        return frozenset([target])
    if not isinstance(target, Sharding) or isinstance(getattr(target, "mesh", None), AbstractMesh):
        return None
    return frozenset(target.device_set)


def devices_text(devices: Iterable[Any]) -> str:
    """Devices by their numbers: `devices 0, 1`."""
    numbers = sorted(device.id for device in devices)
    shown = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 4 else ", ".join(map(str, numbers))
    return f"device{'s' if len(numbers) > 1 else ''} {shown}"


def mesh_problem(spec: PartitionSpec) -> dict[str, str] | None:
    """Why `spec` can't be about the ambient mesh, as the fields of an error; `None` if it can."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return {
            "problem": "needs a mesh, and none is set",
            "expected": f"an ambient mesh for {spec_text(spec)}",
            "fix": f"call it inside `with {SET_MESH}(mesh):`",
        }
    missing = [name for entry in spec for name in _names(entry) if name not in mesh.axis_names]
    if not missing:
        return None
    return {
        "problem": f"is to be split along {missing[0]!r}, which is no axis of the mesh",
        "expected": "axes among: " + ", ".join(map(str, mesh.axis_names)),
        "actual": spec_text(spec),
        "fix": "name an axis of the ambient mesh",
    }


def fit_problem(target: Any, array: Any, even: bool) -> dict[str, str] | None:
    """Why `array` can't be placed by `target`, as the fields of an error; `None` if it can.

    Args:
        target: a place.
        array: an array.
        even: whether every device must get the same. What JAX can't share evenly it leaves whole, and says
            nothing: that will do for a constraint inside of a program, not for what was asked of a result.
    """
    if isinstance(target, PartitionSpec):
        sizes = jax.sharding.get_abstract_mesh().shape
        return mesh_problem(target) or _split_problem(target, sizes, array, even)
    if isinstance(target, NamedSharding):
        return _split_problem(target.spec, target.mesh.shape, array, even)
    return None


def _split_problem(
    spec: PartitionSpec, sizes: Mapping[str, int], array: Any, even: bool
) -> dict[str, str] | None:
    return _rank_problem(spec, array) or (_size_problem(spec, sizes, array) if even else None)


def _rank_problem(spec: PartitionSpec, array: Any) -> dict[str, str] | None:
    if len(spec) <= array.ndim:
        return None
    return {
        "problem": f"has {array.ndim} dimensions, but {spec_text(spec)} is for {len(spec)} or more",
        "expected": f"at least {len(spec)} dimensions",
        "actual": f"{array.ndim} dimensions",
        "fix": "shorten the PartitionSpec: dimensions that it leaves out are not split",
    }


def _size_problem(spec: PartitionSpec, sizes: Mapping[str, int], array: Any) -> dict[str, str] | None:
    for axis, (entry, size) in enumerate(zip(spec, array.shape, strict=False)):
        parts = math.prod(sizes[name] for name in _names(entry))
        if size % parts:
            return {
                "problem": f"has size {size} along axis {axis}, which is split into {parts} equal parts",
                "expected": f"a multiple of {parts} along axis {axis}, for {spec_text(spec)}",
                "actual": array_text(array.dtype, array.shape),
                "fix": "pad that axis, or leave it whole: None in the PartitionSpec",
            }
    return None


def _names(entry: Any) -> list[str]:
    """The axes of the mesh in one entry of a `PartitionSpec`."""
    names = entry if isinstance(entry, tuple) else (entry,)
    return [name for name in names if isinstance(name, str)]


def spec_text(spec: PartitionSpec) -> str:
    """A `PartitionSpec` as it is written: its own repr differs between JAX releases."""
    return f"PartitionSpec({', '.join(map(repr, spec))})"


def places_text(places: Any) -> str:
    """A pytree of places in short, for people: of a mesh, what it is called and how long it is."""
    shown = jax.tree_util.tree_map(_Shown, places, is_leaf=is_place)
    return repr(shown)


class _Shown:
    """Has the repr of a place in short."""

    def __init__(self, place: Any) -> None:
        self.text = str(place)
        if isinstance(place, PartitionSpec | NamedSharding):
            self.text = spec_text(place if isinstance(place, PartitionSpec) else place.spec)
        if isinstance(place, NamedSharding):
            axes = ", ".join(f"{name}={size}" for name, size in place.mesh.shape.items())
            self.text += f" of {axes}"

    def __repr__(self) -> str:
        return self.text


# ---------------------------------------------------------------------------------------- pytrees of places


class NoPrefixError(ValueError):
    """Places are given in a structure that is no prefix of that of the arrays."""


_PLACES = (jax.Device, Sharding, PartitionSpec)


def is_place(node: Any) -> bool:
    """Whether an array can be put there; `None` leaves arrays where they are."""
    return node is None or isinstance(node, _PLACES)


def no_place(places: Any) -> tuple[str, dict[str, str]] | None:
    """The first leaf of a pytree that is no place: its path, and the fields of an error; or `None`."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(places, is_leaf=is_place):
        if not is_place(leaf):
            return jax.tree_util.keystr(path), {
                "problem": f"is {brief(leaf)}, which is no place for an array",
                "expected": "a jax.Device, a jax.sharding.Sharding, a PartitionSpec, or a pytree of these",
                "actual": brief(leaf),
                "fix": "of a mesh, pass jax.sharding.NamedSharding(mesh, PartitionSpec(...))",
            }
    return None


def place_tree(
    tree: Any, places: Any, refuse: Callable[[str, dict[str, str]], Exception], *, even: bool = False
) -> Any:
    """`tree` with its arrays placed; what is no array stays as it is.

    Args:
        tree: any pytree.
        places: a pytree of places, whose structure is a prefix of that of `tree`.
        refuse: makes an exception of the path of an array, and the fields of an error.
        even: whether to refuse what can't be shared evenly.

    Raises:
        NoPrefixError: `places` is no prefix.
    """
    found, treedef = jax.tree_util.tree_flatten_with_path(tree)
    targets = spread_places(places, tree)
    leaves: list[Any] = []
    for (path, leaf), target in zip(found, targets, strict=True):
        if target is None or not is_passed(leaf):
            leaves.append(leaf)
            continue
        problem = fit_problem(target, leaf, even)
        if problem is not None:
            raise refuse(jax.tree_util.keystr(path), problem)
        leaves.append(place(leaf, target))
    return jax.tree_util.tree_unflatten(treedef, leaves)


def prefix_texts(places: Any, tree: Any) -> dict[str, str]:
    """What to expect, and what was found, where `places` is no prefix of `tree`."""
    return {
        "expected": f"a prefix of {structure_text(jax.tree_util.tree_structure(tree))}",
        "actual": structure_text(jax.tree_util.tree_structure(places, is_leaf=is_place)),
    }


def spread_places(places: Any, tree: Any) -> list[Any]:
    """A prefix of places over all leaves of a tree."""
    out: list[Any] = []

    def below(target: Any, subtree: Any) -> None:
        out.extend([target] * len(jax.tree_util.tree_leaves(subtree)))

    try:
        jax.tree_util.tree_map(below, places, tree, is_leaf=is_place)
    except ValueError as error:
        raise NoPrefixError(str(error)) from None
    return out
