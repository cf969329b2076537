"""Loops: what a model of stacked layers compiles in, and what an eager loop costs.

A model that is scanned layer by layer compiles one layer; written out, all of them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from typedfilter import filter_grad, filter_jit, filter_scan, filter_vmap, pytree_dataclass
from typedfilter.bench._rows import OURS, Case, Lab, Row, compare, of_calls
from typedfilter.bench._timing import Call

_LAYERS = 100
_WRITTEN_OUT = "layers written out"
_WHAT = f"trace and compile the gradient of {_LAYERS} stacked layers: scanned"
_EAGER = "eager `filter_scan` of a small network, called again"


@pytree_dataclass
class _Layer:
    """A gated layer, or a stack of them."""

    weight: Array
    gate: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        return jnp.tanh(x @ self.weight + self.bias) * jax.nn.sigmoid(x @ self.gate)


def _make(key: Any) -> _Layer:
    one, two = jax.random.split(key)
    return _Layer(jax.random.normal(one, (8, 8)) / 3, jax.random.normal(two, (8, 8)) / 3, jnp.zeros(8))


def _stacked(layers: int) -> _Layer:
    return filter_vmap(_make)(jax.random.split(jax.random.key(0), layers))


def _step(x: Any, layer: Any) -> Any:
    return layer(x), None


def _layers(lab: Lab) -> list[Row]:
    stacked, x = _stacked(_LAYERS), jnp.ones(8)
    layers = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(_LAYERS)]

    def scanned() -> Call:
        def loss(layers: Any, x: Any) -> Any:
            return filter_scan(lambda x, layer: (layer(x), None), x, layers)[0].sum()

        jitted = filter_jit(filter_grad(loss))
        return lambda: jitted.lower(stacked, x).compile()

    def written_out() -> Call:
        def loss(layers: Any, x: Any) -> Any:
            for layer in layers:
                x = layer(x)
            return x.sum()

        jitted = filter_jit(filter_grad(loss))
        return lambda: jitted.lower(layers, x).compile()

    times = lab.timer.first_calls({OURS: scanned, _WRITTEN_OUT: written_out}, lab.rounds(3))
    return compare("layers", _WHAT, times, {_WRITTEN_OUT: 0.1})


def _eager(equinox: Any) -> dict[str, Call]:
    stacked, x = _stacked(4), jnp.ones(8)
    return {
        OURS: lambda: filter_scan(_step, x, stacked),
        "jax.lax.scan": lambda: jax.lax.scan(_step, x, stacked),
    }


CASES = (
    Case("layers", _WHAT, _layers),
    of_calls("eager-scan", _EAGER, _eager, {"jax.lax.scan": 1.0}, rounds=200),
)
