"""What of an argument a program is keyed by, as far as that can be remembered: part by part, by path.

Leaves are arrays, by shape and dtype, or static values, by exact key; static fields of models are among
them, since hashes of treedefs leave them out; nodes are told apart by class. Nothing that is remembered keeps
an object of the user's alive.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import numpy as np
from jax.tree_util import GetAttrKey

from typedfilter._values.keys import exact_key
from typedfilter._values.leaves import is_passed, said_by
from typedfilter._values.memory import weakly
from typedfilter._values.nodes import is_leaf_def, one_level
from typedfilter._values.text import safe_repr

_SHOWN = 60
_ATOMS = (type(None), bool, int, float, complex, str, bytes, enum.Enum, np.generic)
_ATOMS_INSIDE = frozenset((tuple, frozenset))


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of a tree."""

    text: str  # the name of its class
    cls: Callable[[], Any]  # a weak reference to that

    @classmethod
    def of(cls, node: Any) -> Node:
        return cls("None" if node is None else short_name(type(node)), weakly(type(node)))

    def is_same(self, other: Part) -> bool:
        """Whether both are of one class."""
        return isinstance(other, Node) and self.cls() is other.cls()


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One leaf of an argument in one trace."""

    text: str  # for people
    aval: Any = None  # of an array
    key: Hashable = None  # of a static value that is made of numbers and texts, its exact key
    ref: Callable[[], Any] | None = None  # of any other static value; dead where that is gone
    is_field: bool = False  # whether it is a static field, or another part of a node that is no child of it

    @classmethod
    def of(cls, leaf: Any, *, passed: bool = False, is_field: bool = False) -> Leaf:
        """A leaf that goes through JAX, if it is passed, or a static value."""
        if passed:
            return cls("", aval=jax.typeof(leaf))
        if _is_atomic(leaf):
            return cls(safe_repr(leaf, _SHOWN), key=(type(leaf), exact_key(leaf)), is_field=is_field)
        try:
            return cls(_value_text(leaf), ref=_weakly_bound(leaf), is_field=is_field)
        except TypeError:  # a tuple, say
            return cls(_value_text(leaf), key=_hash(leaf), is_field=is_field)

    def is_same(self, other: Part) -> bool:
        """Whether a program for one is a program for the other."""
        if isinstance(other, Node):
            return False
        if self.aval is not None or other.aval is not None:
            return bool(self.aval == other.aval)
        if self.ref is None or other.ref is None:
            return self.ref is other.ref and self.key == other.key
        mine, others = self.ref(), other.ref()
        return mine is not None and (mine is others or _equal(mine, others))


Part = Leaf | Node


def _weakly_bound(value: Any) -> Callable[[], Any]:
    """A weak reference; to a bound method, one that lives as long as its instance.

    Raises:
        TypeError: there is none to such a value.
    """
    return weakref.WeakMethod(value) if type(value) is types.MethodType else weakref.ref(value)


def _is_atomic(value: Any) -> bool:
    if type(value) in _ATOMS_INSIDE:
        return all(map(_is_atomic, value))
    return isinstance(value, _ATOMS)


def _hash(value: Any) -> Hashable:
    try:
        return type(value), hash(exact_key(value))
    except Exception:
        return type(value).__qualname__


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(exact_key(one) == exact_key(other))
    except Exception:
        return False


# ------------------------------------------------------------------------------------------------ texts


def short_name(named: Any) -> str:
    """The name of a class or function, without where it was defined."""
    found = said_by(named, "__qualname__")
    return (found if isinstance(found, str) else str(said_by(named, "__name__"))).rpartition("<locals>.")[2]


def _value_text(value: Any) -> str:
    """A value by its name or its class; its own repr may be long, or do anything."""
    if isinstance(value, functools.partial):
        return f"<partial of {short_name(value.func)}>"
    if isinstance(value, types.MethodType):
        return f"<method {short_name(type(value.__self__))}.{value.__name__}>"
    if callable(value) and isinstance(said_by(value, "__name__"), str):
        return f"<{type(value).__name__} {short_name(value)}>"
    return _fields_text(value) or f"<{short_name(type(value))} object>"


def _fields_text(value: Any) -> str:
    """A dataclass by its fields, where these are numbers and texts."""
    if not dataclasses.is_dataclass(value):
        return ""
    fields = {field.name: said_by(value, field.name) for field in dataclasses.fields(value)}
    if not all(map(_is_atomic, fields.values())):
        return ""
    shown = ", ".join(f"{name}={safe_repr(field, _SHOWN)}" for name, field in fields.items())
    return f"{short_name(type(value))}({shown})"


# ------------------------------------------------------------------------------------------------- trees


class _Rest:
    """The step of a path to what a node of somebody's class has besides its children."""

    def __str__(self) -> str:
        return ".<static part>"


_REST = _Rest()
_PLAIN = (list, dict, type(None))


def parts_of(value: Any, *, static: bool) -> dict[Any, Part]:
    """The nodes, static fields and leaves of an argument, by path, each node before what it holds.

    Args:
        value: the argument.
        static: nothing in it goes through JAX, not even a number of NumPy's.
    """
    return dict(_walk(value, jax.tree_util.tree_structure(value), (), static))


def _walk(node: Any, treedef: Any, path: tuple[Any, ...], static: bool) -> Iterator[tuple[Any, Part]]:
    if is_leaf_def(treedef):
        yield path, Leaf.of(node, passed=not static and is_passed(node))
        return
    yield path, Node.of(node)
    keys, children, _ = one_level(node)
    if type(node) not in _PLAIN and not isinstance(node, tuple):
        data = treedef.node_data()[1]
        for key, part in _own_parts(node, [key for (key,) in keys], data):
            yield (*path, key), Leaf.of(part, is_field=True)
    for key, child, below in zip(keys, children, treedef.children(), strict=True):
        yield from _walk(child, below, (*path, *key), static)


def _own_parts(node: Any, keys: list[Any], data: Any) -> Iterator[tuple[Any, Any]]:
    """What of a node is no child of it: the other fields of a dataclass, else what it is registered with."""
    if dataclasses.is_dataclass(node) and all(isinstance(key, GetAttrKey) for key in keys):
        names = {key.name for key in keys}
        for field in dataclasses.fields(node):
            if field.name not in names:
                yield GetAttrKey(field.name), said_by(node, field.name)
    elif data is not None:
        yield _REST, data
