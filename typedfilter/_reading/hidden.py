"""Markers that nobody honours, since somebody else's wrapper is between a transform and their function.

Of a wrapper's own parameters nothing is known, whatever the function inside is annotated with. A marker
there that a transform would have to read is refused, and so is one that a transform of JAX's passes over.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

from typedfilter._reading.callables import name_of
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import plan_of
from typedfilter._reading.roles import Role
from typedfilter._reading.text import show
from typedfilter._reading.wrappers import hands_on, is_method, is_wrapper, made_by_jax
from typedfilter.annotations import AxisSpec
from typedfilter.errors import AnnotationError

DIFFERENTIATION = frozenset({"Diff", "NoDiff"})
MAPPING = frozenset({"VmapAxis"})
_BY_JAX = {
    "grad": DIFFERENTIATION,
    "value_and_grad": DIFFERENTIATION,
    "jacfwd": DIFFERENTIATION,
    "jacrev": DIFFERENTIATION,
    "vmap": MAPPING,
    "pmap": MAPPING,
}


def refuse_hidden(fn: Any, transform: str, reads: Collection[str]) -> None:
    """Refuse markers of the function inside of foreign wrappers.

    Args:
        fn: what is transformed.
        transform: its name.
        reads: the markers that it reads.

    Raises:
        AnnotationError: one of these is there, or one that a transform of JAX's passes over; or it is on an
            argument that a method or a partial has bound.
    """
    _refuse_bound(fn, transform, reads)
    layers, inside = _layers(fn)
    if not layers:
        return
    plan = plan_of(inside)
    ignored: dict[str, str] = {}
    if not hasattr(type(inside), "__typedfilter_plan__"):  # else one of ours has honoured it
        ignored = {marker: name for name in layers for marker in _BY_JAX.get(name, ())}
    for name, hint in plan.by_name:
        for marker in _markers(hint):
            if marker in ignored:
                by = ignored[marker]
                problem = f"is annotated {show(hint.annotation)}, but jax.{by} reads no annotations"
                fix = f"use filter_{by} in its place"
                raise AnnotationError(problem, function=plan.function, parameter=name, fix=fix)
            if marker in reads:
                raise AnnotationError(
                    f"is annotated {show(hint.annotation)}, but {transform} is given a wrapper of "
                    f"{name_of(inside)}, and of that it knows nothing",
                    function=plan.function,
                    parameter=name,
                    fix=f"apply {transform} to the function itself, and the wrapper to the result",
                )


def _refuse_bound(fn: Any, transform: str, reads: Collection[str]) -> None:
    """Refuse to look away where a marker asks for what is bound to be differentiated, or mapped."""
    while isinstance(fn, functools.partial) or is_method(fn):
        inner, count = (fn.func, len(fn.args)) if isinstance(fn, functools.partial) else (fn.__func__, 1)
        plan = plan_of(inner)
        for param in plan.positionals[:count]:
            wanted = {"Diff": param.hint.diff is True, "VmapAxis": param.hint.axis not in _BROADCAST}
            if any(wanted.get(marker) for marker in reads):
                raise AnnotationError(
                    f"is annotated {show(param.hint.annotation)}, but {transform} is given a function "
                    "that has it already",
                    function=plan.function,
                    parameter=param.name,
                    fix=f"apply {transform} to the function itself, and pass `{param.name}` as an argument",
                )
        fn = inner


_BROADCAST = (None, AxisSpec(None))


def _layers(fn: Any) -> tuple[list[str], Any]:
    """The wrappers around a function of which nothing is known, by name, and what is inside of them."""
    layers: list[str] = []
    while not hasattr(type(fn), "__typedfilter_plan__"):
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif is_method(fn):
            fn = fn.__func__
        elif is_wrapper(fn):
            if not hands_on(fn):
                layers.append(made_by_jax(fn))
            fn = fn.__wrapped__
        else:
            break
    return layers, fn


def _markers(hint: Hint) -> list[str]:
    found = {
        "Donate": hint.donate,
        "Traced": hint.role is Role.TRACED,
        "VmapAxis": hint.axis is not None or bool(hint.axes),
        "Diff": hint.diff is True,
        "NoDiff": hint.diff is False,
        "PartitionSpec": hint.sharding is not None,
    }
    return [marker for marker, is_there in found.items() if is_there]
