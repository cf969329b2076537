"""Everything that `typedfilter bench` measures, in the order of the table."""

from __future__ import annotations

from typedfilter.bench import _calls, _construction, _eager, _first, _loops, _modules, _process, _scale
from typedfilter.bench._rows import Case

_GROUPS = (_calls, _modules, _first, _eager, _loops, _construction, _scale, _process)
CASES: dict[str, Case] = {case.name: case for group in _GROUPS for case in group.CASES}
"""By name."""
