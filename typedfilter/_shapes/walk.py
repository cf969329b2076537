"""One value against one `Kind`, every element of it, in a fixed order: the only walk through containers.

Walks itself, since beartype looks at one random element of a list. What an array or the structure of a
tree binds is for a `Binder` to say: jaxtyping's own bindings while a program runs (`bindings`), symbols in a
proof (`typedfilter.check`). Knows nothing of annotations, functions or error texts: the answer is None,
or the `Failure` that who has asked explains.
"""

from __future__ import annotations

import abc
import collections.abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.core
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.fields import field_kinds, keys_of
from typedfilter._reading.kinds import Kind, is_bearable_by
from typedfilter._shapes.standing import is_raw, standing
from typedfilter._values.leaves import is_float0
from typedfilter._values.text import steps, subscript

Path: TypeAlias = tuple[str, ...]
"""The parameter, then one piece for each step into it: `("xs", '["a"]', "[0]")`."""

TOWER: dict[type, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    complex: (complex, float, int),
}
_DTYPES: dict[type, tuple[Any, ...]] = {
    bool: (np.bool_,),
    int: (np.bool_, np.integer),
    float: (np.bool_, np.integer, np.floating),
    complex: (np.bool_, np.number),
}


@dataclasses.dataclass(frozen=True)
class Failure:
    """A value that is not of a kind."""

    path: Path
    kind: Kind
    value: Any
    why: str = ""  # what exactly disagrees, where kind and value do not say so themselves
    causes: tuple[Failure, ...] = ()  # those of the alternatives of a union
    scope: Binder | None = None  # who bound the names there, if they are those of an instance
    mild: bool = False  # it is a warning: so the class of the instance says


@dataclasses.dataclass
class Binder(abc.ABC):
    """What names are bound to, and which values stand for others."""

    # whether the value is what a function returns. What it takes may be a tracer because somebody told
    # a transform to trace it; what it returns is what it has made
    returned: bool = False
    numbers: bool = False  # whether a scalar array is a number, as where `Traced[float]` says so
    numpy: bool = True  # whether a tracer stands for a NumPy array or scalar
    # whether the value is in a field, where a number or NumPy's array waits to become JAX's
    fields: bool = False
    filtered: bool = False  # whether None stands for anything, as in a filtered model (gradients are one)
    stacked: int = 0  # how many axes in front are not those of one instance, but of a stack of them

    @abc.abstractmethod
    def array(self, kind: kinds.Array, value: Any, path: Path) -> Failure | None:
        """Compare one array, and bind the names that it is the first to mention."""

    @abc.abstractmethod
    def tree(self, kind: kinds.Tree, value: Any, path: Path) -> Failure | None:
        """Compare the structure of a tree where the kind names one, and each leaf."""

    @abc.abstractmethod
    def attempt(self, kind: Kind, value: Any, path: Path) -> Failure | None:
        """As `walk`, but nothing is bound where it fails."""

    def is_instance(self, value: Any, cls: Any) -> bool:
        return isinstance(value, cls)

    def is_number(self, value: Any) -> bool:
        """Whether a value stands for an `int`: a symbolic size does in a proof."""
        return False

    def members(self, kind: kinds.Variable) -> tuple[Kind, ...]:
        return kind.members

    def called(self, kind: kinds.Callable, value: Any, path: Path) -> Failure | None:
        """Ask more of a callable than that it is one."""
        return None

    def instance(self, kind: kinds.Class, value: Any, path: Path) -> Failure | None:
        """Look into an instance that is of the class."""
        return None


def walk(kind: Kind, value: Any, path: Path, binder: Binder) -> Failure | None:
    """None where `value` is of this kind; what it binds is bound then."""
    if value is None and binder.filtered:
        return None
    failure: Failure | None = _WALKS[type(kind)](kind, value, path, binder)
    return failure


# ---------------------------------------------------------------------------------------------- single values


def _if(good: bool, kind: Kind, value: Any, path: Path) -> Failure | None:
    return None if good else Failure(path, kind, value)


def _anything(kind: Kind, value: Any, path: Path, binder: Binder) -> Failure | None:
    return None


def _array(kind: kinds.Array, value: Any, path: Path, binder: Binder) -> Failure | None:
    if not binder.fields:
        return binder.array(kind, value, path)
    if is_float0(value):  # a tangent of integers
        return None
    return binder.array(kind, standing(value, kind, binder.stacked), path)


def _scalar(kind: kinds.Scalar, value: Any, path: Path, binder: Binder) -> Failure | None:
    number = kind.hint is not bool and binder.is_number(value)
    good = number or isinstance(value, TOWER[kind.hint]) or _stands_for_number(kind, value, binder)
    return _if(good, kind, value, path)


