"""The bodies of loops and branches: what they are annotated with, read as loops pass it, and checked.

Where a body says `float`, a loop passes a scalar array: Python numbers are traced in all that a loop
carries. So such an annotation is read as `Traced[float]` is, and only `Static[...]` keeps a number as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from inspect import Signature
from typing import Any

from typedfilter._declarations import Check
from typedfilter._reading import kinds
from typedfilter._reading.hints import Hint, role_of
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Param, Plan, plan_of
from typedfilter._reading.roles import Role
from typedfilter._shapes.switch import refuse_check
from typedfilter._values.text import count_text
from typedfilter._wrapping.body import body_for
from typedfilter.errors import ShapeError


def plan_of_body(fn: Callable[..., Any]) -> Plan:
    """The plan of a body; names that are not defined by now stay unknown."""
    return plan_of(fn, final=True)


def body_and_plan(
    fn: Callable[..., Any], by: str, passed: Sequence[str], *, check: Check
) -> tuple[Callable[..., Any], Plan]:
    """A body with the checks of its annotations, and its plan.

    Args:
        by: the public function that calls it, with what `passed` names.

    Raises:
        ShapeError: it takes other arguments than these.
    """
    plan = plan_of_body(fn)
    _refuse_arguments(plan, by, passed)
    refuse_check(check, plan.function)
    params = tuple(dataclasses.replace(param, hint=_as_passed(param.hint)) for param in plan.params)
    returns = dataclasses.replace(plan.returns, role=Role.TRACED)
    return body_for(fn, dataclasses.replace(plan, params=params, returns=returns), check=check), plan


def _refuse_arguments(plan: Plan, by: str, passed: Sequence[str]) -> None:
    try:
        plan.signature.bind(*passed)
    except TypeError:
        listed = ", ".join(passed)
        others = "bind before (functools.partial, or a closure)"
        if not passed or passed[0].startswith("operand"):
            others = "pass as an operand, which every branch takes"
        raise ShapeError(
            f"does not take what {by} passes: {count_text(len(passed), 'argument')}",
            function=plan.function,
            expected=f"a function of ({listed})",
            actual=f"a function of {_without_annotations(plan.signature)}",
            fix=f"let it take ({listed}); what else it needs, {others}",
        ) from None


def _without_annotations(signature: Signature) -> Signature:
    bare = [param.replace(annotation=Signature.empty) for param in signature.parameters.values()]
    return Signature(bare)


def parameter(plan: Plan, index: int) -> Param | None:
    """The parameter that takes the argument at a position; `None` where only a call can tell."""
    try:
        return plan.positional(index)
    except TypeError:  # for the call itself to raise
        return None


def _as_passed(hint: Hint) -> Hint:
    if hint.static_marker or not holds_numbers(hint.kind):
        return hint
    return dataclasses.replace(hint, role=Role.TRACED)


def holds_numbers(kind: Kind) -> bool:
    """Whether this is a number, or a container with nothing but numbers and arrays."""
    match kind:
        case kinds.Scalar():
            return True
        case kinds.Tuple(_, members) | kinds.Union(_, members):
            inside = tuple(member for member in members if member.hint is not type(None))
        case kinds.Each(_, origin, item) | kinds.Mapping(_, origin, _, item) if origin in (tuple, list, dict):
            inside = (item,)
        case _:
            return False
    return bool(inside) and all(holds_numbers(one) or role_of(one) is Role.ARRAYS for one in inside)
