"""Transforms called eagerly, as in a notebook: all of their work, on every call.

The body is a small network with a loss, as such calls have it, not a single operation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from typedfilter import filter_grad, filter_vmap
from typedfilter.bench._rows import OURS, of_calls
from typedfilter.bench._timing import Call


def _network(params: Any, x: Any) -> Any:
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    return jax.nn.log_softmax(hidden @ params["w2"] + params["b2"])


def _loss(params: Any, x: Any, labels: Any) -> Any:
    scores = _network(params, x)
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


def _checked_network(
    params: dict[str, Float[Array, "..."]], x: Float[Array, "features"]
) -> Float[Array, "classes"]:
    scores: Array = _network(params, x)
    return scores


def _checked_loss(
    params: dict[str, Float[Array, "..."]], x: Float[Array, "batch features"], labels: Int[Array, "batch"]
) -> Float[Array, ""]:
    loss: Array = _loss(params, x, labels)
    return loss


def _params() -> dict[str, Any]:
    return {"w1": jnp.ones((8, 16)), "b1": jnp.ones(16), "w2": jnp.ones((16, 4)), "b2": jnp.ones(4)}


def _vmap(equinox: Any) -> dict[str, Call]:
    params, x = _params(), jnp.ones((32, 8))
    mapped: dict[str, Callable[..., Any]] = {
        OURS: filter_vmap(_network, in_axes=(None, 0)),
        _VMAP: jax.vmap(_network, in_axes=(None, 0)),
    }
    if equinox is not None:
        mapped["equinox.filter_vmap"] = equinox.filter_vmap(_network, in_axes=(None, 0))
    return {name: functools.partial(fn, params, x) for name, fn in mapped.items()}


def _short_vmap(equinox: Any) -> dict[str, Call]:
    w, x = jnp.ones((8, 16)), jnp.ones((32, 8))
    mapped: dict[str, Callable[..., Any]] = {
        OURS: filter_vmap(jnp.dot, in_axes=(0, None)),
        _VMAP: jax.vmap(jnp.dot, in_axes=(0, None)),
    }
    if equinox is not None:
        mapped["equinox.filter_vmap"] = equinox.filter_vmap(jnp.dot, in_axes=(0, None))
    return {name: functools.partial(fn, x, w) for name, fn in mapped.items()}


def _checked_vmap(equinox: Any) -> dict[str, Call]:
    params, x = _params(), jnp.ones((32, 8))
    ours = filter_vmap(_checked_network, in_axes=(None, 0))
    others = _vmap(equinox)
    return {**others, OURS: lambda: ours(params, x)}


def _grad(equinox: Any) -> dict[str, Call]:
    example = _example()
    derived: dict[str, Callable[..., Any]] = {OURS: filter_grad(_loss), _GRAD: jax.grad(_loss)}
    if equinox is not None:
        derived["equinox.filter_grad"] = equinox.filter_grad(_loss)
    return {name: functools.partial(fn, *example) for name, fn in derived.items()}


def _checked_grad(equinox: Any) -> dict[str, Call]:
    example, ours = _example(), filter_grad(_checked_loss)
    return {OURS: lambda: ours(*example), _GRAD: _grad(None)[_GRAD]}


def _example() -> tuple[Any, ...]:
    return _params(), jnp.ones((32, 8)), jnp.zeros(32, int)


_VMAP, _GRAD = "jax.vmap", "jax.grad"

CASES = (
    of_calls("vmap", "eager filter_vmap of a small network", _vmap, {_VMAP: 1.12}, rounds=200),
    of_calls(
        "vmap-short",
        "eager filter_vmap of one product",
        _short_vmap,
        {_VMAP: 1.12, "equinox.filter_vmap": 0.67},
        rounds=200,
    ),
    of_calls("vmap-checked", "the same, annotated and checked", _checked_vmap, {_VMAP: 1.15}, rounds=200),
    of_calls("grad", "eager filter_grad of the loss of a small network", _grad, {_GRAD: 1.15}, rounds=80),
    of_calls("grad-checked", "the same, annotated and checked", _checked_grad, {_GRAD: 1.15}, rounds=80),
)
