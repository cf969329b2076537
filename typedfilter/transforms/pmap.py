"""`filter_pmap`: one example a device, by annotations.

The axis of every leaf is resolved in `_mapping.axes`, as for `filter_vmap`; `jax.shard_map` runs one
example on each device, inside of `jax.jit`. That is what `jax.pmap` has become in newer JAX, and it works the
same on all that are supported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, overload

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from typing_extensions import Unpack

from typedfilter._compat import says_incompatible_devices, says_needs_mesh
from typedfilter._compiling.effects import Donated, Traces
from typedfilter._compiling.options import JitOptions
from typedfilter._compiling.stages import Compiling
from typedfilter._declarations import Check, DeviceLike, P, PmapDonation, PmapKeywords, R, SameDecorator
from typedfilter._mapping.axes import (
    BY_RULE,
    check_axes,
    check_size,
    map_arguments,
)
from typedfilter._mapping.devices import (
    axis_spec,
    check_options,
    first_devices,
    moved_to,
    refuse_explicit,
    refuse_mesh,
)
from typedfilter._mapping.effects import Maps
from typedfilter._mapping.results import split_outputs
from typedfilter._reading.conflicts import check_jit, check_vmap
from typedfilter._reading.hidden import MAPPING
from typedfilter._reading.outside import Holds
from typedfilter._reading.plan import Param, Plan
from typedfilter._wrapping.body import body_of
from typedfilter._wrapping.effects import Effect, Effects, Given, Result
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.wrapper import Transform, Wrapper

_UNNAMED = "filter_pmap"


@dataclasses.dataclass(frozen=True, eq=False)
class Pmap(Compiling):
    """The options of `filter_pmap`."""

    name: ClassVar[str] = "filter_pmap"
    reads: ClassVar[frozenset[str]] = MAPPING | {"Donate", "Traced"}
    holds: ClassVar[Holds] = Holds.STATIC
    in_axes: Any = BY_RULE
    out_axes: Any = BY_RULE
    axis_name: Hashable = None
    axis_size: int | None = None
    donate: PmapDonation = "none"
    devices: Sequence[Any] | None = None
    backend: str | None = None

    def check_plan(self, plan: Plan) -> None:
        check_vmap(plan, in_axes=self.in_axes != BY_RULE, axis_size=self.axis_size)
        check_size(plan, self.axis_size, self.name)
        check_axes(plan, "in_axes", self.in_axes, self.name)
        check_axes(plan, "out_axes", self.out_axes, self.name)
        check_options(plan, self)
        check_jit(plan, self.donate)

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return MapsOverDevices(self, plan, self.donated(fn))

    def jit_options(self) -> JitOptions:
        return JitOptions(self.donate, self.check)

    @property
    def inside(self) -> tuple[Transform, ...]:
        axes = self.in_axes, self.out_axes, self.axis_name, self.axis_size
        return (OnDevices(*axes, self.devices, self.backend, check=self.check),)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        run = Compiling.build(self, wrapper, plan)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return run(*args, **kwargs)
            except (KeyError, ValueError) as error:
                if isinstance(error, KeyError) or says_needs_mesh(error):
                    refuse_explicit(plan, args, kwargs)
                if not says_incompatible_devices(error):
                    raise
            mapped = map_arguments(plan, self.in_axes, args, kwargs, self.axis_size)
            mesh = first_devices(plan, mapped.size, _UNNAMED, self.devices, self.backend)
            moved, named = moved_to(mapped, mesh)
            return run(*moved, **named)

        return call


@dataclasses.dataclass(frozen=True, eq=False)
class OnDevices(Transform):
    """What of `filter_pmap` is compiled: the map over devices."""

    name: ClassVar[str] = "filter_pmap"
    reads: ClassVar[frozenset[str]] = MAPPING
    in_axes: Any
    out_axes: Any
    axis_name: Hashable
    axis_size: int | None
    devices: Sequence[Any] | None
    backend: str | None

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return Maps(self.name, plan, self.in_axes, self.out_axes, self.axis_name)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        body = body_of(wrapper, plan)
        axis_name = _UNNAMED if self.axis_name is None else self.axis_name

        def call(*args: Any, **kwargs: Any) -> Any:
            call = map_arguments(plan, self.in_axes, args, kwargs, self.axis_size)
            refuse_mesh(plan)
            how: list[Any] = []

            def one_device(arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
                args, kwargs = call.join(list(map(jnp.squeeze, arrays, call.axes)))
                mapped, whole, rest = split_outputs(plan, self.out_axes, body(*args, **kwargs))
                how.append(rest)
                return [jnp.expand_dims(array, 0) for array in mapped], whole

            pairs = zip(call.arrays, call.axes, strict=True)
            specs = [axis_spec(axis, array.ndim, axis_name) for array, axis in pairs]
            mapper = jax.shard_map(
                one_device,
                mesh=first_devices(plan, call.size, axis_name, self.devices, self.backend),
                in_specs=(specs,),
                out_specs=(PartitionSpec(axis_name), PartitionSpec()),
                check_vma=False,
            )
            mapped, whole = mapper(call.arrays)
            return how[-1].placed(mapped, whole)

        return call


class MapsOverDevices(Maps):
    """A map that is compiled, and so donates."""

    result = Result.ELSEWHERE

    def __init__(self, options: Pmap, plan: Plan, donated: Donated) -> None:
        super().__init__(options.name, plan, options.in_axes, options.out_axes, options.axis_name)
        self._traces = Traces(options.name, plan, donated)

    def parameter(self, param: Param) -> Effect:
        return _donating(super().parameter(param), self._traces.parameter(param))

    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        mapped, inner = super().given(call)
        traced, _ = self._traces.given(call)
        return [list(map(_donating, *both)) for both in zip(mapped, traced, strict=True)], inner


def _donating(mapped: Effect, traced: Effect) -> Effect:
    donates = mapped.reasons if not traced.donated else tuple(dict.fromkeys(mapped.reasons + traced.reasons))
    return dataclasses.replace(mapped, donated=traced.donated, first_kept=traced.first_kept, reasons=donates)


@overload
def filter_pmap(fun: Callable[P, R], /, **options: Unpack[PmapKeywords]) -> Callable[P, R]: ...
@overload
def filter_pmap(**options: Unpack[PmapKeywords]) -> SameDecorator: ...
@ends_at_caller
def filter_pmap(
    fun: Any = None,
    *,
    in_axes: Any = BY_RULE,
    out_axes: Any = BY_RULE,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    donate: PmapDonation = "none",
    devices: Sequence[DeviceLike] | None = None,
    backend: str | None = None,
    check: Check = True,
) -> Any:
    """Compile a function of one example, and run one example on each of the first devices of this process.

    Axes are as for `filter_vmap`: by option, else by annotation, else arrays along axis 0 and everything
    else broadcast. Compilation is as for `filter_jit`: arrays are traced, everything else is static, and
    results may hold anything. `filter_jit` with sharded arrays does the same and more; prefer it.

    Args:
        fun: a pure function of one example.
        in_axes: overrides annotations. A prefix pytree of the positional arguments, or a dictionary by
            name, of `int` (the axis), `None` (broadcast) and callables `leaf -> int | None`.
        out_axes: likewise, a prefix of the result. Of a result with `None` the first device's is returned.
        axis_name: a string by which collectives (`jax.lax.psum`) reach the mapped axis.
        axis_size: the size of the mapped axis; only needed where no argument is mapped.
        donate: `"all"` donates every array, `"warn"` does so and lets JAX warn about buffers that it could
            not use. With `"none"` only arguments annotated `Donate[...]` are donated.
        devices: the devices to run on, of which the first ones are taken.
        backend: the name of a platform (`"cpu"`) whose devices are taken.
        check: check shapes, dtypes and types of what the body receives: one example.

    Returns:
        A function with the arguments of `fun`, arrays having one more axis, which also has `lower`,
        `trace`, `eval_shape` and `clear_cache`. Without `fun`, a decorator.

    Raises:
        AnnotationError: annotations contradict each other or the options (when the decorator runs).
        StaticArgumentError: a static value is unhashable (at the call).
        VmapAxisError: an option is no axis specification (when the decorator runs); an axis is out of
            range, sizes disagree, nothing is mapped, there are not enough devices (at the call).
    """
    transform = Pmap(in_axes, out_axes, axis_name, axis_size, donate, devices, backend, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
