"""The cases of a signature, the arrays of each, and the names that need a size.

Knows signatures and nodes; knows nothing of tracing or verdicts.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from typedfilter._reading import dims as _dims
from typedfilter._reading.dims import Bindings
from typedfilter._reading.fields import dims_of
from typedfilter._reading.kinds import Kind
from typedfilter.check.inputs import sizes as _sizes
from typedfilter.check.inputs import types
from typedfilter.check.inputs.nodes import (
    GivenNode,
    Leaf,
    Maker,
    Point,
    RecordNode,
    SequenceNode,
    StubNode,
    walk,
)
from typedfilter.check.inputs.signature import Case, Signature
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.inputs.values import SizeNode
from typedfilter.check.inputs.watch import field_key
from typedfilter.check.trials import compare

_PRODUCT = 256  # beyond this many combinations, only those that differ in one or two points are tried
_MOST = 72


_BRACES = "use names of arguments in {...}, which are there whatever the caller leaves out"


@dataclasses.dataclass(frozen=True)
class Layout:
    """The arrays of one case."""

    case: Case
    leaves: tuple[Leaf, ...]  # in the order in which they are made
    names: _sizes.Names  # what needs a size
    # the arguments with nothing in the place of arrays, for `{...}` in dimension strings
    arguments: Mapping[str, Any]
    used: Mapping[str, int]  # the points that this case depends on, with the chosen options
    origins: Mapping[str, str]  # where each name is seen first
    notes: tuple[str, ...] = ()  # what a verdict depends on besides sizes: `k=3`
    made: tuple[int, ...] = ()  # the whole numbers that were made up
    # the field that a note is of, as `Class.field`
    noted: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


class _Unsized:
    """In the place of an array whose sizes are not known yet: enough for `{x.ndim}`."""

    def __init__(self, leaf: Leaf) -> None:
        self.ndim = len(leaf.axes)
        self.dtype = leaf.dtype


def layout_of(signature: Signature, case: Case) -> Layout:
    """Make the arguments of a case once, without arrays, to see which arrays and names it has.

    Raises:
        UnbuildableError: a `{...}` in a dimension string can't be evaluated.
    """
    sized: list[str] = []

    def size(name: str) -> Any:
        sized.append(name)
        return _sizes.symbolic(_sizes.Names((name,)))[name]

    rest = signature.letter is not None and signature.letter.rest
    numbers = signature.numbers
    first = Maker(case, _Unsized, lambda stub: None, size=size, numbers=numbers, shared=signature.shared)
    arguments = make_arguments(signature, first)
    leaves: list[Leaf] = []
    results: list[Leaf] = []
    stubs: list[StubNode] = []
    used: dict[str, int] = {}

    def place(leaf: Leaf) -> Any:
        leaves.append(leaf)

    def stub(node: StubNode) -> Any:
        stubs.append(node)
        node.result.make(Maker(case, results.append, lambda inner: None, arguments=arguments))

    maker = Maker(case, place, stub, arguments=arguments, used=used, size=size, rest=rest, numbers=numbers)
    maker.shared = signature.shared
    try:
        make_arguments(signature, maker)
    except Exception as error:  # of the braces of a dimension string
        raise UnbuildableError(f"a dimension has no value: {error}", _BRACES) from error
    origins = _origins(leaves)
    _check_spelling(leaves)
    for name, where in _origins(results).items():
        if not any(_is_bound_by(node, name) for node in stubs):
            origins.setdefault(name, where)
    origins |= {name: f"the argument `{name}`" for name in sized if name not in origins}
    names = _names(signature, leaves, arguments, origins)
    notes, made = tuple(dict.fromkeys(maker.notes)), tuple(dict.fromkeys(maker.made))
    return Layout(case, tuple(leaves), names, arguments, used, origins, notes, made, maker.noted)


def _called(returns: Kind, arguments: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, int]:
    """The whole numbers that are called as a dimension of the result that no array binds."""
    names = [
        dim.text
        for dim in dims_of(returns)
        if dim.kind == "named" and not dim.variadic and dim.text not in origins
    ]
    known = {name: arguments[name] for name in names if name in arguments}
    return {name: value for name, value in known.items() if type(value) is int and value > 0}


def _names(
    signature: Signature,
    leaves: list[Leaf],
    arguments: Mapping[str, Any],
    origins: dict[str, str],
) -> _sizes.Names:
    """What needs a size; the names of whole numbers, and those that a reading adds, come to `origins`."""
    called = _called(signature.returns, arguments, origins)
    origins |= {name: f"the argument `{name}`" for name in called}
    fixed = {**called, **_given_sizes(signature, arguments), **dict(signature.sizes)}
    letter = signature.letter
    if letter is not None and letter.tied:
        ints = {name: value for name, value in arguments.items() if type(value) is int and value > 0}
        fixed = {**fixed, **ints}
    equal = tuple((n, e) for n, e in letter.equal if n in origins) if letter else ()
    for name in (name for _, other in equal for name in _dims.names_in(other)):
        origins.setdefault(name, "")  # nobody has written it
    free = tuple(origins)
    axes = [axis for leaf in leaves for axis in leaf.axes]
    computed = [axis for axis in axes if isinstance(axis, str) and not axis.isidentifier()]
    computed += [*_promised(signature.returns, arguments, free), *(other for _, other in equal)]
    computed += [f"{n}-{least - 1}" for n, least in (letter.least if letter else ()) if n in free]
    known = tuple((n, s) for n, s in fixed.items() if n in free)
    return _sizes.Names(free, tuple(dict.fromkeys(computed)), known, equal)


def make_arguments(signature: Signature, maker: Maker) -> dict[str, Any]:
    """The value of every parameter that is not left out, by name."""
    return {p.name: p.node.make(maker) for p in signature.parameters}


def _origins(leaves: list[Leaf]) -> dict[str, str]:
    found: dict[str, str] = {}
    for leaf in leaves:
        for i, axis in enumerate(leaf.axes):
            if isinstance(axis, str) and axis.isidentifier():
                found.setdefault(axis, f"axis {i} of `{leaf.label}`")
    for leaf in leaves:
        for i, axis in enumerate(leaf.axes):
            if isinstance(axis, str) and not axis.isidentifier():
                for name in _dims.names_in(axis):
                    found.setdefault(name, f"axis {i} of `{leaf.label}` = {axis}")
    return found


def _check_spelling(leaves: list[Leaf]) -> None:
    """The axes of `*b` are called b_0, b_1, ...: nothing else may be."""
    made = {f"{dim.text}_{i}": dim.text for x in leaves for dim in x.dims if dim.variadic for i in range(3)}
    for leaf in leaves:
        for dim in leaf.dims:
            if dim.kind == "named" and not dim.variadic and dim.text in made:
                raise UnbuildableError(
                    f"the dimension `{dim.text}` is called as the axes of `*{made[dim.text]}` are here",
                    "rename one of them",
                )


def _is_bound_by(node: StubNode, name: str) -> bool:
    """Whether a stand-in learns the size of a name from its own arguments."""
    dims = [dim for kind in node.parameters or () for array in types.arrays_in(kind) for dim in array.dims]
    stem = name.rpartition("_")[0]
    return any(dim.text == (stem if dim.variadic else name) for dim in dims if dim.kind == "named")


def _given_sizes(signature: Signature, arguments: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the arrays of an example settle."""
    bindings = Bindings(arguments=arguments)
    for parameter in signature.parameters:
        if isinstance(parameter.node, GivenNode):
            try:
                compare.check(parameter.node.value, parameter.type, bindings)
            except compare.MismatchError:
                continue  # reported when the function is called with it
    return {name: size for name, size in bindings.sizes.items() if isinstance(size, int)}


