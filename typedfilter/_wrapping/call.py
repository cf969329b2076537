"""The arguments of one call, taken apart and joined again, by name, parameter and value.

A call stays what its caller wrote: what was left out stays out, a keyword stays a keyword; a transform
that needs a default asks for it. Everything but the arrays that it takes out travels around JAX, in and out.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from jax.tree_util import tree_flatten

from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.plan import Argument, Binding, Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._values.leaves import is_array_like, is_passed
from typedfilter._values.split import Piece, Rest, Taken, Whole, split_where, taken

Predicate = Callable[[Any], bool]
Choose = Callable[[Argument, list[Any]], Sequence[bool]]


def bound_to(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
    """The arguments of a call by parameter.

    Raises:
        TypeError: they don't fit; `inspect` does not say the name of the function.
    """
    try:
        return plan.signature.bind(*args, **kwargs)
    except TypeError as error:
        takes = ", ".join(plan.signature.parameters) or "no arguments"
        raise TypeError(f"{plan.function}(): {error}; it takes {takes}") from None


def fits(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the arguments of a call fit the parameters."""
    try:
        plan.signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


@dataclasses.dataclass(slots=True)
class Call:
    """The arguments of one call, as the caller wrote them."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])

    @property
    def values(self) -> list[Any]:
        return [*self.args, *self.kwargs.values()]

    def take(self, plan: Plan | None, choose: Choose, only: Collection[int] | None = None) -> Taken:
        """Take out the leaves that `choose` says, argument by argument.

        Args:
            plan: of the function that is called; without one, no argument has a parameter.
            choose: says of each leaf of an argument whether it is taken.
            only: the arguments to look at, by their number; others stay as they are.
        """
        pieces: list[Piece | Whole] = []
        for index, argument in enumerate(_arguments(plan, self.args, self.kwargs)):
            if only is not None and index not in only:
                pieces.append(Whole(argument.value))
                continue
            leaves, treedef = tree_flatten(argument.value)
            pieces.append((leaves, treedef, choose(argument, leaves)))
        return taken(pieces, len(self.args), tuple(self.kwargs))

    def filled(self, plan: Plan) -> Call:
        """One form for all calls that are the same to a plain function: in their places, with defaults.

        Any other callable might tell them apart: of that, the call comes back as it is.

        Raises:
            TypeError: the arguments don't fit the parameters.
        """
        bound = bound_to(plan, self.args, self.kwargs)
        if plan.binding is not Binding.FILLED:
            return self
        bound.apply_defaults()
        return Call(bound.args, bound.kwargs)

    def with_default(self, plan: Plan, param: Param) -> Call | None:
        """This call with a parameter that was left out passed its default; `None` if that can't be done."""
        if param.default is Param.empty or plan.binding is not Binding.FILLED:
            return None
        if param.kind is not param.kind.POSITIONAL_ONLY:
            return Call(self.args, {**self.kwargs, param.name: param.default})
        before = plan.positionals[len(self.args) : plan.positionals.index(param)]
        if any(one.default is Param.empty for one in before):
            return None
        return Call((*self.args, *(one.default for one in before), param.default), self.kwargs)


def _arguments(plan: Plan | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterable[Argument]:
    if plan is not None:
        return plan.arguments(args, kwargs)
    names = [*(f"args[{i}]" for i in range(len(args))), *kwargs]
    values = (*args, *kwargs.values())
    return [Argument(name, None, value) for name, value in zip(names, values, strict=True)]


# ------------------------------------------------------------------------------ functions of arrays alone


def take_arrays(
    plan: Plan | None, args: Sequence[Any], kwargs: Mapping[str, Any], is_array: Predicate = is_passed
) -> Taken:
    """The arguments of a call for a transform that treats all arrays alike: checkpoints, jaxprs, closures.

    What a parameter is annotated as decides for its whole argument; where it says nothing, or there is no
    plan, arrays are taken, leaf by leaf.
    """
    return Call(args, kwargs).take(plan, lambda argument, leaves: _passed(argument, leaves, is_array))


class Lifted:
    """A function from the arrays of a call to those of its result, for JAX's own transforms."""

    out: Rest  # what else the result held when the function ran last

    def __init__(self, body: Callable[..., Any], taken: Taken) -> None:
        self.body = body
        self.taken = taken

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        args, kwargs = self.taken.join(arrays)
        found, self.out = split_where(self.body(*args, **kwargs), is_passed)
        return found


def _passed(argument: Argument, leaves: list[Any], is_array: Predicate) -> list[bool]:
    """For each leaf of an argument, whether it is passed."""
    role = Role.AUTO if argument.param is None else argument.param.hint.role
    if argument.param is not None and argument.param.hint.static_marker:
        return [False] * len(leaves)
    numbers = role in (Role.ARRAYS, Role.TRACED)
    return [
        (is_array(leaf) or (numbers and is_array_like(leaf))) and not mark.static
        for leaf, mark in zip(leaves, leaf_marks(argument.value), strict=True)
    ]


# ------------------------------------------------------------------------------------- what was left out


class Omitted(enum.Enum):
    """The class of `OMITTED`: a member of an enumeration is a static argument as it is."""

    OMITTED = "omitted"

    def __repr__(self) -> str:
        return "<left to its default>"


OMITTED = Omitted.OMITTED
"""Stands, on the way into a function, for an argument that the caller has left out."""
