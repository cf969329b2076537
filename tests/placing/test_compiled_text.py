"""What XLA is given: the same collectives, shared buffers and memory as where plain JAX is told by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float
from meshes import AUTO, set_mesh, told

from typedfilter import Donate, Static, filter_grad, filter_jit, filter_shard_map, pytree_dataclass

P = PartitionSpec
X = jnp.asarray(np.arange(64.0).reshape(8, 8), jnp.float32)
W = X / 8 - 1
RING = [(i, (i + 1) % 4) for i in range(4)]

Rows = Annotated[Float[Array, "b n"], P("data")]
Columns = Annotated[Float[Array, "n m"], P(None, "model")]
Whole = Annotated[Float[Array, "..."], P()]


def on(spec: PartitionSpec, **memory: str) -> NamedSharding:
    return NamedSharding(AUTO, spec, **memory)


@pytree_dataclass
class Layer:
    w: Columns
    bias: Whole
    act: Static[Callable[[Array], Array]] = jnp.tanh

    def __call__(self, x: Array) -> Array:
        return self.act(x @ self.w + self.bias)


# --- the functions, as they are written with annotations, and by hand ---------------------------------------


def total(x: Rows) -> Whole:
    return x.sum()


def matmul(x: Rows, w: Columns) -> Annotated[Float[Array, "b m"], P("data", "model")]:
    return x @ w


def gathered(x: Rows) -> Annotated[Float[Array, "b n"], P()]:
    return x * 2


def transposed(x: Rows) -> Annotated[Float[Array, "b n"], P(None, "data")]:
    return x + 1


def update(x: Donate[Rows], w: Rows) -> Rows:
    return x - 0.1 * w


def loss(layer: Layer, x: Rows) -> Whole:
    return jnp.mean(layer(x) ** 2)


def by_hand(w: Any, bias: Any, x: Any) -> Any:
    return jnp.mean(jnp.tanh(x @ w + bias) ** 2)


def mean_of_blocks(x: Rows) -> Whole:
    return jax.lax.pmean(x.mean(), "data")


def next_block(x: Rows) -> Rows:
    return jax.lax.ppermute(x, "data", RING)


def all_blocks(x: Rows) -> Annotated[Float[Array, "c n"], P("data")]:
    return jax.lax.all_gather(x, "data", tiled=True)


def scattered(x: Rows) -> Annotated[Float[Array, "c n"], P("data")]:
    return jax.lax.psum_scatter(jnp.tile(x, (4, 1)), "data", tiled=True)


def exchanged(x: Rows) -> Annotated[Float[Array, "c m"], P("data")]:
    return jax.lax.all_to_all(x, "data", 1, 0, tiled=True)


def mapped(fn: Callable[..., Any], out: PartitionSpec) -> Any:
    return jax.jit(jax.shard_map(fn, mesh=AUTO, in_specs=P("data"), out_specs=out))


ROWS, REPLICATED, LAYER = on(P("data")), on(P()), (on(P(None, "model")), on(P()))

# What is ours, what is JAX's, the arguments of ours, those of JAX's, and what must be in the compiled text.
CASES: dict[str, tuple[Any, Any, tuple[Any, ...], tuple[Any, ...], str]] = {
    "sum": (
        filter_jit(total),
        jax.jit(total, in_shardings=ROWS, out_shardings=REPLICATED),
        (X,),
        (X,),
        "all-reduce",
    ),
    "matmul": (
        filter_jit(matmul),
        jax.jit(matmul, in_shardings=(ROWS, LAYER[0]), out_shardings=on(P("data", "model"))),
        (X, W),
        (X, W),
        "",
    ),
    "gather": (
        filter_jit(gathered),
        jax.jit(gathered, in_shardings=ROWS, out_shardings=REPLICATED),
        (X,),
        (X,),
        "all-gather",
    ),
    "transpose": (
        filter_jit(transposed),
        jax.jit(transposed, in_shardings=ROWS, out_shardings=on(P(None, "data"))),
        (X,),
        (X,),
        "all-to-all",
    ),
    "donate": (
        filter_jit(update),
        jax.jit(update, donate_argnums=0, in_shardings=(ROWS, ROWS), out_shardings=ROWS),
        (X, W),
        (X, W),
        "alias",
    ),
    "gradient of a model": (
        filter_jit(filter_grad(loss)),
        jax.jit(jax.grad(by_hand, argnums=(0, 1)), in_shardings=(*LAYER, ROWS), out_shardings=LAYER),
        (Layer(W, X[0]), X),
        (W, X[0], X),
        "all-reduce",
    ),
    "blocks: mean": (
        filter_jit(filter_shard_map(mean_of_blocks)),
        mapped(mean_of_blocks, P()),
        (X,),
        (X,),
        "all-reduce",
    ),
    "blocks: ring": (
        filter_jit(filter_shard_map(next_block)),
        mapped(next_block, P("data")),
        (X,),
        (X,),
        "collective-permute",
    ),
    "blocks: gather": (
        filter_jit(filter_shard_map(all_blocks)),
        mapped(all_blocks, P("data")),
        (X,),
        (X,),
        "all-gather",
    ),
    "blocks: scatter": (
        filter_jit(filter_shard_map(scattered)),
        mapped(scattered, P("data")),
        (X,),
        (X,),
        "reduce-scatter",
    ),
    "blocks: exchange": (
        filter_jit(filter_shard_map(exchanged)),
        mapped(exchanged, P("data")),
        (X,),
        (X,),
        "all-to-all",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_placed_program_is_what_jax_is_told_by_hand_and_is_compiled_once(name: str, compiled: list[str]):
    ours, theirs, args, same, expected = CASES[name]
    with set_mesh(AUTO):
        by_hand = theirs.lower(*same).compile()
        leaves, treedef = jax.tree.flatten(args)

        def placed() -> list[Any]:  # anew each time: some are donated
            return [
                jax.device_put(leaf + 0, place)
                for leaf, place in zip(leaves, by_hand.input_shardings[0], strict=True)
            ]

        right = jax.tree.leaves(theirs(*placed()))
        calls = [jax.tree.unflatten(treedef, placed()) for _ in range(3)]
        before = len(compiled)
        outs = [jax.tree.leaves(ours(*call)) for call in calls]
        after = len(compiled)
        program = ours.lower(*args).compile()
    assert after - before == 1
    for out, wanted in zip(outs[2], right, strict=True):
        np.testing.assert_allclose(out, wanted, rtol=1e-5)
        assert out.sharding.is_equivalent_to(wanted.sharding, out.ndim)
    assert told(program) == told(by_hand)
    assert not expected or told(program)[expected] > 0


def test_what_is_annotated_to_be_in_host_memory_is_there_and_comes_back():
    device = jax.devices()[0]
    own = device.default_memory().kind
    kinds = [memory.kind for memory in device.addressable_memories()]
    elsewhere = "pinned_host" if "pinned_host" in kinds else own  # JAX 0.7 has but one on a CPU
    host, here = on(P("data"), memory_kind=elsewhere), on(P("data"), memory_kind=own)

    @filter_jit
    def offload(x: Rows) -> Annotated[Float[Array, "b n"], host]:
        return x + 1

    @filter_jit
    def back(x: Annotated[Float[Array, "b n"], host]) -> Annotated[Float[Array, "b n"], here]:
        return jax.device_put(x, here) - 1

    with set_mesh(AUTO):
        kept = offload(X)
        out = back(kept)
    assert (kept.sharding.memory_kind, out.sharding.memory_kind) == (elsewhere, own)
    np.testing.assert_array_equal(out, X)
