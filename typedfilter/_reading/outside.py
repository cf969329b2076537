"""What of a function's annotations holds outside of a transform: for the next transform, and for people."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Callable
from typing import Any

from typedfilter._reading.callables import told
from typedfilter._reading.hints import Hint
from typedfilter._reading.kinds import ANYTHING
from typedfilter._reading.plan import Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.text import WrittenSignature
from typedfilter._reading.wrappers import is_wrapper


class Holds(enum.Enum):
    """Which annotations are true of what a transformed callable is called with, and returns."""

    ALL = "all"
    ARGUMENTS = "those of its arguments"
    STATIC = "those of its static arguments: arrays have one more axis"


_RESULT = Hint(Any, ANYTHING, why="the result of a transform")


def plan_outside(inner: Plan, holds: Holds) -> Plan:
    """The plan of the transformed callable: the same parameters, of which transforms read the markers."""
    return inner if holds is Holds.ALL else dataclasses.replace(inner, returns=_RESULT)


def signature_outside(fn: Callable[..., Any], plan: Plan, holds: Holds) -> WrittenSignature:
    """What the transform of `fn`, whose plan this is, shows to people.

    Of a wrapper that is what it shows itself, though calls go by its own parameters.
    """
    signature = (told(fn) if is_wrapper(fn) else None) or plan.signature
    if holds is Holds.ALL:
        return WrittenSignature.of(signature)
    parameters = list(signature.parameters.values())
    if holds is Holds.STATIC:
        static = {param.name for param in plan.params if param.hint.role is Role.STATIC}
        parameters = [
            param if param.name in static else param.replace(annotation=param.empty) for param in parameters
        ]
    shown = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return WrittenSignature.of(shown)
