"""The nodes of a compiled annotation: each checks one value, and every element of it, in a fixed order.

Walks through containers, since beartype looks at one random element of a list; the leaves ask
jaxtyping, or the question that `compile` gave them. Knows nothing of annotations, functions or error
texts: a node answers with None, or with the `Failure` that `text` explains. All that binds dimension
names is `isinstance` against jaxtyping's classes: whoever calls `check` opens jaxtyping's context around it.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.core
import jaxtyping
import numpy as np

from typedfilter._values.text import steps

Path = tuple[str, ...]  # the parameter, then one piece for each step into it: ("xs", '["a"]', "[0]")
Seen = list[tuple[Path, Any, Any]]  # (path, jaxtyping class, value) of what has bound dimensions so far

TOWER: dict[type, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    complex: (complex, float, int),
}
_KINDS: dict[type, tuple[Any, ...]] = {
    bool: (np.bool_,),
    int: (np.bool_, np.integer),
    float: (np.bool_, np.integer, np.floating),
    complex: (np.bool_, np.number),
}


@dataclasses.dataclass(frozen=True)
class Failure:
    """A value that a node refused; `causes` are those of the alternatives of a union."""

    path: Path
    node: Node
    value: Any
    causes: tuple[Failure, ...] = ()


@dataclasses.dataclass(frozen=True)
class Node(abc.ABC):
    """A type that can be checked. `hint` is the type, for messages."""

    hint: Any

    @abc.abstractmethod
    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        """None where `value` fits; what it binds is appended to `seen`."""

    def children(self) -> tuple[Node | None, ...]:
        return ()

    def leaves(self) -> Iterator[Node]:
        inner = [child for child in self.children() if child is not None]
        if not inner:
            yield self
        for child in inner:
            yield from child.leaves()

    @property
    def binds(self) -> bool:
        """Whether a check can bind dimension or structure names."""
        return any(isinstance(leaf, ArrayNode | TreeNode) for leaf in self.leaves())


@dataclasses.dataclass(frozen=True)
class ArrayNode(Node):
    """A jaxtyping array. `cls` is what is checked: `hint`, or one that takes tracers for NumPy arrays too."""

    cls: Any

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        if isinstance(value, self.cls):
            seen.append((path, self.cls, value))
            return None
        return Failure(path, self, value)


@dataclasses.dataclass(frozen=True)
class PlainNode(Node):
    """Any type of which values are asked one question."""

    accepts: Callable[[Any], bool]

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        return None if self.accepts(value) else Failure(path, self, value)


@dataclasses.dataclass(frozen=True)
class ScalarNode(Node):
    """`bool`, `int`, `float` or `complex`: the Python number or, where it may be traced, a scalar array."""

    arrays: bool  # Traced[float] and returned numbers: concrete arrays too, as without jit

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        if isinstance(value, TOWER[self.hint]):
            return None
        # A tracer where a number is annotated is there because somebody told a transform to trace it.
        kinds = (jax.Array, np.ndarray, np.generic) if self.arrays else jax.core.Tracer
        if isinstance(value, kinds) and value.shape == () and self.right_kind(value.dtype):
            return None
        return Failure(path, self, value)

    def right_kind(self, dtype: Any) -> bool:
        return any(jax.numpy.issubdtype(dtype, kind) for kind in _KINDS[self.hint])


@dataclasses.dataclass(frozen=True)
class TupleNode(Node):
    """`tuple[A, B]`."""

    items: tuple[Node | None, ...]

    def children(self) -> tuple[Node | None, ...]:
        return self.items

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        if not isinstance(value, tuple) or len(value) != len(self.items):
            return Failure(path, self, value)
        for index, (item, node) in enumerate(zip(value, self.items, strict=True)):
            if node is not None and (failure := node.check(item, (*path, f"[{index}]"), seen)):
                return failure
        return None


@dataclasses.dataclass(frozen=True)
class EachNode(Node):
    """`list[A]`, `tuple[A, ...]`, `Sequence[A]`, `set[A]`: one type for every element."""

    origin: Any
    item: Node | None

    def children(self) -> tuple[Node | None, ...]:
        return (self.item,)

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        if not isinstance(value, self.origin):
            return Failure(path, self, value)
        if self.item is not None and not isinstance(value, str | bytes):  # a str is a sequence of itself
            for index, item in enumerate(value):
                if failure := self.item.check(item, (*path, f"[{index}]"), seen):
                    return failure
        return None


@dataclasses.dataclass(frozen=True)
class MappingNode(Node):
    """`dict[K, V]`, `Mapping[K, V]`."""

    origin: Any
    key: Node | None
    item: Node | None

    def children(self) -> tuple[Node | None, ...]:
        return (self.key, self.item)

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        if not isinstance(value, self.origin):
            return Failure(path, self, value)
        for key, item in value.items():
            place = (*path, subscript(key))
            if self.key is not None and (failure := self.key.check(key, (*path, ".keys()"), seen)):
                return failure
            if self.item is not None and (failure := self.item.check(item, place, seen)):
                return failure
        return None


@dataclasses.dataclass(frozen=True)
class RecordNode(Node):
    """A NamedTuple (by attribute) or a TypedDict (by key), and those of its fields that hold arrays.

    None passes in every field: a gradient has the type of what is differentiated, and None for the rest.
    """

    origin: Any
    fields: tuple[tuple[str, Node], ...]

    def children(self) -> tuple[Node | None, ...]:
        return tuple(node for _, node in self.fields)

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        if not isinstance(value, self.origin):
            return Failure(path, self, value)
        keyed = isinstance(value, dict)
        for name, node in self.fields:
            item = value.get(name) if keyed else getattr(value, name)
            place = (*path, subscript(name) if keyed else f".{name}")
            if item is not None and (failure := node.check(item, place, seen)):
                return failure
        return None


@dataclasses.dataclass(frozen=True)
class TreeNode(Node):
    """`PyTree[leaf]`, `PyTree[leaf, "T"]`.

    Attributes:
        leaf: checks each leaf, so that one that fails can be named; None where jaxtyping does it all.
        whole: what is asked of the tree as a whole, by `isinstance`; None where nothing is.
    """

    leaf: Node | None
    whole: Any

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        if self.whole is not None:
            if not isinstance(value, self.whole):
                return Failure(path, self, value)
            seen.append((path, self.whole, value))
        if self.leaf is None:
            return None
        for place, item in jax.tree_util.tree_leaves_with_path(value):
            piece = steps(place)
            if failure := self.leaf.check(item, (*path, piece) if piece else path, seen):
                return failure
        return None


@dataclasses.dataclass(frozen=True)
class UnionNode(Node):
    """`A | B`. Leaves first: they leave no binding behind when they fail, a container may."""

    alternatives: tuple[Node, ...]

    def children(self) -> tuple[Node | None, ...]:
        return self.alternatives

    def check(self, value: Any, path: Path, seen: Seen) -> Failure | None:
        causes: list[Failure] = []
        last = len(self.alternatives) - 1
        for index, node in enumerate(self.alternatives):
            failure = None
            if index < last and node.binds and node.children():
                failure = _rehearse(node, value, path, seen)
            failure = failure or node.check(value, path, seen)
            if failure is None:
                return None
            causes.append(failure)
        return self._blame(Failure(path, self, value, tuple(causes)))

    def _blame(self, failure: Failure) -> Failure:
        """The alternative that was meant, where the value leaves no doubt; else all of them."""
        inside = [cause for cause in failure.causes if len(cause.path) > len(failure.path)]
        meant = [cause for cause in failure.causes if cause.node.hint is not type(None)]
        for candidates in (inside, meant):
            if len(candidates) == 1:
                return candidates[0]
        return failure


def _rehearse(node: Node, value: Any, path: Path, seen: Seen) -> Failure | None:
    """Check in a copy of the bindings, since jaxtyping does not take back those of half a container."""
    try:
        with jaxtyping.jaxtyped("context"):
            for _, cls, old in seen:
                isinstance(old, cls)
            return node.check(value, path, list(seen))
    except jaxtyping.AnnotationError:  # a dimension that only the real context knows
        return None


def subscript(key: Any) -> str:
    """A dictionary key as it is written: `["a"]`, `[0]`."""
    return f'["{key}"]' if isinstance(key, str) else f"[{key!r}]"
