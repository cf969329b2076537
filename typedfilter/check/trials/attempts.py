"""The readings of one function, from the strictest to the most forgiving, and the verdict they come to.

First what the annotations say, to the letter. What fails so is tried with what was meant; what can't be
made is tried with guesses. Only the first can fail: nobody is blamed for a guess.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from typedfilter._compat import ABSTRACT_MESHES
from typedfilter._reading.plan import Plan
from typedfilter.check.inputs import classes, layout
from typedfilter.check.inputs.place import Guess
from typedfilter.check.inputs.signature import AS_WRITTEN, Letter, Signature, colliding, signature_of
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.report.results import Frame
from typedfilter.check.trials.beyond import beyond
from typedfilter.check.trials.excuses import is_at_one_size, shows_nothing
from typedfilter.check.trials.guessing import (
    guesses_for,
    has_constructor,
    is_of_sizes,
    the_worse,
    told_beside,
)
from typedfilter.check.trials.held import APART, OVERLOADED, held_instead, is_overloaded
from typedfilter.check.trials.keys import with_keys
from typedfilter.check.trials.letters import enough, supposed, unrelated
from typedfilter.check.trials.meant import GOOD, as_meant, is_another, is_raised, spelled_out
from typedfilter.check.trials.meshes import Axes, How, Meshed, says_places
from typedfilter.check.trials.owners import of_unsaid_sizes, own_names
from typedfilter.check.trials.problem import Due, Raised, Unbound, WrongResult, cause_of
from typedfilter.check.trials.sharing import hangs_on, shared_names
from typedfilter.check.trials.subject import Subject
from typedfilter.check.trials.verdict import MOST_TRIALS, Verdict, needs_mesh, trials_of, verdict_of
from typedfilter.check.trials.watched import wrong_local

_CONSTRUCTED = "with instances as their constructors make them"
_MOST_CALLED = 2  # guesses at what constructors take, of a function that fails on filled fields
_SAME = 3  # times that a guess fails in the same way
_MOST_SUPPOSED = 8  # beside one guess


def verdict_on(subject: Subject, plan: Plan, keys: bool = True, axes: Axes = ()) -> Verdict:
    """What all readings together say; with `keys`, a random key that is used twice is a mistake, too.

    Args:
        subject: the function.
        plan: what its signature says.
        keys: whether random keys are looked at.
        axes: those of the mesh that it is traced under where it needs one.

    Raises:
        UnbuildableError: a value can't be made, and no guess helps.
    """
    verdict = _where_shared(subject, plan, _verdict_on(subject, plan))
    if axes and ABSTRACT_MESHES:
        verdict = _under_mesh(subject, plan, verdict, axes)
    verdict = _with_locals(verdict)
    if verdict.status in GOOD:
        verdict = beyond(verdict)
    return with_keys(verdict) if keys and verdict.status in GOOD else verdict


def _where_shared(subject: Subject, plan: Plan, verdict: Verdict) -> Verdict:
    """The verdict, with the sizes of instances that it takes for those of arguments, if it hangs on that."""
    tried = verdict.tried[0] if verdict.status in GOOD else None
    shared = shared_names(tried.signature) if tried is not None and tried.symbolic else {}
    if tried is None or not shared:
        return verdict
    example = next(iter(classes.examples_of(subject.root)), {})
    own = tried.signature.apart.union(shared)
    apart = signature_of(subject, plan, example, own, tried.signature.guess)
    if not hangs_on(tried, dataclasses.replace(apart, letter=tried.signature.letter)):
        return verdict
    said = (f"{', '.join(names)} of `{owner}`" for owner, names in shared.items())
    only = f"where {' and '.join(said)} is that of the arguments beside it"
    return dataclasses.replace(verdict, only="; ".join(filter(None, (verdict.only, only))))


def _under_mesh(subject: Subject, plan: Plan, verdict: Verdict, axes: Axes) -> Verdict:
    """The verdict under a mesh, where the function needs one or says how arrays are split."""
    found: list[Verdict] = []
    for how in _ways(subject, verdict, axes):
        mesh = Meshed(axes, how)
        try:
            one = _verdict_on(dataclasses.replace(subject, mesh=mesh), plan)
        except UnbuildableError:
            continue
        if one.status in GOOD:
            return dataclasses.replace(one, only="; ".join(filter(None, (mesh.text, one.only))))
        found.append(one)
    wrong = [one for one in found if one.status == "failed" and not is_raised(one)]
    if verdict.status in GOOD:  # what only Explicit axes refuse is no mistake where axes are Auto
        return wrong[0] if wrong else verdict
    return next(iter([*wrong, *found]), verdict)


def _ways(subject: Subject, verdict: Verdict, axes: Axes) -> tuple[How, ...]:
    """How a function is to see the mesh, the likeliest first."""
    split = not subject.layers and says_places(subject.root)
    if verdict.status in GOOD:
        return ("explicit",) if split else ()
    match cause_of(verdict.decisive.problem if verdict.decisive is not None else None):
        case Unbound(axis) if axis in dict(axes) or needs_mesh(subject):  # of a mesh, this one or another
            return ("manual",)
        case Due.MESH:
            return ("explicit", "auto") if split else ("auto", "explicit")
        case _:
            return ()


def _with_locals(verdict: Verdict) -> Verdict:
    """The verdict, unless a local is not what it is annotated with; nobody is blamed for a guess."""
    for tried in verdict.tried if verdict.status in GOOD and not verdict.guessed else ():
        if tried.problem is None and tried.good:
            decisive = wrong_local(tried)
            if decisive is not None:
                return Verdict("failed", verdict.tried, decisive)
    return verdict


def _verdict_on(subject: Subject, plan: Plan) -> Verdict:
    examples = classes.examples_of(subject.root) or [{}]
    try:
        verdict = _to_the_letter(subject, plan, examples)
    except UnbuildableError as unsaid:
        guessed = _guessed(subject, plan, examples)
        if guessed is None:
            raise
        return guessed if _decides(guessed) else told_beside(unsaid, guessed)
    if verdict.status == "skipped":
        guessed = _guessed(subject, plan, examples)
        return guessed if guessed is not None and _decides(guessed) else verdict
    return verdict


def _decides(guessed: Verdict) -> bool:
    """Whether a verdict that stands on guesses is one on the function."""
    return guessed.status in GOOD or _is_wrong_size(guessed)


def _to_the_letter(subject: Subject, plan: Plan, examples: list[dict[str, Any]]) -> Verdict:
    signatures = [signature_of(subject, plan, example) for example in examples]
    verdict = verdict_of(signatures)
    if verdict.status != "failed":
        return spelled_out(signatures, verdict) or verdict
    apart = frozenset(label for signature in signatures for label in colliding(signature))
    if apart:
        # Two instances of one class need not have the same sizes: perhaps that was all that was wrong.
        others = [signature_of(subject, plan, example, apart) for example in examples]
        second = verdict_of(others)
        if second.status in GOOD:
            return second
        if second.status == "failed" and _came_further(second, verdict):
            verdict, signatures = second, others
    return (
        _as_constructed(subject, plan, examples, Guess(0, constructor=True))
        or as_meant(signatures, verdict)
        or _as_guessed(subject, plan, examples)
        or _related(verdict)
    )


def _related(verdict: Verdict) -> Verdict:
    """The verdict, unless all that is wrong is that nobody says how a size of an instance is related."""
    problem = verdict.decisive.problem if verdict.decisive is not None else None
    if verdict.decisive is None or not isinstance(problem, Raised | WrongResult):
        return verdict
    raised = isinstance(problem, Raised)
    if raised and is_overloaded(verdict.decisive):
        return Verdict("skipped", verdict.tried, verdict.decisive, f"{OVERLOADED}: {problem.message}", APART)
    held = next(held_instead(verdict.decisive), None)
    if held is not None:
        reason = f"with {held} {'it raises ' if raised else ''}{problem.message}"
        fix = "add @typedfilter.check.example with what it takes"
        return Verdict("skipped", verdict.tried, verdict.decisive, reason, fix)
    reason = unrelated(verdict.decisive) if raised else ""
    fix = "give what is equal one name, or refuse other sizes with a `raise`"
    return Verdict("skipped", verdict.tried, verdict.decisive, reason, fix) if reason else verdict


def _as_guessed(subject: Subject, plan: Plan, examples: list[dict[str, Any]]) -> Verdict | None:
    """The verdict on instances whose constructors take what nobody says: fields are annotated at will.

    None where it fails so, too: nobody is to blame for instances that a constructor refuses.
    """
    refused: Verdict | None = None
    for guess in itertools.islice(guesses_for(subject, plan), _MOST_CALLED):
        called = dataclasses.replace(guess, called=True)
        verdict = _constructed(subject, plan, examples, called)
        if verdict is not None and verdict.status in GOOD:
            return dataclasses.replace(verdict, status="checked", guessed=True, only=_CONSTRUCTED)
        if verdict is not None and verdict.status == "skipped" and any(one.refused for one in verdict.tried):
            refused = refused or dataclasses.replace(verdict, reason=f"{_CONSTRUCTED} {verdict.reason}")
        if verdict is not None and any(layout.sized(one.signature) for one in verdict.tried):
            break  # other numbers than the sizes that they are called as would hide what is wrong
    return refused


def _as_constructed(
    subject: Subject, plan: Plan, examples: list[dict[str, Any]], guess: Guess
) -> Verdict | None:
    """A good verdict on instances as their constructors make them; None where there is none."""
    made = _constructed(subject, plan, examples, guess)
    return dataclasses.replace(made, only=_CONSTRUCTED) if made is not None and made.status in GOOD else None


def _constructed(
    subject: Subject, plan: Plan, examples: list[dict[str, Any]], guess: Guess
) -> Verdict | None:
    """The verdict on instances as their constructors make them; None where they can't."""
    if not has_constructor(subject, plan):
        return None
    try:
        return verdict_of([signature_of(subject, plan, e, guess=guess) for e in examples])
    except UnbuildableError:
        return None


