"""What the transforms of a stack do to each leaf of a call.

Decides nothing: it asks what a transform itself asks, about what that transform would receive.
Nothing is run; where that would be tracers, those of `jax.eval_shape` stand in for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax

from typedfilter._compiling.modes import Mode, array_types, mode_of
from typedfilter._compiling.packing import _layout
from typedfilter._differentiating.targets import Targets, can_differentiate
from typedfilter._mapping.axes import BY_RULE, argument_axes
from typedfilter._reading.plan import Param
from typedfilter._values.leaves import stands_for_array
from typedfilter._values.trees import flatten
from typedfilter._wrapping.call import take_arrays
from typedfilter.errors import ShapeError
from typedfilter.explain.parameters import PASSED_ON, Stage, axis_text, donates

__all__ = ["Call", "leaf_effects"]

T = TypeVar("T")
Texts = list[str]  # one for each leaf of an argument


@dataclasses.dataclass(frozen=True)
class Call:
    """The arguments of a call, or those that are bound."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    @property
    def values(self) -> list[Any]:
        return [*self.args, *self.kwargs.values()]

    def params(self, stage: Stage) -> list[Param | None]:
        """The parameter that takes each value."""
        positional = [stage.plan.positional(i) for i in range(len(self.args))]
        return [*positional, *map(stage.plan.keyword, self.kwargs)]

    def bind(self, bound: Call) -> Call:
        """This call of something that has arguments bound, as a call of what it is made of."""
        return Call((*bound.args, *self.args), bound.kwargs | self.kwargs)

    def with_values(self, values: Iterable[Any]) -> Call:
        rest = list(values)
        count = len(self.args)
        return Call(tuple(rest[:count]), dict(zip(self.kwargs, rest[count:], strict=True)))

    def map(self, change: Callable[[int, Any], Any]) -> Call:
        """With each leaf changed; `change` also gets how many leaves are before it."""
        leaves, treedef = flatten(self.values)
        return self.with_values(treedef.unflatten([change(i, leaf) for i, leaf in enumerate(leaves)]))


def leaf_effects(
    links: Sequence[Stage | Call], call: Call, defaults: Sequence[tuple[Param, Any]]
) -> list[list[Texts]]:
    """For each stage what it does to the leaves of each argument, then to those of each default.

    Args:
        links: a stack from the outside in: transforms, and what is bound between them.
        call: the arguments.
        defaults: what the call leaves to its default.

    Raises:
        VmapAxisError: axes don't fit the arguments.
    """
    columns: list[list[Texts]] = []
    names = list(call.kwargs)
    before = 0  # arguments that are bound in front of those of the call
    for i, link in enumerate(links):
        if isinstance(link, Call):
            before += len(link.args)
            call = call.bind(link)
            continue
        innermost = not any(isinstance(inner, Stage) for inner in links[i + 1 :])
        family = _FAMILIES.get(link.transform, _OTHER)
        texts, inner_call = family.given(link, call)
        keyword = dict(zip(call.kwargs, texts[len(call.args) :], strict=True))
        given = [*texts[before : len(call.args)], *(keyword[name] for name in names)]
        columns.append(
            [*given, *(family.default(link, param, value, innermost) for param, value in defaults)]
        )
        call = inner_call
    return columns


# ---------------------------------------------------------------------------------------------- filter_jit


def _jit(stage: Stage, call: Call) -> tuple[list[Texts], Call]:
    given = zip(call.params(stage), call.values, strict=True)
    masks = [(param, _traced(param, value)) for param, value in given]
    return [_jit_texts(stage, param, mask) for param, mask in masks], _as_structs(call, [m for _, m in masks])


def _jit_default(stage: Stage, param: Param, value: Any, innermost: bool) -> Texts:
    # Around other transforms, it is their function that fills defaults in: while it is traced.
    traced = _traced(param, value)
    return _jit_texts(stage, param, traced if innermost else [False] * len(traced))


def _traced(param: Param | None, value: Any) -> list[bool]:
    leaves, treedef = flatten(value)
    mode = mode_of(param, value, structs=True)
    if mode is not Mode.PACKED:
        return [mode is Mode.TRACED] * len(leaves)
    taken = set(_layout(value, treedef, tuple(map(type, leaves)), array_types(param, structs=True)).taken_at)
    return [i in taken for i in range(len(leaves))]


def _jit_texts(stage: Stage, param: Param | None, traced: Sequence[bool]) -> Texts:
    donated = ", donated" if param is not None and donates(stage, param) else ""
    return [f"traced{donated}" if yes else "static" for yes in traced]


