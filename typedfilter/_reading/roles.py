"""The table of roles: what a type, without markers, makes of an argument.

Knows jaxtyping, NumPy and Python's types; knows nothing of markers or of where a type stands.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
import typing_extensions
from jax.typing import ArrayLike

from typedfilter._reading.markers import UNIONS, is_array_class

__all__ = ["Differentiable", "Role", "RoleTable", "differentiable_if_traced", "never_traced"]


class Role(enum.Enum):
    """What `filter_jit` does with an argument."""

    AUTO = "auto"  # nothing said: leaf by leaf, arrays traced, everything else static
    ARRAYS = "arrays"  # annotated to hold arrays only: traced whole, Python scalars too
    TRACED = "traced"  # Traced[T]: every leaf traced
    STATIC = "static"  # a compile-time constant


class Differentiable(enum.Enum):
    """Whether an argument can be differentiated, as far as its annotation tells."""

    BY_DTYPE = "by dtype"
    ALWAYS = "always"
    NEVER = "never"


_Classified = tuple[Role, Differentiable]
_BY_RULE: _Classified = (Role.AUTO, Differentiable.BY_DTYPE)
_CONSTANT: _Classified = (Role.STATIC, Differentiable.NEVER)
_STATIC_CLASSES = frozenset({int, float, complex, bool, str, bytes, type(None), type, np.dtype})
_ARRAY_LIKE = frozenset(get_args(ArrayLike)) | {bool, int, float, complex}
_NEVER_TRACED = (str, bytes, type(None), type, np.dtype, enum.Enum)


class RoleTable:
    """The rows of the table; `fields_of` tells those of the fields of a NamedTuple or TypedDict."""

    def __init__(self, fields_of: Callable[[type], Iterable[tuple[Role, Differentiable]]]) -> None:
        self._fields_of = fields_of
        self._under_way = threading.local()

    def classify(self, kind: Any) -> _Classified:
        """The row of the table that a type (without markers) is in."""
        origin = get_origin(kind)
        if origin is Annotated:
            return self.classify(kind.__origin__)
        if is_array_class(kind):
            return (Role.ARRAYS, _of_dtypes(kind.dtypes)) if _is_known_array(kind.array_type) else _BY_RULE
        if isinstance(origin, type) and issubclass(origin, np.ndarray):
            return _of_ndarray(get_args(kind))
        if origin in UNIONS:
            return self._of_union(get_args(kind))
        if origin is Literal or origin in (type, np.dtype):
            return _CONSTANT
        if origin in (tuple, list, dict):
            return self._of_container(origin, get_args(kind))
        return self._of_class(kind) if isinstance(kind, type) and origin is None else _BY_RULE

    def _of_class(self, cls: type) -> _Classified:
        if cls in _STATIC_CLASSES or issubclass(cls, (enum.Enum, np.dtype)):
            return _CONSTANT
        if issubclass(cls, (jax.Array, np.ndarray)):
            return Role.ARRAYS, Differentiable.BY_DTYPE
        if issubclass(cls, np.generic):
            return _of_scalar_type(cls)
        if typing_extensions.is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
            return self._of_record(cls)
        return _BY_RULE

    def _of_record(self, cls: type) -> _Classified:
        busy: set[type] = self._under_way.__dict__.setdefault("classes", set())
        if cls in busy:  # it contains itself, so it ends in something else
            return _BY_RULE
        busy.add(cls)
        try:
            return _of_members(list(self._fields_of(cls)))
        finally:
            busy.remove(cls)

    def _of_union(self, members: tuple[Any, ...]) -> _Classified:
        solid = [member for member in members if member is not type(None)]
        rows = [self.classify(member) for member in solid]
        roles = {role for role, _ in rows}
        if roles == {Role.ARRAYS, Role.STATIC} and _is_array_like(solid):
            arrays = [row for row, member in zip(rows, solid, strict=True) if is_array_class(member)]
            return Role.ARRAYS, _common(verdict for _, verdict in arrays)
        if len(roles) == 1:
            return roles.pop(), _common(verdict for _, verdict in rows)
        return _BY_RULE

    def _of_container(self, origin: type, args: tuple[Any, ...]) -> _Classified:
        if origin is dict:
            # JAX finds entries by ==, which takes 1, 1.0 and True for one key. Strings are safe.
            return _of_members([self.classify(args[1])]) if args and args[0] is str else _BY_RULE
        return _of_members([self.classify(arg) for arg in args if arg is not ...])

    def has_array_member(self, kind: Any) -> bool:
        """Whether this is a tuple that holds an array for certain."""
        members = [arg for arg in get_args(kind) if arg is not ...] if get_origin(kind) is tuple else []
        return any(self.classify(member)[0] is Role.ARRAYS for member in members)


def _is_known_array(array_type: Any) -> bool:
    """jaxtyping also describes arrays of other libraries, which are no arrays to JAX."""
    return array_type is Any or issubclass(array_type, (jax.Array, np.ndarray))


def _of_dtypes(dtypes: Any) -> Differentiable:
    if not isinstance(dtypes, tuple):  # Shaped: any dtype
        return Differentiable.BY_DTYPE
    inexact = [str(name).startswith(("float", "bfloat", "complex")) for name in dtypes]
    if all(inexact):
        return Differentiable.ALWAYS
    return Differentiable.BY_DTYPE if any(inexact) else Differentiable.NEVER


def _of_scalar_type(cls: type) -> _Classified:
    """NumPy's scalar types; those that JAX can't trace (strings, dates, objects) are like any class."""
    if jnp.issubdtype(cls, np.inexact):
        return Role.ARRAYS, Differentiable.ALWAYS
    if jnp.issubdtype(cls, np.integer) or cls is np.bool_:
        traceable = not issubclass(cls, np.timedelta64)
        return (Role.ARRAYS, Differentiable.NEVER) if traceable else _BY_RULE
    return (Role.ARRAYS, Differentiable.BY_DTYPE) if cls in (np.number, np.generic) else _BY_RULE


def _of_ndarray(args: tuple[Any, ...]) -> _Classified:
    scalar = next(iter(get_args(args[1])), None) if len(args) == 2 else None  # ndarray[shape, dtype[scalar]]
    if isinstance(scalar, type) and issubclass(scalar, np.generic):
        return _of_scalar_type(scalar)
    return Role.ARRAYS, Differentiable.BY_DTYPE


def _is_array_like(members: list[Any]) -> bool:
    """Whether these are what `ArrayLike` and `Float[ArrayLike, ""]` expand to, Python scalars included."""
    classes = [member.array_type if is_array_class(member) else member for member in members]
    numpy = np.ndarray in classes and any(
        isinstance(cls, type) and issubclass(cls, np.generic) for cls in classes
    )
    return numpy and jax.Array in classes and all(cls in _ARRAY_LIKE for cls in classes)


def _of_members(rows: list[_Classified]) -> _Classified:
    if not rows or any(role not in (Role.ARRAYS, Role.TRACED) for role, _ in rows):
        return _BY_RULE
    return Role.ARRAYS, _common(verdict for _, verdict in rows)


def _common(verdicts: Iterable[Differentiable]) -> Differentiable:
    distinct = set(verdicts)
    return distinct.pop() if len(distinct) == 1 else Differentiable.BY_DTYPE


def never_traced(kind: Any) -> bool:
    """Whether no value of this type can become an array, for certain."""
    if get_origin(kind) in UNIONS:
        return all(never_traced(member) for member in get_args(kind))
    if get_origin(kind) is Literal:
        return any(isinstance(value, str | bytes | enum.Enum) for value in get_args(kind))
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, _NEVER_TRACED)


def differentiable_if_traced(kind: Any, role: Role, verdict: Differentiable) -> Differentiable:
    """What `Traced[kind]` is, where `kind` alone is as given."""
    if role is Role.ARRAYS or kind in (int, bool):  # an int is never a float; a float may be given as an int
        return verdict
    return Differentiable.BY_DTYPE
