"""Which axis of each leaf is mapped: from options, annotations and the rule, for arguments.

Serves `filter_vmap` and `filter_pmap`. An axis specification is what `in_axes` and `out_axes` take:
a prefix pytree of `int`, `None` and callables `leaf -> int | None`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_leaves

from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.options import PerArgument
from typedfilter._reading.plan import Argument, Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.whole import is_array_only
from typedfilter._values.leaves import IfArray, is_array_or_ref
from typedfilter._values.split import Taken
from typedfilter._values.text import brief, count_text, structure_text
from typedfilter._wrapping.call import Call
from typedfilter.errors import VmapAxisError


@dataclasses.dataclass(frozen=True)
class _ByRule(IfArray):
    """As `if_array(0)`, but not equal to it: given by the user, that is an option like any other."""


BY_RULE = _ByRule(0)
"""The default of `in_axes` and `out_axes`; annotations take precedence over it, and over nothing else."""


def check_axes(plan: Plan, option: str, axes: Any, transform: str) -> None:
    """Refuse what is no axis specification, and names that the function does not have.

    Raises:
        VmapAxisError: when the decorator runs.
    """
    for leaf in tree_leaves(axes):
        if isinstance(leaf, bool) or not (isinstance(leaf, int) or callable(leaf)):
            raise VmapAxisError(
                f"has {option}={axes!r}, of which {leaf!r} is no axis",
                function=plan.function,
                expected="an int, None, a callable leaf -> int | None, or a pytree of these",
                actual=brief(leaf),
                fix=f"pass {option}=0 to {transform}, or an entry for each argument: {option}=(0, None)",
            )
    if option == "in_axes" and axes is not BY_RULE:
        _per_argument(plan, axes).check()


def check_size(plan: Plan, size: Any, transform: str) -> None:
    """Refuse what is no size of an axis.

    Raises:
        VmapAxisError: when the decorator runs.
    """
    is_index = hasattr(type(size), "__index__") and not isinstance(size, bool | jax.Array)
    if size is None or (is_index and not (isinstance(size, int | np.integer) and size < 0)):
        return
    raise VmapAxisError(
        f"is given axis_size={size!r}, which is no size",
        function=plan.function,
        expected="an int that is not negative, or None",
        actual=brief(size),
        fix=f"pass {transform} the number of examples, or leave axis_size out where an argument is mapped",
    )


def _per_argument(plan: Plan, in_axes: Any) -> PerArgument:
    return PerArgument(plan, "in_axes", in_axes, BY_RULE, VmapAxisError, demands=_has_axis)


def _has_axis(spec: Any) -> bool:
    return any(isinstance(axis, int) for axis in tree_leaves(spec))


def axis_option(plan: Plan, in_axes: Any, param: Param) -> Any:
    """What `in_axes` says of a parameter; `BY_RULE` where it says nothing."""
    return _per_argument(plan, in_axes).of(param)


@dataclasses.dataclass(slots=True)
class Mapped:
    """The arguments of a call with the mapped arrays taken out, the axis of each, and their size."""

    taken: Taken
    axes: list[int]
    size: int

    @property
    def arrays(self) -> list[Any]:
        return self.taken.arrays

    def join(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with `arrays` in the place of what is mapped."""
        return self.taken.join(arrays)


def map_arguments(
    plan: Plan,
    in_axes: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    axis_size: int | None,
    if_none: int | None = None,
) -> Mapped:
    """Resolve the axis of every leaf of a call, and take the mapped arrays out of it.

    Args:
        plan: of the function.
        in_axes: the option.
        args: of the call.
        kwargs: of the call.
        axis_size: the option.
        if_none: the size where nothing is mapped, and none is given.

    Raises:
        VmapAxisError: an axis is out of range, sizes disagree, nothing is mapped, or `in_axes` is not a
            prefix of the arguments, or says an axis of one that is left out.
    """
    call = Call(args, kwargs)
    specs = iter(_specs(plan, in_axes, call))
    axes: list[int] = []

    def choose(argument: Argument, leaves: list[Any]) -> list[bool]:
        found = _leaf_axes(plan, argument, next(specs), leaves)
        axes.extend([axis for axis in found if axis is not None])
        return [axis is not None for axis in found]

    taken = call.take(plan, choose)
    if not axes and axis_size is None:
        axis_size = if_none
    size = _common_size(taken.arrays, axes, axis_size)
    if size is None:
        given = zip(plan.arguments(args, kwargs), taken.rests, strict=True)
        named = [_Leaf(argument, at) for argument, rest in given for at in rest.taken_at]
        raise _size_error(plan, named, taken.arrays, axes, axis_size)
    return Mapped(taken, axes, size)


