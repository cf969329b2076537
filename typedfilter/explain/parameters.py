"""What each transform does to a parameter and to the result, in a few words.

Reads plans and options as the transforms do; transforms nothing. A transform that has no entry in
`_FAMILIES` passes its arguments on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from typedfilter._mapping.axes import BY_RULE, axis_option
from typedfilter._placing.places import places_text
from typedfilter._placing.shardings import in_shardings
from typedfilter._reading.fields import is_array_only_class
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Differentiable, Role
from typedfilter._wrapping.wrapper import Transform

__all__ = ["BY_LEAF", "PASSED_ON", "Effect", "Stage", "axis_text", "donates", "legend"]

BY_LEAF = "by leaf"
PASSED_ON = "passed on"
_What = tuple[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one transform does to one parameter, and why: an annotation, an option or a rule."""

    transform: str
    what: str
    why: tuple[str, ...] = ()


class _Family(NamedTuple):
    """Transforms that do the same to arguments."""

    parameter: Callable[[Stage, Param], _What]
    returns: Callable[[Stage], _What]
    rule: str  # what `BY_LEAF` stands for


@dataclasses.dataclass(frozen=True)
class Stage:
    """One transform of a stack, with the plan of what it transforms."""

    transform: str
    options: dict[str, Any]
    plan: Plan

    @classmethod
    def of(cls, transform: Transform, plan: Plan) -> Stage:
        return cls(transform.name, transform.options, plan)

    def __str__(self) -> str:
        shown = [(name, value) for name, value in self.options.items() if name not in _PLACING]
        options = ", ".join(f"{name}={value!r}" for name, value in shown)
        return f"{self.transform}({options})" if options else self.transform

    @property
    def family(self) -> _Family | None:
        return _FAMILIES.get(self.transform)

    def parameter(self, name: str) -> Effect:
        """What happens to the parameter of that name."""
        param = self._param(name)
        if param is None or self.family is None:
            return Effect(self.transform, PASSED_ON)
        return Effect(self.transform, *self.family.parameter(self, param))

    def returns(self) -> Effect:
        """What happens to the result."""
        if self.family is None:
            return Effect(self.transform, PASSED_ON)
        return Effect(self.transform, *self.family.returns(self))

    def _param(self, name: str) -> Param | None:
        return next((param for param in self.plan.params if param.name == name), None)


def legend(transforms: Sequence[str]) -> list[str]:
    """What `by leaf` means under each of these transforms."""
    return [f"{name} {_FAMILIES[name].rule}" for name in transforms if name in _FAMILIES]


# --------------------------------------------------------------------------------------------- filter_jit


def _jit(stage: Stage, param: Param) -> _What:
    hint = param.hint
    if hint.role is Role.STATIC:
        return "static", (hint.why,)
    whole = hint.role is not Role.AUTO or (isinstance(hint.type, type) and is_array_only_class(hint.type))
    placed, why = _placed(
        stage, "in_shardings", hint, in_shardings(stage.plan, stage.options.get("in_shardings")).of(param)
    )
    what = ("traced" if whole else BY_LEAF) + placed
    if not donates(stage, param):
        return what, (hint.why, *why)
    option = () if hint.donate else (f"donate={stage.options['donate']!r}",)
    return f"{what}, donated", (hint.why, *why, *option)


_PLACING = ("in_shardings", "out_shardings")  # are told where they matter: they would be long


def _placed(stage: Stage, option: str, hint: Hint, places: Any) -> _What:
    """Whether arrays are placed, and by which option; an annotation speaks for itself."""
    if stage.transform != "filter_jit" or (places is None and hint.sharding is None):
        return "", ()
    return ", placed", () if places is None else (f"{option}={places_text(places)}",)


def donates(stage: Stage, param: Param) -> bool:
    """Whether arrays of a parameter are given to a compiled function, by annotation or by option."""
    if param.hint.donate:
        return True
    option = str(stage.options.get("donate", "none"))
    first = param is stage.plan.params[0]
    return option != "none" and not (first and option.endswith("except-first"))


