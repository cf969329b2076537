"""`filter_while_loop` and `filter_fori_loop`: loops with a carry, until a condition or for a range.

Derived from `jax.lax.while_loop` and `jax.lax.fori_loop` on flat lists of arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from typedfilter._declarations import Check
from typedfilter._looping.bodies import body_and_plan, parameter, plan_of_body
from typedfilter._looping.carry import Carry
from typedfilter._looping.pieces import Piece, is_static, take_traced
from typedfilter._looping.programs import run
from typedfilter._looping.types import C
from typedfilter._reading.plan import Plan
from typedfilter._values.text import brief
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.errors import ShapeError


@overload
def filter_while_loop(
    cond_fun: Callable[[C], ArrayLike], body_fun: Callable[[C], C], init_val: C, *, check: Check = True
) -> C: ...
@overload
def filter_while_loop(
    cond_fun: Callable[[C], ArrayLike], body_fun: Callable[[C], C], init_val: complex, *, check: Check = True
) -> C: ...
@ends_at_caller
def filter_while_loop(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Any, *, check: Check = True
) -> Any:
    """Call `body_fun` on what it returned before, as long as `cond_fun` says, as `jax.lax.while_loop` does.

    Arrays and Python numbers in the carry are traced; everything else is static, and must come back the
    same, exactly. As with JAX there is no reverse-mode derivative, since nobody knows how many steps there
    are: `filter_fori_loop` and `filter_scan` have one.

    Args:
        cond_fun: a pure function of the carry to a boolean scalar: whether to go on.
        body_fun: a pure function from a carry to the next; a method of a model, whose arrays are inputs, too.
        init_val: the carry to start with. A weakly typed start (a Python number) is promoted as JAX does.
        check: check shapes, dtypes and types of what both functions receive and return.

    Returns:
        The last carry.

    Raises:
        ShapeError: the carry comes back with another structure, shape, dtype or static value; `cond_fun`
            returns no boolean scalar; an argument or a result is not what its annotation says.
        AnnotationError: annotations contradict each other.
    """
    plan = plan_of_body(body_fun)
    static = is_static(parameter(plan, 0)) or is_static(parameter(plan_of_body(cond_fun), 0))
    start = take_traced(init_val, static=static)
    return run(_while_loop, [body_fun, cond_fun], [start], check, (plan, (init_val,)))


def _while_loop(bodies: Sequence[Callable[..., Any]], pieces: Sequence[Piece], check: Any) -> Any:
    (start,) = pieces
    (body, plan), (condition, about) = (
        body_and_plan(one, "filter_while_loop", ("val",), check=check) for one in bodies
    )
    carry = Carry(plan, start.rest)

    def goes_on(leaves: list[Any]) -> Any:
        return _as_condition(about, condition(start.rest.join(leaves)))

    def step(leaves: list[Any]) -> list[Any]:
        return carry.close(leaves, body(carry.open(leaves)))

    return start.rest.join(carry.run(lambda: jax.lax.while_loop(goes_on, step, start.leaves)))


def _as_condition(plan: Plan, value: Any) -> Any:
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if isinstance(value, bool) or (dtype == jnp.bool_ and shape == ()):
        return value
    raise ShapeError(
        "does not say whether to go on",
        function=plan.function,
        parameter="return",
        expected="a boolean scalar",
        actual=brief(value),
        fix="return a comparison of scalars; of several, jnp.any or jnp.all",
    )


@overload
def filter_fori_loop(
    lower: ArrayLike,
    upper: ArrayLike,
    body_fun: Callable[[Any, C], C],
    init_val: C,
    *,
    unroll: int | bool | None = None,
    check: Check = True,
) -> C: ...
@overload
def filter_fori_loop(
    lower: ArrayLike,
    upper: ArrayLike,
    body_fun: Callable[[Any, C], C],
    init_val: complex,
    *,
    unroll: int | bool | None = None,
    check: Check = True,
) -> C: ...
@ends_at_caller
def filter_fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[..., Any],
    init_val: Any,
    *,
    unroll: int | bool | None = None,
    check: Check = True,
) -> Any:
    """Call `body_fun(i, val)` for each `i` from `lower` up to `upper`, as `jax.lax.fori_loop` does.

    Arrays and Python numbers in the carry are traced; everything else is static, and must come back the
    same, exactly. Where both bounds are known while tracing, there is a reverse-mode derivative, and each
    number of steps is a program of its own; else it is a `while` loop.

    Args:
        lower: the first `i`, an integer scalar.
        upper: one more than the last `i`, an integer scalar.
        body_fun: a pure function of `i` and the carry to the next carry; a method of a model, whose arrays
            are inputs, too.
        init_val: the carry to start with. A weakly typed start (a Python number) is promoted as JAX does.
        unroll: how many steps to compile as one; `True` for all. Only where both bounds are known.
        check: check shapes, dtypes and types of what `body_fun` receives and returns.

    Returns:
        The last carry.

    Raises:
        ShapeError: the carry comes back with another structure, shape, dtype or static value; an argument or
            the result of `body_fun` is not what its annotation says.
        AnnotationError: annotations contradict each other.
    """
    plan = plan_of_body(body_fun)
    start = take_traced(init_val, static=is_static(parameter(plan, 1)))
    lower, upper = _known(lower), _known(upper)
    bounds = [lower, upper]
    counted = all(isinstance(bound, int | np.integer) for bound in bounds)
    pieces = [start] if counted else [start, take_traced(bounds)]
    known = (lower, upper) if counted else (None, None)
    return run(_fori_loop, [body_fun], pieces, (*known, unroll, check), (plan, (lower, init_val)))


def _fori_loop(bodies: Sequence[Callable[..., Any]], pieces: Sequence[Piece], options: Any) -> Any:
    lower, upper, unroll, check = options
    start = pieces[0]
    if len(pieces) == 2:
        lower, upper = pieces[1].rest.join(pieces[1].leaves)
    body, plan = body_and_plan(bodies[0], "filter_fori_loop", ("i", "val"), check=check)
    carry = Carry(plan, start.rest)

    def step(i: Any, leaves: list[Any]) -> list[Any]:
        return carry.close(leaves, body(i, carry.open(leaves)))

    last = carry.run(lambda: jax.lax.fori_loop(lower, upper, step, start.leaves, unroll=unroll))
    return start.rest.join(last)


def _known(bound: Any) -> Any:
    """A bound as a number where it is known now: the loop then has as many steps as JAX can count."""
    if isinstance(bound, Tracer) or not isinstance(bound, jax.Array | np.ndarray):
        return bound
    if bound.shape != () or not jnp.issubdtype(bound.dtype, jnp.integer):
        return bound
    weak = isinstance(bound, jax.Array) and jax.typeof(bound).weak_type
    return operator.index(bound) if weak else np.asarray(bound)[()]
