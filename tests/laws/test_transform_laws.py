"""The law of every transform: it is JAX's, of the function from the arrays that were taken out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from typedfilter import (
    filter_checkpoint,
    filter_closure_convert,
    filter_eval_shape,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_make_jaxpr,
    filter_pmap,
    filter_pure_callback,
    filter_shard,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
)

N = 3  # of every leading axis
few = settings(max_examples=min(25, settings().max_examples))  # most examples compile

# Random pytrees -------------------------------------------------------------------------------------------


def values(dtype: Any, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    return np.asarray(random.integers(-3, 4, shape) / (4 if jnp.issubdtype(dtype, np.inexact) else 1)).astype(
        dtype
    )


shapes = st.sampled_from([(N,), (N, 2)])
seeds = st.integers(0, 5)
floats = st.builds(values, st.just(np.float32), shapes, seeds)
others = st.builds(values, st.sampled_from([np.int32, np.bool_, np.int8]), shapes, seeds)
numpy_arrays = floats | others
arrays = numpy_arrays | numpy_arrays.map(jnp.asarray)
statics = st.sampled_from(
    [0, 2, True, -0.0, 1.5, 2j, "a", "", b"b", jnp.sin, print, int, (), frozenset({1}), None]
)


def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        | inner.map(lambda child: jax.tree_util.Partial(max, child))
    )


trees = st.recursive(arrays | statics, branches, max_leaves=6)


def is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray))


def is_inexact(leaf: Any) -> bool:
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, np.inexact)


class ByHand:
    """A tree taken apart without anything of ours: the chosen leaves, and how to put others there."""

    def __init__(self, tree: Any, choose: Callable[[Any], bool]) -> None:
        self.leaves, self.treedef = jax.tree_util.tree_flatten(tree)
        self.at = [i for i, leaf in enumerate(self.leaves) if choose(leaf)]
        self.chosen = [self.leaves[i] for i in self.at]

    def put(self, chosen: Any) -> Any:
        leaves = list(self.leaves)
        for i, value in zip(self.at, chosen, strict=True):
            leaves[i] = value
        return jax.tree_util.tree_unflatten(self.treedef, leaves)

    def like(self, chosen: Any) -> Any:
        leaves: list[Any] = [None] * len(self.leaves)
        for i, value in zip(self.at, chosen, strict=True):
            leaves[i] = value
        return jax.tree_util.tree_unflatten(self.treedef, leaves)


# Functions of any tree -------------------------------------------------------------------------------------


def change(tree: Any) -> Any:
    """Another tree: arrays are computed from arrays and from what is static, the rest stays or is counted."""
    leaves = jax.tree_util.tree_leaves(tree)
    factor = 1 + sum(isinstance(leaf, (int, str)) for leaf in leaves)
    changed = jax.tree_util.tree_map(lambda leaf: leaf * factor + leaf if is_array(leaf) else leaf, tree)
    return {"tree": changed, "static": [leaf for leaf in leaves if not is_array(leaf)], "factor": factor}


def total(tree: Any, scale: Any = 1.0) -> Any:
    """A scalar: every array counts, whether it is differentiable or not."""
    leaves = [leaf for leaf in jax.tree_util.tree_leaves(tree) if is_array(leaf)]
    return (
        sum((jnp.sum(jnp.sin(leaf * 1.0)) * (i + 1) for i, leaf in enumerate(leaves)), start=jnp.array(0.0))
        * scale
    )


def parts(tree: Any) -> Any:
    """A vector."""
    leaves = [leaf for leaf in jax.tree_util.tree_leaves(tree) if is_inexact(leaf)]
    return jnp.stack([jnp.sum(leaf**2) for leaf in leaves] + [jnp.array(1.0)])


def agree(one: Any, two: Any) -> None:
    """The same structure; the same shapes and dtypes, and values but for rounding; the same static leaves."""
    first, first_def = jax.tree_util.tree_flatten(one)
    second, second_def = jax.tree_util.tree_flatten(two)
    assert first_def == second_def
    for a, b in zip(first, second, strict=True):
        assert is_array(a) == is_array(b)
        if is_array(a):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(
                np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=1e-5, atol=1e-5
            )
        else:
            assert type(a) is type(b)
            assert repr(a) == repr(b)


def shown(tree: Any) -> Any:
    """The structure, and every leaf as text; of a struct its shape and dtype, without its weak type."""
    is_struct = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)
    text = lambda leaf: f"{leaf.dtype}{leaf.shape}" if is_struct(leaf) else repr(leaf)
    leaves, treedef = jax.tree_util.tree_flatten(tree)
    return list(map(text, leaves)), treedef


def applied(transform: Callable[..., Any], fun: Callable[..., Any], tree: Any) -> Any:
    """A transform of JAX's from arrays to arrays, applied by hand to the array part on both sides."""
    inside, outside = ByHand(tree, is_array), []

    def flat(chosen: Any) -> Any:
        outside[:] = [ByHand(fun(inside.put(chosen)), is_array)]
        return outside[0].chosen

    out = transform(flat)(inside.chosen)
    return outside[0].put(out)


