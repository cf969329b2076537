"""What stands between a call and `jax.jit` where that would do harm, or can't be called in this way.

Where places are a matter of the body, and where a program was compiled ahead of time, a NumPy array of each
of several processes would lose its rows in silence; with places, `jax.jit` takes no arguments by name; and
what does not travel as it is has to be converted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from typedfilter._placing.faults import numpy_error, shared_out
from typedfilter._placing.meshes import under
from typedfilter._placing.shardings import Placement
from typedfilter._reading.plan import Plan
from typedfilter._wrapping.frames import ends_at_caller

Converter = Callable[[Any], Any]


class NumpyGuard:
    """Refuses NumPy arrays that a program would split over several processes.

    Args:
        call: of the program.
        placement: what has to fit the arguments; `None` where that was looked at.
        inside: where the function, and what is around it, says that arrays are to be.
    """

    __slots__ = ("_call", "_inside", "_placement")

    def __init__(
        self, call: Callable[..., Any], placement: Placement | None, inside: Sequence[Placement]
    ) -> None:
        self._call = call
        self._placement = placement
        self._inside = inside

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(leaf, np.ndarray) for leaf in jax.tree_util.tree_leaves((args, kwargs))):
            error = None if self._placement is None else numpy_error(self._placement, args, kwargs)
            for placement in self._inside:
                error = error or shared_out(placement, args, kwargs)
            if error is not None:
                raise error
        return self._call(*args, **kwargs)


class ByPosition:
    """A `jax.jit` object whose arguments by name go behind the others: with places, it takes none by name."""

    __slots__ = ("_jit", "names")

    def __init__(self, jit: Any, names: tuple[str, ...]) -> None:
        self._jit = jit
        self.names = names

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._jit(*args, *[kwargs[name] for name in self.names])

    def lower(self, /, *args: Any, **kwargs: Any) -> Any:
        """As `jax.jit`'s."""
        return self._jit.lower(*args, *[kwargs[name] for name in self.names])

    def trace(self, /, *args: Any, **kwargs: Any) -> Any:
        """As `jax.jit`'s."""
        return self._jit.trace(*args, *[kwargs[name] for name in self.names])

    def eval_shape(self, /, *args: Any, **kwargs: Any) -> Any:
        """As `jax.jit`'s."""
        return self._jit.eval_shape(*args, *[kwargs[name] for name in self.names])

    def clear_cache(self) -> None:
        """As `jax.jit`'s."""
        self._jit.clear_cache()


def converting(
    call: Callable[..., Any],
    positional: list[tuple[int, Converter]],
    keyword: list[tuple[str, Converter]],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """`call`, after what these converters do to some of its arguments."""
    converted = list(args)
    for i, convert in positional:
        converted[i] = convert(converted[i])
    for name, convert in keyword:
        kwargs[name] = convert(kwargs[name])
    return call(*converted, **kwargs)


def within_mesh(call: Callable[..., Any], mesh: Any, plan: Plan) -> Callable[..., Any]:
    """`call` under this ambient mesh."""

    @ends_at_caller
    @functools.wraps(call)
    def within(*args: Any, **kwargs: Any) -> Any:
        with under(mesh, plan):
            return call(*args, **kwargs)

    return within
