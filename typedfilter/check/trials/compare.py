"""A value against an annotation, every element of it, with sizes that may be symbols.

Knows types, dimensions and pytrees; knows nothing of functions, transforms or how values are made.
The run-time check (`_shapes.check`) asks jaxtyping and beartype; a proof has to look further than they do,
into every element of a list and every annotated field of a class, and to say what it found in symbols.
"""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

import jax
import numpy as np
import typing_extensions
from jax import export

from typedfilter.check.inputs import dims, types
from typedfilter.check.inputs.dims import Bindings, DisagreementError

_SEQUENCES: tuple[Any, ...] = (
    list,
    collections.abc.Sequence,
    collections.abc.Iterable,
    collections.abc.Collection,
)
_TOWER: dict[Any, tuple[type, ...]] = {
    float: (float, int),
    complex: (complex, float, int),
    bool: (bool, np.bool_),
}


class MismatchError(Exception):
    """A value does not have its annotated type.

    Attributes:
        path: where in the value: `[0]`, `.hidden`; empty for the value itself.
        expected: the annotation of that place.
        found: what is there.
        why: what exactly disagrees, where the two do not say so themselves.
    """

    def __init__(self, path: str, expected: str, found: str, why: str = "") -> None:
        super().__init__(f"{path or 'the value'}: expected {expected}, found {found}")
        self.path = path
        self.expected = expected
        self.found = found
        self.why = why


class StubError(TypeError):
    """A stand-in for a callable was called with what its annotation does not allow."""


