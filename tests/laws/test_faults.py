"""Faults at every point where code of the user runs: the exception is theirs, and the next call is right.

A table: each hook of the user times each class of exceptions times each transform, at the first, the second
and the last time that the hook is entered, in a call of a new function and in one of a function that has run.
After each fault the function is called with the same arguments again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import typedfilter as tf
from typedfilter._shapes.switch import Mode, check_mode
from typedfilter._values.context import is_compiling

X = jnp.arange(1.0, 4.0)


class OwnError(Exception):
    """Some exception of the user's."""


class OwnInterrupt(BaseException):
    """One that `except Exception` does not see."""


class Silent(Exception):
    """One without a text of its own."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


EXCEPTIONS: tuple[type[BaseException], ...] = (
    *(OwnError, ValueError, TypeError, AttributeError, LookupError, AssertionError, RuntimeError, OSError),
    *(MemoryError, RecursionError, StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit),
    *(OwnInterrupt, Silent),
)
FEW = (OwnError, OwnInterrupt)  # at all times but the first of a new function
HOOKS = ("flatten", "unflatten", "hash", "eq", "body")


@dataclasses.dataclass
class Fault:
    """What is to be raised where, and when; nothing while `left` is 0. How often each hook was entered."""

    hook: str = ""
    error: BaseException | None = None
    left: int = 0
    entered: dict[str, int] = dataclasses.field(default_factory=dict)

    def at(self, hook: str) -> None:
        self.entered[hook] = self.entered.get(hook, 0) + 1
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


Body = Callable[[Node, Any], Any]


def new() -> Body:
    """A function that nobody has transformed yet."""

    def loss(node: Node, x: Any) -> Any:
        FAULT.at("body")
        return (node.w * x).sum() if node.label.name == "sum" else (node.w * x).max()

    return loss


def model() -> Node:
    return Node(X, Label("sum"))


def leaves(out: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(out) if isinstance(leaf, jax.Array | float)]


def other(node: Node, x: Any) -> Any:
    return x.sum()


def scanned(loss: Body) -> Body:
    return lambda node, x: tf.filter_scan(lambda node, x: (node, loss(node, x)), node, jnp.stack([x, x]))[1]


def donating(loss: Body) -> Body:
    return tf.filter_jit(lambda node, x: (loss(node, x), node.w + 1), donate="all")


def looping(loss: Body) -> Body:
    def once(node: Node, state: Any) -> Any:
        return tf.filter_while_loop(
            lambda state: state[0] < 2, lambda state: (state[0] + 1, state[1], loss(*state[1])), state
        )

    return lambda node, x: once(node, (0, (node, x), jnp.float32(0)))[2]


def ruled_forward(loss: Body) -> Body:
    ruled = tf.filter_custom_jvp(lambda node, x: loss(node, x))

    @ruled.def_jvp
    def rule(primals: Any, tangents: Any) -> Any:
        FAULT.at("rule")
        (node, x), tangent = primals, tangents[1]
        return loss(node, x), (node.w * tangent).sum()

    return lambda node, x: tf.filter_grad(lambda x: ruled(node, x))(x)


def ruled_backward(loss: Body) -> Body:
    ruled = tf.filter_custom_vjp(lambda x, node: loss(node, x))

    @ruled.def_fwd
    def forward(perturbed: Any, x: Any, node: Node) -> Any:
        FAULT.at("rule")
        return loss(node, x), node.w

    @ruled.def_bwd
    def backward(residuals: Any, cotangent: Any, perturbed: Any, x: Any, node: Node) -> Any:
        FAULT.at("backward")
        return residuals * cotangent

    return tf.filter_jit(lambda node, x: tf.filter_grad(lambda x: ruled(x, node))(x))


def hosted(loss: Body) -> Body:
    def callback(node: Node, x: Any) -> Any:
        FAULT.at("callback")
        return np.float32(loss(node, x))

    struct = jax.ShapeDtypeStruct((), jnp.float32)
    return lambda node, x: tf.filter_pure_callback(callback, node, x, result_shape_dtypes=struct)


TRANSFORMS: dict[str, Callable[[Body], Body]] = {
    "filter_jit": tf.filter_jit,
    "filter_jit donating": donating,
    "filter_grad": tf.filter_grad,
    "filter_value_and_grad": tf.filter_value_and_grad,
    "filter_jit of filter_grad": lambda loss: tf.filter_jit(tf.filter_grad(loss)),
    "filter_vmap": lambda loss: tf.filter_vmap(loss, in_axes=(None, 0)),
    "filter_jit of filter_vmap": lambda loss: tf.filter_jit(tf.filter_vmap(loss, in_axes=(None, 0))),
    "filter_pmap": lambda loss: tf.filter_pmap(loss, in_axes=(None, 0)),
    "filter_jacrev": tf.filter_jacrev,
    "filter_jacfwd": tf.filter_jacfwd,
    "filter_hessian": lambda loss: lambda node, x: tf.filter_hessian(lambda x: loss(node, x))(x),
    "filter_jvp": lambda loss: lambda node, x: tf.filter_jvp(lambda x: loss(node, x), (x,), (x,)),
    "filter_vjp": lambda loss: lambda node, x: tf.filter_vjp(loss, node, x)[0],
    "filter_linearize": lambda loss: lambda node, x: tf.filter_linearize(lambda x: loss(node, x), x)[1](x),
    "filter_checkpoint": tf.filter_checkpoint,
    "filter_closure_convert": lambda loss: lambda node, x: tf.filter_closure_convert(loss, node, x)(node, x),
    "filter_eval_shape": lambda loss: lambda node, x: (tf.filter_eval_shape(loss, node, x), x)[1],
    "filter_make_jaxpr": lambda loss: lambda node, x: (tf.filter_make_jaxpr(loss)(node, x), x)[1],
    "filter_cond": lambda loss: lambda node, x: tf.filter_cond(jnp.array(True), loss, other, node, x),
    "filter_switch": lambda loss: lambda node, x: tf.filter_switch(jnp.int32(1), [other, loss], node, x),
    "filter_scan": scanned,
    "filter_while_loop": looping,
    "filter_fori_loop": lambda loss: (
        lambda node, x: tf.filter_fori_loop(0, 2, lambda i, total: total + loss(node, x), jnp.float32(0))
    ),
    "filter_map": lambda loss: lambda node, x: tf.filter_map(lambda x: loss(node, x), jnp.stack([x, x])),
    "filter_associative_scan": lambda loss: (
        lambda node, x: tf.filter_associative_scan(lambda a, b: a + b + 0 * loss(node, x), x)
    ),
    "filter_custom_jvp": ruled_forward,
    "filter_custom_vjp": ruled_backward,
    "filter_pure_callback": hosted,
    "filter_jit of filter_pure_callback": lambda loss: tf.filter_jit(hosted(loss)),
    "compiled ahead": lambda loss: (
        lambda node, x: tf.filter_jit(loss, donate="all").lower(node, x).compile()(node, x)
    ),
}
OWN_HOOKS = {
    "filter_custom_jvp": ("rule",),
    "filter_custom_vjp": ("rule", "backward"),
    "filter_pure_callback": ("callback",),
    "filter_jit of filter_pure_callback": ("callback",),
}
MAPPED = ("filter_vmap", "filter_jit of filter_vmap", "filter_pmap")
DONATING = ("filter_jit donating", "compiled ahead")
# What is an answer where somebody asks: whether something is hashable, or whether a call would fit. Of a
# recursion the answer is to look in another way.
ANSWERS = {"compiled ahead": Exception}
CASES = [(name, hook) for name in TRANSFORMS for hook in (*HOOKS, *OWN_HOOKS.get(name, ()))]


def arguments(name: str) -> tuple[Node, Any]:
    node = model()
    if name in DONATING:
        node.w = jnp.copy(node.w)
        return node, jnp.copy(X)
    return node, jnp.stack([X, X]) if name in MAPPED else X


def made(name: str, warm: bool) -> Body:
    """A function that was transformed, and has run if it is warm."""
    call = TRANSFORMS[name](new())
    if warm:
        call(*arguments(name))
    return call


def faults(name: str, hook: str) -> Iterator[tuple[bool, type[BaseException], int]]:
    """Whether the function has run before, what is raised, and when the hook is entered for which time."""
    for warm in (False, True):
        call, args = made(name, warm), arguments(name)
        FAULT.entered.clear()
        call(*args)
        count = FAULT.entered.get(hook, 0)
        for time in sorted({1, 2, count}):
            if 1 <= time <= count:
                kinds = EXCEPTIONS if time == 1 and not warm else FEW
                yield from itertools.product([warm], kinds, [time])


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize(("name", "hook"), CASES)
def test_after_a_fault_the_next_call_is_right_and_the_exception_was_the_users_own(name: str, hook: str):
    expected = leaves(made(name, False)(*arguments(name)))
    filters = list(warnings.filters)
    for warm, kind, time in faults(name, hook):
        call, args = made(name, warm), arguments(name)
        error = kind("of the user's own")
        raised = raised_by(call, args, hook, error, time)
        if raised is None:
            assert issubclass(kind, ANSWERS.get(name, (TypeError, ValueError, RecursionError))), (kind, time)
        else:
            assert_users_own(raised, error)
            assert not any(is_deleted(leaf) for leaf in jax.tree.leaves(args))
        assert check_mode() is Mode.RAISE
        assert not is_compiling()
        assert list(warnings.filters) == filters
        again = leaves(call(*(args if raised is not None else arguments(name))))
        for one, right in zip(again, expected, strict=True):
            np.testing.assert_allclose(one, right, rtol=1e-6)


def raised_by(call: Body, args: Any, hook: str, error: BaseException, time: int) -> BaseException | None:
    """What arrives at who calls, where a hook raises an error when it is entered for the so-manieth time."""
    with injected(hook, error, time):
        try:
            jax.block_until_ready(leaves(call(*args)))
            raised: BaseException | None = None
        except BaseException as caught:
            raised = caught
        assert FAULT.left == 0, ("the hook was not entered so often", raised)
    return raised


def is_deleted(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and leaf.is_deleted()


def assert_users_own(raised: BaseException, error: BaseException) -> None:
    """The exception itself; of a hash or a comparison that failed, an error of ours may tell of it."""
    if raised is error:
        return
    told = isinstance(raised, tf.StaticArgumentError) and "of the user's own" in str(raised)
    assert told, repr(raised)
    assert isinstance(error, Exception)
