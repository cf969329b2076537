"""Trials beyond the traces of one width, where the user's code asks for what decides there.

A function that asks whether an array is traced is called with arrays, too; one that compares dtypes, or
promises one, is traced with narrower dtypes that its annotations allow. Each at one set of sizes.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from typedfilter.check.inputs import types
from typedfilter.check.inputs.layout import Layout
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.trials import trial
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.outcome import problem_at
from typedfilter.check.trials.problem import Problem, WrongResult
from typedfilter.check.trials.verdict import Verdict


def beyond(verdict: Verdict) -> Verdict:
    """A good verdict, unless arrays or dtypes that nobody has traced make another one of it."""
    good = [tried for tried in verdict.tried if tried.problem is None and tried.good]
    subject = good[0].signature.subject
    if subject.layers or subject.traced or subject.kind == "constructor":
        return verdict  # its body never sees an array
    for tried in good:
        if tried.asked is not None and tried.asked.values:
            verdict = _with_arrays(verdict, tried)
            break
    for tried in good if verdict.status != "failed" else ():
        if _depends_on_width(tried):
            return _with_widths(verdict, tried)
    return verdict


def _depends_on_width(tried: Tried) -> bool:
    return any(leaf.narrower is not None for leaf in tried.layout.leaves) and (
        (tried.asked is not None and tried.asked.widths) or _promises_width(tried)
    )


def _promises_width(tried: Tried) -> bool:
    """Whether a result is to have a dtype of one width, where an argument may have several."""
    given = {
        (leaf.dtype.name, leaf.narrower.name) for leaf in tried.layout.leaves if leaf.narrower is not None
    }
    promised = list(types.arrays_in(tried.signature.returns))
    return any(one.allows(wide) and not one.allows(narrow) for one in promised for wide, narrow in given)


# ------------------------------------------------------------------------------------------------- arrays


def _with_arrays(verdict: Verdict, tried: Tried) -> Verdict:
    """The verdict of a function that does something else with arrays than with tracers."""
    problem = _problem(tried, tried.layout, _called_with_arrays)
    sizes = ", ".join(f"{name.lstrip('_')}={size}" for name, size in tried.good[0].items())
    at = f" ({sizes})" if sizes else ""
    if problem is None:
        return _beside(verdict, f"traced, and called with arrays{at}")
    if isinstance(problem, WrongResult):
        said = f"{problem.message}, of arrays that are not traced"
        return _failed(verdict, tried, dataclasses.replace(problem, message=said))
    what = "refuses them" if problem.refuses else "fails"
    said = problem.message.splitlines()[0]
    return _beside(verdict, f"traced only: called with arrays{at}, it {what}: {said}")


def _called_with_arrays(body: Callable[..., None], *structs: jax.ShapeDtypeStruct) -> None:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # of errors that the verdict tells, JAX logs pages
    try:
        body(*map(_array, structs))
    finally:
        logging.disable(before)


def _array(struct: jax.ShapeDtypeStruct) -> jax.Array:
    if struct.dtype == types.key_dtype():
        key = jax.random.key(0)
        return jax.random.split(key, struct.shape) if struct.shape else key
    count = np.arange(math.prod(struct.shape)).reshape(struct.shape)
    return jnp.asarray(count % 2 if struct.dtype == np.dtype(bool) else count % 7 + 1, struct.dtype)


# ------------------------------------------------------------------------------------------------- dtypes


def _with_widths(verdict: Verdict, tried: Tried) -> Verdict:
    """The verdict of a function that asks for a dtype, or promises one."""
    layout = dataclasses.replace(tried.layout, leaves=tuple(_narrowed(tried.layout)))
    problem = _problem(tried, layout, jax.eval_shape)
    if not isinstance(problem, WrongResult):
        return verdict  # what JAX itself does not take in a narrow dtype is nobody's mistake
    pairs = dict.fromkeys(
        (x.dtype.name, x.narrower.name) for x in tried.layout.leaves if x.narrower is not None
    )
    only = " and ".join(wide for wide, _ in pairs)
    other = " and ".join(narrow for _, narrow in pairs)
    said = _beside(verdict, f"with {only} only: with {other}, {problem.message}")
    fix = "annotate the one dtype that it is for, as in Float32[Array, ...]"
    return dataclasses.replace(said, fix=verdict.fix or fix, by_letter=True)


def _narrowed(layout: Layout) -> Iterator[Any]:
    for leaf in layout.leaves:
        yield leaf if leaf.narrower is None else dataclasses.replace(leaf, dtype=leaf.narrower)


# --------------------------------------------------------------------------------------------------- both


def _problem(tried: Tried, layout: Layout, how: Callable[..., Any]) -> Problem | None:
    """What is wrong at the first sizes that were good before."""
    signature = tried.signature
    plan = dataclasses.replace(trial.planned(signature, layout), read=tried.read)
    try:
        return problem_at(plan, tried.good[0], signature.subject.root, how=how)
    except UnbuildableError:
        return None


def _failed(verdict: Verdict, tried: Tried, problem: Problem) -> Verdict:
    decisive = dataclasses.replace(tried, problem=problem, sizes=tried.good[0], good=[])
    return Verdict("failed", verdict.tried, decisive)


def _beside(verdict: Verdict, said: str) -> Verdict:
    only = ", ".join(filter(None, (verdict.only, said)))
    return dataclasses.replace(verdict, status="checked", only=only)
