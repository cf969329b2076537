"""What a gradient is taken of: one number, or a readable error."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from typedfilter._reading.plan import Plan
from typedfilter._values.leaves import is_array_like
from typedfilter._values.text import brief
from typedfilter.errors import ShapeError


def complex_scalar(value: Any, plan: Plan, transform: str) -> Any:
    if is_array_like(value) and jnp.shape(value) == () and jnp.iscomplexobj(value):
        return value
    raise ShapeError(
        f"can't be differentiated by {transform} as a holomorphic function: it is {brief(value)}",
        function=plan.function,
        parameter="return",
        expected="a complex scalar",
        actual=brief(value),
        fix="return a complex number, or leave holomorphic out",
    )


def real_scalar(value: Any, plan: Plan, transform: str) -> Any:
    if (
        is_array_like(value)
        and jnp.shape(value) == ()
        and jnp.issubdtype(jnp.result_type(value), jnp.floating)
    ):
        return value
    fix = "reduce it to a scalar: jax.numpy.sum or mean; for a derivative of an array use filter_jacrev"
    if value is None:
        fix = "end the function with a return of its scalar"
    elif isinstance(value, tuple):
        fix = "pass has_aux=True, so that only the first of the pair is differentiated"
    elif is_array_like(value) and jnp.shape(value) == ():
        fix = "return a floating-point number: result.astype(jax.numpy.float32)"
        if jnp.iscomplexobj(value):
            fix = "return a real number: result.real, or jax.numpy.abs(result)"
    raise ShapeError(
        f"can't be differentiated by {transform}: it is {brief(value)}",
        function=plan.function,
        parameter="return",
        expected="a real floating-point scalar",
        actual=brief(value),
        fix=fix,
    )
