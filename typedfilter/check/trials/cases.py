"""The trials of one case of a function: with symbols, then at sizes, and with sizes that must be equal.

Notes in a `Tried` what was good, refused or wrong. What all cases say together is `verdict`'s.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from typedfilter._mapping.effects import Maps
from typedfilter._reading.dims import Size
from typedfilter.check.inputs import sizes as _sizes
from typedfilter.check.inputs.layout import sized
from typedfilter.check.inputs.numbers import numbers_of
from typedfilter.check.inputs.signature import Signature
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.report.results import Frame
from typedfilter.check.trials import trial
from typedfilter.check.trials.asked import Asked
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.outcome import trial_at
from typedfilter.check.trials.owners import Owned, foreign_names, own_names
from typedfilter.check.trials.problem import (
    Due,
    NoSymbols,
    OutOfTime,
    Problem,
    Raised,
    WrongResult,
    cause_of,
)
from typedfilter.check.trials.raised import problem_of, without_locals
from typedfilter.check.trials.refusals import is_of_what_it_made, narrowed
from typedfilter.check.trials.relate import pinned, relate
from typedfilter.check.trials.supposing import supposing

_FEW = 12  # equalities that are tried with numbers
_MOST_ASKED = 2  # sizes at which a line that refuses is asked of what
_NUMBER = re.compile(r"(?<![\w.])(?!0|1\b)\d{1,3}(?![\w.]|\.\d)")
_MOST_NAMED = 2
_MOST_REFUSED = 4  # sets of sizes that are refused, one after the other, of what nobody said


def is_guessed(signature: Signature) -> bool:
    """Whether values are made up, so that nobody is blamed."""
    return signature.guess is not None and not signature.guess.constructor


def try_case(tried: Tried, thorough: bool, known: tuple[tuple[str, str], ...]) -> None:
    """Try one case with symbols, then with numbers; at fewer sizes where another case was tried at all.

    `known` are the names that were equal in the case before: likely they are so in this one.
    """
    signature, layout = tried.signature, tried.layout
    root = signature.subject.root
    try:
        plan = dataclasses.replace(trial.planned(signature, layout), read=tried.read, trials=tried.trials)
    except (UnbuildableError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the transforms refuse the arguments, or a constructor exits
        tried.problem = problem_of(error, root)
        return
    names = with_mapped(layout.names, plan)
    symbolic = symbolic_trial(plan, names, root, tried)
    if symbolic is not None:
        names, symbolic = _related(tried, plan, names, symbolic, known)
    tried.symbolic = symbolic is None
    asked = _suppose(tried, plan, names) if symbolic is None else []
    if not names.free:
        _record(tried, {}, trial_at(plan, {}, root) if isinstance(symbolic, NoSymbols) else symbolic)
        _blame_for_refused(tried, plan)
        return
    few = [*asked, *_confirming(names, signature, thorough)] if tried.symbolic else []
    _try_sizes(tried, plan, few, symbolic)
    unsure = tried.problem is not None and not tried.good and not is_guessed(signature)
    if not few or tried.refused or unsure:  # symbols don't say all
        sets = [*asked, *_sets(names, signature, thorough or symbolic is not None)]
        _try_sizes(tried, plan, [sizes for sizes in sets if sizes not in few], symbolic)
    if tried.refused and tried.problem is None:
        _look_again(tried, plan, names)


def _try_sizes(
    tried: Tried, plan: trial.Plan, sets: Iterable[Mapping[str, int]], symbolic: Problem | None
) -> None:
    """Try one set of sizes after the other; `symbolic` is what is wrong with symbols."""
    guessed = is_guessed(tried.signature)
    # What symbols don't get through is listened to here, once.
    asked = tried.asked if symbolic is not None else None
    for sizes in sets:
        problem = trial_at(plan, sizes, tried.signature.subject.root, asked)
        asked = None
        if problem is not None and symbolic is not None and symbolic.is_like(problem):
            unsure = cause_of(symbolic) is Due.SYMBOLS
            problem = problem if problem.refuses or unsure else symbolic
        _record(tried, sizes, problem)
        # What symbols show as well is there at all sizes; anything else perhaps at some only.
        if tried.problem is not None and (
            tried.good or tried.problem is symbolic or isinstance(tried.problem, OutOfTime) or guessed
        ):
            break
        if guessed and not tried.good and len(tried.refused) >= _MOST_REFUSED:
            break


def _suppose(tried: Tried, plan: trial.Plan, names: _sizes.Names) -> list[Mapping[str, int]]:
    """Note whether the proof with symbols is one for all sizes; the sizes to try where it may be none."""
    root, heard = tried.signature.subject.root, tried.asked
    if heard is None or not (heard.equal or heard.unclear):
        return []

    def attempt(guess: _sizes.Names) -> Asked | None:
        return tried.asked if symbolic_trial(plan, guess, root, tried) is None else None

    found = supposing(names, heard, attempt)
    tried.asked, tried.symbolic = heard, found.settled
    return [_divisible(names, sizes, tried.signature) for sizes in found.sets]


def _look_again(tried: Tried, plan: trial.Plan, names: _sizes.Names) -> None:
    """At other sizes than those that were refused: of what they say, and two of them equal."""
    if not tried.good:
        _at_what_it_names(tried, plan, names)
    if tried.problem is not None:
        return
    for sizes in (_divisible(names, given, plan.signature) for given in _sizes.pairs(names)):
        if trial_at(plan, sizes, plan.signature.subject.root) is None:
            tried.good.append(sizes)
    _blame_for_refused(tried, plan)


def _at_what_it_names(tried: Tried, plan: trial.Plan, names: _sizes.Names) -> None:
    """What a function that has refused all sizes so far says of those that it takes: `a multiple of 32`."""
    seen: set[int] = {size for sizes, _ in tried.refused for size in sizes.values()}
    said = {int(text) for _, problem in tried.refused for text in _NUMBER.findall(problem.message)}
    for number in sorted(said - seen)[:_MOST_NAMED]:
        multiples = {name: number * (i + 1) for i, name in enumerate(names.varied)}
        sizes = names.complete({**dict(names.fixed), **multiples})
        _record(tried, sizes, trial_at(plan, sizes, plan.signature.subject.root))


def _blame_for_refused(tried: Tried, plan: trial.Plan) -> None:
    """What a helper refuses of what the function made is its mistake, unless all is well at other sizes.

    Sizes that are equal, or 1, show nothing: there a mistake is none. To tell what was made takes another
    trial, so that each line that refuses is asked a few times only.
    """
    if tried.good and not narrowed([tried]):
        return
    asked: collections.Counter[Frame] = collections.Counter()
    for sizes, problem in tried.refused:
        if (
            problem.frame is None
            or problem.frame.function == tried.name
            or asked[problem.frame] >= _MOST_ASKED
        ):
            continue
        asked[problem.frame] += 1
        if _is_of_what_it_made(plan, sizes):
            tried.sizes, tried.problem = sizes, problem
            return


def _is_of_what_it_made(plan: trial.Plan, sizes: Mapping[str, Size]) -> bool:
    return is_of_what_it_made(plan.signature.subject.root, lambda: trial.run(plan, sizes))


def _related(
    tried: Tried,
    plan: trial.Plan,
    names: _sizes.Names,
    problem: Problem,
    known: tuple[tuple[str, str], ...],
) -> tuple[_sizes.Names, Problem | None]:
    """What must be equal for a trace: sizes of instances, of arrays and layers that were made up."""
    signature, root = tried.signature, tried.signature.subject.root

    def attempt(guess: _sizes.Names) -> Problem | None:
        return symbolic_trial(plan, guess, root, tried)

    symbolic: Problem | None = problem
    own, guessed = _owned(signature, names), is_guessed(signature)
    again = tuple((n, e) for n, e in known if n in own and n in names.free and e in names.free)
    if again:
        before = dataclasses.replace(names, equal=(*names.equal, *again))
        found = attempt(before)
        sizes = None if found is None else next(_sizes.concrete(before), None)
        if found is None or (sizes is not None and trial_at(plan, sizes, root, Asked(root)) is None):
            tried.equal = before.equal
            return before, found
    if own:
        granted = dict(tried.layout.names.equal)
        names, symbolic = relate(
            names, own, problem, attempt, granted=granted, foreign=foreign_names(signature, own)
        )
        tried.equal = names.equal
    if symbolic is not None and own:
        names = _related_by_numbers(plan, names, own, root)
        tried.equal = names.equal
        symbolic = attempt(names)
    # A wrong result is no size to ask for.
    if symbolic is not None and guessed and not isinstance(symbolic, WrongResult):
        given = len(names.fixed)
        names, symbolic = pinned(names, symbolic, tried.layout.made, attempt, sized(signature))
        tried.equal = (*tried.equal, *((name, str(size)) for name, size in names.fixed[given:]))
    return names, symbolic


def _owned(signature: Signature, names: _sizes.Names) -> Owned:
    """The names that may be taken to be another one: of instances apart, of arrays that were made up."""
    own = own_names(names.free, signature.apart)
    if is_guessed(signature):
        own = {**own, **{name: (name, "") for name in names.free if name.startswith("_")}}
    return {name: owner for name, owner in own.items() if name in names.chosen}


def _related_by_numbers(
    plan: trial.Plan, names: _sizes.Names, own: Owned, root: types.FunctionType
) -> _sizes.Names:
    """What must be equal, where symbols don't get far enough to say so; the given names if nothing helps."""

    def attempt(guess: _sizes.Names) -> Problem | None:
        sizes = next(_sizes.concrete(guess), None)
        # Listened to, as these sizes are the first to be tried next.
        problem = trial_at(plan, sizes, root, Asked(root)) if sizes is not None else NoSymbols("")
        return problem and problem.with_names({str(sizes[name]): name for name in guess.varied if sizes})

    problem = attempt(names)
    if problem is None or (isinstance(problem, Raised) and problem.how == "structure"):
        return names
    granted = dict(plan.layout.names.equal)
    found, left = relate(names, own, problem, attempt, _FEW, granted, foreign_names(plan.signature, own))
    return names if left is not None else found