def _came_further(second: Verdict, first: Verdict) -> bool:
    """Whether what is wrong is still wrong, at another place, once the instances have sizes of their own."""
    here, there = (tried.problem if tried else None for tried in (second.decisive, first.decisive))
    return here is not None and there is not None and not here.is_like(there)


# ------------------------------------------------------------------------------------------------ guesses


def _guessed(subject: Subject, plan: Plan, examples: list[dict[str, Any]]) -> Verdict | None:
    """A good verdict with values that nobody said, or else one that failed; None where none could be made."""
    worst: Verdict | None = None
    seen: set[tuple[Any, ...]] = set()
    problems: list[tuple[str, Frame | None]] = []
    spent, wrong, sized = 0, False, False
    for guess in guesses_for(subject, plan):
        if spent >= MOST_TRIALS:
            break
        try:
            signatures = [signature_of(subject, plan, e, guess=guess) for e in examples]
            apart = frozenset(label for one in signatures for label in colliding(one))
            if apart:
                signatures = [signature_of(subject, plan, e, apart, guess) for e in examples]
            key = (guess.fields, *(layout.layout_of(s, {}).notes for s in signatures))
            if key in seen:
                continue
            seen.add(key)
            verdict = verdict_of(signatures)
        except UnbuildableError:
            continue
        verdict = _of_a_part(signatures, _supposed(signatures, verdict))
        if _is_wrong_size(verdict):
            return verdict
        spent += trials_of(verdict.tried)
        hidden = (wrong and shows_nothing(verdict.tried)) or (sized and is_at_one_size(verdict.tried))
        if verdict.status in GOOD and not hidden:
            return dataclasses.replace(verdict, status="checked", guessed=True)
        sized = sized or (verdict.decisive is not None and is_of_sizes(verdict.decisive))
        problem = verdict.decisive.problem if verdict.decisive else None
        if problem is not None:
            wrong = wrong or isinstance(problem, WrongResult)
            worst = the_worse(worst, verdict)
            problems.append((problem.message, problem.frame))
            if problems.count(problems[-1]) >= _SAME:
                break  # whatever is guessed makes no difference
    return worst


