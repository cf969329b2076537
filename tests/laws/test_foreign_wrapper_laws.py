"""The law of foreign wrappers: what a transform of ours calls is called as its caller called the transform.

Between a transform and a function stands a wrapper that is not ours: one of JAX's transforms, or a decorator
that batches, times, adds an argument or takes one away. Right is what the wrapper alone gives, in plain JAX.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array, Float

from typedfilter import (
    filter_checkpoint,
    filter_closure_convert,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_vmap,
)

few = settings(max_examples=min(12, settings().max_examples))  # most examples compile
W = jnp.array([1.0, 2.0, 3.0])
X = jnp.arange(1.0, 4.0)


@dataclasses.dataclass
class Mutable:
    """Unhashable."""

    gain: float = 2.0


DEFAULTS: dict[str, Any] = {
    "array": W,
    "numpy array": np.arange(3.0, dtype=np.float32),
    "float": 2.5,
    "numpy number": np.float32(1.5),
    "int": 3,
    "flag": False,
    "nothing": None,
    "text": "sum",
    "function": jnp.sin,
    "unhashable": Mutable(),
    "list": [1.0, W],
    "tuple with an array": (W, "sum"),
    "dictionary of arrays": {"w": W},
}
defaults = st.sampled_from(list(DEFAULTS)).map(DEFAULTS.__getitem__)


def amount(value: Any) -> Any:
    """A number for any value; another one for a flag, nothing or a number that is traced all of a sudden."""
    if isinstance(value, (jax.Array, np.ndarray)):
        return jnp.sum(value * jnp.arange(1.0, value.size + 1).reshape(value.shape))
    if isinstance(value, (tuple, list, dict)):
        return sum((amount(one) for one in jax.tree.leaves(value)), start=jnp.zeros(()))
    return 100.0 + (value if isinstance(value, float) else len(str(type(value))))


def plain(first: Any, second: Any, third: Any) -> Callable[..., Any]:
    def f(x, y=first, z=second, *, k=third, **rest):
        return x * amount(y) + amount(z) * 2 + amount(k) * 3 + sum(map(amount, rest.values()))

    return f


def annotated(first: Any, second: Any, third: Any) -> Callable[..., Any]:
    inner = plain(first, second, third)

    # What one example is, and what nobody is told of by these annotations: what a wrapper is given.
    def f(
        x: float, y: Float[Array, "3"] = first, z: bool = second, *, k: Float[Array, "3"] = third, **rest: int
    ):
        return inner(x, y, z, k=k, **rest)

    return f


functions = st.builds(
    lambda make, *defaults: make(*defaults), st.sampled_from([plain, annotated]), *[defaults] * 3
)


# ------------------------------------------------------------------------------------------------ wrappers


def batching(fn):
    @functools.wraps(fn)
    def batched(*args, **kwargs):
        return jax.vmap(fn)(*args, **kwargs)

    return batched


def timing(fn):
    @functools.wraps(fn)
    def timed(*args, **kwargs):
        return {"value": fn(*args, **kwargs), "seconds": 1}

    return timed


def adding(fn):
    @functools.wraps(fn)
    def added(x, *args, scale=W, times=2, **kwargs):
        return fn(x * times, *args, **kwargs) * amount(scale)

    return added


def taking_away(fn):
    @functools.wraps(fn)
    def taken(x, **kwargs):
        return fn(x, W, **kwargs)

    return taken


def signed(fn):
    def counted(*args, **kwargs):
        return fn(*args, **kwargs) + 1000 * len(args) + 100 * len(kwargs)

    counted.__signature__ = inspect.signature(fn)  # as `functools.wraps` does not leave one
    return counted


class AsAnObject:
    def __init__(self, fn):
        self.fn = fn
        functools.update_wrapper(self, fn)

    def __call__(self, *args, **kwargs):
        return self.fn(*args, **kwargs)


# A wrapper; whether it maps what it is given; whether it takes keywords, and a second argument by position.
WRAPPERS: dict[str, tuple[Callable[..., Any], bool, bool, bool]] = {
    "jax.vmap": (jax.vmap, True, True, True),
    "jax.vmap along the last axis": (functools.partial(jax.vmap, in_axes=-1), True, True, True),
    "jnp.vectorize": (jnp.vectorize, True, False, False),
    "jax.checkpoint": (jax.checkpoint, False, True, True),
    "jax.jit": (jax.jit, False, True, True),
    "jax.named_call": (jax.named_call, False, True, True),
    "a batching decorator": (batching, True, True, True),
    "a timing decorator": (timing, False, True, True),
    "a decorator that adds arguments": (adding, False, True, True),
    "a decorator that takes one away": (taking_away, False, True, False),
    "a decorator that says a signature": (signed, False, True, True),
    "an object": (AsAnObject, False, True, True),
    "two": (lambda fn: timing(jax.vmap(fn)), True, True, True),
    "two of JAX's": (lambda fn: jax.checkpoint(jax.vmap(fn)), True, True, True),
}
fresh = functools.partial(jax.tree.map, jnp.copy)
TRANSFORMS: dict[str, Callable[..., Any]] = {
    "jit": lambda fn: filter_jit(fn),
    "jit, ahead of time": lambda fn: lambda *a, **k: filter_jit(fn).lower(*a, **k).compile()(*a, **k),
    "donating": lambda fn: lambda *a, **k: filter_jit(fn, donate="all")(*fresh(a), **fresh(k)),
    "checkpoint": filter_checkpoint,
    "jitted checkpoint": lambda fn: filter_jit(filter_checkpoint(fn)),
    "closure": lambda fn: lambda *a, **k: filter_closure_convert(fn, *a, **k)(*a, **k),
    "closure of jit": lambda fn: lambda *a, **k: filter_closure_convert(filter_jit(fn), *a, **k)(*a, **k),
}


@dataclasses.dataclass
class Case:
    """A wrapper of a function, and a call of it."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    wrap, maps, keywords, second = WRAPPERS[draw(st.sampled_from(list(WRAPPERS)))]
    inner = draw(functions)
    if not maps:  # then annotations may be checked where a wrapper hands on, and they are of one example
        inner = plain(*[draw(defaults) for _ in range(3)])
    several = jnp.arange(9.0).reshape(3, 3)
    passed = st.just(several) if maps else st.sampled_from([W, several])
    args = [X, draw(passed)] if second and draw(st.booleans()) else [X]
    names = draw(st.sets(st.sampled_from(["z", "k", "other"]), max_size=2)) if keywords else ()
    kwargs = {name: draw(passed) for name in draw(st.permutations(sorted(names)))}
    if keywords and draw(st.booleans()) and wrap is not adding:
        kwargs = {"x": args.pop(0)} | kwargs if len(args) == 1 and wrap is not taking_away else kwargs
    return Case(wrap(inner), tuple(args), kwargs)


