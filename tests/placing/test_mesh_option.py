"""`filter_jit(mesh=)`: the ambient mesh of one function."""

from __future__ import annotations

import traceback
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float
from meshes import AUTO, MESHES, SET_MESH, set_mesh

from typedfilter import (
    AnnotationError,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_shard,
    filter_shard_map,
    filter_vmap,
    pytree_dataclass,
)

OTHER = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
X = jnp.arange(32.0).reshape(8, 4)
P = PartitionSpec
Rows = Annotated[Float[Array, "b n"], P("data")]


@pytree_dataclass
class Net:
    weight: Annotated[Float[Array, "b n"], P(None, "model")]


def is_split(array: Any, mesh: Any, spec: Any) -> bool:
    return bool(array.sharding.is_equivalent_to(NamedSharding(mesh, spec), array.ndim))


@MESHES
def test_specs_of_annotations_fields_options_and_the_body_are_about_it(mesh):
    def annotated(x: Rows) -> Rows:
        return x * 2

    def made(x: Any) -> Net:
        return Net(x)

    def inside(x: Any) -> Any:
        return filter_shard(x, P("data"))

    rows = filter_jit(lambda x: x, in_shardings=P("data"), out_shardings=P("data"), mesh=mesh)
    assert is_split(filter_jit(annotated, mesh=mesh)(X), mesh, P("data"))
    assert is_split(filter_jit(made, mesh=mesh)(X).weight, mesh, P(None, "model"))
    assert is_split(filter_jit(inside, mesh=mesh)(X), mesh, P("data"))
    assert is_split(rows(X), mesh, P("data"))
    assert is_split(filter_jit(filter_vmap(inside), mesh=mesh)(X[None]), mesh, P(None, "data"))
    assert jax.sharding.get_abstract_mesh().empty


@MESHES
def test_the_stages_have_it_too(mesh):
    def annotated(x: Rows) -> Rows:
        return x * 2

    f = filter_jit(annotated, mesh=mesh)
    assert is_split(f.lower(X).compile()(X), mesh, P("data"))
    for shape in (f.eval_shape(X), f.lower(X).out_info, f.trace(X).out_info, filter_eval_shape(f, X)):
        assert is_split(shape, mesh, P("data"))


def test_what_is_mapped_over_blocks_inside_has_it():
    @filter_shard_map
    def total(x: Rows) -> Annotated[Float[Array, ""], P()]:
        return jax.lax.psum(x.sum(), "data")

    assert float(filter_jit(total, mesh=AUTO)(X)) == float(X.sum())


def test_errors_end_at_the_line_of_the_caller():
    def fails(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        filter_jit(fails, mesh=AUTO)(X)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [
        frame.filename
        for frame in frames
        if "typedfilter" in frame.filename and __file__ not in frame.filename
    ] == []


@pytest.mark.parametrize("stage", ["lower", "trace", "eval_shape"])
def test_an_error_of_the_body_is_itself_ahead_of_time(stage):
    def fails(x: Rows) -> Rows:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        getattr(filter_jit(fails, mesh=AUTO), stage)(X)


def test_a_method_and_a_decorator_with_options():
    class Doubling:
        @filter_jit(mesh=AUTO)
        def __call__(self, x: Rows) -> Rows:
            return x * 2

    assert is_split(Doubling()(X), AUTO, P("data"))


def test_another_mesh_is_another_trace_and_the_same_is_not():
    traces: list[Any] = []

    def f(x: Rows) -> Rows:
        traces.append(x)
        return x

    for mesh in (AUTO, OTHER, AUTO, OTHER):
        assert is_split(filter_jit(f, mesh=mesh)(X), mesh, P("data"))
    assert len(traces) == 2
    with set_mesh(OTHER):
        assert is_split(filter_jit(f, mesh=AUTO)(X), AUTO, P("data"))


def test_inside_of_another_trace_it_has_to_be_the_ambient_one():
    f = filter_jit(lambda x: filter_shard(x, P("data")).sum(), mesh=AUTO)
    with set_mesh(AUTO):
        assert np.array_equal(filter_grad(f)(X), jnp.ones((8, 4)))
        assert float(jax.jit(f)(X)) == float(X.sum())
    with pytest.raises(AnnotationError) as caught:
        filter_grad(f)(X)
    where = "is called where another function is traced, which has no mesh or another one"
    assert str(caught.value).splitlines() == [
        f"<lambda>(): is given mesh=, and {where}",
        f"  fix: set the mesh around the outermost call: `with {SET_MESH}(mesh):`",
    ]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (
            {"mesh": "data"},
            [
                "<lambda>(): is given mesh='data', which is no mesh of devices",
                "  expected: a jax.sharding.Mesh",
                "  found: str",
                "  fix: make one: jax.make_mesh(...)",
            ],
        ),
        (
            {"mesh": AUTO, "backend": "cpu"},
            [
                "<lambda>(): is given two places: mesh and backend",
                "  expected: a device, a backend, or shardings",
                f"  found: mesh={AUTO!r}, backend='cpu'",
                "  fix: pass one of these; device=d is in_shardings=d, out_shardings=d",
            ],
        ),
    ],
)
def test_what_is_no_mesh_or_another_place_is_refused(options, lines):
    with pytest.raises(AnnotationError) as caught:
        filter_jit(lambda x: x, **options)
    assert str(caught.value).splitlines() == lines
