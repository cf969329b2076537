"""Packing an argument that mixes arrays with other leaves: quick where its structure stays, never wrong."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from typedfilter import filter_jit


class One(NamedTuple):
    a: Any
    b: Any


class Two(NamedTuple):
    a: Any
    b: Any


class Text(str): ...


class Pair(tuple): ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Left:
    a: Any
    b: Any = dataclasses.field(default=0, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Right:
    a: Any
    b: Any = dataclasses.field(default=0, metadata={"static": True})


X = jnp.ones(2)


def facts(tree: Any) -> Any:
    """What a body can tell of what it received."""
    leaves, treedef = jax.tree_util.tree_flatten(tree)
    keys = [(type(key), key) for key in tree] if isinstance(tree, dict) else []
    others = [(type(leaf), leaf) for leaf in leaves if not isinstance(leaf, jax.Array)]
    return str(treedef), type(tree), keys, others


def jitted() -> tuple[Any, list[Any]]:
    """A jitted function, and what its body received each time that it was traced."""
    seen: list[Any] = []

    @filter_jit
    def fn(tree):
        seen.append(facts(tree))
        return [leaf for leaf in jax.tree_util.tree_leaves(tree) if isinstance(leaf, jax.Array)]

    return fn, seen


different = pytest.mark.parametrize(
    ("first", "second"),
    [
        ((X, 1), [X, 1]),
        ((X, 1), (X, 1, 1)),
        ([X, 1], [X, 1, X]),
        ((X, 1), (1, X)),
        ((X, 1), (X, True)),
        ((X, 1), (X, 1.0)),
        ((X, 0.0), (X, -0.0)),
        ((X, 1.5), (X, jnp.float32(1.5))),
        ((X, 1), (X, (1,))),
        ((X, 1), (X, None)),
        ((X, None, 1), (X, X, 1)),
        (One(X, 1), Two(X, 1)),
        ((X, 1), One(X, 1)),
        (One(X, 1), (X, 1)),
        ((X, (1, 2)), (X, Pair((1, 2)))),
        ({"a": X, "b": 1}, {"a": X, "c": 1}),
        ({"a": X, "b": 1}, {"a": X, "b": 1, "c": 1}),
        ({1: X, 2: 1}, {1.0: X, 2: 1}),
        ({"a": X, "b": 1}, {"a": X, Text("b"): 1}),
        (collections.OrderedDict(a=X, b=1), collections.OrderedDict(b=1, a=X)),
        (collections.OrderedDict(a=X, b=1), {"a": X, "b": 1}),
        ((Left(X), 1), (Right(X), 1)),
        ((Left(X, 1), 1), (Left(X, 2), 1)),
        ((Left(X), 1), (Left((X, X)), 1)),
        ((X, "a"), (X, Text("a"))),
    ],
    ids=repr,
)


@different
@pytest.mark.parametrize("calls", [1, 20])
def test_another_structure_is_another_program_however_often_the_first_was_called(
    first: Any, second: Any, calls: int
):
    fn, seen = jitted()
    for _ in range(calls):
        fn(first)
    fn(second)
    assert seen == [facts(first), facts(second)]
    fn(first)
    fn(second)
    assert len(seen) == 2


def test_the_arrays_of_each_call_are_used():
    fn, seen = jitted()
    for i in range(20):
        assert fn((jnp.full(2, i), "a", np.float32(i)))[0][0] == i
    assert len(seen) == 1


def test_static_leaves_are_looked_at_in_each_call():
    fn, seen = jitted()
    for i in range(20):
        fn((X, "a", i % 5))
    assert [leaves for *_, leaves in seen] == [[(str, "a"), (int, i)] for i in range(5)]


def test_arguments_have_memories_of_their_own():
    seen: list[Any] = []

    @filter_jit
    def fn(a, b, *, c):
        seen.append((facts(a), facts(b), facts(c)))

    one, two = (X, 1), [X, "a"]
    for _ in range(20):
        fn(one, two, c=one)
    fn(two, one, c=two)
    fn(one, two, c=two)
    assert seen == [tuple(map(facts, each)) for each in ((one, two, one), (two, one, two), (one, two, two))]


class Shy:
    """A leaf that counts how often it is shown."""

    shown = 0

    def __repr__(self) -> str:
        Shy.shown += 1
        raise RuntimeError("nobody looks at me")


def test_leaves_are_hardly_ever_shown_however_often_structures_change():
    fn, seen = jitted()
    leaf, before = Shy(), Shy.shown
    steady, changed = [(X, leaf), 1], [X, leaf, 1]  # whose repr is in JAX's error
    for _ in range(10):
        for tree in itertools.chain([steady] * 30, [changed] * 3):
            fn(tree)
    assert len(seen) == 2
    assert Shy.shown - before <= 3
