"""`filter_custom_jvp`: a function with a forward-mode derivative of its own.

Derived from `jax.custom_jvp` on the flat list of the arrays of a call, with symbolic zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, overload

import jax
import jax.core
from jax.custom_derivatives import zero_from_primal

from typedfilter._declarations import Check, CustomJvpDecorator, CustomJvpFunction, P, R
from typedfilter._differentiating.outcome import Outcome
from typedfilter._differentiating.rules import Function, Kind, Operands, Rules
from typedfilter._differentiating.tangents import RETURNED, Beside
from typedfilter._reading.hidden import DIFFERENTIATION
from typedfilter._reading.outside import Holds
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._values.carried import Carried, concrete, is_zero
from typedfilter._values.leaves import is_inexact_array, is_number
from typedfilter._values.pairs import pair_of
from typedfilter._wrapping.effects import Effects, PassesOn
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.wrapper import Transform, Wrapper


@dataclasses.dataclass(frozen=True, eq=False)
class CustomJvp(Transform):
    """What `filter_custom_jvp` knows of a function: its rule."""

    name: ClassVar[str] = "filter_custom_jvp"
    reads: ClassVar[frozenset[str]] = DIFFERENTIATION
    holds: ClassVar[Holds] = Holds.ALL
    rules: Rules = dataclasses.field(default_factory=lambda: Rules(("def_jvp",)))

    @property
    def options(self) -> dict[str, Any]:
        return {name: value for name, value in super().options.items() if name != "rules"}

    def wrap(self, fn: Callable[..., Any], *, lent: bool = False) -> Wrapper:
        return CustomJvpWrapper(fn, self, lent)

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return PassesOn(self.name, plan)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        function = Function(wrapper, plan)

        def call(*args: Any, **kwargs: Any) -> Any:
            (rule,) = self.rules.get(plan.function)
            operands = Operands(plan, function.bound, args, kwargs, takes=len(args))
            outcome = Outcome(plan.function, lambda arrays: function(*operands.join(concrete(arrays))))

            def primal(*arrays: Any) -> Carried:
                return outcome.primal(arrays)

            def derivative(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Carried, Carried]:
                values = list(primals) if all(map(_is_number, primals)) else concrete(primals)
                directions = _directions(operands, tangents)
                if all(direction is None for direction in directions):
                    out = outcome.primal(values)
                    return out, _tangents(out, [None] * out.rest.treedef.num_leaves)
                applied = _Applied(rule, operands, directions)
                args, kwargs, _ = operands.join(values)
                value = function.checks(applied)(*args, **kwargs)
                out = outcome.of_rule(value, values, applied.name, "[0]")
                return out, _tangents(out, applied.tangents(out))

            primal.__name__ = plan.function
            ruled = jax.custom_jvp(primal)
            ruled.defjvp(derivative, symbolic_zeros=True)
            return ruled(*operands.arrays).join()

        return call


class CustomJvpWrapper(Wrapper):  # pyright: ignore[reportIncompatibleMethodOverride]  # `__doc__`
    """What `filter_custom_jvp` returns."""

    __slots__ = ()

    @ends_at_caller
    def def_jvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule: `rule(primals, tangents, **kwargs)` returns `(primal_out, tangent_out)`.

        Both arguments are tuples with an entry for each positional argument. A tangent is `None` for every
        leaf that is not differentiated; `None` in `tangent_out` stands for zero.

        Returns:
            The rule itself, so that this can be a decorator.
        """
        transform = self.transform
        assert isinstance(transform, CustomJvp)
        plan = plan_of(self.__wrapped__)
        transform.rules.define("def_jvp", rule, getattr(self, "__name__", "function"), plan)
        return rule


