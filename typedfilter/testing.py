"""What tests of users assert: that nothing is traced again, that buffers were donated, that no tracer leaks.

Each is a context manager or a function that raises; pytest has the same as fixtures and markers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import jax
import jax.core

from typedfilter._compat import says_leak
from typedfilter._compiling.retraces import retrace_of
from typedfilter._compiling.stages import site_of
from typedfilter._compiling.traces import History, TraceEvent, trace_observers
from typedfilter._values.text import steps, struct_text
from typedfilter._wrapping.frames import ends_at_caller, hidden
from typedfilter._wrapping.wrapper import BoundWrapper, Wrapper

__all__ = ["assert_donated", "assert_no_tracer_leaks", "max_traces", "no_retrace"]

__tracebackhide__ = hidden  # asked by pytest


@contextlib.contextmanager
def no_retrace() -> Generator[None]:
    """Inside, no `filter_jit` function is traced again; what is traced for the first time may be.

    A new function object of code that was traced before (a `lambda` in a loop) counts as traced again.

    Raises:
        RetraceError: where a function is called that would be traced again, with what changed and the cure.
            Also at the end of the block, if somebody caught it there.
    """
    found: list[Exception] = []

    def refuse(event: TraceEvent) -> None:
        retrace = retrace_of(event)
        if retrace is not None:
            found.append(retrace.error("where nothing may be"))
            raise found[-1]

    with _observed(refuse):
        yield
    if found:
        raise found[0]


@ends_at_caller
def max_traces(fn: Callable[..., Any], count: int) -> contextlib.AbstractContextManager[None]:
    """Inside, the `filter_jit` function `fn` is traced `count` times at most, first traces included.

    Args:
        fn: a function that `filter_jit` returned, or a method.
        count: how often it may be traced; 0 for one that is compiled already.

    Raises:
        TypeError: `fn` is not what `filter_jit` returns.
        RetraceError: where it is called and would be traced once more, with what changed and the cure.
    """
    wrapper = fn.__func__ if isinstance(fn, BoundWrapper) else fn
    if not isinstance(wrapper, Wrapper) or not hasattr(wrapper, "lower"):
        raise TypeError(f"max_traces() takes a function that filter_jit returned, not {fn!r}")
    return _counted(wrapper, count)


@contextlib.contextmanager
def _counted(wrapper: Wrapper, count: int) -> Generator[None]:
    engines = site_of(wrapper)[0]
    traced: list[History] = []
    found: list[Exception] = []

    def refuse(event: TraceEvent) -> None:
        if all(event.history is not engine.history for engine in engines.engines()):
            return
        traced.append(event.history)
        if len(traced) > count:
            retrace = retrace_of(event, first=True)
            assert retrace is not None
            found.append(retrace.error(f"where {count} {'trace is' if count == 1 else 'traces are'} allowed"))
            raise found[-1]

    with _observed(refuse):
        yield
    if found:
        raise found[0]


@contextlib.contextmanager
def _observed(observer: Callable[[TraceEvent], None]) -> Generator[None]:
    trace_observers.append(observer)
    try:
        yield
    finally:
        trace_observers.remove(observer)


@ends_at_caller
def assert_donated(*trees: Any) -> None:
    """Assert that the memory of every array in these pytrees was given to a computation.

    Raises:
        AssertionError: an array still has its memory; the text names each by its path.
    """
    alive: list[str] = []
    for number, tree in enumerate(trees):
        name = f"argument {number}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            concrete = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
            if concrete and not leaf.is_deleted():
                alive.append(f"{name}{steps(path)} ({struct_text(leaf)})")
    if alive:
        raise AssertionError(
            "not donated: " + ", ".join(alive) + "; annotate as Donate[...], and return an array of the same"
            " shape and dtype, whose place it can be"
        )


@contextlib.contextmanager
def assert_no_tracer_leaks() -> Generator[None]:
    """Inside, no tracer may outlive its trace: none is kept in a global, an attribute or a closure.

    As `jax.checking_leaks`: functions are traced anew, and slowly.

    Raises:
        AssertionError: one was kept; the text says where it was made, and what holds it.
    """
    try:
        with jax.checking_leaks():
            yield
    except Exception as error:
        if not says_leak(error):
            raise
        raise AssertionError(f"a tracer outlives its trace: {error}") from error
