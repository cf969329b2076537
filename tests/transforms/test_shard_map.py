"""`filter_shard_map`: one block of each array on each device, against NumPy and plain JAX."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Float
from meshes import AUTO, set_mesh
from numpy.testing import assert_allclose

from typedfilter import (
    AnnotationError,
    Donate,
    ShapeError,
    Static,
    Traced,
    explain,
    filter_checkpoint,
    filter_grad,
    filter_jit,
    filter_shard,
    filter_shard_map,
    filter_value_and_grad,
    filter_vmap,
    pytree_dataclass,
)

P = PartitionSpec
DATA = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
EXPLICIT = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(16, 8)), jnp.float32)
W = jnp.asarray(RANDOM.normal(size=(8, 4)), jnp.float32)
A = jnp.asarray(RANDOM.normal(size=(8, 6)), jnp.float32)
B = jnp.asarray(RANDOM.normal(size=(6, 4)), jnp.float32)
Rows = Annotated[Float[Array, "b n"], P("data")]
close = {"rtol": 1e-5, "atol": 1e-5}


@pytree_dataclass
class Model:
    w: Float[Array, "n m"]
    activation: Any = jnp.tanh


@filter_shard_map
def loss(model: Model, x: Rows, power: Static[int] = 2) -> Float[Array, ""]:
    return jax.lax.pmean(jnp.mean(model.activation(x @ model.w) ** power), "data")


def test_a_mean_over_blocks_is_that_of_the_whole():
    with set_mesh(DATA):
        assert_allclose(loss(Model(W), X), jnp.mean(jnp.tanh(X @ W) ** 2), **close)


def test_its_gradient_in_a_model_that_is_copied_is_that_of_the_whole():
    with set_mesh(DATA):
        grad = filter_grad(loss)(Model(W), X)
    assert_allclose(grad.w, jax.grad(lambda w: jnp.mean(jnp.tanh(X @ w) ** 2))(W), **close)


def test_both_axes_of_a_product_are_taken_apart():
    @filter_shard_map
    def product(
        x: Annotated[Float[Array, "b k"], P("data", "model")], w: Annotated[Float[Array, "k m"], P("model")]
    ) -> Annotated[Float[Array, "b m"], P("data")]:
        assert (x.shape, w.shape) == ((4, 4), (4, 4))
        return jax.lax.psum(x @ w, "model")

    with set_mesh(AUTO):
        out = product(X, W)
    assert_allclose(out, X @ W, **close)
    assert out.sharding.is_equivalent_to(NamedSharding(AUTO, P("data")), 2)


@pytree_dataclass
class Wide:
    a: Annotated[Float[Array, "n h"], P(None, "model")]
    b: Annotated[Float[Array, "h m"], P("model")]

    @filter_shard_map(out_specs=P())
    def __call__(self, x: Float[Array, "b n"]):
        assert (self.a.shape, self.b.shape) == ((8, 3), (3, 4))
        return jax.lax.psum(jnp.tanh(x @ self.a) @ self.b, "model")


def test_fields_of_a_model_say_how_they_are_taken_apart():
    with set_mesh(AUTO):
        assert_allclose(Wide(A, B)(X), jnp.tanh(X @ A) @ B, **close)


def test_options_by_name_and_a_mesh_of_its_own():
    def f(x):
        return 2 * x + jax.lax.axis_index("data")

    mapped = filter_shard_map(f, mesh=DATA, in_specs={"x": P("data")}, out_specs=P("data"))
    assert_allclose(mapped(X), 2 * X + np.repeat(np.arange(8), 2)[:, None], **close)


@pytest.mark.skipif(
    jax.__version_info__ < (0, 8), reason="the partitioner of this release has no such places"
)
def test_axes_that_are_not_mapped_are_the_compiler_s():
    @filter_shard_map(axis_names={"data"})
    def f(x: Rows) -> Rows:
        x = filter_shard(x, P(None, "model"))
        return x - jax.lax.pmean(x.mean(0), "data")

    with set_mesh(AUTO):
        assert_allclose(filter_jit(f)(X), X - X.mean(0), **close)


def test_results_may_hold_anything():
    @filter_shard_map(out_specs=(P("data"), None, None))
    def f(x: Rows):
        return 2 * x, "train", None

    with set_mesh(DATA):
        for run in (f, filter_jit(f)):
            out, *rest = run(X)
            assert_allclose(out, 2 * X, **close)
            assert rest == ["train", None]


def test_blocks_go_round_a_ring():
    @filter_shard_map
    def shifted(x: Rows) -> Rows:
        return jax.lax.ppermute(x, "data", [(i, (i + 1) % 8) for i in range(8)])

    with set_mesh(DATA):
        assert_allclose(shifted(X), jnp.roll(X, 2, 0), **close)


def test_weights_are_gathered_and_their_gradients_scattered():
    @filter_shard_map
    def step(
        w: Annotated[Float[Array, "k m"], P("data")], x: Rows
    ) -> Annotated[Float[Array, "k m"], P("data")]:
        whole = jax.lax.all_gather(w, "data", axis=0, tiled=True)
        grad = filter_grad(lambda w: jnp.mean((x @ w) ** 2))(whole)
        return w - 0.01 * jax.lax.psum_scatter(grad, "data", scatter_dimension=0, tiled=True) / 8

    with set_mesh(DATA):
        out = step(W, X)
    assert_allclose(out, W - 0.01 * jax.grad(lambda w: jnp.mean((X @ w) ** 2))(W), **close)
    assert out.sharding.is_equivalent_to(NamedSharding(DATA, P("data")), 2)


def test_maps_stand_outside_and_inside():
    @filter_shard_map
    def f(w: Float[Array, "n m"], x: Rows) -> Annotated[Float[Array, "b m"], P("data")]:
        return filter_vmap(lambda row: jnp.tanh(row @ w))(x)

    with set_mesh(DATA):
        out = filter_vmap(f, in_axes=(0, None))(jnp.stack([W, W + 1]), X)
    assert_allclose(out, jnp.stack([jnp.tanh(X @ W), jnp.tanh(X @ (W + 1))]), **close)


def test_loops_of_checkpoints_are_differentiated_from_outside():
    @filter_shard_map
    def total(w: Float[Array, "n n"], x: Rows) -> Float[Array, ""]:
        layer = filter_checkpoint(lambda x: jnp.tanh(x @ w))
        x, _ = jax.lax.scan(lambda x, _: (layer(x), None), x, None, length=3)
        return jax.lax.psum(jnp.sum(x**2), "data")

    def plain(w):
        x = X
        for _ in range(3):
            x = jnp.tanh(x @ w)
        return jnp.sum(x**2)

    square = W @ W.T / 8
    with set_mesh(DATA):
        value, grad = filter_value_and_grad(total)(square, X)
    assert_allclose(value, plain(square), rtol=1e-4)
    assert_allclose(grad, jax.grad(plain)(square), rtol=1e-3, atol=1e-3)


def test_state_is_donated_under_filter_jit():
    @filter_shard_map
    def step(state: Donate[Rows]) -> Rows:
        return state + 1

    with set_mesh(DATA):
        with pytest.raises(
            AnnotationError, match=r"argument `state` is annotated Donate\[...\], and nothing"
        ):
            step(X)
        jitted = filter_jit(step)
        x = jax.device_put(X, NamedSharding(DATA, P("data")))
        assert "may-alias" in jitted.lower(x).compile().as_text()
        before = sorted(shard.data.unsafe_buffer_pointer() for shard in x.addressable_shards)
        out = jitted(x)
    assert x.is_deleted()
    assert sorted(shard.data.unsafe_buffer_pointer() for shard in out.addressable_shards) == before


def test_on_an_explicit_mesh_types_say_how_arrays_are_taken_apart():
    @filter_shard_map(out_specs=P("data"))
    def f(x):
        return 2 * x

    with set_mesh(EXPLICIT):
        x = jax.device_put(X, P("data"))
        out = filter_jit(f)(x)
        assert jax.typeof(out).sharding.spec[0] == "data"
    assert_allclose(out, 2 * X, **close)


def test_arguments_by_name_and_numbers_that_are_traced():
    @filter_shard_map
    def f(x: Rows, *, scale: Traced[float], shift: Annotated[Float[Array, "b n"], P("data")]) -> Rows:
        return x * scale + shift

    with set_mesh(DATA):
        assert_allclose(f(X, scale=2.0, shift=X), 3 * X, **close)
        assert_allclose(f(shift=X, scale=3.0, x=X), 4 * X, **close)


def test_another_static_value_is_another_trace():
    traces = []

    @filter_shard_map
    def f(x: Rows, power: Static[int]) -> Rows:
        traces.append(power)
        return x**power

    jitted = filter_jit(f)
    with set_mesh(DATA):
        for power in (2, 2, 3, 2):
            assert_allclose(jitted(X, power), X**power, **close)
    assert traces == [2, 3]


def test_shapes_are_those_of_one_block():
    def four(x: Annotated[Float[Array, "4 n"], P("data")]) -> Float[Array, ""]:
        return jax.lax.psum(x.sum(), "data")

    def sixteen(x: Annotated[Float[Array, "16 n"], P("data")]) -> Float[Array, ""]:
        return jax.lax.psum(x.sum(), "data")

    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    with set_mesh(mesh):
        assert_allclose(filter_shard_map(four)(X), X.sum(), rtol=1e-4)
        with pytest.raises(ShapeError, match="in one block") as caught:
            filter_shard_map(sixteen)(X)
    assert caught.value.parameter == "x"


def test_the_specs_are_the_shardings_of_the_compiled_function():
    with set_mesh(DATA):
        compiled = filter_jit(loss).lower(Model(W), X).compile()
    found = jax.tree.leaves(compiled.input_shardings)
    assert any(s.is_equivalent_to(NamedSharding(DATA, P("data")), 2) for s in found)


@pytest.mark.parametrize("inner", [filter_checkpoint, filter_jit, lambda f: filter_jit(filter_checkpoint(f))])
def test_transforms_between_it_and_the_function_see_blocks(inner):
    def f(x: Rows) -> Rows:
        assert x.shape == (2, 8)
        return jnp.tanh(x)

    mapped = filter_shard_map(inner(f))
    with set_mesh(DATA):
        for run in (mapped, filter_jit(mapped)):
            assert_allclose(run(X), jnp.tanh(X), **close)
        grads = filter_jit(filter_grad(lambda x: mapped(x).sum()))(X)
    assert_allclose(grads, 1 - jnp.tanh(X) ** 2, **close)


def test_explain_says_which_block():
    shown = str(explain(loss))
    assert "blocks of axis 0 along data" in shown
    assert "copied" in shown


# Errors ---------------------------------------------------------------------------------------------------


def text(run, *args):
    with pytest.raises((AnnotationError, ShapeError)) as caught:
        run(*args)
    return str(caught.value).splitlines()[0]


def rows(x: Rows) -> Rows:
    return x


def test_errors_name_the_argument_and_the_axis():
    def model_axis(
        x: Annotated[Float[Array, "b n"], P("model")],
    ) -> Annotated[Float[Array, "b n"], P("model")]:
        return x

    def deep(x: Annotated[Float[Array, "b n"], P(None, None, "data")]) -> Float[Array, ""]:
        return x.sum()

    def differs(x: Rows) -> dict[str, Array]:
        return {"loss": x.sum()}

    assert text(filter_shard_map(rows), X).endswith("needs a mesh, and none is set")
    with set_mesh(DATA):
        assert text(filter_shard_map(rows), X[:7]) == (
            "rows(): argument `x` has size 7 along axis 0, which is split into 8 equal parts"
        )
        assert text(filter_shard_map(model_axis), X).endswith(
            "argument `x` is to be split along 'model', which is no axis of the mesh"
        )
        assert text(filter_shard_map(deep), X).endswith(
            "argument `x` has 2 dimensions, but PartitionSpec(None, None, 'data') is for 3 or more"
        )
        assert text(filter_shard_map(differs), X).endswith(
            "the return value['loss'] differs along 'data': psum or pmean it, or put 'data' in its spec"
        )
        flat = filter_shard_map(lambda x: {"a": x.sum(), "n": 1}, in_specs=P("data"), out_specs=P("data"))
        for run in (flat, filter_jit(flat)):
            assert text(run, X).endswith(
                "the return value['a'] has 0 dimensions, but PartitionSpec('data') is for 1 or more"
            )
        inside = filter_shard_map(lambda x: filter_jit(rows)(x), in_specs=P("data"), out_specs=P("data"))
        assert text(inside, X).endswith("argument `x` is to be split along 'data', and 'data' is manual here")
    assert text(lambda: filter_shard_map(model_axis, axis_names={"data"})).endswith(
        "argument `x` is to be split along 'model', which is not in axis_names"
    )
    assert "is not guessed" in text(lambda: filter_shard_map(lambda x: x))


def test_an_array_that_is_typed_otherwise_is_refused():
    with set_mesh(EXPLICIT):
        x = jax.device_put(jnp.ones((16, 8)), P(None, "data"))
        with pytest.raises(ShapeError, match="is split otherwise in its type"):
            filter_shard_map(rows)(x)


def test_an_array_that_is_whole_on_an_explicit_mesh_is_split_before_the_call():
    def double(model):
        return jax.tree.map(lambda leaf: leaf * 2, model)

    double.__qualname__ = "double"
    f = filter_shard_map(double, in_specs=P("data"), out_specs=P("data"))
    with set_mesh(EXPLICIT):
        split = filter_shard(X, P("data"))
        assert_allclose(f({"split": split, "whole": filter_shard(X, P("data"))})["whole"], 2 * X)
        if jax.__version_info__ < (0, 8):  # splits it by itself
            assert_allclose(f({"split": split, "whole": X})["whole"], 2 * X)
            return
        with pytest.raises(ShapeError) as caught:
            f({"split": split, "whole": X})
    assert str(caught.value) == (
        "double(): argument `model['whole']` is whole, and on a mesh whose axes are Explicit JAX splits "
        "nothing by itself\n"
        "  expected: an array split by PartitionSpec('data')\n"
        "  found: f32[16,8], whole\n"
        "  fix: split it before the call: filter_shard(array, PartitionSpec('data'))"
    )


@pytest.mark.skipif(jax.__version_info__ < (0, 8), reason="fails in JAX's own partitioner")
def test_along_an_explicit_axis_beside_others_an_array_is_named_where_jax_minds():
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit, AxisType.Auto))

    def double(x):
        return x * 2

    double.__qualname__ = "double"
    split, whole = (
        filter_shard_map(double, in_specs=spec, out_specs=spec, axis_names={"data"})
        for spec in (P("data"), P())
    )
    with set_mesh(mesh):
        rows = filter_shard(X, P("data"))
        assert_allclose(split(rows), 2 * X)
        assert_allclose(whole(X), 2 * X)
        if jax.__version_info__ < (0, 12):
            assert_allclose(split(X), 2 * X)
            assert_allclose(whole(rows), 2 * X)
            return
        texts = []
        for call, array in ((split, X), (whole, rows)):
            with pytest.raises(ShapeError) as caught:
                call(array)
            texts += str(caught.value).splitlines()
    assert texts == [
        "double(): argument `x` is whole, and on a mesh whose axes are Explicit JAX splits nothing by itself",
        "  expected: an array split by PartitionSpec('data')",
        "  found: f32[16,8], whole",
        "  fix: split it before the call: filter_shard(array, PartitionSpec('data'))",
        "double(): argument `x` is split otherwise in its type than PartitionSpec() says",
        "  expected: PartitionSpec()",
        "  found: f32[16,8] split by PartitionSpec('data', None)",
        "  fix: move it before the call: filter_shard",
    ]


def test_for_a_mesh_that_is_passed_the_place_to_split_to_names_it():
    f = filter_shard_map(lambda x: x * 2, mesh=EXPLICIT, in_specs=P("data"), out_specs=P("data"))
    if jax.__version_info__ >= (0, 8):
        with pytest.raises(ShapeError) as caught:
            f(X)
        assert caught.value.fix == (
            "split it before the call: filter_shard(array, NamedSharding(mesh, PartitionSpec('data')))"
        )
    assert_allclose(f(filter_shard(X, NamedSharding(EXPLICIT, P("data")))), 2 * X)


def test_the_arrays_of_a_callable_are_inputs():
    @pytree_dataclass
    class Scale:
        factor: Float[Array, ""]

        def __call__(self, x: Rows) -> Rows:
            return x * self.factor

    with set_mesh(DATA):
        assert_allclose(filter_shard_map(Scale(jnp.float32(3)))(X), 3 * X, **close)
        assert_allclose(filter_jit(filter_shard_map(Scale(jnp.float32(3))))(X), 3 * X, **close)


def test_a_mesh_of_its_own_is_enough_for_annotations_under_filter_jit_as_well():
    traces = []

    @filter_shard_map(mesh=DATA)
    def doubled(x: Rows, n: Static[int] = 2) -> Rows:
        traces.append(x.shape)
        return x * n

    class Doubling:
        times = 2

        @filter_shard_map(mesh=DATA)
        def __call__(self, x: Rows) -> Rows:
            return x * self.times

    jitted = filter_jit(doubled)
    for run in (doubled, jitted, jitted, filter_jit(Doubling().__call__), filter_jit(lambda x: doubled(x))):
        out = run(X)
        assert_allclose(out, 2 * X, **close)
        assert out.sharding.is_equivalent_to(NamedSharding(DATA, P("data")), 2)
    assert traces == [(2, 8)] * 3
    compiled = jitted.lower(X).compile()
    assert_allclose(compiled(X), 2 * X, **close)
    with set_mesh(DATA):
        assert_allclose(filter_jit(doubled)(X), 2 * X, **close)


def test_what_is_no_mesh_and_axes_of_results_that_it_lacks_are_refused():
    def f(x):
        return x

    f.__qualname__ = "f"
    with pytest.raises(AnnotationError) as caught:
        filter_shard_map(f, mesh="data", in_specs=P("data"), out_specs=P("data"))
    assert str(caught.value).splitlines() == [
        "f(): is given mesh='data', which is no mesh of devices",
        "  expected: a jax.sharding.Mesh",
        "  found: str",
        "  fix: make one: jax.make_mesh(...)",
    ]
    for fn, specs in (
        (lambda x: x, P("rows")),
        (lambda x: (x,), (P("rows"),)),
        (lambda x: x, lambda leaf: P("rows")),
    ):
        mapped = filter_shard_map(fn, mesh=DATA, in_specs=P("data"), out_specs=specs)
        for run in (mapped, filter_jit(mapped)):
            assert text(run, X).endswith(
                "the return value is to be split along 'rows', which is no axis of the mesh"
            )