def _record(tried: Tried, sizes: Mapping[str, int], problem: Problem | None) -> None:
    """Note what a trial at these sizes said; the first problem stays."""
    if problem is None:
        tried.good.append(sizes)
    elif problem.refuses and cause_of(problem) is not Due.UNFINISHED:
        tried.refused.append((sizes, problem))
    elif tried.problem is None:
        tried.problem, tried.sizes = problem, sizes


def with_mapped(names: _sizes.Names, plan: trial.Plan) -> _sizes.Names:
    """The names of a case, and those of the axes that its transforms map."""
    mapped = [level for level in plan.levels if level.size]
    given = [(level.size, level.effects.axis_size) for level in mapped if isinstance(level.effects, Maps)]
    return dataclasses.replace(
        names,
        free=(*names.free, *(level.size for level in mapped)),
        fixed=(*names.fixed, *((name, size) for name, size in given if size is not None)),
    )


def _sets(names: _sizes.Names, signature: Signature, thorough: bool) -> Iterator[Mapping[str, int]]:
    """Odd and even sizes, ones, equal ones, and those that the function mentions; the first three if thin."""
    sets = _sizes.concrete(names, numbers_of(signature) if thorough else ())
    few = sets if thorough else itertools.islice(sets, 3)
    return (_divisible(names, sizes, signature) for sizes in few)


