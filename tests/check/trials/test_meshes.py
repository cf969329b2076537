"""Functions that need a mesh: traced under an abstract one, and skipped where none is said."""

from __future__ import annotations

from typing import Annotated

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jax.sharding import PartitionSpec as P
from jaxtyping import Float

from typedfilter import check_shapes, filter_jit, filter_shard, filter_shard_map, filter_vmap

pytestmark = pytest.mark.skipif(
    not hasattr(jax.sharding, "use_abstract_mesh"), reason="this JAX has no public abstract meshes"
)
MESH = {"data": 4, "model": 2}
Rows = Annotated[Float[Array, "b n"], P("data")]


def shard(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return filter_shard(x, P("data"))


def constrain(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return jax.lax.with_sharding_constraint(x * 2, P("data"))


def reshard(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return jax.sharding.reshard(x, P("data"))


def blockwise(x: Float[Array, "b n"]) -> Float[Array, "n"]:
    summed = jax.shard_map(lambda x: jax.lax.psum(x.sum(0), "data"), in_specs=P("data"), out_specs=P())
    return summed(x)


def product(x: Float[Array, "b n"], w: Float[Array, "n m"]) -> Float[Array, "b m"]:
    return jnp.einsum("bn,nm->bm", x, w, out_sharding=P("data"))


def looks(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return x * jax.sharding.get_abstract_mesh().shape["data"]


def mapped(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return filter_vmap(lambda row: filter_shard(row * 2, P("model")))(x)


@filter_jit
def jitted(x: Rows) -> Rows:
    return filter_shard(x, P("data")) * 2


def reduced(x: Float[Array, "b n"]) -> Float[Array, "n"]:
    return jax.lax.psum(x.sum(0), "data")


@filter_shard_map
def mean(x: Rows) -> Annotated[Float[Array, "n"], P()]:
    return jax.lax.pmean(x.mean(0), "data")


AUTO = "under the mesh data=4, model=2 (Auto axes); for all sizes that are multiples of 8"
EXPLICIT = AUTO.replace("Auto", "Explicit")
BLOCK = "under the mesh data=4, model=2 (as one block); for all sizes"
SOUND = {
    shard: AUTO,
    constrain: AUTO,
    reshard: EXPLICIT,
    blockwise: AUTO,
    product: EXPLICIT,
    looks: AUTO,
    mapped: AUTO,
    jitted: AUTO,
    reduced: BLOCK,
    mean: f"{BLOCK}; its body only: filter_shard_map around it can't be followed",
}


@pytest.mark.parametrize("fn", SOUND, ids=lambda fn: fn.__name__)
def test_sound_functions_are_proved_under_a_mesh_and_skipped_without_one(fn):
    (with_mesh,) = check_shapes(fn, mesh=MESH).results
    assert (with_mesh.status, with_mesh.message) == ("proved", SOUND[fn])
    (without,) = check_shapes(fn).results
    if fn is reduced:
        assert without.message == "it is written for the inside of a mapped axis named `data`"
    else:
        axis = " with the axis `data`" if fn is mean else ""
        assert without.message == f"it needs a mesh{axis}, and none is set"
        assert without.fix == (
            "say its axes, as `mesh = {data = 4, model = 2}` of [tool.typedfilter] or --mesh data=4,model=2"
        )
    assert without.status == "skipped"


def transposed(x: Float[Array, "b n"]) -> Float[Array, "n b"]:
    return filter_shard(x, P("data"))


@filter_shard_map
def unreduced(x: Rows) -> Annotated[Float[Array, "b n"], P("data")]:
    return jax.lax.psum(x.sum(0), "data")


def halved(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return jax.sharding.reshard(x, P("data"))[::2]


@pytest.mark.parametrize("fn", [transposed, unreduced, halved], ids=lambda fn: fn.__name__)
def test_wrong_shapes_under_a_mesh_are_failures(fn):
    (result,) = check_shapes(fn, mesh=MESH).results
    assert result.status == "failed"
    assert result.message.startswith("the return value is not what is annotated: ")


Whole = Annotated[Float[Array, "b n"], P()]


@filter_shard_map
def gathered(x: Rows) -> Annotated[Float[Array, "4*b n"], P()]:
    return jax.lax.all_gather(x, "data", tiled=True)


@filter_shard_map
def not_gathered(x: Rows) -> Whole:
    return jax.lax.all_gather(x, "data", tiled=True)


@filter_shard_map
def scattered(x: Annotated[Float[Array, "4*b n"], P()]) -> Rows:
    return jax.lax.psum_scatter(x, "data", tiled=True)


@filter_shard_map
def not_scattered(x: Annotated[Float[Array, "4*b n"], P()]) -> Annotated[Float[Array, "4*b n"], P("data")]:
    return jax.lax.psum_scatter(x, "data", tiled=True)


@filter_jit
@filter_shard_map
def centred(x: Rows) -> Rows:
    total: Float[Array, "n"] = jax.lax.psum(x.sum(0), "data")
    return x - total / jax.lax.axis_size("data")


@filter_jit
@filter_shard_map
def badly_centred(x: Rows) -> Rows:
    total: Float[Array, "n"] = jax.lax.psum(x.sum(1), "data")
    return x - total[:, None]


@pytest.mark.parametrize("fn", [gathered, scattered, centred], ids=lambda fn: fn.__name__)
def test_of_a_shard_map_the_shapes_of_one_block_are_proved_with_its_collectives(fn):
    (result,) = check_shapes(fn, mesh=MESH).results
    assert (result.status, result.message) == ("proved", SOUND[mean])
    (without,) = check_shapes(fn).results
    assert (without.status, without.message) == (
        "skipped",
        "it needs a mesh with the axis `data`, and none is set",
    )


@pytest.mark.parametrize(
    ("fn", "found"),
    [(not_gathered, "f32[4*b,n]"), (not_scattered, "f32[b,n]"), (badly_centred, "f32[b]")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_of_a_shard_map_a_wrong_block_is_a_failure_that_names_the_mesh(fn, found):
    (result,) = check_shapes(fn, mesh=MESH).results
    assert (result.status, result.found) == ("failed", found)
    assert "the mesh data=4, model=2 (as one block)" in result.case


def test_a_shard_map_over_an_axis_that_the_mesh_lacks_is_skipped():
    (result,) = check_shapes(mean, mesh={"rows": 2}).results
    assert (result.status, result.message) == (
        "skipped",
        "it needs a mesh with the axis `data`, and that which is set has rows=2",
    )


def other_axis(x: Rows) -> Annotated[Float[Array, "b n"], P(None, "model")]:
    return x * 2


def by_columns(
    x: Rows, w: Annotated[Float[Array, "n m"], P(None, "model")]
) -> Annotated[Float[Array, "b m"], P("data", "model")]:
    return x @ w


def turned(x: Rows) -> Annotated[Float[Array, "n b"], P("data")]:
    return x.T


def test_the_sharding_of_a_result_is_proved_under_explicit_axes():
    (result,) = check_shapes(by_columns, mesh=MESH).results
    assert (result.status, result.message) == ("proved", EXPLICIT)
    (result,) = check_shapes(other_axis, mesh=MESH).results
    assert (result.status, result.message, result.expected, result.found) == (
        "failed",
        "the return value is not what is annotated: it is split in another way",
        "PartitionSpec(None, 'model')",
        "PartitionSpec('data', None)",
    )
    assert check_shapes(turned, mesh=MESH).status == "failed"
    assert check_shapes(turned).status == "proved"  # its shape is right


def of_experts(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return filter_shard(x, P("expert"))


def plain(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    return x


def test_a_function_for_another_mesh_is_skipped_and_one_that_needs_none_is_judged_as_ever():
    (result,) = check_shapes(of_experts, mesh=MESH).results
    assert result.status == "skipped"
    assert result.message.startswith("it needs another mesh: ")
    (result,) = check_shapes(plain, mesh=MESH).results
    assert (result.status, result.message) == ("proved", "for all sizes")
