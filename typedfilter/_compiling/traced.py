"""What `jax.jit` traces: the body of one program, from what travelled to what the user's function takes.

Knows how arguments travel, and nothing of how a call finds its program.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import jax

from typedfilter._compiling.donation import quiet_from_here, traced_up_to_here
from typedfilter._compiling.modes import Models
from typedfilter._compiling.packing import unpack
from typedfilter._compiling.results import Results
from typedfilter._compiling.retraces import tell
from typedfilter._compiling.tokens import Token
from typedfilter._compiling.traces import History, Trace, TraceEvent, made_anew
from typedfilter._declarations import Check
from typedfilter._placing.bodies import placed_by_jit
from typedfilter._placing.shardings import ForJit, Placement
from typedfilter._reading import callables
from typedfilter._reading.plan import Plan
from typedfilter._shapes.check import checked
from typedfilter._shapes.switch import checking
from typedfilter._values.context import compiling
from typedfilter._wrapping.call import without_omitted
from typedfilter._wrapping.frames import hidden, located
from typedfilter._wrapping.notes import note
from typedfilter._wrapping.stack import Link, rewind

__all__ = ["body", "opened"]

__tracebackhide__ = hidden  # asked by pytest


def body(
    root: Callable[[], Any],
    links: tuple[Link, ...],
    bound: int,
    plan: Plan,
    quiet: bool,
    check: Check,
    packed: Callable[[Results, Any], Any],
    history: History,
    models: Models,
    placement: Placement,
    places: ForJit,
    names: tuple[str, ...],
) -> Callable[..., Any]:
    """What `jax.jit` traces: the function on what was packed or interned on the way in."""
    results: Results = weakref.WeakKeyDictionary()

    def run(*args: Any, **kwargs: Any) -> Any:
        first = len(args) - len(names)
        kwargs |= zip(names, args[first:], strict=True)
        models.refuse_misplaced(args[:first], kwargs)
        args = tuple([opened(value) for value in args[:first]])
        kwargs = {name: opened(value) for name, value in kwargs.items()}
        args, kwargs = without_omitted(plan, args, kwargs)
        return packed(results, recorded(args, kwargs))

    def result(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if quiet:
            quiet_from_here()
        fn = placed_by_jit(placement, _stack(root(), links, bound, plan), places)
        with compiling(), checking(check):
            out = fn(*args, **kwargs)
        if quiet:
            traced_up_to_here()
        return out

    recorded = _recorded(result, root, plan, history)
    shown = _positional(plan.signature, names)  # by which JAX names the arguments
    traced = located(run, history.place, history.function)
    traced.__signature__ = shown  # type: ignore[attr-defined]
    return traced


def _recorded(
    result: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    root: Callable[[], Any],
    plan: Plan,
    history: History,
) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """`result`, whose traces are told of before and remembered after; an error of JAX's gains a note."""

    def recorded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            if getattr(jax.config, "jax_disable_jit", False):  # nothing is traced
                return result(args, kwargs)
            trace = Trace.of(plan, args, kwargs)
            tell(TraceEvent(history, trace, None if history.count else made_anew(root())))
            out = result(args, kwargs)
        except Exception as error:
            note(error, plan, "filter_jit", args, kwargs)
            raise
        history.add(trace)
        return out

    return recorded


def _stack(root: Any, links: tuple[Link, ...], bound: int, plan: Plan) -> Callable[..., Any]:
    """The function with its checks, or the other transforms around it; then what is bound comes first."""
    if not links:
        return checked(root, plan)
    if not bound:
        return rewind(root, links, (), lent=True)
    return lambda values, *args, **kwargs: rewind(root, links, values, lent=True)(*args, **kwargs)


def _positional(signature: inspect.Signature, names: tuple[str, ...]) -> inspect.Signature:
    """The signature of a body that takes the arguments of these names behind the others."""
    if not names:
        return signature
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = [parameter.name for parameter in signature.parameters.values() if parameter.kind in kinds]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values()):
        return callables.ANYTHING
    shown = [name for name in (*given, *names) if name.isidentifier()]
    return inspect.Signature([inspect.Parameter(name, kinds[0]) for name in dict.fromkeys(shown)])


def opened(value: Any) -> Any:
    """An argument as the user gave it, from what it travelled as."""
    return value.value() if type(value) is Token else unpack(value)
