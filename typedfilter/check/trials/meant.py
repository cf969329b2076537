"""The readings beyond the letter of a signature: which of them a function that fails is good under.

Knows verdicts and readings; which readings there are is `letters`'s, and what is guessed `attempts`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from typedfilter.check.inputs.signature import AS_WRITTEN, Letter, Signature
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.trials.letters import letters_of, spelled
from typedfilter.check.trials.problem import OutOfTime, Raised
from typedfilter.check.trials.verdict import Verdict, verdict_of

GOOD = ("proved", "checked")
_MOST_LETTERS = 20
_DEEPEST = 3  # readings that are needed together


def as_meant(signatures: list[Signature], verdict: Verdict, known: Letter = AS_WRITTEN) -> Verdict | None:
    """A good verdict under a reading that is not the letter's, or under several; None where there is none.

    Where a reading takes too long it may be the one that is meant, so that nobody is blamed.
    """
    late: Verdict | None = None
    waiting: list[tuple[Letter, Verdict, int]] = [(known, verdict, 0)]
    for number, (letter, before, depth) in enumerate(_readings(waiting)):
        if number >= _MOST_LETTERS:
            break
        try:
            meant = verdict_of([dataclasses.replace(s, letter=letter) for s in signatures])
        except UnbuildableError:
            continue
        if meant.status in GOOD:
            fix = letter.fix or meant.fix
            return dataclasses.replace(meant, only=letter.text, fix=fix, by_letter=bool(letter.fix))
        if late is None and _is_late(meant):
            late = dataclasses.replace(meant, reason=f"{letter.text}, {meant.reason}")
        if meant.status == "failed" and depth < _DEEPEST and is_another(meant, before):
            waiting.append((letter, meant, depth))
    return late


def _is_late(verdict: Verdict) -> bool:
    problem = verdict.decisive.problem if verdict.decisive is not None else None
    return isinstance(problem, OutOfTime)


def spelled_out(signatures: list[Signature], verdict: Verdict) -> Verdict | None:
    """A good verdict where names are what they say (`Nm1` beside `N`), of what is refused at all other sizes.

    What is accepted then, and returns something else than is annotated, is wrong. None where nothing is told.
    """
    tried = verdict.decisive
    if verdict.status != "skipped" or tried is None or tried.problem is None or tried.good:
        return None
    letter = next(spelled(tried), None) if tried.problem.refuses else None
    if letter is None or signatures[0].letter is not None:
        return None
    try:
        meant = verdict_of([dataclasses.replace(s, letter=letter) for s in signatures])
    except UnbuildableError:
        return None
    if meant.status in GOOD:
        return dataclasses.replace(meant, only=letter.text, fix=letter.fix, by_letter=True)
    if meant.status != "failed" or signatures[0].guess is not None:
        return None
    further = as_meant(signatures, meant, letter)
    return further or (None if is_raised(meant) else meant)


def is_another(second: Verdict, first: Verdict) -> bool:
    here, there = (tried.problem if tried else None for tried in (second.decisive, first.decisive))
    return here is not None and there is not None and here.message != there.message


def _readings(waiting: list[tuple[Letter, Verdict, int]]) -> Iterator[tuple[Letter, Verdict, int]]:
    """The readings of each verdict that waits, each beyond those that it was reached with."""
    for known, verdict, depth in waiting:  # it grows on the way
        for letter in letters_of(verdict.decisive) if verdict.decisive is not None else ():
            yield known.and_(letter), verdict, depth + 1


def is_raised(verdict: Verdict) -> bool:
    problem = verdict.decisive.problem if verdict.decisive is not None else None
    return problem is None or isinstance(problem, Raised)
