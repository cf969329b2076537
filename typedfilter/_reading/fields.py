"""Markers on the fields of pytree classes, found along the way to each leaf.

Knows dataclasses, NamedTuples and how JAX flattens; knows nothing of what a mark is for.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_origin
from weakref import WeakKeyDictionary

from jax.tree_util import GetAttrKey, tree_flatten, tree_flatten_with_path

from typedfilter._reading import kinds
from typedfilter._reading.forms import NOT_REQUIRED, REQUIRED, substituted
from typedfilter._reading.hints import Hint, class_hints, refuse_lost_marker, role_of
from typedfilter._reading.kinds import Class, Kind, kind_of
from typedfilter._reading.roles import Role
from typedfilter._reading.text import show
from typedfilter.annotations import AxisSpec, ScanSpec
from typedfilter.errors import AnnotationError

__all__ = [
    "NO_MARK",
    "LeafMark",
    "field_hints",
    "field_kinds",
    "filled_kinds",
    "has_marks",
    "is_array_only_class",
    "keys_of",
    "leaf_marks",
    "may_hold_static",
]


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
_array_only: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


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


def leaf_marks(tree: Any) -> list[LeafMark]:
    """The mark of each leaf of `jax.tree.leaves(tree)`, in that order.

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
        return [NO_MARK] * len(leaves)
    return list(_marks_below(tree, NO_MARK))


def _marks_below(node: Any, mark: LeafMark) -> Iterator[LeafMark]:
    children = _children(node)
    if children is None:
        yield mark
        return
    hints = _marked_fields(type(node))
    for name, child in children:
        hint = hints.get(name) if name is not None else _hint_of(node, child, hints)
        inner = mark if hint is None else mark.within(hint)
        yield from _marks_below(child, inner)


def _children(node: Any) -> list[tuple[str | None, Any]] | None:
    """The children of a node, with the names of fields for those that have one; `None` for a leaf."""
    flat, _ = tree_flatten_with_path(node, is_leaf=lambda inner: inner is not node)
    if len(flat) == 1 and not flat[0][0]:
        return None
    return [(path[0].name if isinstance(path[0], GetAttrKey) else None, child) for path, child in flat]


def _hint_of(node: Any, child: Any, hints: dict[str, Hint]) -> Hint | None:
    # Classes that are registered without keys (register_pytree_node) don't tell which field a child is.
    return next((hint for name, hint in hints.items() if getattr(node, name, None) is child), None)


def field_kinds(kind: Class) -> Mapping[str, Kind]:
    """The kinds of the annotated fields of a class, for `Model[T]` with its parameters filled in."""
    hints = {} if kind.cls.__module__ in _WITHOUT_FIELDS else field_hints(kind.cls)
    filled = _type_arguments(kind)
    return {name: kind_of(substituted(hint.type, filled)) for name, hint in hints.items()}


def filled_kinds(kind: Class) -> Mapping[str, Kind]:
    """Those fields of `Model[A]` that A is a part of; their dimensions are named where `Model[A]` stands."""
    filled = _type_arguments(kind)
    if not filled or kind.cls.__module__ in _WITHOUT_FIELDS:
        return {}
    types = {
        name: (hint.type, substituted(hint.type, filled)) for name, hint in field_hints(kind.cls).items()
    }
    return {name: kind_of(after) for name, (before, after) in types.items() if after is not before}


def _type_arguments(kind: Class) -> dict[Any, Any]:
    return dict(zip(getattr(kind.cls, "__parameters__", ()), kind.arguments, strict=False))


_WITHOUT_FIELDS = ("builtins", "typing", "types", "collections.abc")


def keys_of(cls: type) -> frozenset[str]:
    """The keys that a TypedDict must have; Python itself looks into no annotation that is a string."""
    required: set[str] = set(getattr(cls, "__required_keys__", ()))
    for name, hint in class_hints(cls).items():
        origin = get_origin(hint.annotation)
        if origin in NOT_REQUIRED:
            required.discard(name)
        elif origin in REQUIRED:
            required.add(name)
    return frozenset(required)


