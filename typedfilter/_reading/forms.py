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
UNPACKS = _forms("Unpack")
ALIASES = _forms("TypeAliasType")


def is_array_class(annotation: Any) -> bool:
    """Whether this is one of jaxtyping's array annotations, `Float[Array, "n"]`."""
    return isinstance(annotation, type) and all(
        hasattr(annotation, name) for name in ("dtypes", "array_type", "dim_str")
    )


def is_bare_dtype(annotation: Any) -> bool:
    """Whether this is `Float` alone, which says neither array nor shape."""
    return isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractDtype)


def is_tree_class(annotation: Any) -> bool:
    """Whether this is jaxtyping's `PyTree`, with or without a leaf type."""
    return isinstance(annotation, type) and isinstance(annotation, type(jaxtyping.PyTree))


def is_annotated(annotation: Any) -> bool:
    """Whether this is `Annotated[...]`: a type with markers around it, or with somebody else's notes."""
    return get_origin(annotation) is Annotated


def is_literal(annotation: Any) -> bool:
    """Whether this is `Literal[...]`."""
    return get_origin(annotation) in LITERALS


def is_unpacked(annotation: Any) -> bool:
    """Whether this is `*tuple[...]` or `Unpack[...]`: one annotation for several arguments."""
    return get_origin(annotation) in UNPACKS or getattr(annotation, "__unpacked__", False) is True


def arguments_of(hint: Any) -> tuple[Any, ...]:
    """What stands between the brackets; nothing for a bare `typing.Callable`, at which typing stumbles."""
    return get_args(hint) if getattr(hint, "__args__", None) is not None else ()


def alias_of(hint: Any) -> Any:
    """The alias that this names, with arguments or without: `type Pair[T] = tuple[T, T]`; else `None`."""
    found = get_origin(hint) or hint
    return found if isinstance(found, ALIASES) else None


def alias_value(hint: Any) -> Any:
    """What stands behind the name of an alias, with its arguments filled in.

    Raises:
        NameError: Python evaluates that now, and a name is not defined, perhaps not yet.
    """
    alias = alias_of(hint)
    value, variables, arguments = alias.__value__, alias.__type_params__, get_args(hint)
    if not arguments:
        return value
    if all(isinstance(variable, TypeVar) for variable in variables):
        return substituted(value, dict(zip(variables, arguments, strict=False)))
    # Of several arguments for one variable, typing itself knows where they go.
    return value[arguments] if getattr(value, "__parameters__", ()) else value


def qualifiers_of(hint: Any) -> frozenset[str]:
    """`Required`, `ClassVar` and the like around a type, by name, in whatever order they stand."""
    found: set[str] = set()
    while (origin := get_origin(hint)) is Annotated or origin in QUALIFIERS:
        if origin is Annotated:
            hint = hint.__origin__
        else:
            found.add(origin.__name__ if hasattr(origin, "__name__") else origin._name)
            (hint,) = get_args(hint)
    return frozenset(found)


def inside(hint: Any) -> tuple[Any, ...]:
    """All that a type is made of, one level down, metadata included; values are none of it."""
    origin = get_origin(hint)
    if origin is Annotated:
        return hint.__origin__, *hint.__metadata__
    if is_literal(hint):
        return ()
    if isinstance(hint, list):  # the parameters of a Callable
        return tuple(hint)
    if isinstance(hint, type):
        return tuple(getattr(hint, name) for name in ("array_type", "leaftype") if hasattr(hint, name))
    return arguments_of(hint)


def rebuilt(hint: Any, arguments: tuple[Any, ...]) -> Any:
    """The same type with other arguments; itself where they are the same."""
    if all(new is old for new, old in zip(arguments, hint.__args__, strict=True)):
        return hint
    origin = get_origin(hint)
    if origin in UNIONS:
        return typing.Union[arguments]  # noqa: UP007 (the members are not known here)
    if hasattr(hint, "copy_with"):
        return hint.copy_with(arguments)
    if origin is collections.abc.Callable:  # keeps its parameters in a way of its own; nobody checks them
        return origin
    found = types.GenericAlias(origin, arguments)
    return next(iter(found)) if is_unpacked(hint) else found


def plain(hint: Any) -> Any:
    """`hint` without `Annotated`, `NewType`, `Required` and the like, and without the name of an alias."""
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint = hint.__origin__
        elif origin in QUALIFIERS:
            (hint,) = arguments_of(hint)
        elif alias_of(hint) is not None:
            hint = alias_value(hint)
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


def inherited_arguments(cls: type) -> collections.abc.Mapping[type, collections.abc.Mapping[Any, Any]]:
    """For each base of a class that is written `Box[A]`: what its type variables stand for."""
    filled: dict[type, collections.abc.Mapping[Any, Any]] = {}
    for base in cls.__mro__:
        for written in vars(base).get("__orig_bases__", ()):
            origin = get_origin(written)
            parameters = getattr(origin, "__parameters__", ())
            arguments = [substituted(argument, filled.get(base, {})) for argument in get_args(written)]
            if isinstance(origin, type):
                filled.setdefault(origin, dict(zip(parameters, arguments, strict=False)))
    return filled