def agree(one: Any, two: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5)


# -------------------------------------------------------------------------------------------------- the laws


@few
@given(cases(), st.sampled_from(list(TRANSFORMS)))
def test_a_wrapper_is_called_as_the_caller_has_called(case, transform):
    expected = case.fn(*case.args, **case.kwargs)
    transformed = TRANSFORMS[transform](case.fn)
    agree(transformed(*case.args, **case.kwargs), expected)
    agree(transformed(*case.args, **case.kwargs), expected)  # once more, as it is compiled


@few
@given(cases())
def test_a_wrapper_is_traced_as_the_caller_has_called(case):
    shapes = filter_eval_shape(case.fn, *case.args, **case.kwargs)
    expected = case.fn(*case.args, **case.kwargs)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, expected)


@few
@given(cases(), st.booleans())
def test_a_map_over_a_wrapper_maps_what_is_passed(case, jit):
    batched = jax.tree.map(lambda array: jnp.stack([array, array + 1]), (case.args, case.kwargs))
    args, kwargs = batched
    expected = jax.vmap(case.fn)(*args, **kwargs)
    mapped = filter_vmap(case.fn, out_axes=0)
    agree((filter_jit(mapped) if jit else mapped)(*args, **kwargs), expected)


@few
@given(cases(), st.booleans())
def test_a_gradient_through_a_wrapper_is_that_of_jax(case, jit):
    def total(x: Any) -> Any:
        given = {**case.kwargs, "x": x} if "x" in case.kwargs else case.kwargs
        args = (x, *case.args[1:]) if case.args else ()
        out = case.fn(*args, **given)
        return jnp.sum(out["value"] if isinstance(out, dict) else out)

    wrap = filter_jit if jit else lambda fn: fn
    agree(wrap(filter_grad(total))(X), jax.grad(total)(X))


