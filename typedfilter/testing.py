"""What tests of users assert: that nothing is traced again, that buffers were donated, that no tracer leaks.

Each is a context manager or a function that raises; pytest has the same as fixtures and markers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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
from typedfilter.errors import RetraceError

__all__ = ["assert_donated", "assert_no_tracer_leaks", "max_traces", "no_retrace"]

__tracebackhide__ = hidden  # asked by pytest


def no_retrace() -> contextlib.AbstractContextManager[None]:
    """Inside, no `filter_jit` function is traced again; what is traced for the first time may be.

    A new function object of code that was traced before (a `lambda` in a loop) counts as traced again.

    Raises:
        RetraceError: where a function is called that would be traced again, with what changed and the cure.
            Also at the end of the block, if somebody caught it there.
    """

    def refused(event: TraceEvent) -> RetraceError | None:
        retrace = retrace_of(event)
        return None if retrace is None else retrace.error("where nothing may be")

    return _Refusing(lambda: refused)


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


def _counted(wrapper: Wrapper, count: int) -> contextlib.AbstractContextManager[None]:
    engines = site_of(wrapper)[0]
    allowed = f"where {count} {'trace is' if count == 1 else 'traces are'} allowed"

    def counting() -> _Refused:
        traced: list[History] = []

        def refused(event: TraceEvent) -> RetraceError | None:
            if all(event.history is not engine.history for engine in engines.engines()):
                return None
            traced.append(event.history)
            retrace = retrace_of(event, first=True) if len(traced) > count else None
            return None if retrace is None else retrace.error(allowed)

        return refused

    return _Refusing(counting)


_Refused = Callable[[TraceEvent], RetraceError | None]


class _Refusing(contextlib.ContextDecorator, contextlib.AbstractContextManager[None]):
    """Inside, a trace is not made of which what `start` returns has an error; raised again at the end.

    A class and no generator, whose frame would be the last of the traceback.
    """

    def __init__(self, start: Callable[[], _Refused]) -> None:
        self._start = start

    def _observe(self, event: TraceEvent) -> None:
        error = self._refused(event)
        if error is not None:
            self._found.append(error)
            raise error

    def __enter__(self) -> None:
        self._refused = self._start()
        self._found: list[RetraceError] = []
        self._observer = self._observe
        trace_observers.append(self._observer)

    @ends_at_caller
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        trace_observers.remove(self._observer)
        if error is None and self._found:
            raise self._found[0]


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


class assert_no_tracer_leaks(contextlib.ContextDecorator, contextlib.AbstractContextManager[None]):
    """Inside, no tracer may outlive its trace: none is kept in a global, an attribute or a closure.

    As `jax.checking_leaks`: functions are traced anew, and slowly.

    Raises:
        AssertionError: one was kept; the text says where it was made, and what holds it.
    """

    def __enter__(self) -> None:
        self._checking = jax.checking_leaks()
        self._checking.__enter__()

    @ends_at_caller
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._checking.__exit__(kind, error, trace)
        if isinstance(error, Exception) and says_leak(error):
            raise AssertionError(f"a tracer outlives its trace: {error}") from error
