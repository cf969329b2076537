"""How far a newcomer has to walk: the folders that decorating and calling pass through, by a profile hook.

A budget, not a goal: what grows past it has found a second reader of some fact, or a function that lives in
the wrong room.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter
from typedfilter import Static, Traced, filter_grad, filter_jit, filter_vmap

PACKAGE = Path(str(typedfilter.__file__)).parent
X, Y = jnp.ones((3, 2)), jnp.ones(2)


def fn(
    x: Float[Array, "b n"], y: Float[Array, "n"], rate: Traced[float], n: Static[int] = 2
) -> Float[Array, ""]:
    return (x * n + y).sum() * rate


def loss(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, ""]:
    return (x * y).sum()


def product(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
    return x * y


def weighted(tree: Any, n: int) -> Any:
    return tree["weight"].sum() * n


def copied(function: Any) -> Any:
    """The same function, which nobody has looked at before."""
    made = type(function)(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    made.__annotations__ = dict(function.__annotations__)
    return made


def walk(call: Callable[[], Any], since: str = "") -> tuple[int, int]:
    """How many folders a call enters, and how often it goes from one into another.

    `since` is the qualified name of the function with which the walk begins, if it is not the first one.
    """
    rooms: list[str] = []

    def entered(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            if rooms or since in ("", frame.f_code.co_qualname):
                rooms.append(path.relative_to(PACKAGE).parts[0])

    made = None  # held: what becomes of it is no part of the walk
    sys.setprofile(entered)
    try:
        made = call()
    except typedfilter.TypedFilterError:
        pass
    finally:
        sys.setprofile(None)
    del made
    return len(set(rooms)), sum(one != other for one, other in itertools.pairwise(rooms))


def jitted() -> Any:
    return filter_jit(copied(fn))


def gradient() -> Any:
    return filter_grad(copied(loss))


def mapped() -> Any:
    return filter_vmap(copied(product))


def first(made: Any, *args: Any) -> Callable[[], Any]:
    return lambda: made(*args)


def again(made: Any, *args: Any) -> Callable[[], Any]:
    made(*args)
    return lambda: made(*args)


def wrong(made: Any, right: Any, *args: Any) -> Callable[[], Any]:
    """A call that is refused, of what has been called as it should be."""
    made(*right)
    return lambda: made(*args)


TREE = {"weight": X, "name": "tanh"}
CHECK = "_Checked.__call__"

WALKS: dict[str, tuple[Callable[[], Callable[[], Any]], str, int, int]] = {
    "decorate, filter_jit": (lambda: jitted, "", 6, 30),
    "first call": (lambda: first(jitted(), X, Y, 0.1), "", 7, 22),
    "second call": (lambda: again(jitted(), X, Y, 0.1), "", 0, 0),
    "a wrong shape, from the check on": (lambda: first(jitted(), X, X, 0.1), CHECK, 7, 12),
    "an unhashable static value": (lambda: first(jitted(), X, Y, 0.1, [1]), "", 8, 44),
    "a mixed pytree, again": (lambda: again(filter_jit(copied(weighted)), TREE, 2), "", 2, 4),
    "decorate, filter_grad": (lambda: gradient, "", 6, 15),
    "each call of a gradient": (lambda: again(gradient(), Y, Y), "", 6, 24),
    "a wrong shape in a gradient": (lambda: wrong(gradient(), (Y, Y), X, Y), "", 8, 21),
    "decorate, filter_vmap": (lambda: mapped, "", 6, 16),
    "each call of a map": (lambda: again(mapped(), X, X), "", 5, 18),
    "sizes that disagree in a map": (lambda: wrong(mapped(), (X, X), X, Y), "", 6, 18),
}


@pytest.mark.parametrize("name", WALKS)
def test_the_way_through_the_folders_stays_within_its_budget(name: str) -> None:
    make, since, folders, changes = WALKS[name]
    walk(make())  # whatever happens but once in a process
    entered, changed = walk(make(), since)
    assert min(folders, 1) <= entered <= folders
    assert changed <= changes
