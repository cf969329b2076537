"""Placed programs beside other parts of JAX: some of the devices, threads, kinds of axes, kernels, checks.

Each program is told to plain JAX by hand, which says what its values are and where they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.experimental import checkify
from jax.experimental import pallas as pl
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, auto_axes, explicit_axes
from jaxtyping import Float
from meshes import AUTO, EXPLICIT, MIXED, assert_same, set_mesh

import typedfilter as tf
from typedfilter import (
    filter_checkpoint,
    filter_grad,
    filter_jit,
    filter_shard,
    filter_shard_map,
    filter_vmap,
)

P = PartitionSpec
KINDS = AxisType.Auto, AxisType.Explicit
X = jnp.arange(32.0).reshape(8, 4)
BELOW, NONE, PAIR = X - 5, jnp.zeros((0, 4)), jnp.stack([X, X + 1])  # made while no mesh is set
W = jnp.eye(4) * 0.1
MODEL = {"act": jnp.tanh, "w": W}

Rows = Annotated[Float[Array, "b n"], P("data")]


def layer(model: Any, x: Rows) -> Rows:
    return model["act"](x @ model["w"])


def by_hand(w: Any, x: Any) -> Any:
    return jnp.tanh(x @ w)


PLACES: dict[str, Any] = {"in_shardings": (None, P("data")), "out_shardings": P("data")}


# ---------------------------------------------------------------------------- parts of the devices, threads


def halves() -> list[Mesh]:
    devices = np.array(jax.devices())
    return [Mesh(part, ("data",)) for part in (devices[:4], devices[4:])]


def test_two_halves_of_the_devices_run_the_same_function_side_by_side():
    traces = []

    def body(model: Any, x: Rows) -> Rows:
        traces.append(1)
        return layer(model, x)

    ours, theirs = filter_jit(body), jax.jit(by_hand, **PLACES)
    programs = []
    for mesh in (*halves(), *halves()):
        with set_mesh(mesh):
            out = ours(MODEL, X)
            assert_same(out, theirs(W, X))
            programs.append(ours.lower(MODEL, X).compile())
        assert out.sharding.device_set == set(mesh.devices.flat)
        assert_same(programs[-1](MODEL, X), out)
    assert len(traces) == 1  # their axes are the same


def test_arrays_on_two_halves_are_refused_together_and_taken_one_by_one():
    one, two = (jax.device_put(X, NamedSharding(mesh, P("data"))) for mesh in halves())
    add = filter_jit(lambda a, b: a + b)
    for x in (one, two, one):
        assert_same(add(x, x), jax.jit(lambda a, b: a + b)(x, x))
    with pytest.raises(ValueError, match="incompatible devices"):
        add(one, two)


@pytest.mark.usefixtures("compiled_anew")
def test_each_thread_has_the_mesh_that_it_has_set():
    devices = np.array(jax.devices()).reshape(4, 2)
    meshes = [*(Mesh(pair, ("data",)) for pair in devices), Mesh(devices, ("data", "model"))]
    traces, wrong = [], []
    ready = threading.Barrier(len(meshes))

    @filter_jit
    def f(model: Any, x: Rows) -> Rows:
        traces.append(1)
        return layer(model, x)

    def run(mesh: Mesh, shift: int) -> None:
        expected = np.tanh(np.asarray((X + shift) @ W))
        ready.wait(60)
        with set_mesh(mesh):
            for _ in range(5):
                out = f(MODEL, X + shift)
                same = out.sharding.is_equivalent_to(NamedSharding(mesh, P("data")), 2)
                if not (same and np.allclose(out, expected, rtol=1e-5)):
                    wrong.append((mesh, out))

    threads = [threading.Thread(target=run, args=(mesh, i)) for i, mesh in enumerate(meshes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not wrong
    assert 2 <= len(traces) <= len(meshes)  # two kinds of meshes; threads that come first may both trace


# ------------------------------------------------------------------- ours and JAX's, program by program


def checked_root(x: Any) -> Any:
    checkify.check(jnp.all(x >= 0), "below zero: {}", x.min())
    return jnp.sqrt(jnp.abs(x))


def told(pair: Any) -> Any:
    """What a function of checkify's has found, as an array, and its result."""
    error, out = pair
    return jnp.asarray(str(error.get()).startswith("below zero: -5.0")), out


