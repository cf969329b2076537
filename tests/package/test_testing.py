"""`typedfilter.testing`: each helper passes where it should, and fails where it should."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter
from typedfilter import Donate, filter_jit
from typedfilter._compiling.traces import trace_observers
from typedfilter.errors import RetraceError
from typedfilter.testing import assert_donated, assert_no_tracer_leaks, max_traces, no_retrace

X = jnp.ones(3)
ROOT = Path(str(typedfilter.__file__)).parent.parent
PLUGIN = (
    []
    if any(e.name == "typedfilter" for e in entry_points(group="pytest11"))
    else ["-p", "typedfilter_pytest"]
)


class Model:
    @filter_jit
    def step(self: Any, x):
        return x


def new():
    @filter_jit
    def step(x):
        return x * 2

    return step


def test_a_first_trace_is_no_retrace_and_a_second_one_is():
    step = filter_jit(lambda x: x + 7)
    with no_retrace():
        step(X)
        step(X)
    with pytest.raises(RetraceError, match=r"where nothing may be\n"), no_retrace():
        step(X[:2])
    assert trace_observers == []


def test_a_retrace_that_somebody_caught_is_told_at_the_end():
    step = new()
    step(X)
    with pytest.raises(RetraceError, match="`x`"), no_retrace():
        with pytest.raises(RetraceError):
            step(X[:1])


def frames_of(error):
    return [frame.line for frame in traceback.extract_tb(error.__traceback__)[1:]]


def test_a_traceback_ends_at_the_call_that_would_be_traced_again():
    step = new()
    step(X)

    def at_once():
        with no_retrace():
            step(X[:1])

    def caught_inside():
        with no_retrace():
            with contextlib.suppress(RetraceError):
                step(X[:1])

    def counted():
        with max_traces(step, 0):
            step(X[:1])

    for run in (at_once, counted):
        with pytest.raises(RetraceError) as caught:
            run()
        assert frames_of(caught.value) == ["step(X[:1])"]
    with pytest.raises(RetraceError) as caught:
        caught_inside()
    assert frames_of(caught.value) == ["with no_retrace():", "step(X[:1])"]


def test_a_tracer_that_is_kept_ends_at_the_call_or_the_block():
    def leaking():
        kept = []
        with assert_no_tracer_leaks():
            filter_jit(lambda x: kept.append(x + 1))(X)

    with pytest.raises(AssertionError) as caught:
        leaking()
    assert frames_of(caught.value) == ["with assert_no_tracer_leaks():"]


def test_they_decorate_functions_and_begin_anew_at_each_call():
    step = new()

    @max_traces(step, 1)
    def run(size):
        step(X[:size])

    run(1)
    run(2)

    @no_retrace()
    def again():
        step(X)

    with pytest.raises(RetraceError):
        again()
    assert trace_observers == []


def test_max_traces_counts_those_of_one_function_alone():
    step, other = new(), filter_jit(lambda x: x - 1)
    with max_traces(step, 1):
        step(X)
        step(X)
        other(X)
        other(X[:2])
    with pytest.raises(RetraceError, match="where 0 traces are allowed"), max_traces(step, 0):
        step(X[:1])


def test_max_traces_takes_a_method_and_nothing_else():
    with max_traces(Model().step, 1):
        pass
    with pytest.raises(TypeError, match="takes a function that filter_jit returned"), max_traces(len, 1):
        pass


def test_donated_arrays_pass_and_others_are_named():
    @filter_jit
    def step(x: Donate[Float[Array, "n"]], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return x + y

    x, y = X + 1, X + 2
    step(x, y)
    assert_donated(x)
    with pytest.raises(AssertionError) as caught:
        assert_donated(x, {"y": [y]})
    assert str(caught.value) == (
        'not donated: argument 1["y"][0] (f32[3]); annotate as Donate[...], and return an array of the same '
        "shape and dtype, whose place it can be"
    )


def test_a_tracer_that_is_kept_is_found():
    kept: list[Any] = []

    @filter_jit
    def leaking(x):
        kept.append(x + 1)
        return x

    with pytest.raises(AssertionError, match="a tracer outlives its trace"), assert_no_tracer_leaks():
        leaking(X)


def test_without_a_leak_nothing_is_found_and_errors_pass():
    with assert_no_tracer_leaks():
        assert (new()(X) == 2 * X).all()
    with pytest.raises(KeyError), assert_no_tracer_leaks():
        raise KeyError


def test_pytest_has_a_fixture_and_markers(tmp_path: Path):
    (tmp_path / "test_user.py").write_text(
        textwrap.dedent(
            """
            import jax.numpy as jnp, pytest
            from typedfilter import filter_jit

            @filter_jit
            def step(x):
                return x

            def twice():
                step.clear_cache()
                step(jnp.ones(3))
                step(jnp.ones(4))

            def test_plain():
                twice()

            def test_fixture(no_retrace):
                twice()

            @pytest.mark.no_retrace
            def test_marker():
                twice()

            @pytest.mark.max_traces(step, 1)
            def test_too_often():
                twice()

            @pytest.mark.max_traces(step, 2)
            def test_often_enough():
                twice()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "--strict-markers", "-rA", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'stubs'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    lines = done.stdout.splitlines()
    passed = {line.split("::")[1] for line in lines if line.startswith("PASSED")}
    failed = {line.split("::")[1].split(" ")[0] for line in lines if line.startswith("FAILED")}
    assert passed == {"test_plain", "test_often_enough"}
    assert failed == {"test_fixture", "test_marker", "test_too_often"}
    assert "RetraceError: step(): is traced again (trace 2)" in done.stdout
