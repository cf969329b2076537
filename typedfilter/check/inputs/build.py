"""Annotations in, nodes out: how to make a value of each kind of type.

A fold over kinds; instances of classes are made in `records`. Knows nothing of sizes, transforms or verdicts.
What can't be made says why, and what to write so that it can: nothing is guessed that could decide a shape.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from typedfilter._reading import dims as _dims
from typedfilter._reading import kinds
from typedfilter._reading.kinds import Kind
from typedfilter._reading.text import show
from typedfilter.check.inputs import classes, guesses
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.defaults import given, or_default
from typedfilter.check.inputs.nodes import (
    ArrayNode,
    ChoiceNode,
    Node,
    Point,
    SequenceNode,
    StubNode,
    UnmadeNode,
)
from typedfilter.check.inputs.place import Guess, Place, anonymous_stem
from typedfilter.check.inputs.records import instance
from typedfilter.check.inputs.trees import TreeNode
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.inputs.values import FloatNode

_LENGTHS = (2, 1, 3)
_LISTS = (tuple, list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_KEYS: Mapping[Any, tuple[Any, Any]] = {int: (0, 1), str: ("a", "b")}


def parameter_node(
    name: str, kind: Kind, default: Any, apart: frozenset[str] = frozenset(), guess: Guess | None = None
) -> Node:
    """How to make a parameter that no example gives.

    Raises:
        UnbuildableError: its annotation does not say enough, and it has no default.
    """
    return or_default(node, Place(name, name, apart=apart, guess=guess), kind, default)


def node(kind: Kind, place: Place) -> Node:
    """How to make a value of a type.

    Raises:
        UnbuildableError: the type does not say enough, and there is nothing to guess.
    """
    if place.guess is None or place.guess.constructor:
        return _node(kind, place)
    if guesses.is_numeric(kind) and place.guess.round % 2 == 0:
        return guesses.a_number(place)
    members = _types.alternatives(kind)
    meant = members[0] if len(members) == 1 else kind
    try:
        return _node(kind, place.without_guesses if guesses.is_made_whole(meant) else place)
    except UnbuildableError:
        guess = guesses.guess(meant, place, node)
        if guess is None:
            raise
        return guess


def _node(kind: Kind, place: Place) -> Node:
    members = _types.alternatives(kind)
    if len(members) > 1:
        # A type variable stands for the same type wherever it is written.
        return _union(members, place, f"type {kind.hint}" if isinstance(kind, kinds.Variable) else "")
    kind = next(iter(members))
    if kind.hint is type(None):
        return given(None, place)
    if (choices := _choices(kind)) is not None:
        return _choice(place, _each(choices, place))
    match kind:
        case kinds.Array():
            return _array(kind, place)
        case kinds.Tree():
            return _tree(kind, place)
        case kinds.Scalar() if kind.hint in (float, complex):
            return FloatNode(place.label, kind.hint, place.key)
        case kinds.Callable(_, parameters, Kind() as result):
            return StubNode(place.label, parameters, node(result, place.at("()")), key=place.key)
        case _:
            return _container(kind, place) or instance(kind, place, node)


def _union(members: tuple[Kind, ...], place: Place, key: str = "") -> Node:
    options: list[tuple[str, Node]] = []
    problems: list[UnbuildableError] = []
    for member in sorted(
        members, key=lambda member: not isinstance(member, kinds.Array)
    ):  # arrays: the usual
        try:
            if (choices := _choices(member)) is not None:  # one choice with that of the member
                options += _each(choices, place)
            else:
                options.append((f"{place.label}: {show(member.hint)}", node(member, place)))
        except UnbuildableError as problem:
            problems.append(problem)
    # Half a union would pass what the other half breaks.
    if problems:
        raise problems[0]
    return _choice(place, options, key=key)


def _each(values: Iterable[Any], place: Place) -> list[tuple[str, Node]]:
    return [(f"{place.label}={value!r}", given(value, place)) for value in values]


def _choice(place: Place, options: list[tuple[str, Node]], soft: str = "", key: str = "") -> Node:
    if len(options) == 1:
        return options[0][1]
    labels, nodes = zip(*options, strict=True)
    return ChoiceNode(Point(key or f"choice of {place.key or place.label}", labels, soft), nodes)


def _choices(kind: Kind) -> Iterable[Any] | None:
    """All values of a type that has but a few; None for any other."""
    match kind:
        case kinds.Literal(_, values):
            return values
        case kinds.Class(_, cls) if issubclass(cls, enum.Flag):
            return dict.fromkeys([*cls, cls(0), functools.reduce(operator.or_, cls, cls(0))])
        case kinds.Class(_, cls) if issubclass(cls, enum.Enum):
            return list(cls)
        case _:
            return (False, True) if kind.hint is bool else None


def _array(kind: kinds.Array, place: Place) -> Node:
    host = kind.array_type is np.ndarray
    if not kind.takes_tracers and not host:
        name = getattr(kind.array_type, "__name__", str(kind.array_type))
        raise UnbuildableError(
            f"`{place.label}` is a {name}, which can't be traced",
            "annotate with jax.Array, or with a union that has it",
        )
    # Of the numbers in an operator of another package nobody here says that they may be complex.
    others = bool(place.inside) and classes.is_of_others(place.inside[-1])
    dtypes = _types.dtypes_to_try(kind)[: 1 if others else None]
    if not dtypes:
        raise UnbuildableError(
            f"`{place.label}` has a dtype that JAX does not make here: {show(kind.hint)}",
            "enable 64-bit types (JAX_ENABLE_X64=1) if it is one of those",
        )
    dims = _dims.scoped(kind.dims, place.scope)
    narrower = tuple(_types.narrower(kind, dtype) for dtype in dtypes)
    return ArrayNode(place.label, dims, dtypes, place.number, anonymous_stem(place), host, narrower)


def _tree(kind: kinds.Tree, place: Place) -> Node:
    leaf, structure = kind.leaf, kind.structure
    if leaf.hint is Any:
        raise place.missing("is a PyTree that does not say what its leaves are", "...")
    if structure is None and place.inside and classes.is_of_others(place.inside[-1]):
        return _plain_leaf(node(leaf, place))  # nobody here says of which leaves

    def make_leaf(index: str) -> Node:
        return node(leaf, place.at(f"<{index}>", number=index, tree=structure or ""))

    make_leaf("0")
    return TreeNode(place.label, place.key or place.label, structure, make_leaf)


def _plain_leaf(made: Node) -> Node:
    """An array of one axis, where it may have any."""
    dims = made.dims if isinstance(made, ArrayNode) else ()
    if isinstance(made, ArrayNode) and len(dims) == 1 and dims[0].variadic and not dims[0].text:
        return dataclasses.replace(made, dims=(_dims.Dim("", "anonymous"),))
    return made


# --------------------------------------------------------------------------------------------- containers


def _container(kind: Kind, place: Place) -> Node | None:
    """The node of a built-in container; None where `kind` is none."""
    match kind:
        case kinds.Tuple(_, items) if any(isinstance(item, kinds.Rest) for item in items):
            counts = [len(items) - 1 + n for n in _LENGTHS]
            return _of_lengths(tuple, [kind.items_for(count) or () for count in counts], place)
        case kinds.Tuple(_, items):
            return _sequence(tuple, items, place)
        case kinds.Each(_, origin, item) if origin in _LISTS:
            return _of_lengths(tuple if origin is tuple else list, [(item,) * n for n in _LENGTHS], place)
        case kinds.Mapping(_, origin, key, item) if origin in _DICTS:
            return _dictionary(key, item, place)
        case kinds.Record() if kind.keyed:
            fields = _types.fields_of(kind)
            return _mapping({key: node(value, place.at(f'["{key}"]')) for key, value in fields.items()})
        case kinds.Record(_, cls):
            return _namedtuple(cls, _types.fields_of(kind), place)
        case _:
            return None


def _of_lengths(build: Callable[[list[Any]], Any], lengths: Sequence[tuple[Kind, ...]], place: Place) -> Node:
    options = [
        (f"`{place.label}` of length {len(items)}", _sequence(build, items, place)) for items in lengths
    ]
    return _choice(place.at(" length"), options, soft="length")


def _sequence(build: Callable[[list[Any]], Any], items: Sequence[Kind], place: Place) -> Node:
    return SequenceNode(build, tuple(node(item, place.at(f"[{i}]")) for i, item in enumerate(items)))


def _namedtuple(cls: Any, fields: Mapping[str, Kind], place: Place) -> Node:
    defaults = cls._field_defaults
    items: list[Node] = []
    for name in cls._fields:
        kind, default = fields.get(name, kinds.ANYTHING), defaults.get(name, inspect.Parameter.empty)
        try:
            items.append(or_default(node, place.field(cls, name), kind, default))
        except UnbuildableError as problem:
            if name not in defaults:
                raise
            items.append(UnmadeNode(problem))  # which concerns those who look at it
    return SequenceNode(lambda values: cls(*values), tuple(items), cls)


def _dictionary(key: Kind, item: Kind, place: Place) -> Node:
    keys = _choices(key)
    if keys is not None:
        return _mapping({key: node(item, place.at(f"[{key!r}]")) for key in keys})
    if key.hint not in _KEYS:
        raise place.missing(f"has keys of type {show(key.hint)}", "{...}")
    first, second = _KEYS[key.hint]
    items = {key: node(item, place.at(f"[{key!r}]".replace("'", '"'))) for key in (first, second)}
    options = [
        (f"`{place.label}` of 2 items", _mapping(items)),
        (f"`{place.label}` of 1 item", _mapping({first: items[first]})),
    ]
    return _choice(place.at(" length"), options, soft="keys")


def _mapping(items: Mapping[Any, Node]) -> Node:
    keys = tuple(items)
    return SequenceNode(lambda values: dict(zip(keys, values, strict=True)), tuple(items.values()))