def _stands_for_number(kind: kinds.Scalar, value: Any, binder: Binder) -> bool:
    if binder.numbers:
        arrays: Any = (jax.Array, np.ndarray, np.generic)
    else:  # a tracer where a number is annotated is there because somebody told a transform to trace it
        arrays = () if binder.returned else jax.core.Tracer
    return isinstance(value, arrays) and value.shape == () and right_dtype(kind, value.dtype)


def right_dtype(kind: kinds.Scalar, dtype: Any) -> bool:
    """Whether a scalar array of this dtype holds such a number."""
    return any(jax.numpy.issubdtype(dtype, one) for one in _DTYPES[kind.hint])


def _numpy_scalar(kind: kinds.NumpyScalar, value: Any, path: Path, binder: Binder) -> Failure | None:
    """`np.float32`, which may be traced, and `jnp.float32`, whose instances are arrays without axes."""
    is_numpy = issubclass(kind.hint, np.generic)
    arrays: tuple[Any, ...] = (np.generic, np.ndarray, jax.Array)
    if is_numpy and binder.returned and not (binder.numpy or binder.numbers):
        arrays = (np.generic,)
    good = isinstance(value, arrays) and value.shape == () and jax.numpy.issubdtype(value.dtype, kind.hint)
    return _if(good, kind, value, path)


def _numpy_array(kind: kinds.NumpyArray, value: Any, path: Path, binder: Binder) -> Failure | None:
    good = isinstance(value, np.ndarray) or (binder.numpy and isinstance(value, jax.core.Tracer))
    if good and kind.scalar is not None:
        good = _has_dtype(value, kind.hint)
    return _if(good, kind, value, path)


def _has_dtype(value: Any, hint: Any) -> bool:
    try:
        return is_bearable_by(np.empty((0,), value.dtype), hint)
    except TypeError:  # a dtype of JAX's own, such as a key
        return False


def _literal(kind: kinds.Literal, value: Any, path: Path, binder: Binder) -> Failure | None:
    good = any(value is one or (type(value) is type(one) and value == one) for one in kind.values)
    return _if(good, kind, value, path)


def _callable(kind: kinds.Callable, value: Any, path: Path, binder: Binder) -> Failure | None:
    return binder.called(kind, value, path) if callable(value) else Failure(path, kind, value)


def _opaque(kind: kinds.Opaque, value: Any, path: Path, binder: Binder) -> Failure | None:
    return _if(not kind.refuses or is_bearable_by(value, kind.hint), kind, value, path)


def _class(kind: kinds.Class, value: Any, path: Path, binder: Binder) -> Failure | None:
    if not kind.refuses:
        return None
    if kind.is_type_of:
        return _if(is_bearable_by(value, kind.asked), kind, value, path)
    if not binder.is_instance(value, kind.cls):
        becomes_array = binder.fields and kind.cls is jax.Array and is_raw(value)
        return None if becomes_array else Failure(path, kind, value)
    return binder.instance(kind, value, path)


# ------------------------------------------------------------------------------------------------ containers


def _tuple(kind: kinds.Tuple, value: Any, path: Path, binder: Binder) -> Failure | None:
    items = kind.items_for(len(value)) if isinstance(value, tuple) else None
    if items is None:
        return Failure(path, kind, value)
    for index, (item, one) in enumerate(zip(value, items, strict=True)):
        if failure := walk(one, item, (*path, f"[{index}]"), binder):
            return failure
    return None


def _each(kind: kinds.Each, value: Any, path: Path, binder: Binder) -> Failure | None:
    if not isinstance(value, kind.origin):
        return Failure(path, kind, value)
    if not isinstance(value, collections.abc.Collection):
        return None  # an iterator: to look at its elements is to use them up
    if isinstance(value, str) and isinstance(kind.item, kinds.Class) and kind.item.cls is str:
        return None
    for index, item in enumerate(value):
        if failure := walk(kind.item, item, (*path, f"[{index}]"), binder):
            return failure if not isinstance(value, str) else Failure(path, kind, value)
    return None


def _mapping(kind: kinds.Mapping, value: Any, path: Path, binder: Binder) -> Failure | None:
    if not isinstance(value, kind.origin):
        return Failure(path, kind, value)
    for key, item in value.items():
        if failure := walk(kind.key, key, (*path, ".keys()"), binder):
            return failure
        if failure := walk(kind.item, item, (*path, subscript(key)), binder):
            return failure
    return None


def _record(kind: kinds.Record, value: Any, path: Path, binder: Binder) -> Failure | None:
    if not isinstance(value, dict if kind.keyed else kind.cls):
        return Failure(path, kind, value)
    fields = field_kinds(kind)
    if not isinstance(value, dict):
        holding = {name: one for name, one in fields.items() if one.binds}
        return attributes(holding, value, path, binder)
    required = keys_of(kind.cls)
    missing, other = [name for name in required if name not in value], [k for k in value if k not in fields]
    if missing or other:
        key = subscript((missing or other)[0])
        return Failure(path, kind, value, f"{key} is missing" if missing else f"it has no {key}")
    for name, item in value.items():
        if failure := walk(fields[name], item, (*path, subscript(name)), binder):
            return failure
    return None


