"""`filter_make_jaxpr` and `filter_eval_shape`: what a function does to arrays, without doing it.

JAX's own two, of the function from the arrays of a call to those of its result.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, cast, overload

import jax
from jax import Array, ShapeDtypeStruct

from typedfilter._compiling.effects import TracesStructs
from typedfilter._compiling.known import Body, call_key, traced_once
from typedfilter._compiling.stages import JitWrapper, engine_of
from typedfilter._declarations import AxisEnv, Check, JaxprMaker, MakeJaxprDecorator, Opaque, P, R
from typedfilter._placing.abstract import with_shardings
from typedfilter._placing.meshes import under
from typedfilter._reading.hidden import refuse_hidden
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._shapes.check import checked
from typedfilter._values.carried import Carried
from typedfilter._values.fresh import refuse_late
from typedfilter._values.leaves import as_struct, is_passed, stands_for_array
from typedfilter._values.split import Taken
from typedfilter._wrapping.blame import entered
from typedfilter._wrapping.body import body_of
from typedfilter._wrapping.call import take_arrays
from typedfilter._wrapping.effects import Effects
from typedfilter._wrapping.frames import ends_at_caller, located, place_of
from typedfilter._wrapping.wrapper import Transform, Wrapper


@dataclasses.dataclass(frozen=True, eq=False)
class MakeJaxpr(Transform):
    """The options of `filter_make_jaxpr`."""

    name: ClassVar[str] = "filter_make_jaxpr"
    axis_env: Sequence[tuple[Hashable, int]] | None = None

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return TracesStructs(self.name, plan)

    def entry(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        return entered(self.build(wrapper, plan), plan, self.name, runs=False)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        body = body_of(wrapper, plan)

        def call(*args: Any, **kwargs: Any) -> Any:
            taken = take_arrays(plan, args, kwargs, stands_for_array)
            arrays = list(map(_for_jax, taken.arrays))

            def trace(traced: Callable[..., Any]) -> tuple[Any, Carried]:
                found = jax.make_jaxpr(traced, axis_env=self.axis_env, return_shape=True)(arrays)
                return cast("tuple[Any, Carried]", found)

            jaxpr, out = _traced(wrapper.__wrapped__, plan, taken, lambda: body, trace, self.check)
            refuse_late(out.rest.others, plan.function)
            return jaxpr, out.rest.with_none(out.arrays), out.rest.join([None] * len(out.arrays))

        return call


def _traced(
    fn: Any,
    plan: Plan,
    taken: Taken,
    body: Callable[[], Callable[..., Any]],
    trace: Callable[[Callable[..., Any]], tuple[Any, Carried]],
    *options: Any,
) -> tuple[Any, Carried]:
    """What `trace` gives of the function from the arrays of a call to its result: of equal calls, once."""
    key = call_key(taken)
    return traced_once(
        fn,
        None if key is None else (key, options),
        lambda: located(Body(body(), taken), place_of(fn), plan.function),
        trace,
    )


def _for_jax(leaf: Any) -> Any:
    """What JAX takes for an array: arrays as they are, for their weak types, and structs for the rest."""
    return as_struct(leaf) if stands_for_array(leaf) and not is_passed(leaf) else leaf


@overload
def filter_make_jaxpr(
    fun: Callable[P, Opaque], /, *, axis_env: AxisEnv = None, check: Check = True
) -> JaxprMaker[P, Any]: ...
@overload
def filter_make_jaxpr(
    fun: Callable[P, Array], /, *, axis_env: AxisEnv = None, check: Check = True
) -> JaxprMaker[P, ShapeDtypeStruct]: ...
@overload
def filter_make_jaxpr(
    fun: Callable[P, Any], /, *, axis_env: AxisEnv = None, check: Check = True
) -> JaxprMaker[P, Any]: ...
@overload
def filter_make_jaxpr(*, axis_env: AxisEnv = None, check: Check = True) -> MakeJaxprDecorator: ...
@ends_at_caller
def filter_make_jaxpr(fun: Any = None, *, axis_env: AxisEnv = None, check: Check = True) -> Any:
    """As `jax.make_jaxpr`, of a function that takes and returns anything.

    Args:
        fun: a pure function.
        axis_env: the names and sizes of mapped axes that `fun` reduces over (`jax.lax.psum`).
        check: check shapes, dtypes and types of what the body receives and returns.

    Returns:
        A function with the arguments of `fun`. What has a `shape` and a `dtype` is traced: arrays, and
        `jax.ShapeDtypeStruct`s. Everything else is static. It returns a triple:

        - the `jax.extend.core.ClosedJaxpr`, from the arrays of the arguments to those of the result;
        - the result with a `jax.ShapeDtypeStruct` for each array, and `None` for everything else;
        - the result with `None` for each array.

        Without `fun`, a decorator.

    Raises:
        AnnotationError: annotations contradict each other (when the decorator runs).
        ShapeError: an argument or the result is not what its annotation says (at the call).
    """
    transform = MakeJaxpr(axis_env, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)


@overload
def filter_eval_shape(fun: Callable[..., Opaque], /, *args: Any, **kwargs: Any) -> Any: ...
@overload
def filter_eval_shape(fun: Callable[..., Array], /, *args: Any, **kwargs: Any) -> ShapeDtypeStruct: ...
@overload
def filter_eval_shape(fun: Callable[..., R], /, *args: Any, **kwargs: Any) -> R: ...
@ends_at_caller
def filter_eval_shape(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The result of `fun(*args, **kwargs)` with a `jax.ShapeDtypeStruct` for each array; nothing is computed.

    As `jax.eval_shape`, but arguments and results may hold anything. Arrays of the arguments may themselves
    be `jax.ShapeDtypeStruct`s. What is no array comes back as it is.

    Raises:
        AnnotationError: annotations contradict each other.
        ShapeError: an argument or the result is not what its annotation says.
    """
    refuse_hidden(fun, "filter_eval_shape", ())
    plan = plan_of(fun, final=True)
    taken = take_arrays(plan, args, kwargs, stands_for_array)
    arrays = list(map(_for_jax, taken.arrays))
    placement = engine_of(fun)[0].placement if isinstance(fun, JitWrapper) else None
    with under(None if placement is None else placement.mesh, plan):
        body = functools.partial(checked, fun, plan, eager=True)
        _, out = _traced(fun, plan, taken, body, lambda traced: (None, jax.eval_shape(traced, arrays)))
    refuse_late(out.rest.others, plan.function)
    result = out.join()
    return result if placement is None else with_shardings(placement, result)
