"""The mesh that a function is traced under, where it needs one: its axes, and no devices.

Knows JAX's meshes and placement; knows nothing of trials and verdicts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator
from typing import Any, Literal, TypeAlias

import jax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from typedfilter._compat import spec_entries
from typedfilter._placing.bodies import no_placement, placed_arguments
from typedfilter._placing.shardings import Placement
from typedfilter._placing.specs import entry_axes
from typedfilter._reading.plan import plan_of
from typedfilter._reading.text import spec_text
from typedfilter.check.trials.compare import MismatchError

Axes: TypeAlias = tuple[tuple[str, int], ...]
"""The names of the axes of a mesh, with their sizes."""


How: TypeAlias = Literal["auto", "explicit", "manual"]


@dataclasses.dataclass(frozen=True)
class Meshed:
    """A mesh, and how a function sees it."""

    axes: Axes  # its axes
    how: How  # `auto` or `explicit`: of which kind all axes are; `manual`: the function is given one block

    @property
    def multiple(self) -> int:
        """What every size is to be a multiple of, so that each axis can be split."""
        return 1 if self.how == "manual" else math.prod(size for _, size in self.axes)

    @property
    def named(self) -> str:
        """Its axes, for people."""
        return ", ".join(f"{name}={size}" for name, size in self.axes)

    @property
    def text(self) -> str:
        """For people."""
        how = "as one block" if self.how == "manual" else f"{self.how.capitalize()} axes"
        return f"under the mesh {self.named} ({how})"

    def mesh(self) -> AbstractMesh:
        """As JAX has it."""
        kind = AxisType.Explicit if self.how == "explicit" else AxisType.Auto
        names, sizes = zip(*self.axes, strict=True)
        return AbstractMesh(sizes, names, axis_types=(kind,) * len(names))


@contextlib.contextmanager
def entered(meshed: Meshed | None) -> Generator[None]:
    """Under this mesh; without one no body honours its places, as there is nothing to be placed on."""
    if meshed is None:
        with no_placement():
            yield
    else:
        with jax.sharding.use_abstract_mesh(meshed.mesh()):
            yield


def within(meshed: Meshed | None, body: Callable[..., None]) -> Callable[..., None]:
    """`body`, given one block of each array where that is how the mesh is seen."""
    if meshed is None or meshed.how != "manual":
        return body
    # Of what is the same everywhere, a block is the whole: the shapes are those that annotations say.
    whole = PartitionSpec()
    block: Callable[..., None] = jax.shard_map(body, in_specs=whole, out_specs=whole, check_vma=False)
    return block


def says_places(root: Any) -> bool:
    """Whether an annotation of a function says how an array is split."""
    return Placement.of(root, plan_of(root)).annotated


def with_places(
    meshed: Meshed | None, root: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a function, split as its annotations say, where that is a part of their types."""
    if meshed is None or meshed.how != "explicit":
        return args, kwargs
    plan = plan_of(root)
    return placed_arguments(Placement.of(root, plan), args, kwargs)


def check_places(meshed: Meshed | None, root: Any, out: Any) -> None:
    """Compare how the result is split with what the return annotation says, under Explicit axes.

    Raises:
        MismatchError: an array in it is split in another way.
    """
    if meshed is None or meshed.how != "explicit":
        return
    places = Placement.of(root, plan_of(root)).of_result().spread(out)
    leaves = jax.tree_util.tree_flatten_with_path(out)[0]
    for (path, leaf), place in zip(leaves, places, strict=True):
        found = jax.typeof(leaf).sharding.spec if isinstance(leaf, jax.Array) else None
        if isinstance(place, PartitionSpec) and found is not None and _split(place) != _split(found):
            where = jax.tree_util.keystr(path)
            raise MismatchError(where, spec_text(place), spec_text(found), "it is split in another way")


def _split(spec: PartitionSpec) -> list[list[str]]:
    """By which axes each dimension is split; dimensions at the end that are not are left out."""
    split = [entry_axes(entry) for entry in spec_entries(spec)]
    while split and not split[-1]:
        split.pop()
    return split
