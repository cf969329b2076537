"""The markers that a user writes around a type. Inert and frozen: they only attach metadata.

Each marker is one plain generic alias of `typing.Annotated`, the same object for type checkers
and at run time, so that `Static[int]` is `int` to every checker. What a marker means is read elsewhere
(`_reading.hints`), never here. `VmapAxis` and `ScanAxis` stand in a module of their own, since its type
stub replaces the module.

Put markers outermost: `Donate[Float[Array, "n"]]`, not `Float[Donate[Array], "n"]`.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, TypeVar

__all__ = ["AxisSpec", "Diff", "Donate", "Marker", "NoDiff", "ScanSpec", "Static", "Traced"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Marker:
    """Base of the metadata objects, so that one `isinstance` finds them all. `name` is what users write."""

    name: ClassVar[str]


@dataclasses.dataclass(frozen=True)
class StaticMarker(Marker):
    """Metadata of `Static`."""

    name: ClassVar[str] = "Static"


@dataclasses.dataclass(frozen=True)
class TracedMarker(Marker):
    """Metadata of `Traced`."""

    name: ClassVar[str] = "Traced"


@dataclasses.dataclass(frozen=True)
class DonateMarker(Marker):
    """Metadata of `Donate`."""

    name: ClassVar[str] = "Donate"


@dataclasses.dataclass(frozen=True)
class DiffMarker(Marker):
    """Metadata of `Diff`."""

    name: ClassVar[str] = "Diff"


@dataclasses.dataclass(frozen=True)
class NoDiffMarker(Marker):
    """Metadata of `NoDiff`."""

    name: ClassVar[str] = "NoDiff"


@dataclasses.dataclass(frozen=True)
class AxisSpec(Marker):
    """Metadata of `VmapAxis`: the axis to map over, or `None` to broadcast."""

    name: ClassVar[str] = "VmapAxis"
    axis: int | None


@dataclasses.dataclass(frozen=True)
class ScanSpec(Marker):
    """Metadata of `ScanAxis`: the axis to scan along, or `None` for what every step sees whole."""

    name: ClassVar[str] = "ScanAxis"
    axis: int | None


# By the kind of marker: those that are plain aliases stand here, those of an axis in `vmap_axis`.
ALIASES: tuple[type[Marker], ...] = (StaticMarker, TracedMarker, DonateMarker, DiffMarker, NoDiffMarker)
AXES: tuple[type[Marker], ...] = (AxisSpec, ScanSpec)
MARKER_NAMES = tuple(marker.name for marker in (*ALIASES, *AXES))


Static = Annotated[T, StaticMarker()]
"""`Static[T]`: a compile-time constant. Hashable, compared exactly (`1`, `1.0` and `True` are three
programs; so are `0.0` and `-0.0`). On a field of a pytree class: part of its structure."""

Traced = Annotated[T, TracedMarker()]
"""`Traced[T]`: every leaf is traced; Python scalars become arrays, so a new value does not recompile."""

Donate = Annotated[T, DonateMarker()]
"""`Donate[T]`: as `T`, and under `filter_jit` the buffers of its arrays are given to the computation."""

Diff = Annotated[T, DiffMarker()]
"""`Diff[T]`: differentiate with respect to this argument, instead of the first one."""

NoDiff = Annotated[T, NoDiffMarker()]
"""`NoDiff[T]`: never differentiated; its gradient is `None`. On a field: frozen in every transform."""
