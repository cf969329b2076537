"""What a `PartitionSpec` says of a mesh, and whether an array can be split by it.

Knows meshes and sizes; moves nothing, and knows nothing of functions and their annotations.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from typedfilter._compat import SET_MESH, spec_entries
from typedfilter._reading.text import spec_text
from typedfilter._values.text import array_text, count_text, meant
from typedfilter.errors import TypedFilterError

E = TypeVar("E", bound=TypedFilterError)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with a place: the fields of an error, less whose it is."""

    problem: str
    expected: str = ""
    actual: str = ""
    fix: str = ""

    def error(self, cls: type[E], function: str = "", parameter: str = "") -> E:
        """The error about this argument of a function."""
        facts = {"expected": self.expected, "actual": self.actual, "fix": self.fix}
        return cls(self.problem, function=function, parameter=parameter, **facts)


def entry_axes(entry: Any) -> list[str]:
    """The axes of the mesh in one entry of a `PartitionSpec`."""
    names = entry if isinstance(entry, tuple) else (entry,)
    return [name for name in names if isinstance(name, str)]


def axes_of(spec: PartitionSpec) -> Iterator[str]:
    """Every axis of the mesh that a `PartitionSpec` names."""
    for entry in spec_entries(spec):
        yield from entry_axes(entry)
    for name in ("unreduced", "reduced"):
        yield from sorted(getattr(spec, name, ()))


def manual_axes() -> list[str]:
    """The axes of the ambient mesh along which one block is seen here, inside of `jax.shard_map`."""
    mesh = jax.sharding.get_abstract_mesh()
    pairs = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return [str(name) for name, kind in pairs if kind is AxisType.Manual]


def mesh_problem(target: Any) -> Problem | None:
    """Why a place can't be about the ambient mesh; `None` if it can."""
    if isinstance(target, NamedSharding):
        return _manual_problem(target.spec)
    if not isinstance(target, PartitionSpec):
        return None
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return Problem(
            problem="needs a mesh, and none is set",
            expected=f"an ambient mesh for {spec_text(target)}",
            fix=f"call it inside `with {SET_MESH}(mesh):`",
        )
    return spec_problem(target, mesh) or _manual_problem(target)


def spec_problem(spec: PartitionSpec, mesh: Any) -> Problem | None:
    """Why a `PartitionSpec` can't be about a mesh: an axis that it lacks, or one that is named twice."""
    names = list(axes_of(spec))
    missing = [name for name in names if name not in mesh.axis_names]
    if missing:
        return Problem(
            problem=f"is to be split along {missing[0]!r}, which is no axis of the mesh",
            expected="axes among: " + ", ".join(map(str, mesh.axis_names)),
            actual=spec_text(spec),
            fix=meant(str(missing[0]), list(map(str, mesh.axis_names))) or "name an axis of the mesh",
        )
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        return Problem(
            problem=f"is to be split along {twice[0]!r} twice",
            expected="each axis of the mesh once",
            actual=spec_text(spec),
            fix="name it for one dimension only",
        )
    return _unreduced_problem(spec, mesh)


def _unreduced_problem(spec: PartitionSpec, mesh: Any) -> Problem | None:
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    sums = [*getattr(spec, "unreduced", ()), *getattr(spec, "reduced", ())]
    wrong = sorted(name for name in sums if kinds[name] is AxisType.Auto)
    if not wrong:
        return None
    return Problem(
        problem=f"is to be unreduced along {wrong[0]!r}, whose partial sums the compiler keeps to itself",
        expected="axes that are Explicit",
        actual=f"{spec_text(spec)}, and {wrong[0]!r} is Auto",
        fix="make it an Explicit axis: jax.make_mesh(..., axis_types=...)",
    )


def _manual_problem(spec: PartitionSpec) -> Problem | None:
    manual = [name for name in axes_of(spec) if name in manual_axes()]
    if not manual:
        return None
    return Problem(
        problem=f"is to be split along {manual[0]!r}, and {manual[0]!r} is manual here",
        expected="axes that are not mapped by the shard_map around it",
        actual=spec_text(spec),
        fix="drop the axis: inside of shard_map an array is one block of it already",
    )


def fit_problem(target: Any, array: Any, even: bool) -> Problem | None:
    """Why `array` can't be placed by `target`; `None` if it can.

    Args:
        target: a place.
        array: an array, or what has the shape of one.
        even: whether every device must get the same. What JAX can't share evenly it leaves whole, and says
            nothing: that will do for a constraint inside of a program, not for what was asked of a result.
    """
    target = getattr(target, "sharding", target)  # of a Format
    problem = mesh_problem(target)
    if problem is not None or not isinstance(target, PartitionSpec | NamedSharding):
        return problem
    spec = target if isinstance(target, PartitionSpec) else target.spec
    mesh = jax.sharding.get_abstract_mesh() if isinstance(target, PartitionSpec) else target.mesh
    return spec_fit_problem(spec, mesh.shape if even else None, array)


def spec_fit_problem(spec: PartitionSpec, sizes: Mapping[str, int] | None, array: Any) -> Problem | None:
    """Why an array can't be split by `spec`: too few dimensions, or (with `sizes`) parts of several sizes."""
    return _rank_problem(spec, array) or (None if sizes is None else _size_problem(spec, sizes, array))


def _rank_problem(spec: PartitionSpec, array: Any) -> Problem | None:
    wanted = len(spec_entries(spec))
    if wanted <= array.ndim:
        return None
    found = count_text(array.ndim, "dimension")
    return Problem(
        problem=f"has {found}, but {spec_text(spec)} is for {wanted} or more",
        expected=f"at least {count_text(wanted, 'dimension')}",
        actual=found,
        fix="shorten the PartitionSpec: dimensions that it leaves out are not split",
    )


def _size_problem(spec: PartitionSpec, sizes: Mapping[str, int], array: Any) -> Problem | None:
    for axis, (entry, size) in enumerate(zip(spec_entries(spec), array.shape, strict=False)):
        parts = math.prod(sizes[name] for name in entry_axes(entry))
        if size % parts != 0:
            return Problem(
                problem=f"has size {size} along axis {axis}, which is split into {parts} equal parts",
                expected=f"a multiple of {parts} along axis {axis}, for {spec_text(spec)}",
                actual=array_text(array.dtype, array.shape),
                fix="pad that axis, or leave it whole: None in the PartitionSpec",
            )
    return None
