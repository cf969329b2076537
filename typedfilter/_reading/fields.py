"""Markers on the fields of pytree classes, found along the way to each leaf.

Knows dataclasses, NamedTuples and how JAX flattens; knows nothing of what a mark is for.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np
from jax.core import Tracer
from jax.tree_util import GetAttrKey, tree_flatten

from typedfilter._reading import kinds
from typedfilter._reading.dims import Dim
from typedfilter._reading.forms import inherited_arguments, qualifiers_of, substituted
from typedfilter._reading.hints import Hint, class_hints, refuse_lost_marker
from typedfilter._reading.kinds import Class, Kind, kind_of
from typedfilter._reading.names import annotations_of
from typedfilter._reading.roles import Role
from typedfilter._reading.text import show
from typedfilter._reading.within import is_structure, spread_within
from typedfilter._values.nodes import is_leaf_def, one_level
from typedfilter.annotations import AxisSpec, ScanSpec
from typedfilter.errors import AnnotationError


@dataclasses.dataclass(frozen=True)
class LeafMark:
    """What the fields that lead to one leaf say about it; of two that say different things, the inner one."""

    static: bool = False
    diff: bool | None = None
    axis: AxisSpec | None = None
    traced: bool = False
    scan: ScanSpec | None = None
    place: Any = None

    def within(self, hint: Hint) -> LeafMark:
        """The mark of what stands inside of a field with this hint, where `self` is that of the field."""
        return LeafMark(
            self.static or hint.static_marker,
            self.diff if hint.diff is None else hint.diff,
            self.axis if hint.axis is None else hint.axis,
            self.traced or hint.role is Role.TRACED,
            self.scan if hint.scan is None else hint.scan,
            self.place if hint.sharding is None else hint.sharding,
        )


NO_MARK = LeafMark()

_marked: WeakKeyDictionary[type, dict[str, Hint]] = WeakKeyDictionary()

HIDDEN = "__typedfilter_static__"  # of a class of `pytree_dataclass`: the meta field that JAX knows


def is_pytree_dataclass(cls: type) -> bool:
    """Whether exactly this class was decorated with `pytree_dataclass`."""
    return HIDDEN in vars(cls)


def field_hints(cls: type) -> dict[str, Hint]:
    """A hint for each annotated field of a class; empty for a class without annotations.

    Raises:
        AnnotationError: an annotation contradicts itself, or has a marker that no field can have.
    """
    hints = class_hints(cls)
    if dataclasses.is_dataclass(cls):
        names = {field.name for field in dataclasses.fields(cls)}
        hints = {name: hint for name, hint in hints.items() if name in names}
    for name, hint in hints.items():
        _refuse_on_field(cls, name, hint)
    return hints


def _refuse_on_field(cls: type, name: str, hint: Hint) -> None:
    if hint.donate:
        problem = f"is annotated {show(hint.annotation)}, but Donate is for whole arguments, not for fields"
        raise AnnotationError(
            problem, function=_name(cls), parameter=name, fix="put it on the parameter of the function"
        )


def _name(cls: type) -> str:
    return cls.__qualname__.rpartition("<locals>.")[2]


def has_marks(cls: type) -> bool:
    """Whether any field of the pytree class `cls` carries a mark for leaves."""
    return bool(_marked_fields(cls))


def _marked_fields(cls: type) -> dict[str, Hint]:
    known = _marked.get(cls)
    if known is None:
        hints = field_hints(cls)
        for name, hint in hints.items():
            refuse_lost_marker(hint, _name(cls), name)
        known = {name: hint for name, hint in hints.items() if NO_MARK.within(hint) != NO_MARK}
        _marked[cls] = known
    return known


def leaf_marks(tree: Any, around: LeafMark = NO_MARK) -> list[LeafMark]:
    """The mark of each leaf of `jax.tree.leaves(tree)`, in that order; `around` is that of the whole.

    Raises:
        AnnotationError: a class in the tree has a field whose annotation contradicts itself.
    """
    classes: set[type] = set()

    def look(node: Any) -> bool:
        classes.add(type(node))
        return False

    leaves, _ = tree_flatten(tree, is_leaf=look)
    classes.difference_update(map(type, leaves))
    if not any(map(has_marks, classes)):
        return [around] * len(leaves) if not is_structure(around.place) else _spread(tree, around)
    return list(_marks_below(tree, around))


def _spread(tree: Any, mark: LeafMark) -> list[LeafMark]:
    """The mark of each leaf, where that of the whole has the places of its parts."""
    inner = leaf_marks(tree, dataclasses.replace(mark, place=None))
    places = spread_within(mark.place, tree)
    return [
        dataclasses.replace(one, place=place) if one.place is None else one
        for one, place in zip(inner, places, strict=True)
    ]


def _marks_below(node: Any, mark: LeafMark) -> Iterator[LeafMark]:
    if is_structure(mark.place):
        yield from _spread(node, mark)
        return
    children = children_of(node)
    if children is None:
        yield mark
        return
    hints = _marked_fields(type(node))
    names = [name for name, _ in children]
    if hints and None in names:
        names = _names_by_value(node, [child for _, child in children], hints)
    for name, (_, child) in zip(names, children, strict=True):
        hint = None if name is None else hints.get(name)
        inner = mark if hint is None else mark.within(hint)
        yield from _marks_below(child, inner)


def children_of(node: Any) -> list[tuple[str | None, Any]] | None:
    """The children of a node, with the names of fields for those that have one; `None` for a leaf."""
    keys, children, treedef = one_level(node)
    if is_leaf_def(treedef):
        return None
    names = [key.name if isinstance(key, GetAttrKey) else None for (key,) in keys]
    return list(zip(names, children, strict=True))


def _names_by_value(node: Any, children: list[Any], hints: dict[str, Hint]) -> list[str | None]:
    """Which field each child of a node is, of a class that is registered without keys: it does not say so.

    A field that no other one has the same value as is found by it. Where two have (tied weights, a small
    number) and a mark tells them apart, the class is asked to flatten a copy in which they differ.
    """
    held = {name: getattr(node, name) for name in _attributes(node) if hasattr(node, name)}
    found = [[name for name, value in held.items() if value is child] for child in children]
    if all(len({hints.get(name) for name in names}) < 2 for names in found):
        return [names[0] if names else None for names in found]
    tied = {name: object() for names in found if len(names) > 1 for name in names}
    try:
        copy: Any = object.__new__(type(node))
        for name, value in (held | tied).items():
            object.__setattr__(copy, name, value)
        again = [child for _, child in children_of(copy) or ()]
    except Exception:  # somebody's own flatten function, which looks at what it is given
        again = []
    if len(again) != len(children):
        raise AnnotationError(
            f"has one value in {' and '.join(f'`{name}`' for name in tied)}, and marks that tell them apart",
            function=_name(type(node)),
            fix="register it with jax.tree_util.register_pytree_with_keys, which names the fields",
        )
    by_id = {id(value): name for name, value in (held | tied).items()}
    return [by_id.get(id(child)) for child in again]


def _attributes(node: Any) -> list[str]:
    slots = [name for cls in type(node).__mro__ for name in getattr(cls, "__slots__", ())]
    return list(dict.fromkeys([*getattr(node, "__dict__", ()), *slots]))


def field_kinds(kind: Class) -> Mapping[str, Kind]:
    """The kinds of the annotated fields of a class, for `Model[T]` with its parameters filled in."""
    filled = _type_arguments(kind)
    return {name: _filled_in(field, filled) for name, field in _kinds_of_fields(kind.cls).items()}


def filled_kinds(kind: Class) -> Mapping[str, Kind]:
    """Those fields of `Model[A]` that A is a part of; their dimensions are named where `Model[A]` stands."""
    if not _type_arguments(kind):
        return {}
    written = _kinds_of_fields(kind.cls)
    return {name: field for name, field in field_kinds(kind).items() if field is not written[name]}


def _kinds_of_fields(cls: type) -> Mapping[str, Kind]:
    """The kinds of the annotated fields of a class; those of a base `Box[A]` with A filled in."""
    if not _has_fields(cls):
        return {}
    filled = inherited_arguments(cls)
    found = {name: hint.kind for name, hint in field_hints(cls).items()}
    if not any(filled.values()):
        return found
    owners = {name: base for base in reversed(cls.__mro__) for name in annotations_of(base)}
    return {name: _filled_in(kind, filled.get(owners.get(name, cls), {})) for name, kind in found.items()}


def _filled_in(kind: Kind, arguments: Mapping[Any, Any]) -> Kind:
    """A kind with type variables replaced; the same where it has none of these."""
    hint = substituted(kind.hint, arguments)
    return kind if hint is kind.hint else kind_of(hint)


def own_kinds(cls: type) -> Mapping[str, Kind]:
    """The kinds of the annotated fields of a class, read once; those with an expression such as `n+1` last.

    A name that is not known when they are first asked for stays unknown. Fields that choose an axis to be
    mapped along are left out: whether they have it tells nobody who does not know which transform is around.
    """
    known = _own_kinds.get(cls)
    if known is None:
        found = field_kinds(Class(cls, cls, ()))
        mapped = {name for name, axis in chosen_axes(cls).items() if axis is not None}
        ordered = sorted(found.items(), key=lambda item: is_computed(item[1]))
        known = {name: kind for name, kind in ordered if name not in mapped}
        _own_kinds[cls] = known
    return known


def chosen_axes(cls: type) -> Mapping[str, int | None]:
    """The fields that choose an axis to be mapped or scanned along, or none."""
    specs = {name: hint.axis or hint.scan for name, hint in class_hints(cls).items()}
    return {name: spec.axis for name, spec in specs.items() if spec is not None}


_own_kinds: WeakKeyDictionary[type, Mapping[str, Kind]] = WeakKeyDictionary()


def dims_of(kind: Kind) -> tuple[Dim, ...]:
    """Every dimension that is mentioned in a kind."""
    return tuple(dim for one in kind.every if isinstance(one, kinds.Array) for dim in one.dims)


def is_computed(kind: Kind) -> bool:
    """Whether there is an annotation such as "n+1", which has to wait until n is bound."""
    return any(dim.kind == "expression" and "{" not in dim.text for dim in dims_of(kind))


def may_bind(kind: Kind) -> bool:
    """Whether a value can bind names: in itself, or in the fields of an instance that it is or holds."""
    return kind.binds or has_models(kind)


def has_models(kind: Kind) -> bool:
    """Whether there may be instances in a value whose fields can bind names."""
    return any(isinstance(one, Class) and _has_fields(one.cls) for one in kind.every)


def _has_fields(cls: type) -> bool:
    return cls.__module__ not in _WITHOUT_FIELDS and not issubclass(cls, _PLAIN)


def has_places(kind: Kind, seen: tuple[type, ...] = ()) -> bool:
    """Whether there may be instances in a value whose fields say where their arrays are."""
    classes = {one.cls for one in kind.every if isinstance(one, Class | kinds.Record)}
    return any(
        hint.sharding is not None or has_places(hint.kind, (*seen, cls))
        for cls in classes
        if cls not in seen and _has_fields(cls)
        for hint in field_hints(cls).values()
    )


def _type_arguments(kind: Class) -> dict[Any, Any]:
    return dict(zip(getattr(kind.cls, "__parameters__", ()), kind.arguments, strict=False))


_WITHOUT_FIELDS = ("builtins", "typing", "types", "collections.abc")
_PLAIN = (jax.Array, Tracer, np.ndarray, np.dtype, enum.Enum)


def keys_of(cls: type) -> frozenset[str]:
    """The keys that a TypedDict must have; Python itself looks into no annotation that is a string."""
    required: set[str] = set(getattr(cls, "__required_keys__", ()))
    for name, hint in class_hints(cls).items():
        told = qualifiers_of(hint.annotation)
        if "NotRequired" in told:
            required.discard(name)
        elif "Required" in told:
            required.add(name)
    return frozenset(required)
