"""Which arguments of a call are differentiated, and how they are taken out of it and put back.

Serves every transform that differentiates with respect to arguments of a call (`filter_grad`,
the Jacobians, the Hessian): the first argument, or those annotated `Diff`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import Any

import jax.numpy as jnp
import numpy as np

from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Differentiable, Role
from typedfilter._values.leaves import is_array, is_inexact_array, is_inexact_array_like
from typedfilter._values.split import Rest, split
from typedfilter._values.text import brief
from typedfilter._wrapping.call import Call
from typedfilter.errors import ShapeError

__all__ = ["Targets", "can_differentiate", "split_aux"]


class Targets:
    """What a transform differentiates with respect to, as the plan of its function says."""

    def __init__(self, plan: Plan, transform: str, integers: bool = False) -> None:
        self.plan = plan
        self.transform = transform
        self.integers = integers  # whether arrays of integers are taken as well: their gradient is JAX's zero
        marked = plan.diff_params()
        self.params: tuple[Param, ...] = marked or plan.params[:1]
        self.several = len(marked) > 1 or any(p.kind is p.kind.VAR_POSITIONAL for p in marked)

    def take(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Take the differentiated leaves out of the arguments of a call.

        Raises:
            ShapeError: the argument is missing, or can't be differentiated.
        """
        kwargs = dict(kwargs)
        places = [place for param in self.params for place in self.places(param, args, kwargs)]
        params = [self.plan.positional(p) if isinstance(p, int) else self.plan.keyword(p) for p in places]
        values = [args[place] if isinstance(place, int) else kwargs[place] for place in places]
        parts = [
            split(value, self._chooser(value, param)) for value, param in zip(values, params, strict=True)
        ]
        taken, rests = [part[0] for part in parts], tuple(part[1] for part in parts)
        if not any(taken):
            self._refuse_leaves(places, values, rests)
        return Call(args, kwargs, tuple(places), rests, taken, self.several)

    def _chooser(self, tree: Any, param: Param | None) -> Callable[[list[Any]], Sequence[bool]]:
        if not self.integers or (param is not None and param.hint.diff is False):
            return lambda leaves: can_differentiate(leaves, tree, param)
        return lambda leaves: [
            yes or (_is_integer_array(leaf) and mark.diff is not False and not mark.static)
            for yes, leaf, mark in zip(
                can_differentiate(leaves, tree, param), leaves, leaf_marks(tree), strict=True
            )
        ]

    def places(self, param: Param, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[int | str]:
        """Where the arguments of a call stand that a parameter takes, by position and by name."""
        index = self.plan.params.index(param)
        if param.kind is param.kind.VAR_POSITIONAL:
            places: Sequence[int | str] = range(index, len(args)) if self.several else range(index, index + 1)
            if len(args) > index:
                return places
        elif param.kind is param.kind.VAR_KEYWORD:
            named = {p.name for p in self.plan.params}
            if any(name not in named for name in kwargs):
                return [name for name in kwargs if name not in named]
        elif param.kind is not param.kind.KEYWORD_ONLY and index < len(args):
            return (index,)
        elif param.name in kwargs:
            return (param.name,)
        elif param.default is not Parameter.empty and param.kind is not param.kind.POSITIONAL_ONLY:
            kwargs[param.name] = param.default
            return (param.name,)
        raise ShapeError(
            "is missing, and is what would be differentiated",
            function=self.plan.function,
            parameter=param.name,
            fix=f"pass it; {self.transform} differentiates its first argument, or those marked Diff[...]",
        )

    def _refuse_leaves(
        self, places: Sequence[int | str], values: Sequence[Any], rests: Sequence[Rest]
    ) -> None:
        """A number or a string in the place of an array is a mistake; a tree without arrays is not."""
        names = [self.plan.positional(p).name if isinstance(p, int) else p for p in places]
        for name, value, rest in zip(names, values, rests, strict=True):
            if rest.treedef.num_nodes == rest.treedef.num_leaves == 1:
                fix = "pass a floating-point array (jax.numpy.asarray), or mark another argument as Diff[...]"
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
    if isinstance(out, (tuple, list)) and len(out) == 2:
        return out[0], out[1]
    raise ShapeError(
        f"is not a pair, which {transform}(has_aux=True) needs",
        function=plan.function,
        parameter="return",
        expected="(value, auxiliary data)",
        actual=brief(out),
        fix="return such a pair, or leave has_aux out",
    )


def can_differentiate(
    leaves: Sequence[Any], tree: Any, param: Param | None, *, numbers: bool = False
) -> list[bool]:
    """For each leaf of an argument, whether it is differentiated: inexact arrays that are not `NoDiff`.

    Python floats count where the annotation says array or `Traced`: there they are traced, too. With
    `numbers` they count wherever the annotation does not say that they are static.
    """
    is_inexact = is_inexact_array_like if numbers else is_inexact_array
    if param is not None:
        if param.hint.diff is False or param.hint.differentiable is Differentiable.NEVER:
            return [False] * len(leaves)
        if param.hint.role in (Role.ARRAYS, Role.TRACED):
            is_inexact = is_inexact_array_like
    if not any(map(is_inexact_array_like, leaves)):
        return [False] * len(leaves)
    return [
        mark.diff is not False
        and not mark.static
        and (is_inexact_array_like if mark.traced else is_inexact)(leaf)
        for leaf, mark in zip(leaves, leaf_marks(tree), strict=True)
    ]
