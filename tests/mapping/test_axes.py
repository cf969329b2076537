"""Which axis of each leaf is mapped: of numbers that other transforms have traced, of results in fields."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from numpy.testing import assert_allclose

from typedfilter import (
    AnnotationError,
    Static,
    Traced,
    VmapAxis,
    VmapAxisError,
    check_shapes,
    explain,
    filter_grad,
    filter_jit,
    filter_pmap,
    filter_vmap,
    pytree_dataclass,
)

W = jnp.arange(6.0).reshape(3, 2)


@pytree_dataclass
class Scaled:
    w: Float[Array, "n"]
    t: Traced[float] = 2.0


@pytree_dataclass
class OnlyArrays:
    w: Float[Array, "n"]
    t: Float[Array, ""]


def field(d):
    return d.w * d.t


def of_traced_tuple(w: Float[Array, "n"], k: Traced[tuple[float, float]]):
    return w * k[0]


def of_array_dict(w: Float[Array, "n"], k: dict[str, Float[Array, ""]]):
    return w * k["a"]


def of_traced_model(d: Traced[Any]):
    return d["w"] * d["t"]


CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "traced field": (field, (Scaled(W, 2.0),)),
    "array field": (field, (OnlyArrays(W, 2.0),)),  # a number, which is traced too
    "traced tuple": (of_traced_tuple, (W, (2.0, 1.0))),
    "dictionary of arrays": (of_array_dict, (W, {"a": 2.0})),
    "traced tree": (of_traced_model, ({"w": W, "t": 2.0},)),
}
ALL = pytest.mark.parametrize(("f", "args"), CALLS.values(), ids=CALLS)


@ALL
@pytest.mark.parametrize("transform", [filter_vmap, lambda f: filter_jit(filter_vmap(f)), filter_pmap])
def test_a_number_is_broadcast_whatever_traces_it(f, args, transform):
    assert_allclose(transform(f)(*args), 2 * W)


@ALL
def test_a_number_is_broadcast_where_it_is_differentiated(f, args):
    def loss(every):
        return filter_vmap(f)(*every).sum()

    expected = jax.grad(lambda w: (2 * w).sum())(W)
    for differentiate in (filter_grad, lambda f: filter_jit(filter_grad(f)), jax.grad):
        assert_allclose(
            jax.tree.leaves(differentiate(loss)(args))[-1 if f is of_traced_model else 0], expected
        )


def test_a_number_is_broadcast_in_a_loop():
    def step(carry, _):
        return carry, filter_vmap(field)(carry)

    _, out = jax.lax.scan(step, Scaled(W, 2.0), length=2)
    assert_allclose(out, jnp.stack([2 * W] * 2))


def test_a_traced_field_that_holds_an_array_is_mapped():
    each = jnp.arange(3.0)
    expected = W * each[:, None]
    for transform in (filter_vmap, lambda f: filter_jit(filter_vmap(f))):
        assert_allclose(transform(field)(Scaled(W, each)), expected)  # one a model
        assert_allclose(transform(field)(OnlyArrays(W, each)), expected)


def test_a_scalar_array_of_which_no_annotation_speaks_is_not_broadcast_silently():
    with pytest.raises(VmapAxisError):
        filter_jit(filter_vmap(lambda tree: 0))({"w": W, "t": jnp.float32(2)})


@pytest.mark.parametrize("number", [2.0, jnp.asarray(2.0), jnp.float32(2), np.float32(2)])
def test_how_weak_its_type_is_does_not_decide_whether_a_scalar_is_broadcast(number):
    def by_annotation(w: Float[Array, "2"], t: Float[Array, ""]):
        return w * t

    for transform in (filter_vmap, lambda f: filter_jit(filter_vmap(f)), filter_pmap):
        assert_allclose(transform(by_annotation)(W, number), 2 * W)
        assert_allclose(transform(field)(OnlyArrays(W, number)), 2 * W)


def test_a_number_that_is_given_an_axis_becomes_an_array_of_as_many():
    for transform in (lambda f: f, filter_jit):
        ones = transform(filter_vmap(lambda x: x, out_axes=0, axis_size=5))(1)
        assert_allclose(ones, jax.vmap(lambda: 1, axis_size=5)())
        mixed = transform(
            filter_vmap(lambda w: {"w": w, "n": 2, "s": "s"}, out_axes={"w": 0, "n": 0, "s": None})
        )
        assert_allclose(mixed(W)["n"], [2, 2, 2])
        assert mixed(W)["s"] == "s"
    assert filter_vmap(lambda x: x, axis_size=5)(1) == 1  # by the rule, only arrays have one


def test_a_map_over_nothing_runs_once_where_the_result_is_to_have_no_axis():
    ran = []

    def make(n=2, *, scale: Static[float] = 1.0):
        ran.append(n)
        return jnp.full(n, scale)

    def annotated(n: int) -> Annotated[Float[Array, "n"], VmapAxis[None]]:
        return make(n)

    for transform in (lambda f: f, filter_jit):
        assert_allclose(transform(filter_vmap(make, out_axes=None))(), [1, 1])
        assert_allclose(transform(filter_vmap(make, out_axes=None))(3, scale=2.0), [2, 2, 2])
        assert_allclose(transform(filter_vmap(jnp.sin, in_axes=None, out_axes=None))(W), jnp.sin(W))
        assert_allclose(transform(filter_vmap(annotated))(1), [1])
        with pytest.raises(VmapAxisError, match="got no array to map over"):
            transform(filter_vmap(make, in_axes=None))(3)
    assert len(ran) == 2 * 3
    assert_allclose(filter_vmap(make, axis_size=3)(1), jnp.ones((3, 1)))


def test_an_axis_of_an_argument_that_is_left_to_its_default_is_refused():
    def f(x, y=W, n=1):
        return x + y * n

    assert_allclose(filter_vmap(f, in_axes={"y": 0})(W, W), 2 * W)
    assert_allclose(filter_vmap(lambda x, y=W[0]: x + y, in_axes={"x": 0, "y": None})(W), W + W[0])
    with pytest.raises(VmapAxisError) as refused:
        filter_vmap(f, in_axes={"x": 0, "y": 0})(W, n=2)
    assert str(refused.value).splitlines() == [
        "f(): argument `y` is not passed, and in_axes says 0 of it",
        "  expected: an argument of that name for each entry of in_axes",
        "  found: a call with x, n",
        "  fix: pass it by name, or drop its entry: in_axes says nothing of a default",
    ]


@pytest.mark.parametrize("in_axes", [(0, 0), [0, 0], (None, 0)])
def test_an_entry_for_an_argument_that_is_left_out_is_refused_by_place_too(in_axes):
    def f(x, y=W):
        return x * y

    with pytest.raises(VmapAxisError, match=r"argument `y` is not passed, and in_axes says 0 of it"):
        filter_vmap(f, in_axes=in_axes)(W)
    assert_allclose(filter_vmap(f, in_axes=(0, 0))(W, y=W), W * W)
    assert_allclose(filter_vmap(f, in_axes=(0, None))(W), jax.vmap(f)(W))


def test_explain_tells_that_it_is_broadcast():
    shown = explain(filter_vmap(field), Scaled(W, jnp.float32(2.0)))  # as inside of jit
    assert [row.effects for row in shown.leaves or ()] == [("axis 0",), ("broadcast",)]


# --------------------------------------------------------------------- fields that are broadcast, in results


@pytree_dataclass
class Shared:
    w: Float[Array, "n"]
    b: VmapAxis[None, Float[Array, "n"]]


B = jnp.array([1.0, 2.0])


def loss(model: Shared) -> Float[Array, ""]:
    return (model.w * model.b).sum()


@pytest.mark.parametrize("jit", [lambda f: f, filter_jit], ids=["eager", "jit"])
def test_the_gradients_for_what_is_shared_are_one_for_each_example(jit):
    grads = jit(filter_vmap(filter_grad(loss)))(Shared(W, B))
    assert_allclose(grads.w, jnp.stack([B] * 3))
    assert_allclose(grads.b, W)


def test_a_field_without_an_axis_gets_one_where_it_differs_between_examples():
    def both(x):
        return {"differs": Shared(x, x * 2), "same": Shared(x, B)}

    out = filter_vmap(both)(W)
    assert_allclose(out["differs"].b, 2 * W)
    assert_allclose(out["same"].b, B)


def test_a_map_around_makes_no_difference():
    def outer(b):
        return filter_vmap(lambda x: Shared(x, b))(W)

    out = filter_vmap(outer)(W)  # of the same size
    assert out.w.shape == (3, 3, 2)
    assert_allclose(out.b, W)


def test_it_is_differentiated():
    def total(b):
        return filter_vmap(lambda x: Shared(x, x * b))(W).b.sum()

    assert_allclose(jax.grad(total)(B), W.sum(0))


def test_without_an_axis_by_option_or_return_annotation_it_is_refused():
    def annotated(x) -> Annotated[Any, VmapAxis[None]]:
        return x

    for mapped in (filter_vmap(annotated), filter_vmap(lambda x: Shared(x, x), out_axes=None)):
        with pytest.raises(VmapAxisError):
            mapped(W)


@filter_vmap
def make(x: Float[Array, "n"]) -> Shared:
    return Shared(x, x)


@filter_vmap
def keep(model: Shared) -> Shared:
    return model


@filter_vmap
def wrong(x: Float[Array, "n"]) -> Shared:
    return Shared(x, x[:-1])


def test_check_knows_it_too():
    functions = [filter_vmap(filter_grad(loss)), make, keep, wrong]
    assert [result.status for f in functions for result in check_shapes(f)] == [
        "proved",
        "proved",
        "proved",
        "failed",
    ]


def test_each_element_of_a_returned_tuple_may_say_where_its_axis_goes():
    def f(x: Float[Array, "n"]) -> Any:
        return x, 2 * x, jnp.ones(())

    vector: Any = Float[Array, "n"]
    none: Any = VmapAxis[None, Float[Array, ""]]
    x = jnp.arange(6.0).reshape(2, 3)
    for last in (VmapAxis[-1, vector], Annotated[vector, VmapAxis[-1]]):
        f.__annotations__["return"] = tuple[last, vector, none]
        transposed, doubled, one = filter_vmap(f)(x)
        np.testing.assert_array_equal(transposed, x.T)
        np.testing.assert_array_equal(doubled, 2 * x)
        assert one.shape == ()


def test_an_axis_deeper_in_a_result_is_refused():
    def f(x: Float[Array, "n"]) -> tuple[list[Annotated[Float[Array, "n"], VmapAxis[1]]], int]:
        return [x], 1

    with pytest.raises(AnnotationError, match="a marker inside of another type can't be honoured"):
        filter_vmap(f)
