"""`filter_checkpoint`: recompute on the backward pass instead of keeping intermediate values.

`jax.checkpoint` of the function from the arrays of a call to those of its result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, overload

import jax
from typing_extensions import Unpack

from typedfilter._declarations import Check, CheckpointKeywords, P, R, SameDecorator
from typedfilter._reading.plan import Plan
from typedfilter._wrapping.body import body_of
from typedfilter._wrapping.call import Lifted, take_arrays
from typedfilter._wrapping.effects import Effects, PassesOn
from typedfilter._wrapping.frames import ends_at_caller, located, place_of
from typedfilter._wrapping.wrapper import Transform, Wrapper

__all__ = ["filter_checkpoint"]


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint(Transform):
    """The options of `filter_checkpoint`."""

    name: ClassVar[str] = "filter_checkpoint"
    prevent_cse: bool = True
    policy: Callable[..., bool] | None = None

    def plan(self, inner: Plan) -> Plan:
        return inner

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return PassesOn(self.name, plan)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        body = body_of(wrapper, plan)

        def call(*args: Any, **kwargs: Any) -> Any:
            taken = take_arrays(plan, args, kwargs)
            lifted = Lifted(body, taken)
            traced = located(lifted, place_of(wrapper.__wrapped__), plan.function)
            run = jax.checkpoint(traced, prevent_cse=self.prevent_cse, policy=self.policy)
            out = run(taken.arrays)
            return lifted.out.join(out)

        return call


@overload
def filter_checkpoint(fun: Callable[P, R], /, **options: Unpack[CheckpointKeywords]) -> Callable[P, R]: ...
@overload
def filter_checkpoint(**options: Unpack[CheckpointKeywords]) -> SameDecorator: ...
@ends_at_caller
def filter_checkpoint(
    fun: Any = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    check: Check = True,
) -> Any:
    """Checkpoint a function with `jax.checkpoint`: the backward pass computes its intermediate values again.

    Args:
        fun: a pure function of anything that returns anything.
        prevent_cse: keep XLA from merging the two computations, which would undo the checkpoint. `False`
            is safe, and faster, under `jax.lax.scan`.
        policy: which intermediate values to keep nevertheless, an attribute of `jax.checkpoint_policies`.
        check: check shapes, dtypes and types of what the body receives and returns.

    Returns:
        A function with the arguments and results of `fun`. Without `fun`, a decorator.

    Raises:
        AnnotationError: annotations contradict each other (when the decorator runs).
        ShapeError: an argument or the result is not what its annotation says (at the call).
    """
    transform = Checkpoint(prevent_cse, policy, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
