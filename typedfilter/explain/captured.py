"""The arrays that a function closes over: a compiled program holds them as constants.

Looks at closure cells, at the globals that the code really loads, and through the functions and
partials found there; never runs anything. Knows nothing of plans.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import math
import types
from collections.abc import Iterator
from typing import Any

import jax

from typedfilter._values.leaves import is_array, stands_for_array
from typedfilter._values.text import describe, steps
from typedfilter._wrapping.stack import unwind


@dataclasses.dataclass(frozen=True)
class Captured:
    """An array that a function closes over: the name it has there, its dtype and shape, its bytes."""

    name: str
    value: str
    bytes: int


def captured_by(fn: Any) -> tuple[Captured, ...]:
    """Every array that would be a constant of the compiled program of `fn`, largest first.

    What a wrapper, a partial or a method binds is an argument, and no constant; except the attributes of an
    object that is no pytree.
    """
    unwound = unwind(fn)
    found: dict[int, Captured] = {}
    places = [("", unwound.root)]
    for owner in filter(_is_opaque, unwound.bound):
        places += [(f"{type(owner).__name__}.{name}", value) for name, value in vars(owner).items()]
    seen: set[int] = set()
    for name, value in places:
        for path, array in _arrays(name, value, seen):
            found.setdefault(id(array), Captured(path, describe(array), size_of(array) or 0))
    return tuple(sorted(found.values(), key=lambda one: -one.bytes))


def size_of(leaf: Any) -> int | None:
    """The bytes of an array (or of a description of one); None for anything else."""
    if not stands_for_array(leaf):
        return None
    return int(math.prod(leaf.shape)) * int(getattr(leaf.dtype, "itemsize", 0))


def _is_opaque(value: Any) -> bool:
    return jax.tree_util.all_leaves([value]) and hasattr(value, "__dict__") and not isinstance(value, type)


def _arrays(name: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """The arrays in a value, and in the functions in it, with the way to each."""
    if id(value) in seen or isinstance(value, types.ModuleType | type):
        return
    seen.add(id(value))
    if isinstance(value, types.FunctionType):
        for inner, held in _held_by(value):
            yield from _arrays(f"{name}.{inner}" if name else inner, held, seen)
    elif isinstance(value, types.MethodType):
        yield from _arrays(name, value.__func__, seen)
    elif isinstance(value, functools.partial):
        for part in (value.func, value.args, value.keywords):
            yield from _arrays(name, part, seen)
    else:
        for path, leaf in _leaves(value):
            if is_array(leaf):
                yield name + steps(path), leaf
            elif leaf is not value:
                yield from _arrays(name + steps(path), leaf, seen)


def _leaves(value: Any) -> list[tuple[Any, Any]]:
    try:
        return jax.tree_util.tree_leaves_with_path(value)
    except (TypeError, ValueError):  # a dictionary whose keys JAX can't sort is no pytree
        return []


def _held_by(fn: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in sorted(set(_globals_of(fn.__code__))):
        value = fn.__globals__.get(name)
        # Functions of other modules are libraries; the user's own helpers are part of the program.
        if not isinstance(value, types.FunctionType) or value.__globals__ is fn.__globals__:
            yield name, value


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """The global names that the code loads, those of the functions written inside it as well."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)