def argument_axes(plan: Plan, in_axes: Any, call: Call, *, example: bool = False) -> list[list[int | None]]:
    """For each argument of a call, the axis of each leaf.

    Args:
        plan: of the function.
        in_axes: the option.
        call: of the mapped function; or else of the function itself, with one example:
        example: then arrays lack the axis that is asked for.
    """
    given = zip(plan.arguments(call.args, call.kwargs), _specs(plan, in_axes, call), strict=True)
    return [
        _leaf_axes(plan, argument, spec, tree_leaves(argument.value), example) for argument, spec in given
    ]


def _specs(plan: Plan, in_axes: Any, call: Call) -> list[Any]:
    """What the option says of each argument."""
    if in_axes is BY_RULE:
        return [BY_RULE] * len(call.values)
    return _per_argument(plan, in_axes).of_call(len(call.args), tuple(call.kwargs))


def _common_size(arrays: Sequence[Any], axes: Sequence[int], size: int | None) -> int | None:
    """The size of every mapped axis; `None` if there is none, or more than one."""
    for array, axis in zip(arrays, axes, strict=True):
        shape = array.shape
        if not -len(shape) <= axis < len(shape):
            return None
        if size is None:
            size = shape[axis]
        elif shape[axis] != size:
            return None
    return size


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """A leaf of an argument, named only if something is wrong with it."""

    argument: Argument
    at: int

    def __str__(self) -> str:
        path, _ = jax.tree_util.tree_flatten_with_path(self.argument.value)[0][self.at]
        return self.argument.name + jax.tree_util.keystr(path)


def _leaf_axes(
    plan: Plan, argument: Argument, spec: Any, leaves: Sequence[Any], example: bool = False
) -> list[int | None]:
    """The axis of each leaf of one argument: the option, else the annotation, else the rule."""
    param, value = argument.param, argument.value
    name = "" if param is None else param.name
    if spec is not BY_RULE and spec != BY_RULE:
        return _only_arrays(plan, name, spread(plan, "in_axes", name, spec, value), leaves, spec)
    if param is not None and param.hint.axis is not None:
        axis = param.hint.axis.axis
        return _only_arrays(plan, name, [axis] * len(leaves), leaves, axis)
    if param is not None and param.hint.static_marker:
        return [None] * len(leaves)
    return _by_rule(Role.AUTO if param is None else param.hint.role, value, leaves, example)


def _by_rule(role: Role, value: Any, leaves: Sequence[Any], example: bool) -> list[int | None]:
    """The axis of each leaf of an argument of which neither an option nor its annotation says an axis."""
    if role is Role.STATIC:  # a number is broadcast, traced or not; an array of numbers is mapped
        return [0 if is_array_or_ref(leaf) and leaf.ndim > 0 else None for leaf in leaves]
    axes = ruled(value, leaves)
    if any(axis == 0 and leaf.ndim == 0 for axis, leaf in zip(axes, leaves, strict=True)):
        return _without_numbers(role, value, leaves, axes, example)
    return axes


def _without_numbers(
    role: Role, value: Any, leaves: Sequence[Any], axes: Sequence[int | None], example: bool
) -> list[int | None]:
    """`axes`, with `None` for numbers, which are broadcast: outer transforms make arrays of some."""
    only_arrays = not example and (role is Role.ARRAYS or is_array_only(value))
    out: list[int | None] = []
    for axis, leaf, mark in zip(axes, leaves, leaf_marks(value), strict=True):
        traced = role is Role.TRACED or mark.traced
        unsaid = axis == 0 and mark.axis is None and leaf.ndim == 0
        number = unsaid and (traced or (only_arrays and not _is_key(leaf)))
        out.append(None if number else axis)
    return out


def _is_key(array: Any) -> bool:
    """Whether this is a random key, which no number stands for: one for all examples has to be asked for."""
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def ruled(tree: Any, leaves: Sequence[Any]) -> list[int | None]:
    """By the rule: arrays along their first axis, or that of the field they are in; the rest not at all."""
    mapped: list[int | None] = [0 if is_array_or_ref(leaf) else None for leaf in leaves]
    if len(leaves) == 1 and leaves[0] is tree:  # no class around it, hence no field that is marked
        return mapped
    if not any(axis == 0 for axis in mapped):
        return [None] * len(leaves)
    marks = leaf_marks(tree)
    return [
        axis if axis is None or mark.axis is None else mark.axis.axis
        for axis, mark in zip(mapped, marks, strict=True)
    ]


