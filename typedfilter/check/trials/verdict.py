"""Trials of every case of a function, with symbols and with numbers, and what they say together.

A mistake that symbols show must show at some sizes too, or the symbols are not to be trusted with
it; and what symbols prove must hold at a few sizes, because a branch on a size (`n == 1`) looks decided to
them. So nobody is blamed, and nothing is called proved, on the word of one of the two.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from typedfilter._compat import ABSTRACT_MESHES
from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs.layout import Layout
from typedfilter.check.inputs.nodes import RecordNode, walk
from typedfilter.check.inputs.signature import Signature
from typedfilter.check.inputs.unmade import RefusedError
from typedfilter.check.report.results import Status
from typedfilter.check.trials.cases import is_guessed, try_case
from typedfilter.check.trials.excuses import Tried, has_better, is_excused, is_soft, may_be_excused
from typedfilter.check.trials.problem import (
    Due,
    Lacks,
    NeedsModule,
    OutOfTime,
    Problem,
    Raised,
    Unbound,
)
from typedfilter.check.trials.refusals import narrowed, never_accepted
from typedfilter.check.trials.subject import Subject

_MOST_GUESSED = 24  # cases of values that nobody said
MOST_TRIALS = 60  # with values that nobody said, of one function


_UNPACKED = re.compile(r"values to unpack \(expected (\d+)")
_EXAMPLE = "add @typedfilter.check.example with what it takes"
_SAY_SO = "say so in the annotations (one name for what is equal), or add @typedfilter.check.example"


@dataclasses.dataclass
class Verdict:
    """What all cases of a function say together."""

    status: Status
    tried: list[Tried]
    decisive: Tried | None = None  # the case that decided
    reason: str = ""  # why it is skipped
    fix: str = ""  # what to write
    only: str = ""  # where alone it is good, though the annotations say more
    by_letter: bool = False  # whether the annotations ought to say so
    guessed: bool = False  # whether it stands on values that nobody said
    broken_off: bool = False  # whether there are more cases of such values than are tried


def verdict_of(signatures: Sequence[Signature]) -> Verdict:
    """Try every case of every signature; stop at the first that fails for no other reason than a mistake.

    Raises:
        UnbuildableError: a value can't be made, or a dimension can't be evaluated.
    """
    every: list[Tried] = []
    broken_off = False
    for signature in signatures:
        promised: set[frozenset[tuple[str, int]]] = set()
        guessed = is_guessed(signature)
        read = set(signature.letter.fields) if signature.letter is not None else set[str]()
        for number, layout in enumerate(_layouts(signature, read)):
            choices = _layout.choices_of(layout)
            known = every[-1].equal if every else ()
            if guessed and (number >= _MOST_GUESSED or trials_of(every) >= MOST_TRIALS):
                broken_off = True
                break
            tried = Tried(signature, layout, read=read)
            try:
                try_case(tried, choices not in promised and not (guessed and every), known)
            except RefusedError as error:
                if every and is_soft(tried):
                    continue  # what a constructor takes no annotation promises, either
                if not guessed:
                    raise
                tried.problem = Raised(error.reason)
            promised.add(choices)
            every.append(tried)
            if tried.problem is not None and not may_be_excused(tried):
                return _failed_or_skipped(every, tried)
    for tried in every:
        if tried.problem is not None and not is_excused(tried, every):
            return _failed_or_skipped(every, tried)
    return dataclasses.replace(_summed_up(every), broken_off=broken_off)


def trials_of(every: Sequence[Tried]) -> int:
    """How many trials there were."""
    return sum(len(tried.trials) for tried in every)


def _layouts(signature: Signature, read: set[str]) -> Iterator[Layout]:
    """The layouts of all cases, without those that only differ in choices that were not asked for.

    What nobody reads need not vary: `read` grows as cases are tried.
    """
    seen: set[frozenset[tuple[str, int]]] = set()
    known: set[str] | None = None
    while known is None or known != read:
        known = set(read)
        for case in _layout.cases_of(_layout.read_points(signature, known)):
            layout = _layout.layout_of(signature, case)
            if signature.letter is not None and not signature.letter.allows(layout.case):
                continue
            key = frozenset(layout.used.items())
            if key not in seen:
                seen.add(key)
                yield layout
                if known != read:
                    break


def _failed_or_skipped(every: list[Tried], tried: Tried) -> Verdict:
    problem = tried.problem
    assert problem is not None
    why = _unjudged(tried, problem)
    if why is not None:
        return Verdict("skipped", every, tried, *why)
    return Verdict("failed", every, tried, fix=_said_by_unpacking(tried, problem))


def _said_by_unpacking(tried: Tried, problem: Problem) -> str:
    """What to write where the code itself says how long an axis is: `mass, speed = state`."""
    said = _UNPACKED.search(problem.message)
    if said is None or not tried.good:
        return ""
    names = [n for n in tried.layout.names.varied if all(sizes[n] == int(said[1]) for sizes in tried.good)]
    return f"write {said[1]} for `{names[0]}` in the annotations, if it is always {said[1]}" if names else ""


def _unjudged(tried: Tried, problem: Problem) -> tuple[str, str] | None:
    """Why a failure is none of the function's, and what to do; None where it is."""
    if isinstance(problem, OutOfTime):
        return problem.message, "put `# typedfilter: ignore` on its `def`"
    if not isinstance(problem, Raised):
        return None
    subject = tried.signature.subject
    if problem.cause is Due.VALUE and not (subject.layers or subject.traced):
        reason = "it uses the value of an array, which a proof does not have"
        return reason, "compute with arrays only, or put `# typedfilter: ignore` on its `def`"
    if any(leaf.host for leaf in tried.layout.leaves):
        return f"with small arrays of NumPy's it raises {problem.message}", _EXAMPLE
    match problem.cause:
        case NeedsModule(module):
            return f"it needs {module}, which is not installed here", f"install {module} where this runs"
        case Due.UNFINISHED:
            return "it raises NotImplementedError", "write its body"
        case Unbound(axis) if not needs_mesh(subject):
            reason = f"it is written for the inside of a mapped axis named `{axis}`"
            return reason, f'check a function that maps it: filter_vmap(..., axis_name="{axis}")'
        case Due.MESH | Unbound() as cause:
            return _without_mesh(subject, cause, problem)
        case Due.SPREADS if "missing" in problem.message:
            unsaid = [note for note in tried.layout.notes if note.startswith("nothing in *")]
            told = f"nobody says what it is to pass on: {''.join(unsaid[:1]).removeprefix('nothing ')}"
            return (told, _EXAMPLE) if unsaid else None
        case Lacks(cls, name) if cls in _filled_in(tried.signature):
            reason = f"a {cls.__name__} was made of its annotated attributes, and `{name}` is not one of them"
            return reason, f"annotate `{name}` in the class `{cls.__name__}`, or make it a dataclass"
        case _:
            return None


