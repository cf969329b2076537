"""Everything that `typedfilter bench` measures, in the order of the table."""

from __future__ import annotations

from typedfilter.bench import _calls, _eager, _first, _process, _scale
from typedfilter.bench._rows import Case

__all__ = ["CASES"]

CASES: dict[str, Case] = {
    case.name: case for case in (*_calls.CASES, *_first.CASES, *_eager.CASES, *_scale.CASES, *_process.CASES)
}
"""By name."""
