"""The options of a transform that compiles, as its engine knows them: equal ones share an engine."""

from __future__ import annotations

import dataclasses
from typing import Any

from typedfilter._declarations import Check
from typedfilter._placing.shardings import Shardings


@dataclasses.dataclass(frozen=True)
class JitOptions:
    """What of the options of `filter_jit` the engine knows."""

    donate: str = "none"
    check: Check = True
    inline: bool = False
    keep_unused: bool = False
    shardings: Shardings | None = None
    compiler: tuple[tuple[str, Any], ...] = ()
    max_traces: int | None = None
    mesh: Any = None

    @property
    def quiet(self) -> bool:
        """Whether JAX's warning about donated buffers that it could not use is suppressed."""
        return self.donate in ("all", "all-except-first")
