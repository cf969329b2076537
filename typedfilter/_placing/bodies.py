"""What of placement happens in the body of a function, while it is traced.

`jax.jit` has been told what could be said before the call. What is left: rules, places of single leaves that
only the call shows (also on the fields of classes), the types of arrays on `Explicit` axes, functions that
are compiled as a part of others, and the errors that name an argument.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from typedfilter._placing.moving import is_staging, place_leaves
from typedfilter._placing.shardings import ForJit, Placement, Said
from typedfilter._placing.specs import Problem, fit_problem, mesh_problem
from typedfilter._reading.plan import Plan
from typedfilter._reading.within import every_place
from typedfilter._values.context import is_compiling, setting
from typedfilter._values.leaves import is_passed
from typedfilter.errors import AnnotationError, ShapeError

_config: Any = jax.config  # whose flags no type checker sees
_off: contextvars.ContextVar[bool] = contextvars.ContextVar("typedfilter_no_placement", default=False)


def is_placing() -> bool:
    """Whether bodies honour their places now: where they are being compiled."""
    return is_compiling() and not _off.get()


def no_placement() -> AbstractContextManager[None]:
    """No body inside honours its places: for traces that ask for shapes only, on no device."""
    return setting(_off, True)


def placement_is_off() -> bool:
    """Whether this is inside of `no_placement`."""
    return _off.get()


_blocks: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("typedfilter_blocks", default=())


def as_blocks(plan: Plan) -> AbstractContextManager[None]:
    """Inside, the places of this plan are honoured already: its function is given one block of each array."""
    return setting(_blocks, tuple(map(id, plan.placing)))


def gets_blocks(plan: Plan) -> bool:
    """Whether the places of a plan are honoured by the map over blocks around it."""
    return any(id(hint) in _blocks.get() for hint in plan.placing)


def placed(fn: Callable[..., Any], plan: Plan, body: Callable[..., Any]) -> Callable[..., Any]:
    """`body` of `fn`, with arguments and result placed as its annotations say, where that is compiled.

    `body` itself where they say nothing.
    """
    placement = Placement.of(fn, plan)
    if not placement.annotated:
        return body

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_compiled() or gets_blocks(plan):
            return body(*args, **kwargs)
        return _run(placement, body, ForJit(), args, kwargs)

    return call


def _is_compiled() -> bool:
    """Whether the places of annotations count: also under a `jax.jit` that knows nothing of them."""
    if is_compiling() or _off.get():
        return not _off.get()
    return not jax.sharding.get_abstract_mesh().empty and is_staging()


def placed_by_jit(placement: Placement, body: Callable[..., Any], told: ForJit) -> Callable[..., Any]:
    """`body` of what `jax.jit` compiles, with what that was not told."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if _off.get() or gets_blocks(placement.plan):
            return body(*args, **kwargs)
        # Without `jax.jit`, nobody was told anything.
        return _run(placement, body, ForJit() if _config.jax_disable_jit else told, args, kwargs)

    return call


def _run(
    placement: Placement,
    body: Callable[..., Any],
    told: ForJit,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Any:
    args, kwargs = placed_arguments(placement, args, kwargs, told)
    out = body(*args, **kwargs)
    return _placed(placement.plan, "return", out, placement.of_result(), told.output is not None)


def placed_arguments(
    placement: Placement, args: Sequence[Any], kwargs: dict[str, Any], told: ForJit | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, each where it is to be; but for what `jax.jit` was told already."""
    arguments = placement.plan.arguments(args, kwargs)
    said = placement.of_params([one.param for one in arguments], tuple(kwargs))
    values = [
        _placed(placement.plan, name, value, one, told is not None and name in told.placed)
        for (name, _, value), one in zip(arguments, said, strict=True)
    ]
    return tuple(values[: len(args)]), dict(zip(kwargs, values[len(args) :], strict=True))


def _placed(plan: Plan, name: str, value: Any, said: Said, outside: bool) -> Any:
    """One argument, or the result, where the option says, else the annotation, else its fields."""
    if said.places is None and jax.tree_util.all_leaves([value]):
        return value

    def refuse(path: str, problem: Problem) -> ShapeError:
        return problem.error(ShapeError, plan.function, name + path)

    for place in () if said.option else every_place(said.places):
        problem = mesh_problem(place)
        if problem is not None:
            raise problem.error(AnnotationError, plan.function, name)
    targets = _targets(plan, name, value, said, refuse)
    if not any(target is not None for target in targets):
        return value
    if outside:
        targets = _left_over(value, targets, refuse)
    return place_leaves(value, targets, refuse, even=True)


def _targets(
    plan: Plan, name: str, value: Any, said: Said, refuse: Callable[[str, Problem], ShapeError]
) -> list[Any]:
    """The place of each leaf."""
    return said.of_leaves(plan, name, value, refuse)


def targets_of_result(placement: Placement, out: Any) -> list[Any]:
    """The place of each leaf of a result that was placed already; none where nothing is said."""
    plan = placement.plan
    return _targets(plan, "return", out, placement.of_result(), lambda _, problem: problem.error(ShapeError))


def _left_over(value: Any, targets: Sequence[Any], refuse: Callable[[str, Problem], ShapeError]) -> list[Any]:
    """The places that `jax.jit` was told and that are to be in types, too; the others are checked only."""
    left: list[Any] = []
    for (path, leaf), target in zip(jax.tree_util.tree_leaves_with_path(value), targets, strict=True):
        if target is not None and is_passed(leaf):
            problem = fit_problem(target, leaf, even=True)
            if problem is not None:
                raise refuse(jax.tree_util.keystr(path), problem)
        left.append(target if _is_typed(target) else None)
    return left


def _is_typed(target: Any) -> bool:
    """Whether a place is about axes that stand in the types of arrays."""
    if isinstance(target, NamedSharding):
        return AxisType.Explicit in target.mesh.axis_types
    explicit = AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types
    return isinstance(target, PartitionSpec) and explicit