def _confirming(names: _sizes.Names, signature: Signature, thorough: bool) -> Iterator[Mapping[str, int]]:
    """Odd sizes, ones, and equal ones if thorough: enough for what is proved, whatever code asks of sizes."""
    odd, even, *others = [*itertools.islice(_sizes.concrete(names), 4), {}, {}][:4]
    others = [sizes for sizes in others if sizes] or [even]
    kept = [odd, *others] if thorough else [odd, *others[:1]]
    return (_divisible(names, sizes, signature) for sizes in kept if sizes)


def _divisible(names: _sizes.Names, sizes: Mapping[str, Any], signature: Signature) -> Mapping[str, Any]:
    """Sizes that every axis of the mesh divides: without a mesh, those that are given."""
    mesh = signature.subject.mesh
    if mesh is None or mesh.multiple == 1:
        return sizes
    varied = {name: sizes[name] * mesh.multiple for name in names.varied}
    return names.complete({**dict(names.fixed), **varied})


def symbolic_trial(
    plan: trial.Plan, names: _sizes.Names, root: types.FunctionType, tried: Tried
) -> Problem | None:
    """What is wrong with symbols; None where nothing is. Notes in `tried` what the user's code asks."""
    tried.asked = Asked(root)
    try:
        sizes = _divisible(names, _sizes.symbolic(names), plan.signature)
    except Exception as error:  # an expression that JAX can't represent
        without_locals(error)
        return NoSymbols(str(error))
    try:
        return trial_at(plan, sizes, root, tried.asked, names.expressions)
    except UnbuildableError as error:  # perhaps only because of the symbols
        return NoSymbols(str(error))