@few
@given(functions, st.sampled_from(["y", "z", "k", "other"]), st.booleans())
def test_our_own_maps_are_called_as_the_caller_has_called(fn, name, jit):
    batch = jnp.arange(9.0).reshape(3, 3)
    fn = plain(*fn.__defaults__, *fn.__kwdefaults__.values())
    expected = jax.vmap(fn)(X, **{name: batch})
    mapped = filter_jit(filter_vmap(fn)) if jit else filter_vmap(fn)
    agree(filter_closure_convert(mapped, X, **{name: batch})(X, **{name: batch}), expected)
    agree(filter_jit(jax.checkpoint(mapped))(X, **{name: batch}), expected)


def recording(fn: Callable[..., Any], given: list[Any]) -> Callable[..., Any]:
    """A wrapper that says the signature of `fn`, and writes down how it is called."""

    def recorded(*args: Any, **kwargs: Any) -> Any:
        given.append((len(args), tuple(kwargs)))
        return fn(*args, **kwargs)

    recorded.__signature__ = inspect.signature(fn)
    return recorded


def recording_defaults(fn: Callable[..., Any], given: list[Any]) -> Callable[..., Any]:
    """A wrapper with parameters of its own, that writes down what was left out."""

    @functools.wraps(fn)
    def recorded(x: Any, y: Any = W, *, k: Any = W) -> Any:
        given.append((y is W, k is W))
        return fn(x, y, k=k)

    return recorded


AROUND: list[Callable[[Callable[..., Any]], Any]] = [
    lambda fn: fn,
    jax.tree_util.Partial,
    jax.named_call,
    functools.partial,
    AsAnObject,
    timing,
]


@pytest.mark.parametrize("record", [recording, recording_defaults])
def test_what_is_left_out_is_left_out_and_a_keyword_stays_one(record):
    given: list[Any] = []
    transforms = [filter_jit, filter_checkpoint, filter_vmap, TRANSFORMS["closure"]]
    transforms += [
        lambda fn: functools.partial(filter_eval_shape, fn),
        lambda fn: filter_jit(filter_vmap(fn)),
    ]
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((X,), {}), ((), {"x": X}), ((X,), {"k": X})]
    calls += [((X, X), {}), ((X,), {"k": X, "y": X})]
    for around, transform, (args, kwargs) in itertools.product(AROUND, transforms, calls):
        fn = around(record(lambda x, y=W, *, k=W: x, given))
        fn(*args, **kwargs)
        expected = given[-1]
        given.clear()
        jax.eval_shape(functools.partial(transform(fn), *args, **kwargs))  # traced, and not compiled
        assert set(given) == {expected}, (around, transform, args, kwargs)


def test_the_wrappers_are_what_they_say():
    """The oracle can fail: passing a default, or a keyword by position, changes what a wrapper returns."""
    fn = plain(W, 2.5, False)
    seen = [
        jax.vmap(fn)(X),
        jax.vmap(fn)(X, W),
        jax.vmap(fn, in_axes=-1)(X, y=jnp.arange(9.0).reshape(3, 3)),
        jax.vmap(fn, in_axes=-1)(X, jnp.arange(9.0).reshape(3, 3)),
        jax.checkpoint(fn)(X, k=jnp.zeros(3)),
    ]
    assert not any(np.array_equal(one, two) for one, two in itertools.pairwise(seen))
    assert operator.ne(float(amount(False)), float(amount(0.0)))
