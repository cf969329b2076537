"""`filter_jacfwd`, `filter_jacrev` and `filter_hessian`: all partial derivatives of a function.

Derived from `jax.jacfwd` and `jax.jacrev` on the flat list of what is differentiated. The Hessian is
forward over reverse, nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, overload

import jax
from jax import Array
from typing_extensions import Unpack

from typedfilter._declarations import (
    A,
    AnyDecorator,
    AnyOpen,
    Aux,
    Check,
    D,
    Derived,
    Fn,
    GradKeywords,
    HessianAuxDecorator,
    HessianDecorator,
    HolomorphicKeywords,
    JacobianAuxDecorator,
    JacobianDecorator,
    NoAux,
    P,
    Q,
    R,
    Unsaid,
    WithAux,
)
from typedfilter._differentiating.effects import Differentiates
from typedfilter._differentiating.flat import FlatFunction, refuse_complex, refuse_real
from typedfilter._differentiating.targets import Targets
from typedfilter._reading.conflicts import check_grad
from typedfilter._reading.hidden import DIFFERENTIATION
from typedfilter._reading.plan import Plan
from typedfilter._wrapping.body import body_of
from typedfilter._wrapping.effects import Effects, Result
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.wrapper import Transform, Wrapper

Function = Callable[..., Any]
OfArrays = Callable[..., Any]  # jax.jacfwd or jax.jacrev


@dataclasses.dataclass(frozen=True, eq=False)
class Jacobian(Transform):
    """The options of `filter_jacfwd`."""

    name: ClassVar[str] = "filter_jacfwd"
    reads: ClassVar[frozenset[str]] = DIFFERENTIATION
    has_aux: bool = False
    holomorphic: bool = False
    allow_int: bool = False  # of `filter_jacrev` alone

    def check_plan(self, plan: Plan) -> None:
        check_grad(plan, has_aux=self.has_aux, name=self.name, scalar=False, integers=self.allow_int)

    def effects(self, fn: Function, plan: Plan) -> Effects:
        return Differentiates(self.name, plan, has_aux=self.has_aux, result=Result.DERIVATIVE)

    def build(self, wrapper: Wrapper, plan: Plan) -> Function:
        return self.of(jax.jacfwd, body_of(wrapper, plan), plan)

    def of(self, jacobian: OfArrays, body: Function, plan: Plan) -> Function:
        """The Jacobian of `body` by `jax.jacfwd` or `jax.jacrev`."""
        targets = Targets(plan, self.name, self.allow_int)
        refuse = refuse_real if self.holomorphic else refuse_complex
        jacobian = functools.partial(jacobian, holomorphic=self.holomorphic)

        def call(*args: Any, **kwargs: Any) -> Any:
            call = targets.take(args, kwargs)
            refuse(call, targets)
            flat = FlatFunction(body, call, plan, self.name, self.has_aux, self.holomorphic)
            # With nothing to differentiate there is no basis; the body runs for its structure and its aux.
            rows, arrays = (jacobian(flat, has_aux=True) if call.arrays else flat)(call.arrays)
            trees = [call.like_arguments(row) for row in flat.rows(rows)]
            found = flat.out.with_none(trees)
            return (found, flat.aux.join(arrays)) if self.has_aux else found

        return call


@dataclasses.dataclass(frozen=True, eq=False)
class Reverse(Jacobian):
    """The options of `filter_jacrev`."""

    name: ClassVar[str] = "filter_jacrev"

    def build(self, wrapper: Wrapper, plan: Plan) -> Function:
        jacrev = functools.partial(jax.jacrev, allow_int=self.allow_int)
        return self.of(jacrev, body_of(wrapper, plan), plan)


@dataclasses.dataclass(frozen=True, eq=False)
class Hessian(Jacobian):
    """The options of `filter_hessian`."""

    name: ClassVar[str] = "filter_hessian"

    def build(self, wrapper: Wrapper, plan: Plan) -> Function:
        return self.of(jax.jacfwd, self.of(jax.jacrev, body_of(wrapper, plan), plan), plan)


@overload
def filter_jacfwd(
    fun: Fn[D, P, Q, Array], /, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]
) -> Derived[D, P, Q, D]: ...
@overload
def filter_jacfwd(
    fun: Fn[A, P, Q, R], /, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]
) -> Derived[A, P, Q, R]: ...
@overload
def filter_jacfwd(
    fun: Fn[D, P, Q, Any], /, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]
) -> Derived[D, P, Q, Any]: ...
@overload
def filter_jacfwd(
    fun: Fn[D, P, Q, tuple[Array, Aux]], /, has_aux: WithAux, **options: Unpack[HolomorphicKeywords]
) -> Derived[D, P, Q, tuple[D, Aux]]: ...
@overload
def filter_jacfwd(
    fun: Fn[A, P, Q, tuple[R, Aux]], /, has_aux: WithAux, **options: Unpack[HolomorphicKeywords]
) -> Derived[A, P, Q, tuple[R, Aux]]: ...
@overload
def filter_jacfwd(
    fun: Fn[D, P, Q, tuple[Any, Aux]], /, has_aux: WithAux, **options: Unpack[HolomorphicKeywords]
) -> Derived[D, P, Q, tuple[Any, Aux]]: ...
@overload
def filter_jacfwd(fun: AnyOpen, /, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]) -> Any: ...
@overload
def filter_jacfwd(fun: Unsaid, /, has_aux: bool, **options: Unpack[HolomorphicKeywords]) -> Any: ...
@overload
def filter_jacfwd(*, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]) -> JacobianDecorator: ...
@overload
def filter_jacfwd(*, has_aux: WithAux, **options: Unpack[HolomorphicKeywords]) -> JacobianAuxDecorator: ...
@overload
def filter_jacfwd(*, has_aux: bool, **options: Unpack[HolomorphicKeywords]) -> AnyDecorator: ...
@ends_at_caller
def filter_jacfwd(
    fun: Any = None, has_aux: bool = False, *, holomorphic: bool = False, check: Check = True
) -> Any:
    """The Jacobian by forward-mode differentiation: a pass for each number in the argument.

    With arguments annotated `Diff[...]` it is with respect to these: of one, its own; of several, a tuple in
    the order of the parameters.

    Args:
        fun: a pure function, whose result may be a pytree of anything.
        has_aux: `fun` returns `(out, aux)`; `aux` may hold anything, and is returned as it is.
        holomorphic: `fun` is a holomorphic function of complex arrays, and returns complex arrays.
        check: check shapes, dtypes and types of what the body receives and returns.

    Returns:
        A function with the arguments of `fun` that returns the Jacobian, or `(Jacobian, aux)`. The Jacobian
        has the structure of the result, with `None` for every leaf that is no floating-point array; in the
        place of each other leaf it has the structure of the argument, with `None` for every leaf that is not
        differentiated, and arrays of the shape of the leaf of the result followed by that of the leaf of
        the argument. Without `fun`, a decorator.

    Raises:
        AnnotationError: there is nothing to differentiate, or the return annotation is no pair with
            `has_aux` (when the decorator runs).
        ShapeError: the argument is a single leaf that can't be differentiated, or complex; the result is
            no pair with `has_aux`; something is not what its annotation says (at the call).
    """
    transform = Jacobian(has_aux, holomorphic, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)


@overload
def filter_jacrev(
    fun: Fn[D, P, Q, Array], /, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, D]: ...
@overload
def filter_jacrev(
    fun: Fn[A, P, Q, R], /, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> Derived[A, P, Q, R]: ...
@overload
def filter_jacrev(
    fun: Fn[D, P, Q, Any], /, has_aux: NoAux = False, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, Any]: ...
@overload
def filter_jacrev(
    fun: Fn[D, P, Q, tuple[Array, Aux]], /, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, tuple[D, Aux]]: ...
@overload
def filter_jacrev(
    fun: Fn[A, P, Q, tuple[R, Aux]], /, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> Derived[A, P, Q, tuple[R, Aux]]: ...
@overload
def filter_jacrev(
    fun: Fn[D, P, Q, tuple[Any, Aux]], /, has_aux: WithAux, **options: Unpack[GradKeywords]
) -> Derived[D, P, Q, tuple[Any, Aux]]: ...
@overload
def filter_jacrev(fun: AnyOpen, /, has_aux: NoAux = False, **options: Unpack[GradKeywords]) -> Any: ...
@overload
def filter_jacrev(fun: Unsaid, /, has_aux: bool, **options: Unpack[GradKeywords]) -> Any: ...
@overload
def filter_jacrev(*, has_aux: NoAux = False, **options: Unpack[GradKeywords]) -> JacobianDecorator: ...
@overload
def filter_jacrev(*, has_aux: WithAux, **options: Unpack[GradKeywords]) -> JacobianAuxDecorator: ...
@overload
def filter_jacrev(*, has_aux: bool, **options: Unpack[GradKeywords]) -> AnyDecorator: ...
@ends_at_caller
def filter_jacrev(
    fun: Any = None,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
    allow_int: bool = False,
    check: Check = True,
) -> Any:
    """The Jacobian by reverse-mode differentiation: a pass for each number in the result.

    With arguments annotated `Diff[...]` it is with respect to these: of one, its own; of several, a tuple in
    the order of the parameters.

    Args:
        fun: a pure function, whose result may be a pytree of anything.
        has_aux: `fun` returns `(out, aux)`; `aux` may hold anything, and is returned as it is.
        holomorphic: `fun` is a holomorphic function of complex arrays, and returns complex arrays.
        allow_int: arrays of integers have a derivative, too: zero, as in `jax.jacrev`.
        check: check shapes, dtypes and types of what the body receives and returns.

    Returns:
        A function with the arguments of `fun` that returns the Jacobian, or `(Jacobian, aux)`. The Jacobian
        is what `filter_jacfwd` returns: arrays of the shape of a leaf of the result followed by that of a
        leaf of the argument, and `None` for what is not differentiated. Without `fun`, a decorator.

    Raises:
        AnnotationError: there is nothing to differentiate, or the return annotation is no pair with
            `has_aux` (when the decorator runs).
        ShapeError: the argument is a single leaf that can't be differentiated, or complex; the result is
            complex, or no pair with `has_aux`; something is not what its annotation says (at the call).
    """
    transform = Reverse(has_aux, holomorphic, allow_int, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)


@overload
def filter_hessian(
    fun: Fn[A, P, Q, R], /, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]
) -> Derived[A, P, Q, R]: ...
@overload
def filter_hessian(
    fun: Fn[D, P, Q, Any], /, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]
) -> Derived[D, P, Q, Any]: ...
@overload
def filter_hessian(
    fun: Fn[A, P, Q, tuple[R, Aux]], /, has_aux: WithAux, **options: Unpack[HolomorphicKeywords]
) -> Derived[A, P, Q, tuple[R, Aux]]: ...
@overload
def filter_hessian(
    fun: Fn[D, P, Q, tuple[Any, Aux]], /, has_aux: WithAux, **options: Unpack[HolomorphicKeywords]
) -> Derived[D, P, Q, tuple[Any, Aux]]: ...
@overload
def filter_hessian(
    fun: AnyOpen, /, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]
) -> Any: ...
@overload
def filter_hessian(fun: Unsaid, /, has_aux: bool, **options: Unpack[HolomorphicKeywords]) -> Any: ...
@overload
def filter_hessian(*, has_aux: NoAux = False, **options: Unpack[HolomorphicKeywords]) -> HessianDecorator: ...
@overload
def filter_hessian(*, has_aux: WithAux, **options: Unpack[HolomorphicKeywords]) -> HessianAuxDecorator: ...
@overload
def filter_hessian(*, has_aux: bool, **options: Unpack[HolomorphicKeywords]) -> AnyDecorator: ...
@ends_at_caller
def filter_hessian(
    fun: Any = None, has_aux: bool = False, *, holomorphic: bool = False, check: Check = True
) -> Any:
    """The Hessian: `filter_jacfwd` of `filter_jacrev`, with the arguments and the errors of the latter.

    Returns:
        A function with the arguments of `fun` that returns the Hessian, or `(Hessian, aux)`. Each array in
        the Jacobian of `fun` stands for a Jacobian of its own. Without `fun`, a decorator.
    """
    transform = Hessian(has_aux, holomorphic, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
