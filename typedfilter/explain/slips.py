"""Dimension names that look like slips: one that stands in a single place, and is nearly another.

`Float[Array, "bacth n"]` is no error, since any name may be new. So it is only asked about, where
somebody looks at what was understood.
"""

from __future__ import annotations

import collections
import difflib
import re

from typedfilter._reading import dims, kinds
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Plan

__all__ = ["slips"]

_SHORTEST = 4  # letters; of shorter names, most are nearly one another
_NEAR = 0.75
_NUMBERED = re.compile(r"[\d_]+")


def slips(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Each dimension name of a signature that seems to be a slip, with the name that seems to be meant."""
    counts: collections.Counter[str] = collections.Counter()
    for hint in (*(param.hint for param in plan.params), plan.returns):
        counts.update(_names(hint.kind))
    found: list[tuple[str, str]] = []
    once = [name for name, count in counts.items() if count == 1 and len(name) >= _SHORTEST]
    for name in reversed(once):  # of two that stand once, the first is what the second should have been
        others = [other for other in counts if other != name and _differ(name, other)]
        close = difflib.get_close_matches(name, others, 1, _NEAR)
        if close and (close[0], name) not in found:
            found.append((name, close[0]))
    return tuple(found)


def _names(kind: Kind) -> list[str]:
    """The names that the arrays of a kind bind or compute with, each once, in order."""
    found: dict[str, None] = {}
    for one in kind.every:
        for dim in one.dims if isinstance(one, kinds.Array) else ():
            if dim.kind == "named":
                found[dim.text] = None
            elif dim.kind == "expression" and "{" not in dim.text:
                found.update(dict.fromkeys(dims.names_in(dim.text)))
    return list(found)


def _differ(name: str, other: str) -> bool:
    """Whether two names differ in more than numbers, as `dim_1` and `dim_2` do on purpose."""
    return _NUMBERED.sub("", name) != _NUMBERED.sub("", other)
