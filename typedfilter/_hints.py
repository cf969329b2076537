"""One annotation in, one `Hint` out: the type without our markers, and what the markers say.

Floor 1. Knows typing and jaxtyping; knows nothing of functions, plans or values.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from jax.sharding import PartitionSpec


class Role(enum.Enum):
    """What `filter_jit` does with an argument."""

    AUTO = "auto"  # the reference rule, leaf by leaf: arrays traced, everything else static
    ARRAYS = "arrays"  # annotated to hold arrays only: traced whole, Python scalars too
    TRACED = "traced"  # Traced[T]: every leaf traced
    STATIC = "static"  # a compile-time constant


class Differentiable(enum.Enum):
    """Whether an argument can be differentiated, as far as its annotation tells."""

    BY_DTYPE = "by dtype"
    ALWAYS = "always"
    NEVER = "never"


@dataclasses.dataclass(frozen=True)
class Hint:
    """What one annotation says."""

    annotation: Any  # as written (evaluated where possible), markers included: for messages
    type: Any  # markers removed at every depth: what jaxtyping and beartype check; Any where unknown
    role: Role = Role.AUTO
    why: str = "not annotated"  # for explain: 'annotated Static[int]', 'not annotated', 'name `X` not found'
    differentiable: Differentiable = Differentiable.BY_DTYPE
    donate: bool = False
    static_marker: bool = False  # Static[...] was written (and not only implied by `int`)
    axis: Any = None  # AxisSpec where VmapAxis was written
    diff: bool | None = None  # True: Diff, False: NoDiff
    sharding: PartitionSpec | None = None
    unresolved: tuple[str, ...] = ()  # names that could not be found (yet)
