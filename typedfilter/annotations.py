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
    """`Static[T]`: the argument is a compile-time constant of type `T`.

    It is hashable, and compared exactly: `1`, `1.0` and `True` are three programs, so are `0.0` and `-0.0`.
    On a field of a pytree class it is a part of the structure. A new value compiles anew; a number that
    changes often is better `Traced`.

        @filter_jit
        def power(x: Float[Array, "n"], exponent: Static[int]) -> Float[Array, "n"]: ...
    """

    name: ClassVar[str] = "Static"


@dataclasses.dataclass(frozen=True)
class TracedMarker(Marker):
    """`Traced[T]`: every leaf of the argument is traced.

    Python numbers become arrays, so that a new value does not compile anew. In the body such a number is an
    array: it can't be asked in an `if`, nor count a `range`.

        @filter_jit
        def step(params: Params, rate: Traced[float]) -> Params: ...
    """

    name: ClassVar[str] = "Traced"


@dataclasses.dataclass(frozen=True)
class DonateMarker(Marker):
    """`Donate[T]`: as `T`, and under `filter_jit` the buffers of its arrays are given to the computation.

    The arrays are gone for the caller afterwards: go on with what the function returns. On CPU as well.

        @filter_jit
        def step(state: Donate[State], batch: Float[Array, "b n"]) -> State: ...
    """

    name: ClassVar[str] = "Donate"


@dataclasses.dataclass(frozen=True)
class DiffMarker(Marker):
    """`Diff[T]`: differentiate with respect to this argument, instead of the first one.

    Of several arguments marked so, the gradients come as a tuple, in their order.

        @filter_grad
        def loss(batch: Float[Array, "b n"], model: Diff[Model]) -> Float[Array, ""]: ...
    """

    name: ClassVar[str] = "Diff"


@dataclasses.dataclass(frozen=True)
class NoDiffMarker(Marker):
    """`NoDiff[T]`: never differentiated; its gradient is `None`. On a field: frozen in every transform.

    @pytree_dataclass
    class Model:
        weight: Float[Array, "out in"]
        mean: NoDiff[Float[Array, "in"]]
    """

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

# For `help(Static)`: what an editor shows stands below each name, what a running Python shows in its marker.
for _alias, _marker in zip((Static, Traced, Donate, Diff, NoDiff), ALIASES, strict=True):
    vars(_alias)["__doc__"] = _marker.__doc__
