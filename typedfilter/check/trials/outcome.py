"""What comes of one trial: an exception becomes a `Problem`, and no trial is made twice.

One function is read in several ways, and many of its cases are the same in all of them. What came of those is
remembered with the signature. Knows trials; knows nothing of readings or verdicts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import jax

from typedfilter._reading.dims import Size
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.trials import trial
from typedfilter.check.trials.asked import Asked
from typedfilter.check.trials.patience import OutOfTimeError, patience
from typedfilter.check.trials.problem import OutOfTime, Problem
from typedfilter.check.trials.raised import problem_of, without_locals


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What came of one trial."""

    problem: Problem | None
    unmade: UnbuildableError | None  # that a value can't be made
    read: frozenset[str]  # the fields that somebody has read
    asked: Asked | None  # what the user's code has asked, if somebody has listened


def trial_at(
    plan: trial.Plan,
    sizes: Mapping[str, Size],
    root: FunctionType,
    asked: Asked | None = None,
    expressions: tuple[str, ...] = (),
) -> Problem | None:
    """What is wrong at these sizes; None where nothing is. What one reading has tried, no other tries again.

    Args:
        plan: what is traced.
        sizes: by name.
        root: the function under test.
        asked: where to note what the user's code asks.
        expressions: what is a size, too, where sizes are symbols.

    Raises:
        UnbuildableError: a value can't be made.
    """
    plan.trials.append(sizes)
    key = plan.key, frozenset((name, str(size)) for name, size in sizes.items()), expressions
    known = plan.signature.outcomes.get(key)
    if known is None or (asked is not None and known.asked is None):
        known = _outcome(plan, sizes, root, None if asked is None else Asked(root))
        if not plan.levels:  # which note in their first trial where the mapped axes are
            plan.signature.outcomes[key] = known
    plan.read.update(known.read)
    if asked is not None and known.asked is not None:
        asked.hear(known.asked)
    if known.unmade is not None:
        raise known.unmade.with_traceback(None)
    return known.problem


def _outcome(
    plan: trial.Plan, sizes: Mapping[str, Size], root: FunctionType, asked: Asked | None
) -> _Outcome:
    read: set[str] = set()
    problem, unmade = None, None
    try:
        around = trial.nothing if asked is None else asked.listening
        problem = problem_at(dataclasses.replace(plan, read=read), sizes, root, around)
    except UnbuildableError as error:  # of which no frame is kept: tracers must not outlive their trace
        unmade = error.with_traceback(None)
        unmade.__cause__ = unmade.__context__ = None
    return _Outcome(problem, unmade, frozenset(read), asked)


def problem_at(
    plan: trial.Plan,
    sizes: Mapping[str, Size],
    root: FunctionType,
    around: trial.Around = trial.nothing,
    how: Callable[..., Any] = jax.eval_shape,
) -> Problem | None:
    """What is wrong at these sizes; None where nothing is. `around` and `how` as `trial.run` has them.

    Raises:
        UnbuildableError: a value can't be made.
    """
    try:
        with patience(root.__code__.co_filename):
            trial.run(plan, sizes, how, around)
    except (UnbuildableError, KeyboardInterrupt):
        raise
    except OutOfTimeError as error:
        without_locals(error)
        return OutOfTime(str(error))
    except BaseException as error:  # whatever the function raises (or sys.exit()) is what there is to report
        problem = problem_of(error, root)
        without_locals(error)
        return problem
    return None
