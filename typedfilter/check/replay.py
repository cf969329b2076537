"""One function's listing: its verdict, and the trials behind it run once more with its lines watched.

With symbols where these were enough for the verdict, else at the sizes that the verdict stands on. What
only one of the two shows of a local's annotation is nobody's mistake.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from typedfilter._mapping.effects import Maps
from typedfilter._reading.dims import Size
from typedfilter.check.inputs import sizes as _sizes
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.lines import Recorder, Shapes, Statements, Wrong
from typedfilter.check.report import source
from typedfilter.check.report.listing import Listing, Remark
from typedfilter.check.report.results import Result
from typedfilter.check.trials import trial
from typedfilter.check.trials.compare import MismatchError
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.judge import judged
from typedfilter.check.trials.patience import patience
from typedfilter.check.trials.problem import Problem, problem_of, without_locals
from typedfilter.check.trials.subject import Subject
from typedfilter.check.trials.verdict import with_mapped

_MOST_CASES = 8
_MOST_SIZES = 3
_MOST_TURNS = 4


@dataclasses.dataclass
class _Run:
    """One trial that was watched, and the line at which it raised (0: it did not)."""

    recorder: Recorder
    raised: int = 0
    problem: Problem | None = None


def listing_of(subject: Subject) -> Listing:
    """The verdict on a function, and the shapes of its locals."""
    result, verdict = judged(subject, keys=False)
    where = source.function_at(subject.file, subject.line, subject.root.__name__)
    if verdict is None or where is None:
        return Listing(result)
    runs: list[_Run] = []
    wrong: dict[tuple[int, str], Wrong] = {}
    for tried in [verdict.decisive] if verdict.decisive is not None else verdict.tried[:_MOST_CASES]:
        case = _Case(tried, where.node)
        runs += case.runs
        wrong |= {(one.line, one.name): one for one in case.wrong()}
    problem = verdict.decisive.problem if verdict.decisive else None
    remarks = [Remark(one.line, _wrong_text(one)) for one in wrong.values()]
    if result.status == "failed" or any(run.raised for run in runs):
        remarks.append(_remark(result, problem, runs, where.line))
    first = min([where.node.lineno, *(d.lineno for d in where.node.decorator_list)])
    last = where.node.end_lineno or where.node.lineno
    return Listing(result, first, last, _merged([run.recorder.shapes for run in runs]), tuple(remarks))


def _remark(result: Result, problem: Problem | None, runs: Sequence[_Run], line: int) -> Remark:
    """What the verdict says, at the line that raised or the annotation that does not hold."""
    facts = [("expected", result.expected), ("found", result.found)]
    message = result.message if result.status == "failed" or problem is None else problem.message
    said = [message, *(f"{label}: {text}" for label, text in facts if text)]
    raised = next((run.raised for run in runs if run.raised), 0)
    return Remark(raised or (result.span.line if result.span else line), "\n".join(said))


def _wrong_text(wrong: Wrong) -> str:
    why = f": {wrong.why}" if wrong.why else ""
    return f"`{wrong.name}` is not what is annotated{why}\nexpected: {wrong.expected}\nfound: {wrong.found}"


class _Case:
    """One case of a signature, run again as it was decided: with symbols, or at a few sizes."""

    def __init__(self, tried: Tried, node: ast.AST) -> None:
        self._tried = tried
        self._node = node
        self._by_symbols = False
        self.runs: list[_Run] = []
        try:
            self._plan = _on_its_own(trial.planned(tried.signature, tried.layout))
        except Exception:  # the transforms refuse the arguments: the verdict says so
            return
        run = self._symbolic() if tried.symbolic or tried.problem is not None else None
        if run is not None and _is_as_decided(run, tried.problem):
            self._by_symbols = True
            self.runs.append(run)
        else:
            every = [tried.sizes] if tried.problem is not None else tried.good[:_MOST_SIZES]
            self.runs += [self._at(sizes) for sizes in every]

    def wrong(self) -> Iterator[Wrong]:
        """The annotated locals that are something else, with symbols and with numbers."""
        found = [one for run in self.runs for one in run.recorder.wrong]
        if not found or not self._by_symbols:  # numbers are what a call would have
            yield from found
            return
        sizes = self._tried.good[:_MOST_SIZES] or [self._tried.sizes]
        confirmed = {(one.line, one.name) for at in sizes for one in self._at(at).recorder.wrong}
        yield from (one for one in found if (one.line, one.name) in confirmed)

    def _symbolic(self) -> _Run | None:
        tried = self._tried
        names = with_mapped(tried.layout.names, self._plan)
        same = tuple((name, other) for name, other in tried.equal if not other.isdigit())
        pins = tuple((name, int(other)) for name, other in tried.equal if other.isdigit())
        names = dataclasses.replace(names, equal=(*names.equal, *same), fixed=(*names.fixed, *pins))
        try:
            sizes = _sizes.symbolic(names)
        except Exception:  # an expression that JAX can't represent
            return None
        return self._at(sizes)

    def _at(self, sizes: Mapping[str, Size]) -> _Run:
        root = self._plan.signature.subject.root
        run = _Run(Recorder(root.__code__, Statements(self._node)))
        try:
            with patience(root.__code__.co_filename):
                trial.run(self._plan, sizes, around=run.recorder.watching)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever the function raises, sys.exit() included
            if not isinstance(error, (UnbuildableError, MismatchError)):
                run.raised = run.recorder.line_of(error)
            run.problem = problem_of(error, root)
            without_locals(error)
        return run


def _is_as_decided(run: _Run, problem: Problem | None) -> bool:
    """Whether symbols show what was decided, where a part of it may be that numbers raise."""
    if problem is None:
        return run.problem is None
    return (
        not run.raised
        if problem.kind == "return"
        else (run.problem is not None and run.problem.is_like(problem))
    )


def _on_its_own(plan: trial.Plan) -> trial.Plan:
    """Without what is around it, which may remember a trace; with it where it needs the axis of a map."""
    subject = plan.signature.subject
    effects = [level.effects for level in plan.levels]
    named = any(isinstance(one, Maps) and one.axis_name is not None for one in effects)
    return plan if named or not (subject.layers or subject.traced) else trial.on_its_own(plan)


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
