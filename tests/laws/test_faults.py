"""Faults at every point where code of the user runs: the exception is theirs, and the next call is right.

A table: each hook of the user times each class of exceptions times each transform, at the first and at the
third time that the hook is entered. After each fault the function is called with the same arguments again.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import typedfilter as tf
from typedfilter._shapes.switch import Mode, check_mode

X = jnp.arange(1.0, 4.0)


class OwnError(Exception):
    """Some exception of the user's."""


class OwnInterrupt(BaseException):
    """One that `except Exception` does not see."""


EXCEPTIONS = (OwnError, ValueError, TypeError, MemoryError, KeyboardInterrupt, OwnInterrupt)
HOOKS = ("flatten", "unflatten", "hash", "eq", "body")
TIMES = (1, 3)


@dataclasses.dataclass
class Fault:
    """What is to be raised where, and when; nothing while `left` is 0."""

    hook: str = ""
    error: BaseException | None = None
    left: int = 0

    def at(self, hook: str) -> None:
        if hook == self.hook and self.left:
            self.left -= 1
            if not self.left and self.error is not None:
                raise self.error


FAULT = Fault()


@contextlib.contextmanager
def injected(hook: str, error: BaseException, time: int) -> Generator[None]:
    FAULT.hook, FAULT.error, FAULT.left = hook, error, time
    try:
        yield
    finally:
        FAULT.left, FAULT.error = 0, None


class Label:
    """A static leaf that compares itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        FAULT.at("eq")
        return isinstance(other, Label) and other.name == self.name

    def __hash__(self) -> int:
        FAULT.at("hash")
        return hash(self.name)


class Node:
    """A module that is registered by hand."""

    def __init__(self, w: Any, label: Any) -> None:
        self.w, self.label = w, label


def flatten(node: Node) -> tuple[tuple[Any, Any], None]:
    FAULT.at("flatten")
    return (node.w, node.label), None


def unflatten(_: None, children: Any) -> Node:
    FAULT.at("unflatten")
    return Node(*children)


jax.tree_util.register_pytree_node(Node, flatten, unflatten)


def loss(node: Node, x: Any) -> Any:
    FAULT.at("body")
    return (node.w * x).sum() if node.label.name == "sum" else (node.w * x).max()


def model() -> Node:
    return Node(X, Label("sum"))


def leaves(out: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(out) if isinstance(leaf, jax.Array | float)]


def other(node: Node, x: Any) -> Any:
    return x.sum()


def step(node: Node, x: Any) -> tuple[Node, Any]:
    return node, loss(node, x)


TRANSFORMS: dict[str, Callable[[], Callable[[Node, Any], Any]]] = {
    "filter_jit": lambda: tf.filter_jit(loss),
    "filter_jit donating": lambda: tf.filter_jit(lambda node, x: (loss(node, x), node.w + 1), donate="all"),
    "filter_grad": lambda: tf.filter_grad(loss),
    "filter_value_and_grad": lambda: tf.filter_value_and_grad(loss),
    "filter_jit of filter_grad": lambda: tf.filter_jit(tf.filter_grad(loss)),
    "filter_vmap": lambda: tf.filter_vmap(loss, in_axes=(None, 0)),
    "filter_jacrev": lambda: tf.filter_jacrev(loss),
    "filter_jvp": lambda: lambda node, x: tf.filter_jvp(lambda x: loss(node, x), (x,), (x,)),
    "filter_vjp": lambda: lambda node, x: tf.filter_vjp(loss, node, x)[0],
    "filter_checkpoint": lambda: tf.filter_checkpoint(loss),
    "filter_eval_shape": lambda: lambda node, x: (tf.filter_eval_shape(loss, node, x), x)[1],
    "filter_make_jaxpr": lambda: lambda node, x: (tf.filter_make_jaxpr(loss)(node, x), x)[1],
    "filter_cond": lambda: lambda node, x: tf.filter_cond(jnp.array(True), loss, other, node, x),
    "filter_scan": lambda: lambda node, x: tf.filter_scan(step, node, jnp.stack([x, x]))[1],
}


def arguments(name: str) -> tuple[Node, Any]:
    node = model()
    if "donating" in name:
        node.w = jnp.copy(node.w)
        return node, jnp.copy(X)
    return node, jnp.stack([X, X]) if name == "filter_vmap" else X


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_after_a_fault_the_next_call_is_right_and_the_exception_was_the_users_own(name: str, hook: str):
    expected = leaves(TRANSFORMS[name]()(*arguments(name)))
    for kind in EXCEPTIONS:
        for time in TIMES:
            call, args = TRANSFORMS[name](), arguments(name)
            error = kind("of the user's own")
            with injected(hook, error, time):
                try:
                    call(*args)
                    raised: BaseException | None = None
                except BaseException as caught:
                    raised = caught
                entered = FAULT.left == 0
            if raised is not None:
                assert entered, (kind, time, raised)
                assert_users_own(raised, error)
                assert not any(is_deleted(leaf) for leaf in jax.tree.leaves(args))
            elif entered:  # whoever asks whether something is hashable, or fits, is answered by these
                assert kind in (TypeError, ValueError), (kind, time)
            assert check_mode() is Mode.RAISE
            again = leaves(call(*(args if raised is not None else arguments(name))))
            for one, right in zip(again, expected, strict=True):
                np.testing.assert_allclose(one, right, rtol=1e-6)


def is_deleted(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and leaf.is_deleted()


def assert_users_own(raised: BaseException, error: BaseException) -> None:
    """The exception itself; of a hash or a comparison that failed, an error of ours may tell of it."""
    if raised is error:
        return
    told = isinstance(raised, tf.StaticArgumentError) and "of the user's own" in str(raised)
    assert told, repr(raised)
    assert isinstance(error, Exception)