def attributes(fields: Mapping[str, Kind], value: Any, path: Path, binder: Binder) -> Failure | None:
    """Walk these fields of an instance, each by its attribute."""
    for name, kind in fields.items():
        place = (*path, f".{name}") if path else (name,)
        if not hasattr(value, name):
            return Failure(place, kind, Missing)
        if failure := walk(kind, getattr(value, name), place, binder):
            return failure
    return None


class Missing:
    """Stands for the value of a field that an instance does not have."""


# ------------------------------------------------------------------------------------------ trees and unions


def _tree(kind: kinds.Tree, value: Any, path: Path, binder: Binder) -> Failure | None:
    return binder.tree(kind, value, path) if kind.refuses else None


def leaves_of(kind: kinds.Tree, value: Any, binder: Binder) -> Iterator[tuple[str, Any]]:
    """Each leaf of a tree with the way to it; a node that is of the leaf's kind is a leaf."""
    for place, item in jax.tree_util.tree_leaves_with_path(value, _is_leaf(kind, binder)):
        yield steps(place), item


def structure_of(kind: kinds.Tree, value: Any, binder: Binder) -> Any:
    """The structure of a tree whose leaves are those of `leaves_of`."""
    return jax.tree_util.tree_structure(value, _is_leaf(kind, binder))


def _is_leaf(kind: kinds.Tree, binder: Binder) -> Callable[[Any], bool] | None:
    leaf = kind.leaf
    members = leaf.parts if isinstance(leaf, kinds.Union) else (leaf,)
    if not leaf.refuses or all(isinstance(member, _NEVER_NODES) for member in members):
        return None
    loose = _Loose(binder)
    return lambda node: walk(leaf, node, (), loose) is None


_NEVER_NODES = (kinds.Array, kinds.Scalar, kinds.NumpyArray, kinds.NumpyScalar, kinds.Literal)


class _Loose(Binder):
    """Sizes do not decide what a leaf is: one of a wrong size is to be reported, not flattened further."""

    def __init__(self, binder: Binder) -> None:
        super().__init__(binder.returned, binder.numbers, binder.numpy, binder.fields, binder.filtered)
        self.is_instance = binder.is_instance  # type: ignore[method-assign]  # what stands for what is the same
        self.is_number = binder.is_number  # type: ignore[method-assign]  # likewise

    def array(self, kind: kinds.Array, value: Any, path: Path) -> Failure | None:
        good = hasattr(value, "shape") and hasattr(value, "dtype") and kind.takes_dtype(value.dtype)
        return _if(good, kind, value, path)

    def tree(self, kind: kinds.Tree, value: Any, path: Path) -> Failure | None:
        return None

    def attempt(self, kind: Kind, value: Any, path: Path) -> Failure | None:
        return walk(kind, value, path, self)


def _union(kind: kinds.Union, value: Any, path: Path, binder: Binder) -> Failure | None:
    return _one_of(kind, kind.members, value, path, binder)


def _variable(kind: kinds.Variable, value: Any, path: Path, binder: Binder) -> Failure | None:
    members = binder.members(kind)
    return _one_of(kind, members, value, path, binder) if members else None


def _one_of(kind: Kind, members: tuple[Kind, ...], value: Any, path: Path, binder: Binder) -> Failure | None:
    """Leaves first: they leave no binding behind when they fail, a container may."""
    if not all(member.refuses for member in members):
        return None
    causes: list[Failure] = []
    for member in sorted(members, key=lambda member: bool(member.parts)):
        failure = binder.attempt(member, value, path)
        if failure is None:
            return None
        causes.append(failure)
    return _blame(Failure(path, kind, value, causes=tuple(causes)))


def _blame(failure: Failure) -> Failure:
    """The alternative that was meant, where the value leaves no doubt; else all of them."""
    inside = [cause for cause in failure.causes if len(cause.path) > len(failure.path)]
    meant = [cause for cause in failure.causes if cause.kind.hint is not type(None)]
    for candidates in (inside, meant):
        if len(candidates) == 1:
            return candidates[0]
    return failure


_WALKS: dict[type[Kind], Any] = {
    kinds.Anything: _anything,
    kinds.Array: _array,
    kinds.Scalar: _scalar,
    kinds.NumpyScalar: _numpy_scalar,
    kinds.NumpyArray: _numpy_array,
    kinds.Literal: _literal,
    kinds.Callable: _callable,
    kinds.Opaque: _opaque,
    kinds.Class: _class,
    kinds.Tuple: _tuple,
    kinds.Each: _each,
    kinds.Mapping: _mapping,
    kinds.Record: _record,
    kinds.Tree: _tree,
    kinds.Union: _union,
    kinds.Variable: _variable,
}
