"""Training on a mesh: state that is split, layers in a loop, remat, offload; each beside plain JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from meshes import AUTO, EXPLICIT, MIXED, assert_same, has_host_memory, set_mesh, told

from typedfilter import (
    Donate,
    filter_checkpoint,
    filter_grad,
    filter_jit,
    filter_scan,
    filter_shard_map,
    filter_value_and_grad,
    filter_vmap,
    pytree_dataclass,
)

P = PartitionSpec
ROWS = NamedSharding(AUTO, P("data"))
RANDOM = np.random.default_rng(0)
X, W, A, B = (
    jnp.asarray(RANDOM.normal(size=size) / 4, jnp.float32) for size in ((8, 4), (4, 4), (8, 16), (16, 8))
)
new_enough = pytest.mark.skipif(jax.__version_info__ < (0, 8), reason="places of this kind came later")


def compilations(compiled: list[str], step: Callable[[Any], Any], state: Any) -> tuple[list[int], Any]:
    """How much each of three steps compiles, and the state behind them."""
    counts = []
    for _ in range(3):
        before = len(compiled)
        state = step(state)
        counts.append(len(compiled) - before)
    return counts, state


# State that is split, and a step of an optimiser ------------------------------------------------------------

ADAM = optax.adam(1e-2)
SPECS = {"a": P("data", "model"), "b": P("model", "data")}


def squares(weights: Any, x: Any) -> Any:
    return jnp.mean((jnp.tanh(x @ weights["a"]) @ weights["b"]) ** 2)


def by_hand(weights: Any, state: Any, batches: Any) -> Any:
    def add(total: Any, x: Any) -> Any:
        return jax.tree.map(jnp.add, total, jax.grad(squares)(weights, x)), None

    grads, _ = lax.scan(add, jax.tree.map(jnp.zeros_like, weights), batches)
    updates, state = ADAM.update(grads, state, weights)
    return optax.apply_updates(weights, updates), state


def step(model: Donate[Any], state: Donate[Any], batches: Any) -> Any:
    weights = model["weights"]

    def add(total: Any, x: Any) -> Any:
        grads = filter_grad(lambda model: squares(model["weights"], x))(model)
        return jax.tree.map(jnp.add, total, grads["weights"]), None

    grads, _ = filter_scan(add, jax.tree.map(jnp.zeros_like, weights), batches)
    updates, state = ADAM.update(grads, state, weights)
    return {**model, "weights": optax.apply_updates(weights, updates)}, state


def split_state() -> tuple[Any, Any, Any]:
    """Weights along both axes, the state of the optimiser where they are, three batches by rows."""
    places = {name: NamedSharding(AUTO, spec) for name, spec in SPECS.items()}
    weights = jax.device_put({"a": A, "b": B}, places)
    state = jax.tree.map(
        lambda leaf: jax.device_put(leaf, leaf.sharding if leaf.ndim else NamedSharding(AUTO, P())),
        jax.jit(ADAM.init)(weights),
    )
    batches = jax.device_put(jnp.ones((3, 16, 8)), NamedSharding(AUTO, P(None, "data")))
    return weights, state, batches


def test_a_step_with_accumulated_gradients_and_adam_is_that_of_jax(compiled):
    ours, theirs = filter_jit(step), jax.jit(by_hand, donate_argnums=(0, 1))
    with set_mesh(AUTO):
        weights, state, batches = split_state()
        model = {"weights": weights, "name": "fsdp", "act": jnp.tanh}
        program, wanted = ours.lower(model, state, batches).compile(), theirs.lower(*split_state()).compile()
        counts, (model, state) = compilations(compiled, lambda both: ours(*both, batches), (model, state))
        hand_counts, hand = compilations(compiled, lambda both: theirs(*both, batches), split_state()[:2])
    assert_same((model["weights"], state), hand)
    assert (model["name"], model["act"]) == ("fsdp", jnp.tanh)
    assert weights["a"].is_deleted()
    assert counts == hand_counts
    assert told(program) == told(wanted)
    assert told(program)["all-reduce"] > 0
    assert told(program)["alias"] > 0
    memory, wanted_memory = (one.memory_analysis().temp_size_in_bytes for one in (program, wanted))
    assert memory == wanted_memory


# Layers in a loop -------------------------------------------------------------------------------------------


@pytree_dataclass
class Layer:
    w: Array
    b: Array
    act: Any = jnp.tanh


def product(x: Any, w: Any, b: Any) -> Any:
    if AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
        return jnp.matmul(x, w, out_sharding=P("data")) + jax.sharding.reshard(b, P())
    return x @ w + b


def stacked(layers: Layer, x: Any) -> Any:
    layer = filter_checkpoint(lambda x, layer: (layer.act(product(x, layer.w, layer.b)), None))
    return (filter_scan(layer, x, layers)[0] ** 2).mean()


def stacked_by_hand(w: Any, b: Any, x: Any) -> Any:
    layer = jax.checkpoint(lambda x, both: (jnp.tanh(product(x, *both)), None))
    return (lax.scan(layer, x, (w, b))[0] ** 2).mean()


@new_enough
@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT, MIXED], ids=["auto", "explicit", "mixed"])
def test_stacked_layers_that_are_rematerialised_in_a_loop_are_those_of_jax(mesh):
    stack = jnp.stack([W, W + 0.1, W - 0.1])
    with set_mesh(mesh):
        w, b, x = (
            jax.device_put(array, NamedSharding(mesh, spec))
            for array, spec in (
                (stack, P(None, None, "model")),
                (stack[:, 0], P(None, "model")),
                (X, P("data")),
            )
        )
        ours = filter_jit(filter_grad(stacked))
        theirs = jax.jit(jax.grad(stacked_by_hand, argnums=(0, 1)))
        grads = ours(Layer(w, b), x)
        assert_same((grads.w, grads.b), theirs(w, b, x))
        assert told(ours.lower(Layer(w, b), x).compile()) == told(theirs.lower(w, b, x).compile())


@has_host_memory
def test_a_policy_that_offloads_moves_as_much_as_under_jax():
    policy = jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=["kept"],
        names_which_can_be_offloaded=["sent"],
        offload_src="device",
        offload_dst="pinned_host",
    )

    def loss(w: Any, x: Any) -> Any:
        sent = checkpoint_name(jnp.sin(x @ w), "sent")
        return (checkpoint_name(jnp.cos(sent @ w), "kept") ** 2).sum()

    ours = filter_jit(
        filter_grad(lambda model, x: filter_checkpoint(lambda m, x: loss(m["w"], x), policy=policy)(model, x))
    )
    theirs = jax.jit(jax.grad(lambda w, x: jax.checkpoint(loss, policy=policy)(w, x)))
    texts = [str(traced.jaxpr) for traced in (ours.trace({"w": W, "name": "n"}, X), theirs.trace(W, X))]
    moves = [text.count("device_put") for text in texts]
    assert moves == [2, 2]
    assert len(texts[0].splitlines()) == len(texts[1].splitlines())
    assert_same(ours({"w": W, "name": "n"}, X)["w"], theirs(W, X))


# State on the host ------------------------------------------------------------------------------------------


@has_host_memory
@pytest.mark.parametrize("by_leaf", [False, True], ids=["whole", "by leaf"])
def test_state_in_host_memory_is_given_away_and_compiled_for_once(by_leaf, compiled):
    host = NamedSharding(AUTO, P("data"), memory_kind="pinned_host")

    def moved(moments: Any) -> Any:
        return jax.device_put(jax.device_put(moments, ROWS) * 2, host)

    def annotated(state: Donate[Any]) -> Any:
        return {**state, "moments": moved(state["moments"])} if by_leaf else moved(state)

    places = {"moments": host, "name": None} if by_leaf else host
    ours = filter_jit(annotated, in_shardings={"state": places}, out_shardings=places)
    theirs = jax.jit(moved, in_shardings=host, out_shardings=host, donate_argnums=0)
    one, other = jax.device_put(X, host), jax.device_put(X + 0, host)
    counts, state = compilations(compiled, ours, {"moments": one, "name": "adam"} if by_leaf else one)
    hand_counts, expected = compilations(compiled, theirs, other)
    assert_same(state["moments"] if by_leaf else state, expected)
    assert one.is_deleted()
    assert other.is_deleted()
    assert counts == hand_counts == [1, 0, 0]


# Models of others, and random keys --------------------------------------------------------------------------


def made(key: Any) -> Any:
    return eqx.nn.MLP(4, 4, 8, 2, key=key)


def place(leaf: Any) -> Any:
    return ROWS if leaf.ndim and leaf.shape[0] % 4 == 0 else NamedSharding(AUTO, P())


@pytest.mark.parametrize("rule", [False, True], ids=["tree", "rule"])
def test_a_model_of_equinox_is_placed_leaf_by_leaf_as_argument_and_where_it_is_made(rule):
    model = made(jax.random.key(0))
    tree = jax.tree.map(lambda leaf: place(leaf) if eqx.is_array(leaf) else None, model)
    places = place if rule else tree
    taken = filter_jit(lambda model: model, in_shardings={"model": places}, out_shardings=places)(model)
    created = filter_jit(made, out_shardings=places)(jax.random.key(0))
    for out in (taken, created):
        for leaf, given in zip(
            jax.tree.leaves(eqx.filter(out, eqx.is_array)),
            jax.tree.leaves(eqx.filter(model, eqx.is_array)),
            strict=True,
        ):
            np.testing.assert_allclose(leaf, given, rtol=1e-6)
            assert leaf.sharding.is_equivalent_to(place(given), given.ndim)
    np.testing.assert_allclose(filter_jit(filter_vmap(created))(X), jax.vmap(model)(X), rtol=1e-4, atol=1e-6)


def test_random_keys_are_split_like_other_arrays():
    keys = jax.random.split(jax.random.key(0), 8)
    draws = jax.vmap(lambda key: jax.random.normal(key, (2,)))

    def drawn(keys: Annotated[Any, P("data")]) -> Annotated[Array, P("data")]:
        return draws(keys)

    with set_mesh(AUTO):
        expected = jax.jit(draws, in_shardings=P("data"), out_shardings=P("data"))(keys)
        placed = filter_jit(lambda keys: keys, out_shardings=P("data"))(keys)
        assert placed.sharding.is_equivalent_to(ROWS, 1)
        for run in (filter_jit(drawn), filter_shard_map(drawn), filter_jit(filter_shard_map(drawn))):
            assert_same(run(placed), expected)


def test_the_value_and_the_gradient_of_a_placed_loss_are_compiled_once(compiled):
    def loss(model: Any, x: Annotated[Array, P("data")]) -> Any:
        return (model["act"](x @ model["w"]) ** 2).mean()

    model, slope = {"w": W, "act": jnp.tanh}, filter_jit(filter_value_and_grad(loss))
    with set_mesh(AUTO):
        x = jax.device_put(X, ROWS)
        counts, _ = compilations(compiled, lambda _: slope(model, x), None)
    assert counts == [1, 0, 0]
