"""A signature ready to be tried: a node for each parameter, the cases, and the arrays of each case.

Knows plans and nodes; knows nothing of tracing or verdicts.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import typing_extensions

from typedfilter._reading import dims as _dims
from typedfilter._reading.dims import Bindings
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._shapes.returned import NOTHING, Returned, returned_by
from typedfilter.check.inputs import build, types
from typedfilter.check.inputs import sizes as _sizes
from typedfilter.check.inputs.nodes import (
    ArrayNode,
    GivenNode,
    Leaf,
    Maker,
    Node,
    Point,
    RecordNode,
    StubNode,
    children,
    walk,
)
from typedfilter.check.inputs.place import Place
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.trials import compare
from typedfilter.check.trials.subject import Subject

Case = dict[str, int]
"""The chosen option of each point, by key."""

_PRODUCT = 256  # beyond this many combinations, only those that differ in one or two points are tried
_MOST = 72
_EMPTY = inspect.Parameter.empty
_TRACED: Mapping[Any, Any] = {bool: True, int: 3, float: 0.5, complex: 0.5j}  # traced, so that any will do
_SELVES: tuple[Any, ...] = (typing.Self, typing_extensions.Self)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter, with how to make it; without, it is left out."""

    name: str
    kind: Any
    type: Any
    node: Node | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """What is called, with what, and what it promises."""

    subject: Subject
    parameters: tuple[Parameter, ...]
    returns: Any  # a type; Any where nothing is said
    sizes: tuple[tuple[str, int], ...] = ()  # of dimensions, from an example
    apart: frozenset[str] = frozenset()  # instances that have dimension names of their own
    computes: Returned = NOTHING  # what an array in the result may stand for

    @property
    def classes_apart(self) -> frozenset[type]:
        """The classes of those instances."""
        nodes = (node for p in self.parameters if p.node is not None for node in walk(p.node))
        return frozenset(
            node.cls for node in nodes if isinstance(node, RecordNode) and node.label in self.apart
        )


def signature_of(
    subject: Subject, plan: Plan, example: Mapping[str, Any], apart: frozenset[str] = frozenset()
) -> Signature:
    """Find a node for every parameter.

    Raises:
        UnbuildableError: of one there is none.
    """
    params = list(plan.params)
    parameters: list[Parameter] = []
    if subject.kind == "constructor":
        params = params[1:]
    elif subject.kind not in ("function", "static") and params:
        parameters.append(_receiver(subject, params.pop(0), apart))
    known = {param.name for param in params}
    parameters += [_parameter(_of_class(param, subject.cls), example, apart) for param in params]
    sizes = {name: size for name, size in example.items() if name not in known}
    for name, size in sizes.items():
        if not isinstance(size, int):
            raise UnbuildableError(
                f"the example names `{name}`, which is no parameter of {plan.function}",
                "correct the name; a dimension takes an int",
            )
    constructor = subject.kind == "constructor"
    returns = subject.cls if constructor else _type_of("the return", of_class(plan.returns, subject.cls))
    computes = returned_by(plan.params)
    return Signature(subject, tuple(parameters), returns, tuple(sizes.items()), apart, computes)


def of_class(hint: Hint, cls: type | None) -> Hint:
    """`hint`, with the class for `Self`."""
    return dataclasses.replace(hint, type=cls) if cls is not None and hint.annotation in _SELVES else hint


def _of_class(param: Param, cls: type | None) -> Param:
    return dataclasses.replace(param, hint=of_class(param.hint, cls))


def _receiver(subject: Subject, param: Param, apart: frozenset[str]) -> Parameter:
    if subject.kind == "class":
        return Parameter(param.name, param.kind, type, GivenNode(subject.cls))
    if subject.kind == "bound":
        kind = Any if isinstance(subject.receiver, type) else subject.cls
        return Parameter(param.name, param.kind, kind, GivenNode(subject.receiver, param.name))
    node = build.node(subject.cls, Place(param.name, param.name, apart=apart))
    return Parameter(param.name, param.kind, subject.cls, node)


def _parameter(param: Param, example: Mapping[str, Any], apart: frozenset[str]) -> Parameter:
    name = param.name
    if name in example:
        note = "" if jax.tree.leaves(example[name]) == [] else f"{name}={_short(example[name])}"
        node: Node | None = GivenNode(example[name], name, note)
        return Parameter(name, param.kind, param.hint.type, node)
    if param.kind in _VARIADIC:
        return Parameter(name, param.kind, param.hint.type, _variadic(param, apart))
    hint_type = _type_of(f"`{name}`", param.hint)
    if not param.hint.annotated and param.default is _EMPTY:
        raise UnbuildableError(
            f"`{name}` has no annotation", f"annotate it, or add @typedfilter.check.example({name}=...)"
        )
    if param.hint.role is Role.TRACED and hint_type in _TRACED and param.default is _EMPTY:
        return Parameter(name, param.kind, hint_type, GivenNode(_TRACED[hint_type], name))
    node = build.parameter_node(name, hint_type, param.default, apart)
    return Parameter(name, param.kind, hint_type, node)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def _variadic(param: Param, apart: frozenset[str]) -> Node | None:
    """`*args` as a tuple and `**kwargs` as a dictionary; left out where nothing says what they hold."""
    if not param.hint.annotated:
        return None
    one: Any = param.hint.type
    many: Any = tuple[one, ...] if param.kind is _VARIADIC[0] else dict[str, one]
    try:
        return build.node(many, Place(param.name, param.name, apart=apart))
    except UnbuildableError:
        return None


def _type_of(where: str, hint: Hint) -> Any:
    if hint.unresolved:
        raise UnbuildableError(
            f"the name `{hint.unresolved[0]}` in the annotation of {where} can't be found",
            "import it outside `if TYPE_CHECKING`",
        )
    return hint.type


