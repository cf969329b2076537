"""Ctrl-C, sent as the signal that it is: while a call is dispatched, traced, compiled and runs a callback.

The interrupt arrives as itself; nothing is donated unused, no context is left, and the next call is right.
"""

from __future__ import annotations

import gc
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter as tf
from typedfilter import Static
from typedfilter._shapes.switch import Mode, check_mode
from typedfilter._values.context import is_compiling

X = jnp.arange(1.0, 4.0)


class Signals:
    """Sends one at the place that is asked for."""

    where = ""

    def at(self, where: str) -> None:
        if where == self.where:
            self.where = ""
            signal.raise_signal(signal.SIGINT)


SIGNALS = Signals()


def compiled(event: str, duration: float, **_: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        SIGNALS.at("compiling")


jax.monitoring.register_event_duration_secs_listener(compiled)


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # Python drops what is raised in a collection
    yield
    gc.enable()
    SIGNALS.where = ""
    signal.signal(signal.SIGINT, former)


class Label:
    """A static value, which is hashed where a call is dispatched."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Label)

    def __hash__(self) -> int:
        SIGNALS.at("dispatching")
        return 1


def on_host(x: Any) -> Any:
    SIGNALS.at("callback")
    return np.asarray(x)


def new() -> Callable[..., Any]:
    """A function that nobody has compiled yet."""

    def body(x: Float[Array, "n"], label: Static[Any]) -> Float[Array, ""]:
        SIGNALS.at("tracing")
        return (x * tf.filter_pure_callback(on_host, jax.lax.stop_gradient(x), result_shape_dtypes=x)).sum()

    return body


def donating(body: Callable[..., Any]) -> Callable[..., Any]:
    return tf.filter_jit(lambda x, label: (body(x, label), x + 1), donate="all")


def scanned(body: Callable[..., Any], x: Any, label: Any) -> Any:
    def step(carry: Any, _: Any) -> Any:
        return (carry[0] + body(x, carry[1]), carry[1]), None

    return tf.filter_scan(step, (0.0, label), X)[0][0]


TRANSFORMS: dict[str, Callable[..., Callable[..., Any]]] = {
    "filter_jit": tf.filter_jit,
    "donating": donating,
    "filter_jit of filter_grad": lambda body: tf.filter_jit(tf.filter_grad(body)),
    "filter_grad of filter_jit": lambda body: tf.filter_grad(tf.filter_jit(body)),
    "filter_vmap of filter_jit": lambda body: (
        lambda x, label: tf.filter_vmap(tf.filter_jit(body), in_axes=(0, None))(x[None], label)
    ),
    "filter_scan": lambda body: lambda x, label: scanned(body, x, label),
    "filter_cond": lambda body: lambda x, label: tf.filter_cond(True, body, body, x, label),
    "compiled ahead": lambda body: (
        lambda x, label: tf.filter_jit(body, donate="all").lower(x, label).compile()(x, label)
    ),
}
PLACES = ("dispatching", "tracing", "compiling", "callback")


def wait(out: Any) -> None:
    """Until a result is there, or the signal that came meanwhile has become an interrupt."""
    jax.block_until_ready(out)
    until = time.monotonic() + 10
    while not SIGNALS.where and time.monotonic() < until:
        pass


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_interrupt_arrives_and_the_next_call_is_right(name: str, place: str):
    right = TRANSFORMS[name](new())(X + 0, Label())
    call, x, filters = TRANSFORMS[name](new()), X + 0, list(warnings.filters)
    SIGNALS.where = place
    with pytest.raises(KeyboardInterrupt):
        wait(call(x, Label()))
    assert place == "callback" or not x.is_deleted()
    assert (check_mode(), is_compiling(), warnings.filters) == (Mode.RAISE, False, filters)
    for _ in range(2):
        jax.tree.map(np.testing.assert_allclose, call(X + 0, Label()), right)


# A function of JAX's, by its file: it raises what JAX does where an interrupt has hit it at the wrong moment.
STUCK = """
def stuck(event, duration, **_):
    if event == EVENT and times:
        times.pop()
        raise RecursionError("Recursively calling <weakref at 0x7f; to 'function' at 0x7f (f)>")
"""
TIMES: list[int] = []


def listening() -> Callable[..., None]:
    names: dict[str, Any] = {"EVENT": "/jax/core/compile/jaxpr_trace_duration", "times": TIMES}
    exec(compile(STUCK, jax.__file__, "exec"), names)
    return names["stuck"]


jax.monitoring.register_event_duration_secs_listener(listening())


def test_what_an_interrupt_has_left_in_jax_is_left_behind():
    """JAX takes each call for one that has called itself; the function is traced anew."""
    traces = []

    def body(x: Any, label: Any) -> Any:
        traces.append(label)
        return jax.lax.neg(x)  # which is no function that JAX traces, as `x * 2` is

    jitted = tf.filter_jit(body)
    TIMES[:] = [1]
    np.testing.assert_array_equal(jitted(X, "a"), -X)
    assert traces == ["a", "a"]
    TIMES[:] = [1, 2]
    with pytest.raises(RecursionError, match="Recursively calling"):  # it was tried once more, and no more
        jitted(X, "b")
    np.testing.assert_array_equal(jitted(X, "b"), -X)


def test_a_function_that_calls_itself_is_told_so():
    traces = []

    @tf.filter_jit
    def calls_itself(x: Any) -> Any:
        traces.append(x)
        return calls_itself(x)

    with pytest.raises(RecursionError) as caught:
        calls_itself(X)
    assert len(traces) == 1 or "Recursively" not in str(
        caught.value
    )  # older JAX goes on to the end of the stack