# The laws -----------------------------------------------------------------------------------------------


@few
@given(trees)
def test_jit(tree):
    agree(filter_jit(change)(tree), applied(jax.jit, change, tree))


@few
@given(trees)
def test_compiled_ahead(tree):
    agree(filter_jit(change).lower(tree).compile()(tree), filter_jit(change)(tree))


@few
@given(trees)
def test_vmap(tree):
    assume(any(map(is_array, jax.tree_util.tree_leaves(tree))))
    agree(filter_vmap(change)(tree), applied(jax.vmap, change, tree))


@few
@given(trees, st.sampled_from([0, -1]))
def test_vmap_along_other_axes(tree, axis):
    inside = ByHand(tree, lambda leaf: is_array(leaf))
    assume(inside.chosen)
    turned = inside.put([np.moveaxis(np.asarray(array), 0, -1) for array in inside.chosen])
    expected = applied(lambda f: jax.vmap(f, in_axes=-1, out_axes=axis), change, turned)
    agree(filter_vmap(change, in_axes=-1, out_axes=axis)(turned), expected)


@settings(max_examples=min(10, settings().max_examples))
@given(trees)
def test_pmap(tree):
    assume(any(map(is_array, jax.tree_util.tree_leaves(tree))))
    agree(filter_pmap(change)(tree), applied(jax.vmap, change, tree))


@few
@given(trees)
def test_checkpoint(tree):
    agree(filter_checkpoint(change)(tree), applied(jax.checkpoint, change, tree))
    agree(
        filter_grad(filter_checkpoint(total))({"x": np.ones(2, np.float32), "t": tree}),
        filter_grad(total)({"x": np.ones(2, np.float32), "t": tree}),
    )


@few
@given(trees, st.sampled_from([1.0, 2]))
def test_grad(tree, scale):
    tree = [tree, np.ones(N, np.float32)]
    inside = ByHand(tree, is_inexact)
    value, grads = jax.value_and_grad(lambda chosen: total(inside.put(chosen), scale))(inside.chosen)
    agree(filter_grad(total)(tree, scale), inside.like(grads))
    agree(filter_value_and_grad(total)(tree, scale), (value, inside.like(grads)))


@few
@given(trees)
def test_auxiliary_data(tree):
    tree = [tree, np.ones(N, np.float32)]
    grads, aux = filter_grad(lambda tree: (total(tree), change(tree)), has_aux=True)(tree)
    agree(grads, filter_grad(total)(tree))
    agree(aux, change(tree))


@few
@given(trees)
def test_jvp(tree):
    inside = ByHand(tree, is_inexact)
    assume(inside.chosen)
    tangents = [np.ones_like(array) for array in inside.chosen]
    expected = jax.jvp(lambda chosen: total(inside.put(chosen)), (inside.chosen,), (tangents,))
    agree(filter_jvp(total, (tree,), (inside.like(tangents),)), expected)


@few
@given(trees)
def test_vjp(tree):
    inside = ByHand(tree, is_inexact)
    assume(inside.chosen)
    value, pull = jax.vjp(lambda chosen: total(inside.put(chosen)), inside.chosen)
    ours, our_pull = filter_vjp(total, tree)
    agree(ours, value)
    agree(our_pull(jnp.array(2.0)), (inside.like(pull(jnp.array(2.0))[0]),))


