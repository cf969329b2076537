"""A function for forward mode: which of its results depend on what has a tangent, and all others aside.

JAX itself is asked, by a probe at the results. Serves `filter_jvp` and `filter_linearize`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero

from typedfilter._differentiating.targets import can_differentiate
from typedfilter._reading.plan import Plan
from typedfilter._values.leaves import is_array, is_inexact_array
from typedfilter._values.split import Rest, join_leaves, split, split_where
from typedfilter.errors import AnnotationError


def can_have_tangents(plan: Plan, args: Sequence[Any], *, numbers: bool = True) -> list[bool]:
    """For each leaf of the positional arguments, whether it can have a tangent.

    With parameters marked `Diff`, only what is passed for these.

    Args:
        plan: of the function.
        args: the positional arguments.
        numbers: whether Python numbers can, if no annotation says otherwise.
    """
    marked = plan.diff_params
    mask: list[bool] = []
    for _, param, value in plan.arguments(args, {}):
        leaves = jax.tree_util.tree_leaves(value)
        wanted = not marked or param in marked
        mask += can_differentiate(leaves, value, param, numbers=numbers) if wanted else [False] * len(leaves)
    return mask


def refuse_unplaced(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any], transform: str) -> None:
    """Refuse a `Diff` that can't be honoured, by a transform that differentiates positional arguments.

    Raises:
        AnnotationError: a parameter so marked is passed by name, or none of them is passed by position.
    """
    marked = plan.diff_params
    if not marked:
        return
    params = [param for _, param, _ in plan.arguments(args, kwargs)]
    by_place, by_name = params[: len(args)], params[len(args) :]
    for param in marked:
        if param in by_name or not any(one in by_place for one in marked):
            raise AnnotationError(
                f"is marked Diff, but {transform} differentiates positional arguments, and it is none",
                function=plan.function,
                parameter=param.name,
                fix="pass it by position"
                if param.kind is param.kind.POSITIONAL_OR_KEYWORD
                else "pass a function of it alone, that has it as a positional parameter",
            )


class Results:
    """A function for `jax.jvp`: what depends on the differentiated leaves, and all other arrays as aux."""

    dependent: Rest
    others: Rest

    def __init__(self, fn: Callable[[list[Any]], tuple[Any, Any]]) -> None:
        self.fn = fn  # to the result, and what else there is

    # The token always has a tangent, so that this derivative, and no other one around it, asks the probe.
    def __call__(self, token: Any, taken: list[Any]) -> tuple[list[Any], list[Any]]:
        out, aux = self.fn(taken)
        traced, how = split_where(out, _may_depend)
        marked, depends = _probe(token, traced) if traced else ([], [])
        places = iter(depends)
        mask = [may and next(places) for may in how.mask]
        kept, self.dependent = split(how.join(marked), lambda _: mask)
        arrays, self.others = split_where((self.dependent.others, aux), is_array)
        return kept, arrays

    def joined(self, primals: list[Any], arrays: list[Any]) -> tuple[Any, Any]:
        """The result, and what else there was."""
        how = self.dependent
        kept, aux = self.others.join(arrays)
        leaves = join_leaves(how.treedef.num_leaves, (how.taken_at, primals), (how.others_at, kept))
        return how.treedef.unflatten(leaves), aux


def _may_depend(leaf: Any) -> bool:
    return isinstance(leaf, Tracer) and is_inexact_array(leaf)


def _probe(token: Any, leaves: list[Any]) -> tuple[list[Any], list[bool]]:
    """The leaves as they are, and which of them depend on what is differentiated."""
    seen: list[list[bool]] = []

    def identity(token: Any, leaves: list[Any]) -> list[Any]:
        return leaves

    def rule(primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
        seen.append([not isinstance(tangent, SymbolicZero) for tangent in tangents[1]])
        return primals[1], tangents[1]

    probe: Any = jax.custom_jvp(identity)
    probe.defjvp(rule, symbolic_zeros=True)
    marked = probe(token, leaves)
    return marked, seen[-1]
