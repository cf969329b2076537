"""Abstract values: a tree of nodes that says how to make one argument, and in which ways it can vary.

A node is made from an annotation (`build`) and made into a value as often as sizes, structures and
alternatives are tried. What an array leaf becomes (nothing, a tracer) is for the caller to say, in `Maker`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import jax

from typedfilter._reading import dims as _dims
from typedfilter._reading.dims import Dim, Size
from typedfilter._reading.kinds import Kind
from typedfilter._values.text import count_text
from typedfilter.check.inputs.unmade import UnbuildableError, Unmade, is_unmade
from typedfilter.check.inputs.watch import field_key, hook

Axis: TypeAlias = Any
"""The size of one axis: a number or a symbol, or the text of a name or of an expression over names."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One array that has to be made: what to call it, its axes, its dtype, and the dimensions that say so.

    `number` tells the leaves of a tree apart, for `?name`; `host` says that it is an array of NumPy's;
    `narrower` is another dtype that its annotation allows, of the same family.
    """

    label: str
    axes: tuple[Axis, ...]
    dtype: Any
    dims: tuple[Dim, ...] = ()
    number: str = ""
    host: bool = False
    narrower: Any = None

    def shape(self, sizes: Mapping[str, Size]) -> tuple[Size, ...]:
        """Its shape where the names have these sizes."""
        return tuple(axis_size(axis, sizes) for axis in self.axes)


def axis_size(axis: Axis, sizes: Mapping[str, Size]) -> Size:
    """The size of an axis. Names come first: `in` is one, and no expression."""
    if not isinstance(axis, str):
        return axis
    return sizes[axis] if axis in sizes else _dims.evaluate(axis, sizes)


@dataclasses.dataclass(frozen=True)
class Point:
    """A way in which a case can vary."""

    key: str  # the same key in two places means the same choice
    options: tuple[str, ...]  # what each choice is called; the first is the usual one
    # what no annotation promises that the function takes: `length` of a list, `keys` of a dictionary,
    # `structure` of a tree; empty where it does promise
    soft: str = ""


NUMBERS = (0.5, 0.75, 0.875, 0.9375)


@dataclasses.dataclass
class Maker:
    """How nodes become values."""

    case: Mapping[str, int]  # the chosen option by the key of its point; the first where there is none
    place: Callable[[Leaf], Any]  # what an array leaf becomes
    stub: Callable[[StubNode], Any]  # what a stand-in for a callable becomes
    construct: bool = False  # whether to run the constructors of classes (needs real leaves)
    # for `{...}` in dimension strings; None leaves them as they are
    arguments: Mapping[str, Any] | None = None
    # the keys of the points that were asked
    used: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    # the axes of each `*name`, where they are known
    ranks: Mapping[str, Sequence[Size]] = dataclasses.field(default_factory=dict[str, Sequence[Size]])
    # the number of each float that was made, by its label
    floats: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    # the same of each int that was made up
    whole: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    made: list[int] = dataclasses.field(default_factory=list[int])  # the ints that were made up
    # what the verdict depends on besides sizes: `k=3`
    notes: list[str] = dataclasses.field(default_factory=list[str])
    # the field that a note is of, as `Class.field`
    noted: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    size: Callable[[str], Any] = lambda name: 3  # the size that a name of a dimension stands for
    numbers: Sequence[float] = NUMBERS  # what floats are tried as, each another one
    rest: bool = False  # whether `...` means the same axes wherever it is written
    # the number of a float, or what stands for a callable, in all instances of the class whose field it is
    shared: dict[str, Any] | None = None

    def choose(self, point: Point) -> int:
        """The option of this case."""
        chosen = self.case.get(point.key, 0)
        self.used[point.key] = chosen
        return min(chosen, len(point.options) - 1)


class Node(Protocol):
    """How to make one value."""

    def points(self) -> Iterator[Point]:
        """Where its values can vary."""
        ...

    def make(self, maker: Maker) -> Any:
        """The value of one case."""
        ...


_RANKS = (1, 0, 2)
NO_AXES = _RANKS.index(0)  # the option of a `*name` that has none


@dataclasses.dataclass(frozen=True)
class ArrayNode:
    """A jaxtyping array."""

    label: str
    dims: tuple[Dim, ...]
    dtypes: tuple[Any, ...]
    number: str = ""
    anonymous: str = "_"
    host: bool = False
    narrower: tuple[Any, ...] = ()  # one for each of the dtypes; None where there is none

    def points(self) -> Iterator[Point]:
        if len(self.dtypes) > 1:
            yield self._dtype_point
        for axis, dim in enumerate(self.dims):
            if dim.variadic:
                yield self._rank_point(dim)
            if dim.broadcast:
                yield self._broadcast_point(axis, dim)

    @property
    def _dtype_point(self) -> Point:
        return Point("dtype", tuple(f"dtype {dtype}" for dtype in self.dtypes))

    def _rank_point(self, dim: Dim) -> Point:
        name = f"*{_dims.leaf_name(dim, self.number)}" if dim.text else "..."
        return Point(name, tuple(f"{name} of {count_text(rank, 'axis')}" for rank in _RANKS))

    def _broadcast_point(self, axis: int, dim: Dim) -> Point:
        name = f"axis {axis} of `{self.label}`"
        if dim.variadic:
            options = (
                "whole",
                f"the axes *{dim.text} of `{self.label}` all 1",
                f"`{self.label}` without *{dim.text}",
            )
            return Point(name, options)
        return Point(name, ("whole", f"{name} of size 1"))

    def make(self, maker: Maker) -> Any:
        chosen = maker.choose(self._dtype_point) if len(self.dtypes) > 1 else 0
        dtype, narrower = self.dtypes[chosen], self.narrower[chosen] if self.narrower else None
        axes = [axis for i, dim in enumerate(self.dims) for axis in self._axes(i, dim, maker)]
        leaf = Leaf(self.label, tuple(axes), dtype, self.dims, self.number, self.host, narrower)
        return maker.place(leaf)

    def _axes(self, axis: int, dim: Dim, maker: Maker) -> Sequence[Axis]:
        narrow = maker.choose(self._broadcast_point(axis, dim)) if dim.broadcast else 0
        if dim.variadic:
            if dim.text in maker.ranks:
                return list(maker.ranks[dim.text])
            rank = _RANKS[maker.choose(self._rank_point(dim))]
            rest = f"_rest{self.number}" if maker.rest else self._anonymous(axis)
            stem = _dims.leaf_name(dim, self.number) if dim.text else rest
            whole: list[Axis] = [f"{stem}_{i}" for i in range(rank)]
            return (whole, [1] * rank, [])[narrow]
        if narrow:
            return [1]
        if dim.kind == "fixed":
            return [int(dim.text)]
        if dim.kind == "anonymous":
            return [self._anonymous(axis)]
        if dim.kind == "named":
            return [_dims.leaf_name(dim, self.number)]
        return [dim.text if maker.arguments is None else _dims.interpolate(dim.text, maker.arguments)]

    def _anonymous(self, axis: int) -> str:
        return f"{self.anonymous}_{axis}"


@dataclasses.dataclass(frozen=True)
class GivenNode:
    """A value that is there already: a default, a member of an `Enum`, an example. Its arrays are traced.

    `is_field_default`: it is the default of a field of a class, which may be of other types, too.
    """

    value: Any
    label: str = ""
    note: str = ""
    is_field_default: bool = False

    def points(self) -> Iterator[Point]:
        return iter(())

    def make(self, maker: Maker) -> Any:
        if self.note:
            maker.notes.append(self.note)
        leaves = jax.tree.leaves(self.value)
        if not any(isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) for leaf in leaves):
            return self.value
        return jax.tree.map(lambda leaf: self._leaf(leaf, maker), self.value)

    def _leaf(self, leaf: Any, maker: Maker) -> Any:
        if not isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)):
            return leaf
        return maker.place(Leaf(self.label, tuple(leaf.shape), leaf.dtype))


@dataclasses.dataclass(frozen=True)
class SequenceNode:
    """A tuple, a list, a named tuple: `build` makes it of its items."""

    build: Callable[[list[Any]], Any]
    items: tuple[Node, ...]
    cls: type | None = None  # of a named tuple

    def points(self) -> Iterator[Point]:
        for item in self.items:
            yield from item.points()

    def make(self, maker: Maker) -> Any:
        names: tuple[str, ...] = getattr(self.cls, "_fields", ())
        if self.cls is None or not names:
            return self.build([item.make(maker) for item in self.items])
        fields = tuple(zip(names, self.items, strict=True))
        made = _made(self.cls, fields, maker)
        instance = self.build(list(made.values()))
        _watch(instance, fields, maker)
        return instance


def _made(cls: type, fields: tuple[tuple[str, Node], ...], maker: Maker) -> dict[str, Any]:
    """The value of every field, with a remark on whose each note is."""
    made: dict[str, Any] = {}
    for name, node in fields:
        before = len(maker.notes)
        made[name] = node.make(maker)
        for note in maker.notes[before:]:
            maker.noted.setdefault(note, field_key(cls, name))
    return made


def _watch(instance: Any, fields: tuple[tuple[str, Node], ...], maker: Maker) -> None:
    """See reads of the fields that could be something else."""
    noted = set(maker.noted.values())
    for name, node in fields:
        if field_key(type(instance), name) in noted or next(iter(node.points()), None) is not None:
            hook(instance, name)


@dataclasses.dataclass(frozen=True)
class RecordNode:
    """An instance of a class, by its fields.

    A constructor that `dataclass` wrote, or whose parameters can be made, is called; another takes what it
    likes, so its instances are filled field by field instead.
    """

    label: str
    cls: type
    fields: tuple[tuple[str, Node], ...]  # of the instance, or the parameters of its constructor
    call: tuple[str, ...] | None  # which of them the constructor takes by name; None does not call it
    complete: bool = True  # whether the fields are all that an instance has
    tracked: bool = False  # whether they are attributes, so that it can be told which are read
    spread: str = ""  # the parameter that is `*args`

    def points(self) -> Iterator[Point]:
        for _, node in self.fields:
            yield from node.points()

    def make(self, maker: Maker) -> Any:
        made = _made(self.cls, self.fields, maker)
        called = maker.construct and self.call is not None
        instance = self._constructed(made) if called else self._filled(made)
        for name, value in made.items():
            if is_unmade(value):
                hook(instance, name)
        if self.tracked:
            _watch(instance, self.fields, maker)
        return instance

    def _constructed(self, made: Mapping[str, Any]) -> Any:
        named = {name: made[name] for name in self.call or () if name in made}
        if not self.spread:
            return self.cls(**named)
        names = list(named)
        before = [named.pop(name) for name in names[: names.index(self.spread)]]
        return self.cls(*before, *named.pop(self.spread), **named)

    def _filled(self, made: Mapping[str, Any]) -> Any:
        try:
            instance: Any = object.__new__(self.cls)
        except TypeError as error:  # it is laid out in C
            raise UnbuildableError(
                f"no {self.cls.__name__} can be made of fields", "add an example"
            ) from error
        for name, value in made.items():
            with contextlib.suppress(AttributeError):  # the class computes it
                object.__setattr__(instance, name, value)
        return instance


@dataclasses.dataclass(frozen=True)
class ChoiceNode:
    """One of several: the members of a union, the values of a `Literal`, the lengths of a list."""

    point: Point
    options: tuple[Node, ...]

    def points(self) -> Iterator[Point]:
        yield self.point
        for option in self.options:
            yield from option.points()

    def make(self, maker: Maker) -> Any:
        return self.options[maker.choose(self.point)].make(maker)


@dataclasses.dataclass(frozen=True)
class StubNode:
    """A stand-in for a callable: it checks its arguments, and returns what its annotation says."""

    label: str
    parameters: tuple[Kind, ...] | None  # the type of each parameter; None takes anything
    result: Node  # makes the result
    # whether the names of its parameters are its own (a protocol's), not the signature's
    own_names: bool = False
    signature: inspect.Signature | None = None  # how it takes them; None: by position, without defaults
    key: str = ""  # what two of them share that are one callable where instances hold the same

    def points(self) -> Iterator[Point]:
        yield from self.result.points()

    def make(self, maker: Maker) -> Any:
        if maker.shared is None or not self.key:
            return maker.stub(self)
        if self.key not in maker.shared:
            maker.shared[self.key] = maker.stub(self)
        return maker.shared[self.key]


@dataclasses.dataclass(frozen=True)
class UnmadeNode:
    """A field that can't be made. That is a problem for those only who look at it."""

    problem: UnbuildableError

    def points(self) -> Iterator[Point]:
        return iter(())

    def make(self, maker: Maker) -> Any:
        return Unmade(self.problem)


def children(node: Node) -> Sequence[Node]:
    """The nodes inside a node."""
    if isinstance(node, SequenceNode):
        return node.items
    if isinstance(node, RecordNode):
        return [field for _, field in node.fields]
    if isinstance(node, ChoiceNode):
        return node.options
    inner: Node | None = getattr(node, "inner", None)  # of a node that says more of another
    return () if inner is None else [inner]


def walk(node: Node) -> Iterator[Node]:
    """`node` and every node in it."""
    yield node
    for child in children(node):
        yield from walk(child)