def spread(plan: Plan, option: str, name: str, spec: Any, tree: Any) -> list[int | None]:
    """A prefix of axes over all leaves of a tree; callables are asked for each leaf."""
    if spec is None or type(spec) is int:
        return [spec] * len(tree_leaves(tree))
    pairs: list[tuple[Any, Any]] = []  # callables are asked below, where their errors are theirs

    def below(axis: Any, subtree: Any) -> None:
        pairs.extend((axis, leaf) for leaf in tree_leaves(subtree))

    try:
        jax.tree_util.tree_map(below, spec, tree, is_leaf=lambda node: node is None)
    except ValueError:
        raise VmapAxisError(
            f"does not fit {option}={spec!r}",
            function=plan.function,
            parameter=name,
            expected=f"axes in a structure like {structure_text(jax.tree_util.tree_structure(tree))}, or its "
            "upper levels",
            actual=repr(spec),
            fix=f"give one axis for all of it, or axes in its structure, in {option}",
        ) from None
    return [_asked(plan, option, name, axis, leaf) if callable(axis) else axis for axis, leaf in pairs]


def _asked(plan: Plan, option: str, name: str, ask: Callable[[Any], Any], leaf: Any) -> int | None:
    """The axis of a leaf that a callable says."""
    axis: Any = ask(leaf)
    if axis is None:
        return None
    if isinstance(axis, int | np.integer) and not isinstance(axis, bool):
        return int(axis)
    raise VmapAxisError(
        f"can't be mapped over {axis!r}, which a callable in {option} returned",
        function=plan.function,
        parameter=name,
        expected="an int or None",
        actual=brief(axis),
        fix=f"return an axis from the callable in {option}, or None to broadcast",
    )


def _only_arrays(
    plan: Plan, name: str, axes: list[int | None], leaves: Sequence[Any], spec: Any
) -> list[int | None]:
    """Drop the axes of leaves that are no arrays; refuse them where there is nothing but such leaves."""
    arrays = list(map(is_array_or_ref, leaves))
    dropped = [axis if array else None for axis, array in zip(axes, arrays, strict=True)]
    if not any(arrays) and any(axis is not None for axis in axes):
        raise VmapAxisError(
            f"can't be mapped over axis {spec!r}: it is {brief(leaves[0])}",
            function=plan.function,
            parameter=name,
            expected="an array, or a pytree with one",
            actual=brief(leaves[0]),
            fix="broadcast it (None or VmapAxis[None]), or pass an array",
        )
    return dropped


def _size_error(
    plan: Plan, leaves: Sequence[_Leaf], arrays: Sequence[Any], axes: Sequence[int], size: int | None
) -> VmapAxisError:
    """What is wrong with axes that have no common size."""
    other = "axis_size is"
    for leaf, array, axis in zip(leaves, arrays, axes, strict=True):
        if not -array.ndim <= axis < array.ndim:
            return VmapAxisError(
                f"has no axis {axis} to map over: it is {brief(array)}",
                function=plan.function,
                parameter=str(leaf),
                expected=f"at least {count_text(axis + 1 if axis >= 0 else -axis, 'dimension')}",
                actual=brief(array),
                fix=_split(array) or "map another axis, or broadcast it: VmapAxis[None], or None in in_axes",
            )
        found = array.shape[axis]
        if size is None:
            size, other = found, f"axis {axis} of `{leaf}` has size"
        elif found != size:
            return VmapAxisError(
                f"has size {found} along axis {axis}, but {other} {size}",
                function=plan.function,
                parameter=str(leaf),
                expected=f"size {size} along axis {axis}",
                actual=brief(array),
                fix="map axes of one size, or broadcast one of the two (VmapAxis[None], or None in in_axes)",
            )
    return VmapAxisError(
        "got no array to map over",
        function=plan.function,
        expected="at least one array with a mapped axis, or axis_size",
        fix="pass an array, map an axis of one, or give axis_size=",
    )


def _split(array: Any) -> str:
    """How one random key becomes one for each example; empty for any other array."""
    if array.shape or not _is_key(array):
        return ""
    return "pass a key for each example: jax.random.split(key, size); or one for all: VmapAxis[None]"
