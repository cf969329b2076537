"""Instances of one class in one signature: which of their sizes a function needs to be equal.

Two layers of one class have sizes of their own, and no annotation says which agree: the function
that uses them does. Each error of a trace names the sizes that it wants equal; the least that makes the
trace succeed is found here, and reported with the verdict. Knows names and errors, no values.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from typedfilter.check.inputs.sizes import Names
from typedfilter.check.trials.owners import Owned, is_turned
from typedfilter.check.trials.problem import Mismatch, Problem, WrongResult

_MOST_GUESSES = 40
_MOST_PINS = 4


def relate(
    names: Names,
    own: Owned,
    problem: Problem,
    attempt: Callable[[Names], Problem | None],
    most: int = _MOST_GUESSES,
    granted: Container[str] = (),
    foreign: Container[str] = (),
) -> tuple[Names, Problem | None]:
    """Find which names must be equal to others.

    Args:
        names: nothing is equal yet, but what is granted.
        own: the names that may be taken to be another; those of the signature itself never are.
        problem: what is wrong when nothing is equal.
        attempt: a trial with these names.
        most: so many trials.
        granted: names that were equal to another before: nobody asks whether that hides a mistake.
        foreign: names of instances of others' classes, which don't mean what the signature calls so.

    Returns:
        The names with what is equal, and None; or those that came furthest, and what is wrong with them.
    """
    meant = {name: owner for name, owner in own.items() if name not in foreign}
    stack = [(names, problem)]
    furthest = stack[0]
    for _ in range(most):
        if not stack:
            break
        known, error = stack.pop()
        for left, right in _suggested(error, known, own):
            equal = {name: right if other == left else other for name, other in known.equal} | {left: right}
            asked = {n: o for n, o in equal.items() if n not in granted}
            if not _is_consistent(asked, own) or is_turned(asked, meant):
                continue
            guess = dataclasses.replace(known, equal=tuple(equal.items()))
            found = attempt(guess)
            if found is None:
                return guess, None
            if _seen(found) != _seen(error):
                stack.append((guess, found))
                furthest = max(furthest, stack[-1], key=lambda item: len(item[0].equal))
    return furthest


def _seen(problem: Problem) -> tuple[str, str]:
    return problem.message, problem.found if isinstance(problem, Mismatch) else ""


def pinned(
    names: Names,
    problem: Problem,
    made: Sequence[int],
    attempt: Callable[[Names], Problem | None],
    known_as: Container[str] = (),
) -> tuple[Names, Problem | None]:
    """Find which names are sizes that were made up: of a layer that takes its sizes as numbers.

    Args:
        names: nothing is pinned yet.
        problem: what is wrong when nothing is.
        made: the numbers that were made up.
        attempt: a trial with these names.
        known_as: names that numbers are called as: these are those sizes, and no others.

    Returns:
        The names with what is pinned, and None; or the given ones, and what was wrong with them.
    """
    known, error = names, problem
    half = (len(names.varied) + 1) // 2
    for count in range(min(_MOST_PINS, len(names.varied))):
        pin = next((p for p in _pins(error, known, made) if p[0] not in known_as), None)
        if pin is None or (count >= half and len({*map(_size, known.fixed), pin[1]}) <= count):
            break  # where all sizes are one number, nothing is seen
        known = dataclasses.replace(known, fixed=(*known.fixed, pin))
        found = attempt(known)
        if found is None:
            return known, None
        error = found
    return names, problem


def _size(pin: tuple[str, int]) -> int:
    return pin[1]


def _pins(error: Problem, names: Names, made: Sequence[int]) -> Iterator[tuple[str, int]]:
    words = re.findall(r"\w+", error.text)
    for name in dict.fromkeys(word for word in words if word in names.varied):
        for number in dict.fromkeys(int(word) for word in words if word.isdigit() and int(word) in made):
            yield name, number


def _suggested(error: Problem, names: Names, own: Owned) -> Iterator[tuple[str, str]]:
    """Pairs of names that an error mentions, the first of which may be taken to be the second."""
    if isinstance(error, WrongResult) and _is_moved(error):
        return
    mentioned = [word for word in dict.fromkeys(re.findall(r"\w+", error.text)) if word in names.chosen]
    for left in mentioned:
        for right in mentioned:
            if left in own and left != right and (right not in own or left > right):
                yield left, right


def _is_moved(error: WrongResult) -> bool:
    """Whether a size is where another one of the same array ought to be: no equality mends that."""
    names = re.findall(r"\w+", error.expected.partition(",")[2])
    axes = error.found.partition("[")[2].removesuffix("]").split(",")
    return any(axis != name and axis in names for name, axis in zip(names, axes, strict=False))


def _is_consistent(equal: Mapping[str, str], own: Owned) -> bool:
    """Whether these equalities are such as a function may need, and none that hides a mistake.

    Two sizes of one instance are never equal. Two instances that agree in several sizes agree in those of
    the same name (`params` and `grads`), unless the signature says otherwise.
    """
    groups: dict[str, list[str]] = {}
    for name, other in equal.items():
        groups.setdefault(other, [other]).append(name)
    crossed: set[tuple[str, str]] = set()
    linked: list[tuple[str, str]] = []
    for key, group in groups.items():
        members = [own[name] for name in group if name in own]
        instances = [instance for instance, _ in members]
        if len(set(instances)) < len(instances):
            return False
        if key not in own:
            continue
        for i, (one, one_name) in enumerate(members):
            for two, two_name in members[i + 1 :]:
                pair = (min(one, two), max(one, two))
                linked.append(pair)
                if one_name != two_name:
                    crossed.add(pair)
    return not any(linked.count(pair) > 1 for pair in crossed)
