"""What a type offers to try: its alternatives, its dtypes, the arrays that are somewhere inside of it.

Knows kinds of types; knows nothing of functions, values or sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.fields import field_kinds
from typedfilter._reading.kinds import Array, Class, Kind, kind_of

_WIDE = frozenset({"float64", "int64", "uint64", "complex128"})
_NUMBERS = (np.bool_, np.number, np.generic, bool, int, float, complex)


def alternatives(kind: Kind) -> tuple[Kind, ...]:
    """The members of a union that a value under test can be; the kind alone where it is no union.

    An array type that JAX can't trace, and a raw key beside a typed one, only say that the function takes
    older spellings of the same too.
    """
    match kind:
        case kinds.Variable(members=members):
            return tuple(one for member in members for one in alternatives(member)) or (kind,)
        case kinds.Union(_, members):
            found = [one for member in members for one in alternatives(member)]
            return tuple({one.hint: one for one in _spelled_once(found)}.values())
        case _:
            return (kind,)


def _spelled_once(members: list[Kind]) -> list[Kind]:
    arrays = [member for member in members if isinstance(member, Array)]
    traceable = [member for member in arrays if member.takes_tracers]
    if any(member.is_key for member in traceable):
        traceable = [member for member in traceable if member.is_key]
    if not traceable:
        return members
    again = [member for member in members if member.hint in _NUMBERS and len(arrays) > 1]
    left_out = [member for member in (*arrays, *again) if member not in traceable]
    return [member for member in members if member not in left_out]


def dtype_text(dtype: Any) -> str:
    """The name of a dtype as messages say it."""
    return "key" if jax.numpy.issubdtype(dtype, jax.dtypes.prng_key) else str(np.dtype(dtype))


@functools.lru_cache(maxsize=1)
def key_dtype() -> Any:
    """The dtype of the keys that this process makes; nothing is computed to learn it."""
    return jax.eval_shape(jax.random.key, 0).dtype


def dtypes_to_try(kind: Array) -> tuple[Any, ...]:
    """A dtype of each family that `kind` allows; empty where JAX has none of them.

    `Num`, `Real` and `Shaped` are tried as floats and as integers, `Inexact` as floats and complex: what
    their names are chosen for. Widths of one family behave alike.
    """
    floats, ints, complexes = map(kind.allows, ("float32", "int32", "complex64"))
    if floats and ints:
        return (np.dtype("float32"), np.dtype("int32"))
    if floats:
        return (np.dtype("float32"), np.dtype("complex64")) if complexes else (np.dtype("float32"),)
    if ints:
        return tuple(np.dtype(name) for name in ("int32", "uint32") if kind.allows(name))
    for name in ("complex64", "uint32", "bool"):
        if kind.allows(name):
            return (np.dtype(name),)
    if kind.allows("prng_key"):
        return (key_dtype(),)
    names = [name for name in kind.hint.dtypes if isinstance(name, str)]
    wide = bool(jax.config.read("jax_enable_x64"))
    return tuple(d for name in names if (wide or name not in _WIDE) and (d := _dtype(name)) is not None)[:1]


_NARROWER = {"float32": "float16", "int32": "int16", "uint32": "uint16"}


def narrower(kind: Array, dtype: Any) -> Any:
    """Another dtype of the family that `kind` allows; None where there is none to try."""
    name = _NARROWER.get(dtype_text(dtype), "")
    return np.dtype(name) if name and kind.allows(name) else None


def _dtype(name: str) -> Any:
    try:
        return np.dtype(getattr(jax.numpy, name, name))
    except TypeError:
        return None


def children(kind: Kind) -> Iterator[Kind]:
    """The kinds inside `kind`: of a container, a union, a tree, a callable, or the fields of a class."""
    match kind:
        case kinds.Variable():
            yield from (member for member in alternatives(kind) if member is not kind)
        case kinds.Class(_, _, arguments):
            yield from fields_of(kind).values()
            for argument in arguments:
                yield from map(kind_of, argument if isinstance(argument, list) else (argument,))
        case kinds.Callable(_, parameters, result):
            yield from parameters or ()
            yield from () if result is None else (result,)
        case _:
            yield from kind.parts


def fields_of(kind: Kind) -> Mapping[str, Kind]:
    """The annotated fields of a class (for `Model[T]`: with its parameters filled in); empty for others."""
    return field_kinds(kind) if isinstance(kind, Class) else {}


def arrays_in(kind: Kind, seen: frozenset[Any] = frozenset()) -> Iterator[Array]:
    """Every jaxtyping array that `kind` mentions, at any depth, the fields of classes included."""
    if isinstance(kind, Array):
        yield kind
    elif id(kind.hint) not in seen:
        for child in children(kind):
            yield from arrays_in(child, seen | {id(kind.hint)})


def says_shape(kind: Kind) -> bool:
    """Whether an annotation mentions an array itself, and not only in the fields of a class."""
    if isinstance(kind, Array):
        return True
    if isinstance(kind, Class) and not kind.arguments:
        return False
    return any(says_shape(child) for child in children(kind))


def is_protocol(cls: type) -> bool:
    """Whether `cls` is itself a protocol (and not a class that implements one)."""
    return bool(getattr(cls, "_is_protocol", False))
