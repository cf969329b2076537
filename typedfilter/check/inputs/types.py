"""What an annotation is: the questions that building values and comparing values both ask.

Knows typing and jaxtyping; knows nothing of functions, values or sizes.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

import jax
import jaxtyping
import numpy as np
import typing_extensions

from typedfilter._reading.fields import field_hints
from typedfilter.check.inputs import dims
from typedfilter.check.inputs.dims import Dim

_UNIONS: tuple[Any, ...] = (typing.Union, types.UnionType)
_LITERALS: tuple[Any, ...] = (Literal, typing_extensions.Literal)
_WIDE = frozenset({"float64", "int64", "uint64", "complex128"})
_TREE = jaxtyping.PyTree


def plain(hint: Any) -> Any:
    """`hint` without `Annotated`, `NewType`, `ClassVar` and the like, and without the name of an alias."""
    while True:
        origin = typing.get_origin(hint)
        if origin is Annotated:
            hint = hint.__origin__
        elif origin in (typing.Final, typing_extensions.Required, typing_extensions.NotRequired):
            (hint,) = arguments(hint)
        elif isinstance(hint, typing_extensions.TypeAliasType):
            hint = hint.__value__
        elif isinstance(origin, typing_extensions.TypeAliasType):
            hint = origin.__value__[arguments(hint)]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        else:
            return hint


def arguments(hint: Any) -> tuple[Any, ...]:
    """What stands between the brackets; nothing for a bare `typing.Callable`, at which typing stumbles."""
    return typing.get_args(hint) if getattr(hint, "__args__", None) is not None else ()


def is_array(hint: Any) -> bool:
    """Whether `hint` is a jaxtyping array: `Float[Array, "b n"]`."""
    return isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)


def is_tree(hint: Any) -> bool:
    """Whether `hint` is jaxtyping's `PyTree`, with or without a leaf type."""
    return isinstance(hint, type) and isinstance(hint, type(_TREE))


