"""`trainable`: what a gradient is taken for, before there is one.

Asks the same question as `filter_grad` does of each leaf, so that optimizers, masks and weight decay
agree with its gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

from typedfilter._declarations import T
from typedfilter._differentiating.targets import Targets, can_differentiate
from typedfilter._reading.plan import Param, plan_of
from typedfilter._values.text import brief
from typedfilter._values.trees import flatten
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.errors import PytreeError


@overload
def trainable(model: T, /, *, loss: Callable[..., Any] | None = None, mask: Literal[False] = False) -> T: ...
@overload
def trainable(model: Any, /, *, loss: Callable[..., Any] | None = None, mask: bool) -> Any: ...
@ends_at_caller
def trainable(model: Any, /, *, loss: Callable[..., Any] | None = None, mask: bool = False) -> Any:
    """The part of a model that `filter_grad` returns gradients for, with `None` for every other leaf.

    Its floating-point and complex arrays, but those in a field that is `NoDiff`. Optimizers are made for it:
    `optimizer.init(trainable(model))`, and `optimizer.update(gradient, state, trainable(model))` where one
    looks at the parameters (weight decay, a line search).

    Args:
        model: any pytree; what the loss is differentiated with respect to.
        loss: the function that is differentiated, or a transform of it, where its annotations decide, too: a
            parameter that is `Traced` or `NoDiff`, say. Of several parameters that are `Diff`, `model` is a
            tuple of what they are, in their order, as the gradient is.
        mask: return `True` and `False` for the leaves instead, for `optax.masked` and the like.

    Returns:
        A pytree of the structure of `model`, as the gradient is; or of bools, with `mask`.

    Raises:
        PytreeError: the loss has several parameters that are `Diff`, and `model` is no tuple of as many.
    """
    if loss is None:
        return _of(model, None, mask)
    targets = Targets(plan_of(loss, final=True), "trainable")
    if not targets.several:
        return _of(model, targets.params[0] if targets.params else None, mask)
    names = ", ".join(param.name for param in targets.params)
    if not isinstance(model, tuple) or (
        len(model) != len(targets.params) and not any(param.variadic for param in targets.params)
    ):
        raise PytreeError(
            f"is no tuple of what {targets.plan.function} is differentiated with respect to",
            function="trainable",
            parameter="model",
            expected=f"a tuple: ({names})",
            actual=f"tuple of {len(model)}" if isinstance(model, tuple) else brief(model),
            fix="pass the arguments that are Diff, in their order: the gradient is such a tuple",
        )
    last = targets.params[-1]
    params = [*targets.params, *[last] * (len(model) - len(targets.params))]
    return tuple([_of(value, param, mask) for value, param in zip(model, params, strict=False)])


def _of(tree: Any, param: Param | None, mask: bool) -> Any:
    leaves, treedef = flatten(tree)
    chosen = can_differentiate(leaves, tree, param)
    if mask:
        return treedef.unflatten(chosen)
    return treedef.unflatten([leaf if yes else None for leaf, yes in zip(leaves, chosen, strict=True)])
