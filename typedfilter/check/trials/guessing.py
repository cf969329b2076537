"""What is guessed where a signature says too little: the rounds of guesses, and what is told of them.

Knows signatures and verdicts; how a guess becomes a value is `inputs.guesses`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typedfilter._reading.kinds import Class, kind_of
from typedfilter._reading.plan import Plan
from typedfilter.check.inputs import classes, types
from typedfilter.check.inputs.layout import sized
from typedfilter.check.inputs.nodes import ArrayNode, walk
from typedfilter.check.inputs.place import Guess
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.inputs.values import IntNode, NotedNode
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.problem import Mismatch, Raised, WrongResult
from typedfilter.check.trials.subject import Subject
from typedfilter.check.trials.verdict import Verdict

_ROUNDS = 6
_MOST_NOTES = 3


def guesses_for(subject: Subject, plan: Plan) -> Iterator[Guess]:
    """What may be taken for values that nobody said, the likeliest first."""
    fields = types.fields_of(kind_of(subject.cls))  # of nothing, where there is no class
    said = [*(p.hint.kind for p in plan.params), plan.returns.kind, *fields.values()]
    names = frozenset(
        word
        for kind in said
        for array in types.arrays_in(kind)
        for dim in array.dims
        if not dim.variadic  # of which a number is the size of none
        for word in dim.text.replace("{", " ").replace("}", " ").split()
    )
    functions = (subject.root, *_methods(subject.cls))
    offered = tuple(_offered(plan.params))
    for number in range(_ROUNDS + 2 * len(offered)):
        yield Guess(number, names, offered, functions)
    if has_constructor(subject, plan):
        for number in range(3):
            yield Guess(number, names, offered, functions, fields=True)


def _methods(cls: type | None) -> Iterator[Any]:
    for value in vars(cls).values() if cls is not None else ():
        if callable(value) and hasattr(value, "__code__"):
            yield value


def _offered(params: Any) -> list[int]:
    defaults = [p.default for p in params if type(p.default) is int and p.default > 1]
    return list(dict.fromkeys(defaults))[:2]


def has_constructor(subject: Subject, plan: Plan) -> bool:
    """Whether an argument is of a class that somebody wrote a constructor for."""
    said = [kind_of(subject.cls), *(p.hint.kind for p in plan.params)]
    return any(isinstance(k, Class) and classes.written_constructor_of(k.cls) is not None for k in said)


def is_of_sizes(tried: Tried) -> bool:
    """Whether all that is made up are whole numbers that are sizes of the result, and of nothing else."""
    nodes = [node for p in tried.signature.parameters for node in walk(p.node)]
    bound = {dim.text for node in nodes if isinstance(node, ArrayNode) for dim in node.dims}
    sizes = sized(tried.signature)
    made_up = any(isinstance(node, IntNode | NotedNode) or getattr(node, "note", "") for node in nodes)
    return bool(sizes) and not made_up and not sizes & bound


# --------------------------------------------------------------------------------------------- what is told


def the_worse(one: Verdict | None, other: Verdict) -> Verdict | None:
    """The verdict on guesses that tells more: a wrong result, or else what the user's code raised."""
    problem = other.decisive.problem if other.status == "failed" and other.decisive else None
    if problem is None or not (isinstance(problem, WrongResult) or problem.frame):
        return one  # where nothing was called, nothing is known
    before = one.decisive.problem if one is not None and one.decisive else None
    worse = isinstance(problem, WrongResult) and not isinstance(before, WrongResult)
    return other if before is None or worse else one


def told_beside(unsaid: UnbuildableError, guessed: Verdict) -> Verdict:
    """That a function is not judged as nobody says enough, and how guesses failed: it may be a mistake."""
    tried = guessed.decisive
    assert tried is not None
    assert tried.problem is not None
    notes = tried.layout.notes
    given = ", ".join(notes[:_MOST_NOTES]) + (", ..." if len(notes) > _MOST_NOTES else "")
    found = f": {tried.problem.found}" if isinstance(tried.problem, Mismatch) and tried.problem.found else ""
    said = f"{'it raises ' if isinstance(tried.problem, Raised) else ''}{tried.problem.message}{found}"
    reason = f"{unsaid.reason}; with {given} {said.splitlines()[0]}" if given else unsaid.reason
    return Verdict("skipped", guessed.tried, tried, reason, unsaid.fix)
