"""`filter_grad` and `filter_value_and_grad`: reverse-mode derivatives of a scalar.

Derived from `jax.value_and_grad` on the flat list of what is differentiated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, overload

import jax
from typing_extensions import Unpack

from typedfilter._declarations import (
    AnyDecorator,
    Aux,
    Check,
    D,
    Derived,
    Fn,
    GradAuxDecorator,
    GradDecorator,
    GradKeywords,
    Loose,
    Loosened,
    NoAux,
    P,
    Q,
    Scalar,
    T,
    Unsaid,
    Value,
    ValueAndGradAuxDecorator,
    ValueAndGradDecorator,
    WithAux,
)
from typedfilter._differentiating.effects import Differentiates
from typedfilter._differentiating.flat import refuse_real
from typedfilter._differentiating.scalars import complex_scalar, real_scalar
from typedfilter._differentiating.targets import Targets, split_aux
from typedfilter._reading.conflicts import check_grad
from typedfilter._reading.hidden import DIFFERENTIATION
from typedfilter._reading.plan import Plan
from typedfilter._values.fresh import refuse_late
from typedfilter._values.leaves import is_array
from typedfilter._values.split import Rest, split_where
from typedfilter._wrapping.body import body_of
from typedfilter._wrapping.effects import Effects
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.wrapper import Transform, Wrapper


@dataclasses.dataclass(frozen=True, eq=False)
class ValueAndGrad(Transform):
    """The options of `filter_value_and_grad`."""

    name: ClassVar[str] = "filter_value_and_grad"
    reads: ClassVar[frozenset[str]] = DIFFERENTIATION
    has_aux: bool = False
    holomorphic: bool = False
    allow_int: bool = False

    def check_plan(self, plan: Plan) -> None:
        check_grad(plan, has_aux=self.has_aux, name=self.name, integers=self.allow_int)

    def result(self, value: Any, grad: Any, aux: Any) -> Any:
        return ((value, aux), grad) if self.has_aux else (value, grad)

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return Differentiates(self.name, plan, has_aux=self.has_aux, with_value=True)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        body = body_of(wrapper, plan)
        targets = Targets(plan, self.name, self.allow_int)
        check_value = complex_scalar if self.holomorphic else real_scalar

        def call(*args: Any, **kwargs: Any) -> Any:
            call = targets.take(args, kwargs)
            if self.holomorphic:
                refuse_real(call, targets)
            rests: list[Rest] = []

            def scalar(taken: Any) -> tuple[Any, list[Any]]:
                args, kwargs = call.put(taken)
                value, aux = split_aux(body(*args, **kwargs), self.has_aux, plan, self.name)
                arrays, rest = split_where(aux, is_array)
                if rest.others:
                    refuse_late(rest.others, plan.function)
                rests.append(rest)
                return check_value(value, plan, self.name), arrays

            gradient = jax.value_and_grad(
                scalar, has_aux=True, holomorphic=self.holomorphic, allow_int=self.allow_int
            )
            (value, arrays), grads = gradient(call.arrays)
            return self.result(value, call.like_arguments(grads), rests[-1].join(arrays))

        return call


@dataclasses.dataclass(frozen=True, eq=False)
class Grad(ValueAndGrad):
    """The options of `filter_grad`."""

    name: ClassVar[str] = "filter_grad"

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return Differentiates(self.name, plan, has_aux=self.has_aux)

    def result(self, value: Any, grad: Any, aux: Any) -> Any:
        return (grad, aux) if self.has_aux else grad


@overload
def filter_value_and_grad(  # type: ignore[overload-overlap]  # not of what takes `**kwargs`
    fun: Fn[D, P, Q, Value], /, *, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, tuple[Value, D]]: ...
@overload
def filter_value_and_grad(  # type: ignore[overload-overlap]  # not of what takes `**kwargs`
    fun: Fn[D, P, Q, tuple[Value, Aux]], /, *, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, tuple[tuple[Value, Aux], D]]: ...
@overload
def filter_value_and_grad(
    fun: Loose[T, Value], /, *, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> Loosened[T, tuple[Value, T]]: ...
@overload
def filter_value_and_grad(
    fun: Loose[T, tuple[Value, Aux]], /, *, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> Loosened[T, tuple[tuple[Value, Aux], T]]: ...
@overload
def filter_value_and_grad(fun: Unsaid, /, *, has_aux: bool, **options: Unpack[GradKeywords]) -> Any: ...
@overload
def filter_value_and_grad(
    *, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> ValueAndGradDecorator: ...
@overload
def filter_value_and_grad(
    *, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> ValueAndGradAuxDecorator: ...
@overload
def filter_value_and_grad(*, has_aux: bool, **options: Unpack[GradKeywords]) -> AnyDecorator: ...
@ends_at_caller
def filter_value_and_grad(
    fun: Any = None,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    check: Check = True,
) -> Any:
    """As `filter_grad`, with its arguments and errors, and also returns the value of the function.

    Returns:
        `(value, gradient)`, or `((value, aux), gradient)` with `has_aux=True`.
    """
    transform = ValueAndGrad(has_aux, holomorphic, allow_int, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)


@overload
def filter_grad(  # type: ignore[overload-overlap]  # not of what takes `**kwargs`
    fun: Fn[D, P, Q, Scalar], /, *, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, D]: ...
@overload
def filter_grad(  # type: ignore[overload-overlap]  # not of what takes `**kwargs`
    fun: Fn[D, P, Q, tuple[Scalar, Aux]], /, *, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, tuple[D, Aux]]: ...
@overload
def filter_grad(
    fun: Loose[T, Scalar], /, *, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> Loosened[T, T]: ...
@overload
def filter_grad(
    fun: Loose[T, tuple[Scalar, Aux]], /, *, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> Loosened[T, tuple[T, Aux]]: ...
@overload
def filter_grad(fun: Unsaid, /, *, has_aux: bool, **options: Unpack[GradKeywords]) -> Any: ...
@overload
def filter_grad(*, has_aux: NoAux = False, **options: Unpack[GradKeywords]) -> GradDecorator: ...
@overload
def filter_grad(*, has_aux: WithAux, **options: Unpack[GradKeywords]) -> GradAuxDecorator: ...
@overload
def filter_grad(*, has_aux: bool, **options: Unpack[GradKeywords]) -> AnyDecorator: ...
@ends_at_caller
def filter_grad(
    fun: Any = None,
    *,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    check: Check = True,
) -> Any:
    """Differentiate a scalar function with respect to the floating-point arrays of its first argument.

    With arguments annotated `Diff[...]` the gradient is for these: of one, its own; of several, a tuple in
    the order of the parameters. The differentiated argument may also be passed by keyword.

    Args:
        fun: a pure function that returns a real scalar.
        has_aux: `fun` returns `(scalar, aux)`; `aux` may hold anything, and is returned as it is.
        holomorphic: `fun` is a holomorphic function of complex arrays, and returns a complex scalar.
        allow_int: arrays of integers have a gradient, too: zeros of dtype `jax.dtypes.float0`, as in JAX.
        check: check shapes, dtypes and types of what the body receives and returns.

    Returns:
        A function with the arguments of `fun` that returns the gradient, or `(gradient, aux)`. The gradient
        has the structure of the argument, with `None` for every leaf that is not a floating-point array, or
        that is marked `NoDiff[...]`. Without `fun`, a decorator.

    Raises:
        AnnotationError: there is nothing to differentiate, or the return annotation says that it is not a
            scalar (when the decorator runs).
        ShapeError: the result is not a real scalar, or the argument is a single leaf that can't be
            differentiated (at the call).
    """
    transform = Grad(has_aux, holomorphic, allow_int, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
