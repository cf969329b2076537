"""Names bound by jaxtyping: the `Binder` of the check while a program runs.

All that binds is `isinstance` against jaxtyping's classes: whoever walks opens jaxtyping's context
around it. Knows nothing of functions or error texts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax.core
import jaxtyping

from typedfilter._reading import kinds
from typedfilter._reading.fields import filled_kinds
from typedfilter._reading.kinds import Kind
from typedfilter._shapes.walk import Binder, Failure, Path, leaves_of, walk

Seen: TypeAlias = list[tuple[Path, Any, Any]]
"""What has bound dimensions so far: path, jaxtyping's class, value."""


@dataclasses.dataclass
class RunTime(Binder):
    """The names of jaxtyping's ambient context."""

    seen: Seen = dataclasses.field(default_factory=list[tuple[Path, Any, Any]])
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # for "{n}"

    def array(self, kind: kinds.Array, value: Any, path: Path) -> Failure | None:
        traced = self.numpy and isinstance(value, jax.core.Tracer)
        return self._ask(kind, kind.with_tracers if traced else kind.hint, value, path)

    def _ask(self, kind: Kind, cls: Any, value: Any, path: Path) -> Failure | None:
        if not isinstance(value, cls):
            return Failure(path, kind, value)
        self.seen.append((path, cls, value))
        return None

    def tree(self, kind: kinds.Tree, value: Any, path: Path) -> Failure | None:
        if kind.is_per_leaf:  # what the name of a leaf's own size is, jaxtyping alone knows
            return self._ask(kind, kind.hint, value, path)
        if kind.structure is not None and (
            failure := self._ask(kind, _structured(kind.structure), value, path)
        ):
            return failure
        for place, item in leaves_of(kind, value, self):
            if failure := walk(kind.leaf, item, (*path, place) if place else path, self):
                return failure
        return None

    def attempt(self, kind: Kind, value: Any, path: Path) -> Failure | None:
        failure = None
        if kind.binds and kind.parts:
            failure = self._rehearse(kind, value, path)
        return failure or walk(kind, value, path, self)

    def inside(self, kind: kinds.Class, value: Any) -> tuple[Binder, Mapping[str, Kind]]:
        return self, filled_kinds(kind) if kind.arguments else {}

    def _rehearse(self, kind: Kind, value: Any, path: Path) -> Failure | None:
        """Check in a copy of the bindings: jaxtyping does not take back those of half a container."""
        copy = dataclasses.replace(self, seen=list(self.seen))
        try:
            with jaxtyping.jaxtyped("context"):
                for _, cls, old in self.seen:
                    isinstance(old, cls)
                return walk(kind, value, path, copy)
        except jaxtyping.AnnotationError:  # a dimension that only the real context knows
            return None


@functools.lru_cache(maxsize=256)
def _structured(structure: str) -> Any:
    return jaxtyping.PyTree[Any, structure]
