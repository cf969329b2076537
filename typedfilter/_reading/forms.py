"""The forms that typing, typing_extensions and jaxtyping write types in, listed once.

Tells one from another, takes off what says nothing of a value, and fills in type variables; what a form
means is for `kinds`.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Annotated, Any, TypeVar, get_args, get_origin

import jaxtyping
import typing_extensions


def _forms(*names: str) -> tuple[Any, ...]:
    found = (getattr(module, name, None) for module in (typing, typing_extensions) for name in names)
    return tuple(dict.fromkeys(form for form in found if form is not None))


UNIONS: tuple[Any, ...] = (typing.Union, types.UnionType)
LITERALS = _forms("Literal")
QUALIFIERS = _forms("Final", "ClassVar", "Required", "NotRequired", "ReadOnly")
REQUIRED = _forms("Required")
NOT_REQUIRED = _forms("NotRequired")
UNPACKS = _forms("Unpack")
ALIASES = _forms("TypeAliasType")


def is_array_class(annotation: Any) -> bool:
    """Whether this is one of jaxtyping's array annotations, `Float[Array, "n"]`."""
    return isinstance(annotation, type) and all(
        hasattr(annotation, name) for name in ("dtypes", "array_type", "dim_str")
    )


def is_tree_class(annotation: Any) -> bool:
    """Whether this is jaxtyping's `PyTree`, with or without a leaf type."""
    return isinstance(annotation, type) and isinstance(annotation, type(jaxtyping.PyTree))


def is_unpacked(annotation: Any) -> bool:
    """Whether this is `*tuple[...]` or `Unpack[...]`: one annotation for several arguments."""
    return get_origin(annotation) in UNPACKS or getattr(annotation, "__unpacked__", False) is True


def arguments_of(hint: Any) -> tuple[Any, ...]:
    """What stands between the brackets; nothing for a bare `typing.Callable`, at which typing stumbles."""
    return get_args(hint) if getattr(hint, "__args__", None) is not None else ()


def plain(hint: Any) -> Any:
    """`hint` without `Annotated`, `NewType`, `Required` and the like, and without the name of an alias."""
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint = hint.__origin__
        elif origin in QUALIFIERS:
            (hint,) = arguments_of(hint)
        elif isinstance(hint, ALIASES):
            hint = hint.__value__
        elif isinstance(origin, ALIASES):
            hint = origin.__value__[arguments_of(hint)]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        else:
            return type(None) if hint is None else hint


def limits_of(variable: TypeVar) -> tuple[Any, ...]:
    """The constraints of a type variable, or its bound.

    Raises:
        NameError: of `def f[T: Model]` Python evaluates them now, and a name is not defined, perhaps not yet.
    """
    bound = variable.__bound__
    return variable.__constraints__ or (() if bound is None else (bound,))


def substituted(hint: Any, filled: collections.abc.Mapping[Any, Any]) -> Any:
    """`hint` with type variables replaced."""
    if isinstance(hint, TypeVar):
        return filled.get(hint, hint)
    if is_tree_class(hint) and hasattr(hint, "leaftype"):
        leaf = substituted(hint.leaftype, filled)
        if leaf is hint.leaftype:
            return hint
        return jaxtyping.PyTree[leaf] if hint.structure is None else jaxtyping.PyTree[leaf, hint.structure]
    params = getattr(hint, "__parameters__", ())
    if (isinstance(hint, type) and get_origin(hint) is None) or not params:
        return hint
    if any(not isinstance(param, TypeVar) for param in params):
        return hint
    generic: Any = hint
    return generic[tuple(filled.get(param, param) for param in params)]
