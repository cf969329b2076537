"""A call as a function of its arrays alone: everything else travels around JAX, in and out.

Serves the transforms that treat all arrays alike (checkpoints, jaxprs, closures). What a parameter
is annotated as decides for its whole argument; where it says nothing, arrays are passed, leaf by leaf.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.core

from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._values.leaves import is_array_like, is_passed
from typedfilter._values.split import Rest, split

__all__ = ["Arguments", "Call", "Lifted", "Mapped", "take_arrays"]

Predicate = Callable[[Any], bool]


class Arguments:
    """The arguments of one call without their arrays.

    Attributes:
        names: those that were passed by name, which come last.
        masks: for each argument, which of its leaves are arrays.
    """

    def __init__(self, count: int, names: tuple[str, ...], masks: list[list[bool]], rest: Rest) -> None:
        self.count = count
        self.names = names
        self.masks = masks
        self.rest = rest

    def join(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with `arrays` in the place of those of the call."""
        values = self.rest.join(arrays)
        return values[: self.count], dict(zip(self.names, values[self.count :], strict=True))


def take_arrays(
    plan: Plan | None, args: Sequence[Any], kwargs: Mapping[str, Any], is_array: Predicate = is_passed
) -> tuple[list[Any], Arguments]:
    """The arrays of a call, flat, and the rest of its arguments.

    Without a plan there are no annotations to go by: arrays are passed, whatever argument they are in.
    """
    values = [*args, *kwargs.values()]
    params: list[Param | None] = [None] * len(values)
    if plan is not None:
        params = [plan.positional(i) for i in range(len(args))]
        params += [plan.keyword(name) for name in kwargs]
    masks = [_passed(param, value, is_array) for param, value in zip(params, values, strict=True)]
    arrays, rest = split(values, lambda _: [yes for mask in masks for yes in mask])
    return arrays, Arguments(len(args), tuple(kwargs), masks, rest)


class Lifted:
    """A function from the arrays of a call to those of its result, for JAX's own transforms.

    Attributes:
        out: what else the result held when the function ran last.
    """

    out: Rest

    def __init__(self, body: Callable[..., Any], arguments: Arguments) -> None:
        self.body = body
        self.arguments = arguments

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        args, kwargs = self.arguments.join(arrays)
        found, self.out = split(self.body(*args, **kwargs), lambda leaves: list(map(is_passed, leaves)))
        return found


def _passed(param: Param | None, value: Any, is_array: Predicate) -> list[bool]:
    """For each leaf of an argument, whether it is passed."""
    role = Role.AUTO if param is None else param.hint.role
    leaves = jax.tree_util.tree_leaves(value)
    if role is Role.STATIC:
        return [False] * len(leaves)
    marks = leaf_marks(value)
    numbers = role in (Role.ARRAYS, Role.TRACED)
    return [
        (is_array(leaf) or (numbers and is_array_like(leaf))) and not mark.static
        for leaf, mark in zip(leaves, marks, strict=True)
    ]


@dataclasses.dataclass(slots=True)
class Mapped:
    """The arguments of a call: mapped arrays as one flat list, and everything else."""

    arrays: list[Any]
    axes: list[int]
    size: int
    rests: tuple[Rest, ...]
    names: tuple[str, ...]  # of keyword arguments, which come last in `rests`

    def join(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with `arrays` in the place of what is mapped."""
        values, at = [], 0
        for rest in self.rests:
            count = len(rest.taken_at)
            values.append(rest.join(arrays[at : at + count]))
            at += count
        positional = len(values) - len(self.names)
        return values[:positional], dict(zip(self.names, values[positional:], strict=True))


@dataclasses.dataclass(frozen=True)
class Call:
    """The arguments of one call, with those that are differentiated taken out."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[int | str, ...]
    rests: tuple[Rest, ...]
    taken: list[list[Any]]
    several: bool

    def put(self, taken: Sequence[Sequence[Any]]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with `taken` in the place of what was taken out."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for place, rest, leaves in zip(self.places, self.rests, taken, strict=True):
            if isinstance(place, int):
                args[place] = rest.join(leaves)
            else:
                kwargs[place] = rest.join(leaves)
        return args, kwargs

    def like_arguments(self, taken: Sequence[Sequence[Any]]) -> Any:
        """`taken` in the structure of the arguments, with `None` for whatever is not differentiated."""
        trees = [rest.with_none(leaves) for rest, leaves in zip(self.rests, taken, strict=True)]
        return tuple(trees) if self.several else trees[0]
