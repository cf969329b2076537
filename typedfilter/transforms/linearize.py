"""`filter_linearize`: a function at a point, and the linear map of tangents there, for many directions.

Derived from `jax.linearize` on the flat list of leaves that can have a tangent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, overload

import jax

from typedfilter._declarations import Aux, NoAux, R, Ts, Unsaid, WithAux
from typedfilter._differentiating.dependent import Results
from typedfilter._differentiating.primals import Primals
from typedfilter._differentiating.tangents import Beside, Slot, slot_for, zeros_in
from typedfilter._differentiating.targets import split_aux
from typedfilter._values.leaves import as_array
from typedfilter._values.split import join_leaves
from typedfilter._values.trees import Treedef
from typedfilter._wrapping.frames import ends_at_caller


@overload
def filter_linearize(
    fn: Callable[[*Ts], R], /, *primals: *Ts, has_aux: NoAux = False
) -> tuple[R, Callable[[*Ts], R]]: ...
@overload
def filter_linearize(
    fn: Callable[[*Ts], tuple[R, Aux]], /, *primals: *Ts, has_aux: WithAux
) -> tuple[R, Callable[[*Ts], R], Aux]: ...
@overload
def filter_linearize(fn: Unsaid, /, *primals: Any, has_aux: bool) -> Any: ...
# Of the implementation mypy asks that it unpacks what the overloads do.
@ends_at_caller  # type: ignore[misc]  # see above
def filter_linearize(fn: Any, /, *primals: Any, has_aux: bool = False) -> Any:
    """Evaluate a function, and get its derivative as a function of the direction, as `jax.linearize` does.

    `filter_jvp` for many directions at one point: what does not depend on the direction is computed once.

    Args:
        fn: a pure function. Arguments and result may be pytrees of anything.
        primals: its positional arguments.
        has_aux: `fn` returns `(out, aux)`; `aux` may hold anything, and is returned as it is.

    Returns:
        `(primals_out, jvp_fn)`, or `(primals_out, jvp_fn, aux)`. `jvp_fn` takes one tangent for each of
        `primals` as `filter_jvp` does: arrays (or Python numbers) of the shape and dtype of their primal,
        `None` for zero and for what is not differentiated. It returns a pytree of the structure of the
        result, with `None` for a leaf that does not depend on anything with a tangent. It is a pytree whose
        leaves are the residuals, and goes through `filter_jit`.

    Raises:
        AnnotationError: what is marked `Diff` is not among the arguments.
        ShapeError: with `has_aux`, the result is no pair; an argument or the result is not what its
            annotation says; a tangent does not fit its primal, or there can be none (when `jvp_fn` is
            called).
        PytreeError: tangents have another structure than `primals` (when `jvp_fn` is called).
    """
    at = Primals(fn, "filter_linearize", primals, {})
    mask = at.can_have_tangents()
    taken = at.take(mask)
    results = Results(lambda leaves: split_aux(at.body(leaves), has_aux, at.plan, "filter_linearize"))
    values = list(map(as_array, taken))
    found, push, arrays = at.run(jax.linearize, results, 0.0, values)
    out, aux = results.joined(found, arrays)
    slots = tuple(map(slot_for, at.rest.leaves(taken)))
    how = results.dependent
    static = _Pushing(
        at.plan.function, (at.rest.treedef, slots, tuple(mask)), (how.treedef, tuple(how.taken_at))
    )
    jvp_fn = LinearMap(push, static)
    return (out, jvp_fn, aux) if has_aux else (out, jvp_fn)


@dataclasses.dataclass(frozen=True)
class _Pushing:
    """What is static about a linear map: the arguments, and where its results stand."""

    function: str
    primals: tuple[Treedef, tuple[Slot, ...], tuple[bool, ...]]
    out: tuple[Treedef, tuple[int, ...]]


class LinearMap:
    """What `filter_linearize` returns: a function from tangents of the arguments to those of the result."""

    __slots__ = ("push", "static")

    def __init__(self, push: Any, static: _Pushing) -> None:
        self.push: Any = push
        self.static: _Pushing = static

    @ends_at_caller
    def __call__(self, *tangents: Any) -> Any:
        """The tangents of the result."""
        treedef, slots, mask = self.static.primals
        beside = Beside(self.static.function, "tangents", "primals", "tangent", numbers=True)
        aligned = beside.leaves(treedef.unflatten(slots), tangents, mask)
        given = [one for one, yes in zip(aligned, mask, strict=True) if yes]
        wanted = [slot for slot, yes in zip(slots, mask, strict=True) if yes]
        values = [zeros_in(slot) if one is None else one for slot, one in zip(wanted, given, strict=True)]
        found = self.push(0.0, values)
        if None in given:
            depends = _depends(self.push, values, [one is not None for one in given])
            found = [one if yes else None for one, yes in zip(found, depends, strict=True)]
        out_def, taken_at = self.static.out
        return out_def.unflatten(join_leaves(out_def.num_leaves, (taken_at, found)))

    def __repr__(self) -> str:
        return f"<linearization of {self.static.function}>"


jax.tree_util.register_pytree_with_keys(
    LinearMap,
    lambda linear: (((jax.tree_util.GetAttrKey("residuals"), linear.push),), linear.static),
    lambda static, children: LinearMap(next(iter(children)), static),
    lambda linear: ((linear.push,), linear.static),
)


def _depends(push: Any, values: Sequence[jax.Array], given: Sequence[bool]) -> list[bool]:
    """For each result of a linear map, whether it depends on an argument that is given."""
    jaxpr: Any = jax.make_jaxpr(push)(0.0, list(values)).jaxpr
    _, *inputs = jaxpr.invars
    live = {variable for variable, yes in zip(inputs, given, strict=True) if yes}
    for equation in jaxpr.eqns:
        if any(_is_in(variable, live) for variable in equation.invars):
            live.update(equation.outvars)
    return [_is_in(variable, live) for variable in jaxpr.outvars]


def _is_in(variable: Any, live: set[Any]) -> bool:
    return not hasattr(variable, "val") and variable in live  # literals are unhashable, and depend on nothing
