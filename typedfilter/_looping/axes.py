"""Along which axis a loop steps through each array of an argument, and stacks each array of a result.

`ScanAxis` is read as `VmapAxis` is: that of the parameter (or of the return), else that of the field that
an array is in, else axis 0. Knows nothing of what the loop does with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_flatten, tree_flatten_with_path

from typedfilter._looping.pieces import Piece, exact_keys_of_dicts, is_static, is_traced
from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.plan import Param, Plan
from typedfilter._values.fresh import refuse_late
from typedfilter._values.leaves import as_array, is_passed
from typedfilter._values.split import Rest, split_leaves
from typedfilter._values.text import brief, count_text
from typedfilter.errors import VmapAxisError


def take_scanned(tree: Any, param: Param | None, axis: int = 0) -> Piece:
    """What a loop steps through: its arrays, each with its axis. What is no array is static, also a number.

    Where `axis` is not 0, somebody has asked for it: it takes precedence over annotations.
    """
    leaves, treedef = tree_flatten(tree)
    marks = leaf_marks(tree)
    whole_static = is_static(param)
    mask = [
        is_passed(leaf) and not whole_static and not mark.static
        for leaf, mark in zip(leaves, marks, strict=True)
    ]
    arrays, rest = split_leaves(leaves, treedef, mask)
    given = None if param is None else param.hint.scan
    specs = [given or marks[i].scan for i in rest.taken_at]
    axes = [
        _unsaid(array, axis) if spec is None else axis if axis and spec.axis is not None else spec.axis
        for array, spec in zip(arrays, specs, strict=True)
    ]
    return Piece(arrays, rest, exact_keys_of_dicts(tree), tuple(axes))


def _unsaid(array: Any, axis: int) -> int | None:
    """By the rule; what an outer transform has made of a Python number is seen whole, as the number is."""
    weak = getattr(jax.typeof(array), "weak_type", False)  # of which keys know nothing
    return None if array.ndim == 0 and weak else axis


def moved_in(piece: Piece) -> tuple[list[Any], list[Any]]:
    """The arrays that a loop steps through, with that axis in front; and those that are seen whole."""
    pairs = list(zip(piece.leaves, piece.axes, strict=True))
    stepped = [_moved(leaf, axis, 0) for leaf, axis in pairs if axis is not None]
    # As JAX arrays: what is returned as it came in is recognised by its identity.
    whole = [as_array(leaf) for leaf, axis in pairs if axis is None]
    return stepped, whole


def moved_out(piece: Piece, arrays: Sequence[Any]) -> list[Any]:
    """Arrays with the axis of the steps in front, with that axis where `piece` has it."""
    axes = [axis for axis in piece.axes if axis is not None]
    return [_moved(array, 0, axis) for array, axis in zip(arrays, axes, strict=True)]


def merged(piece: Piece, slices: Sequence[Any], whole: Sequence[Any]) -> list[Any]:
    """The arrays of one step, in their order: slices of those that are stepped through, and the others."""
    sources = iter(slices), iter(whole)
    return [next(sources[axis is None]) for axis in piece.axes]


def at_step(piece: Piece, slices: Sequence[Any], whole: Sequence[Any]) -> Any:
    """What one step sees."""
    return piece.rest.join(merged(piece, slices, whole))


def divided(plan: Plan, piece: Piece, leaves: Sequence[Any], whole: Sequence[Any]) -> list[Any]:
    """The inverse of `merged` and `moved_out`, where what is seen whole has come back.

    Raises:
        VmapAxisError: it has not: it is another array.
    """
    back = [leaf for leaf, axis in zip(leaves, piece.axes, strict=True) if axis is None]
    for old, new in zip(whole, back, strict=True):
        if old is not new:
            raise _computed(plan, brief(new))
    pairs = zip(leaves, piece.axes, strict=True)
    return [_moved(leaf, axis, 0) for leaf, axis in pairs if axis is not None]


def _moved(array: Any, source: int, target: int) -> Any:
    return array if source == target else jnp.moveaxis(array, source, target)


def check_lengths(name: str, plan: Plan, piece: Piece, length: Any, tree: Any, option: str) -> None:
    """Refuse axes that are not there, and arrays that disagree in how many steps there are.

    Args:
        name: of the public function, for messages.
        plan: of the body.
        piece: what `take_scanned` made of `tree`.
        length: how many steps are asked for; `None` where only the arrays say it.
        tree: what the loop steps through.
        option: what the public function calls it.

    Raises:
        VmapAxisError: an array has no such axis, lengths disagree, or nothing has a length.
    """
    size, other = length, "length is"
    for at, array, axis in zip(piece.rest.taken_at, piece.leaves, piece.axes, strict=True):
        if axis is None:
            continue
        if not -array.ndim <= axis < array.ndim:
            raise _no_axis(name, plan, option + _path(tree, at), array, axis)
        found = array.shape[axis]
        if size is None:
            size, other = found, f"axis {axis} of `{option + _path(tree, at)}` has length"
        elif found != size:
            raise VmapAxisError(
                f"has length {found} along axis {axis}, but {other} {size}",
                function=plan.function,
                parameter=option + _path(tree, at),
                expected=f"length {size} along axis {axis}",
                actual=brief(array),
                fix="scan along axes of one length; what every step is to see whole is ScanAxis[None]",
            )
    if size is None:
        fix = "pass an array with an axis, one that is not ScanAxis[None]"
        fix = f"pass length=, or {fix.removeprefix('pass ')}" if name == "filter_scan" else fix
        raise VmapAxisError(
            f"is given nothing to step through: {name} finds no array with an axis to scan",
            function=plan.function,
            parameter=option,
            expected="an array with an axis to scan",
            actual=brief(tree),
            fix=fix,
        )


def _no_axis(name: str, plan: Plan, where: str, array: Any, axis: int) -> VmapAxisError:
    count = axis + 1 if axis >= 0 else -axis
    return VmapAxisError(
        f"has no axis {axis} to step through: it is {brief(array)}",
        function=plan.function,
        parameter=where,
        expected=f"at least {count_text(count, 'dimension')}",
        actual=brief(array),
        fix="scan along another axis, or let every step see all of it: ScanAxis[None]",
    )


def _path(tree: Any, at: int) -> str:
    return keystr(tree_flatten_with_path(tree)[0][at][0])


class Stacked:
    """The results of the steps: what is stacked, what is returned once, and along which axes."""

    rest: Rest  # what a step returned beside what is stacked, as it is
    axes: list[int]

    def __init__(self, plan: Plan, whole: Sequence[Any]) -> None:
        self.plan = plan
        self.whole = whole

    def take(self, result: Any) -> list[Any]:
        """The arrays and numbers of the result of one step that are to be stacked."""
        leaves, treedef = tree_flatten(result)
        axes = [self._axis(leaf, mark, at, result) for at, (leaf, mark) in enumerate(self._marked(result))]
        taken, self.rest = split_leaves(leaves, treedef, [axis is not None for axis in axes])
        refuse_late(self.rest.others, self.plan.function)
        self.axes = [axis for axis in axes if axis is not None]
        return taken

    def _marked(self, result: Any) -> list[tuple[Any, Any]]:
        return list(zip(tree_flatten(result)[0], leaf_marks(result), strict=True))

    def _axis(self, leaf: Any, mark: Any, at: int, result: Any) -> int | None:
        if mark.static or not is_traced(leaf):
            return None
        spec = self.plan.returns.scan or mark.scan
        if spec is None:
            return 0
        if spec.axis is not None:
            return self._in_range(leaf, spec.axis, at, result)
        if any(leaf is one for one in self.whole):
            return None
        if self.plan.returns.scan is None:  # a field that all steps share is computed in each of them
            return 0
        raise _computed(self.plan, brief(leaf) + _of(result, at))

    def _in_range(self, leaf: Any, axis: int, at: int, result: Any) -> int:
        ndim = jnp.ndim(leaf)
        if -ndim - 1 <= axis <= ndim:
            return axis
        raise VmapAxisError(
            f"has no place for an axis {axis} of steps: of one step it is {brief(leaf)}",
            function=self.plan.function,
            parameter="return",
            expected=f"an axis from {-ndim - 1} to {ndim}",
            actual=f"{axis}{_of(result, at)}",
            fix="give another axis in ScanAxis",
        )

    def join(self, stacked: Sequence[Any]) -> Any:
        """The results of all steps, from arrays that are stacked along axis 0."""
        return self.rest.join(
            [_moved(array, 0, axis) for array, axis in zip(stacked, self.axes, strict=True)]
        )


def _computed(plan: Plan, actual: str) -> VmapAxisError:
    return VmapAxisError(
        "is ScanAxis[None], but computed in each step",
        function=plan.function,
        parameter="return",
        expected="what every step sees whole, returned as it is",
        actual=actual,
        fix="give it an axis: ScanAxis[0]; or put it into the carry, for its last value",
    )


def _of(result: Any, at: int) -> str:
    where = _path(result, at)
    return f" at {where}" if where else ""