def describe(value: Any) -> str:
    """What a value is, in a line: `float32[b, n]`, `int 3`, `tuple of 2`."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = "np.ndarray " if isinstance(value, (np.ndarray, np.generic)) else ""
        return f"{kind}{types.dtype_text(value.dtype)}[{', '.join(map(str, value.shape))}]"
    if value is None:
        return "None"
    if isinstance(value, (bool, int, float, complex, str)):
        return f"{type(value).__name__} {value!r}"
    name = type(value).__name__
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(describe, value))
        if len(inner) <= 60:
            return f"{name}({inner})" if name not in ("tuple", "list") else f"{name} of {inner or 'nothing'}"
        return f"{name} of {len(value)}"
    if isinstance(value, dict):
        return f"dict of {', '.join(map(repr, value))}" if value else "dict of nothing"
    return f"a {name}"


def check(value: Any, hint: Any, bindings: Bindings, path: str = "", leaf: str = "") -> None:
    """Compare `value` with the type `hint`; bind the names that it is the first to mention.

    Raises:
        MismatchError: at the first place where they disagree; nothing is bound then.
    """
    trial = bindings.copy()
    _check(value, types.plain(hint), trial, path, leaf)
    bindings.take(trial)


def _check(value: Any, hint: Any, bindings: Bindings, path: str, leaf: str) -> None:
    if hint is Any or hint is object:
        return
    if types.is_array(hint):
        _check_array(value, hint, bindings, path, leaf)
    elif types.is_tree(hint):
        _check_tree(value, hint, bindings, path)
    elif isinstance(hint, TypeVar) or _is_union(hint):
        _check_union(value, hint, bindings, path, leaf)
    elif hint is None or hint is type(None):
        _require(value is None, value, hint, path)
    elif (values := types.literal_values(hint)) is not None:
        _require(
            any(value is v or (type(value) is type(v) and value == v) for v in values), value, hint, path
        )
    elif types.callable_parts(hint) is not None:
        _require(callable(value), value, hint, path)
        if bindings.call is not None:
            bindings.call(value, hint, bindings, path)
    elif not _check_container(value, hint, bindings, path, leaf):
        _check_instance(value, hint, bindings, path, leaf)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, type(int | str))


def _require(good: bool, value: Any, hint: Any, path: str) -> None:
    if not good:
        raise MismatchError(path, types.text(hint), describe(value))


def _check_array(value: Any, hint: Any, bindings: Bindings, path: str, leaf: str) -> None:
    expected = types.text(hint)
    kind = hint.array_type
    stands_for_array = isinstance(value, jax.ShapeDtypeStruct) and types.takes_tracers(hint)
    is_kind = stands_for_array or (hasattr(value, "dtype") if kind is Any else isinstance(value, kind))
    if not is_kind:
        raise MismatchError(path, expected, describe(value))
    if not types.allows_dtype(hint, value.dtype):
        raise MismatchError(path, expected, describe(value), f"the dtype is {types.dtype_text(value.dtype)}")
    try:
        dims.match(types.dims_of(hint), value.shape, bindings, leaf)
    except DisagreementError as problem:
        raise MismatchError(path, expected, describe(value), str(problem)) from None


def _check_union(value: Any, hint: Any, bindings: Bindings, path: str, leaf: str) -> None:
    members = _members(hint, bindings)
    problems: list[MismatchError] = []
    for member in members:
        try:
            check(value, member, bindings, path, leaf)
        except MismatchError as problem:
            problems.append(problem)
        else:
            return
    # Of `T | None` the T is what was meant.
    meant = [p for p, m in zip(problems, members, strict=True) if m is not type(None)]
    if len(meant) == 1 and value is not None:
        raise meant[0]
    raise MismatchError(path, types.text(hint), describe(value))


def _members(hint: Any, bindings: Bindings) -> tuple[Any, ...]:
    if isinstance(hint, TypeVar):
        if str(hint) in bindings.members:  # an argument has decided
            return (types.alternatives(hint)[bindings.members[str(hint)]],)
        return hint.__constraints__ or ((hint.__bound__,) if hint.__bound__ is not None else (Any,))
    return tuple(map(types.plain, types.arguments(hint)))


# --------------------------------------------------------------------------------------------------- trees


def _check_tree(value: Any, hint: Any, bindings: Bindings, path: str) -> None:
    leaftype = getattr(hint, "leaftype", Any)
    if leaftype is Any:
        leaves, treedef = jax.tree_util.tree_flatten_with_path(value)
    else:
        leaves, treedef = jax.tree_util.tree_flatten_with_path(value, lambda x: _fits(x, leaftype, bindings))
    if getattr(hint, "structure", None) is not None:
        _check_structure(treedef, hint, bindings, path, value)
    if leaftype is not Any:
        for index, (place, item) in enumerate(leaves):
            check(item, leaftype, bindings, path + jax.tree_util.keystr(place), str(index))


def repeated_classes(value: Any) -> frozenset[type]:
    """The classes whose instances in `value` share dimension names with one another."""
    owners: dict[str, list[type]] = {}
    for instance in _instances(value):
        for name in {
            d.text for h in _own_arrays(type(instance)) for d in types.dims_of(h) if d.kind == "named"
        }:
            owners.setdefault(name, []).append(type(instance))
    return frozenset(cls for classes in owners.values() if len(classes) > 1 for cls in classes)


def _instances(value: Any) -> Iterator[Any]:
    """Every instance of a class with annotated fields in `value`."""
    if isinstance(value, (list, tuple, set, frozenset)):
        inner: list[Any] = list(value)
    elif isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, (jax.Array, np.ndarray, str)):
        return
    else:
        fields = types.fields_of(type(value))
        inner = [getattr(value, name) for name in fields if hasattr(value, name)]
        if fields:
            yield value
    for item in inner:
        yield from _instances(item)


def _own_arrays(hint: Any) -> Iterator[Any]:
    """The arrays in the fields of a class, but not in those of a class that is in a field."""
    for child in types.children(hint):
        child = types.plain(child)
        if types.is_array(child):
            yield child
        elif not types.fields_of(child):
            yield from _own_arrays(child)


def _fits(value: Any, hint: Any, bindings: Bindings) -> bool:
    try:
        # Dimensions do not decide what a leaf is: a wrong one is to be reported, not flattened further.
        check(value, hint, Bindings(arguments=bindings.arguments))
    except MismatchError:
        return False
    return True


def _check_structure(treedef: Any, hint: Any, bindings: Bindings, path: str, value: Any) -> None:
    pieces = hint.structure.split()
    if len(pieces) == 1 and pieces[0] != "...":
        expected = bindings.structures.setdefault(pieces[0], treedef)
        _require_structure(treedef == expected, treedef, expected, hint, path)
        return
    names = [piece for piece in pieces if piece != "..."]
    unknown = [name for name in names if name not in bindings.structures]
    if unknown:
        raise MismatchError(
            path, types.text(hint), describe(value), f"no structure is known for `{unknown[0]}`"
        )
    tree: Any = 0
    for name in names:
        known = bindings.structures[name]
        inner = jax.tree.unflatten(known, [0] * known.num_leaves)
        tree = jax.tree.map(lambda _, inner=inner: inner, tree)
    expected = jax.tree.structure(tree)
    if pieces[0] == "...":
        good = _all_parts_are(treedef, expected)
    elif pieces[-1] == "...":
        good = _begins_with(treedef, expected)
    else:
        good = treedef == expected
    _require_structure(good, treedef, expected, hint, path)


def _require_structure(good: bool, found: Any, expected: Any, hint: Any, path: str) -> None:
    if not good:
        why = f"the structure is {_structure_text(found)}, not {_structure_text(expected)}"
        raise MismatchError(path, types.text(hint), f"a tree {_structure_text(found)}", why)


def _structure_text(treedef: Any) -> str:
    return str(treedef).removeprefix("PyTreeDef(").removesuffix(")")


def _all_parts_are(treedef: Any, part: Any) -> bool:
    tree = treedef.unflatten([0] * treedef.num_leaves)
    parts = jax.tree.leaves(tree, is_leaf=lambda x: jax.tree.structure(x) == part)
    return all(jax.tree.structure(x) == part for x in parts)


def _begins_with(treedef: Any, outer: Any) -> bool:
    try:
        outer.flatten_up_to(treedef.unflatten([0] * treedef.num_leaves))
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------------------------- containers and classes


def _check_container(value: Any, hint: Any, bindings: Bindings, path: str, leaf: str) -> bool:
    """Check a container by its elements; False where `hint` is none."""
    origin, arguments = typing.get_origin(hint), types.arguments(hint)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        items = [item for item in arguments if item != ()]
        _require(isinstance(value, tuple) and len(value) == len(items), value, hint, path)
        _check_each(
            ((f"[{i}]", v, t) for i, (v, t) in enumerate(zip(value, items, strict=True))),
            bindings,
            path,
            leaf,
        )
    elif origin is tuple or (origin in _SEQUENCES and arguments):
        _require(isinstance(value, origin), value, hint, path)
        if not isinstance(value, collections.abc.Collection):
            return True  # an iterator: to look at its elements is to use them up
        _check_each(((f"[{i}]", v, arguments[0]) for i, v in enumerate(value)), bindings, path, leaf)
    elif isinstance(origin, type) and issubclass(origin, collections.abc.Mapping) and len(arguments) == 2:
        _require(isinstance(value, origin), value, hint, path)
        _check_each(((f".keys()[{k!r}]", k, arguments[0]) for k in value), bindings, path, leaf)
        _check_each(((f"[{k!r}]", v, arguments[1]) for k, v in value.items()), bindings, path, leaf)
    elif typing_extensions.is_typeddict(hint):
        _check_typeddict(value, hint, bindings, path, leaf)
    else:
        return False
    return True


def _check_each(parts: Iterator[tuple[str, Any, Any]], bindings: Bindings, path: str, leaf: str) -> None:
    for piece, value, hint in parts:
        check(value, hint, bindings, path + piece, leaf)


def _check_typeddict(value: Any, hint: Any, bindings: Bindings, path: str, leaf: str) -> None:
    required: frozenset[str] = getattr(hint, "__required_keys__", frozenset())
    hints = typing_extensions.get_type_hints(hint)
    _require(isinstance(value, dict) and required <= set(value) <= set(hints), value, hint, path)
    _check_each(((f"[{k!r}]", v, hints[k]) for k, v in value.items()), bindings, path, leaf)


def _check_instance(value: Any, hint: Any, bindings: Bindings, path: str, leaf: str) -> None:
    cls = typing.get_origin(hint) or hint
    if cls is int and not isinstance(value, bool):
        _require(isinstance(value, (int, np.integer)) or export.is_symbolic_dim(value), value, hint, path)
    elif cls in _TOWER:
        symbol = cls is not bool and export.is_symbolic_dim(value)
        _require(symbol or isinstance(value, _TOWER[cls]), value, hint, path)
    elif isinstance(cls, type) and _can_be_asked(cls):
        _require(isinstance(value, cls) or _is_struct_for(value, cls), value, hint, path)
        _check_fields(value, hint, bindings, path, leaf)


def _can_be_asked(cls: type) -> bool:
    """Whether `isinstance` answers for this class (it refuses for most protocols)."""
    try:
        isinstance(None, cls)
    except TypeError:
        return False
    return True


def _is_struct_for(value: Any, cls: type) -> bool:
    return isinstance(value, jax.ShapeDtypeStruct) and issubclass(jax.Array, cls)


def _check_fields(value: Any, hint: Any, bindings: Bindings, path: str, leaf: str) -> None:
    if type(value) in bindings.apart:
        bindings = bindings.of_instance()
    for name, field in types.fields_of(hint).items():
        if not any(True for _ in types.arrays_in(field)):
            continue
        if not hasattr(value, name):
            raise MismatchError(f"{path}.{name}", types.text(field), "nothing")
        check(getattr(value, name), field, bindings, f"{path}.{name}", leaf)
