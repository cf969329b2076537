"""The first call: to trace and lower a gradient over many arrays, which is what one waits for before XLA.

Compiling comes after that, and is the same for whoever asks XLA for the same program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from typedfilter import filter_grad, filter_jit
from typedfilter.bench._rows import OURS, Case, Lab, Row, compare
from typedfilter.bench._timing import Call

_LEAVES = 512
_JAX = "jax.jit(jax.grad)"
_WHAT = f"first call: trace and lower a gradient over {_LEAVES} arrays"


def _new_loss() -> Callable[..., Any]:
    """A function that nothing has seen: a perceptron of two arrays a layer."""

    def loss(layers: Any, x: Any) -> Any:
        for weight, bias in layers:
            x = jnp.tanh(x @ weight + bias)
        return x.sum()

    return loss


def _first(lab: Lab) -> list[Row]:
    layers = [(jnp.ones((4, 4)), jnp.ones(4)) for _ in range(_LEAVES // 2)]
    x = jnp.ones(4)

    def ours() -> Call:
        jitted = filter_jit(filter_grad(_new_loss()))
        return lambda: jitted.lower(layers, x)

    def by_hand() -> Call:
        jitted = jax.jit(jax.grad(_new_loss()))
        return lambda: jitted.lower(layers, x)

    times = lab.timer.first_calls({OURS: ours, _JAX: by_hand}, lab.rounds(9))
    return compare("first-call", _WHAT, times, {_JAX: 1.1})


CASES = (Case("first-call", _WHAT, _first),)