def colliding(signature: Signature) -> frozenset[str]:
    """The instances of classes whose fields share dimension names with those of another instance.

    Names are shared by default, which is what `params: P, grads: P` needs; two layers of one class need it
    not, and nothing in their annotations says how their sizes are related.
    """
    owners: dict[str, set[str]] = {}
    for parameter in signature.parameters:
        if parameter.node is not None:
            for label, name in _owned_names(parameter.node):
                owners.setdefault(name, set()).add(label)
    # The names of `self` are those of its methods, too.
    own = signature.parameters[0].name if signature.subject.kind in ("method", "property") else ""
    return frozenset(label for labels in owners.values() if len(labels) > 1 for label in labels - {own})


def _owned_names(node: Node, owner: str = "") -> Iterator[tuple[str, str]]:
    """The instance in whose fields each dimension name is, for every array below `node`."""
    if isinstance(node, ArrayNode) and owner:
        yield from ((owner, dim.text) for dim in node.dims if dim.kind == "named")
    for child in children(node):
        yield from _owned_names(child, node.label if isinstance(node, RecordNode) else owner)


# -------------------------------------------------------------------------------------------------- cases


def points_of(signature: Signature) -> list[Point]:
    """Every way in which the inputs can vary."""
    found: dict[str, Point] = {}
    for parameter in signature.parameters:
        if parameter.node is not None:
            for point in parameter.node.points():
                old = found.get(point.key)
                if old is None or len(old.options) < len(point.options):
                    found[point.key] = point
    return list(found.values())


def choices_of(layout: Layout) -> frozenset[tuple[str, int]]:
    """What a case chose of what the signature leaves open by name: of unions, and of a `Literal`'s values."""
    return frozenset(item for item in layout.used.items() if item[0].startswith(("choice of ", "type ")))


def left_out(points: list[Point]) -> int:
    """How many combinations `cases_of` does not try."""
    total = _combinations(points)
    return 0 if total <= _PRODUCT else total - sum(1 for _ in cases_of(points))


def _combinations(points: list[Point]) -> int:
    return math.prod(len(point.options) for point in points)


def cases_of(points: list[Point]) -> Iterator[Case]:
    """All combinations of options where they are few; else those that differ from the usual in two."""
    if _combinations(points) <= _PRODUCT:
        for chosen in itertools.product(*(range(len(point.options)) for point in points)):
            yield dict(zip((point.key for point in points), chosen, strict=True))
        return
    yield {}
    singles = [{point.key: option} for point in points for option in range(1, len(point.options))]
    yield from singles
    pairs = (a | b for a, b in itertools.combinations(singles, 2) if a.keys() != b.keys())
    yield from itertools.islice(pairs, max(0, _MOST - len(singles)))


# ------------------------------------------------------------------------------------------------ layouts


@dataclasses.dataclass(frozen=True)
class Layout:
    """The arrays of one case.

    Attributes:
        leaves: in the order in which they are made.
        names: what needs a size.
        arguments: the arguments with nothing in the place of arrays, for `{...}` in dimension strings.
        used: the points that this case depends on, with the chosen options.
        origins: where each name is seen first.
        notes: what a verdict depends on besides sizes: `k=3`.
    """

    case: Case
    leaves: tuple[Leaf, ...]
    names: _sizes.Names
    arguments: Mapping[str, Any]
    used: Mapping[str, int]
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()


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
    arguments = make_arguments(signature, Maker(case, _Unsized, lambda stub: None))
    leaves: list[Leaf] = []
    results: list[Leaf] = []
    stubs: list[StubNode] = []
    used: dict[str, int] = {}

    def place(leaf: Leaf) -> Any:
        leaves.append(leaf)

    def stub(node: StubNode) -> Any:
        stubs.append(node)
        node.result.make(Maker(case, results.append, lambda inner: None, arguments=arguments))

    maker = Maker(case, place, stub, arguments=arguments, used=used)
    try:
        make_arguments(signature, maker)
    except Exception as error:  # whatever the braces of a dimension string raise
        raise UnbuildableError(
            f"a dimension can't be evaluated: {error}", "use names of arguments in {...}"
        ) from error
    origins = _origins(leaves)
    _check_spelling(leaves)
    for name, where in _origins(results).items():
        if not any(_is_bound_by(node, name) for node in stubs):
            origins.setdefault(name, where)
    given = _given_sizes(signature, arguments)
    fixed = {**given, **dict(signature.sizes)}
    free = tuple(origins)
    axes = [axis for leaf in leaves for axis in leaf.axes]
    computed = [axis for axis in axes if isinstance(axis, str) and not axis.isidentifier()]
    computed += _promised(signature.returns, arguments, free)
    names = _sizes.Names(
        free, tuple(dict.fromkeys(computed)), tuple((n, s) for n, s in fixed.items() if n in free)
    )
    return Layout(case, tuple(leaves), names, arguments, used, origins, tuple(dict.fromkeys(maker.notes)))


def make_arguments(signature: Signature, maker: Maker) -> dict[str, Any]:
    """The value of every parameter that is not left out, by name."""
    return {p.name: p.node.make(maker) for p in signature.parameters if p.node is not None}


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
    dims = [d for hint in node.parameters or () for a in types.arrays_in(hint) for d in types.dims_of(a)]
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


def _promised(returns: Any, arguments: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    """The expressions of the return annotation: each promises an axis, so that it is at least 1."""
    for array in types.arrays_in(returns):
        for dim in types.dims_of(array):
            if dim.kind != "expression":
                continue
            try:
                text = _dims.interpolate(dim.text, arguments)
                if set(_dims.names_in(text)) <= set(known):
                    yield text
            except Exception:
                continue
