"""What keeps a function from being traced again: the cure for each thing that can differ between two traces.

A cure is a sentence in which `{}` stands for the places where it helps.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import SequenceKey

from typedfilter._reading.hints import Hint
from typedfilter._values.keyed import Leaf, Node, Part, short_name


def cure_for_anew(captured: Sequence[str]) -> str:
    """The cure where the function is made anew each time, and closes over these names."""
    cure = "define the function, and transform it, once: not in the loop that calls it"
    if not captured:
        return cure
    names = ", ".join(f"`{name}`" for name in captured)
    return f"{cure}; pass {names}, which it closes over, as {'arguments' if captured[1:] else 'an argument'}"


def cure_for(path: Any, hint: Hint | None, old: Part | None, new: Part | None) -> str:
    """The cure where one part of an argument differs, or is there in one of two traces only."""
    if old is None or new is None:
        if path and isinstance(path[-1], SequenceKey):
            return "pass as many entries each time, or one array: {} is there in some calls only"
        return "pass {} each time, or never"
    if isinstance(old, Node) or isinstance(new, Node):
        return _structure_cure(old, new)
    if old.aval is not None and new.aval is not None:
        return _array_cure(old.aval, new.aval)
    if old.aval is not None or new.aval is not None:
        return "pass {} as an array each time, or as a Python value each time"
    return _constant_cure(path, hint, old, new) if new.ref is None else _object_cure(old, new)


def _structure_cure(old: Part, new: Part) -> str:
    if "None" in (old.text, new.text):
        return "pass {} each time, or never"
    if old.text == new.text:
        return "define the class of {} once: it is another class of the same name"
    return "pass {} in one structure: the same classes and containers each time"


def _array_cure(old: Any, new: Any) -> str:
    if any(jnp.issubdtype(one.dtype, jax.dtypes.extended) for one in (old, new)) and old.dtype != new.dtype:
        return "make the keys in {} in one way: jax.random.key, of one implementation"
    if old.shape != new.shape:
        return "pad {} to one shape, or to a few (buckets)"
    if old.dtype != new.dtype:
        return "convert {} to one dtype"
    if getattr(old, "weak_type", False) != getattr(new, "weak_type", False):
        return "pass {} as a Python number each time, or as an array each time"
    return "place {} in one way each time"


def _object_cure(old: Leaf, new: Leaf) -> str:
    value = None if new.ref is None else new.ref()
    if isinstance(value, functools.partial):
        return "{} is a new functools.partial each time: make it once, outside of the loop that calls"
    if isinstance(value, types.MethodType):
        name = short_name(type(value.__self__))
        return f"{{}} is a method of a new {name} each time: keep one, or let {name} compare by value"
    if callable(value) and old.text != new.text:
        return "each function in {} has a program of its own: pass fewer, or choose inside: filter_switch"
    if isinstance(value, types.FunctionType):
        return "{} is a new function each time: define it once, outside of the loop that calls"
    if value is not None and getattr(type(value), "__eq__", None) is object.__eq__:
        return _by_identity(short_name(type(value)))
    return "each value of {} has a program of its own: pass fewer, or what changes as an argument by itself"


def _by_identity(name: str) -> str:
    return f"keep one {name}, or let {name} compare by value (a frozen dataclass): it compares by identity"


def _constant_cure(path: Any, hint: Hint | None, old: Leaf, new: Leaf) -> str:
    """The cure for a number or text that is a constant of the program."""
    kind = _number(old, new)
    marked = new.is_field or (hint is not None and hint.static_marker)
    if kind and not path and not marked:
        return f"annotate {{}} as Traced[{kind}], so that its value is no constant of the program"
    if kind and kind != "bool" and not marked:
        return "pass {} as an array (jax.numpy.asarray), or in what is annotated Traced[...]"
    traced = f", or annotate it as Traced[{kind}]" if kind and kind != "bool" else ""
    return f"each value of {{}} has a program of its own: pass fewer values{traced}"


def _number(old: Leaf, new: Leaf) -> str:
    """The Python type of a number of which both are."""
    kinds = [leaf.key[0] for leaf in (old, new) if isinstance(leaf.key, tuple)]
    for kind in (bool, int, float, complex):
        if len(kinds) == 2 and all(one in (int, kind) if kind is float else one is kind for one in kinds):
            return kind.__name__
    return ""