def _kernel(x_ref: Any, out_ref: Any) -> None:
    out_ref[...] = x_ref[...] * 2 + 1


def doubled(x: Any) -> Any:
    return pl.pallas_call(_kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x)


def kernel(x: Rows) -> Rows:
    return doubled(x)


def rows_of_sines(x: Rows) -> Rows:
    return jnp.sin(x)


BLOCKS: dict[str, Any] = {"in_specs": P("data"), "out_specs": P("data")}
LOSS: dict[str, Any] = {"in_specs": (P(), P("data")), "out_specs": P()}
STACK = jnp.stack([W, W + 0.1])


def loss_of_blocks(model: Any, x: Any) -> Any:
    def block(model: Any, x: Any) -> Any:
        out, _ = tf.filter_scan(lambda carry, w: (model["act"](carry @ w), None), x, model["w"])
        return jax.lax.pmean((out**2).mean(), "data")

    return filter_shard_map(block, **LOSS)(model, x)


def loss_by_hand(w: Any, x: Any) -> Any:
    def block(w: Any, x: Any) -> Any:
        out, _ = jax.lax.scan(lambda carry, w: (jnp.tanh(carry @ w), None), x, w)
        return jax.lax.pmean((out**2).mean(), "data")

    return jax.shard_map(block, **LOSS)(w, x)


def twice(loss: Any) -> Any:
    """A loss inside of a loop."""

    def looped(model: Any, x: Any) -> Any:
        return jax.lax.scan(lambda carry, _: (carry + loss(model, x), None), jnp.float32(0), None, length=2)[
            0
        ]

    return looped


def columns(x: Any) -> Any:
    return jax.lax.with_sharding_constraint(x * 2, P(None, "model"))


def square(x: Any) -> Any:
    return x @ x.T


def within(axes: Any, fn: Any, **places: Any) -> Any:
    return axes(fn, axes=("data", "model"), **places)


ROWS = {"out_sharding": P("data")}, {"in_sharding": P("data")}
ROWS_OF: dict[str, Any] = {"in_shardings": P("data"), "out_shardings": P("data")}
BIG = np.random.default_rng(0).normal(size=(4, 4096)).astype("float32")
SHARDED, MIXED_ROWS = (jax.device_put(X, NamedSharding(mesh, P("data"))) for mesh in (EXPLICIT, MIXED))

