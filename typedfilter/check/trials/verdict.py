"""Trials of every case of a function, with symbols and with numbers, and what they say together.

A mistake that symbols show must show at some sizes too, or the symbols are not to be trusted with
it; and what symbols prove must hold at a few sizes, because a branch on a size (`n == 1`) looks decided to
them. So nobody is blamed, and nothing is called proved, on the word of one of the two.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from typedfilter._compat import ABSTRACT_MESHES
from typedfilter._mapping.effects import Maps
from typedfilter._reading.dims import Size
from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs import sizes as _sizes
from typedfilter.check.inputs.layout import Layout
from typedfilter.check.inputs.nodes import RecordNode, walk
from typedfilter.check.inputs.numbers import numbers_of
from typedfilter.check.inputs.signature import Signature
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.report.results import Frame, Status
from typedfilter.check.trials import trial
from typedfilter.check.trials.excuses import Tried, has_better, is_excused, may_be_excused
from typedfilter.check.trials.patience import OutOfTimeError, patience
from typedfilter.check.trials.problem import REFUSALS, Problem, problem_of, without_locals
from typedfilter.check.trials.refusals import is_of_what_it_made, narrowed, never_accepted
from typedfilter.check.trials.relate import own_names, pinned, relate
from typedfilter.check.trials.subject import Subject

_MOST_GUESSED = 24  # cases of values that nobody said
MOST_TRIALS = 60  # with values that nobody said, of one function
_FEW = 12  # equalities that are tried with numbers
_MOST_ASKED = 2  # sizes at which a line that refuses is asked of what
_MOST_REFUSED = 4  # sets of sizes that are refused, one after the other, of what nobody said


_SAY_SO = "say so in the annotations (one name for what is equal), or add @typedfilter.check.example"


@dataclasses.dataclass
class Verdict:
    """What all cases of a function say together.

    Attributes:
        decisive: the case that decided.
        reason: why it is skipped.
        fix: what to write.
        only: where alone it is good, though the annotations say more.
        by_letter: whether the annotations ought to say so.
        guessed: whether it stands on values that nobody said.
    """

    status: Status
    tried: list[Tried]
    decisive: Tried | None = None
    reason: str = ""
    fix: str = ""
    only: str = ""
    by_letter: bool = False
    guessed: bool = False


def verdict_of(signatures: Sequence[Signature]) -> Verdict:
    """Try every case of every signature; stop at the first that fails for no other reason than a mistake.

    Raises:
        UnbuildableError: a value can't be made, or a dimension can't be evaluated.
    """
    every: list[Tried] = []
    for signature in signatures:
        promised: set[frozenset[tuple[str, int]]] = set()
        guessed = _is_guessed(signature)
        read = set(signature.letter.fields) if signature.letter is not None else set[str]()
        for layout in itertools.islice(_layouts(signature, read), _MOST_GUESSED if guessed else None):
            choices = _layout.choices_of(layout)
            known = every[-1].equal if every else ()
            if guessed and trials_of(every) >= MOST_TRIALS:
                break
            tried = Tried(signature, layout, read=read)
            _try_case(tried, choices not in promised and not (guessed and every), known)
            promised.add(choices)
            every.append(tried)
            if tried.problem is not None and not may_be_excused(tried):
                return _failed_or_skipped(every, tried)
    for tried in every:
        if tried.problem is not None and not is_excused(tried, every):
            return _failed_or_skipped(every, tried)
    return _summed_up(every)


def _is_guessed(signature: Signature) -> bool:
    """Whether values are made up, so that nobody is blamed."""
    return signature.guess is not None and not signature.guess.constructor


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
    subject = tried.signature.subject
    if problem.value and not (subject.layers or subject.traced):
        reason = "it uses the value of an array, which a proof does not have"
        fix = "compute with arrays only, or put `# typedfilter: ignore` on its `def`"
        return Verdict("skipped", every, tried, reason, fix)
    if problem.kind == "trace" and any(leaf.host for leaf in tried.layout.leaves):
        reason = f"with small arrays of NumPy's it raises {problem.message}"
        return Verdict("skipped", every, tried, reason, "add @typedfilter.check.example with what it takes")
    if problem.kind == "time":
        return Verdict("skipped", every, tried, problem.message, "put `# typedfilter: ignore` on its `def`")
    if problem.needs:
        reason = f"it needs {problem.needs}, which is not installed here"
        return Verdict("skipped", every, tried, reason, f"install {problem.needs} where this runs")
    if problem.unfinished:
        return Verdict("skipped", every, tried, "it raises NotImplementedError", "write its body")
    if problem.mesh or (problem.unbound and needs_mesh(subject)):
        return _without_mesh(every, tried, problem)
    if problem.unbound:
        reason = f"it is written for the inside of a mapped axis named `{problem.unbound}`"
        fix = f'check a function that maps it: filter_vmap(..., axis_name="{problem.unbound}")'
        return Verdict("skipped", every, tried, reason, fix)
    if problem.lacking is not None and problem.lacking[0] in _filled_in(tried.signature):
        cls, name = problem.lacking
        reason = f"a {cls.__name__} was made of its annotated attributes, and `{name}` is not one of them"
        fix = f"annotate `{name}` in the class `{cls.__name__}`, or make it a dataclass"
        return Verdict("skipped", every, tried, reason, fix)
    return Verdict("failed", every, tried)


def needs_mesh(subject: Subject) -> bool:
    """Whether the axes that a function names are those of a mesh."""
    return "filter_shard_map" in subject.opaque


def _without_mesh(every: list[Tried], tried: Tried, problem: Problem) -> Verdict:
    """That a function is not judged, as there is no mesh, or one without an axis that it names."""
    mesh = tried.signature.subject.mesh
    if problem.unbound:
        found = "none is set" if mesh is None else f"that which is set has {mesh.named}"
        reason = f"it needs a mesh with the axis `{problem.unbound}`, and {found}"
    elif mesh is not None:
        reason = f"it needs another mesh: {problem.message}"
    else:
        reason = "it needs a mesh, and none is set"
    fix = "say its axes, as `mesh = {data = 4, model = 2}` of [tool.typedfilter] or --mesh data=4,model=2"
    if not ABSTRACT_MESHES:
        fix = "check it with a JAX that has jax.sharding.use_abstract_mesh"
    return Verdict("skipped", every, tried, reason, fix)


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
            fix = "add @typedfilter.check.example with what it takes"
            return Verdict("skipped", every, tried, f"in one case {tried.problem.message}", fix)
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
        return Verdict("skipped", every, None, reason, "add @typedfilter.check.example with what it takes")
    helper = refused is not None and (refused.frame is None or refused.frame.function != done[0].name)
    where = narrowed(done) if helper else ""
    return Verdict("skipped", every, None, f"it works only where {where}{said}", _SAY_SO) if where else None


def _is_sampled(tried: Tried) -> bool:
    return _layout.left_out(_layout.read_points(tried.signature, tried.read)) > 0


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


def _try_case(tried: Tried, thorough: bool, known: tuple[tuple[str, str], ...]) -> None:
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
    symbolic = _symbolic_trial(plan, names, root)
    if symbolic is not None:
        names, symbolic = _related(tried, plan, names, symbolic, known)
    tried.symbolic = symbolic is None
    if not names.free:
        _record(tried, {}, _trial_at(plan, {}, root) if symbolic and symbolic.kind == "symbols" else symbolic)
        _blame_for_refused(tried, plan)
        return
    for sizes in _sets(names, signature, thorough or symbolic is not None):
        problem = _trial_at(plan, sizes, root)
        if problem is not None and symbolic is not None and symbolic.is_like(problem):
            problem = problem if problem.refusal in REFUSALS or symbolic.inconclusive else symbolic
        _record(tried, sizes, problem)
        # What symbols show as well is there at all sizes; anything else perhaps at some only.
        if tried.problem is not None and (
            tried.good or tried.problem is symbolic or tried.problem.kind == "time" or _is_guessed(signature)
        ):
            break
        if _is_guessed(signature) and not tried.good and len(tried.refused) >= _MOST_REFUSED:
            break
    if tried.refused and tried.problem is None:
        for sizes in (_divisible(names, given, signature) for given in _sizes.pairs(names)):
            if _trial_at(plan, sizes, root) is None:
                tried.good.append(sizes)
        _blame_for_refused(tried, plan)


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
        return _symbolic_trial(plan, guess, root)

    symbolic: Problem | None = problem
    own = own_names(names.free, signature.apart)
    guessed = _is_guessed(signature)
    if guessed:
        own = {**own, **{name: (name, "") for name in names.free if name.startswith("_")}}
    own = {name: owner for name, owner in own.items() if name in names.chosen}
    again = tuple((n, e) for n, e in known if n in own and n in names.free and e in names.free)
    if again:
        before = dataclasses.replace(names, equal=(*names.equal, *again))
        found = attempt(before)
        sizes = None if found is None else next(_sizes.concrete(before), None)
        if found is None or (sizes is not None and _trial_at(plan, sizes, root) is None):
            tried.equal = before.equal
            return before, found
    if own:
        names, symbolic = relate(names, own, problem, attempt)
        tried.equal = names.equal
    if symbolic is not None and own:
        names = _related_by_numbers(plan, names, own, root)
        tried.equal = names.equal
        symbolic = attempt(names)
    if symbolic is not None and guessed and symbolic.kind != "return":  # a wrong result is no size to ask for
        given = len(names.fixed)
        names, symbolic = pinned(names, symbolic, tried.layout.made, attempt)
        tried.equal = (*tried.equal, *((name, str(size)) for name, size in names.fixed[given:]))
    return names, symbolic


def _related_by_numbers(
    plan: trial.Plan, names: _sizes.Names, own: Mapping[str, tuple[str, str]], root: types.FunctionType
) -> _sizes.Names:
    """What must be equal, where symbols don't get far enough to say so; the given names if nothing helps."""

    def attempt(guess: _sizes.Names) -> Problem | None:
        sizes = next(_sizes.concrete(guess), None)
        problem = _trial_at(plan, sizes, root) if sizes is not None else Problem("symbols", "")
        return problem and problem.with_names({str(sizes[name]): name for name in guess.varied if sizes})

    problem = attempt(names)
    if problem is None or problem.refusal == "structure":
        return names
    found, left = relate(names, own, problem, attempt, most=_FEW)
    return names if left is not None else found