def needs_mesh(subject: Subject) -> bool:
    """Whether the axes that a function names are those of a mesh."""
    return "filter_shard_map" in subject.opaque


def _without_mesh(subject: Subject, cause: Due | Unbound, problem: Problem) -> tuple[str, str]:
    """That a function is not judged, as there is no mesh, or one without an axis that it names."""
    mesh = subject.mesh
    if isinstance(cause, Unbound):
        found = "none is set" if mesh is None else f"that which is set has {mesh.named}"
        reason = f"it needs a mesh with the axis `{cause.axis}`, and {found}"
    elif mesh is not None:
        reason = f"it needs another mesh: {problem.message}"
    else:
        reason = "it needs a mesh, and none is set"
    fix = "say its axes, as `mesh = {data = 4, model = 2}` of [tool.typedfilter] or --mesh data=4,model=2"
    if not ABSTRACT_MESHES:
        fix = "check it with a JAX that has jax.sharding.use_abstract_mesh"
    return reason, fix


def _filled_in(signature: Signature) -> Iterator[type]:
    """The classes that nobody says the attributes of: their own constructor was not run."""
    for parameter in signature.parameters:
        for node in walk(parameter.node):
            if isinstance(node, RecordNode) and node.call is None and not node.complete:
                yield node.cls


def _summed_up(every: list[Tried]) -> Verdict:
    done = [tried for tried in every if tried.problem is None]
    if not any(tried.good for tried in done):
        return _all_refused(every)
    for tried in every:
        if tried.problem is not None and not has_better(tried, every):
            return Verdict("skipped", every, tried, f"in one case {tried.problem.message}", _EXAMPLE)
    limits = _narrow(every, done)
    if limits is not None:
        return limits
    where = narrowed(done)
    if where:
        return Verdict("checked", every, fix=_SAY_SO, only=f"works only where {where}", by_letter=True)
    if all(tried.symbolic and not tried.refused for tried in done) and not any(map(_is_sampled, done)):
        return Verdict("proved", every)
    return Verdict("checked", every)


def _narrow(every: list[Tried], done: list[Tried]) -> Verdict | None:
    """That a part of what the signature allows was never accepted; None where all of it was."""
    options = {
        point.key: point.options
        for signature in {id(t.signature): t.signature for t in every}.values()
        for point in _layout.points_of(signature)
        if point.key.startswith(("choice of ", "type ")) and not point.soft
    }
    refused = next((problem for tried in done for _, problem in tried.refused), None)
    said = f": {refused.message}" if refused else ""
    never = never_accepted(every, options)
    if never and refused:
        reason = f"with {never} it refuses all that was tried{said}"
        return Verdict("skipped", every, None, reason, _EXAMPLE)
    helper = refused is not None and (refused.frame is None or refused.frame.function != done[0].name)
    where = narrowed(done) if helper else ""
    return Verdict("skipped", every, None, f"it works only where {where}{said}", _SAY_SO) if where else None


def _is_sampled(tried: Tried) -> bool:
    return _layout.left_out(_layout.read_points(tried.signature, tried.read)) > 0


def _all_refused(every: list[Tried]) -> Verdict:
    for tried in every:
        problems = [problem for _, problem in tried.refused] + ([tried.problem] if tried.problem else [])
        for problem in problems:
            # An assertion that never holds is a mistake of somebody's.
            if isinstance(problem, Raised) and problem.how == "assert":
                return Verdict("failed", every, dataclasses.replace(tried, problem=problem))
            reason = f"it refuses all that was tried: {problem.message}"
            return Verdict("skipped", every, dataclasses.replace(tried, problem=problem), reason, _EXAMPLE)
    return Verdict("skipped", every, None, "there are no sizes to try", "add @typedfilter.check.example")
