"""Which arguments of a call are differentiated, and how they are taken out of it and put back.

Serves every transform that differentiates with respect to arguments of a call (`filter_grad`,
the Jacobians, the Hessian): the first argument, or those annotated `Diff`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Any

import jax.numpy as jnp
import numpy as np

from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.plan import Argument, Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._values.leaves import is_array, is_inexact_array, is_inexact_array_like
from typedfilter._values.pairs import pair_of
from typedfilter._values.split import Rest, Taken
from typedfilter._values.text import brief, model_cure
from typedfilter._wrapping.call import Call, fits
from typedfilter.errors import ShapeError


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """The arguments that one differentiated parameter takes, by their numbers in the call."""

    param: Param
    at: tuple[int, ...]  # of a parameter that takes one argument, its number alone
    names: tuple[str, ...] = ()  # of those that `**kwargs` takes

    def gradient(self, trees: Sequence[Any]) -> Any:
        """The gradient: that of the argument, of several a tuple, of named ones a dictionary."""
        if self.param.kind is Parameter.VAR_KEYWORD:
            return {name: trees[at] for name, at in zip(self.names, self.at, strict=True)}
        several = self.param.kind is Parameter.VAR_POSITIONAL and self.param.hint.diff is True
        return tuple(trees[at] for at in self.at) if several else trees[self.at[0]]


@dataclasses.dataclass(slots=True, eq=False)
class Selected:
    """The arguments of one call, with those that are differentiated taken out."""

    arrays: list[Any]  # what was taken
    taken: Taken
    groups: Sequence[Group]
    several: bool

    def put(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments, with `arrays` in the place of what was taken out."""
        return self.taken.join(arrays)

    def like_arguments(self, arrays: Sequence[Any]) -> Any:
        """`arrays` in the structure of the arguments, with `None` for whatever is not differentiated.

        Of several parameters it is a tuple, in their order.
        """
        trees = self.taken.trees(arrays)
        found = [group.gradient(trees) for group in self.groups]
        return tuple(found) if self.several else found[0]


_MAX_FORMS = 256  # of calls; of a function that is called in more, they are found again


