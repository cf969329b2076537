"""Compiled calls: what `filter_jit` costs on top of `jax.jit`, by what its arguments are.

The functions do next to nothing with their arguments, so that it is the call that is measured.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree

from typedfilter import Static, Traced, filter_jit
from typedfilter.bench._models import (
    Model,
    as_nodes,
    dataclass_model,
    mixed_tree,
    model,
)
from typedfilter.bench._rows import OURS, of_calls
from typedfilter.bench._timing import Call

JAX, EQUINOX = "jax.jit", "equinox.filter_jit"
LEAVES = 258


def _annotated(equinox: Any) -> dict[str, Call]:
    def fn(
        x: Float[Array, "b n"], y: Float[Array, "n"], rate: Traced[float], n: Static[int]
    ) -> Float[Array, ""]:
        return (x * n + y).sum() * rate

    x, y = jnp.ones((8, 4)), jnp.ones(4)
    ours, by_hand = filter_jit(fn), jax.jit(fn, static_argnames="n")
    contenders: dict[str, Call] = {OURS: lambda: ours(x, y, 0.1, 2), JAX: lambda: by_hand(x, y, 0.1, 2)}
    if equinox is not None:
        theirs = equinox.filter_jit(fn)
        contenders[EQUINOX] = lambda: theirs(x, y, 0.1, 2)
    return contenders


def _short(equinox: Any) -> dict[str, Call]:
    def fn(x: Float[Array, "b n"], y: Float[Array, "n"], n: Static[int]) -> Float[Array, "b n"]:
        return x * n + y

    x, y = jnp.ones((8, 4)), jnp.ones(4)
    ours, by_hand = filter_jit(fn), jax.jit(fn, static_argnames="n")
    contenders: dict[str, Call] = {OURS: lambda: ours(x, y, 2), JAX: lambda: by_hand(x, y, 2)}
    if equinox is not None:
        theirs = equinox.filter_jit(fn)
        contenders[EQUINOX] = lambda: theirs(x, y, 2)
    return contenders


def _arrays(equinox: Any) -> dict[str, Call]:
    def fn(
        tree: PyTree[Float[Array, "..."]],  # pyright: ignore[reportUnknownParameterType]  # jaxtyping is silent
        x: Float[Array, "b n"],
    ) -> Float[Array, "b n"]:
        return x + 1

    x = jnp.ones((8, 4))
    tree = [{"weight": jnp.ones((4, 4)), "bias": jnp.ones(4)} for _ in range(LEAVES // 2)]
    ours, by_hand = filter_jit(fn), jax.jit(fn)
    return {OURS: lambda: ours(tree, x), JAX: lambda: by_hand(tree, x)}


def _flat(equinox: Any) -> dict[str, Call]:
    def fn(x: Any, n: Any) -> Any:
        return x * n

    x = jnp.ones((8, 4))
    ours, by_hand = filter_jit(fn), jax.jit(fn, static_argnames="n")
    contenders: dict[str, Call] = {OURS: lambda: ours(x, 2), JAX: lambda: by_hand(x, 2)}
    if equinox is not None:
        theirs = equinox.filter_jit(fn)
        contenders[EQUINOX] = lambda: theirs(x, 2)
    return contenders


def _on_trees(equinox: Any, ours_gets: Any, jax_gets: Any) -> dict[str, Call]:
    def fn(tree: Any, x: Any) -> Any:
        return x + 1

    x = jnp.ones((8, 4))
    ours, by_hand = filter_jit(fn), jax.jit(fn)
    contenders: dict[str, Call] = {OURS: lambda: ours(ours_gets, x), JAX: lambda: by_hand(jax_gets, x)}
    if equinox is not None:
        theirs = equinox.filter_jit(fn)
        contenders[EQUINOX] = lambda: theirs(ours_gets, x)
    return contenders


def _tree(equinox: Any) -> dict[str, Call]:
    tree = mixed_tree(LEAVES)
    return _on_trees(equinox, tree, as_nodes(tree))


def _dataclass(equinox: Any) -> dict[str, Call]:
    def fn(model: Model, x: Float[Array, "b n"]) -> Float[Array, "b n"]:
        return x + 1

    def by_hand_fn(model: Any, x: Any) -> Any:
        return x + 1

    x = jnp.ones((8, 4))
    ours, by_hand = filter_jit(fn), jax.jit(by_hand_fn)
    ours_gets, jax_gets = model(LEAVES // 2), dataclass_model(LEAVES // 2)
    return {OURS: lambda: ours(ours_gets, x), JAX: lambda: by_hand(jax_gets, x)}


def _dataclass_loop(equinox: Any) -> dict[str, Call]:
    def step(model: Model) -> Any:
        return jax.tree.map(lambda leaf: leaf * 0.5, model)

    def by_hand_step(model: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf * 0.5, model)

    state: dict[str, Any] = {OURS: model(LEAVES // 2), JAX: dataclass_model(LEAVES // 2)}
    steps: dict[str, Any] = {OURS: filter_jit(step), JAX: jax.jit(by_hand_step)}

    def run(name: str) -> Any:
        state[name] = steps[name](state[name])
        return state[name].layers[0].bias

    return {name: functools.partial(run, name) for name in state}


def _checks(equinox: Any) -> dict[str, Call]:
    def fn(x: Float[Array, "b n"], y: Float[Array, "n"], n: Static[int]) -> Float[Array, "b n"]:
        return x * n + y

    x, y = jnp.ones((8, 4)), jnp.ones(4)
    on, off = filter_jit(fn), filter_jit(fn, check=False)
    return {OURS: lambda: on(x, y, 2), UNCHECKED: lambda: off(x, y, 2)}


def _compiled(ours_gets: Any, arrays: Any) -> dict[str, Call]:
    def fn(tree: Any, x: Any) -> Any:
        return x + 1

    x = jnp.ones((8, 4))
    ours, by_hand = filter_jit(fn).lower(ours_gets, x).compile(), jax.jit(fn).lower(arrays, x).compile()
    return {OURS: lambda: ours(ours_gets, x), JAX_AHEAD: lambda: by_hand(arrays, x)}


def _ahead(equinox: Any) -> dict[str, Call]:
    tree = mixed_tree(LEAVES)
    return _compiled(tree, {name: (array, None) for name, (array, _) in tree.items()})


def _ahead_list(equinox: Any) -> dict[str, Call]:
    tree = [{"weight": jnp.ones((4, 4)), "bias": jnp.ones(4)} for _ in range(9)]
    return _compiled(tree, tree)


UNCHECKED = "check=False"
JAX_AHEAD = "jax.jit, compiled"
_TWICE_AS_FAST = 0.5

CASES = (
    of_calls(
        "annotated",
        "compiled call of a function whose annotations say all",
        _annotated,
        {JAX: 1.05, EQUINOX: _TWICE_AS_FAST},
    ),
    of_calls(
        "annotated-short",
        "the same with two short arrays and a static value",
        _short,
        {JAX: 1.05, EQUINOX: 0.14},
    ),
    of_calls(
        "arrays",
        f'compiled call with `PyTree[Float[Array, "..."]]`: {LEAVES} arrays in a list of dictionaries',
        _arrays,
        {JAX: 1.05},
    ),
    of_calls(
        "flat", "compiled call with an array and an int, not annotated", _flat, {JAX: 1.25, EQUINOX: 0.2}
    ),
    of_calls(
        "tree",
        f"compiled call with a pytree of {LEAVES} leaves: arrays, functions, ints",
        _tree,
        {JAX: 1.6, EQUINOX: _TWICE_AS_FAST},
    ),
    of_calls(
        "dataclass",
        f"compiled call with a pytree_dataclass model of {LEAVES} arrays and as many static fields",
        _dataclass,
        {JAX: 1.05},
    ),
    of_calls(
        "dataclass-loop",
        "a training loop: a new model of these from each step to the next",
        _dataclass_loop,
        {JAX: 1.25},  # a static part that is compared exactly is put together in Python, JAX's own in C
        rounds=150,
    ),
    of_calls(
        "ahead",
        f"call of a program compiled ahead of time for a pytree of {LEAVES} leaves: arrays, functions, ints",
        _ahead,
        {JAX_AHEAD: 1.15},
    ),
    of_calls(
        "ahead-list",
        "the same with 18 arrays in a list of dictionaries",
        _ahead_list,
        {JAX_AHEAD: 1.15},
    ),
    # Both run the same program through the same code: 1.00, give or take what a clock sees.
    of_calls("checks", "compiled call with shape checks, against one without", _checks, {UNCHECKED: 1.02}),
)
