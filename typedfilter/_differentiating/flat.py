"""A function as JAX differentiates it for Jacobians: from flat arrays to flat arrays, the rest beside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from typedfilter._differentiating.targets import Selected, Targets, split_aux
from typedfilter._reading.plan import Plan
from typedfilter._values.fresh import refuse_late
from typedfilter._values.leaves import is_array, is_inexact_array
from typedfilter._values.split import Rest, split_where
from typedfilter._values.text import brief
from typedfilter.errors import ShapeError


@dataclasses.dataclass(eq=False)
class FlatFunction:
    """A function from the differentiated leaves of a call to inexact arrays of its result, and the rest."""

    body: Callable[..., Any]
    call: Selected
    plan: Plan
    transform: str
    has_aux: bool
    holomorphic: bool = False
    out: Rest = dataclasses.field(init=False)  # what else the result held when the function ran last
    aux: Rest = dataclasses.field(init=False)  # likewise, what else the auxiliary data held

    def __call__(self, taken: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        args, kwargs = self.call.put(taken)
        out = self.body(*args, **kwargs)
        value, aux = split_aux(out, self.has_aux, self.plan, self.transform)
        found, self.out = split_where(value, is_inexact_array)
        arrays, self.aux = split_where(aux, is_array)
        refuse_late([*self.out.others, *self.aux.others], self.plan.function)
        self._refuse_complex_result(value)
        return found or [jnp.zeros(())], arrays  # jax.jacrev has no basis for no result at all

    def rows(self, rows: Sequence[Any]) -> Sequence[Any]:
        """One row, in the structure of the differentiated leaves, for each array of the result."""
        return [row if self.call.arrays else [] for row in rows[: len(self.out.taken_at)]]

    def _refuse_complex_result(self, value: Any) -> None:
        if self.holomorphic or self.transform == "filter_jacfwd":
            return
        for path, leaf in jax.tree_util.tree_leaves_with_path(value):
            if is_inexact_array(leaf) and jnp.iscomplexobj(leaf):
                where = jax.tree_util.keystr(path)
                raise ShapeError(
                    f"can't be differentiated by {self.transform}: "
                    + (f"at {where} it holds {brief(leaf)}" if where else f"it is {brief(leaf)}"),
                    function=self.plan.function,
                    parameter="return",
                    expected="real arrays",
                    actual=brief(leaf),
                    fix="return real and imaginary parts; or use filter_vjp, which takes complex cotangents",
                )


def refuse_complex(call: Selected, targets: Targets) -> None:
    """Refuse to differentiate with respect to complex arrays, of which there is more than one derivative."""
    fix = "pass real and imaginary parts; or use filter_jvp, which takes complex tangents"
    _refuse(call, targets, jnp.iscomplexobj, "a real array", fix)


def refuse_real(call: Selected, targets: Targets) -> None:
    """Refuse what a holomorphic function is not a function of."""
    fix = "pass complex arrays (x + 0j), or leave holomorphic out"
    _refuse(call, targets, lambda leaf: not jnp.iscomplexobj(leaf), "a complex array", fix)


def _refuse(
    call: Selected, targets: Targets, is_wrong: Callable[[Any], bool], expected: str, fix: str
) -> None:
    if not any(map(is_wrong, call.arrays)):
        return
    names = targets.plan.bind_names(call.taken.count, call.taken.names)
    for name, (rest, leaves) in zip(names, call.taken.parts(call.arrays), strict=True):
        for leaf in leaves:
            if is_wrong(leaf):
                tree = rest.with_none(leaves)
                paths = [path for path, found in jax.tree_util.tree_leaves_with_path(tree) if found is leaf]
                raise ShapeError(
                    f"can't be differentiated by {targets.transform}: it is {brief(leaf)}",
                    function=targets.plan.function,
                    parameter=name + jax.tree_util.keystr(paths[0]),
                    expected=expected,
                    actual=brief(leaf),
                    fix=fix,
                )
