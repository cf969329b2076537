"""`log_retraces`: what it says, that it ends, and that it keeps nothing alive."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter._compiling.traces import Identity, TraceEvent, trace_observers
from typedfilter.annotations import Static, Traced
from typedfilter.explain.retraces import log_retraces
from typedfilter.transforms.jit import filter_jit

Logged = Callable[[], list[str]]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    caplog.set_level(logging.DEBUG, logger="typedfilter")
    return lambda: [record.getMessage() for record in caplog.records]


def new(fn: Callable[..., Any]) -> Any:
    fn.__qualname__ = fn.__name__
    return filter_jit(fn)


def test_the_argument_that_is_new_is_named(logged: Logged):
    @new
    def step(x: Float[Array, "n"], rate: Traced[float], n: Static[int]) -> Float[Array, "n"]:
        return x

    with log_retraces():
        step(jnp.zeros(3), 0.1, 1)
        step(jnp.zeros(3), 0.2, 1)
        assert logged() == []
        step(jnp.zeros(4), 0.2, 1)
        step(jnp.zeros(4), 0.2, 2)
        step(jnp.zeros(5), jnp.float32(0.2), 2)
    assert logged() == [
        "step() is traced again (2 times now): `x` f32[3] -> f32[4]",
        "step() is traced again (3 times now): `n` 1 -> 2",
        "step() is traced again (4 times now): `x` f32[4] -> f32[5]; `rate` f32[] (weakly typed) -> f32[]",
    ]


def test_the_most_similar_earlier_trace_is_compared_with(logged: Logged):
    @new
    def step(x, n, m):
        return x

    with log_retraces():
        step(jnp.zeros(3), 1, 1)
        step(jnp.zeros(4), 2, 2)
        step(jnp.zeros(3), 1, 2)
    assert logged()[1] == "step() is traced again (3 times now): `m` 1 -> 2"


def test_leaves_and_structures_are_named(logged: Logged):
    @new
    def step(model, *rest):
        return model

    with log_retraces():
        step({"a": jnp.zeros(3)})
        step({"a": jnp.zeros(3), "b": "text"})
        step([jnp.zeros(3)])
        step((jnp.zeros(3),))
        step((jnp.zeros(3),), 1.0)
    assert logged() == [
        "step() is traced again (2 times now): `model[\"b\"]` absent -> 'text'",
        'step() is traced again (3 times now): `model["a"]` f32[3] -> absent; `model[0]` absent -> f32[3]',
        "step() is traced again (4 times now): `model` PyTreeDef([*]) -> PyTreeDef((*,))",
        "step() is traced again (5 times now): `rest[0]` absent -> 1.0",
    ]


def test_the_types_of_static_values_are_told_apart(logged: Logged):
    @new
    def step(n):
        return n

    with log_retraces():
        for n in (1, 1.0, True, np.int64(1)):
            step(n)
    assert [message.partition(": ")[2] for message in logged()] == [
        "`n` 1 -> 1.0",
        "`n` 1.0 -> True",
        "`n` True -> i32[]",
    ]


def test_a_trace_for_no_visible_reason_says_so(logged: Logged):
    @new
    def step(x):
        return x

    with log_retraces():
        step(jnp.zeros(3))
        step.clear_cache()
        step(jnp.zeros(3))
    assert logged() == ["step() is traced again (2 times now): no argument differs from an earlier trace"]


def test_functions_of_one_name_are_told_apart(logged: Logged):
    with log_retraces():
        for fn in (lambda x: x, lambda x: x + 1):
            filter_jit(fn)(jnp.zeros(3))
        assert logged() == []
        filter_jit(fn)(jnp.zeros(4))
    (message,) = logged()
    assert message.endswith("<lambda>() is traced again (2 times now): `x` f32[3] -> f32[4]")


def test_options_make_another_function_of_one(logged: Logged):
    def step(x):
        return x

    with log_retraces():
        filter_jit(step)(jnp.zeros(3))
        filter_jit(step, check=False)(jnp.zeros(4))
    assert logged() == []


def test_nothing_is_remembered_of_a_function_that_is_gone():
    with log_retraces() as logging_:
        for _ in range(3):
            filter_jit(lambda x: x)(jnp.zeros(3))
        gc.collect()
        assert len(logging_._traces) == 0


def test_long_values_are_cut(logged: Logged):
    @new
    def step(text):
        return text

    with log_retraces():
        step("a")
        step("b" * 100)
    assert logged() == ["step() is traced again (2 times now): `text` 'a' -> 'bbbbbbbbbb" + "b" * 49 + "..."]


def test_it_logs_at_the_level_that_is_asked_for(caplog: pytest.LogCaptureFixture):
    @new
    def step(x):
        return x

    caplog.set_level(logging.DEBUG, logger="typedfilter")
    with log_retraces(logging.INFO):
        step(jnp.zeros(3))
        step(jnp.zeros(4))
    assert [(record.name, record.levelname) for record in caplog.records] == [("typedfilter", "INFO")]


def test_a_level_that_is_no_number_is_refused_at_once():
    with pytest.raises(TypeError) as e:
        log_retraces("high")
    assert str(e.value) == "log_retraces() takes a level such as logging.INFO, which is a number, not 'high'"
    assert trace_observers == []


def test_it_ends_by_a_call_or_with_its_block(logged: Logged):
    @new
    def step(x):
        return x

    undo = log_retraces()
    step(jnp.zeros(3))
    undo()
    undo()
    step(jnp.zeros(4))
    with log_retraces():
        pass
    step(jnp.zeros(5))
    assert logged() == []
    assert trace_observers == []


def test_two_at_once_end_independently(logged: Logged):
    @new
    def step(x):
        return x

    first = log_retraces()
    with log_retraces():
        step(jnp.zeros(3))
    step(jnp.zeros(4))
    first()
    assert len(logged()) == 1


def test_nothing_that_was_seen_is_kept_alive(logged: Logged):
    class Tag: ...

    with log_retraces():
        (observer,) = trace_observers
        identity = Identity()
        for _ in range(2):
            tag = Tag()
            seen = weakref.ref(tag)
            observer(TraceEvent("step", {"tag": tag}, identity))
            del tag
            assert seen() is None
    assert len(logged()) == 1
