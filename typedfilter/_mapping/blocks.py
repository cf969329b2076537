"""What `filter_shard_map` does to arguments and to the result: which blocks a device sees."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jax.sharding import PartitionSpec

from typedfilter._placing.blocks import BY_ANNOTATION, in_specs, spec_words
from typedfilter._placing.places import places_text
from typedfilter._placing.shardings import Said, by_annotation
from typedfilter._reading.hints import UNANNOTATED
from typedfilter._reading.plan import Param
from typedfilter._reading.roles import Role
from typedfilter._reading.within import is_structure
from typedfilter._values.leaves import stands_for_array
from typedfilter._wrapping.call import take_arrays
from typedfilter._wrapping.effects import Act, Effect, Effects, Given, Reason, Result, reasons_of


@dataclasses.dataclass(eq=False)
class MapsBlocks(Effects):
    """Of `filter_shard_map`."""

    rule = "copies arrays, the rest is static"
    result = Result.ELSEWHERE
    inputs: Any
    outputs: Any

    def parameter(self, param: Param) -> Effect:
        option, hint = in_specs(self.plan, self.inputs).of(param), param.hint
        if option is not None:
            return self._blocks(option, Reason(f"in_specs={places_text(option)}"))
        if hint.role is Role.STATIC:
            return self.effect(Act.STATIC, Reason.of(hint))
        if hint.sharding is not None:
            return self._blocks(hint.sharding, Reason.of(hint))
        if hint.role is Role.ARRAYS:
            return self._blocks(PartitionSpec(), Reason.of(hint))
        return self.effect(Act.BY_LEAF, Reason.of(hint))

    def returned(self) -> Effect:
        hint = self.plan.returns
        if self.outputs != BY_ANNOTATION:
            return self._blocks(self.outputs, Reason(f"out_specs={places_text(self.outputs)}"))
        spec = PartitionSpec() if hint.sharding is None else hint.sharding
        return self._blocks(spec, *reasons_of(hint))

    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        masks = take_arrays(self.plan, call.args, call.kwargs, stands_for_array).masks
        params = call.params(self.plan)
        effects = []
        for param, value, mask in zip(params, call.values, masks, strict=True):
            name = "" if param is None else param.name
            option = None if param is None else in_specs(self.plan, self.inputs).of(param)
            hint = UNANNOTATED if param is None else param.hint
            said = by_annotation(hint) if option is None else Said(option, "in_specs")
            specs = said.of_leaves(self.plan, name, value)
            arrays = [self._blocks(PartitionSpec() if spec is None else spec) for spec in specs]
            effects.append(
                [
                    array if taken else self.effect(Act.STATIC)
                    for array, taken in zip(arrays, mask, strict=True)
                ]
            )
        return effects, call

    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        return self.each(Act.STATIC, value)

    def _blocks(self, spec: Any, *reasons: Reason) -> Effect:
        if jax.tree_util.all_leaves([spec]) and not is_structure(spec):
            return self.effect(Act.MADE, *reasons, made_of=spec_words(spec))
        return self.effect(Act.BY_LEAF, *reasons)
