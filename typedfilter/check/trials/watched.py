"""The trials behind a verdict once more, with the lines of the function watched.

With symbols where these were enough for the verdict, else at the sizes that the verdict stands on. What
only one of the two shows of an annotated local is nobody's mistake.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping

from typedfilter._mapping.effects import Maps
from typedfilter._reading.dims import Size
from typedfilter.check.inputs import sizes as _sizes
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.lines import Recorder, Statements, Wrong
from typedfilter.check.report import source
from typedfilter.check.trials import trial
from typedfilter.check.trials.cases import with_mapped
from typedfilter.check.trials.compare import MismatchError
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.patience import patience
from typedfilter.check.trials.problem import Problem, WrongLocal, WrongResult
from typedfilter.check.trials.raised import problem_of, without_locals

_MOST_SIZES = 3


@dataclasses.dataclass
class Run:
    """One trial that was watched, and the line at which it raised (0: it did not)."""

    sizes: Mapping[str, Size]
    recorder: Recorder
    raised: int = 0
    problem: Problem | None = None


class Case:
    """One case of a signature, run again as it was decided: with symbols, or at a few sizes."""

    def __init__(self, tried: Tried, node: ast.AST) -> None:
        self._tried = tried
        self._node = node
        self._by_symbols = False
        self.runs: list[Run] = []
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

    def wrong(self) -> Iterator[tuple[Wrong, Mapping[str, int]]]:
        """The annotated locals that are something else, with symbols and with numbers; and at which sizes."""
        by_symbols = {(one.line, one.name) for run in self.runs for one in run.recorder.wrong}
        if not by_symbols:
            return
        seen: set[tuple[int, str]] = set()
        for sizes in self._tried.good[:_MOST_SIZES] or [self._tried.sizes]:
            for one in self._at(sizes).recorder.wrong:
                if (one.line, one.name) in by_symbols - seen:
                    seen.add((one.line, one.name))
                    shown = self.runs[0].recorder.wrong if self._by_symbols else [one]
                    yield next(w for w in shown if (w.line, w.name) == (one.line, one.name)), sizes

    def _symbolic(self) -> Run | None:
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

    def _at(self, sizes: Mapping[str, Size]) -> Run:
        root = self._plan.signature.subject.root
        run = Run(sizes, Recorder(root.__code__, Statements(self._node)))
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


def _is_as_decided(run: Run, problem: Problem | None) -> bool:
    """Whether symbols show what was decided, where a part of it may be that numbers raise."""
    if problem is None:
        return run.problem is None
    return (
        not run.raised
        if isinstance(problem, WrongResult)
        else (run.problem is not None and run.problem.is_like(problem))
    )


def _on_its_own(plan: trial.Plan) -> trial.Plan:
    """Without what is around it, which may remember a trace; with it where it needs the axis of a map."""
    subject = plan.signature.subject
    effects = [level.effects for level in plan.levels]
    named = any(isinstance(one, Maps) and one.axis_name is not None for one in effects)
    return plan if named or not (subject.layers or subject.traced) else trial.on_its_own(plan)


def wrong_local(tried: Tried) -> Tried | None:
    """A good case as a failed one, for the first annotated local that is something else; None without one."""
    root = tried.signature.subject.root
    code = root.__code__
    where = source.function_at(code.co_filename, code.co_firstlineno, root.__name__)
    if where is None or not Statements(where.node).annotated:
        return None
    found = next(Case(tried, where.node).wrong(), None)
    if found is None:
        return None
    wrong, sizes = found
    span = source.span_of(code.co_filename, wrong.annotation)
    problem = WrongLocal(wrong.message, expected=wrong.expected, found=wrong.found, span=span)
    before = tried.good[: tried.good.index(sizes)]  # where it still was what it says
    return dataclasses.replace(tried, problem=problem, sizes=sizes, good=before)