class Targets:
    """What a transform differentiates with respect to, as the plan of its function says."""

    def __init__(self, plan: Plan, transform: str, integers: bool = False) -> None:
        self.plan = plan
        self.transform = transform
        self.integers = integers  # whether arrays of integers are taken as well: their gradient is JAX's zero
        marked = plan.diff_params
        self.params: tuple[Param, ...] = marked or plan.params[:1]
        self.several = len(marked) > 1
        self._groups: dict[tuple[int, tuple[str, ...]], list[Group]] = {}

    def take(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Selected:
        """Take the differentiated leaves out of the arguments of a call.

        Raises:
            ShapeError: the argument is missing, or can't be differentiated.
        """
        call = self._complete(Call(args, kwargs))
        groups = self.groups(call.args, call.kwargs)
        only = [at for group in groups for at in group.at]
        if not only:
            raise self._missing(self.params[-1])
        taken = call.take(self.plan, self._differentiable, only)
        if not taken.arrays and fits(self.plan, args, kwargs):  # what does not is the function's to report
            self._refuse_leaves(call, taken, only)
        return Selected(taken.arrays, taken, groups, self.several)

    def _differentiable(self, argument: Argument, leaves: list[Any]) -> Sequence[bool]:
        tree, param = argument.value, argument.param
        found = can_differentiate(leaves, tree, param)
        if not self.integers or (param is not None and param.hint.diff is False):
            return found
        return [
            yes or (_is_integer_array(leaf) and mark.diff is not False and not mark.static)
            for yes, leaf, mark in zip(found, leaves, leaf_marks(tree), strict=True)
        ]

    def groups(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Group]:
        """The arguments of each differentiated parameter; of what is left out none."""
        key = len(args), tuple(kwargs)
        found = self._groups.get(key)
        if found is None:
            if len(self._groups) >= _MAX_FORMS:
                self._groups.clear()
            found = self._groups[key] = self._grouped(args, kwargs)
        return found

    def _grouped(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Group]:
        layout = self.plan.layout(len(args), tuple(kwargs))
        groups: list[Group] = []
        for param in self.params:
            at = [i for i, (_, taker) in enumerate(layout) if taker is param]
            if param.kind is Parameter.VAR_KEYWORD:
                names = {i: [*kwargs][i - len(args)] for i in at}
                at.sort(key=names.__getitem__)  # not as the call has them: JAX sorts them
                groups.append(Group(param, tuple(at), tuple(names[i] for i in at)))
            elif param.hint.diff is True:
                groups.append(Group(param, tuple(at)))
            else:  # the first argument, for want of others
                groups.append(Group(param, tuple(at[:1])))
        return groups

    def _complete(self, call: Call) -> Call:
        """A call with the defaults of what is differentiated and was left out."""
        for group in self.groups(call.args, call.kwargs):
            if not group.at and not (group.param.variadic and self.several):
                filled = call.with_default(self.plan, group.param)
                if filled is None:
                    raise self._missing(group.param)
                call = filled
        return call

    def _missing(self, param: Param) -> ShapeError:
        return ShapeError(
            "is missing, and is what would be differentiated",
            function=self.plan.function,
            parameter=param.name,
            fix=f"pass it; {self.transform} differentiates its first argument, or those marked Diff[...]",
        )

    def _refuse_leaves(self, call: Call, taken: Taken, only: Sequence[int]) -> None:
        """A number or a string in the place of an array is a mistake; a tree without arrays is not."""
        arguments = self.plan.arguments(call.args, call.kwargs)
        for at in only:
            (name, _, value), rest = arguments[at], taken.rests[at]
            if isinstance(rest, Rest) and rest.treedef.num_nodes == rest.treedef.num_leaves == 1:
                fix = "pass a floating-point array (jax.numpy.asarray), or mark another argument as Diff[...]"
                fix = model_cure(value) or fix
                raise ShapeError(
                    f"can't be differentiated: it is {brief(value)}",
                    function=self.plan.function,
                    parameter=name,
                    expected="an array of a floating-point or complex dtype, or a pytree with one",
                    actual=brief(value),
                    fix=fix,
                )


def _is_integer_array(leaf: Any) -> bool:
    """Whether JAX has a gradient of dtype `float0` for this: an array of integers or booleans."""
    return is_array(leaf) and (jnp.issubdtype(leaf.dtype, np.integer) or leaf.dtype == np.bool_)


def split_aux(out: Any, has_aux: bool, plan: Plan, transform: str) -> tuple[Any, Any]:
    """What a function returned, as value and auxiliary data (`None` without).

    Raises:
        ShapeError: it is not a pair.
    """
    if not has_aux:
        return out, None
    problem = f"is not a pair, which {transform}(has_aux=True) needs"
    fix = "return such a pair, or leave has_aux out"
    return pair_of(out, plan.function, problem, expected="(value, auxiliary data)", fix=fix)


def can_differentiate(
    leaves: Sequence[Any], tree: Any, param: Param | None, *, numbers: bool = False
) -> list[bool]:
    """For each leaf of an argument, whether it is differentiated: inexact arrays that are not `NoDiff`.

    Python floats count where the annotation says array or `Traced`: there they are traced, too. With
    `numbers` they count wherever the annotation does not say that they are static.
    """
    is_inexact = is_inexact_array_like if numbers else is_inexact_array
    if param is not None:
        if param.hint.diff is False or param.hint.static_marker:
            return [False] * len(leaves)
        if param.hint.role is Role.STATIC:  # by its type: an array in such a place is one as any other
            is_inexact = is_inexact_array
        elif param.hint.role is not Role.AUTO:
            is_inexact = is_inexact_array_like
    if len(leaves) == 1 and leaves[0] is tree:  # what is in no model has no mark of a field
        return [is_inexact(tree)]
    if not any(map(is_inexact_array_like, leaves)):
        return [False] * len(leaves)
    return [
        mark.diff is not False
        and not mark.static
        and (is_inexact_array_like if mark.traced else is_inexact)(leaf)
        for leaf, mark in zip(leaves, leaf_marks(tree), strict=True)
    ]
