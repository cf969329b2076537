"""The devices of a map: which ones, what each of them gets, and getting it there.

Serves `filter_pmap`. Knows meshes and committed arrays; knows nothing of how axes are chosen.
"""

from __future__ import annotations

import typing
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.core
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from typedfilter._compat import SET_MESH
from typedfilter._declarations import PmapDonation
from typedfilter._mapping.axes import Mapped
from typedfilter._reading.conflicts import check_donate
from typedfilter._reading.plan import Plan
from typedfilter._reading.text import show
from typedfilter.errors import AnnotationError, ShapeError, VmapAxisError

_DONATIONS = typing.get_args(PmapDonation)


def first_devices(
    plan: Plan,
    size: int,
    axis_name: Hashable,
    given: Sequence[Any] | None = None,
    backend: str | None = None,
) -> Mesh:
    """A mesh with one axis, of the first `size` devices that are given, or else that this process has.

    Raises:
        VmapAxisError: there are not that many, or none is asked for.
    """
    devices = jax.local_devices(backend=backend) if given is None else list(given)
    if size == 0:
        raise VmapAxisError(
            "is mapped over no device: there is no example",
            function=plan.function,
            expected=f"a mapped axis of size 1 to {len(devices)}",
            actual="size 0",
            fix="pass at least one example, or map with filter_vmap, which takes none, too",
        )
    if size <= len(devices):
        return Mesh(np.array(devices[:size]), (axis_name,))
    raise VmapAxisError(
        f"is mapped over {size} devices, and there are {len(devices)}",
        function=plan.function,
        expected=f"a mapped axis of size {len(devices)} or less",
        actual=f"size {size}",
        fix="map fewer examples, and the rest with filter_vmap inside; "
        + (
            f"on a CPU, set XLA_FLAGS=--xla_force_host_platform_device_count={size} before JAX starts"
            if given is None
            else "or give more devices"
        ),
    )


def refuse_mesh(plan: Plan) -> None:
    """Refuse to map over devices inside of an ambient mesh, which has a say about devices itself.

    Raises:
        VmapAxisError: there is an ambient mesh.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return
    raise VmapAxisError(
        f"can't be mapped over devices inside of a mesh (another map over devices, or {SET_MESH})",
        function=plan.function,
        expected="no ambient mesh",
        actual="a mesh with axes " + ", ".join(map(str, mesh.axis_names)),
        fix="map with filter_vmap there, or annotate shardings for filter_jit",
    )


def axis_spec(axis: int, ndim: int, axis_name: Hashable) -> PartitionSpec:
    """One slice along `axis` for each device."""
    return PartitionSpec(*[None] * (axis % ndim), axis_name)


def moved_to(call: Mapped, mesh: Mesh) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, those that are committed to other devices moved to where they are needed."""
    (axis_name,) = mesh.axis_names
    devices = set(mesh.devices.flat)

    def move(array: Any, spec: PartitionSpec) -> Any:
        concrete = isinstance(array, jax.Array) and not isinstance(array, jax.core.Tracer)
        if concrete and array.committed and array.sharding.device_set != devices:
            return jax.device_put(array, NamedSharding(mesh, spec))
        return array

    pairs = zip(call.arrays, call.axes, strict=True)
    args, kwargs = call.join([move(array, axis_spec(axis, array.ndim, axis_name)) for array, axis in pairs])
    moved: tuple[list[Any], dict[str, Any]] = jax.tree_util.tree_map(
        lambda leaf: move(leaf, PartitionSpec()), (args, kwargs)
    )
    return moved


def refuse_explicit(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse arrays whose types say how they are split: `jax.shard_map` over other axes takes none.

    Raises:
        ShapeError: there is one.
    """
    for name, _, value in plan.arguments(args, kwargs):
        for path, leaf in jax.tree_util.tree_leaves_with_path(value):
            mesh = getattr(getattr(leaf, "sharding", None), "mesh", None)
            if mesh is not None and AxisType.Explicit in mesh.axis_types:
                raise ShapeError(
                    "is split over a mesh with Explicit axes, and filter_pmap has axes of its own",
                    function=plan.function,
                    parameter=name + jax.tree_util.keystr(path),
                    expected="an array on one device, or on a mesh with Auto axes",
                    actual=f"an array on a mesh of {', '.join(map(str, mesh.axis_names))}",
                    fix="use filter_shard_map, or filter_shard it to one device before",
                )


def check_options(plan: Plan, options: Any) -> None:
    """Refuse options of `filter_pmap` that are none, or contradict each other or annotations.

    Raises:
        AnnotationError: a contradiction, or an unknown way to donate.
        VmapAxisError: the name of the axis is none.
    """
    check_donate(plan, options.donate, _DONATIONS, "filter_pmap")
    if options.devices is not None and options.backend is not None:
        raise AnnotationError(
            "is given two choices of devices: devices and backend",
            function=plan.function,
            expected="devices, or a backend",
            actual=f"devices={options.devices!r}, backend={options.backend!r}",
            fix="pass one of these",
        )
    if options.axis_name is not None and not isinstance(options.axis_name, str):
        raise VmapAxisError(
            f"has axis_name={options.axis_name!r}, and JAX names the axes of devices with strings",
            function=plan.function,
            expected="a str or None",
            actual=type(options.axis_name).__name__,
            fix="name the axis with a string",
        )
    for name, hint in plan.by_name:
        if hint.sharding is not None:
            raise AnnotationError(
                f"is annotated {show(hint.annotation)}, but filter_pmap splits arrays over devices by itself",
                function=plan.function,
                parameter=name,
                fix="drop the PartitionSpec, or use filter_jit and a mesh",
            )
