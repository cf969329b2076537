"""What a loop or branch does to the arguments of its body and to what that returns."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

from typedfilter._looping.axes import take_scanned
from typedfilter._looping.bodies import holds_numbers
from typedfilter._looping.pieces import Piece, is_static, take_traced
from typedfilter._reading.plan import Param
from typedfilter._reading.roles import Role
from typedfilter._values.leaves import struct_of
from typedfilter._wrapping.effects import Act, Effect, Effects, Given, Reason, Result, answered


class Manner(enum.Enum):
    """How a loop passes one argument to its body."""

    TRACED = enum.auto()  # a carry, an operand, a counter
    STEPPED = enum.auto()  # one step of it at a time
    ALONG = enum.auto()  # many elements at once, along an axis that stays


@dataclasses.dataclass(eq=False)
class Loops(Effects):
    """Of the functions that call a body from inside of a loop, or one of several."""

    rule = "traces arrays and numbers, the rest is static"
    result = Result.ELSEWHERE
    manners: Sequence[Manner]  # of the arguments, by position; the last one also of all that follow
    made_of: str  # what the loop returns

    def parameter(self, param: Param) -> Effect:
        hint, reason = param.hint, Reason.of(param.hint)
        if is_static(param):
            return self.effect(Act.STATIC, reason)
        known = hint.role is Role.ARRAYS or holds_numbers(hint.kind)
        if self._manner(self.plan.params.index(param)) is Manner.TRACED:
            return self.effect(Act.TRACED if known else Act.BY_LEAF, reason)
        if hint.scan is not None:
            return self.along(hint.scan.axis, reason)
        return self.along(0, reason) if known else self.effect(Act.BY_LEAF, reason)

    def returned(self) -> Effect:
        hint = self.plan.returns
        return self.effect(Act.MADE, *([Reason.of(hint)] if hint.annotated else []), made_of=self.made_of)

    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        pieces = answered(call, self._pieces)
        found = [self._effects(piece) for piece in pieces]
        flat = [
            (effect, manner) for i, one in enumerate(found) for effect in one for manner in (self._manner(i),)
        ]

        def inside(at: int, leaf: Any) -> Any:
            effect, manner = flat[at]
            stepped = effect.act is Act.MAPPED and manner is Manner.STEPPED
            return struct_of(leaf, effect.axis) if stepped else leaf

        return found, call.map(inside)

    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        return self.each(Act.CONSTANT, value)  # a loop passes all that it passes by position

    def _manner(self, index: int) -> Manner:
        return self.manners[min(index, len(self.manners) - 1)]

    def _pieces(self, call: Given) -> list[Piece]:
        rows = enumerate(zip(call.params(self.plan), call.values, strict=True))
        return [
            take_traced(value, static=is_static(param))
            if self._manner(i) is Manner.TRACED
            else take_scanned(value, param)
            for i, (param, value) in rows
        ]

    def _effects(self, piece: Piece) -> list[Effect]:
        """For each leaf, what the loop does to it."""
        effects = [self.effect(Act.STATIC)] * piece.rest.treedef.num_leaves
        for number, at in enumerate(piece.rest.taken_at):
            effects[at] = self.along(piece.axes[number]) if piece.axes else self.effect(Act.TRACED)
        return effects


class Scans(Loops):
    """Of `filter_scan`, which has a carry and steps."""

    rule = "traces arrays and numbers of the carry, steps through arrays of xs on axis 0, the rest is static"


class Steps(Loops):
    """Of loops without a carry."""

    rule = "steps through arrays on axis 0, the rest is static"
