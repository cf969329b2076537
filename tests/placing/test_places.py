"""`PartitionSpec` in annotations: where the arrays of a compiled function live, on eight devices."""

from __future__ import annotations

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Float
from meshes import AUTO, MESHES, pieces, set_mesh

from typedfilter import (
    AnnotationError,
    Donate,
    ShapeError,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_value_and_grad,
    filter_vmap,
)
from typedfilter._placing.bodies import no_placement

BOTH = PartitionSpec("data", "model")

Batch = Annotated[Float[Array, "b n"], PartitionSpec("data")]
X = jnp.arange(32.0).reshape(8, 4)


def inside(seen, name="x"):
    """Record, while a compiled program runs, what of an array each device holds."""
    return lambda array: jax.debug.inspect_array_sharding(array, callback=lambda s: seen.update({name: s}))


@MESHES
def test_an_argument_is_split_as_annotated(mesh):
    seen = {}

    @filter_jit
    def f(x: Annotated[Float[Array, "b n"], BOTH]):
        y = x * 2
        inside(seen)(y)
        return y

    with set_mesh(mesh):
        out = f(X)
    assert np.array_equal(out, 2 * X)
    assert seen["x"].shard_shape((8, 4)) == (2, 2)


@MESHES
def test_a_result_is_split_as_annotated(mesh):
    @filter_jit
    def f(x: Float[Array, "b n"]) -> Annotated[Float[Array, "b n"], BOTH]:
        return x * 2

    with set_mesh(mesh):
        out = f(X)
    assert np.array_equal(out, 2 * X)
    assert pieces(out) == (2, 2)


@MESHES
def test_a_result_that_the_function_closes_over_is_split_as_annotated(mesh):
    @filter_jit
    def f() -> Annotated[Float[Array, "b n"], BOTH]:
        return X

    with set_mesh(mesh):
        assert pieces(f()) == (2, 2)


@MESHES
def test_every_array_of_a_tree_is_split(mesh):
    @filter_jit
    def f(tree: Annotated[dict, PartitionSpec("data")]) -> Annotated[dict, PartitionSpec("data")]:
        return {**tree, "y": tree["x"].sum(1)}

    with set_mesh(mesh):
        out = f({"x": X, "name": "n"})
    assert out["name"] == "n"
    assert pieces(out["x"]) == (2, 4)
    assert pieces(out["y"]) == (2,)


def test_keyword_variadic_and_donated_arguments_are_split():
    seen = {}

    @filter_jit
    def f(a: Donate[Batch], *args: Batch, k: Batch, **kwargs: Batch):
        for name, x in {"a": a, "args": args[0], "k": k, **kwargs}.items():
            inside(seen, name)(x * 2)
        return a

    with set_mesh(AUTO):
        f(X + 0, X, k=X, z=X)
    assert {name: s.shard_shape((8, 4)) for name, s in seen.items()} == dict.fromkeys(
        ["a", "args", "k", "z"], (2, 4)
    )


@MESHES
def test_under_vmap_the_spec_is_about_one_example(mesh):
    def f(
        x: Annotated[Float[Array, "n"], PartitionSpec("model")],
    ) -> Annotated[Float[Array, "n"], PartitionSpec("model")]:
        return x + 1

    with set_mesh(mesh):
        out = filter_jit(filter_vmap(f))(X)
    assert np.array_equal(out, X + 1)
    assert pieces(out) == (8, 2)


def test_a_training_step_is_data_parallel():
    def loss(
        w: Float[Array, "n"], x: Batch, y: Annotated[Float[Array, "b"], PartitionSpec("data")]
    ) -> Float[Array, ""]:
        return jnp.mean((x @ w - y) ** 2)

    @filter_jit
    def step(
        w: Float[Array, "n"], x: Batch, y: Float[Array, "b"]
    ) -> Annotated[Float[Array, "n"], PartitionSpec()]:
        return w - 0.01 * filter_grad(loss)(w, x, y)

    w, y = jnp.ones(4), jnp.arange(8.0)
    with set_mesh(AUTO):
        out = step(w, X, y)
    np.testing.assert_allclose(out, w - 0.01 * jax.grad(loss)(w, X, y), rtol=1e-5)
    assert pieces(out) == (4,)
    assert len(out.sharding.device_set) == 8


def test_another_mesh_is_another_compilation():
    traces = []

    @filter_jit
    def f(x: Batch) -> Batch:
        traces.append(x)
        return x * 2

    other = jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    for mesh, shape in ((AUTO, (2, 4)), (other, (4, 4)), (AUTO, (2, 4))):
        with set_mesh(mesh):
            assert pieces(f(X)) == shape
    assert len(traces) == 2


def test_outside_of_jit_nothing_is_moved():
    def f(x: Batch) -> Float[Array, ""]:
        return jnp.sum(x**2)

    value, grad = filter_value_and_grad(f)(X)
    assert value == jnp.sum(X**2)
    assert np.array_equal(grad, 2 * X)


def test_shapes_can_be_asked_for_without_a_mesh():
    @filter_jit
    def f(x: Batch) -> Batch:
        return x

    with no_placement():
        assert filter_eval_shape(f, X).shape == (8, 4)


def test_without_a_mesh_it_is_refused():
    @filter_jit
    def f(x: Batch):
        return x

    with pytest.raises(AnnotationError):
        f(X)


@pytest.mark.parametrize(
    ("annotation", "error"),
    [
        (Annotated[Float[Array, "b n"], PartitionSpec("rows")], AnnotationError),
        (Annotated[Float[Array, "b n"], PartitionSpec(None, None, "data")], ShapeError),
    ],
    ids=["axis", "rank"],
)
@pytest.mark.parametrize("where", ["x", "return"])
def test_a_spec_that_does_not_fit_is_refused(annotation, error, where):
    def f(x):
        return x

    f.__annotations__ = {where: annotation}
    with set_mesh(AUTO), pytest.raises(error) as caught:
        filter_jit(f)(X)
    assert caught.value.parameter == where
