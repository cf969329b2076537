"""Which axis of each leaf is mapped: of numbers that other transforms have traced, of results in fields."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float
from numpy.testing import assert_allclose

from typedfilter import (
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


@pytest.mark.parametrize("tree", [{"w": W, "t": jnp.float32(2)}, OnlyArrays(W, jnp.float32(2))])
def test_an_array_that_never_was_a_number_is_not_broadcast_silently(tree):
    with pytest.raises(VmapAxisError):
        filter_jit(filter_vmap(lambda tree: 0))(tree)


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
