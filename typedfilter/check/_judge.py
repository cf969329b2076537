"""The verdict on one function: trials of every case, with symbols and with numbers, and what they say together.

Floor 5. A mistake that symbols show must show at some sizes too, or the symbols are not to be trusted with
it; and what symbols prove must hold at a few sizes, because a branch on a size (`n == 1`) looks decided to
them. So nobody is blamed, and nothing is called proved, on the word of one of the two.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from typedfilter._plan import plan_of
from typedfilter.check import _build, _layout, _sizes, _source, _trial, _types
from typedfilter.check._build import Unbuildable
from typedfilter.check._dims import Size
from typedfilter.check._layout import Layout, Signature
from typedfilter.check._nodes import Point
from typedfilter.check._problem import Problem, problem_of, without_locals
from typedfilter.check._report import Result, Status
from typedfilter.check._subject import Subject
from typedfilter.errors import AnnotationError

_LARGEST_CONSTANT = 64
_MOST_CONSTANTS = 4


@dataclasses.dataclass
class Tried:
    """What the trials of one case said.

    Attributes:
        symbolic: whether the trial with symbols succeeded (or there is no name that needs a size).
        good: sizes at which the case succeeded.
        refused: sizes that the function itself refused, and how.
        problem: what is wrong; `sizes` is where it shows.
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


def is_annotated(subject: Subject) -> bool:
    """Whether the signature of a function says a shape, so that there is something to prove.

    A function that takes models and returns nothing does something with them (saves them, prints them):
    it is not run.
    """
    plan = plan_of(subject.root)
    own = [p.hint.type for p in plan.params if p.hint.annotated]
    if any(_says_shape(hint) for hint in (*own, plan.returns.type)):
        return True
    returns = plan.returns
    if not returns.annotated or returns.type in (None, type(None)):
        return False
    if any(True for _ in _types.arrays_in(returns.type)):
        return True
    receiver = [subject.cls] if subject.kind in ("method", "property") else []
    return any(True for hint in (*own, *receiver) for _ in _types.arrays_in(hint))


def _says_shape(hint: Any) -> bool:
    """Whether an annotation mentions an array itself, and not only in the fields of a class."""
    hint = _types.plain(hint)
    if _types.is_array(hint):
        return True
    if isinstance(hint, type) and not _types.is_tree(hint):
        return False
    return any(_says_shape(child) for child in _types.children(hint))


def judge(subject: Subject) -> Result:
    """The verdict on a function."""
    where = _source.function_at(subject.file, subject.line, subject.root.__name__)
    base = Result(subject.name, subject.file, where.line if where else subject.line, "skipped", "")
    reason = _not_judged(subject, where)
    if reason:
        return dataclasses.replace(base, message=reason)
    try:
        plan = plan_of(subject.root)
        examples = _build.examples_of(subject.root) or [{}]
        signatures = [_layout.signature_of(subject, plan, example) for example in examples]
        verdict = _verdict(signatures)
    except Unbuildable as problem:
        return dataclasses.replace(base, message=problem.reason, fix=problem.fix)
    except AnnotationError as error:
        return dataclasses.replace(base, status="failed", message=str(error))
    return _result(base, verdict, where)


def _not_judged(subject: Subject, where: _source.Function | None) -> str:
    if where is not None and where.ignored:
        return "ignored: `# typedfilter: ignore`"
    if _build.is_abstract(subject.root) or (subject.cls is not None and _types.is_protocol(subject.cls)):
        return "abstract: there is no body to check"
    flags = subject.root.__code__.co_flags
    if flags & (0x20 | 0x80 | 0x200):
        return "a generator or coroutine: its body does not run when it is called"
    return ""


@dataclasses.dataclass
class Verdict:
    """What all cases of a function say together."""

    status: Status
    tried: list[Tried]
    decisive: Tried | None = None
    reason: str = ""
    fix: str = ""


def _verdict(signatures: Sequence[Signature]) -> Verdict:
    every: list[Tried] = []
    for signature in signatures:
        for layout in _layouts(signature):
            tried = _try_case(signature, layout, thorough=not every)
            every.append(tried)
            if tried.problem is not None and not _is_refusal(tried, tried.problem):
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
        reason = "uses the value of an array, which a proof does not have"
        return Verdict("skipped", every, tried, reason, "return an array, or put `# typedfilter: ignore` on it")
    if problem.unfinished:
        return Verdict("skipped", every, tried, "raises NotImplementedError")
    return Verdict("failed", every, tried)


def _is_refusal(tried: Tried, problem: Problem) -> bool:
    """Whether a case asked for what no annotation promises: a list of another length, another tree."""
    soft = {point.key for point in _layout.points_of(tried.signature) if point.soft}
    return problem.refusal == "structure" and bool(soft & set(tried.layout.used))


def _summed_up(every: list[Tried]) -> Verdict:
    good = [tried for tried in every if tried.problem is None and (tried.good or tried.symbolic)]
    if not good:
        return _all_refused(every)
    if all(tried.symbolic and not tried.refused for tried in every if tried.problem is None):
        return Verdict("proved", every)
    return Verdict("checked", every)


def _all_refused(every: list[Tried]) -> Verdict:
    for tried in every:
        problems = [problem for _, problem in tried.refused] + ([tried.problem] if tried.problem else [])
        for problem in problems:
            if problem.refusal == "assert":  # an assertion that never holds is a mistake of somebody's
                return Verdict("failed", every, dataclasses.replace(tried, problem=problem))
            reason = f"refuses everything that was tried: {problem.message}"
            return Verdict("skipped", every, tried, reason, "add @typedfilter.check.example with what it takes")
    return Verdict("skipped", every, None, "there are no sizes to try", "add @typedfilter.check.example")


