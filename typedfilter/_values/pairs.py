"""What has to be a pair: a result with auxiliary data, a step of a scan, the result of a rule."""

from __future__ import annotations

from typing import Any

from typedfilter._values.text import brief
from typedfilter.errors import ShapeError


def pair_of(out: Any, function: str, problem: str, expected: str, fix: str) -> tuple[Any, Any]:
    """The two values that a function returned.

    Raises:
        ShapeError: it is anything else.
    """
    if isinstance(out, tuple | list) and len(out) == 2:
        first, second = out
        return first, second
    raise ShapeError(
        problem,
        function=function,
        parameter="return",
        expected=expected,
        actual=brief(out),
        fix=fix,
    )
