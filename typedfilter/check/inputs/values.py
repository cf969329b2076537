"""Values that no annotation says: numbers, the size that an int is called as, the instances of an example.

Each is named in the verdict that depends on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from typedfilter.check.inputs.nodes import Maker, Node, Point


@dataclasses.dataclass(frozen=True)
class SizeNode:
    """An int that is called as a dimension of the signature: it is that size."""

    label: str
    name: str

    def points(self) -> Iterator[Point]:
        return iter(())

    def make(self, maker: Maker) -> Any:
        maker.notes.append(f"{self.label} the size {self.name}")
        return maker.size(self.name)


_WHOLE: tuple[tuple[int, ...], ...] = ((3, 4, 5, 6, 7), (4,), (2,), (8, 2, 4, 2), (2, 8, 2, 4), (1,))


@dataclasses.dataclass(frozen=True)
class IntNode:
    """An int that is made up: 3 and others in the first round, then 4, 2, multiples, and what is offered.

    What `key` two of them share is the same number: a parameter of the constructor of one class, say.
    """

    label: str
    key: str
    round: int
    offered: tuple[int, ...] = ()

    def points(self) -> Iterator[Point]:
        return iter(())

    def make(self, maker: Maker) -> Any:
        number = maker.whole.setdefault(self.key, len(maker.whole))
        rounds = (*_WHOLE[:4], *((size,) for n in self.offered for size in (n, 2 * n)), *_WHOLE[4:])
        values = rounds[self.round % len(rounds)]
        value = values[number % len(values)]
        maker.notes.append(f"{self.label}={value}")
        maker.made.append(value)
        return value


@dataclasses.dataclass(frozen=True)
class ExampleNode:
    """An instance that an example of its class makes, of the sizes that it asks for by name."""

    label: str
    function: Callable[..., Any]
    names: tuple[tuple[str, str], ...]

    def points(self) -> Iterator[Point]:
        return iter(())

    def make(self, maker: Maker) -> Any:
        maker.notes.append(f"{self.label} an example of its class")
        sizes = {name: maker.size(size) for name, size in self.names}
        return self.function(**sizes) if maker.construct else None


@dataclasses.dataclass(frozen=True)
class FreshNode:
    """A value that changes while it is used, so that each trial makes its own: a stream of random keys."""

    factory: Callable[[], Any]
    note: str

    def points(self) -> Iterator[Point]:
        return iter(())

    def make(self, maker: Maker) -> Any:
        maker.notes.append(self.note)
        return self.factory() if maker.construct else None


@dataclasses.dataclass(frozen=True)
class FloatNode:
    """A number. It can decide a shape (`int((high - low) * 10)`): each is larger than the last."""

    label: str
    kind: type
    key: str = ""  # the field that it is, of whatever instance

    def points(self) -> Iterator[Point]:
        return iter(())

    def make(self, maker: Maker) -> Any:
        label = self.label if maker.shared is None or not self.key else self.key
        number = maker.floats.setdefault(label, len(maker.floats))
        value = self.kind(maker.numbers[number] if number < len(maker.numbers) else number)
        maker.notes.append(f"{self.label}={value}")
        return value


@dataclasses.dataclass(frozen=True)
class NotedNode:
    """A node whose making is worth a word."""

    inner: Node
    note: str

    def points(self) -> Iterator[Point]:
        return self.inner.points()

    def make(self, maker: Maker) -> Any:
        maker.notes.append(self.note)
        return self.inner.make(maker)