@settings(max_examples=min(15, settings().max_examples))
@given(trees)
def test_jacobians(tree):
    inside = ByHand(tree, is_inexact)
    assume(inside.chosen)
    for ours, theirs in ((filter_jacfwd, jax.jacfwd), (filter_jacrev, jax.jacrev)):
        expected = theirs(lambda chosen: parts(inside.put(chosen)))(inside.chosen)
        agree(ours(parts)(tree), inside.like(expected))


@settings(max_examples=min(10, settings().max_examples))
@given(trees)
def test_hessian(tree):
    inside = ByHand(tree, is_inexact)
    assume(inside.chosen)
    expected = jax.hessian(lambda chosen: total(inside.put(chosen)))(inside.chosen)
    agree(filter_hessian(total)(tree), inside.like([inside.like(row) for row in expected]))


@given(trees)
def test_shapes(tree):
    out = change(tree)
    struct = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    outside = ByHand(applied(jax.jit, change, tree), is_array)
    expected = outside.put([struct(leaf) for leaf in outside.chosen])
    inside = ByHand(tree, is_array)
    for example in (tree, inside.put([struct(leaf) for leaf in inside.chosen])):
        assert shown(filter_eval_shape(change, example)) == shown(expected)
    _, structs, static = filter_make_jaxpr(change)(tree)
    assert shown(structs) == shown(outside.like([struct(leaf) for leaf in outside.chosen]))
    agree(static, ByHand(out, is_array).put([None] * len(outside.chosen)))


@few
@given(trees, trees)
def test_closures(captured, tree):
    def closed_over(tree):
        return change({"captured": captured, "tree": tree})

    converted = filter_closure_convert(closed_over, tree)
    agree(converted(tree), applied(jax.jit, closed_over, tree))
    hoisted = [leaf for leaf in jax.tree_util.tree_leaves(captured) if isinstance(leaf, jax.Array)]
    assert {id(leaf) for leaf in hoisted} <= {id(const) for const in converted.consts}


@few
@given(trees)
def test_callbacks(tree):
    def on_host(tree):
        inside = ByHand(tree, is_array)
        return change(inside.put([np.asarray(array) for array in inside.chosen]))

    expected = applied(jax.jit, change, tree)
    inside = ByHand(expected, is_array)
    declared = inside.put([jax.ShapeDtypeStruct(array.shape, array.dtype) for array in inside.chosen])
    agree(filter_pure_callback(on_host, tree, result_shape_dtypes=declared), expected)
    agree(
        filter_jit(lambda tree: filter_pure_callback(on_host, tree, result_shape_dtypes=declared))(tree),
        expected,
    )


@few
@given(trees)
def test_moving(tree):
    device = jax.devices()[1]
    moved = filter_shard(tree, device)
    inside = ByHand(tree, is_array)
    agree(moved, inside.put([jnp.asarray(array) for array in inside.chosen]))
    assert all(leaf.devices() == {device} for leaf in jax.tree_util.tree_leaves(moved) if is_array(leaf))


@settings(max_examples=min(10, settings().max_examples))
@given(trees)
def test_stacks(tree):
    tree = [tree, np.ones((N, 2), np.float32)]
    inside = ByHand(tree, is_inexact)
    rest = ByHand(tree, lambda leaf: is_array(leaf) and not is_inexact(leaf))

    def by_hand(chosen, other):
        whole = ByHand(inside.put(chosen), lambda leaf: is_array(leaf) and not is_inexact(leaf))
        return total(whole.put(other))

    expected = jax.jit(jax.vmap(jax.grad(by_hand)))(inside.chosen, rest.chosen)
    agree(filter_jit(filter_vmap(filter_grad(filter_checkpoint(total))))(tree), inside.like(expected))


def test_the_oracle_can_fail():
    tree = {"a": np.ones(2, np.float32), "s": 1}
    for other in (
        {"a": np.ones(2, np.float32), "s": True},
        {"a": np.ones(2, np.float64), "s": 1},
        {"a": 1, "s": 1},
    ):
        try:
            agree(tree, other)
        except AssertionError:
            continue
        raise AssertionError(f"{other} was taken for {tree}")
    assert is_inexact(np.ones(1, ml_dtypes.bfloat16))
