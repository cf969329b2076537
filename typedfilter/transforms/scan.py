"""`filter_scan`: a loop over the steps of an array, with a carry; layer by layer through a stacked model.

Derived from `jax.lax.scan` on flat lists of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import jax

from typedfilter._declarations import Check
from typedfilter._looping.axes import Stacked, at_step, check_lengths, moved_in, take_scanned
from typedfilter._looping.bodies import body_and_plan, parameter, plan_of_body
from typedfilter._looping.carry import Carry
from typedfilter._looping.pieces import Piece, is_static, take_traced
from typedfilter._looping.programs import run
from typedfilter._looping.types import C, X, Y
from typedfilter._reading.plan import Plan
from typedfilter._values.pairs import pair_of
from typedfilter._wrapping.frames import ends_at_caller


@overload
def filter_scan(
    f: Callable[[C, X], tuple[C, Y]],
    init: C,
    xs: X = ...,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int | bool = 1,
    check: Check = True,
) -> tuple[C, Y]: ...
@overload
def filter_scan(
    f: Callable[[C, X], tuple[C, Y]],
    init: complex,
    xs: X = ...,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int | bool = 1,
    check: Check = True,
) -> tuple[C, Y]: ...
@ends_at_caller
def filter_scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int | bool = 1,
    check: Check = True,
) -> Any:
    """Call `f` for each step of `xs`, with a carry from step to step, as `jax.lax.scan` does.

    In the carry and in the result of a step, arrays and Python numbers are traced; everything else is
    static. What is static in the carry must come back the same, exactly. Of `xs`, arrays are stepped through
    along axis 0, unless the annotation of the parameter of `f`, or of the field that they are in, says
    `ScanAxis[k]`; of `ScanAxis[None]`, and of what is no array, every step sees all. So a model stacked by
    `filter_vmap(make)(keys)` is scanned layer by layer, and only one layer is compiled.

    Args:
        f: a pure function `(carry, x) -> (carry, y)`; a method of a model, whose arrays are inputs, too.
        init: the carry to start with. A weakly typed start (a Python number) is promoted as JAX does.
        xs: a pytree of what is stepped through; `None` where the carry is all there is.
        length: how many steps; needed where `xs` has no arrays.
        reverse: whether to go from the last step to the first.
        unroll: how many steps to compile as one; `True` for all.
        check: check shapes, dtypes and types of what `f` receives and returns: one step.

    Returns:
        The last carry, and the results of all steps: arrays of them with one axis more, in front or where
        `ScanAxis[k]` on the return (`tuple[C, Annotated[Y, ScanAxis[k]]]`) or on a field says. What is static
        in a result is returned once, as it is.

    Raises:
        ShapeError: the carry comes back with another structure, shape, dtype or static value; `f` returns no
            pair; an argument or the result of `f` is not what its annotation says.
        VmapAxisError: arrays have no such axis, or disagree in the number of steps.
        AnnotationError: annotations contradict each other.
    """
    plan = plan_of_body(f)
    carry = take_traced(init, static=is_static(parameter(plan, 0)))
    scanned = take_scanned(xs, parameter(plan, 1))
    check_lengths("filter_scan", plan, scanned, length, xs, "xs")
    return run(_scan, [f], [carry, scanned], (length, reverse, unroll, check), (plan, (init, xs)))


def _scan(bodies: Sequence[Callable[..., Any]], pieces: Sequence[Piece], options: Any) -> Any:
    length, reverse, unroll, check = options
    start, scanned = pieces
    body, plan = body_and_plan(bodies[0], "filter_scan", ("carry", "x"), check=check)
    stepped, whole = moved_in(scanned)
    carry, results = Carry(plan, start.rest), Stacked(plan, whole)

    def step(leaves: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        out = body(carry.open(leaves), at_step(scanned, slices, whole))
        new, result = _pair(plan, out)
        return carry.close(leaves, new), results.take(result)

    last, stacked = carry.run(
        lambda: jax.lax.scan(step, start.leaves, stepped, length, reverse=reverse, unroll=unroll)
    )
    return start.rest.join(last), results.join(stacked)


def _pair(plan: Plan, out: Any) -> tuple[Any, Any]:
    problem = "is not a pair of the new carry and the result of the step"
    fix = "return carry, y; where a step has no result, return carry, None"
    return pair_of(out, plan.function, problem, expected="a tuple (carry, y)", fix=fix)