def _promised(returns: Kind, arguments: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    """The expressions of the return annotation: each promises an axis, so that it is at least 1."""
    for array in types.arrays_in(returns):
        for dim in array.dims:
            if dim.kind != "expression":
                continue
            try:
                text = _dims.interpolate(dim.text, arguments)
                if set(_dims.names_in(text)) <= set(known):
                    yield text
            except Exception:
                continue


# -------------------------------------------------------------------------------------------------- cases


def points_of(signature: Signature) -> list[Point]:
    """Every way in which the inputs can vary."""
    found: dict[str, Point] = {}
    for parameter in signature.parameters:
        for point in parameter.node.points():
            old = found.get(point.key)
            if old is None or len(old.options) < len(point.options):
                found[point.key] = point
    return list(found.values())


def fields_of(signature: Signature) -> frozenset[str]:
    """The fields of which it is known whether anybody reads them, as `Class.field`."""
    nodes = [node for p in signature.parameters for node in walk(p.node)]
    tracked = [n for n in nodes if isinstance(n, RecordNode) and n.tracked]
    records = [(n.cls, name) for n in tracked for name, _ in n.fields]
    tuples = [n.cls for n in nodes if isinstance(n, SequenceNode) and n.cls is not None]
    records += [(cls, name) for cls in tuples for name in getattr(cls, "_fields", ())]
    return frozenset(field_key(cls, name) for cls, name in records)


def sized(signature: Signature) -> frozenset[str]:
    """The dimensions that numbers are called as, which are those sizes."""
    nodes = (node for p in signature.parameters for node in walk(p.node))
    return frozenset(node.name for node in nodes if isinstance(node, SizeNode))


def read_points(signature: Signature, read: Collection[str]) -> list[Point]:
    """The points of a signature without the fields that nobody reads."""
    unread = fields_of(signature).difference(read)
    return [point for point in points_of(signature) if field_of(point) not in unread]


def field_of(point: Point) -> str:
    """The field that a choice is of, as `Class.field`; something else for other points."""
    return point.key.partition(" of ")[2] if point.key.startswith(("choice of ", "text of ")) else ""


def left_out(points: list[Point]) -> int:
    """How many combinations `cases_of` does not try."""
    total = _combinations(points)
    return 0 if total <= _PRODUCT else total - sum(1 for _ in cases_of(points))


def _combinations(points: list[Point]) -> int:
    return math.prod(len(point.options) for point in points)


def cases_of(points: list[Point]) -> Iterator[Case]:
    """All combinations of options where they are few; else those that differ in two or in all."""
    if _combinations(points) <= _PRODUCT:
        for chosen in itertools.product(*(range(len(point.options)) for point in points)):
            yield dict(zip((point.key for point in points), chosen, strict=True))
        return
    yield {}
    yield {point.key: len(point.options) - 1 for point in points}
    singles = [{point.key: option} for point in points for option in range(1, len(point.options))]
    yield from singles
    pairs = (a | b for a, b in itertools.combinations(singles, 2) if a.keys() != b.keys())
    yield from itertools.islice(pairs, max(0, _MOST - len(singles)))


def choices_of(layout: Layout) -> frozenset[tuple[str, int]]:
    """What a case chose of what the signature leaves open by name: of unions, and of a `Literal`'s values."""
    return frozenset(item for item in layout.used.items() if item[0].startswith(("choice of ", "type ")))
