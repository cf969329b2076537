"""Dimension names that look like slips: one that stands in a single place, and is nearly another.

`Float[Array, "bacth n"]` is no error, since any name may be new. So it is only asked about: where somebody
looks at what was understood, and, where hardly anything else can be meant, in a warning.
"""

from __future__ import annotations

import collections
import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

from typedfilter._reading import dims
from typedfilter._reading.fields import dims_of
from typedfilter._reading.hints import Hint
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Plan

_SHORTEST = 4  # letters; of shorter names, most are nearly one another
_NEAR = 0.75
_NUMBERED = re.compile(r"[\d_]+")


class Slip(NamedTuple):
    """A dimension name that seems to be a slip."""

    parameter: str  # whose annotation it stands in; "return" for the result
    hint: Hint  # that annotation
    name: str  # as it is written
    meant: str  # the name that it is nearly
    sure: bool  # whether two letters are swapped, or one in the middle is missing or too many


def slips(plan: Plan) -> tuple[Slip, ...]:
    """Each dimension name of a signature that seems to be a slip."""
    hints = {**{param.name: param.hint for param in plan.params}, "return": plan.returns}
    places: dict[str, list[str]] = collections.defaultdict(list)
    for parameter, hint in hints.items():
        for name in dict.fromkeys(_names(hint.kind)):
            places[name].append(parameter)
    found: list[Slip] = []
    once = [name for name, where in places.items() if len(where) == 1 and len(name) >= _SHORTEST]
    for name in reversed(once):  # of two that stand once, the first is what the second should have been
        others = [other for other in places if other != name and _differ(name, other)]
        close = difflib.get_close_matches(name, others, 1, _NEAR)
        if close and (close[0], name) not in ((slip.name, slip.meant) for slip in found):
            parameter = places[name][0]
            sure = _is_typed_wrong(name, close[0]) and name in _bound(hints[parameter].kind)
            found.append(Slip(parameter, hints[parameter], name, close[0], sure))
    return tuple(found)


def _names(kind: Kind) -> Iterator[str]:
    """The names that the arrays of a kind bind or compute with, in order."""
    for dim in dims_of(kind):
        if dim.kind == "named":
            yield dim.text
        elif dim.kind == "expression" and "{" not in dim.text:
            yield from dims.names_in(dim.text)


def _bound(kind: Kind) -> set[str]:
    """The names that an array binds; of one that it computes with, the check says more."""
    return {dim.text for dim in dims_of(kind) if dim.kind == "named"}


def _differ(name: str, other: str) -> bool:
    """Whether two names differ in more than numbers, as `dim_1` and `dim_2` do on purpose."""
    return _NUMBERED.sub("", name) != _NUMBERED.sub("", other)


def _is_typed_wrong(name: str, other: str) -> bool:
    """Whether one becomes the other as keys are hit in the wrong order, not at all, or twice.

    Only between the first letter and the last: `heads` and `head`, `x_dim` and `y_dim` are two names.
    """
    ends = name[0] == other[0] and name[-1] == other[-1]
    short, long = sorted((name, other), key=len)
    return name in _swapped(other) or (ends and short in _dropped(long))


def _swapped(name: str) -> Iterator[str]:
    for i in range(len(name) - 1):
        yield name[:i] + name[i + 1] + name[i] + name[i + 2 :]


def _dropped(name: str) -> Iterator[str]:
    for i in range(1, len(name) - 1):
        yield name[:i] + name[i + 1 :]
