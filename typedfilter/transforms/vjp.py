"""`filter_vjp`: reverse-mode derivatives of any function, one evaluation for many cotangents.

Derived from `jax.vjp` on the flat list of what is differentiated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Concatenate, overload

import jax

from typedfilter._declarations import Aux, NoAux, P, R, S, T, Ts, U, Unsaid, V, WithAux
from typedfilter._differentiating.primals import Primals
from typedfilter._differentiating.tangents import Beside, Slot, slot_for, zeros_in
from typedfilter._differentiating.targets import split_aux
from typedfilter._values.leaves import is_array, is_inexact_array
from typedfilter._values.split import Rest, join_leaves, split_where
from typedfilter._values.trees import Treedef
from typedfilter._wrapping.frames import ends_at_caller


# One to four primals by themselves, for checkers that don't solve for a TypeVarTuple.
@overload
def filter_vjp(
    fun: Callable[[S], R], primal: S, /, *, has_aux: NoAux = False
) -> tuple[R, Callable[[R], tuple[S]]]: ...
@overload
def filter_vjp(
    fun: Callable[[S, T], R], first: S, second: T, /, *, has_aux: NoAux = False
) -> tuple[R, Callable[[R], tuple[S, T]]]: ...
@overload
def filter_vjp(
    fun: Callable[[S, T, U], R], first: S, second: T, third: U, /, *, has_aux: NoAux = False
) -> tuple[R, Callable[[R], tuple[S, T, U]]]: ...
@overload
def filter_vjp(
    fun: Callable[[S, T, U, V], R], first: S, second: T, third: U, fourth: V, /, *, has_aux: NoAux = False
) -> tuple[R, Callable[[R], tuple[S, T, U, V]]]: ...
@overload
def filter_vjp(
    fun: Callable[[*Ts], R], /, *primals: *Ts, has_aux: NoAux = False
) -> tuple[R, Callable[[R], tuple[*Ts]]]: ...
@overload
def filter_vjp(  # type: ignore[overload-overlap]  # likewise
    fun: Callable[[S], tuple[R, Aux]], primal: S, /, *, has_aux: WithAux
) -> tuple[R, Callable[[R], tuple[S]], Aux]: ...
@overload
def filter_vjp(  # type: ignore[overload-overlap]  # likewise
    fun: Callable[[S, T], tuple[R, Aux]], first: S, second: T, /, *, has_aux: WithAux
) -> tuple[R, Callable[[R], tuple[S, T]], Aux]: ...
@overload
def filter_vjp(  # type: ignore[overload-overlap]  # likewise
    fun: Callable[[S, T, U], tuple[R, Aux]], first: S, second: T, third: U, /, *, has_aux: WithAux
) -> tuple[R, Callable[[R], tuple[S, T, U]], Aux]: ...
@overload
def filter_vjp(  # type: ignore[overload-overlap]  # a keyword argument of a function may be named has_aux
    fun: Callable[[*Ts], tuple[R, Aux]], /, *primals: *Ts, has_aux: WithAux
) -> tuple[R, Callable[[R], tuple[*Ts]], Aux]: ...
# With keyword arguments, types can't tell how many of the parameters are given by position.
@overload
def filter_vjp(  # type: ignore[overload-overlap]  # likewise
    fun: Callable[Concatenate[S, P], tuple[R, Aux]],
    primal: S,
    /,
    *primals: Any,
    has_aux: WithAux,
    **kwargs: Any,
) -> tuple[R, Callable[[R], tuple[Any, ...]], Aux]: ...
@overload
def filter_vjp(
    fun: Callable[Concatenate[S, P], R], primal: S, /, *primals: P.args, **kwargs: P.kwargs
) -> tuple[R, Callable[[R], tuple[Any, ...]]]: ...
@overload
def filter_vjp(fun: Unsaid, /, *primals: Any, has_aux: bool, **kwargs: Any) -> Any: ...
@ends_at_caller  # type: ignore[misc]  # of the implementation mypy asks that it unpacks what the overloads do
def filter_vjp(fun: Any, /, *primals: Any, has_aux: bool = False, **kwargs: Any) -> Any:
    """Evaluate a function, and get the function that pulls cotangents of its result back, as `jax.vjp` does.

    Args:
        fun: a pure function. Arguments and result may be pytrees of anything.
        primals: its positional arguments. Their floating-point and complex arrays are differentiated, if
            they are not annotated `NoDiff[...]`; with arguments annotated `Diff[...]`, only those of these.
        has_aux: `fun` returns `(out, aux)`; `aux` may hold anything, and is returned as it is.
        kwargs: keyword arguments of `fun`. They are not differentiated; none may be annotated `Diff`.

    Returns:
        `(out, vjpfun)`, or `(out, vjpfun, aux)`. `vjpfun` takes a pytree of the structure of `out` with an
        array for each floating-point or complex array in it (`None` where that is zero) and `None` for all
        other leaves (a Python `float` or `complex` may have one, of no effect), and returns a tuple of the
        structure of `primals` with `None` for whatever is not differentiated. It is a pytree whose leaves
        are the residuals, and may be passed through `jax.jit`.

    Raises:
        AnnotationError: what is marked `Diff` is not among the positional arguments.
        ShapeError: with `has_aux`, the result is no pair; an argument or the result is not what its
            annotation says; a cotangent does not fit the result, or there can be none (when `vjpfun` is
            called).
        PytreeError: a cotangent has another structure than the result (when `vjpfun` is called).
    """
    at = Primals(fun, "filter_vjp", primals, kwargs)
    primal_leaves = at.take(at.can_have_tangents(numbers=False))
    rests: list[tuple[Rest, Rest]] = []

    def flat(taken: list[Any]) -> tuple[list[Any], list[Any]]:
        value, aux = split_aux(at.body(taken), has_aux, at.plan, "filter_vjp")
        found, out = split_where(value, is_inexact_array)
        arrays, others = split_where((out.others, aux), is_array)
        rests.append((out, others))
        return found, arrays

    found, pull, arrays = at.run(jax.vjp, flat, primal_leaves)
    out, others = rests[-1]
    kept, aux = others.join(arrays)
    leaves = join_leaves(out.treedef.num_leaves, (out.taken_at, found), (out.others_at, kept))
    value = out.treedef.unflatten(leaves)
    static = _Pulling(
        at.plan.function,
        (out.treedef, tuple(map(slot_for, leaves)), tuple(out.taken_at)),
        (at.rest.treedef, tuple(at.rest.taken_at)),
    )
    vjpfun = Pullback(pull, static)
    return (value, vjpfun, aux) if has_aux else (value, vjpfun)


@dataclasses.dataclass(frozen=True)
class _Pulling:
    """What is static about a pullback: what cotangents look like, and the arguments."""

    function: str
    out: tuple[Treedef, tuple[Slot, ...], tuple[int, ...]]
    primals: tuple[Treedef, tuple[int, ...]]


class Pullback:
    """What `filter_vjp` returns: a function from cotangents of the result to those of the arguments."""

    __slots__ = ("pull", "static")

    def __init__(self, pull: Any, static: _Pulling) -> None:
        self.pull: Any = pull
        self.static: _Pulling = static

    @ends_at_caller
    def __call__(self, cotangent: Any) -> Any:
        """The cotangents of the arguments, a tuple."""
        treedef, slots, differentiated = self.static.out
        beside = Beside(self.static.function, "cotangent", "out", "cotangent")
        mask = [isinstance(slot, jax.ShapeDtypeStruct) for slot in slots]
        given = beside.leaves(treedef.unflatten(slots), cotangent, mask)
        wanted = [(slots[index], given[index]) for index in differentiated]
        (found,) = self.pull([zeros_in(slot) if one is None else one for slot, one in wanted])
        primals_def, taken_at = self.static.primals
        return primals_def.unflatten(join_leaves(primals_def.num_leaves, (taken_at, found)))

    def __repr__(self) -> str:
        return f"<vjp of {self.static.function}>"


jax.tree_util.register_pytree_with_keys(
    Pullback,
    lambda pullback: (((jax.tree_util.GetAttrKey("residuals"), pullback.pull),), pullback.static),
    lambda static, children: Pullback(next(iter(children)), static),
    lambda pullback: ((pullback.pull,), pullback.static),
)
