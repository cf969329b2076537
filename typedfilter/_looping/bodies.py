"""The bodies of loops and branches: what they are annotated with, read as loops pass it, and checked.

Where a body says `float`, a loop passes a scalar array: Python numbers are traced in all that a loop
carries. So such an annotation is read as `Traced[float]` is, and only `Static[...]` keeps a number as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from typedfilter._declarations import Check
from typedfilter._reading import kinds
from typedfilter._reading.hints import Hint, role_of
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Param, Plan, plan_of
from typedfilter._reading.roles import Role
from typedfilter._shapes.switch import refuse_check
from typedfilter._wrapping.body import body_for

__all__ = ["body_and_plan", "holds_numbers", "parameter", "plan_of_body"]


def plan_of_body(fn: Callable[..., Any]) -> Plan:
    """The plan of a body; names that are not defined by now stay unknown."""
    return plan_of(fn, final=True)


def body_and_plan(fn: Callable[..., Any], *, check: Check) -> tuple[Callable[..., Any], Plan]:
    """A body with the checks of its annotations, and its plan."""
    plan = plan_of_body(fn)
    refuse_check(check, plan.function)
    params = tuple(dataclasses.replace(param, hint=_as_passed(param.hint)) for param in plan.params)
    returns = dataclasses.replace(plan.returns, role=Role.TRACED)
    return body_for(fn, dataclasses.replace(plan, params=params, returns=returns), check=check), plan


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
