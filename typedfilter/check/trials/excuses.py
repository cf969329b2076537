"""Which failures are no mistakes: a list of another length than the function wants, a tree of another kind.

Knows what was tried and what came of it; knows nothing of how. A choice is soft where no annotation
promises that the function takes every option. That is no licence: with such an argument a function that
fails whatever it is given has a mistake, unless the error says itself that the choice is to blame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from typedfilter._reading.dims import Size
from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs import types
from typedfilter.check.inputs.layout import Layout
from typedfilter.check.inputs.nodes import Point
from typedfilter.check.inputs.signature import Signature
from typedfilter.check.trials.asked import Asked
from typedfilter.check.trials.problem import Problem, Raised


def is_soft(tried: Tried) -> bool:
    """Whether the case has another length, other keys or another structure than the usual one."""
    return any(tried.layout.used[key] for key in _soft_choices(tried))


def may_be_excused(tried: Tried) -> bool:
    """Whether the failure of a case can be due to a soft choice of it; what the other cases do decides."""
    problem, soft = tried.problem, _soft_choices(tried)
    if not isinstance(problem, Raised) or not soft:
        return False
    lengths = any(point.soft == "length" and tried.layout.used[key] for key, point in soft.items())
    refused = lengths and problem.refuses  # lists of other lengths than each other's, perhaps
    return problem.how == "structure" or refused or _trees_explain(tried, problem)


def is_excused(tried: Tried, every: Sequence[Tried]) -> bool:
    """Whether the same promises are kept with other options, or the error says itself what it is due to."""
    problem = tried.problem
    if not isinstance(problem, Raised) or not may_be_excused(tried):
        return False
    if has_better(tried, every) or _trees_explain(tried, problem):
        return True
    return any(point.soft in problem.plainly for point in _soft_choices(tried).values())


def shows_nothing(every: Sequence[Tried]) -> bool:
    """Whether sizes that were made up are all the same, or promised: a wrong result would not show."""
    return all(map(_is_of_one_number, every)) or any(_is_square(one) or _is_promised(one) for one in every)


def _is_promised(tried: Tried) -> bool:
    """Whether a number that was made up stands in the result's annotation: `y x 2` where y is 2."""
    promised = (dim for array in types.arrays_in(tried.signature.returns) for dim in array.dims)
    return any(dim.kind == "fixed" and int(dim.text) in tried.layout.made for dim in promised)


def is_at_one_size(every: Sequence[Tried]) -> bool:
    """Whether a size that was made up is that of another axis too, or 1: then much is good that is wrong."""
    return any(tried.equal or 1 in tried.layout.made for tried in every)


def _is_of_one_number(tried: Tried) -> bool:
    return len(tried.layout.made) == 1 and sum(map(_is_number, tried.layout.notes)) > 1


def _is_square(tried: Tried) -> bool:
    """Whether several axes of one array that was made up are taken to be one size."""
    axes = [(name.rpartition("_")[0], other) for name, other in tried.equal if name.startswith("_")]
    return len(set(axes)) < len(axes)


def _is_number(note: str) -> bool:
    return note.rpartition("=")[2].isdigit()


def has_better(tried: Tried, every: Sequence[Tried]) -> bool:
    """Whether a case that differs from this one in soft choices only is good."""
    return any(
        other.problem is None and other.good and _promise_the_same(tried, other)
        for other in every
        if other.signature is tried.signature
    )


def _promise_the_same(one: Tried, other: Tried) -> bool:
    soft = _soft_choices(one).keys() | _soft_choices(other).keys()
    there = other.layout.used
    return all(there.get(key, chosen) == chosen for key, chosen in one.layout.used.items() if key not in soft)


def _soft_choices(tried: Tried) -> dict[str, Point]:
    """The soft points that this case asked for."""
    points = _layout.points_of(tried.signature)
    return {point.key: point for point in points if point.soft and point.key in tried.layout.used}


def _trees_explain(tried: Tried, problem: Raised) -> bool:
    """What another library makes of a tree (an optimiser's state, say) is no secret of ours, either."""
    used = tried.layout.used
    trees = [p.options[used[p.key]] for p in _soft_choices(tried).values() if p.soft == "structure"]
    lone_leaf = any("single leaf" in option for option in trees)
    return bool(trees) and (problem.how == "library" or (lone_leaf and problem.lookup))


@dataclasses.dataclass
class Tried:
    """What the trials of one case said."""

    signature: Signature
    layout: Layout
    symbolic: bool = False  # whether the trial with symbols succeeded (or there is no name that needs a size)
    # sizes at which the case succeeded
    good: list[Mapping[str, int]] = dataclasses.field(default_factory=list[Mapping[str, int]])
    # sizes that the function itself refused, and how
    refused: list[tuple[Mapping[str, int], Problem]] = dataclasses.field(
        default_factory=list[tuple[Mapping[str, int], Problem]]
    )
    problem: Problem | None = None  # what is wrong; `sizes` is where it shows
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    equal: tuple[tuple[str, str], ...] = ()  # names of instances that were taken to be equal to another name
    # the fields that somebody read, in this case or in another one, as `Class.field`
    read: set[str] = dataclasses.field(default_factory=set[str])
    # the sizes of all that was tried
    trials: list[Mapping[str, Size]] = dataclasses.field(default_factory=list[Mapping[str, Size]])
    asked: Asked | None = None  # what the user's code has asked in the trial with symbols

    @property
    def name(self) -> str:
        """What the function calls itself."""
        return str(self.signature.subject.root.__name__)
