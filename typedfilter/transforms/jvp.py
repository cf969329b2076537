"""`filter_jvp`: forward-mode derivatives of any function, with `None` for a zero tangent, in and out.

Derived from `jax.jvp` on the flat list of leaves that have a tangent. Which results depend on them
is asked of JAX itself, by a probe at the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, overload

import jax

from typedfilter._declarations import P, R, S, T, Ts, U, V
from typedfilter._differentiating.dependent import Results
from typedfilter._differentiating.primals import Primals
from typedfilter._differentiating.tangents import Beside
from typedfilter._reading.callables import name_of
from typedfilter._values.leaves import as_array
from typedfilter._values.text import brief
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.errors import ShapeError


@overload
def filter_jvp(fn: Callable[[*Ts], R], primals: tuple[*Ts], tangents: tuple[Any, ...]) -> tuple[R, R]: ...
@overload
def filter_jvp(
    fn: Callable[Concatenate[S, P], R],
    primals: tuple[S],
    tangents: tuple[Any],
    *args: P.args,
    **kwargs: P.kwargs,
) -> tuple[R, R]: ...
@overload
def filter_jvp(
    fn: Callable[Concatenate[S, T, P], R],
    primals: tuple[S, T],
    tangents: tuple[Any, Any],
    *args: P.args,
    **kwargs: P.kwargs,
) -> tuple[R, R]: ...
@overload
def filter_jvp(
    fn: Callable[Concatenate[S, T, U, P], R],
    primals: tuple[S, T, U],
    tangents: tuple[Any, Any, Any],
    *args: P.args,
    **kwargs: P.kwargs,
) -> tuple[R, R]: ...
@overload
def filter_jvp(
    fn: Callable[Concatenate[S, T, U, V, P], R],
    primals: tuple[S, T, U, V, *tuple[Any, ...]],
    tangents: tuple[Any, Any, Any, Any, *tuple[Any, ...]],
    **kwargs: Any,
) -> tuple[R, R]: ...
@overload
def filter_jvp(fn: Callable[P, R], primals: list[Any], tangents: list[Any], **kwargs: Any) -> tuple[R, R]: ...
# The ignore: types can't leave out the positional half of `P`, which is not taken at run time.
@ends_at_caller  # type: ignore[misc]
def filter_jvp(fn: Any, primals: Any, tangents: Any, **kwargs: Any) -> Any:
    """Evaluate a function and its derivative in the direction of `tangents`, as `jax.jvp` does.

    Args:
        fn: a pure function. Arguments and result may be pytrees of anything.
        primals: a tuple or list of its positional arguments.
        tangents: the direction: a tuple or list with the structure of `primals`, arrays (or Python numbers)
            of the shape and dtype of their primal. `None` stands for zero, also for that of a whole subtree,
            and is all that there can be for what is not differentiated: what is neither a floating-point or
            complex array nor a Python `float` or `complex`, or is annotated `NoDiff[...]` or as static.
        kwargs: keyword arguments of `fn`. They are not differentiated; none may be annotated `Diff`.

    Returns:
        `(primals_out, tangents_out)`: the result, and a pytree of its structure with the tangent of each
        leaf; `None` for a leaf that does not depend on anything with a tangent, or can't be differentiated.

    Raises:
        AnnotationError: what is marked `Diff` is not among the positional arguments.
        PytreeError: `primals` and `tangents` differ in structure.
        ShapeError: a tangent does not fit its primal, or there can be none; `primals` or `tangents` is no
            tuple or list; an argument or the result is not what its annotation says.
    """
    _refuse_other_than_sequences(fn, primals, tangents)
    args = tuple(primals)
    at = Primals(fn, "filter_jvp", args, kwargs)
    beside = Beside(at.plan.function, "tangents", "primals", "tangent", numbers=True)
    directions = beside.leaves(args, tuple(tangents), at.can_have_tangents())
    along = [direction for direction in directions if direction is not None]
    taken = at.take([direction is not None for direction in directions])
    results = Results(lambda leaves: (at.body(leaves), None))
    if not taken:
        out = at.body([])
        return out, jax.tree_util.tree_map(lambda _: None, out)
    values = list(map(as_array, taken))
    primal_out, tangent_out, others = at.run(jax.jvp, results, (0.0, values), (0.0, along))
    return results.joined(primal_out, others)[0], results.dependent.with_none(tangent_out)


def _refuse_other_than_sequences(fn: Any, primals: Any, tangents: Any) -> None:
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, (tuple, list)):
            raise ShapeError(
                "is not a tuple or list, with one entry for each argument",
                function=name_of(fn),
                parameter=name,
                expected="a tuple or list",
                actual=brief(value),
                fix=f"write {name}=(...,), also where there is one argument",
            )
    if len(primals) != len(tangents):
        raise ShapeError(
            f"has {_entries(tangents)}, but `primals` has {_entries(primals)}",
            function=name_of(fn),
            parameter="tangents",
            expected=f"one entry for each argument, {len(primals)} in all",
            actual=_entries(tangents),
            fix="give one tangent for each primal, None where it is zero",
        )


def _entries(values: Sequence[Any]) -> str:
    return f"{len(values)} {'entry' if len(values) == 1 else 'entries'}"
