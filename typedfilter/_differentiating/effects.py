"""What differentiation does to arguments and to the result: what is differentiated, and what is constant."""

from __future__ import annotations

from typing import Any

import jax

from typedfilter._differentiating.targets import Targets, can_differentiate
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Differentiable
from typedfilter._wrapping.effects import Act, Effect, Effects, Given, Reason, Result, answered


class Differentiates(Effects):
    """Of the transforms that differentiate by `Diff`, or their first argument.

    Attributes:
        targets: what is differentiated.
        has_aux: whether the function returns auxiliary data beside its value.
        with_value: whether the value is returned beside the gradient.
        result: `GRADIENT` of a scalar, or a `DERIVATIVE`.
    """

    rule = "differentiates floating-point arrays"
    result = Result.GRADIENT

    def __init__(
        self,
        transform: str,
        plan: Plan,
        *,
        has_aux: bool = False,
        with_value: bool = False,
        result: Result = Result.GRADIENT,
    ) -> None:
        super().__init__(transform, plan)
        self.targets = Targets(plan, transform)
        self.has_aux = has_aux
        self.with_value = with_value
        self.result = result  # type: ignore[misc]  # of the class, unless it is said here

    def parameter(self, param: Param) -> Effect:
        marked, hint = self.plan.diff_params, param.hint
        if hint.diff is False:
            return self.effect(Act.CONSTANT, Reason.of(hint))
        if param not in self.targets.params:
            return self.effect(
                Act.CONSTANT, Reason("others are marked Diff" if marked else "not the first argument")
            )
        if hint.differentiable is Differentiable.NEVER:
            return self.effect(Act.CONSTANT, Reason.of(hint))
        always = hint.differentiable is Differentiable.ALWAYS
        why = Reason.of(hint) if marked else Reason("the first argument")
        return self.effect(Act.DIFFERENTIATED if always else Act.BY_LEAF, why)

    def returned(self) -> Effect:
        names = ", ".join(f"`{param.name}`" for param in self.targets.params)
        parts = [f"gradient of {names}" if names else "nothing to differentiate"]
        if self.with_value:
            parts = ["value and aux" if self.has_aux else "value", *parts]
        elif self.has_aux:
            parts = [*parts, "aux"]
        return self.effect(Act.MADE, made_of=", ".join(parts))

    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        targets = {at for group in self.targets.groups(call.args, call.kwargs) for at in group.at}

        def ask(call: Given) -> list[list[Effect]]:
            given = enumerate(zip(call.params(self.plan), call.values, strict=True))
            return [self._leaves(param, value, at in targets) for at, (param, value) in given]

        return answered(call, ask), call

    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        return self._leaves(param, value, param in self.targets.params)

    def _leaves(self, param: Param | None, value: Any, target: bool) -> list[Effect]:
        found = can_differentiate(jax.tree.leaves(value), value, param)
        yes, no = self.effect(Act.DIFFERENTIATED), self.effect(Act.CONSTANT)
        return [yes if target and one else no for one in found]
