"""Whether a value is made of arrays only, by the annotations of the fields that hold its leaves.

Knows fields and their hints; knows nothing of what becomes of a value that is.
"""

from __future__ import annotations

import builtins
import dataclasses
from typing import Any
from weakref import WeakSet

from typedfilter._reading import kinds
from typedfilter._reading.fields import children_of, field_hints, is_pytree_dataclass
from typedfilter._reading.hints import Hint, role_of
from typedfilter._reading.kinds import Kind
from typedfilter._reading.roles import Role

_never_array_only: WeakSet[type] = WeakSet()


def is_array_only(value: Any) -> bool:
    """Whether a value is made of arrays only, by the annotations of the fields that hold its leaves.

    True for a dataclass each of whose children is annotated to hold arrays only, or is a model of
    `pytree_dataclass` of which the same is true, or a list, tuple or dictionary of such. That holds for all
    of its structure, and not for its class: another of the class may have an instance of a subclass in it.
    """
    todo = _left_open(value)
    while todo:  # no recursion: a model may be deeper than Python's stack
        node = todo.pop()
        inner = _elements(node) if type(node) in _CONTAINERS else _left_open(node)
        if inner is None or not (type(node) in _CONTAINERS or is_pytree_dataclass(type(node))):
            return False
        todo += inner
    return todo is not None


_CONTAINERS = (list, tuple, dict, type(None))
_PLAIN = frozenset((list, tuple, dict))  # not compared: a metaclass may call all classes equal


def _left_open(value: Any) -> list[Any] | None:
    """What stands in those fields that need not hold arrays; `None` where a leaf of another kind may be."""
    cls = type(value)
    if not dataclasses.is_dataclass(cls) or cls in _never_array_only:
        return None
    fields = _fields_of(value)
    if not fields:
        return None
    hints = field_hints(cls)
    roles = {name: hints[name].role if name in hints else Role.STATIC for name in fields}
    if Role.STATIC in roles.values():
        _never_array_only.add(cls)
        return None
    return [fields[name] for name, role in roles.items() if role is Role.AUTO]


def _elements(container: Any) -> list[Any] | None:
    """The elements of a container of Python's own; `None` where JAX may take two of its keys for one."""
    if not isinstance(container, dict):
        return list(container or ())
    return list(container.values()) if all(type(key) is str for key in container) else None


def says_arrays_only(cls: Any) -> bool:
    """Whether each field of a dataclass is annotated to hold arrays, or to be a part of the structure."""
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return False
    hints = [hint for hint in field_hints(cls).values() if not hint.static_marker]
    return bool(hints) and all(hint.role in (Role.ARRAYS, Role.TRACED) for hint in hints)


def _is_exactly(cls: Any, value: Any) -> bool:
    """Whether a value is of a class that has no subclasses."""
    return cls is type(value) and bool(vars(cls).get("__final__", False))


def may_hold_static(kind: Kind, value: Any) -> bool:
    """Whether a leaf of a value may be in a field marked `Static`, as far as annotations tell.

    Where they don't, it may. (A field that is a part of the tree's structure holds no leaf.)

    Args:
        kind: what the value is annotated with.
        value: tells which fields of its class are children, and nothing else.
    """
    if type(value) in _PLAIN or value is None:
        return _may_be_static(kind)
    children = _fields_of(value)
    if children is None:
        return True
    hints = field_hints(type(value))
    return any(_is_static_field(hints.get(name), child) for name, child in children.items())


def _is_static_field(hint: Hint | None, child: Any) -> bool:
    if hint is None or hint.static_marker:
        return True
    if hint.role is Role.AUTO and _is_exactly(hint.type, child):
        return may_hold_static(hint.kind, child)
    return _may_be_static(hint.kind)


def _may_be_static(kind: Kind) -> bool:
    if role_of(kind) is not Role.AUTO:
        return False
    match kind:
        case kinds.Each(_, origin, item) if origin in (list, tuple):
            return _may_be_static(item)
        case kinds.Mapping(_, builtins.dict, _, item):
            return _may_be_static(item)
        case kinds.Tuple(_, members) | kinds.Union(_, members):
            return not members or any(map(_may_be_static, members))
        case _:
            return True


def _fields_of(node: Any) -> dict[str, Any] | None:
    """The fields of an instance that are children of its node; `None` where they can't be told."""
    children = children_of(node)
    if children is None or any(name is None for name, _ in children):
        return None
    return {name: child for name, child in children if name is not None}
