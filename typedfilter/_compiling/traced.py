"""What `jax.jit` traces: the body of one program, from what travelled to what the user's function takes.

Knows how arguments travel, and nothing of how a call finds its program.
"""

from __future__ import annotations

import dataclasses
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from typedfilter._compiling.donation import quiet_from_here, traced_up_to_here
from typedfilter._compiling.modes import Models
from typedfilter._compiling.options import JitOptions
from typedfilter._compiling.packing import unpack
from typedfilter._compiling.results import Results
from typedfilter._compiling.retraces import tell
from typedfilter._compiling.tokens import Token
from typedfilter._compiling.traces import History, Trace, TraceEvent, made_anew
from typedfilter._placing.bodies import placed_by_jit
from typedfilter._placing.shardings import ForJit, Placement
from typedfilter._reading import callables
from typedfilter._reading.plan import Plan
from typedfilter._reading.received import Called
from typedfilter._shapes.check import checked_body
from typedfilter._shapes.switch import checking
from typedfilter._values.context import compiling
from typedfilter._wrapping.call import OMITTED
from typedfilter._wrapping.frames import hidden, located
from typedfilter._wrapping.notes import note
from typedfilter._wrapping.stack import Link, rewind

__tracebackhide__ = hidden  # asked by pytest


@dataclasses.dataclass(frozen=True)
class Body:
    """The function of one engine, as its programs trace it."""

    root: Callable[[], Any]  # asks for the function, which nobody here keeps alive
    links: tuple[Link, ...]  # the transforms around it
    plan: Plan  # of all that the engine takes
    bound: int  # so many arguments are bound by position
    options: JitOptions  # those of the engine
    packed: Callable[[Results, Any], Any]  # what becomes of a result on its way to JAX
    history: History  # where traces are remembered
    models: Models  # which classes travel whole
    placement: Placement  # where arguments and result are to be

    def traced(self, told: ForJit, names: tuple[str, ...]) -> Callable[..., Any]:
        """What `jax.jit` traces for one program: the function on what was packed or interned on the way in.

        Args:
            told: what `jax.jit` is told of places.
            names: of the last arguments, which are passed by name where the user's call does.
        """
        results: Results = weakref.WeakKeyDictionary()

        def run(*args: Any, **kwargs: Any) -> Any:
            first = len(args) - len(names)
            kwargs |= zip(names, args[first:], strict=True)
            self.models.refuse_misplaced(args[:first], kwargs)
            args = tuple([opened(value) for value in args[:first]])
            kwargs = {name: opened(value) for name, value in kwargs.items()}
            args, kwargs = _without_omitted(self.plan, args, kwargs)
            return self.packed(results, self._recorded(told, args, kwargs))

        shown = _positional(self.plan.signature, names)  # by which JAX names the arguments
        traced = located(run, self.history.place, self.history.function)
        traced.__signature__ = shown  # type: ignore[attr-defined]
        return traced

    def _recorded(self, told: ForJit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a trace that is told of before and remembered after; an error gains a note."""
        try:
            if getattr(jax.config, "jax_disable_jit", False):  # nothing is traced
                return self._result(told, args, kwargs)
            trace = Trace.of(self.plan, args, kwargs)
            tell(TraceEvent(self.history, trace, None if self.history.count else made_anew(self.root())))
            out = self._result(told, args, kwargs)
        except Exception as error:
            note(error, self.plan, "filter_jit", args, kwargs)  # of the arguments as they are traced
            raise
        self.history.add(trace, (args, kwargs))
        return out

    def _result(self, told: ForJit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.options.quiet:
            quiet_from_here()
        fn = placed_by_jit(self.placement, _stack(self.root(), self.links, self.bound, self.plan), told)
        with compiling(), checking(self.options.check):
            out = fn(*args, **kwargs)
        if self.options.quiet:
            traced_up_to_here()
        return out


def _stack(root: Any, links: tuple[Link, ...], bound: int, plan: Plan) -> Callable[..., Any]:
    """The function with its checks, or the other transforms around it; then what is bound comes first."""
    if not links:
        return checked_body(Called.of(root, plan, eager=False))
    if not bound:
        return rewind(root, links, (), lent=True)
    return lambda values, *args, **kwargs: rewind(root, links, values, lent=True)(*args, **kwargs)


def _positional(signature: inspect.Signature, names: tuple[str, ...]) -> inspect.Signature:
    """The signature of a body that takes the arguments of these names behind the others."""
    if not names:
        return signature
    given = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in callables.POSITIONAL
    ]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values()):
        return callables.ANYTHING
    shown = [name for name in (*given, *names) if name.isidentifier()]
    return inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in dict.fromkeys(shown)]
    )


def _without_omitted(
    plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call less what stands for what was left out; what comes after such a gap is passed by name."""
    given = {name: value for name, value in kwargs.items() if value is not OMITTED}
    gap = next((i for i, value in enumerate(args) if value is OMITTED), len(args))
    later = zip(plan.positionals[gap:], args[gap:], strict=False)
    named = {param.name: value for param, value in later if value is not OMITTED}
    return tuple(args[:gap]), named | given


def opened(value: Any) -> Any:
    """An argument as the user gave it, from what it travelled as."""
    return value.value() if type(value) is Token else unpack(value)
