"""`optimiser`: other people's optimisers, as type checkers should see them.

Optax's types are about nests of arrays, lists and dictionaries: a model of any class is an error to them.
What an optimiser does with a model is in `Optimiser`; at run time it is the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from typedfilter._values.text import brief
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.errors import ShapeError

T = TypeVar("T")


class Transformation(Protocol):
    """What Optax calls a gradient transformation."""

    @property
    def init(self) -> Callable[..., Any]: ...
    @property
    def update(self) -> Callable[..., Any]: ...


@runtime_checkable
class Optimiser(Protocol):
    """An optimiser of any pytree: what `optimiser` returns, and what to annotate it with."""

    def init(self, params: Any, /) -> Any:
        """The state of the optimiser for these parameters."""
        ...

    def update(self, updates: T, state: Any, params: Any = None, /, **extra: Any) -> tuple[T, Any]:
        """The updates of the parameters that these gradients make, and the new state."""
        ...


@ends_at_caller
def optimiser(transformation: Transformation) -> Optimiser:
    """The same object, of which type checkers know that it optimises pytrees of any class.

    ```python
    optim = optimiser(optax.adam(1e-3))
    updates, state = optim.update(gradient, state, model)  # updates have the type of the gradient
    ```

    Args:
        transformation: an `optax.GradientTransformation`, or anything else with `init` and `update`.

    Returns:
        `transformation`.

    Raises:
        ShapeError: it has no `init` or no `update` to call.
    """
    found: Any = transformation
    if callable(getattr(found, "init", None)) and callable(getattr(found, "update", None)):
        return found  # type: ignore[no-any-return]  # checked right above
    raise ShapeError(
        f"is {brief(transformation)}, which has no init and update",
        function="optimiser",
        parameter="transformation",
        expected="an object with init and update",
        actual=brief(transformation),
        fix="pass a gradient transformation of Optax: optimiser(optax.adam(1e-3))",
    )
