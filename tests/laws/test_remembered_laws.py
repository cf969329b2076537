"""Laws of what is remembered: a verdict, or an axis, is what it would be if nothing were remembered."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from jax import Array
from jaxtyping import Float, Int, PyTree, Shaped

from typedfilter import Traced, TypedFilterError, filter_vmap, if_array, is_array
from typedfilter._reading.plan import plan_of
from typedfilter._shapes.check import checked


class Pair(NamedTuple):
    one: Float[Array, "n"]
    two: Float[Array, "#n m"]


class Model:
    pass


class Small(Model):
    pass


def zeros(*sizes: int) -> Array:
    return jnp.zeros(sizes)


SIZES = (1, 2, 3)
VECTORS, MATRICES = [zeros(n) for n in SIZES], [zeros(n, m) for n in SIZES for m in SIZES]
MODELS = Model(), Small()
# For each annotation, values that may pass: whether one does is for the others to say, too.
ANNOTATIONS: list[tuple[Any, list[Any]]] = [
    (Float[Array, "n"], VECTORS),
    (Float[Array, "n m"], MATRICES),
    (Float[Array, "m m-1"], MATRICES),
    (Float[Array, "#n"], VECTORS),
    (Float[Array, "*batch n"], [*VECTORS, *MATRICES]),
    (Float[Array, "*#batch"], [*VECTORS, *MATRICES]),
    (Float[Array, "... m"], [*VECTORS, *MATRICES]),
    (Shaped[Array, "2 n"], [*MATRICES, jnp.zeros((2, 2), int)]),
    (Float[np.ndarray, "n"], [np.zeros(n, np.float32) for n in SIZES]),
    (Int[Array, ""] | None, [None, jnp.int32(1), 1]),
    (Float[Array, "n"] | Float[Array, "n m"] | int, [*VECTORS, *MATRICES, 1]),
    (list[Float[Array, "n"]], [[zeros(2)], [zeros(3), zeros(3)], []]),
    (dict[str, Float[Array, "n"] | int], [{"a": one} for one in (*VECTORS, 1)]),
    (dict[int, Float[Array, "n"]], [{1: zeros(2)}, {True: zeros(2)}, {1.0: zeros(2)}]),
    (tuple[Float[Array, "n"], ...], [(zeros(2),), (zeros(3),), ()]),
    (tuple[Float[Array, "n"], Float[Array, "m"]], [(one, two) for one in VECTORS for two in VECTORS]),
    (Pair, [Pair(zeros(2), zeros(2, 3)), Pair(zeros(3), zeros(1, 2)), Pair(zeros(2), zeros(3, 2))]),
    (PyTree[Float[Array, "n"]], [zeros(2), [zeros(3)], {"a": zeros(2)}, ()]),
    (PyTree[Float[Array, "n"], "T"], [zeros(2), [zeros(3)], [zeros(2)]]),
    (PyTree[Float[Array, "?n"], "T"], [[zeros(2), zeros(3)], [zeros(2), zeros(2)]]),
    (int, [1, 2, True, 1.0]),
    (float, [1, 2.0, jnp.float32(1)]),
    (Literal[1, "a", True], [1, True, "a", "b", 2]),
    (set[int], [{1}, {"a"}]),
    (Model, [*MODELS]),
    (Callable[..., Any], [jnp.sin, Model, 1]),
    (list[Model], [[one] for one in MODELS]),
    (Any, [1, "a", zeros(2)]),
]
SHAPES = [(), (1,), (2,), (3,), (2, 1), (2, 3), (3, 2), (1, 2, 3)]
ARRAYS = [
    *map(jnp.zeros, SHAPES),
    *(jnp.zeros(2, int), np.zeros(2, np.float32), np.float32(1), jnp.int32(1)),
]
leaves = st.sampled_from([*ARRAYS, 1, True, 1.0, "a", "", None, jnp.sin, *MODELS, frozenset({1}), range(2)])
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
        | st.dictionaries(st.sampled_from([1, 1.0, True]), inner, max_size=1)
        | st.builds(Pair, inner, inner)
        | st.just({1})
    ),
    max_leaves=4,
)
results = st.sampled_from(ANNOTATIONS)
hints = st.sampled_from([*ANNOTATIONS, (Traced[float], [1.0, jnp.float32(1)]), (Traced[Any], [1, zeros(2)])])


def body(annotations: Any, returned: list[Any]) -> Callable[..., Any]:
    """A checked function that returns what is in `returned`, made anew."""

    def fn(*args: Any, x: Any, y: Any = None) -> Any:
        isinstance(jnp.zeros(2), Float[Array, "m"])  # a body may bind names as well
        return returned[0]

    fn.__annotations__ = dict(zip(("args", "x", "y", "return"), annotations, strict=True))
    return checked(fn, plan_of(fn), eager=True)


def verdict(call: Callable[..., Any], args: Any, kwargs: Any) -> str:
    try:
        call(*args, **kwargs)
    except TypedFilterError as error:
        return str(error)
    return "passes"


arguments = st.tuples(
    st.lists(trees, max_size=2), st.fixed_dictionaries({"x": trees}, optional={"y": trees}), trees
)


@st.composite
def checked_calls(draw: st.DrawFn) -> tuple[Any, list[tuple[Any, Any, Any]]]:
    """Four annotations, and calls whose values may fit them."""
    chosen = draw(st.tuples(hints, hints, hints, results))
    rest, x, y, out = [st.sampled_from(values) for _, values in chosen]
    one = st.tuples(
        st.lists(rest, max_size=2), st.fixed_dictionaries({"x": x | trees}, optional={"y": y}), out | trees
    )
    return [annotation for annotation, _ in chosen], draw(st.lists(one, min_size=2, max_size=5))


@given(checked_calls(), leaves)
def test_a_remembered_verdict_is_what_a_fresh_one_is(case: Any, more: Any):
    annotations, calls = copy.deepcopy(case, {id(one): one for one in MODELS})
    returned: list[Any] = [None]
    old = body(annotations, returned)
    for args, kwargs, returned[0] in calls * 3:
        assert verdict(old, args, kwargs) == verdict(body(annotations, returned), args, kwargs)
    for args, kwargs, returned[0] in calls:  # what was passed before is not what it was
        for value in (*args, *kwargs.values(), returned[0]):
            if isinstance(value, list):
                value.append(more)
        assert verdict(old, args, kwargs) == verdict(body(annotations, returned), args, kwargs)


axes = st.sampled_from([0, 1, None, (0, None), {"a": 0, "b": None}, if_array(0)])


def mapped_total(in_axes: Any) -> Callable[..., Any]:
    def total(*args: Any, **kwargs: Any) -> Any:
        found = [leaf for leaf in jax.tree.leaves((args, kwargs)) if is_array(leaf)]
        return [jnp.shape(leaf) for leaf in found], sum(leaf.sum() for leaf in found)

    return filter_vmap(total, in_axes=in_axes)


def outcome(call: Callable[..., Any], args: Any, kwargs: Any) -> str:
    try:
        return str(call(*args, **kwargs))
    except TypedFilterError as error:
        return str(error)


@given(axes, st.lists(arguments, min_size=1, max_size=2), leaves)
def test_a_remembered_axis_is_what_a_fresh_one_is(in_axes: Any, given_calls: Any, more: Any):
    old = mapped_total((in_axes, in_axes) if isinstance(in_axes, dict | tuple) else in_axes)
    for args, kwargs, _ in given_calls * 2:
        assert outcome(old, args, kwargs) == outcome(mapped_total(old.transform.in_axes), args, kwargs)
        for value in args:
            if isinstance(value, list):
                value.append(more)