def _record(tried: Tried, sizes: Mapping[str, int], problem: Problem | None) -> None:
    """Note what a trial at these sizes said; the first problem stays."""
    if problem is None:
        tried.good.append(sizes)
    elif problem.refusal in REFUSALS and not problem.unfinished:
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


def _divisible(names: _sizes.Names, sizes: Mapping[str, Any], signature: Signature) -> Mapping[str, Any]:
    """Sizes that every axis of the mesh divides: without a mesh, those that are given."""
    mesh = signature.subject.mesh
    if mesh is None or mesh.multiple == 1:
        return sizes
    varied = {name: sizes[name] * mesh.multiple for name in names.varied}
    return names.complete({**dict(names.fixed), **varied})


def _symbolic_trial(plan: trial.Plan, names: _sizes.Names, root: types.FunctionType) -> Problem | None:
    try:
        sizes = _divisible(names, _sizes.symbolic(names), plan.signature)
    except Exception as error:  # an expression that JAX can't represent
        without_locals(error)
        return Problem("symbols", str(error))
    try:
        return _trial_at(plan, sizes, root)
    except UnbuildableError as error:  # perhaps only because of the symbols
        return Problem("symbols", str(error))


def _trial_at(plan: trial.Plan, sizes: Mapping[str, Size], root: types.FunctionType) -> Problem | None:
    plan.trials.append(sizes)
    try:
        with patience(root.__code__.co_filename):
            trial.run(plan, sizes)
    except (UnbuildableError, KeyboardInterrupt):
        raise
    except OutOfTimeError as error:
        without_locals(error)
        return Problem("time", str(error))
    except BaseException as error:  # whatever the function raises (or sys.exit()) is what there is to report
        problem = problem_of(error, root)
        without_locals(error)
        return problem
    return None