def is_array_only_class(cls: type) -> bool:
    """Whether a value of the pytree class `cls` is made of arrays only, by the annotations of its fields.

    True for a registered dataclass each of whose fields is annotated to hold arrays only, is of such a class
    again, or is a part of the tree's structure.
    """
    known = _array_only.get(cls)
    if known is None:
        _array_only[cls] = False  # a class that contains itself can only end in something else
        known = _array_only[cls] = dataclasses.is_dataclass(cls) and _has_only_arrays(cls)
    return known


def _has_only_arrays(cls: type) -> bool:
    data = _data_fields(cls)
    if not data:
        return False
    hints = field_hints(cls)
    return all(name in hints and _holds_only_arrays(hints[name]) for name in data)


def _holds_only_arrays(hint: Hint) -> bool:
    if hint.role is Role.AUTO:
        return _is_array_only(kind_of(hint.type))
    return hint.role is not Role.STATIC


def _is_array_only(kind: Kind) -> bool:
    """As the table of roles has it, but with a look into the classes inside of containers and unions."""
    match kind:
        case kinds.Mapping(_, origin, key, item):
            return origin is dict and key.hint is str and _is_array_only(item)
        case kinds.Each(_, origin, _) if origin not in (list, tuple):
            return False
        case kinds.Each() | kinds.Tuple() | kinds.Union() | kinds.Tree():
            members = [part for part in kind.parts if part.hint is not type(None)]
            return bool(members) and all(map(_is_array_only, members))
        case kinds.Class(_, cls, ()) if dataclasses.is_dataclass(cls):
            # The value may be of a subclass, with more fields.
            return is_array_only_class(cls) and all(map(is_array_only_class, cls.__subclasses__()))
        case _:
            return role_of(kind.hint) is Role.ARRAYS


def may_hold_static(hint: Any, busy: frozenset[type] = frozenset()) -> bool:
    """Whether a leaf of a value of this type may be in a field marked `Static`, as far as annotations tell.

    Where they don't, it may. (A field that is a part of the tree's structure holds no leaf.)

    Args:
        hint: a type, without markers.
        busy: classes that are being asked about.
    """
    if role_of(hint) is not Role.AUTO or hint in busy:
        return False
    match kind_of(hint):
        case kinds.Each(_, origin, item) if origin in (list, tuple):
            return may_hold_static(item.hint, busy)
        case kinds.Mapping(_, builtins.dict, _, item):
            return may_hold_static(item.hint, busy)
        case kinds.Tuple(_, members) | kinds.Union(_, members):
            return not members or any(may_hold_static(member.hint, busy) for member in members)
        case kinds.Class(_, cls, ()):
            return _fields_may_be_static(cls, busy)
        case _:
            return True


def _fields_may_be_static(cls: type, busy: frozenset[type]) -> bool:
    data = _data_fields(cls) if dataclasses.is_dataclass(cls) else _record_fields(cls)
    if data is None:
        return True
    hints, inner = field_hints(cls), busy | {cls}
    fields = [hints.get(name) for name in data]
    marked = any(hint is None or hint.static_marker or may_hold_static(hint.type, inner) for hint in fields)
    subclasses: list[type] = cls.__subclasses__()
    return marked or any(may_hold_static(cls, inner) for cls in subclasses)


def _record_fields(cls: type) -> list[str] | None:
    """The fields of a NamedTuple; `None` of any other class."""
    return list(getattr(cls, "_fields", ())) or None if issubclass(cls, tuple) else None


def _data_fields(cls: type) -> list[str] | None:
    """The fields of a dataclass that are children of its node; `None` where they can't be told."""
    probe: Any = object.__new__(cls)
    for field in dataclasses.fields(cls):
        object.__setattr__(probe, field.name, None)
    try:
        children = _children(probe)
    except Exception:  # somebody's own flatten function, which wants more than a probe without values
        return None
    if children is None or any(name is None for name, _ in children):
        return None
    return [name for name, _ in children if name is not None]