def _is_wrong_size(verdict: Verdict) -> bool:
    """Whether a result is wrong, and all that is made up are sizes that its annotation says are arguments.

    Nobody is blamed for a guess, but that is none: every number will do.
    """
    tried = verdict.decisive if verdict.status == "failed" else None
    return tried is not None and isinstance(tried.problem, WrongResult) and is_of_sizes(tried)


def _of_a_part(signatures: list[Signature], verdict: Verdict) -> Verdict:
    """What is wrong with the part of an array that an argument counts, where too large a part raises."""
    tried = verdict.decisive
    if verdict.status != "failed" or tried is None or _is_wrong_size(verdict) or not is_of_sizes(tried):
        return verdict
    parts = (verdict_of([dataclasses.replace(s, letter=one) for s in signatures]) for one in enough(tried))
    return next(filter(_is_wrong_size, parts), verdict)


def _squares(signatures: list[Signature], verdict: Verdict) -> Iterator[Letter]:
    """That matrices of which nobody says the sizes are square: operators, covariances.

    Two names that the user gave the axes of a matrix are two sizes, whatever else is guessed.
    """
    if verdict.decisive is None:
        return
    names = verdict.decisive.layout.names.free
    own = {name for one in signatures for name in own_names(names, one.apart & of_unsaid_sizes(one))}
    own |= {name for name in names if name.startswith("_")}
    axes = [leaf.axes[-2:] for leaf in verdict.decisive.layout.leaves if len(leaf.axes) > 1]
    equal = tuple(
        dict.fromkeys((last, other) for other, last in axes if {last, other} <= own and last != other)
    )
    if equal and not own.intersection(dict(verdict.decisive.layout.names.equal)):
        yield Letter("with square matrices of floats", "", equal=equal, without=(("dtype", 1),))


def _supposed(signatures: list[Signature], verdict: Verdict) -> Verdict:
    """A good verdict where what is supposed beside the guesses holds; the given one where nothing helps."""
    helped = spelled_out(signatures, verdict)
    if helped is not None:
        return helped
    left = itertools.count(_MOST_SUPPOSED, -1)
    return _beside_guesses(signatures, AS_WRITTEN, verdict, left) or verdict


def _beside_guesses(
    signatures: list[Signature], known: Letter, verdict: Verdict, left: Iterator[int]
) -> Verdict | None:
    """A good verdict where one more thing is supposed, or two; None where there is none among so many."""
    if verdict.status != "failed" or verdict.decisive is None:
        return None
    counts = [number for number in verdict.decisive.layout.made if number > 1]
    squares = _squares(signatures, verdict)
    for letter in itertools.chain(squares, supposed(verdict.decisive, counts[:2])):
        if next(left) <= 0:
            break
        both = known.and_(letter)
        try:
            meant = verdict_of([dataclasses.replace(s, letter=both) for s in signatures])
        except UnbuildableError:
            continue
        if meant.status in GOOD:
            return dataclasses.replace(meant, only=both.text)
        further = known is AS_WRITTEN and is_another(meant, verdict)
        deeper = _beside_guesses(signatures, both, meant, left) if further else None
        if deeper is not None:
            return deeper
    return None
