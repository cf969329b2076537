"""What an array that a function returns may stand for, by what its parameters are annotated with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import jax

from typedfilter._reading import kinds
from typedfilter._reading.hints import UNANNOTATED, Hint
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Param
from typedfilter._reading.roles import Role


class Returned(NamedTuple):
    """Which arrays stand for other values in a result.

    Attributes:
        numbers: a scalar array for a number: the function computes with numbers that are traced.
        numpy: a tracer for a NumPy array: the function computes with NumPy arrays that are traced.
    """

    numbers: bool
    numpy: bool


NOTHING = Returned(numbers=False, numpy=False)


def returned_by(params: Iterable[Param], returns: Hint = UNANNOTATED) -> Returned:
    """What stands for what in the result of a function with these parameters.

    Its own hint has a role only where a transform gives it one: loops trace all numbers, results too.
    """
    hints = [param.hint for param in params]
    traced = any(hint.role is Role.TRACED or hint.diff is True for hint in hints)
    numbers = traced or returns.role is Role.TRACED
    return Returned(numbers, any(_takes_numpy(hint.kind) for hint in hints))


def _takes_numpy(kind: Kind) -> bool:
    return any(
        isinstance(one, kinds.NumpyArray | kinds.NumpyScalar)
        or (isinstance(one, kinds.Array) and one.array_type is not jax.Array)
        for one in kind.every
    )