PROGRAMS: dict[str, tuple[Mesh, Callable[[], Any], Callable[[], Any]]] = {
    "automatic axes inside": (
        EXPLICIT,
        lambda: filter_jit(lambda x: within(auto_axes, square, **ROWS[0])(x))(SHARDED),
        lambda: jax.jit(within(auto_axes, square, **ROWS[0]))(SHARDED),
    ),
    "the gradient through automatic axes": (
        EXPLICIT,
        lambda: filter_jit(filter_grad(lambda x: within(auto_axes, square, **ROWS[0])(x).sum()))(SHARDED),
        lambda: jax.jit(jax.grad(lambda x: within(auto_axes, square, **ROWS[0])(x).sum()))(SHARDED),
    ),
    "automatic axes around": (
        EXPLICIT,
        lambda: jax.jit(
            within(auto_axes, filter_jit(lambda x: square(filter_shard(x, P("data")))), **ROWS[0])
        )(SHARDED),
        lambda: jax.jit(within(auto_axes, square, **ROWS[0]))(SHARDED),
    ),
    "explicit axes inside": (
        AUTO,
        lambda: filter_jit(lambda x: within(explicit_axes, jnp.sin, **ROWS[1])(x))(X),
        lambda: jax.jit(within(explicit_axes, jnp.sin, **ROWS[1]))(X),
    ),
    "explicit axes around": (
        AUTO,
        lambda: jax.jit(within(explicit_axes, filter_jit(rows_of_sines), **ROWS[1]))(X),
        lambda: jax.jit(within(explicit_axes, jnp.sin, **ROWS[1]))(X),
    ),
    "a kernel": (AUTO, lambda: filter_jit(kernel)(X), lambda: jax.jit(kernel, **ROWS_OF)(X)),
    "a kernel on blocks": (
        AUTO,
        lambda: filter_jit(filter_shard_map(doubled, **BLOCKS, check_vma=False))(X),
        lambda: jax.jit(jax.shard_map(doubled, **BLOCKS, check_vma=False))(X),
    ),
    "checks inside": (
        AUTO,
        lambda: told(filter_jit(checkify.checkify(checked_root), in_shardings=P("data"))(BELOW)),
        lambda: told(jax.jit(checkify.checkify(checked_root), in_shardings=P("data"))(BELOW)),
    ),
    "checks around": (
        AUTO,
        lambda: told(checkify.checkify(filter_jit(checked_root, in_shardings=P("data")))(BELOW)),
        lambda: told(checkify.checkify(jax.jit(checked_root, in_shardings=P("data")))(BELOW)),
    ),
    "a big constant": (
        AUTO,
        lambda: filter_jit(lambda x: x @ BIG, **ROWS_OF)(X),
        lambda: jax.jit(lambda x: x @ BIG, **ROWS_OF)(X),
    ),
    "axes that are not mapped": (
        MIXED,
        lambda: filter_jit(
            filter_shard_map(lambda x: filter_shard(x * 2, P(None, "model")), **BLOCKS, axis_names={"data"})
        )(MIXED_ROWS),
        lambda: jax.jit(jax.shard_map(columns, **BLOCKS, axis_names={"data"}))(MIXED_ROWS),
    ),
    "blocks in a loop in a gradient in a map": (
        AUTO,
        lambda: filter_jit(filter_vmap(filter_grad(twice(loss_of_blocks)), in_axes=(None, 0)))(
            {**MODEL, "w": STACK}, PAIR
        )["w"],
        lambda: jax.jit(jax.vmap(jax.grad(twice(loss_by_hand)), in_axes=(None, 0)))(STACK, PAIR),
    ),
    "no rows": (AUTO, lambda: filter_jit(layer)(MODEL, NONE), lambda: jax.jit(by_hand, **PLACES)(W, NONE)),
    "rows of the host": (
        EXPLICIT,
        lambda: filter_jit(layer)(MODEL, np.asarray(X)),
        lambda: jax.jit(by_hand, **PLACES)(W, np.asarray(X)),
    ),
    "ahead of time": (
        AUTO,
        lambda: filter_jit(layer).lower(MODEL, X).compile()(MODEL, X),
        lambda: jax.jit(by_hand, **PLACES).lower(W, X).compile()(W, X),
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_computes_and_places_what_jaxs_own_does(program: str):
    if jax.__version_info__ < (0, 8) and program in ("axes that are not mapped", "no rows"):
        pytest.skip("JAX's own program fails on releases as old as this")
    mesh, ours, theirs = PROGRAMS[program]
    with set_mesh(mesh):
        assert_same(ours(), theirs())


def test_no_tracer_leaks_from_placed_functions():
    with jax.checking_leaks(), set_mesh(AUTO):
        out = filter_jit(lambda model, x: filter_checkpoint(layer)(model, filter_shard(x, P("data"))))(
            MODEL, X
        )
        blocks = filter_jit(loss_of_blocks)({**MODEL, "w": STACK}, X)
        slope = filter_jit(filter_grad(lambda model, x: layer(model, x).sum()))(MODEL, X)
        assert_same(out, jax.jit(by_hand, **PLACES)(W, X))
        assert_same(blocks, jax.jit(loss_by_hand)(STACK, X))
        assert_same(slope["w"], jax.jit(jax.grad(lambda w, x: by_hand(w, x).sum()))(W, X))


def test_three_hundred_layers_are_each_in_their_place_and_traced_once():
    layers, places = [{"bias": W[0] * i} for i in range(300)], [{"bias": P("model")}] * 300
    traces = []

    def norms(layers: Any, x: Any) -> Any:
        traces.append(1)
        return layers[-3:], sum(layer["bias"][0] for layer in layers) + x.sum()

    options: dict[str, Any] = {"out_shardings": (places[-3:], P())}
    ours = filter_jit(norms, in_shardings={"layers": places, "x": P("data")}, **options)
    theirs = jax.jit(norms, in_shardings=(places, P("data")), **options)
    with set_mesh(AUTO):
        expected = theirs(layers, X)
        traces.clear()
        for _ in range(2):
            assert_same(ours(layers, X), expected)
    assert len(traces) == 1
