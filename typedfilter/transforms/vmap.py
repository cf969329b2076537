"""`filter_vmap`: vectorise by annotations.

The axis of every leaf is resolved in `_mapping.axes`; `jax.vmap` sees one flat list of mapped arrays.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable
from inspect import signature
from typing import Any, ClassVar, overload

import jax
from typing_extensions import Unpack

from typedfilter._compat import says_out_axes_none
from typedfilter._declarations import Check, Kept, Mixed, P, R, SameDecorator, VmapKeywords
from typedfilter._mapping.axes import (
    BY_RULE,
    check_axes,
    check_size,
    map_arguments,
)
from typedfilter._mapping.effects import Maps
from typedfilter._mapping.known import KnownCalls
from typedfilter._mapping.results import asks_for_no_axis, is_batched, split_outputs
from typedfilter._reading.conflicts import check_vmap
from typedfilter._reading.hidden import MAPPING
from typedfilter._reading.outside import Holds
from typedfilter._reading.plan import Plan
from typedfilter._values.split import Parcel
from typedfilter._wrapping.body import body_of
from typedfilter._wrapping.effects import Effects
from typedfilter._wrapping.frames import ends_at_caller, located, place_of
from typedfilter._wrapping.wrapper import Transform, Wrapper
from typedfilter.errors import VmapAxisError


@dataclasses.dataclass(frozen=True, eq=False)
class Vmap(Transform):
    """The options of `filter_vmap`."""

    name: ClassVar[str] = "filter_vmap"
    reads: ClassVar[frozenset[str]] = MAPPING
    holds: ClassVar[Holds] = Holds.STATIC
    in_axes: Any = BY_RULE
    out_axes: Any = BY_RULE
    axis_name: Hashable = None
    axis_size: int | None = None
    spmd_axis_name: Any = None

    def check_plan(self, plan: Plan) -> None:
        check_size(plan, self.axis_size, self.name)
        check_axes(plan, "in_axes", self.in_axes, self.name)
        check_axes(plan, "out_axes", self.out_axes, self.name)
        if not asks_for_no_axis(plan, self.out_axes):
            check_vmap(plan, in_axes=self.in_axes != BY_RULE, axis_size=self.axis_size)

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return Maps(self.name, plan, self.in_axes, self.out_axes, self.axis_name, self.axis_size)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        place, body = place_of(wrapper.__wrapped__), body_of(wrapper, plan)
        once = 1 if asks_for_no_axis(plan, self.out_axes) else None  # with nothing to map over, it runs once

        def one_example(arrays: list[Any], parcel: Parcel) -> tuple[list[Any], list[Any]]:
            args, kwargs = parcel.there.join(arrays)
            differs = functools.partial(is_batched, mapped=arrays)
            mapped, whole, parcel.back = split_outputs(plan, self.out_axes, body(*args, **kwargs), differs)
            return mapped, whole

        one_example.__signature__ = signature(one_example)  # type: ignore[attr-defined]  # JAX asks at each call

        # One function for JAX to know, made once: its own caches hang on that.
        @functools.lru_cache(maxsize=64)
        def mapper(axes: tuple[int, ...], size: int) -> Callable[..., Any]:
            same = len(set(axes)) == 1  # then JAX has less to compare
            in_axes = axes[0] if same else (list(axes), None)
            mapped = jax.vmap(one_example, in_axes, (0, None), self.axis_name, size, self.spmd_axis_name)
            return located(mapped, place, plan.function)  # JAX says where a tracer was made

        resolve = functools.partial(map_arguments, plan, self.in_axes, axis_size=self.axis_size, if_none=once)
        known = KnownCalls(self.in_axes, resolve)

        def call(*args: Any, **kwargs: Any) -> Any:
            call = known(args, kwargs)
            parcel = Parcel(call)
            try:
                mapped, whole = mapper(tuple(call.axes), call.size)(call.arrays, parcel)
            except (RuntimeError, ValueError) as error:
                # Before the body has returned, it is an error of the body.
                if parcel.back is not None and says_out_axes_none(error):
                    raise _unmapped(plan) from None
                raise
            return parcel.back.placed(mapped, whole)

        return call


def _unmapped(plan: Plan) -> VmapAxisError:
    return VmapAxisError(
        "has no axis (None), but differs between the mapped examples",
        function=plan.function,
        parameter="return",
        expected="a value that does not depend on mapped arguments",
        fix="give it an axis: VmapAxis[0], or 0 in out_axes",
    )


@overload
def filter_vmap(fun: Kept, /, **options: Unpack[VmapKeywords]) -> Kept: ...
@overload
def filter_vmap(  # pyright: ignore[reportOverlappingOverload]  # see `Kept`
    fun: Callable[P, R], /, **options: Unpack[VmapKeywords]
) -> Callable[P, R]: ...
@overload
def filter_vmap(fun: Mixed, /, **options: Unpack[VmapKeywords]) -> Mixed: ...
@overload
def filter_vmap(**options: Unpack[VmapKeywords]) -> SameDecorator: ...
@ends_at_caller
def filter_vmap(
    fun: Any = None,
    *,
    in_axes: Any = BY_RULE,
    out_axes: Any = BY_RULE,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable = None,
    check: Check = True,
) -> Any:
    """Vectorise a function with `jax.vmap`, with annotations instead of `in_axes`.

    An argument annotated `VmapAxis[k]` is mapped along its axis `k` and one annotated `VmapAxis[None]` is
    broadcast; on the return annotation it says where the mapped axis goes. Where nothing is said, arrays
    are mapped along axis 0 and everything else is broadcast, leaf by leaf. Keyword arguments are mapped
    just like positional ones. In a result, a field annotated `VmapAxis[None]` has axis 0 all the same where
    it differs between the examples, as the gradient for what they share does.

    Args:
        fun: a pure function of one example.
        in_axes: overrides annotations. A prefix pytree of the positional arguments, or a dictionary by
            name, of `int` (the axis), `None` (broadcast) and callables `leaf -> int | None`.
        out_axes: likewise, a prefix of the result. `None` is for what does not depend on mapped arguments; an
            axis that is given to a Python number makes an array of it.
        axis_name: a name by which collectives (`jax.lax.psum`) reach the mapped axis.
        axis_size: the size of the mapped axis; only needed where no argument is mapped. Where the result is
            to have no axis (`out_axes=None`, or `VmapAxis[None]` on the return), the function then runs once.
        spmd_axis_name: the axis of the mesh (or a tuple of axes) over which the mapped axis is split, where
            `fun` constrains shardings (`filter_shard`).
        check: check shapes, dtypes and types of what the body receives: one example.

    Returns:
        A function with the arguments of `fun`, arrays having one more axis. Without `fun`, a decorator.

    Raises:
        AnnotationError: annotations contradict each other (when the decorator runs).
        VmapAxisError: an option is no axis specification (when the decorator runs); an axis is out of
            range, sizes disagree, nothing is mapped (at the call).
    """
    transform = Vmap(in_axes, out_axes, axis_name, axis_size, spmd_axis_name, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
