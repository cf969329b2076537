"""Names bound by jaxtyping: the `Binder` of the check while a program runs.

All that binds is `isinstance` against jaxtyping's classes: whoever walks opens jaxtyping's context
around it. An instance has a context of its own: its fields bind names for one another, and for nobody else.
Knows nothing of functions or error texts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Generator, Mapping
from typing import Any, TypeAlias

import jax.core
import jaxtyping
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.dims import aligned, parse
from typedfilter._reading.fields import filled_kinds
from typedfilter._reading.kinds import Kind
from typedfilter._shapes.instances import Fields, check_of, fields_fit, fields_in, fields_of
from typedfilter._shapes.standing import Standing, is_node
from typedfilter._shapes.walk import Binder, Failure, Path, attributes, leaves_of, walk

Seen: TypeAlias = list[tuple[Path, Any, Any]]
"""What has bound dimensions so far: path, jaxtyping's class, value."""


@dataclasses.dataclass
class RunTime(Binder):
    """The names of jaxtyping's ambient context."""

    seen: Seen = dataclasses.field(default_factory=list[tuple[Path, Any, Any]])  # what has bound them
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # for "{n}"
    shallow: bool = False  # whether an instance in a field has been looked into already, when it was made

    def array(self, kind: kinds.Array, value: Any, path: Path) -> Failure | None:
        if isinstance(value, Standing):
            return self._ask(kind, _with_standing(kind.hint), value, path)
        traced = self.numpy and kind.hint.array_type is np.ndarray and isinstance(value, jax.core.Tracer)
        return self._ask(kind, kind.with_tracers if traced else kind.hint, value, path)

    def _ask(self, kind: Kind, cls: Any, value: Any, path: Path) -> Failure | None:
        try:
            fits = isinstance(value, cls)
        except jaxtyping.AnnotationError:
            raise
        except Exception as error:  # of `n//0`, of `{n.size}`
            raise jaxtyping.AnnotationError(f"{type(error).__name__}: {error}") from error
        if not fits:
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

    def instance(self, kind: kinds.Class, value: Any, path: Path) -> Failure | None:
        filled = filled_kinds(kind) if kind.arguments else {}
        if filled:  # their names are of the place where `Model[A]` stands
            inside = dataclasses.replace(self, **_IN_FIELDS, filtered=not self.shallow)
            if failure := attributes(filled, value, path, inside):
                return failure
        return None if self.shallow else _looked_into(fields_of(type(value), filled), value, path)

    def _rehearse(self, kind: Kind, value: Any, path: Path) -> Failure | None:
        """Check in a copy of the bindings: jaxtyping does not take back those of half a container."""
        copy = dataclasses.replace(self, seen=list(self.seen))
        try:
            with again(self):
                return walk(kind, value, path, copy)
        except jaxtyping.AnnotationError:  # a dimension that only the real context knows
            return None


_IN_FIELDS: dict[str, Any] = {"fields": True, "numbers": True, "numpy": True}


def _looked_into(fields: Fields, value: Any, path: Path) -> Failure | None:
    check = check_of(type(value)) if fields else False
    if not check or not (dataclasses.is_dataclass(value) or is_node(value)):
        return None
    try:
        failure = in_own_scope(fields, value, path)
    except jaxtyping.AnnotationError:  # who wrote the class was told when it was made, if we could
        return None
    return dataclasses.replace(failure, mild=True) if failure and check == "warn" else failure


def in_own_scope(fields: Fields, value: Any, path: Path, *, made: bool = False) -> Failure | None:
    """Walk the fields of an instance, which bind names for one another.

    Args:
        made: somebody makes the instance: nothing in it is left out, and what it holds was looked into.
    """
    key = fields.key(value)
    if key is None or key not in fields.fitting:

        def attempt(found: Mapping[str, Kind], stacked: int) -> Failure | None:
            binder = RunTime(**_IN_FIELDS, filtered=not made, stacked=stacked, shallow=made)
            with jaxtyping.jaxtyped("context"):
                return _within(binder, attributes(found, value, path, binder))

        if failure := fields_fit(fields.sharing, value, attempt, made=made):
            return failure
        fields.remember(key)
    binder = RunTime(**_IN_FIELDS, filtered=not made, shallow=made)
    return _within(binder, attributes(fields_in(fields.apart, value), value, path, binder))


def _within(binder: RunTime, failure: Failure | None) -> Failure | None:
    if failure is None or failure.scope is not None:
        return failure
    return dataclasses.replace(failure, scope=binder)


@contextlib.contextmanager
def again(binder: RunTime) -> Generator[None]:
    """A context of jaxtyping's in which is bound what this binder has seen."""
    with jaxtyping.jaxtyped("context"):
        for _, cls, old in binder.seen:
            isinstance(old, cls)
        yield


@functools.lru_cache(maxsize=256)
def _structured(structure: str) -> Any:
    return jaxtyping.PyTree[Any, structure]


@functools.lru_cache(maxsize=256)
def _with_standing(cls: Any) -> Any:
    """The jaxtyping class of the same shape and dtype that takes what stands for an array."""
    return type(cls)(cls.__name__, (cls,), {"array_type": Standing})


def bindings_of(seen: Seen) -> dict[str, tuple[str, str]]:
    """Each dimension name that has been bound: its size, as text, and the argument that bound it."""
    bound: dict[str, tuple[str, str]] = {}
    for path, cls, value in seen:
        if not hasattr(cls, "dim_str"):
            continue
        for dim, _, part in aligned(parse(cls.dim_str), value.shape):
            if dim.kind != "named":
                continue
            if dim.broadcast and not dim.variadic and part == (1,):  # fits, and binds nothing
                continue
            size = f"({','.join(map(str, part))})" if dim.variadic else str(part[0])
            bound.setdefault(dim.text, (size, f"`{''.join(path)}`"))
    return bound
