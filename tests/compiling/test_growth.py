"""What calls of each kind leave behind, beside what those of `jax.jit` leave: objects that live on.

`python tests/compiling/test_growth.py` prints the table of docs/performance.md: a hundred thousand calls of
each kind, and fewer of those that compile.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import typedfilter as tf
from typedfilter import Static, pytree_dataclass

X = jnp.arange(3.0)


class Watched:
    """What a caller drops: hashed by identity, known weakly."""

    made: weakref.WeakSet[Watched] = weakref.WeakSet()

    def __init__(self) -> None:
        Watched.made.add(self)

    def method(self, x: Any) -> Any:
        return x * 2


@pytree_dataclass
class Model:
    weight: Any
    held: Static[Any] = None


@functools.partial(jax.tree_util.register_dataclass, data_fields=["weight"], meta_fields=["held"])
@dataclasses.dataclass(frozen=True)
class Registered:
    weight: Any
    held: Any = None


class Module(eqx.Module):
    weight: Any
    held: Any = eqx.field(static=True)


class Refused(Exception):
    pass


def refuse(x: Any) -> Any:
    raise Refused


def attempt(call: Callable[[], Any], refused: type[Exception] = Refused) -> None:
    try:
        call()
    except refused:
        pass


def with_static(x: Any, static: Any) -> Any:
    return x * 2


def of_model(model: Any) -> Any:
    return model.weight * 2


def holding(thing: Any) -> Callable[[Any], Any]:
    return lambda x: x * 2 if thing else x


def donated(jitted: Callable[[Any], Any]) -> Callable[[], None]:
    state = [jnp.arange(3.0)]

    def step() -> None:
        state[0] = jitted(state[0])

    return step


def new_numbers(jitted: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    numbers = itertools.count(1)
    return lambda: jitted(X, next(numbers) + 0.25)


def new_shapes(jitted: Callable[[Any], Any]) -> Callable[[], Any]:
    sizes = itertools.count(4)
    return lambda: jitted(np.zeros(next(sizes), np.float32))


def theirs(fn: Callable[..., Any], **options: Any) -> Any:
    return jax.jit(fn, **options)


Step = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Kind:
    """How to make a step that calls ours, and one that calls JAX's.

    Attributes:
        compiles: whether each step compiles a program.
        shared: whether ours keeps that program with a function that lives on, and JAX's goes.
    """

    ours: Callable[[], Step]
    theirs: Callable[[], Step]
    compiles: bool = False
    shared: bool = False


def calling(jitted: Any, make: Callable[[], tuple[Any, ...]]) -> Step:
    return lambda: jitted(*make())


KINDS = {
    "equal static values, made anew": Kind(
        lambda: calling(tf.filter_jit(with_static), lambda: (X, ("a", 1, 2.5))),
        lambda: calling(theirs(with_static, static_argnums=1), lambda: (X, ("a", 1, 2.5))),
    ),
    "a model made anew": Kind(
        lambda: calling(tf.filter_jit(of_model), lambda: (Model(X, "a"),)),
        lambda: calling(theirs(of_model), lambda: (Registered(X, "a"),)),
    ),
    "a module of Equinox made anew": Kind(
        lambda: calling(tf.filter_jit(of_model), lambda: (Module(X, "a"),)),
        lambda: calling(theirs(of_model), lambda: (Module(X, "a"),)),
    ),
    "an argument that is refused": Kind(
        lambda: functools.partial(attempt, calling(tf.filter_jit(with_static), lambda: (X, {1})), TypeError),
        lambda: functools.partial(
            attempt, calling(theirs(with_static, static_argnums=1), lambda: (X, {1})), ValueError
        ),
    ),
    "donated, from call to call": Kind(
        lambda: donated(tf.filter_jit(lambda x: x + 1, donate="all")),
        lambda: donated(theirs(lambda x: x + 1, donate_argnums=0)),
    ),
    "an exception while tracing": Kind(
        lambda: functools.partial(attempt, lambda: tf.filter_jit(refuse)(X)),
        lambda: functools.partial(attempt, lambda: theirs(refuse)(X)),
        compiles=True,
    ),
    "a static object made anew": Kind(
        lambda: calling(tf.filter_jit(with_static), lambda: (X, Watched())),
        lambda: calling(theirs(with_static, static_argnums=1), lambda: (X, Watched())),
        compiles=True,
    ),
    "a model that holds a static object made anew": Kind(
        lambda: calling(tf.filter_jit(of_model), lambda: (Model(X, Watched()),)),
        lambda: calling(theirs(of_model), lambda: (Registered(X, Watched()),)),
        compiles=True,
    ),
    "a closure made anew": Kind(
        lambda: lambda: tf.filter_jit(holding(Watched()))(X),
        lambda: lambda: theirs(holding(Watched()))(X),
        compiles=True,
    ),
    "a bound method of an object made anew": Kind(
        lambda: lambda: tf.filter_jit(Watched().method)(X),
        lambda: lambda: theirs(Watched().method)(X),
        compiles=True,
        shared=True,
    ),
    "a partial made anew": Kind(
        lambda: lambda: tf.filter_jit(functools.partial(with_static, static=Watched()))(X),
        lambda: lambda: theirs(functools.partial(with_static, static=Watched()))(X),
        compiles=True,
        shared=True,
    ),
    "ever new static numbers": Kind(
        lambda: new_numbers(tf.filter_jit(with_static)),
        lambda: new_numbers(theirs(with_static, static_argnums=1)),
        compiles=True,
    ),
    "ever new shapes": Kind(
        lambda: new_shapes(tf.filter_jit(lambda x: x * 2)),
        lambda: new_shapes(theirs(lambda x: x * 2)),
        compiles=True,
    ),
}


@dataclasses.dataclass(frozen=True)
class Left:
    """What steps leave: objects of Python's, what the caller dropped, and that once the wrapper is gone.

    The last is counted after `del` of the step and what it holds, and `gc`.
    """

    objects: int
    dropped: int
    after: int


def collect() -> None:
    for _ in range(3):
        gc.collect()


def left_by(make: Callable[[], Step], count: int) -> Left:
    collect()
    known = len(Watched.made)
    step = make()
    for _ in range(5):
        step()
    collect()
    before, watched = len(gc.get_objects()), len(Watched.made)
    for _ in range(count):
        step()
    collect()
    objects, dropped = len(gc.get_objects()) - before, len(Watched.made) - watched
    del step
    collect()
    return Left(objects, dropped, len(Watched.made) - known)


@pytest.mark.parametrize("name", KINDS)
def test_calls_leave_no_more_behind_than_those_of_jax(name: str):
    kind = KINDS[name]
    count = 15 if kind.compiles else 2000
    ours, right = left_by(kind.ours, count), left_by(kind.theirs, count)
    assert ours.dropped <= right.dropped
    assert ours.after <= right.after
    program = 160 if kind.shared else 90  # of ours, beside what JAX keeps for each
    assert ours.objects <= right.objects + (program * count if kind.compiles else 50)


def table() -> str:
    """As Markdown: what is left of each kind of calls, ours and JAX's side by side."""
    names = ["", "calls"]
    for counted in ("objects a call", "dropped, alive", "alive after `del`"):
        names += [counted, "of `jax.jit`"]
    lines = [f"| {' | '.join(names)} |".replace("|  |", "| |"), "|---|" + "--:|" * (len(names) - 1)]
    for name, kind in KINDS.items():
        count = 100 if kind.compiles else 100_000
        both = [left_by(make, count) for make in (kind.ours, kind.theirs)]
        cells = [
            *(f"{left.objects / count:.1f}" for left in both),
            *(str(left.dropped) for left in both),
            *(str(left.after) for left in both),
        ]
        lines.append(f"| {name} | {count:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
