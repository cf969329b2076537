"""Compiled calls with modules that are flattened in Python: the same again, a new one, one coming back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from typedfilter import filter_jit, is_array, partition
from typedfilter.bench._models import equinox_mlp, python_module
from typedfilter.bench._rows import OURS, of_calls
from typedfilter.bench._timing import Call

JAX, EQUINOX = "jax.jit", "equinox.filter_jit"
LARGE, SMALL = 258, 18
Use = Callable[[Callable[..., Any], Any], Call]
"""From a compiled function and a module to the call that is timed."""


def _contenders(leaves: int, fn: Callable[..., Any], use: Use) -> Callable[[Any], dict[str, Call]]:
    def contenders(equinox: Any) -> dict[str, Call]:
        layers = leaves // 2 - 1
        module = python_module(layers) if equinox is None else equinox_mlp(equinox, layers)
        arrays = partition(module, is_array)[0]
        calls = {OURS: use(filter_jit(fn), module), JAX: use(jax.jit(fn), arrays)}
        if equinox is not None:
            calls[EQUINOX] = use(equinox.filter_jit(fn), module)
        return calls

    return contenders


def _forward(module: Any, x: Any) -> Any:
    return x + 1


def _step(module: Any, x: Any) -> tuple[Any, Any]:
    return jax.tree.map(lambda leaf: leaf * 0.5 if is_array(leaf) else leaf, module), x + 1


def _again(fn: Callable[..., Any], module: Any) -> Call:
    x = jnp.ones((8, 4))
    return lambda: fn(module, x)


def _anew(fn: Callable[..., Any], module: Any) -> Call:
    x = jnp.ones((8, 4))
    return lambda: fn(copy.copy(module), x)


def _train(fn: Callable[..., Any], module: Any) -> Call:
    state, x = [module], jnp.ones((8, 4))

    def step() -> Any:
        state[0], out = fn(state[0], x)
        return out

    return step


CASES = (
    of_calls(
        "module",
        f"compiled call with a module of {LARGE} leaves that is flattened in Python, the same object again",
        _contenders(LARGE, _forward, _again),
        {JAX: 0.35, EQUINOX: 0.2},
    ),
    of_calls(
        "module-small",
        f"the same with {SMALL} leaves",
        _contenders(SMALL, _forward, _again),
        {JAX: 0.75, EQUINOX: 0.25},
    ),
    of_calls(
        "module-fresh",
        f"the same with {LARGE} leaves, a fresh and equal object each call",
        _contenders(LARGE, _forward, _anew),
        {JAX: 1.08, EQUINOX: 0.71},
    ),
    of_calls(
        "module-loop",
        f"a training loop: a new module of {LARGE} leaves from each step to the next",
        _contenders(LARGE, _step, _train),
        {JAX: 0.85, EQUINOX: 0.4},
        rounds=150,
    ),
)