# ------------------------------------------------------------------------------------------------- trials


def _try_case(signature: Signature, layout: Layout, thorough: bool) -> Tried:
    """Try one case with symbols, then with numbers; at fewer sizes where another case was tried at all."""
    tried = Tried(signature, layout)
    file = signature.subject.file
    try:
        plan = _trial.planned(signature, layout)
    except Unbuildable:
        raise
    except Exception as error:  # the transforms refuse the arguments
        tried.problem = problem_of(error, file)
        return tried
    names = _with_mapped(layout.names, plan)
    symbolic = _symbolic_trial(plan, names, file)
    tried.symbolic = symbolic is None
    if not names.free:
        tried.problem = symbolic
        if symbolic is None:
            tried.good.append({})
        elif symbolic.refusal in ("raise", "assert"):
            tried.problem = None
            tried.refused.append(({}, symbolic))
        return tried
    for sizes in _sets(names, signature, thorough or symbolic is not None):
        problem = _trial_at(plan, sizes, file)
        if problem is None:
            tried.good.append(sizes)
        elif problem.refusal in ("raise", "assert"):
            tried.refused.append((sizes, problem))
        else:
            like = symbolic is not None and symbolic.is_like(problem)
            tried.problem = symbolic if like else problem
            tried.sizes = sizes
            break
    return tried


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
    """Small numbers that the function mentions: sizes at which it may do something else."""
    found = {c for c in root.__code__.co_consts if type(c) is int and 1 < c <= _LARGEST_CONSTANT}
    return sorted(found)[:_MOST_CONSTANTS]


def _symbolic_trial(plan: _trial.Plan, names: _sizes.Names, file: str) -> Problem | None:
    try:
        sizes = _sizes.symbolic(names)
    except Exception as error:  # an expression that JAX can't represent
        without_locals(error)
        return Problem("symbols", str(error))
    return _trial_at(plan, sizes, file)


def _trial_at(plan: _trial.Plan, sizes: Mapping[str, Size], file: str) -> Problem | None:
    try:
        _trial.run(plan, sizes)
    except Exception as error:  # whatever the function raises is what there is to report
        problem = problem_of(error, file)
        without_locals(error)
        return problem
    return None


# -------------------------------------------------------------------------------------------------- words


def _result(base: Result, verdict: Verdict, where: _source.Function | None) -> Result:
    if verdict.status in ("proved", "checked"):
        return dataclasses.replace(base, status=verdict.status, message=_praise(verdict))
    tried = verdict.decisive
    problem = tried.problem if tried else None
    if verdict.status == "skipped":
        frame = problem.frame if problem else None
        return dataclasses.replace(base, message=verdict.reason, fix=verdict.fix, frame=frame)
    assert tried is not None and problem is not None
    span = where.span(problem.parameter) if where is not None and problem.parameter else None
    return dataclasses.replace(
        base,
        status="failed",
        message=problem.message,
        expected=problem.expected,
        found=problem.found,
        dims=_dims_of(tried),
        sizes={name: size for name, size in tried.sizes.items() if not name.startswith("_")},
        case=_case_text(tried),
        span=span,
        frame=problem.frame,
    )


def _dims_of(tried: Tried) -> dict[str, str]:
    dims = {name: where for name, where in tried.layout.origins.items() if not name.startswith("_")}
    extra = [name for name in tried.sizes if name not in dims and not name.startswith("_")]
    return dims | dict.fromkeys(extra, "the mapped axis")


def _case_text(tried: Tried) -> tuple[str, ...]:
    """The choices that are not the usual ones."""
    points: Sequence[Point] = _layout.points_of(tried.signature)
    return tuple(
        point.options[min(tried.layout.used[point.key], len(point.options) - 1)]
        for point in points
        if tried.layout.used.get(point.key)
    )


def _praise(verdict: Verdict) -> str:
    done = [tried for tried in verdict.tried if tried.problem is None]
    if verdict.status == "proved":
        text = "for all sizes" if any(tried.layout.names.free for tried in done) else "all sizes are fixed"
    else:
        text = f"checked at {_sizes_text(done)}"
    cases = len(done)
    notes = [note for tried in done[:1] for note in tried.signature.notes]
    refused = [(sizes, problem) for tried in done for sizes, problem in tried.refused]
    parts = [text]
    if cases > 1:
        parts.append(f"in {cases} cases")
    if notes:
        parts.append(f"with {', '.join(notes)}")
    if refused:
        parts.append(f"refused at {_one(refused[0][0])}: {refused[0][1].message}")
    if done[0].signature.returns is Any:
        parts.append("no return annotation: only the trace was checked")
    if done[0].signature.subject.opaque:
        parts.append(f"its body only: {done[0].signature.subject.opaque} around it can't be followed")
    return "; ".join(parts)


def _sizes_text(done: Sequence[Tried]) -> str:
    # The case with the most trials says which sizes there were.
    inconclusive = [tried for tried in done if not tried.symbolic] or list(done)
    most = max(inconclusive, key=lambda tried: len(tried.good))
    return " and ".join(_one(sizes) for sizes in most.good) or "its fixed sizes"


def _one(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())