def is_namedtuple(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def literal_values(hint: Any) -> tuple[Any, ...] | None:
    """The values of a `Literal`; None for anything else."""
    return arguments(hint) if typing.get_origin(hint) in _LITERALS else None


def callable_parts(hint: Any) -> tuple[list[Any] | None, Any] | None:
    """Parameters (None for `...`) and result of `Callable[[A], B]`; None for anything else."""
    if typing.get_origin(hint) is not typing.get_origin(Callable[..., Any]):
        return None
    parts = arguments(hint)
    if not parts:
        return None
    parameters, result = parts
    return (parameters if isinstance(parameters, list) else None), result


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union that a value under test can be; the hint alone where it is no union.

    An array type that JAX can't trace, and a raw key beside a typed one, only say that the function takes
    older spellings of the same too.
    """
    hint = plain(hint)
    if isinstance(hint, TypeVar):
        choices = hint.__constraints__ or ((hint.__bound__,) if hint.__bound__ is not None else ())
        return tuple(member for choice in choices for member in alternatives(choice)) or (hint,)
    if typing.get_origin(hint) not in _UNIONS:
        return (hint,)
    members = [member for part in arguments(hint) for member in alternatives(part)]
    arrays = [member for member in members if is_array(member)]
    traceable = [member for member in arrays if takes_tracers(member)]
    if any(is_key(member) for member in traceable):
        traceable = [member for member in traceable if is_key(member)]
    if traceable:
        numbers = (np.bool_, np.number, np.generic, bool, int, float, complex)
        spelled_again = [m for m in members if m in numbers and len(arrays) > 1]
        members = [m for m in members if m in traceable or (m not in arrays and m not in spelled_again)]
    return tuple(dict.fromkeys(members))


def takes_tracers(hint: Any) -> bool:
    """Whether a tracer can be a value of the jaxtyping array `hint`."""
    kind = hint.array_type
    return kind is Any or (isinstance(kind, type) and issubclass(jax.Array, kind))


def is_key(hint: Any) -> bool:
    return is_array(hint) and _allows(hint, "prng_key") and not _allows(hint, "float32")


def dims_of(hint: Any) -> tuple[Dim, ...]:
    return dims.parse(hint.dim_str)


def _allows(hint: Any, dtype: str) -> bool:
    if not isinstance(hint.dtypes, tuple):
        return True  # jaxtyping's mark for any dtype
    return any(d.match(dtype) if isinstance(d, re.Pattern) else d == dtype for d in hint.dtypes)


def allows_dtype(hint: Any, dtype: Any) -> bool:
    """Whether the jaxtyping array `hint` takes arrays of `dtype`."""
    return _allows(hint, np.dtype(dtype).name if not _is_key_dtype(dtype) else "prng_key") or _allows(
        hint, dtype.type.__name__
    )


def _is_key_dtype(dtype: Any) -> bool:
    return bool(jax.numpy.issubdtype(dtype, jax.dtypes.prng_key))


def dtype_text(dtype: Any) -> str:
    """The name of a dtype as messages say it."""
    return "key" if _is_key_dtype(dtype) else str(np.dtype(dtype))


@functools.lru_cache(maxsize=1)
def key_dtype() -> Any:
    """The dtype of the keys that this process makes; nothing is computed to learn it."""
    return jax.eval_shape(jax.random.key, 0).dtype


def dtypes_to_try(hint: Any) -> tuple[Any, ...]:
    """A dtype of each family that `hint` allows; empty where JAX has none of them.

    `Num`, `Real` and `Shaped` are tried as floats and as integers, `Inexact` as floats and complex: what
    their names are chosen for. Widths of one family behave alike.
    """
    floats, ints, complexes = (_allows(hint, name) for name in ("float32", "int32", "complex64"))
    if floats and ints:
        return (np.dtype("float32"), np.dtype("int32"))
    if floats:
        return (np.dtype("float32"), np.dtype("complex64")) if complexes else (np.dtype("float32"),)
    if ints:
        return tuple(np.dtype(name) for name in ("int32", "uint32") if _allows(hint, name))
    for name in ("complex64", "uint32", "bool"):
        if _allows(hint, name):
            return (np.dtype(name),)
    if _allows(hint, "prng_key"):
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
    elif is_tree(hint):
        if hasattr(hint, "leaftype"):
            yield hint.leaftype
    elif isinstance(hint, type) and not arguments(hint):
        if not is_array(hint):
            yield from fields_of(hint).values()
    elif literal_values(hint) is None:
        if isinstance(typing.get_origin(hint), type):
            yield from fields_of(hint).values()
        for argument in arguments(hint):
            yield from argument if isinstance(argument, list) else (argument,)


def fields_of(hint: Any) -> Mapping[str, Any]:
    """The annotated fields of a class (for `Model[T]`: with its parameters filled in); empty for others."""
    cls = typing.get_origin(hint) or hint
    if not isinstance(cls, type) or cls.__module__ in ("builtins", "typing", "types", "collections.abc"):
        return {}
    parameters: tuple[Any, ...] = getattr(cls, "__parameters__", ())
    filled = dict(zip(parameters, arguments(hint), strict=False))
    hints = {name: filled.get(field.type, field.type) for name, field in field_hints(cls).items()}
    if dataclasses.is_dataclass(cls):  # annotations that are no fields: ClassVar, InitVar
        names = {field.name for field in dataclasses.fields(cls)}
        hints = {name: hint for name, hint in hints.items() if name in names}
    return hints


def arrays_in(hint: Any, seen: frozenset[int] = frozenset()) -> Iterator[Any]:
    """Every jaxtyping array that `hint` mentions, at any depth, the fields of classes included."""
    hint = plain(hint)
    if is_array(hint):
        yield hint
    elif id(hint) not in seen:
        for child in children(hint):
            yield from arrays_in(child, seen | {id(hint)})


def text(hint: Any) -> str:
    """`hint` as people write it."""
    hint = plain(hint)
    if is_array(hint):
        kind = hint.array_type
        kind_name = "Array" if kind is jax.Array else getattr(kind, "__name__", str(kind))
        return f'{hint.dtype.__name__}[{kind_name}, "{hint.dim_str}"]'
    if is_tree(hint):
        if not hasattr(hint, "leaftype"):
            return "PyTree"
        structure = f', "{hint.structure}"' if hint.structure is not None else ""
        return f"PyTree[{text(hint.leaftype)}{structure}]"
    values = literal_values(hint)
    if values is not None:
        return f"Literal[{', '.join(map(repr, values))}]"
    if hint is None or hint is type(None):
        return "None"
    if hint is Ellipsis:
        return "..."
    origin, parts = typing.get_origin(hint), arguments(hint)
    if origin in _UNIONS:
        return " | ".join(map(text, parts))
    if parts:
        name = getattr(origin, "__qualname__", str(origin))
        return f"{name}[{', '.join(map(_argument_text, parts))}]"
    return hint.__qualname__ if isinstance(hint, type) else str(hint).removeprefix("typing.")


def _argument_text(argument: Any) -> str:
    if isinstance(argument, list):
        return f"[{', '.join(map(text, argument))}]"
    return "()" if argument == () else text(argument)


def is_protocol(cls: type) -> bool:
    """Whether `cls` is itself a protocol (and not a class that implements one)."""
    return bool(getattr(cls, "_is_protocol", False))
