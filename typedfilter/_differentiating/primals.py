"""The positional arguments at which a function is differentiated where it is called: jvp, vjp and linearize.

Takes them apart, calls the checked function with them again, and lets JAX's errors name them. Knows nothing
of tangents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.tree_util import tree_leaves

from typedfilter._differentiating.dependent import can_have_tangents, refuse_unplaced
from typedfilter._reading.hidden import DIFFERENTIATION, refuse_hidden
from typedfilter._reading.plan import plan_of
from typedfilter._shapes.check import checked
from typedfilter._values.fresh import refuse_late
from typedfilter._values.split import split
from typedfilter._wrapping.blame import naming_deleted


class Primals:
    """The arguments of one call.

    Attributes:
        plan: of the function.
        rest: all that is not taken, once it is known what is.
    """

    def __init__(
        self, fn: Callable[..., Any], transform: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        refuse_hidden(fn, transform, DIFFERENTIATION)
        self.plan = plan_of(fn, final=True)
        refuse_unplaced(self.plan, args, kwargs, transform)
        self._body = checked(fn, self.plan, eager=True)
        self._fn, self._args, self._kwargs = fn, args, kwargs

    def can_have_tangents(self, *, numbers: bool = True) -> list[bool]:
        """For each leaf, whether it can have a tangent; of Python numbers, `numbers` says so."""
        return can_have_tangents(self.plan, self._args, numbers=numbers)

    def take(self, mask: list[bool]) -> list[Any]:
        """The leaves that are to be differentiated."""
        taken, self.rest = split(self._args, lambda _: mask)
        return taken

    def body(self, taken: Sequence[Any]) -> Any:
        """The result of the function, with `taken` in the place of what was taken."""
        out = self._body(*self.rest.join(taken), **self._kwargs)
        refuse_late(tree_leaves(out), self.plan.function)
        return out

    def run(self, derivative: Callable[..., Any], *args: Any) -> Any:
        """What a derivative of JAX's gives, with errors that name arguments."""
        with naming_deleted(self.plan, self._args, self._kwargs, self._fn):
            return derivative(*args, has_aux=True)
