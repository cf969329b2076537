"""Attacks on what an engine remembers: each with the value that eager Python, or plain JAX, gives."""

from __future__ import annotations

import dataclasses
import itertools
import signal
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import typedfilter as tf
from typedfilter import Static, filter_closure_convert, filter_jit, pytree_dataclass
from typedfilter._compiling.tokens import Kept
from typedfilter._shapes.switch import Mode, check_mode, checking
from typedfilter._values.context import setting

pytestmark = pytest.mark.usefixtures("compiled_anew")  # by several threads at once
X = jnp.arange(1.0, 3.0)


@dataclasses.dataclass(unsafe_hash=True)
class Config:
    """Hashable, and yet it can be changed."""

    gain: int


@pytree_dataclass
class Model:
    w: Any
    config: Static[Config]


# ------------------------------------------------------------------------- the first object seen for a key


def test_an_object_that_was_changed_does_not_stand_for_a_fresh_one():
    scaled = filter_jit(lambda x, config: x * config.gain)
    seen = Config(1)
    np.testing.assert_array_equal(scaled(X, seen), X)
    seen.gain = 2
    wider = jnp.ones(3)
    np.testing.assert_array_equal(scaled(wider, Config(1)), wider)  # traced anew, for another shape
    np.testing.assert_array_equal(scaled(X, Config(1)), X)
    np.testing.assert_array_equal(scaled(X, seen), X * 2)


def test_an_object_inside_of_others_that_was_changed_does_not_stand_for_a_fresh_one():
    scaled = filter_jit(lambda x, static: x * static[0][0].gain)
    seen = Config(1)
    scaled(X, ((seen,),))
    seen.gain = 2
    np.testing.assert_array_equal(scaled(jnp.ones(3), ((Config(1),),)), jnp.ones(3))


def test_a_static_field_that_was_changed_does_not_stand_for_a_fresh_one():
    seen = Config(1)
    first = Model(X, seen)
    jax.tree.map(lambda leaf: leaf, first)
    seen.gain = 2
    fresh = jax.tree.map(lambda leaf: leaf, Model(X, Config(1)))
    assert fresh.config == Config(1)


# ------------------------------------------------------------------------------------ classes that look alike


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class One:
    x: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Two:
    x: Any


def factor(node: Any) -> Any:
    return node.x * (1 if isinstance(node, One) else 100)


def test_a_program_of_one_class_is_not_run_for_another_one_of_equal_fields():
    converted = filter_closure_convert(factor, One(X))
    with pytest.raises(tf.ShapeError, match="differs in structure"):
        converted(Two(X))
    jitted = filter_jit(factor)
    np.testing.assert_array_equal(jitted(One(X)), X)
    np.testing.assert_array_equal(jitted(Two(X)), X * 100)


def test_combine_and_apply_updates_tell_classes_of_equal_fields_apart():
    with pytest.raises(tf.PytreeError):
        tf.combine(One(None), Two(X))
    with pytest.raises(tf.PytreeError):
        tf.apply_updates(One(X), Two(X))


def test_branches_must_return_one_class():
    with pytest.raises(tf.ShapeError):
        tf.filter_cond(jnp.array(True), lambda x: One(x), lambda x: Two(x), X)


# ------------------------------------------------------------------------------------- user code and locks


def test_an_equality_that_calls_a_jitted_function_does_not_hang():
    inner = filter_jit(lambda x, value: x + value)
    fresh = itertools.count()
    outer = filter_jit(lambda x, static: x)

    class Calling:
        def __init__(self, value: float) -> None:
            self.value = value

        def __eq__(self, other: object) -> bool:
            inner(X, 0.375 + next(fresh))  # a value that the tables don't hold yet
            return isinstance(other, Calling) and other.value == self.value

        def __hash__(self) -> int:
            return 1

    def attack() -> None:
        for value in (0.5, 1.5, 0.5, 2.5):
            outer(X, (Calling(value),))
            outer(X, Calling(value))

    assert finishes(attack)


def finishes(work: Callable[[], None]) -> bool:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()


def test_more_static_values_than_are_kept_in_many_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Kept, "limit", 96)  # of 128: what a thread has just begun with is none of the oldest
    scaled = filter_jit(lambda x, value: x * value)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(8):
                value = 0.5 + number * 100 + i
                np.testing.assert_allclose(scaled(X, value), X * value)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_compiled_program_keeps_the_static_value_that_it_was_compiled_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Kept, "limit", 4)
    scaled = filter_jit(lambda x, value: x * value)
    program = scaled.lower(X, 77.125).compile()
    for i in range(6):
        scaled(X, 78.125 + i)
    np.testing.assert_allclose(program(X, 77.125), X * 77.125)


# ------------------------------------------------------------------------------------------ odd static values


def test_tuples_may_be_nested_as_deep_as_hashing_allows():
    def chain(depth: int) -> tuple[Any, ...]:
        made: tuple[Any, ...] = ()
        for _ in range(depth):
            made = (made,)
        return made

    traces: list[None] = []

    def counted(x: Any, shape: Static[tuple[Any, ...]]) -> Any:
        traces.append(None)
        return x + 1

    jitted = filter_jit(counted)
    for depth in (400, 401, 400):
        np.testing.assert_array_equal(jitted(X, chain(depth)), X + 1)
    assert len(traces) == 2


def test_an_object_with_an_attribute_of_a_traced_value_is_static():
    class Described:
        aval = "what it is worth"

    assert filter_jit(lambda x, thing: (x, thing.aval))(X, Described())[1] == "what it is worth"


# ------------------------------------------------------------------------------------------------- signals


class Interrupt(Exception):
    """Raised by a signal."""


def test_a_signal_at_any_line_leaves_no_context_behind():
    def handler(*_: object) -> None:
        raise Interrupt

    former = signal.signal(signal.SIGALRM, handler)
    interrupted = 0
    try:
        for step in range(1, 120):
            signal.setitimer(signal.ITIMER_REAL, 2e-4 + step * 1e-6)
            try:
                while True:  # until the signal comes, wherever that is
                    with checking(False):
                        pass
            except Interrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert check_mode() is Mode.RAISE
    except Interrupt:  # it came between two of the lines above
        interrupted += 1
    finally:
        signal.signal(signal.SIGALRM, former)
    assert interrupted
    assert check_mode() is Mode.RAISE


def test_a_variable_is_set_inside_of_what_restores_it():
    class Interrupted(RuntimeError):
        pass

    class Variable:
        value = False

        def get(self) -> bool:
            return self.value

        def set(self, value: bool) -> None:
            self.value = value
            if value:
                raise Interrupted  # as a signal does that arrives right after

    variable: Any = Variable()
    with pytest.raises(Interrupted), setting(variable, True):
        pass
    assert variable.value is False
