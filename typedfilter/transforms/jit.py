"""`filter_jit`: `jax.jit` by annotations.

How arguments travel is decided in `_compiling.engine`, and what a compiled callable has besides in
`_compiling.stages`; here are the public options.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, overload

import jax
from jax.sharding import Mesh
from typing_extensions import Unpack

from typedfilter._compiling.effects import Traces
from typedfilter._compiling.guards import within_mesh
from typedfilter._compiling.options import JitOptions
from typedfilter._compiling.stages import Compiling
from typedfilter._declarations import (
    C,
    Check,
    DeviceLike,
    Donation,
    Gradual,
    InShardings,
    JitDecorator,
    JitKeywords,
    Jitted,
    M,
    N,
    OutShardings,
    P,
    R,
    Whole,
)
from typedfilter._placing.meshes import check_mesh
from typedfilter._placing.shardings import Shardings, check_shardings
from typedfilter._reading.conflicts import check_donate, check_jit
from typedfilter._reading.outside import Holds
from typedfilter._reading.plan import Plan
from typedfilter._wrapping.effects import Effects
from typedfilter._wrapping.frames import ends_at_caller, holding
from typedfilter._wrapping.wrapper import Wrapper
from typedfilter.errors import AnnotationError

_DONATIONS = typing.get_args(Donation)


@dataclasses.dataclass(frozen=True, eq=False)
class Jit(Compiling):
    """The options of `filter_jit`."""

    name: ClassVar[str] = "filter_jit"
    reads: ClassVar[frozenset[str]] = frozenset({"Donate", "Traced", "PartitionSpec"})
    holds: ClassVar[Holds] = Holds.ALL
    donate: Donation = "none"
    inline: bool = False
    keep_unused: bool = False
    in_shardings: Any = None
    out_shardings: Any = None
    compiler_options: Mapping[str, Any] | None = None
    device: Any = None
    backend: str | None = None
    max_traces: int | None = None
    mesh: Mesh | None = None

    def check_plan(self, plan: Plan) -> None:
        _check_max_traces(plan, self.max_traces)
        _check_places(plan, self)
        check_donate(plan, self.donate, _DONATIONS, self.name)
        check_jit(plan, self.donate)

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return Traces(self.name, plan, self.donated(fn), *self.places)

    @property
    def places(self) -> tuple[Any, Any]:
        """Where arguments and result are to be."""
        device = jax.local_devices(backend=self.backend)[0] if self.backend is not None else self.device
        return (self.in_shardings, self.out_shardings) if device is None else (device, device)

    def entry(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        call = self.build(wrapper, plan)  # the function that an engine writes ends errors itself
        return call if wrapper.lent else holding(call, wrapper.__wrapped__)

    def jit_options(self) -> JitOptions:
        places = self.places
        shardings = None if places == (None, None) else Shardings.of(*places)
        compiler = tuple(sorted((self.compiler_options or {}).items()))
        flags = self.donate, self.check, self.inline, self.keep_unused
        return JitOptions(*flags, shardings, compiler, self.max_traces, self.mesh)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        call = super().build(wrapper, plan)
        return call if self.mesh is None else within_mesh(call, self.mesh, plan)


def _check_max_traces(plan: Plan, count: int | None) -> None:
    if count is not None and (type(count) is not int or count < 1):
        raise AnnotationError(
            f"filter_jit has no max_traces={count!r}",
            function=plan.function,
            expected="a number of traces, at least 1, or None",
            actual=repr(count),
            fix="pass max_traces=1 for a function that is to be compiled once",
        )


def _check_places(plan: Plan, options: Jit) -> None:
    names = ("in_shardings", "out_shardings", "mesh", "device", "backend")
    given = [name for name in names if getattr(options, name) is not None]
    if not given:
        return
    if len(given) > 1 and {"device", "backend"} & set(given):
        raise AnnotationError(
            f"is given two places: {' and '.join(given)}",
            function=plan.function,
            expected="a device, a backend, or shardings",
            actual=", ".join(f"{name}={getattr(options, name)!r}" for name in given),
            fix="pass one of these; device=d is in_shardings=d, out_shardings=d",
        )
    check_shardings(plan, options.in_shardings, options.out_shardings)
    check_mesh(plan, options.mesh)


@overload
def filter_jit(fun: Gradual[R], /, **options: Unpack[JitKeywords]) -> Jitted[Callable[..., R]]: ...
@overload
def filter_jit(  # type: ignore[overload-overlap]  # a method without a required `self` is none
    fun: N, /, **options: Unpack[JitKeywords]
) -> Jitted[N]: ...
@overload
def filter_jit(fun: M, /, **options: Unpack[JitKeywords]) -> M: ...
@overload
def filter_jit(fun: C, /, **options: Unpack[JitKeywords]) -> C: ...
@overload
def filter_jit(  # type: ignore[overload-cannot-match]  # it leaves out the bounds of the others
    fun: Whole, /, **options: Unpack[JitKeywords]
) -> Jitted[Whole]: ...
@overload
def filter_jit(  # pyright: ignore[reportOverlappingOverload]  # it leaves out the bound of `N`
    fun: Callable[P, R], /, **options: Unpack[JitKeywords]
) -> Jitted[Callable[P, R]]: ...
@overload
def filter_jit(**options: Unpack[JitKeywords]) -> JitDecorator: ...
@ends_at_caller
def filter_jit(
    fun: Any = None,
    *,
    donate: Donation = "none",
    check: Check = True,
    inline: bool = False,
    keep_unused: bool = False,
    in_shardings: InShardings = None,
    out_shardings: OutShardings = None,
    compiler_options: Mapping[str, Any] | None = None,
    device: DeviceLike | None = None,
    backend: str | None = None,
    max_traces: int | None = None,
    mesh: Mesh | None = None,
) -> Any:
    """Compile a function with `jax.jit`, with annotations instead of `static_argnums`.

    An argument is traced, static or donated as its annotation says. Where there is none, leaf by leaf:
    JAX and NumPy arrays are traced, everything else is static. Results may hold anything; what is not an
    array comes back as it was when the function was traced.

    Args:
        fun: a pure function, method, class, partial, or callable pytree, whose arrays stay inputs.
        donate: `"all"` donates every array, `"all-except-first"` all but those of the first argument;
            `"warn"` and `"warn-except-first"` do the same, and let JAX warn about buffers that it could
            not use. Those of `fun` itself, where it is a module, are donated with all of these; what a
            method or a partial is bound to is not. With `"none"` only arguments annotated `Donate[...]` are.
        check: check shapes, dtypes and types while tracing. A compiled call is not slowed down by it. `False`
            also turns off the checks of whatever `fun` calls: other functions with transforms, too.
        inline: as in `jax.jit`.
        keep_unused: as in `jax.jit`.
        in_shardings: where the arrays of the arguments are to be: one place for all of them, a tuple of
            places by position, or a dictionary by the names of parameters. A place is what `filter_shard`
            takes: a `jax.sharding.Sharding`, a `PartitionSpec` of the ambient mesh (`jax.set_mesh`), a
            device, or a pytree of these that is a prefix of the argument; `None` leaves arrays where they
            are. It takes precedence over a `PartitionSpec` in the annotation.
        out_shardings: the same for the result.
        compiler_options: options of XLA by name, as in `jax.jit`.
        device: where to run: short for this device as `in_shardings` and `out_shardings`.
        backend: the name of a platform (`"cpu"`): short for the first of its devices as `device`.
        max_traces: how often `fun` may be traced: once more is an error that says what changed, and the cure.
        mesh: the ambient mesh of the call, which a `PartitionSpec` is about: short for a call inside of
            `with jax.set_mesh(mesh)`, which costs some microseconds.

    Returns:
        A callable with the signature of `fun`, which also has `lower`, `trace`, `eval_shape` and
        `clear_cache`. Without `fun`, a decorator.

    Raises:
        AnnotationError: annotations contradict each other or the options (when the decorator runs).
        StaticArgumentError: a static value is unhashable or an array (at the call).
        ShapeError: an argument is not what its annotation says (at the call, while tracing).
        DonationError: an array that was donated to an earlier call is passed again.
        RetraceError: the function would be traced more often than `max_traces` says (at the call).
    """
    places = in_shardings, out_shardings
    transform = Jit(
        donate, inline, keep_unused, *places, compiler_options, device, backend, max_traces, mesh, check=check
    )
    return transform.wrap if fun is None else transform.wrap(fun)
