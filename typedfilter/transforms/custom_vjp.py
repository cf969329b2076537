"""`filter_custom_vjp`: a function with a reverse-mode derivative of its own, for its first argument.

Derived from `jax.custom_vjp` on the flat list of the arrays of a call, with symbolic zeros.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Concatenate, overload

import jax

from typedfilter._declarations import Check, CustomVjpFunction, Loose, Open, Open1, P, R, T, VjpDecorator
from typedfilter._differentiating.older import backward_rule, forward_rule
from typedfilter._differentiating.outcome import Outcome
from typedfilter._differentiating.rules import Function, Kind, Operands, Rules, first_by_position
from typedfilter._differentiating.tangents import RETURNED, Beside
from typedfilter._reading.conflicts import check_grad
from typedfilter._reading.hidden import DIFFERENTIATION
from typedfilter._reading.outside import Holds
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._values.carried import Carried, concrete, is_zero
from typedfilter._values.pairs import pair_of
from typedfilter._values.split import Rest
from typedfilter._wrapping.call import Call
from typedfilter._wrapping.effects import Effects, PassesOn
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.wrapper import Transform, Wrapper
from typedfilter.errors import AnnotationError


@dataclasses.dataclass(frozen=True, eq=False)
class CustomVjp(Transform):
    """What `filter_custom_vjp` knows of a function: its rules."""

    name: ClassVar[str] = "filter_custom_vjp"
    reads: ClassVar[frozenset[str]] = DIFFERENTIATION
    holds: ClassVar[Holds] = Holds.ALL
    rules: Rules = dataclasses.field(default_factory=lambda: Rules(("def_fwd", "def_bwd")))

    @property
    def options(self) -> dict[str, Any]:
        return {name: value for name, value in super().options.items() if name != "rules"}

    def check_plan(self, plan: Plan) -> None:
        for param in plan.diff_params:
            if param is not plan.params[0]:
                raise AnnotationError(
                    f"is marked Diff, but {self.name} has a derivative for the first argument only",
                    function=plan.function,
                    parameter=param.name,
                    fix="make it the first parameter; pack several into one tuple",
                )
        check_grad(plan, has_aux=False, name=self.name, scalar=False)

    def wrap(self, fn: Callable[..., Any], *, lent: bool = False) -> Wrapper:
        return CustomVjpWrapper(fn, self, lent)

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return PassesOn(self.name, plan)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        function = Function(wrapper, plan)

        def call(*args: Any, **kwargs: Any) -> Any:
            fwd, bwd = self.rules.get(plan.function)
            given = first_by_position(plan, Call(args, kwargs))
            operands = Operands(plan, function.bound, given.args, given.kwargs, takes=1)
            first, kinds = operands.first, tuple(operands.kinds)  # what JAX keeps of the rule holds no array
            outcome = Outcome(plan.function, lambda arrays: function(*operands.join(concrete(arrays))))

            def primal(*arrays: Any) -> Carried:
                return outcome.primal(arrays)

            def forward(*primals: Any) -> tuple[Carried, Carried]:
                perturbed = _perturbed(operands, [primal.perturbed for primal in primals])
                values = concrete([primal.value for primal in primals])
                if not any(jax.tree_util.tree_leaves(perturbed)):  # only what is frozen is differentiated
                    return outcome.primal(values), Carried.of(None)
                args_, kwargs_, _ = operands.join(values)
                applied = _Applied(fwd, perturbed, plan)
                value = function.checks(applied)(*args_, **kwargs_)
                out = outcome.of_rule(value, values, applied.name, "[0]")
                return out, Carried.of((applied.residuals, perturbed, args_, kwargs_))

            def backward(saved: Carried, cotangent: Carried) -> tuple[Any, ...]:
                return _pulled_back(bwd, plan, first, kinds, saved.concrete().join(), cotangent.concrete())

            primal.__name__ = plan.function
            ruled = jax.custom_vjp(primal)
            ruled.defvjp(forward, backward, symbolic_zeros=True)
            return ruled(*operands.release()).join()

        return call


class CustomVjpWrapper(Wrapper):  # pyright: ignore[reportIncompatibleMethodOverride]  # `__doc__`
    """What `filter_custom_vjp` returns."""

    __slots__ = ()

    @ends_at_caller
    def def_fwd(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the forward rule: `rule(perturbed, vjp_arg, *args, **kwargs)` returns `(out, residuals)`.

        `perturbed` has the structure of `vjp_arg`, and says of each leaf whether it is differentiated. `out`
        is what the function returns; `residuals` may be anything.

        Returns:
            The rule itself, so that this can be a decorator.
        """
        return self._define("def_fwd", rule, plan_of(self.__wrapped__))

    @ends_at_caller
    def def_bwd(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the backward rule: `rule(residuals, grad_out, perturbed, vjp_arg, *args, **kwargs)`.

        It returns the gradient, of the structure of `vjp_arg`, with `None` for zero and for whatever is not
        differentiated. One of another precision than what it belongs to is converted. `grad_out` has the
        structure of the result, with `None` likewise.

        Returns:
            The rule itself, so that this can be a decorator.
        """
        return self._define("def_bwd", rule, plan_of(self.__wrapped__))

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Set both rules as older code does: `fwd(vjp_arg, ...)`, `bwd(residuals, grad_out, vjp_arg, ...)`.

        Neither is told what is differentiated, and `grad_out` has zeros for what is not; `bwd` returns the
        gradient of the first argument alone.

        Raises:
            RuleError: a rule is not callable.
        """
        warnings.warn(
            f"{self!r}.defvjp() is for older code: .def_fwd and .def_bwd set rules that know what is "
            "differentiated, and so need not compute what is zero",
            DeprecationWarning,
            stacklevel=2,
        )
        for name, rule in (("def_fwd", fwd), ("def_bwd", bwd)):
            self._define(name, rule)  # as it is, so that what is refused is what was passed
        self._define("def_fwd", forward_rule(fwd))
        self._define("def_bwd", backward_rule(bwd))

    def _define(self, name: str, rule: Callable[..., Any], plan: Plan | None = None) -> Callable[..., Any]:
        transform = self.transform
        assert isinstance(transform, CustomVjp)
        transform.rules.define(name, rule, getattr(self, "__name__", "function"), plan)
        return rule


def _perturbed(operands: Operands, flags: Sequence[bool]) -> Any:
    """For each leaf of the first argument, whether the rules have to care about its derivative."""
    first = operands.first
    perturbed = [False] * first.treedef.num_leaves
    for index, (kind, flag) in enumerate(zip(operands.kinds, flags, strict=True)):
        if flag and kind is Kind.REFUSED:
            fix = "pack it into the first argument, as a tuple; or pass it through jax.lax.stop_gradient"
            raise operands.refuse(index, "filter_custom_vjp", fix)
        if flag and kind is Kind.DERIVED:
            perturbed[first.taken_at[index]] = True  # the arrays of the first argument come first
    return first.treedef.unflatten(perturbed)


class _Applied:
    """A forward rule, called as the function is that it stands for."""

    residuals: Any

    def __init__(self, rule: Callable[..., Any], perturbed: Any, plan: Plan) -> None:
        self.name = f"{plan.function}.def_fwd"
        self._rule = rule
        self._perturbed = perturbed

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        out = self._rule(self._perturbed, *args, **kwargs)
        problem = "is not a pair, which a forward rule must return"
        fix = "return the result and what the backward rule needs, None if that is nothing"
        value, self.residuals = pair_of(out, self.name, problem, expected="(out, residuals)", fix=fix)
        return value


def _pulled_back(
    rule: Callable[..., Any],
    plan: Plan,
    rest: Rest,
    kinds: Sequence[Kind],
    saved: Any,
    cotangent: Carried,
) -> tuple[Any, ...]:
    """The gradient of each array of a call, `None` for zero."""
    if saved is None:
        return (None,) * len(kinds)
    residuals, perturbed, (first, *args), kwargs = saved
    grad_out = cotangent.rest.with_none([None if is_zero(one) else one for one in cotangent.arrays])
    found = rule(residuals, grad_out, perturbed, first, *args, **kwargs)
    derived = {place for place, kind in zip(rest.taken_at, kinds, strict=False) if kind is Kind.DERIVED}
    owner = plan.bind_names(1)[0]
    beside = Beside(f"{plan.function}.def_bwd", RETURNED, owner, "gradient", cast=True)
    gradients = beside.leaves(first, found, [place in derived for place in range(rest.treedef.num_leaves)])
    of_first = [gradients[place] for place in rest.taken_at]
    return *of_first, *[None] * (len(kinds) - len(of_first))


@overload
def filter_custom_vjp(fn: Open[T, P, R], /, *, check: Check = True) -> CustomVjpFunction[T, P, ..., R]: ...
@overload
def filter_custom_vjp(fn: Open1[T, R], /, *, check: Check = True) -> CustomVjpFunction[T, ..., ..., R]: ...
@overload
def filter_custom_vjp(  # type: ignore[overload-overlap]  # not of what takes `**kwargs`
    fn: Callable[Concatenate[T, P], R], /, *, check: Check = True
) -> CustomVjpFunction[T, P, P, R]: ...
@overload
def filter_custom_vjp(fn: Loose[T, R], /, *, check: Check = True) -> CustomVjpFunction[T, ..., ..., R]: ...
@overload
def filter_custom_vjp(*, check: Check = True) -> VjpDecorator: ...
@ends_at_caller
def filter_custom_vjp(fn: Any = None, *, check: Check = True) -> Any:
    """Give a function a reverse-mode derivative of its own, as `jax.custom_vjp` does.

    It is differentiated with respect to the floating-point and complex arrays of its first argument, which
    may be a pytree of anything; so may all other arguments, the result and the residuals. Python floats in
    the result are differentiated as arrays are.

    ```python
    @filter_custom_vjp
    def clip_gradient(x, limit):
        return x


    @clip_gradient.def_fwd
    def _(perturbed, x, limit):
        return x, None


    @clip_gradient.def_bwd
    def _(residuals, grad_out, perturbed, x, limit):
        return jnp.clip(grad_out, -limit, limit)
    ```

    Args:
        fn: a pure function, or a method, whose first argument then is the object.
        check: check shapes, dtypes and types of what the function, or the forward rule in its place,
            receives and returns.

    Returns:
        A callable with the signature of `fn`, and with `def_fwd` and `def_bwd`, which set the rules and must
        both be called first. Without `fn`, a decorator.

    Raises:
        AnnotationError: the first argument can't be differentiated, or another one is marked `Diff` (when
            the decorator runs).
        RuleError: a rule is missing (at the call).
        ShapeError: another argument than the first is differentiated; the forward rule returns no pair, or
            another static value than the function; a gradient does not fit (where it is differentiated).
        PytreeError: a gradient has another structure than the first argument.
    """
    transform = CustomVjp(check=check)
    return transform.wrap if fn is None else transform.wrap(fn)
