"""What a type offers to try: its alternatives, its dtypes, the arrays that are somewhere inside of it.

Knows kinds of types; knows nothing of functions, values or sizes.
"""

from __future__ import annotations

import enum
import functools
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ForwardRef, TypeVar

import jax
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.dims import Dim
from typedfilter._reading.fields import field_kinds
from typedfilter._reading.forms import LITERALS, UNIONS, arguments_of, is_array_class, is_tree_class, plain
from typedfilter._reading.kinds import Array, Class, kind_of

_WIDE = frozenset({"float64", "int64", "uint64", "complex128"})


def is_namedtuple(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def literal_values(hint: Any) -> tuple[Any, ...] | None:
    """The values of a `Literal`; None for anything else."""
    return arguments_of(hint) if typing.get_origin(hint) in LITERALS else None


def callable_parts(hint: Any) -> tuple[list[Any] | None, Any] | None:
    """Parameters (None for `...`) and result of `Callable[[A], B]`; None for anything else."""
    kind = kind_of(hint)
    if not isinstance(kind, kinds.Callable) or not arguments_of(kind.hint):
        return None
    return None if kind.parameters is None else list(kind.parameters), kind.result


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union that a value under test can be; the hint alone where it is no union.

    An array type that JAX can't trace, and a raw key beside a typed one, only say that the function takes
    older spellings of the same too.
    """
    hint = plain(hint)
    if isinstance(hint, TypeVar):
        choices = [_resolved(limit, hint) for limit in limits_of(hint)]
        return tuple(member for choice in choices for member in alternatives(choice)) or (hint,)
    if typing.get_origin(hint) not in UNIONS:
        return (hint,)
    members = [member for part in arguments_of(hint) for member in alternatives(part)]
    arrays = [member for member in members if is_array_class(member)]
    traceable = [member for member in arrays if takes_tracers(member)]
    if any(is_key(member) for member in traceable):
        traceable = [member for member in traceable if is_key(member)]
    if traceable:
        numbers = (np.bool_, np.number, np.generic, bool, int, float, complex)
        spelled_again = [m for m in members if m in numbers and len(arrays) > 1]
        members = [m for m in members if m in traceable or (m not in arrays and m not in spelled_again)]
    return tuple(dict.fromkeys(members))


def limits_of(variable: TypeVar) -> tuple[Any, ...]:
    """The constraints of a type variable, or its bound."""
    return variable.__constraints__ or ((variable.__bound__,) if variable.__bound__ is not None else ())


def _resolved(limit: Any, variable: TypeVar) -> Any:
    """A limit that is written in quotes, by the names of the module that made the variable."""
    if not isinstance(limit, ForwardRef):
        return limit
    names = vars(sys.modules.get(variable.__module__, typing))
    try:
        return eval(limit.__forward_arg__, dict(names))
    except Exception:  # a name that exists for type checkers only
        return Any


def takes_tracers(hint: Any) -> bool:
    """Whether a tracer can be a value of the jaxtyping array `hint`."""
    return Array(hint).takes_tracers


def is_key(hint: Any) -> bool:
    return is_array_class(hint) and Array(hint).is_key


def dims_of(hint: Any) -> tuple[Dim, ...]:
    return Array(hint).dims


def dtype_text(dtype: Any) -> str:
    """The name of a dtype as messages say it."""
    return "key" if jax.numpy.issubdtype(dtype, jax.dtypes.prng_key) else str(np.dtype(dtype))


@functools.lru_cache(maxsize=1)
def key_dtype() -> Any:
    """The dtype of the keys that this process makes; nothing is computed to learn it."""
    return jax.eval_shape(jax.random.key, 0).dtype


def dtypes_to_try(hint: Any) -> tuple[Any, ...]:
    """A dtype of each family that `hint` allows; empty where JAX has none of them.

    `Num`, `Real` and `Shaped` are tried as floats and as integers, `Inexact` as floats and complex: what
    their names are chosen for. Widths of one family behave alike.
    """
    floats, ints, complexes = (Array(hint).allows(name) for name in ("float32", "int32", "complex64"))
    if floats and ints:
        return (np.dtype("float32"), np.dtype("int32"))
    if floats:
        return (np.dtype("float32"), np.dtype("complex64")) if complexes else (np.dtype("float32"),)
    if ints:
        return tuple(np.dtype(name) for name in ("int32", "uint32") if Array(hint).allows(name))
    for name in ("complex64", "uint32", "bool"):
        if Array(hint).allows(name):
            return (np.dtype(name),)
    if Array(hint).allows("prng_key"):
        return (key_dtype(),)
    names = [name for name in hint.dtypes if isinstance(name, str)]
    wide = bool(jax.config.read("jax_enable_x64"))
    return tuple(d for name in names if (wide or name not in _WIDE) and (d := _dtype(name)) is not None)[:1]


def _dtype(name: str) -> Any:
    try:
        return np.dtype(getattr(jax.numpy, name, name))
    except TypeError:
        return None


def children(hint: Any) -> Iterator[Any]:
    """The types inside `hint`: of a container, a union, a tree, a callable, or the fields of a class."""
    hint = plain(hint)
    if isinstance(hint, TypeVar):
        yield from (member for member in alternatives(hint) if member is not hint)
    elif is_tree_class(hint):
        if hasattr(hint, "leaftype"):
            yield hint.leaftype
    elif isinstance(hint, type) and not arguments_of(hint):
        if not is_array_class(hint):
            yield from fields_of(hint).values()
    elif literal_values(hint) is None:
        if isinstance(typing.get_origin(hint), type):
            yield from fields_of(hint).values()
        for argument in arguments_of(hint):
            yield from argument if isinstance(argument, list) else (argument,)


def fields_of(hint: Any) -> Mapping[str, Any]:
    """The annotated fields of a class (for `Model[T]`: with its parameters filled in); empty for others."""
    kind = kind_of(hint)
    return {name: one.hint for name, one in field_kinds(kind).items()} if isinstance(kind, Class) else {}


def arrays_in(hint: Any, seen: frozenset[int] = frozenset()) -> Iterator[Any]:
    """Every jaxtyping array that `hint` mentions, at any depth, the fields of classes included."""
    hint = plain(hint)
    if is_array_class(hint):
        yield hint
    elif id(hint) not in seen:
        for child in children(hint):
            yield from arrays_in(child, seen | {id(hint)})


def says_shape(hint: Any) -> bool:
    """Whether an annotation mentions an array itself, and not only in the fields of a class."""
    hint = plain(hint)
    if is_array_class(hint):
        return True
    if isinstance(hint, type) and not is_tree_class(hint):
        return False
    return any(says_shape(child) for child in children(hint))


def is_protocol(cls: type) -> bool:
    """Whether `cls` is itself a protocol (and not a class that implements one)."""
    return bool(getattr(cls, "_is_protocol", False))
