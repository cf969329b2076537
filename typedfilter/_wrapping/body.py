"""The body of a transform: the wrapped callable, checked where it is the user's own.

Of a stack of transforms only the innermost one wraps the user's function, so that shapes are
checked once, on what the function receives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typedfilter._declarations import Check
from typedfilter._placing.bodies import placed
from typedfilter._reading.checkers import own_body
from typedfilter._reading.plan import Plan
from typedfilter._reading.received import Called
from typedfilter._shapes.check import checked_body
from typedfilter._shapes.switch import checking
from typedfilter._wrapping.wrapper import Wrapper


def body_of(wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
    """What a transform calls: `wrapper.__wrapped__`, with the checks that its options ask for."""
    return body_for(wrapper.__wrapped__, plan, check=wrapper.transform.check)


def body_for(fn: Callable[..., Any], plan: Plan, *, check: Check) -> Callable[..., Any]:
    """`fn` with the checks of its plan, or without any, and with the shardings that its plan asks for."""
    places = plan.placing
    body = checked_body(Called.of(fn, plan, eager=True)) if check else own_body(fn, plan)
    body = body if check is True else otherwise_checked(body, check)
    return placed(fn, plan, body) if places else body


def otherwise_checked(fn: Callable[..., Any], check: Check) -> Callable[..., Any]:
    """`fn` with checks off, or warnings, while it runs; in the wrappers that it calls as well."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with checking(check):
            return fn(*args, **kwargs)

    return call
