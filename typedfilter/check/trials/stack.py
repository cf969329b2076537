"""Through the transforms around a function: what the arguments look like outside, and the result inside.

Knows what each transform of this package does to shapes; knows nothing of annotations' dimensions.
A mapped axis is a symbol of its own, put where the transform will look for it. A result is taken apart
again from the outside: mapped axes are removed, gradients compared with what is differentiated.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax

from typedfilter._differentiating.effects import Differentiates
from typedfilter._mapping.effects import Maps
from typedfilter._mapping.results import result_axes
from typedfilter._reading import dims, kinds
from typedfilter._reading.dims import Size
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import plan_of
from typedfilter._wrapping.effects import Effects, Given, Result
from typedfilter._wrapping.wrapper import Wrapper
from typedfilter.check.trials import compare
from typedfilter.check.trials.compare import MismatchError

Call = Callable[..., Any]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""


@dataclasses.dataclass(frozen=True)
class Level:
    """One transform of the stack."""

    effects: Effects  # what the transform does to what is inside it
    # by leaf of the arguments, the mapped axis (None: not mapped); empty for other transforms
    axes: tuple[int | None, ...] = ()
    size: str = ""  # the name of the mapped size
    # by leaf of the result, whether it was found to have a mapped axis
    differs: dict[int, bool] = dataclasses.field(default_factory=dict[int, bool], compare=False)


def keeps_result(levels: Sequence[Level]) -> bool:
    """Whether a transform of the stack does not hand out (all of) what the function returns.

    Not where a mapped axis has a name: the function then can't be called on its own.
    """
    effects = [level.effects for level in levels]
    if any(isinstance(one, Maps) and one.axis_name is not None for one in effects):
        return False
    return any(_keeps(one) for one in effects)


def _keeps(effects: Effects) -> bool:
    gradient_alone = isinstance(effects, Differentiates) and not effects.with_value
    return effects.result is Result.DERIVATIVE or (effects.result is Result.GRADIENT and gradient_alone)


class Unknown:
    """In the place of a result that a transform does not hand out."""


UNKNOWN = Unknown()


def lifted(
    shape: Sequence[Size], leaf: int, levels: Sequence[Level], sizes: Mapping[str, Size]
) -> tuple[Size, ...]:
    """The shape of a leaf outside of `levels` (innermost first)."""
    out = list(shape)
    for level in levels:
        axis = level.axes[leaf] if level.axes else None
        if axis is not None:
            # Clipped: an axis that is out of range is for the transform itself to refuse.
            out.insert(max(0, axis if axis >= 0 else len(out) + 1 + axis), sizes[level.size])
    return tuple(out)


def levels_of(
    wrappers: Sequence[Wrapper],
    arrays: Sequence[tuple[tuple[int, ...], Any]],
    arguments: Callable[[Sequence[Any]], Arguments],
    taken: Collection[str] = (),
) -> tuple[Level, ...]:
    """The levels of a stack, innermost first.

    Args:
        wrappers: outermost first.
        arrays: shape and dtype of each leaf of the arguments, for one example.
        arguments: makes the arguments, given their leaves.
        taken: names that a mapped axis can't have.
    """
    levels: list[Level] = []
    for wrapper in reversed(wrappers):
        effects = wrapper.transform.effects(wrapper.__wrapped__, plan_of(wrapper.__wrapped__))
        if not isinstance(effects, Maps):
            levels.append(Level(effects))
            continue
        sizes = {level.size: 2 for level in levels if level.size}
        shapes = [lifted(shape, i, levels, sizes) for i, (shape, _) in enumerate(arrays)]
        structs = [jax.ShapeDtypeStruct(s, dtype) for s, (_, dtype) in zip(shapes, arrays, strict=True)]
        found: list[tuple[int | None, ...]] = []

        def ask(*leaves: Any, effects: Maps = effects, found: list[Any] = found) -> None:
            found.append(_mapped_axes(effects, arguments(leaves), leaves))

        jax.eval_shape(ask, *structs)
        levels.append(Level(effects, found[0], _unused({*taken, *sizes})))
    return tuple(levels)


def _unused(taken: Collection[str]) -> str:
    """A name for a mapped axis."""
    names = itertools.chain(("batch", "mapped"), (f"mapped{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def _mapped_axes(effects: Maps, arguments: Arguments, leaves: Sequence[Any]) -> tuple[int | None, ...]:
    call = Given(*arguments)
    by_id: dict[int, int | None] = {}
    for value, axes in zip(call.values, effects.axes(call, example=True), strict=True):
        by_id |= {id(leaf): axis for leaf, axis in zip(jax.tree.leaves(value), axes, strict=True)}
    return tuple(by_id.get(id(leaf)) for leaf in leaves)


# ------------------------------------------------------------------------------------------------ results


def inner_result(
    out: Any, levels: Sequence[Level], sizes: Mapping[str, Size], primals: Callable[[int], Mapping[str, Any]]
) -> Any:
    """The result of the innermost function, from that of the outermost transform. Called while tracing.

    Args:
        out: what the stack returned.
        levels: innermost first.
        sizes: of the names.
        primals: the arguments by name (with structs for arrays) as the level of that number hands them on.

    Returns:
        The result; `UNKNOWN` where a transform keeps it, or a pair of `UNKNOWN` and auxiliary data.

    Raises:
        MismatchError: a mapped axis is missing, or a gradient is not like what is differentiated.
    """
    for number in reversed(range(len(levels))):
        level = levels[number]
        effects = level.effects
        if effects.result is Result.DERIVATIVE:
            return UNKNOWN
        if isinstance(effects, Maps):
            out = _unmapped(out, level, effects, sizes[level.size])
        elif isinstance(effects, Differentiates):
            out = _without_gradient(out, effects, primals(number))
        if out is UNKNOWN:
            return out
    return out


def _unmapped(out: Any, level: Level, effects: Maps, size: Size) -> Any:
    leaves, treedef = jax.tree.flatten(out)
    # In what is tried first, symbols or unequal numbers, no other axis has the size of a mapped one.
    differs = {
        id(leaf): level.differs.setdefault(i, bool(leaf.ndim) and dims.same(leaf.shape[0], size))
        for i, leaf in enumerate(leaves)
        if isinstance(leaf, jax.Array)
    }
    axes = result_axes(effects.plan, effects.out_axes, out, leaves, lambda leaf: differs[id(leaf)])
    return jax.tree.unflatten(treedef, [_without_axis(x, a, size) for x, a in zip(leaves, axes, strict=True)])


def _without_axis(leaf: Any, axis: int | None, size: Size) -> Any:
    if axis is None or not isinstance(leaf, jax.Array):
        return leaf
    if not -leaf.ndim <= axis < leaf.ndim or not dims.same(leaf.shape[axis], size):
        raise MismatchError("", f"a mapped axis {axis} of size {size}", compare.describe(leaf))
    return jax.lax.index_in_dim(leaf, 0, axis, keepdims=False)


def _without_gradient(out: Any, effects: Differentiates, primals: Mapping[str, Any]) -> Any:
    if effects.with_value:
        value, gradient = out
    else:
        gradient, value = (out[0], (UNKNOWN, out[1])) if effects.has_aux else (out, UNKNOWN)
    targets = effects.targets
    expected: list[Any] = []
    for param in targets.params:
        primal = primals[param.name]
        expected += primal if param.kind is param.kind.VAR_POSITIONAL else [primal]
    _check_gradient(gradient, tuple(expected) if targets.several else expected[0])
    return value


def _check_gradient(gradient: Any, primal: Any) -> None:
    """A gradient has the structure of the primal, with None for what is not differentiated."""
    given, treedef = jax.tree_util.tree_flatten_with_path(primal)
    found, structure = jax.tree_util.tree_flatten(gradient, is_leaf=lambda leaf: leaf is None)
    blank = jax.tree.structure(jax.tree.unflatten(treedef, [0] * len(given)))
    if len(found) != len(given):
        raise MismatchError("", f"a gradient of structure {blank}", f"one of structure {structure}")
    for (path, old), new in zip(given, found, strict=True):
        if new is None or not hasattr(old, "shape"):
            continue
        if len(new.shape) != len(old.shape) or not all(map(dims.same, new.shape, old.shape)):
            where = jax.tree_util.keystr(path)
            raise MismatchError(where, f"a gradient {compare.describe(old)}", compare.describe(new))


def check_result(value: Any, returns: Kind, bindings: dims.Bindings, own: bool = False) -> dims.Bindings:
    """Compare what `inner_result` found with the return annotation.

    Args:
        value: the result.
        returns: what the annotation says.
        bindings: what the names stand for.
        own: whether the instances in the result have names of their own.

    Returns:
        What the names stand for where the result says it, too.

    Raises:
        MismatchError: they disagree.
    """
    if value is UNKNOWN or returns.hint is Any:
        return bindings
    bindings = dataclasses.replace(bindings, returned=True)
    if type(value) is tuple and len(value) == 2 and value[0] is UNKNOWN:
        pair = returns.items_for(2) if isinstance(returns, kinds.Tuple) else None
        if pair is not None:
            compare.check(value[1], pair[1], bindings, "[1]")
        return bindings
    try:
        compare.check(value, returns, bindings)
    except MismatchError:
        if own:
            classes = frozenset(map(type, compare._instances(value)))
            compare.check(value, returns, dataclasses.replace(bindings, apart=classes, known={}))
            return bindings
        # Two layers of one class in a result need not have the same sizes, but for those that arguments have.
        repeated = compare.repeated_classes(value)
        if bindings.apart or not repeated:
            raise
        compare.check(value, returns, dataclasses.replace(bindings, apart=repeated, known=bindings.sizes))
    return bindings
