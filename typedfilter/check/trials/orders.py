"""Steps of a program that order an array by a random key, or pick of it: which array, and by what function.

One key may put two arrays into one order, rows of data and their labels; of one array it gives the same
order twice. Knows programs; knows nothing of whose keys they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax

_PICKS = frozenset({"permutation", "choice"})


def frames_of(equation: Any) -> Any:
    """The frames that a step was made in, the innermost first."""
    return getattr(getattr(equation.source_info, "traceback", None), "frames", ())


def is_one_order(jaxpr: Any, first: Any, second: Any) -> bool:
    """Whether two steps with one key order two arrays in one way, of which neither is made of the other."""
    how = _picked_by(first)
    if not how or how != _picked_by(second):
        return False
    here, there = _arrays(jaxpr, first), _arrays(jaxpr, second)
    return bool(here - there) and bool(there - here) and not there & _after(jaxpr, first, bool)


def _picked_by(equation: Any) -> str:
    """The function of `jax.random` that orders or picks; empty where a step is of none."""
    file = jax.random.permutation.__code__.co_filename
    names = (str(frame.function_name) for frame in frames_of(equation) if frame.file_name == file)
    return next((name for name in names if name in _PICKS), "")


def _arrays(jaxpr: Any, step: Any) -> set[int]:
    """The arrays that are given to what a step is a part of, beside the key."""
    made: dict[int, Any] = {id(out): one for one in jaxpr.eqns if _picked_by(one) for out in one.outvars}
    flow = _after(jaxpr, step, _picked_by)
    parts = [one for one in jaxpr.eqns if one is step or (_picked_by(one) and _reads(one, flow))]
    found: set[int] = set()
    waiting = [var for one in parts for var in one.invars]
    for var in waiting:  # it grows on the way
        if id(var) in made and made[id(var)] is not step and id(var) not in flow:
            waiting += made[id(var)].invars
        elif id(var) not in flow and _is_array(var):
            found.add(id(var))
    return found


def _after(jaxpr: Any, step: Any, counts: Callable[[Any], object]) -> set[int]:
    """What is made of the results of a step, by steps that count."""
    flow = {id(out) for out in step.outvars}
    for one in itertools.dropwhile(lambda one: one is not step, jaxpr.eqns):
        if counts(one) and _reads(one, flow):
            flow |= {id(out) for out in one.outvars}
    return flow


def _is_array(var: Any) -> bool:
    """Whether a variable has axes: a number, and what is no variable, picks nothing."""
    return not hasattr(var, "val") and getattr(var.aval, "shape", ()) != ()


def _reads(equation: Any, known: set[int]) -> bool:
    return any(id(var) in known for var in equation.invars)