def _jaxpr(stage: Stage, call: Call) -> tuple[list[Texts], Call]:
    masks = take_arrays(stage.plan, call.args, call.kwargs, stands_for_array)[1].masks
    return [_jit_texts(stage, None, mask) for mask in masks], _as_structs(call, masks)


def _as_structs(call: Call, masks: Sequence[Sequence[bool]]) -> Call:
    """The call as the function receives it: what is traced has a shape and a dtype, and no value."""
    traced = [yes for mask in masks for yes in mask]
    return call.map(lambda i, leaf: _struct(leaf) if traced[i] else leaf)


def _struct(leaf: Any, axis: int | None = None) -> Any:
    """What stands for an array, or for a number that becomes one, less an axis."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        shape, dtype, weak = leaf.shape, leaf.dtype, leaf.weak_type
    else:
        try:
            aval = jax.typeof(leaf)
        except TypeError:  # a call with it ends in an error that says more
            return leaf
        shape, dtype, weak = aval.shape, aval.dtype, aval.weak_type
    if axis is not None and -len(shape) <= axis < len(shape):
        at = axis % len(shape)
        shape = (*shape[:at], *shape[at + 1 :])
    return jax.ShapeDtypeStruct(shape, dtype, weak_type=weak)


# --------------------------------------------------------------------------------------------- filter_vmap


def _vmap(stage: Stage, call: Call) -> tuple[list[Texts], Call]:
    in_axes = stage.options.get("in_axes", BY_RULE)

    def ask(call: Call) -> list[list[int | None]]:
        return [axes for _, _, axes in argument_axes(stage.plan, in_axes, call.args, call.kwargs)]

    by_argument = _asked(call, ask)
    flat = [axis for axes in by_argument for axis in axes]
    inner = call.map(lambda i, leaf: leaf if flat[i] is None else _struct(leaf, flat[i]))
    return [[axis_text(axis) for axis in axes] for axes in by_argument], inner


def _asked(call: Call, ask: Callable[[Call], T]) -> T:
    """The answer of `ask`, to which what stands for an array is a tracer."""
    leaves = jax.tree.leaves(call.values)
    structs = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.ShapeDtypeStruct)}
    if not structs:
        return ask(call)
    answers: list[T] = []

    def look(tracers: dict[int, Any]) -> None:
        answers.append(ask(call.map(tracers.get)))

    jax.eval_shape(look, structs)
    return answers[0]


# --------------------------------------------------------------------------------------------- filter_grad


def _grad(stage: Stage, call: Call) -> tuple[list[Texts], Call]:
    targets = Targets(stage.plan, stage.transform)
    places: set[int | str] = set()
    for param in targets.params:
        with contextlib.suppress(ShapeError):  # it is missing; the call will say so
            places.update(targets._places(param, call.args, dict(call.kwargs)))

    def ask(call: Call) -> list[Texts]:
        given = zip([*range(len(call.args)), *call.kwargs], call.params(stage), call.values, strict=True)
        return [_grad_texts(param, value, place in places) for place, param, value in given]

    return _asked(call, ask), call


def _grad_default(stage: Stage, param: Param, value: Any, innermost: bool) -> Texts:
    return _grad_texts(param, value, param in Targets(stage.plan, stage.transform).params)


def _grad_texts(param: Param | None, value: Any, target: bool) -> Texts:
    leaves = jax.tree.leaves(value)
    found = can_differentiate(leaves, value, param)
    return ["differentiated" if target and yes else "constant" for yes in found]


# ------------------------------------------------------------------------------------------- by transform


class _Family(NamedTuple):
    given: Callable[[Stage, Call], tuple[list[Texts], Call]]
    default: Callable[[Stage, Param, Any, bool], Texts]


def _same(text: str) -> Callable[[Stage, Param, Any, bool], Texts]:
    return lambda stage, param, value, innermost: [text] * len(jax.tree.leaves(value))


def _other(stage: Stage, call: Call) -> tuple[list[Texts], Call]:
    return [[PASSED_ON] * len(jax.tree.leaves(value)) for value in call.values], call


_OTHER = _Family(_other, _same(PASSED_ON))
_GRAD = _Family(_grad, _grad_default)
# What is left to its default, a map never sees.
_VMAP = _Family(_vmap, _same(axis_text(None)))
_FAMILIES = {
    "filter_jit": _Family(_jit, _jit_default),
    "filter_make_jaxpr": _Family(_jaxpr, _same("static")),
    "filter_grad": _GRAD,
    "filter_value_and_grad": _GRAD,
    "filter_jacfwd": _GRAD,
    "filter_jacrev": _GRAD,
    "filter_hessian": _GRAD,
    "filter_vmap": _VMAP,
    "filter_pmap": _VMAP,
}
