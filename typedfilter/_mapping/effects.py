"""What a map does to arguments and to the result: which leaves are mapped along which axis."""

from __future__ import annotations

import dataclasses
from typing import Any

from typedfilter._mapping.axes import BY_RULE, argument_axes, axis_option
from typedfilter._reading.plan import Param
from typedfilter._reading.roles import Role
from typedfilter._values.leaves import struct_of
from typedfilter._wrapping.effects import Act, Effect, Effects, Given, Reason, Result, answered, reasons_of


@dataclasses.dataclass(eq=False)
class Maps(Effects):
    """Of `filter_vmap` and `filter_pmap`: their options."""

    rule = "maps axis 0 of arrays, broadcasts the rest"
    result = Result.MAPPED
    in_axes: Any = BY_RULE
    out_axes: Any = BY_RULE
    axis_name: Any = None  # by which collectives reach the axis
    axis_size: int | None = None

    def parameter(self, param: Param) -> Effect:
        option, hint = axis_option(self.plan, self.in_axes, param), param.hint
        if option != BY_RULE:
            return self._by_option(option, "in_axes")
        if hint.axis is not None:
            return self.along(hint.axis.axis, Reason.of(hint))
        if hint.role is Role.STATIC:
            return self.effect(Act.BROADCAST, Reason.of(hint))
        return self._by_rule(hint.role is Role.ARRAYS, Reason.of(hint))

    def returned(self) -> Effect:
        hint = self.plan.returns
        if self.out_axes != BY_RULE:
            return self._by_option(self.out_axes, "out_axes")
        if hint.axis is not None:
            return self.along(hint.axis.axis, Reason.of(hint))
        return self._by_rule(hint.role is Role.ARRAYS and hint.type is not Any, *reasons_of(hint))

    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        by_argument = answered(call, self.axes)
        flat = [axis for axes in by_argument for axis in axes]
        inner = call.map(lambda i, leaf: leaf if flat[i] is None else struct_of(leaf, flat[i]))
        return [[self.along(axis) for axis in axes] for axes in by_argument], inner

    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        return self.each(Act.BROADCAST, value)  # what is left to its default, a map never sees

    def axes(self, call: Given, *, example: bool = False) -> list[list[int | None]]:
        """For each argument, the mapped axis of each leaf."""
        return argument_axes(self.plan, self.in_axes, call, example=example)

    def _by_option(self, axes: Any, option: str) -> Effect:
        reason = Reason(f"{option}={axes!r}")
        simple = axes is None or isinstance(axes, int)
        return self.along(axes, reason) if simple else self.effect(Act.BY_LEAF, reason)

    def _by_rule(self, arrays: bool, *reasons: Reason) -> Effect:
        return self.along(0, *reasons) if arrays else self.effect(Act.BY_LEAF, *reasons)
