"""`filter_cond` and `filter_switch`: one of several functions, chosen by a value that is traced.

Derived from `jax.lax.cond` and `jax.lax.switch` on flat lists of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from typedfilter._declarations import Check
from typedfilter._looping.bodies import body_and_plan, parameter, plan_of_body
from typedfilter._looping.branches import Branches
from typedfilter._looping.pieces import Piece, is_static, take_given, take_traced
from typedfilter._looping.programs import run
from typedfilter._looping.types import R, Ts
from typedfilter._reading.plan import Plan
from typedfilter._values.leaves import is_array_like
from typedfilter._values.text import brief
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.errors import PytreeError, ShapeError


@ends_at_caller
def filter_cond(
    pred: ArrayLike,
    true_fun: Callable[[*Ts], R],
    false_fun: Callable[[*Ts], R],
    *operands: *Ts,
    check: Check = True,
) -> R:
    """Call `true_fun` or `false_fun`, whichever `pred` says, as `jax.lax.cond` does.

    Arrays and Python numbers in the operands and in the results are traced; everything else is static. Both
    branches must return the same structure and the same static parts, exactly.

    Args:
        pred: a boolean scalar; any other number counts as true where it is not zero.
        true_fun: a pure function of the operands; a method of a model, whose arrays are inputs, too.
        false_fun: another one.
        operands: pytrees of anything.
        check: check shapes, dtypes and types of what both functions receive and return.

    Returns:
        The result of the branch.

    Raises:
        ShapeError: the branches differ in structure, shape, dtype or a static value; an argument or a result
            is not what its annotation says.
        AnnotationError: annotations contradict each other.
    """
    result: R = _choose(_cond, pred, (true_fun, false_fun), operands, check)
    return result


@ends_at_caller
def filter_switch(
    index: ArrayLike, branches: Sequence[Callable[[*Ts], R]], *operands: *Ts, check: Check = True
) -> R:
    """Call one of `branches`, by its number, as `jax.lax.switch` does.

    Arrays and Python numbers in the operands and in the results are traced; everything else is static. All
    branches must return the same structure and the same static parts, exactly.

    Args:
        index: an integer scalar: which branch. One below 0 is the first, one that is too large is the last.
        branches: pure functions of the operands; methods of models, whose arrays are inputs, too.
        operands: pytrees of anything.
        check: check shapes, dtypes and types of what the branches receive and return.

    Returns:
        The result of the branch.

    Raises:
        ShapeError: the branches differ in structure, shape, dtype or a static value; an argument or a result
            is not what its annotation says.
        PytreeError: there are no branches.
        AnnotationError: annotations contradict each other.
    """
    if not len(branches):
        raise PytreeError(
            "is empty: there is nothing to call",
            function="filter_switch",
            parameter="branches",
            expected="at least one function",
            actual=repr(branches),
            fix="pass the functions to choose from",
        )
    result: R = _choose(_switch, index, tuple(branches), operands, check)
    return result


def _choose(
    trace: Any, chosen: Any, functions: Sequence[Callable[..., Any]], operands: Any, check: Check
) -> Any:
    plans = [plan_of_body(function) for function in functions]
    static = [any(is_static(parameter(plan, i)) for plan in plans) for i in range(len(operands))]
    pieces = [take_traced(chosen), take_given(operands, static)]
    return run(trace, functions, pieces, check, (plans[0], operands))


def _opened(
    bodies: Sequence[Callable[..., Any]], by: str, operands: Piece, check: Check
) -> list[tuple[Callable[..., Any], Plan]]:
    count = len(operands.rest.join(operands.leaves))
    names = ["operand"] if count == 1 else [f"operand{i}" for i in range(1, count + 1)]
    return [body_and_plan(body, by, names, check=check) for body in bodies]


def _choice(chosen: Any, function: str, parameter: str, *, integer: bool) -> Any:
    """What chooses a branch: a scalar, and an integer where branches are numbered."""
    fits = is_array_like(chosen) and jnp.shape(chosen) == ()
    if fits and not (integer and not jnp.issubdtype(jnp.result_type(chosen), jnp.integer)):
        return chosen
    cure = "convert it with astype(int)" if fits else "reduce it: jnp.any or jnp.all of it"
    raise ShapeError(
        "does not say which branch to take",
        function=function,
        parameter=parameter,
        expected="an integer scalar" if integer else "a boolean scalar",
        actual=brief(chosen),
        fix=f"{cure}; to choose for each element, use jnp.where",
    )


def _cond(bodies: Sequence[Callable[..., Any]], pieces: Sequence[Piece], check: Any) -> Any:
    pred, operands = pieces
    opened = _opened(bodies, "filter_cond", operands, check)
    branches = Branches(bodies, opened, ("true_fun", "false_fun"), operands)
    chosen = _choice(pred.rest.join(pred.leaves), "filter_cond", "pred", integer=False)
    return branches.run(lambda: jax.lax.cond(chosen, *branches.functions(), operands.leaves))


def _switch(bodies: Sequence[Callable[..., Any]], pieces: Sequence[Piece], check: Any) -> Any:
    index, operands = pieces
    opened = _opened(bodies, "filter_switch", operands, check)
    branches = Branches(bodies, opened, [f"branches[{i}]" for i in range(len(opened))], operands)
    chosen = _choice(index.rest.join(index.leaves), "filter_switch", "index", integer=True)
    return branches.run(lambda: jax.lax.switch(chosen, branches.functions(), operands.leaves))
