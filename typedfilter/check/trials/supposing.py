"""Sizes that may be equal, where the user's code asks whether they are: each such case is tried on its own.

What is proved while `n == m` counts as false is proved for all sizes only where it holds for `n = m` too.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import re
from collections.abc import Callable, Iterator, Mapping

from typedfilter._reading import dims
from typedfilter.check.inputs import sizes as _sizes
from typedfilter.check.inputs.sizes import Names
from typedfilter.check.trials.asked import Asked, Equality

_MOST = 8  # cases that are tried
_MOST_ONES = 4
_MOST_PAIRS = 6
_MOST_UNKNOWN = 3  # names of an equation that is solved
_LARGEST = 13
_SUM = re.compile(r"[\w +*-]+")


@dataclasses.dataclass
class Supposed:
    """What came of the cases."""

    settled: bool  # whether all of them are good, and there are no more
    # sizes of those that are not known to be good
    sets: list[Mapping[str, int]] = dataclasses.field(default_factory=list[Mapping[str, int]])


def supposing(names: Names, asked: Asked, attempt: Callable[[Names], Asked | None]) -> Supposed:
    """Try each equality that was asked about, with symbols.

    Args:
        names: those of the trial that was listened to.
        asked: what was heard.
        attempt: a trial with these names: what was heard then; None where it is not good.
    """
    found = Supposed(not asked.unclear)
    waiting = [(names, asked)]
    seen: set[Names] = set()
    for known, heard in waiting:  # it grows on the way
        if heard.unclear:
            found.settled = False
            found.sets += itertools.islice(_odd_ones(known), _MOST_ONES)
            found.sets += itertools.islice(_sizes.pairs(known), _MOST_PAIRS)
        for equality in heard.equal:
            guess = _with(known, equality)
            if guess in seen:
                continue
            if guess is None or len(seen) >= _MOST:
                found.settled = False
                found.sets += itertools.islice(_solutions(known, equality), 1)
                continue
            seen.add(guess)
            inner = attempt(guess)
            if inner is not None:
                waiting.append((guess, inner))
                continue
            found.settled = False
            found.sets += itertools.islice(_sizes.concrete(guess), 1)
    return found


def _odd_ones(names: Names) -> Iterator[Mapping[str, int]]:
    """Sets in which one size is 1 and no other."""
    for name in names.varied if len(names.varied) > 1 else ():
        yield from itertools.islice(_sizes.concrete(_fixed(names, name, 1)), 1)


def _solutions(names: Names, equality: Equality) -> Iterator[Mapping[str, int]]:
    """Small sizes for which these are equal, all unequal and none of them 1 if there are such."""
    chosen = names.varied
    most = _LARGEST if len(chosen) < 3 else _LARGEST // 2
    every = itertools.product(range(2, most), repeat=len(chosen)) if len(chosen) <= _MOST_UNKNOWN else ()
    for sizes in sorted(every, key=lambda one: len(set(one)) < len(one)):
        known = names.complete({**dict(names.fixed), **dict(zip(chosen, sizes, strict=True))})
        if all(_value(one, known) == _value(other, known) for one, other in equality):
            yield known


def _value(size: object, known: Mapping[str, int]) -> object:
    """What a size is, where names are numbers; nothing that equals another one where that can't be said."""
    scope = {"floordiv": operator.floordiv, "mod": operator.mod, "min": min, "max": max, **known}
    try:
        return eval(str(size).replace("^", "**"), {"__builtins__": {}}, scope)
    except Exception:  # a name that is spelled otherwise, a division by 0
        return object()


def _fixed(names: Names, name: str, size: int) -> Names:
    return dataclasses.replace(names, fixed=(*names.fixed, (name, size)))


def _with(names: Names, equality: Equality) -> Names | None:
    """The names where these sizes are equal; None where that can't be said."""
    for one, other in equality:
        texts = str(one), str(other)
        pair = next((pair for pair in (texts, texts[::-1]) if _can_be(names, *pair)), None)
        if pair is None:
            return None
        name, text = pair
        if text.isdigit():
            names = _fixed(names, name, int(text))
        else:
            names = dataclasses.replace(
                names, equal=(*names.equal, pair), expressions=(*names.expressions, text)
            )
    return names


def _can_be(names: Names, name: str, text: str) -> bool:
    """Whether a name may be taken to be this number, or this sum of other names."""
    if name not in names.varied or any(name in dims.names_in(other) for _, other in names.equal):
        return False
    if text.isdigit():
        return int(text) > 0
    return bool(_SUM.fullmatch(text)) and set(dims.names_in(text)) <= set(names.varied) - {name}
