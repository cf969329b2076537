"""What becomes of a call that failed: an error that names an argument, or another call in its place.

`jax.jit` has refused the arguments, or their trace has. Nothing of this runs while calls succeed. Asks an
engine for what it knows, and for its other ways to call; knows nothing of how these find a program.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import jax

from typedfilter._compat import says_needs_devices, says_stuck
from typedfilter._compiling.modes import Models
from typedfilter._compiling.options import JitOptions
from typedfilter._placing.bodies import gets_blocks, placement_is_off
from typedfilter._placing.faults import placement_error, sliced
from typedfilter._placing.shardings import Placement
from typedfilter._reading.plan import Plan
from typedfilter._shapes.switch import checking, raises, report
from typedfilter._values.context import is_compiling, setting
from typedfilter._wrapping import blame as _diagnose
from typedfilter._wrapping.frames import hidden, place_of, raise_as_it_is, reached_user
from typedfilter._wrapping.notes import note
from typedfilter.errors import TypedFilterError

__tracebackhide__ = hidden  # asked by pytest


class Engine(Protocol):
    """What is asked of an engine, which stands a floor above."""

    plan: Plan
    placement: Placement
    models: Models
    options: JitOptions
    table: dict[Any, Callable[..., Any]]
    root: Callable[[], Any]

    @functools.cached_property
    def call(self) -> Callable[..., Any]: ...

    @functools.cached_property
    def by_rule(self) -> Any: ...

    def unplaced(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

    def clear_cache(self) -> None: ...


E = TypeVar("E", bound=Engine)


def explain(
    engine: Engine, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any] | None:
    """Raise a better error than `error`, if there is one; or what to do instead of raising any."""
    if engine.models.misjudged(args, kwargs):
        engine.table.clear()
        return lambda: engine.call(*args, **kwargs)
    if isinstance(error, TypedFilterError):  # it names what is wrong
        return None
    if says_stuck(error) and not (reached_user(error) or is_compiling() or _anew.get()):
        return lambda: _call_anew(engine, args, kwargs)
    if engine.placement.says_something:
        if _needs_no_devices(error) or _gets_blocks(engine, error, args, kwargs):
            return lambda: engine.unplaced(args, kwargs)
        ready = sliced(engine.placement, error, args, kwargs)
        if ready is not None:
            return lambda: engine.call(*ready[0], **ready[1])
    better = better_error(engine, error, args, kwargs)
    if better is not None:
        loose = _loosely(engine, better, error, args, kwargs)
        if loose is None:
            raise_as_it_is(better)
        return functools.partial(loose.call, *args, **kwargs)
    note(error, engine.plan, "filter_jit", args, kwargs)
    return None


_anew: contextvars.ContextVar[bool] = contextvars.ContextVar("typedfilter_anew", default=False)


def _call_anew(engine: Engine, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call of a function that JAX knows nothing of yet.

    An interrupt that hits JAX where it takes note of what it is about to trace leaves that note for good, and
    each call after that is one that has called itself. What it knows of this function hangs on its body.
    """
    engine.clear_cache()
    with setting(_anew, True):
        return engine.call(*args, **kwargs)


def fitting(engine: E, args: tuple[Any, ...], kwargs: dict[str, Any]) -> E:
    """What to prepare a call of ahead of time, where no error tells that its arguments don't fit."""
    error = TypeError()
    better = better_error(engine, error, args, kwargs)
    return engine if better is None else _loosely(engine, better, error, args, kwargs) or engine


def better_error(
    engine: Engine, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> BaseException | None:
    """An error that says which argument is to blame for `error`; `None` where none is."""
    better = placement_error(engine.placement, error, args, kwargs)
    if better is not None:
        return better
    return _diagnose.better_error(engine.plan, error, args, kwargs, place_of(engine.root()))


def _loosely(
    engine: E, better: BaseException, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> E | None:
    """What to call where checks don't mind, and what is wrong is wrong by an annotation alone."""
    with checking(engine.options.check):
        loose: E | None = None if raises() else engine.by_rule
        if loose is None or not isinstance(better, TypedFilterError):
            return None
        if better_error(loose, error, args, kwargs) is not None:
            return None
        report(better, engine.root(), (better.function, (better.parameter,)))
    return loose


def _gets_blocks(engine: Engine, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether JAX has refused places that a map over blocks around has honoured."""
    refused = gets_blocks(engine.plan) and engine.placement.options is None
    return refused and placement_error(engine.placement, error, args, kwargs) is not None


def _needs_no_devices(error: Exception) -> bool:
    """Whether `jax.jit` has refused a place since there are no devices, where only shapes are asked for."""
    if not says_needs_devices(error):
        return False
    return placement_is_off() or not jax.sharding.get_abstract_mesh().empty
