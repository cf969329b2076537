"""What the trials of one case said.

Floor 5. A value; how trials are made is `_verdict`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from typedfilter.check.inputs.layout import Layout, Signature
from typedfilter.check.trials.problem import Problem


@dataclasses.dataclass
class Tried:
    """What the trials of one case said.

    Attributes:
        symbolic: whether the trial with symbols succeeded (or there is no name that needs a size).
        good: sizes at which the case succeeded.
        refused: sizes that the function itself refused, and how.
        problem: what is wrong; `sizes` is where it shows.
        equal: names of instances that were taken to be equal to another name.
    """

    signature: Signature
    layout: Layout
    symbolic: bool = False
    good: list[Mapping[str, int]] = dataclasses.field(default_factory=list[Mapping[str, int]])
    refused: list[tuple[Mapping[str, int], Problem]] = dataclasses.field(
        default_factory=list[tuple[Mapping[str, int], Problem]]
    )
    problem: Problem | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    equal: tuple[tuple[str, str], ...] = ()