def _directions(operands: Operands, tangents: Sequence[Any]) -> list[Any]:
    """The tangent of each array, `None` for a zero or where there is none."""
    found: list[Any] = []
    for index, (kind, tangent) in enumerate(zip(operands.kinds, tangents, strict=True)):
        if kind is Kind.REFUSED and not is_zero(tangent):
            fix = "pass it by position, or through jax.lax.stop_gradient"
            raise operands.refuse(index, "filter_custom_jvp", fix)
        found.append(tangent if kind is Kind.DERIVED and not is_zero(tangent) else None)
    return found


class _Applied:
    """A rule, called as the function is that it stands for."""

    def __init__(self, rule: Callable[..., Any], operands: Operands, directions: Sequence[Any]) -> None:
        self.name = f"{operands.plan.function}.def_jvp"
        self._rule = rule
        self._tangents = operands.like_arguments(directions)
        self._tangent_out: Any = None

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        out = self._rule(args, self._tangents, **kwargs)
        problem = "is not a pair, which a JVP rule must return"
        fix = "return the result and its tangent"
        value, self._tangent_out = pair_of(
            out, self.name, problem, expected="(primal_out, tangent_out)", fix=fix
        )
        return value

    def tangents(self, out: Carried) -> list[Any]:
        """The tangent of each leaf of the result."""
        beside = Beside(self.name, RETURNED, "primal_out", "tangent", prefix="[1]")
        value = out.join()
        leaves = jax.tree_util.tree_leaves(value)
        mask = [is_inexact_array(leaf) or is_number(leaf) for leaf in leaves]
        found = beside.leaves(value, self._tangent_out, mask)
        return [_like_primal(*pair) for pair in zip(leaves, found, strict=True)]


def _is_number(value: Any) -> bool:
    """Whether JAX passes a Python number to the rule: nothing is traced, and nothing is an array."""
    return type(value) in (bool, int, float, complex)


def _like_primal(value: Any, tangent: Any) -> Any:
    """A tangent beside a Python number as one, where it is known."""
    concrete_array = isinstance(tangent, jax.Array) and not isinstance(tangent, jax.core.Tracer)
    return tangent.item() if concrete_array and is_number(value) else tangent


def _tangents(out: Carried, tangents: Sequence[Any]) -> Carried:
    found = [tangents[index] for index in out.rest.taken_at]
    return out.with_arrays(
        [
            zero_from_primal(array, symbolic_zeros=True) if tangent is None else tangent
            for array, tangent in zip(out.arrays, found, strict=True)
        ]
    )


@overload
def filter_custom_jvp(
    fn: Callable[P, R], /, *, check: Check = True
) -> CustomJvpFunction[Callable[P, R], R]: ...
@overload
def filter_custom_jvp(*, check: Check = True) -> CustomJvpDecorator: ...
@ends_at_caller
def filter_custom_jvp(fn: Any = None, *, check: Check = True) -> Any:
    """Give a function a forward-mode derivative of its own, as `jax.custom_jvp` does.

    Of the positional arguments, every floating-point or complex array may be differentiated; what is not,
    the rule sees as a `None` tangent. Nothing needs to be declared. Arguments and result may hold anything;
    Python floats in the result are differentiated as arrays are.

    ```python
    @filter_custom_jvp
    def log1pexp(x):
        return jnp.log(1.0 + jnp.exp(x))


    @log1pexp.def_jvp
    def _(primals, tangents):
        (x,), (tx,) = primals, tangents
        return log1pexp(x), (1 - 1 / (1 + jnp.exp(x))) * tx
    ```

    Args:
        fn: a pure function, or a method.
        check: check shapes, dtypes and types of what the function, or the rule in its place, receives and
            returns.

    Returns:
        A callable with the signature of `fn`, and with `def_jvp`, which sets the rule and must be called
        first. Without `fn`, a decorator.

    Raises:
        RuleError: there is no rule (at the call).
        ShapeError: a keyword argument is differentiated; the rule returns no pair, another static value
            than the function, or a tangent that does not fit (where it is differentiated).
        PytreeError: the tangent has another structure than the result.
    """
    transform = CustomJvp(check=check)
    return transform.wrap if fn is None else transform.wrap(fn)
