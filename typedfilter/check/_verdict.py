"""Trials of every case of a function, with symbols and with numbers, and what they say together.

Floor 5. A mistake that symbols show must show at some sizes too, or the symbols are not to be trusted with
it; and what symbols prove must hold at a few sizes, because a branch on a size (`n == 1`) looks decided to
them. So nobody is blamed, and nothing is called proved, on the word of one of the two.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence

from typedfilter.check import _layout, _sizes, _trial
from typedfilter.check._build import UnbuildableError
from typedfilter.check._dims import Size
from typedfilter.check._layout import Layout, Signature
from typedfilter.check._problem import Problem, problem_of, without_locals
from typedfilter.check._relate import own_names, relate
from typedfilter.check._report import Status

_LARGEST_CONSTANT = 64
_MOST_CONSTANTS = 4
_REFUSALS = ("raise", "assert")  # a size that the function refuses in so many words is not a mistake


@dataclasses.dataclass
class Tried:
    """What the trials of one case said.

    Attributes:
        symbolic: whether the trial with symbols succeeded (or there is no name that needs a size).
        good: sizes at which the case succeeded.
        refused: sizes that the function itself refused, and how.
        problem: what is wrong; `sizes` is where it shows.
        equal: names of instances that were taken to be equal to another name.
    """

    signature: Signature
    layout: Layout
    symbolic: bool = False
    good: list[Mapping[str, int]] = dataclasses.field(default_factory=list[Mapping[str, int]])
    refused: list[tuple[Mapping[str, int], Problem]] = dataclasses.field(
        default_factory=list[tuple[Mapping[str, int], Problem]]
    )
    problem: Problem | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    equal: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass
class Verdict:
    """What all cases of a function say together; `decisive` is the case that decided."""

    status: Status
    tried: list[Tried]
    decisive: Tried | None = None
    reason: str = ""
    fix: str = ""


def verdict_of(signatures: Sequence[Signature]) -> Verdict:
    """Try every case of every signature; stop at the first that fails.

    Raises:
        UnbuildableError: a dimension can't be evaluated.
    """
    every: list[Tried] = []
    for signature in signatures:
        for layout in _layouts(signature):
            tried = _try_case(signature, layout, thorough=not every)
            every.append(tried)
            if tried.problem is not None and not _is_excused(tried, tried.problem):
                return _failed_or_skipped(every, tried)
    return _summed_up(every)


def _layouts(signature: Signature) -> Iterator[Layout]:
    """The layouts of all cases, without those that only differ in choices that were not asked for."""
    seen: set[frozenset[tuple[str, int]]] = set()
    for case in _layout.cases_of(_layout.points_of(signature)):
        layout = _layout.layout_of(signature, case)
        key = frozenset(layout.used.items())
        if key not in seen:
            seen.add(key)
            yield layout


def _failed_or_skipped(every: list[Tried], tried: Tried) -> Verdict:
    problem = tried.problem
    assert problem is not None
    subject = tried.signature.subject
    if problem.value and not (subject.layers or subject.traced):
        reason = "it uses the value of an array, which a proof does not have"
        fix = "compute with arrays only, or put `# typedfilter: ignore` on its `def`"
        return Verdict("skipped", every, tried, reason, fix)
    if problem.unfinished:
        return Verdict("skipped", every, tried, "it raises NotImplementedError", "write its body")
    return Verdict("failed", every, tried)


def _is_excused(tried: Tried, problem: Problem) -> bool:
    """Whether a case asked for what no annotation promises: a list of another length, another tree."""
    soft = {point.key: point for point in _layout.points_of(tried.signature) if point.soft}
    asked = {key: chosen for key, chosen in tried.layout.used.items() if key in soft}
    if not asked:
        return False
    if problem.refusal == "structure":
        return True
    # What another library makes of a tree (an optimiser's state, say) is no secret of ours, either.
    trees = {key: soft[key].options[chosen] for key, chosen in asked.items() if key.startswith("structure ")}
    lone_leaf = any("single leaf" in option for option in trees.values())
    return bool(trees) and (problem.foreign or (lone_leaf and problem.lookup))


def _summed_up(every: list[Tried]) -> Verdict:
    done = [tried for tried in every if tried.problem is None]
    if not any(tried.good for tried in done):
        return _all_refused(every)
    if all(tried.symbolic and not tried.refused for tried in done):
        return Verdict("proved", every)
    return Verdict("checked", every)


def _all_refused(every: list[Tried]) -> Verdict:
    for tried in every:
        problems = [problem for _, problem in tried.refused] + ([tried.problem] if tried.problem else [])
        for problem in problems:
            if problem.refusal == "assert":  # an assertion that never holds is a mistake of somebody's
                return Verdict("failed", every, dataclasses.replace(tried, problem=problem))
            reason = f"it refuses all that was tried: {problem.message}"
            fix = "add @typedfilter.check.example with what it takes"
            return Verdict("skipped", every, dataclasses.replace(tried, problem=problem), reason, fix)
    return Verdict("skipped", every, None, "there are no sizes to try", "add @typedfilter.check.example")


# ------------------------------------------------------------------------------------------------- trials


def _try_case(signature: Signature, layout: Layout, thorough: bool) -> Tried:
    """Try one case with symbols, then with numbers; at fewer sizes where another case was tried at all."""
    tried = Tried(signature, layout)
    root = signature.subject.root
    try:
        plan = _trial.planned(signature, layout)
    except UnbuildableError:
        raise
    except Exception as error:  # the transforms refuse the arguments
        tried.problem = problem_of(error, root)
        return tried
    names = _with_mapped(layout.names, plan)
    symbolic = _symbolic_trial(plan, names, root)
    if symbolic is not None and signature.apart:
        names, symbolic = relate(
            names,
            own_names(layout.names.free, signature.apart),
            symbolic,
            lambda n: _symbolic_trial(plan, n, root),
        )
        tried.equal = names.equal
    tried.symbolic = symbolic is None
    if not names.free:
        _record(tried, {}, symbolic)
        return tried
    for sizes in _sets(names, signature, thorough or symbolic is not None):
        problem = _trial_at(plan, sizes, root)
        if problem is not None and symbolic is not None and symbolic.is_like(problem):
            problem = problem if problem.refusal in _REFUSALS else symbolic
        _record(tried, sizes, problem)
        # What symbols show as well is there at all sizes; anything else perhaps at some only.
        if tried.problem is not None and (tried.good or tried.problem is symbolic):
            break
    return tried


def _record(tried: Tried, sizes: Mapping[str, int], problem: Problem | None) -> None:
    """Note what a trial at these sizes said; the first problem stays."""
    if problem is None:
        tried.good.append(sizes)
    elif problem.refusal in _REFUSALS and not problem.unfinished:
        tried.refused.append((sizes, problem))
    elif tried.problem is None:
        tried.problem, tried.sizes = problem, sizes


def _with_mapped(names: _sizes.Names, plan: _trial.Plan) -> _sizes.Names:
    mapped = [level for level in plan.levels if level.size]
    given = [(level.size, level.wrapper.transform.options.get("axis_size")) for level in mapped]
    return dataclasses.replace(
        names,
        free=(*names.free, *(level.size for level in mapped)),
        fixed=(*names.fixed, *((name, size) for name, size in given if size is not None)),
    )


def _sets(names: _sizes.Names, signature: Signature, thorough: bool) -> Iterator[Mapping[str, int]]:
    if thorough:
        yield from _sizes.concrete(names, _constants(signature.subject.root))
        return
    for number, sizes in enumerate(_sizes.concrete(names)):
        if number in (0, 2):
            yield sizes


def _constants(root: types.FunctionType) -> list[int]:
    """Small numbers that the function mentions, and their successors: it may do something else there."""
    found = {c for c in root.__code__.co_consts if type(c) is int and 1 < c <= _LARGEST_CONSTANT}
    return [size for c in sorted(found)[:_MOST_CONSTANTS] for size in (c, c + 1)]


def _symbolic_trial(plan: _trial.Plan, names: _sizes.Names, root: types.FunctionType) -> Problem | None:
    try:
        sizes = _sizes.symbolic(names)
    except Exception as error:  # an expression that JAX can't represent
        without_locals(error)
        return Problem("symbols", str(error))
    return _trial_at(plan, sizes, root)


def _trial_at(plan: _trial.Plan, sizes: Mapping[str, Size], root: types.FunctionType) -> Problem | None:
    try:
        _trial.run(plan, sizes)
    except Exception as error:  # whatever the function raises is what there is to report
        problem = problem_of(error, root)
        without_locals(error)
        return problem
    return None
