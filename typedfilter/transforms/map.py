"""`filter_map` and `filter_associative_scan`: loops over steps without a carry.

Derived from `jax.lax.map` and `jax.lax.associative_scan` on flat lists of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from typedfilter._declarations import Check
from typedfilter._looping.axes import (
    Stacked,
    at_step,
    check_lengths,
    divided,
    merged,
    moved_in,
    moved_out,
    take_scanned,
)
from typedfilter._looping.bodies import body_and_plan, parameter, plan_of_body
from typedfilter._looping.carry import Carry
from typedfilter._looping.pieces import Piece
from typedfilter._looping.programs import run
from typedfilter._looping.types import X, Y
from typedfilter._wrapping.frames import ends_at_caller


@ends_at_caller
def filter_map(f: Callable[[X], Y], xs: X, *, batch_size: int | None = None, check: Check = True) -> Y:
    """Call `f` for each step of `xs`, one after another, as `jax.lax.map` does.

    `xs` is stepped through as by `filter_scan`: arrays along axis 0, or the `ScanAxis[k]` of the annotation
    of `f`'s parameter, or of the field that they are in. Every step sees all of what is `ScanAxis[None]`, and
    of what is no array.

    Args:
        f: a pure function of one step.
        xs: a pytree with the steps.
        batch_size: so many steps are taken at once, vectorised; what is left over comes last.
        check: check shapes, dtypes and types of what `f` receives and returns: one step.

    Returns:
        The results of all steps: arrays and Python numbers with one axis more, in front or where
        `ScanAxis[k]` on the return annotation or a field says; what is static once, as it is.

    Raises:
        ShapeError: an argument or the result of `f` is not what its annotation says.
        VmapAxisError: arrays have no such axis, or disagree in the number of steps.
        AnnotationError: annotations contradict each other.
    """
    plan = plan_of_body(f)
    scanned = take_scanned(xs, parameter(plan, 0))
    check_lengths("filter_map", plan, scanned, None, xs, "xs")
    mapped: Y = run(_map, [f], [scanned], (batch_size, check), (plan, (xs,)))
    return mapped


def _map(bodies: Sequence[Callable[..., Any]], pieces: Sequence[Piece], options: Any) -> Any:
    batch_size, check = options
    (scanned,) = pieces
    body, plan = body_and_plan(bodies[0], "filter_map", ("x",), check=check)
    stepped, whole = moved_in(scanned)
    results = Stacked(plan, whole)

    def step(slices: list[Any]) -> list[Any]:
        return results.take(body(at_step(scanned, slices, whole)))

    return results.join(jax.lax.map(step, stepped, batch_size=batch_size))


@ends_at_caller
def filter_associative_scan(
    fn: Callable[[X, X], X], elems: X, *, reverse: bool = False, axis: int = 0, check: Check = True
) -> X:
    """Combine the elements before and up to each one, in parallel, as `jax.lax.associative_scan` does.

    The arrays of `elems` hold their elements along `axis`, or along the `ScanAxis[k]` of the annotation of
    `fn`'s first parameter, or of the field that they are in. All else, and what is `ScanAxis[None]`, is in
    both arguments of `fn`, and must come back the same.

    Args:
        fn: an associative function of two elements. It is called for many at once, along the axis they have
            in `elems`.
        elems: a pytree of arrays with the elements.
        reverse: whether to combine from the last element to the first.
        axis: along which the elements are; other than 0, it takes precedence over annotations.
        check: check shapes, dtypes and types of what `fn` receives and returns.

    Returns:
        A pytree like `elems`, with what was combined in the place of each element.

    Raises:
        ShapeError: `fn` returns another structure, shape, dtype or static value than it is given; an
            argument or the result of `fn` is not what its annotation says.
        VmapAxisError: arrays have no such axis, or disagree in the number of elements.
        AnnotationError: annotations contradict each other.
    """
    plan = plan_of_body(fn)
    taken = take_scanned(elems, parameter(plan, 0), axis)
    check_lengths("filter_associative_scan", plan, taken, None, elems, "elems")
    combined: X = run(_associative_scan, [fn], [taken], (reverse, check), (plan, (elems,)))
    return combined


def _associative_scan(bodies: Sequence[Callable[..., Any]], pieces: Sequence[Piece], options: Any) -> Any:
    reverse, check = options
    (taken,) = pieces
    body, plan = body_and_plan(bodies[0], "filter_associative_scan", ("a", "b"), check=check)
    stepped, whole = moved_in(taken)
    state = Carry(plan, taken.rest, "element")

    def combine(first: list[Any], second: list[Any]) -> list[Any]:
        leaves = merged(taken, moved_out(taken, first), whole)
        new = body(state.open(leaves), at_step(taken, moved_out(taken, second), whole))
        return divided(plan, taken, state.close(leaves, new, strict=True), whole)

    combined = jax.lax.associative_scan(combine, stepped, reverse=reverse)
    return at_step(taken, moved_out(taken, combined), whole)
