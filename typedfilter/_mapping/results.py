"""Which axis of a result is mapped, and the way of a result out of the map.

Serves `filter_vmap` and `filter_pmap`. Axis specifications, and the rule, are those of `axes`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import tree_flatten

from typedfilter._mapping.axes import BY_RULE, ruled, spread
from typedfilter._reading.plan import Plan
from typedfilter._values.fresh import refuse_late
from typedfilter._values.leaves import is_array, is_array_like
from typedfilter._values.text import brief
from typedfilter._values.trees import Treedef
from typedfilter.annotations import AxisSpec
from typedfilter.errors import VmapAxisError

Differs = Callable[[Any], bool]


@dataclasses.dataclass(frozen=True, slots=True)
class Outputs:
    """How a result is put together outside of the map."""

    treedef: Treedef  # its structure
    # the axis of each leaf; `None` of what is the same for all examples, or no array
    axes: Sequence[int | None]
    others_at: Collection[int] = ()  # where the leaves are that are no arrays,
    others: Sequence[Any] = ()  # and these

    def placed(self, mapped: Iterable[Any], whole: Iterable[Any]) -> Any:
        """The result, from the arrays that are mapped along axis 0, and those without an axis."""
        mapped, whole, others = iter(mapped), iter(whole), iter(self.others)
        leaves: list[Any] = []
        for index, axis in enumerate(self.axes):
            if index in self.others_at:
                leaves.append(next(others))
            elif axis is None:
                leaves.append(next(whole))
            else:
                leaf = next(mapped)
                leaves.append(jnp.moveaxis(leaf, 0, axis) if axis != 0 else leaf)
        return self.treedef.unflatten(leaves)


def split_outputs(
    plan: Plan, out_axes: Any, out: Any, differs: Differs | None = None
) -> tuple[list[Any], list[Any], Outputs]:
    """A result inside the map: the arrays that get an axis, the arrays that don't, and how to place them."""
    leaves, treedef = tree_flatten(out)
    if out_axes is BY_RULE and leaves and leaves[0] is out and plan.returns.axis is None and is_array(out):
        return leaves, [], Outputs(treedef, [0])  # what most functions return
    axes = result_axes(plan, out_axes, out, leaves, differs)
    if not all(map(is_array, leaves)):
        refuse_late(leaves, plan.function)
        leaves = list(map(_with_axis, leaves, axes, _is_meant(plan, out_axes, out)))
    if any(axes):
        _check_result_axes(plan, axes, leaves)
    if None not in axes and all(map(is_array, leaves)):
        return leaves, [], Outputs(treedef, axes)
    arrays = [(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True) if is_array(leaf)]
    mapped = [leaf for leaf, axis in arrays if axis is not None]
    whole = [leaf for leaf, axis in arrays if axis is None]
    others_at = frozenset([index for index, leaf in enumerate(leaves) if not is_array(leaf)])
    return mapped, whole, Outputs(treedef, axes, others_at, [leaf for leaf in leaves if not is_array(leaf)])


def _with_axis(leaf: Any, axis: int | None, is_meant: bool) -> Any:
    """Only arrays have an axis; who gives one to a number itself wants as many of it as examples."""
    number = is_meant and axis is not None and not is_array(leaf) and is_array_like(leaf)
    return jnp.asarray(leaf) if number else leaf


def _is_meant(plan: Plan, out_axes: Any, out: Any) -> list[bool]:
    """For each leaf of a result, whether the axis is given to itself, and not to a tree that it is in."""
    meant: list[bool] = []
    by_option = out_axes is not BY_RULE and out_axes != BY_RULE

    def below(axis: Any, subtree: Any) -> None:
        meant.extend([leaf is subtree for leaf in jax.tree_util.tree_leaves(subtree)])

    spec = out_axes if by_option else plan.returns.axis
    jax.tree_util.tree_map(below, spec, out, is_leaf=lambda node: node is None)
    return meant


def _check_result_axes(plan: Plan, axes: Sequence[int | None], leaves: Sequence[Any]) -> None:
    for axis, leaf in zip(axes, leaves, strict=True):
        if axis is not None and is_array(leaf) and not -leaf.ndim - 1 <= axis <= leaf.ndim:
            raise VmapAxisError(
                f"has no place for a mapped axis {axis}: of one example it is {brief(leaf)}",
                function=plan.function,
                parameter="return",
                expected=f"an axis from {-leaf.ndim - 1} to {leaf.ndim}",
                actual=str(axis),
                fix="give another axis in out_axes, or in VmapAxis on the return annotation",
            )


def result_axes(
    plan: Plan, out_axes: Any, out: Any, leaves: Sequence[Any], differs: Differs | None = None
) -> list[int | None]:
    """The axis of each leaf of a result.

    Args:
        plan: of the function.
        out_axes: the option.
        out: the result.
        leaves: of it.
        differs: tells whether an array differs between the examples. Then it gets an axis although the field
            that it is in has none: what is the same for all examples need not have the same gradient in each.
    """
    if out_axes is not BY_RULE and out_axes != BY_RULE:
        return spread(plan, "out_axes", "return", out_axes, out)
    if plan.returns.axis is not None:
        return [plan.returns.axis.axis] * len(leaves)
    axes = _by_element(dict(plan.returns.axes), out, ruled(out, leaves))
    if differs is None or None not in axes:
        return axes
    return [
        0 if axis is None and is_array(leaf) and differs(leaf) else axis
        for axis, leaf in zip(axes, leaves, strict=True)
    ]


def _by_element(specs: Mapping[int, AxisSpec], out: Any, axes: list[int | None]) -> list[int | None]:
    """`axes`, but for the elements of a tuple that say another one."""
    if not specs or not isinstance(out, tuple):
        return axes
    found: list[int | None] = []
    for index, element in enumerate(out):
        count = len(jax.tree_util.tree_leaves(element))
        own = axes[len(found) : len(found) + count]
        found += [specs[index].axis] * count if index in specs else own
    return found


def asks_for_no_axis(plan: Plan, out_axes: Any) -> bool:
    """Whether no part of the result is to have an axis, as the option says, else the annotation."""
    if out_axes is not BY_RULE and out_axes != BY_RULE:
        return not jax.tree_util.tree_leaves(out_axes)
    return plan.returns.axis is not None and plan.returns.axis.axis is None


def is_batched(value: Any, mapped: Sequence[Any]) -> bool:
    """Whether an array inside of `jax.vmap` differs between the examples; `mapped` are arrays that do."""
    answers: list[bool] = []

    @jax.custom_batching.custom_vmap
    def ask(value: Any, mapped: Any) -> tuple[Any, Any]:
        return value, mapped

    @ask.def_vmap
    def _answer(size: int, batched: Sequence[bool], *values: Any) -> tuple[Any, Any]:
        answers.append(batched[0])
        return values, tuple(batched)

    if mapped:  # by which it is this map that is asked, and none around it
        ask(value, mapped[0])
    return answers == [True]
