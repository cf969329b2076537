"""Laws of derivatives: on any pytree, ours are JAX's own, applied by hand to the differentiated part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from typedfilter import (
    combine,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_vjp,
    is_inexact_array,
    is_inexact_array_like,
    partition,
)

numbers = st.sampled_from([0.5, -1.25, 2.0])
inexact_arrays = st.builds(lambda n: jnp.asarray(n), numbers) | st.builds(
    lambda n: np.full((2,), n, np.float32), numbers
)
others = st.sampled_from([3, "a", max, True]) | st.builds(lambda n: jnp.arange(n), st.integers(1, 2))


def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.tuples(inner, inner)
    return st.lists(inner, max_size=2) | pairs | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)


trees = st.recursive(inexact_arrays | others | numbers | st.none(), branches, max_leaves=5)
arguments = st.tuples(inexact_arrays, trees)
few = settings(max_examples=min(15, settings().max_examples))


def mixed(tree: Any, scale: Any = 1.0) -> Any:
    """A tree of the same structure in which each inexact leaf depends on all others."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if is_inexact_array(leaf)]
    total = sum((jnp.sum(leaf**2) for leaf in leaves), jnp.zeros(()))

    def entry(leaf: Any) -> Any:
        return jnp.sin(leaf) * total * scale if is_inexact_array(leaf) else leaf

    return jax.tree.map(entry, tree), "static", scale


def loss(tree: Any) -> Any:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if is_inexact_array(leaf)]
    return sum((jnp.sum(jnp.sin(leaf) ** 2 * (k + 1.0)) for k, leaf in enumerate(leaves)), jnp.zeros(()))


def by_hand(fn: Callable[[Any], Any], tree: Any, predicate: Any = is_inexact_array) -> tuple[Any, Any]:
    """`fn` from the differentiated part of `tree` to that of its result, and that part."""
    dynamic, static = partition(tree, predicate)
    return lambda dynamic: partition(fn(combine(dynamic, static)), is_inexact_array)[0], dynamic


def same(one: Any, two: Any) -> bool:
    """Whether these are trees of one structure, `None` included, with nearly equal arrays."""
    first, first_def = jax.tree.flatten(one, is_leaf=lambda leaf: leaf is None)
    second, second_def = jax.tree.flatten(two, is_leaf=lambda leaf: leaf is None)
    if first_def != second_def:
        return False
    return all(
        (a is None and b is None) or (a is not None and b is not None and bool(jnp.allclose(a, b, rtol=1e-4)))
        for a, b in zip(first, second, strict=True)
    )


def zeros_for_none(values: Any, tangents: Any) -> Any:
    """`tangents` with zeros where `values` has an array and there is no tangent."""
    leaves, treedef = jax.tree.flatten(values, is_leaf=lambda leaf: leaf is None)
    found = jax.tree.flatten(tangents, is_leaf=lambda leaf: leaf is None)[0]
    filled = [
        jnp.zeros_like(value) if value is not None and tangent is None else tangent
        for value, tangent in zip(leaves, found, strict=True)
    ]
    return treedef.unflatten(filled)


def tangents_for(data: st.DataObject, tree: Any, predicate: Any) -> Any:
    """A tangent for a random choice of the leaves that can have one."""

    def draw(leaf: Any) -> Any:
        if not predicate(leaf) or data.draw(st.booleans()):
            return None
        return np.full(np.shape(leaf), data.draw(numbers), np.float32)

    return jax.tree.map(draw, tree)


@few
@given(arguments, st.data())
def test_filter_jvp_is_jvp_of_the_leaves_with_a_tangent(tree, data):
    tangent = tangents_for(data, tree, is_inexact_array_like)
    out, tangent_out = filter_jvp(mixed, (tree,), (tangent,))
    treedef = jax.tree.structure(tree)
    perturbed = treedef.unflatten([leaf is not None for leaf in treedef.flatten_up_to(tangent)])
    fn, dynamic = by_hand(mixed, tree, perturbed)
    dynamic = jax.tree.map(jnp.asarray, dynamic)
    expected, expected_tangent = jax.jvp(fn, (dynamic,), (tangent,))
    assert same(partition(out, is_inexact_array)[0], expected)
    assert same(zeros_for_none(expected, tangent_out), expected_tangent)
    assert jax.tree.leaves(tangent_out) == [] or jax.tree.leaves(tangent) != []


@few
@given(arguments)
def test_filter_vjp_is_vjp_of_the_inexact_arrays(tree):
    fn, dynamic = by_hand(mixed, tree)
    expected, expected_pull = jax.vjp(fn, dynamic)
    out, pull = filter_vjp(mixed, tree)
    assert same(partition(out, is_inexact_array)[0], expected)
    cotangent = jax.tree.map(lambda leaf: 2 * jnp.ones_like(leaf), expected)
    assert same(pull(cotangent), expected_pull(cotangent))


@few
@given(arguments)
def test_jacobians_are_those_of_the_inexact_arrays(tree):
    fn, dynamic = by_hand(mixed, tree)
    for ours, theirs in ((filter_jacfwd, jax.jacfwd), (filter_jacrev, jax.jacrev)):
        assert same(ours(mixed)(tree), theirs(fn)(dynamic))


@few
@given(arguments)
def test_the_hessian_is_that_of_the_inexact_arrays(tree):
    dynamic, static = partition(tree, is_inexact_array)
    expected = jax.hessian(lambda dynamic: loss(combine(dynamic, static)))(dynamic)
    assert same(filter_hessian(loss)(tree), expected)
    found, aux = filter_hessian(lambda tree: (loss(tree), tree), has_aux=True)(tree)
    assert same(found, expected)
    assert same(partition(aux, is_inexact_array)[0], dynamic)


@few
@given(arguments, st.sampled_from([lambda fn: fn, filter_jit]))
def test_a_jvp_rule_that_says_the_truth_changes_nothing(tree, jit):
    ruled = filter_custom_jvp(mixed)
    ruled.def_jvp(lambda primals, tangents, **kwargs: filter_jvp(mixed, primals, tangents, **kwargs))
    expected = filter_grad(lambda tree: total(mixed(tree, 0.5)))(tree)
    assert same(filter_grad(lambda tree: total(jit(ruled)(tree, 0.5)))(tree), expected)


@few
@given(arguments, st.sampled_from([lambda fn: fn, filter_jit]))
def test_vjp_rules_that_say_the_truth_change_nothing(tree, jit):
    ruled = filter_custom_vjp(mixed)
    ruled.def_fwd(lambda perturbed, tree, scale: filter_vjp(mixed, tree, scale))
    ruled.def_bwd(lambda pull, grad, perturbed, tree, scale: pull(grad)[0])
    expected = filter_grad(lambda tree: total(mixed(tree, 0.5)))(tree)
    assert same(filter_grad(lambda tree: total(jit(ruled)(tree, 0.5)))(tree), expected)


def total(tree: Any) -> Any:
    return sum((jnp.sum(leaf) for leaf in jax.tree.leaves(tree) if is_inexact_array(leaf)), jnp.zeros(()))