def _jit_returns(stage: Stage) -> _What:
    returns = stage.plan.returns
    placed, why = _placed(stage, "out_shardings", returns, stage.options.get("out_shardings"))
    return ("traced" if _returns_arrays(stage.plan) else BY_LEAF) + placed, (*_why(returns), *why)


def _returns_arrays(plan: Plan) -> bool:
    return plan.returns.role is Role.ARRAYS and plan.returns.type is not Any


def _why(hint: Hint) -> tuple[str, ...]:
    # What another transform returns is not what is annotated; its plan says Any.
    return (hint.why,) if hint.annotated and hint.type is not Any else ()


# -------------------------------------------------------------------------------------------- filter_grad


def _targets(plan: Plan) -> tuple[Param, ...]:
    return plan.diff_params() or plan.params[:1]


def _grad(stage: Stage, param: Param) -> _What:
    marked = stage.plan.diff_params()
    hint = param.hint
    if hint.diff is False:
        return "constant", (hint.why,)
    if param not in _targets(stage.plan):
        return "constant", ("others are marked Diff" if marked else "not the first argument",)
    if hint.differentiable is Differentiable.NEVER:
        return "constant", (hint.why,)
    why = hint.why if marked else "the first argument"
    return "differentiated" if hint.differentiable is Differentiable.ALWAYS else BY_LEAF, (why,)


def _grad_returns(stage: Stage) -> _What:
    names = ", ".join(f"`{param.name}`" for param in _targets(stage.plan))
    parts = [f"gradient of {names}" if names else "nothing to differentiate"]
    if stage.transform == "filter_value_and_grad":
        parts = ["value and aux" if stage.options.get("has_aux") else "value", *parts]
    elif stage.options.get("has_aux"):
        parts = [*parts, "aux"]
    return ", ".join(parts), ()


# -------------------------------------------------------------------------------------------- filter_vmap


def axis_text(axis: Any) -> str:
    """What becomes of an array by its axis."""
    return "broadcast" if axis is None else f"axis {axis}"


def _vmap_option(stage: Stage, param: Param) -> Any:
    """What `in_axes` says about a parameter; `BY_RULE` where it says nothing."""
    return axis_option(stage.plan, stage.options.get("in_axes", BY_RULE), param)


def _vmap(stage: Stage, param: Param) -> _What:
    option, hint = _vmap_option(stage, param), param.hint
    if option != BY_RULE:
        return _option_text(option, "in_axes")
    if hint.axis is not None:
        return axis_text(hint.axis.axis), (hint.why,)
    if hint.role is Role.STATIC:
        return "broadcast", (hint.why,)
    return "axis 0" if hint.role is Role.ARRAYS else BY_LEAF, (hint.why,)


def _option_text(axes: Any, option: str) -> _What:
    simple = axes is None or isinstance(axes, int)
    return axis_text(axes) if simple else BY_LEAF, (f"{option}={axes!r}",)


def _vmap_returns(stage: Stage) -> _What:
    option, hint = stage.options.get("out_axes", BY_RULE), stage.plan.returns
    if option != BY_RULE:
        return _option_text(option, "out_axes")
    if hint.axis is not None:
        return axis_text(hint.axis.axis), (hint.why,)
    return "axis 0" if _returns_arrays(stage.plan) else BY_LEAF, _why(hint)


_JIT = _Family(_jit, _jit_returns, "traces arrays, the rest is static")
_GRAD = _Family(_grad, _grad_returns, "differentiates floating-point arrays")
_VMAP = _Family(_vmap, _vmap_returns, "maps axis 0 of arrays, broadcasts the rest")
_FAMILIES: dict[str, _Family] = {
    "filter_jit": _JIT,
    "filter_make_jaxpr": _JIT,
    "filter_grad": _GRAD,
    "filter_value_and_grad": _GRAD,
    "filter_jacfwd": _GRAD,
    "filter_jacrev": _GRAD,
    "filter_hessian": _GRAD,
    "filter_vmap": _VMAP,
    "filter_pmap": _VMAP,
}
