"""Arrays whose memory was given away, and that somebody still holds.

Releases of JAX end the process where such an array is on several devices. Whoever is about to hand arrays
to JAX asks here first.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core

from typedfilter._compat import DONATED_CALLS_CRASH
from typedfilter._values.memory import ByClass


def gone_error() -> RuntimeError:
    """An error that is explained as JAX's own is: a new one, since each keeps the frames it went through."""
    return RuntimeError("Array has been deleted with shape unknown.")


def _asking(cls: type) -> Callable[[Any], bool] | None:
    """What asks an instance whether it is gone, if that can be."""
    concrete = issubclass(cls, jax.Array) and not issubclass(cls, jax.core.Tracer)
    if not concrete or not hasattr(cls, "is_deleted"):
        return None
    method: Any = getattr(cls, "is_deleted")  # noqa: B009  (type checkers know none)
    # Of a random key it is a property with the method of its array, before JAX 0.8.
    asks: Callable[[Any], bool] = (
        operator.methodcaller("is_deleted") if isinstance(method, property) else method
    )
    return asks


_ASKING = ByClass(_asking)


def crashes_with_gone(values: Any) -> bool:
    """Whether JAX may end the process, or stop for ever, with these values: one of their arrays is gone."""
    if not DONATED_CALLS_CRASH or jax.device_count() == 1:
        return False
    try:
        leaves = jax.tree_util.tree_leaves(values)
    except (TypeError, ValueError):  # keys that can't be sorted: static, or for JAX to refuse
        return False
    return has_gone(leaves)


def has_gone(leaves: Sequence[Any]) -> bool:
    """Whether the memory of one of these leaves was given away: asked class by class, which is quicker."""
    classes = set(map(type, leaves))
    for cls in classes:
        asks = _ASKING[cls]
        if asks is not None:
            asked = leaves if len(classes) == 1 else [leaf for leaf in leaves if type(leaf) is cls]
            if any(map(asks, asked)):
                return True
    return False
