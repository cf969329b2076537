"""One function's listing: its verdict, and what was seen on its lines when its trials were watched."""

from __future__ import annotations

from collections.abc import Sequence

from typedfilter.check.lines import Shapes, Wrong
from typedfilter.check.report import source
from typedfilter.check.report.listing import Listing, Remark
from typedfilter.check.report.results import Result
from typedfilter.check.trials.judge import judged
from typedfilter.check.trials.meshes import Axes
from typedfilter.check.trials.problem import Problem, WrongLocal
from typedfilter.check.trials.subject import Subject
from typedfilter.check.trials.watched import Case, Run

_MOST_CASES = 8
_MOST_TURNS = 4


def listing_of(subject: Subject, keys: bool = False, axes: Axes = ()) -> Listing:
    """The verdict on a function, and the shapes of its locals; `keys` and `axes` as `judge` has them."""
    result, verdict = judged(subject, keys, axes)
    where = source.function_at(subject.file, subject.line, subject.root.__name__)
    if verdict is None or where is None:
        return Listing(result)
    problem = verdict.decisive.problem if verdict.decisive else None
    is_local = isinstance(problem, WrongLocal)
    decided = [verdict.decisive] if verdict.decisive is not None and not is_local else verdict.tried
    cases = [Case(tried, where.node) for tried in decided[:_MOST_CASES]]
    runs = [run for case in cases for run in case.runs]
    wrong = {(one.line, one.name): one for case in cases for one, _ in case.wrong()}
    remarks = [Remark(one.line, _wrong_text(one)) for one in wrong.values()]
    if (result.status == "failed" and not is_local) or any(run.raised for run in runs):
        remarks.append(_remark(result, problem, runs, where.line))
    first = min([where.node.lineno, *(d.lineno for d in where.node.decorator_list)])
    last = where.node.end_lineno or where.node.lineno
    return Listing(result, first, last, _merged([run.recorder.shapes for run in runs]), tuple(remarks))


def _remark(result: Result, problem: Problem | None, runs: Sequence[Run], line: int) -> Remark:
    """What the verdict says, at the line that raised or the annotation that does not hold."""
    facts = [("expected", result.expected), ("found", result.found)]
    message = result.message if result.status == "failed" or problem is None else problem.message
    said = [message, *(f"{label}: {text}" for label, text in facts if text)]
    raised = next((run.raised for run in runs if run.raised), 0)
    return Remark(raised or (result.span.line if result.span else line), "\n".join(said))


def _wrong_text(wrong: Wrong) -> str:
    return f"{wrong.message}\nexpected: {wrong.expected}\nfound: {wrong.found}"


def _merged(every: Sequence[Shapes]) -> Shapes:
    """What was seen on each line: in turns of a loop one after the other, in several trials this or that."""
    found: Shapes = {}
    for shapes in every:
        for line, names in shapes.items():
            for name, texts in names.items():
                alternatives = found.setdefault(line, {}).setdefault(name, [])
                said = " then ".join(texts if len(texts) <= _MOST_TURNS else [*texts[:_MOST_TURNS], "..."])
                if said not in alternatives:
                    alternatives.append(said)
    return found
