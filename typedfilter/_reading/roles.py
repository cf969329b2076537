"""The table of roles: what a type, without markers, makes of an argument.

Knows jaxtyping, NumPy and Python's types; knows nothing of markers or of where a type stands.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterable
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from typedfilter._reading import kinds
from typedfilter._reading.kinds import Kind


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
_STATIC_CLASSES = frozenset({str, bytes, type(None)})
_ARRAY_LIKE = frozenset(get_args(ArrayLike)) | {bool, int, float, complex}
_NEVER_TRACED = (str, bytes, type(None), type, np.dtype, enum.Enum)


class RoleTable:
    """The rows of the table; `fields_of` tells those of the fields of a NamedTuple or TypedDict."""

    def __init__(self, fields_of: Callable[[type], Iterable[tuple[Role, Differentiable]]]) -> None:
        self._fields_of = fields_of
        self._under_way = threading.local()

    def of(self, kind: Kind) -> _Classified:
        """The row of the table that a type is in."""
        match kind:
            case kinds.Array():
                known = _is_known_array(kind.array_type)
                return (Role.ARRAYS, _of_dtypes(kind.hint.dtypes)) if known else _BY_RULE
            case kinds.NumpyArray(_, scalar):
                return _of_ndarray(scalar)
            case kinds.NumpyScalar(cls):
                return _of_scalar_type(cls) if issubclass(cls, np.generic) else _BY_RULE
            case kinds.Union(_, members):
                return self._of_union(members)
            case kinds.Scalar() | kinds.Literal():
                return _CONSTANT
            case kinds.Record():
                return _BY_RULE if kind.arguments else self._of_record(kind.cls)
            case kinds.Class():
                return _of_class(kind)
            case _:
                return self._of_container(kind)

    def _of_container(self, kind: Kind) -> _Classified:
        match kind:
            case kinds.Tuple(_, items):
                return _of_members([self.of(item) for item in items])
            case kinds.Each(_, origin, item) if origin in (tuple, list):
                return _of_members([self.of(item)])
            case kinds.Mapping(_, origin, key, item) if origin is dict and key.hint is str:
                # JAX finds entries by ==, which takes 1, 1.0 and True for one key. Strings are safe.
                return _of_members([self.of(item)])
            case kinds.Tree(_, item) | kinds.Rest(_, item):
                return _of_members([self.of(item)])
            case _:
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

    def _of_union(self, members: tuple[Kind, ...]) -> _Classified:
        solid = [member for member in members if member.hint is not type(None)]
        rows = [self.of(member) for member in solid]
        roles = {role for role, _ in rows}
        if roles == {Role.ARRAYS, Role.STATIC} and _is_array_like(solid):
            arrays = [row for row, member in zip(rows, solid, strict=True) if isinstance(member, kinds.Array)]
            return Role.ARRAYS, _common(verdict for _, verdict in arrays)
        if len(roles) == 1:
            return roles.pop(), _common(verdict for _, verdict in rows)
        return _BY_RULE

    def has_array_member(self, kind: Kind) -> bool:
        """Whether this is a tuple that holds an array for certain."""
        is_tuple = isinstance(kind, kinds.Tuple) or (isinstance(kind, kinds.Each) and kind.origin is tuple)
        return is_tuple and any(self.of(part)[0] is Role.ARRAYS for part in kind.parts)


def _of_class(kind: kinds.Class) -> _Classified:
    if kind.cls in (type, np.dtype):
        return _CONSTANT
    if kind.arguments:
        return _BY_RULE
    if kind.cls in _STATIC_CLASSES or issubclass(kind.cls, (enum.Enum, np.dtype)):
        return _CONSTANT
    is_array = issubclass(kind.cls, (jax.Array, np.ndarray))
    return (Role.ARRAYS, Differentiable.BY_DTYPE) if is_array else _BY_RULE


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


def _of_ndarray(scalar: Any) -> _Classified:
    if isinstance(scalar, type) and issubclass(scalar, np.generic):  # ndarray[shape, dtype[scalar]]
        return _of_scalar_type(scalar)
    return Role.ARRAYS, Differentiable.BY_DTYPE


def _is_array_like(members: list[Kind]) -> bool:
    """Whether these are what `ArrayLike` and `Float[ArrayLike, ""]` expand to, Python scalars included."""
    classes = [member.array_type if isinstance(member, kinds.Array) else member.hint for member in members]
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


def never_traced(kind: Kind) -> bool:
    """Whether no value of this type can become an array, for certain."""
    match kind:
        case kinds.Union(_, members):
            return all(map(never_traced, members))
        case kinds.Literal(_, values):
            return any(isinstance(value, str | bytes | enum.Enum) for value in values)
        case kinds.Class(_, cls, ()):
            return issubclass(cls, _NEVER_TRACED)
        case _:
            return False


def differentiable_if_traced(kind: Kind, role: Role, verdict: Differentiable) -> Differentiable:
    """What `Traced[kind]` is, where `kind` alone is as given."""
    if role is Role.ARRAYS or kind.hint in (int, bool):
        return verdict  # an int is never a float; a float may be given as an int
    return Differentiable.BY_DTYPE
