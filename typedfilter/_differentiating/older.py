"""Rules of reverse mode as older code wrote them: for `defvjp`, without `perturbed` and symbolic zeros.

Serves `filter_custom_vjp`, whose `def_fwd` and `def_bwd` get what this makes of such rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from typedfilter._values.leaves import as_struct, is_inexact_array, is_number


def forward_rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The forward rule for `rule(vjp_arg, ...)`: it saves what zeros are made of, too."""

    def forward(perturbed: Any, /, *args: Any, **kwargs: Any) -> Any:
        out = rule(*args, **kwargs)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            return out  # which is refused where every rule's result is looked at
        value, residuals = out
        return value, (jax.tree_util.tree_map(_struct, value), residuals)

    return forward


def backward_rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The backward rule for `rule(residuals, grad_out, vjp_arg, ...)`, which gets arrays for zeros."""

    def backward(saved: Any, grad_out: Any, perturbed: Any, /, *args: Any, **kwargs: Any) -> Any:
        structs, residuals = saved
        return rule(residuals, jax.tree_util.tree_map(_filled, structs, grad_out), *args, **kwargs)

    return backward


def _struct(leaf: Any) -> Any:
    """What an array of zeros is made of for a leaf that has a derivative, `0` for any other."""
    return as_struct(leaf) if is_inexact_array(leaf) or is_number(leaf) else 0


def _filled(struct: Any, gradient: Any) -> Any:
    is_zero = gradient is None and isinstance(struct, jax.ShapeDtypeStruct)
    return jnp.zeros(struct.shape, struct.dtype) if is_zero else gradient
