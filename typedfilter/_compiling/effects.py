"""What compiling does to arguments: traced or static, placed, donated. The engine donates by the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from inspect import Parameter
from typing import Any

import jax

from typedfilter._compiling.modes import Mode, array_types, is_left_out, mode_of
from typedfilter._compiling.packing import taken_leaves
from typedfilter._placing.abstract import is_elsewhere
from typedfilter._placing.places import places_text
from typedfilter._placing.shardings import Said, by_annotation, in_shardings
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.whole import says_arrays_only
from typedfilter._reading.within import is_structure
from typedfilter._values.leaves import is_passed, stands_for_array, struct_of
from typedfilter._values.trees import flatten
from typedfilter._wrapping.call import take_arrays
from typedfilter._wrapping.effects import Act, Effect, Effects, Given, Reason, Result, reasons_of


@dataclasses.dataclass(frozen=True)
class Donated:
    """Which arguments of a compiled function are donated."""

    plan: Plan  # of the function with all its arguments
    option: str = "none"  # `donate=`
    bound: int = 0  # so many arguments are bound by position; the option does not speak of them,
    named: tuple[str, ...] = ()  # nor of these, which are bound by name
    # the first of what is bound is the callable itself, a module, of which the option does speak
    itself: bool = False

    def __call__(self, place: int | str) -> bool:
        """Whether the arrays of the argument at a position, or of that name, are donated."""
        param = self.plan.positional(place) if isinstance(place, int) else self.plan.keyword(place)
        return self._donates(place, param)

    def of_call(self, places: Iterable[int | str], takers: Iterable[Param | None]) -> list[bool]:
        """The same for each argument of a call, by its place and the parameter that takes it."""
        return list(map(self._donates, places, takers))

    def _donates(self, place: int | str, param: Param | None) -> bool:
        if param is None or param.hint.donate or (isinstance(place, int) and place < self.bound):
            return param is not None and (param.hint.donate or (place == 0 and self._donates_itself))
        return self._by_option(param) and not (self._keeps_first(param) and place == self.bound)

    def effect(self, param: Param) -> dict[str, Any]:
        """The facts of an `Effect`, and what more is to say for a reason."""
        own = next((one for one in self.plan.params if one.name == param.name), param)
        if own.hint.donate:
            return {"donated": True}
        if self._donates_itself and own in self.plan.positionals[:1]:
            return {"donated": True}
        by_option = self._by_option(own) and own not in self.plan.positionals[: self.bound]
        return {"donated": by_option, "first_kept": by_option and self._keeps_first(own)}

    def _by_option(self, param: Param) -> bool:
        if self.option == "none" or param.name in self.named:
            return False
        return param.variadic or not (self._but_first and param is self._first)

    def _keeps_first(self, param: Param) -> bool:
        is_args = param.kind is Parameter.VAR_POSITIONAL
        return self._but_first and is_args and param is self._first

    @property
    def _donates_itself(self) -> bool:
        return self.itself and self.option != "none"

    @property
    def _but_first(self) -> bool:
        return self.option.endswith("except-first")

    @property
    def _first(self) -> Param | None:
        left = self.plan.params[min(self.bound, len(self.plan.positionals)) :]
        return left[0] if left else None


@dataclasses.dataclass(eq=False)
class Traces(Effects):
    """Of `filter_jit`: what is an array is traced, everything else is static."""

    rule = "traces arrays, the rest is static"
    result = Result.SAME
    donated: Donated
    in_places: Any = None
    out_places: Any = None

    def parameter(self, param: Param) -> Effect:
        hint = param.hint
        if hint.role is Role.STATIC:
            return self.effect(Act.STATIC, Reason.of(hint))
        places = in_shardings(self.plan, self.in_places).of(param)
        donation = self.donated.effect(param)
        reasons = [Reason.of(hint), *_placed_by("in_shardings", places)]
        if donation["donated"] and not hint.donate:
            reasons.append(Reason(f"donate={self.donated.option!r}"))
        whole = hint.role is not Role.AUTO or says_arrays_only(hint.type)
        act = Act.TRACED if whole else Act.BY_LEAF
        return self.effect(act, *reasons, placed=places is not None or hint.sharding is not None, **donation)

    def returned(self) -> Effect:
        hint = self.plan.returns
        act = Act.TRACED if hint.role is Role.ARRAYS and hint.type is not Any else Act.BY_LEAF
        placed = self.out_places is not None or hint.sharding is not None
        reasons = (*reasons_of(hint), *_placed_by("out_shardings", self.out_places))
        return self.effect(act, *reasons, placed=placed)

    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        masks = self.masks(call)
        donated = [self.donated(self.donated.bound + p if isinstance(p, int) else p) for p in call.places]
        effects = [
            self.placed(param, value, self.leaves(mask, donate))
            for param, value, mask, donate in zip(
                call.params(self.plan), call.values, masks, donated, strict=True
            )
        ]
        traced = [yes for mask in masks for yes in mask]
        return effects, call.map(
            lambda i, leaf: struct_of(leaf) if traced[i] and not is_passed(leaf) else leaf
        )

    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        # Around other transforms, it is their function that fills defaults in: while it is traced.
        mask = _traced(param, value)
        donated = bool(self.donated.effect(param)["donated"])
        if not innermost or is_left_out(self.plan, param, donated):
            mask = [False] * len(mask)
        return self.leaves(mask, False)

    def masks(self, call: Given) -> list[list[bool]]:
        """For each argument, which of its leaves are traced."""
        given = zip(call.params(self.plan), call.values, strict=True)
        return [_traced(param, value) for param, value in given]

    def placed(self, param: Param | None, value: Any, effects: list[Effect]) -> list[Effect]:
        """These effects on the leaves of an argument, with what is said of the places of some of them."""
        said = Said() if param is None or not is_structure(param.hint.sharding) else by_annotation(param.hint)
        leaves = jax.tree_util.tree_leaves(value)
        places = said.of_leaves(self.plan, "" if param is None else param.name, value)
        if len(leaves) != len(effects) or not any(place is not None for place in places):
            return effects
        return [
            effect
            if place is None or effect.act is Act.STATIC
            else dataclasses.replace(effect, placed=True, moved=is_elsewhere(leaf, place))
            for leaf, place, effect in zip(leaves, places, effects, strict=True)
        ]

    def leaves(self, traced: Sequence[bool], donated: bool) -> list[Effect]:
        array, other = self.effect(Act.TRACED, donated=donated), self.effect(Act.STATIC)
        return [array if yes else other for yes in traced]


class TracesStructs(Traces):
    """Of `filter_make_jaxpr`: what stands for an array is traced as well, and the function is not called."""

    result = Result.ELSEWHERE

    def __init__(self, transform: str, plan: Plan) -> None:
        super().__init__(transform, plan, Donated(plan))

    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        return self.each(Act.STATIC, value)

    def masks(self, call: Given) -> list[list[bool]]:
        return take_arrays(self.plan, call.args, call.kwargs, stands_for_array).masks


def _placed_by(option: str, places: Any) -> tuple[Reason, ...]:
    """The option that places arrays as a cause; an annotation speaks for itself."""
    return () if places is None else (Reason(f"{option}={places_text(places)}"),)


def _traced(param: Param | None, value: Any) -> list[bool]:
    mode = mode_of(param, value, structs=True)
    if mode is not Mode.PACKED:
        return [mode is Mode.TRACED] * len(flatten(value)[0])
    return taken_leaves(value, array_types(param, structs=True))
