"""Laws of calls: what is transformed is the function, whatever was called before, however arguments come."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from typedfilter import filter_grad, filter_jit, filter_value_and_grad, filter_vmap, is_array

few = settings(max_examples=min(20, settings().max_examples))  # most examples compile

arrays = st.sampled_from([jnp.arange(3.0), jnp.ones(3), np.arange(3, dtype=np.int32), jnp.zeros((3, 2))])
statics = st.sampled_from(
    [0, 1, 1.0, True, False, 0.0, -0.0, "a", "b", None, jnp.sin, (1,), (1.0,), ("a", True)]
)
values = arrays | statics | st.lists(arrays | statics, max_size=2) | st.builds(lambda x: {"k": x}, arrays)


def told(value: Any) -> str:
    """All that a program can tell of a value, but for the numbers in arrays."""
    leaves, treedef = jax.tree.flatten(value)
    shown = [f"{leaf.shape}{leaf.dtype}" if is_array(leaf) else f"{type(leaf)}{leaf!r}" for leaf in leaves]
    return f"{treedef}{shown}"


def agree(one: Any, two: Any) -> None:
    ones, one_def = jax.tree.flatten(one)
    twos, two_def = jax.tree.flatten(two)
    assert one_def == two_def
    for a, b in zip(ones, twos, strict=True):
        assert is_array(a) == is_array(b)
        if is_array(a):
            np.testing.assert_allclose(a, b, rtol=1e-6)
        else:
            assert (type(a), repr(a)) == (type(b), repr(b))


# --------------------------------------------------------------------------------------- histories of calls


def body(x: Any, y: Any) -> Any:
    total = sum(jnp.sum(leaf) for leaf in jax.tree.leaves((x, y)) if is_array(leaf))
    return {"x": x, "y": y, "told": told((x, y)), "total": jnp.asarray(total)}


@few
@given(st.lists(st.tuples(values, values), min_size=1, max_size=6), st.data())
def test_what_was_called_before_makes_no_difference(calls, data):
    traced = []

    @filter_jit
    def jitted(x, y):
        traced.append(0)
        return body(x, y)

    seen = set()
    for x, y in data.draw(st.lists(st.sampled_from(calls), min_size=1, max_size=12)):
        agree(jitted(x, y), body(x, y))
        seen.add(told((x, y)))
        assert len(traced) == len(seen)


@few
@given(values, values)
def test_wrapping_a_function_again_makes_no_difference(x, y):
    traced = []

    def f(x, y):
        traced.append(0)
        return body(x, y)

    for _ in range(3):
        agree(filter_jit(f)(x, y), body(x, y))
    assert len(traced) == 1
    agree(filter_jit(filter_jit(f))(x, y), body(x, y))
    with jax.disable_jit():
        agree(filter_jit(f)(x, y), body(x, y))


# ----------------------------------------------------------------------------------------------- signatures


def one(a, /, b, c=1, *, d, e=(2.0, "e")):
    return a, b, c, d, e


def many(a, b=2, /, *args, d=0.5, **kwargs):
    return a, b, args, d, kwargs


def all_by_name(*, d, e=None, **kwargs):
    return d, e, kwargs


def anything(*args, **kwargs):
    return args, kwargs


SIGNATURES = [one, many, all_by_name, anything]


def call_of(data: st.DataObject, fn: Callable[..., Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that bind: by position or by name, or left to defaults where there are any."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    by_name = False
    for name, param in inspect.signature(fn).parameters.items():
        if param.kind is param.VAR_POSITIONAL:
            args += [] if by_name else data.draw(st.lists(values, max_size=2))
        elif param.kind is param.VAR_KEYWORD:
            kwargs |= data.draw(st.dictionaries(st.sampled_from("xyz"), values, max_size=2))
        elif param.default is not param.empty and data.draw(st.booleans()):
            by_name = True
        elif param.kind is param.POSITIONAL_ONLY:
            if not by_name:
                args.append(data.draw(values))
        elif param.kind is param.KEYWORD_ONLY or by_name or data.draw(st.booleans()):
            by_name = True
            kwargs[name] = data.draw(values)
        else:
            args.append(data.draw(values))
    return tuple(args), dict(data.draw(st.permutations(list(kwargs.items()))))


@few
@given(st.sampled_from(SIGNATURES), st.data())
def test_arguments_may_come_in_every_way_that_python_has(fn, data):
    args, kwargs = call_of(data, fn)
    expected = fn(*args, **kwargs)
    agree(filter_jit(fn)(*args, **kwargs), expected)
    agree(filter_jit(fn).lower(*args, **kwargs).compile()(*args, **kwargs), expected)
    with jax.disable_jit():
        agree(filter_jit(fn)(*args, **kwargs), expected)
    given = [leaf for leaf in jax.tree.leaves((args, kwargs)) if is_array(leaf)]
    if given:
        agree(filter_vmap(fn)(*args, **kwargs), expected)
        agree(filter_jit(filter_vmap(fn))(*args, **kwargs), expected)


# ---------------------------------------------------------------------------------------------- vmap and grad

AXES = st.sampled_from([0, 1, -1, -2, None])
squares = st.integers(0, 5).map(lambda n: jnp.arange(4.0).reshape(2, 2) + n)


@few
@given(
    st.lists(st.tuples(squares, AXES), min_size=1, max_size=3),
    AXES,
    st.sampled_from([0, -1]),
    st.booleans(),
)
def test_axes_of_single_leaves_are_those_of_jax(leaves, other, out, jit):
    arrays, axes = [array for array, _ in leaves], [axis for _, axis in leaves]
    if all(axis is None for axis in (*axes, other)):
        axes[0] = 0

    def f(tree, y, n=1):
        return [array.sum(-1) * 2 + y.sum() * n for array in tree["x"]]

    expected = jax.vmap(lambda xs, y: f({"x": xs}, y, 3), (axes, other), out)(arrays, arrays[0])
    mapped = filter_vmap(f, in_axes=({"x": axes, "name": None}, other, None), out_axes=out)
    agree((filter_jit(mapped) if jit else mapped)({"x": arrays, "name": "n"}, arrays[0], 3), expected)
    by_name = filter_vmap(f, in_axes={"tree": {"x": axes}, "y": other}, out_axes=out)
    agree(by_name({"x": arrays}, n=3, y=arrays[0]), expected)


@few
@given(st.lists(arrays | st.sampled_from([1, True, 2.5, "a", jnp.sin]), max_size=4), st.booleans())
def test_value_and_gradient_are_those_of_each_alone(leaves, jit):
    def loss(tree, scale):
        inexact = [leaf for leaf in tree if is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return sum((jnp.sum(leaf**2) for leaf in inexact), start=jnp.asarray(0.0)) * scale, told(tree[1:])

    wrap = filter_jit if jit else lambda f: f
    (value, aux), grad = wrap(filter_value_and_grad(loss, has_aux=True))(leaves, 2)
    agree((value, aux), loss(leaves, 2))
    agree((grad, aux), wrap(filter_grad(loss, has_aux=True))(leaves, 2))
    for leaf, slope in zip(leaves, grad, strict=True):
        if is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact):
            np.testing.assert_allclose(slope, 4 * leaf, rtol=1e-6)
        else:
            assert slope is None
