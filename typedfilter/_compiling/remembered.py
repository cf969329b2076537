"""Frozen models that were taken apart before, found again by identity: they are not taken apart twice.

What a pytree holds is a function of its identity where nothing in it can change: frozen dataclasses, tuples,
arrays, and static values that stay equal to what they are equal to. Such a tree is known by a weak reference
and dies when it would have died anyway; a tree with a list, a dictionary or a node that may be changed is
never remembered. What somebody forces upon a frozen dataclass (`object.__setattr__`) is not seen.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import weakref
from typing import Any

import jax
import jax.core
import numpy as np
from jax.tree_util import default_registry

from typedfilter._values.keys import Interned
from typedfilter._values.leaves import leaf_is_array_type
from typedfilter._values.memory import ByClass

_LIMIT = 4096  # models that live at the same time; with more, all are forgotten and looked at again


class Seen(weakref.ref[Any]):
    """A tree that was taken apart."""

    __slots__ = ("arrays", "key", "part")

    key: int  # its `id`, by which it is found
    arrays: tuple[Any, ...]  # its arrays, in order
    part: weakref.ref[Any]  # refers to the rest of it, as long as somebody keeps that


_seen: dict[int, Seen] = {}
seen = _seen.get
"""`seen(id(tree))`: what is known under this number, perhaps of another tree that is gone."""


def remember(tree: Any, arrays: tuple[Any, ...], part: Any) -> None:
    """Know `tree` again, as long as it lives."""
    found = Seen(tree, _gone)
    found.key, found.arrays, found.part = id(tree), arrays, weakref.ref(part)
    if len(_seen) >= _LIMIT:
        _seen.clear()
    _seen[found.key] = found


def _gone(found: weakref.ref[Any]) -> None:
    assert isinstance(found, Seen)
    if _seen.get(found.key) is found:
        _seen.pop(found.key, None)


def forget_all() -> None:
    """Forget every tree, for tests."""
    _seen.clear()


# ------------------------------------------------------------------------------------------ what can change

_ATOMS = (int, float, complex, bool, str, bytes, type(None), type(...), enum.Enum, type, np.dtype, np.generic)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, Interned)


def _refuses_changes(node: Any) -> bool:
    """Whether a dataclass instance refuses to be changed, and can be known weakly.

    Some say so to `dataclasses`; of others with a `__setattr__` of their own, a field is set to what it is.
    """
    cls = type(node)
    if (
        not dataclasses.is_dataclass(cls)
        or cls.__weakrefoffset__ == 0
        or cls.__setattr__ is object.__setattr__
    ):
        return False
    params: Any = getattr(cls, "__dataclass_params__", None)
    if params.frozen:
        return True
    for field in dataclasses.fields(cls)[:1]:
        try:
            setattr(node, field.name, getattr(node, field.name))
        except dataclasses.FrozenInstanceError:
            return True
        except Exception:  # somebody's own idea of an assignment
            return False
    return False


def _stays_equal(cls: type) -> bool:
    """Whether an object of this class is, for ever, equal to what it is equal to now."""
    own: Any = cls
    by_identity = own.__eq__ is object.__eq__ and own.__hash__ is object.__hash__
    return by_identity or issubclass(cls, (*_ATOMS, *_FUNCTIONS))


_STAYS_EQUAL = ByClass(_stays_equal)


def can_change(tree: Any) -> bool:
    """Whether something in a tree may be changed, so that the tree must not be known by its identity.

    A tree that is not a frozen dataclass itself counts as one that can: nothing refers to a tuple weakly.
    """
    return not _refuses_changes(tree) or not is_settled(tree)


def is_settled(node: Any) -> bool:
    """Whether nothing in a tree can change, so that whoever holds it knows what it is made of."""
    cls = type(node)
    if node is None or (leaf_is_array_type(cls) is not False and isinstance(node, (jax.Array, np.ndarray))):
        return not isinstance(node, jax.core.Tracer)
    if jax.tree_util.all_leaves([node]):
        return _is_lasting(node)
    if not (issubclass(cls, tuple) or _refuses_changes(node)):
        return False
    children, aux = default_registry.flatten_one_level(node)
    return all(map(is_settled, children)) and (issubclass(cls, tuple) or _is_lasting_aux(node, aux))


def _is_lasting_aux(node: Any, aux: Any) -> bool:
    """Whether the auxiliary data of a node can't change: by itself, or as it is made anew of what can't."""
    if _is_lasting(aux):
        return True
    made_anew = default_registry.flatten_one_level(node)[1] is not aux
    slots = getattr(type(aux), "__slots__", None)
    return made_anew and slots is not None and all(_is_lasting(getattr(aux, name, None)) for name in slots)


def _is_lasting(value: Any) -> bool:
    """Whether a static value can't change what it is equal to."""
    cls = type(value)  # `isinstance` believes what an object says of its class
    if issubclass(cls, tuple | frozenset):
        return all(map(_is_lasting, value))
    if issubclass(cls, functools.partial):
        return _is_lasting((value.func, *value.args, *value.keywords.values()))
    if _refuses_changes(value):
        return all(_is_lasting(getattr(value, field.name)) for field in dataclasses.fields(value))
    return _STAYS_EQUAL[cls]
