"""An annotated type in, the node out that checks it.

Knows typing, jaxtyping and beartype: which form of type is walked through, which is asked of
jaxtyping, which of beartype, and which can't be checked at all. Knows nothing of functions or values.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any

import jax
import jaxtyping
import numpy as np
import typing_extensions
from beartype import BeartypeConf
from beartype.door import is_bearable
from beartype.roar import BeartypeException

from typedfilter._reading.hints import class_hints
from typedfilter._reading.markers import is_unpacked
from typedfilter._shapes.nodes import (
    TOWER,
    ArrayNode,
    EachNode,
    MappingNode,
    Node,
    PlainNode,
    RecordNode,
    ScalarNode,
    TreeNode,
    TupleNode,
    UnionNode,
)

_CONF = BeartypeConf(is_pep484_tower=True)
_CONTAINER_MODULES = ("builtins", "collections", "collections.abc")
_UNIONS: tuple[Any, ...] = (typing.Union, types.UnionType)


def node_of(hint: Any, arrays: bool = False) -> Node | None:
    """The node that checks `hint`, or None where there is nothing to check.

    Args:
        hint: a type without our markers.
        arrays: a Python number may arrive as a scalar array (`Traced`, or what a body returns).
    """
    if hint is None:
        hint = type(None)
    if hasattr(hint, "__value__"):  # `type X = ...`, without arguments
        return node_of(hint.__value__, arrays)
    if hasattr(hint, "__supertype__"):  # NewType
        return node_of(hint.__supertype__, arrays)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return node_of(args[0], arrays)
    if origin in _UNIONS:
        return _union(hint, args, arrays)
    if origin is None:
        return _of_class(hint, arrays) if isinstance(hint, type) else _by_beartype(hint)
    if hasattr(origin, "__value__"):  # `type X[T] = ...`, with arguments
        return node_of(origin.__value__[args], arrays)
    return _of_generic(hint, origin, args, arrays)


def _union(hint: Any, args: tuple[Any, ...], arrays: bool) -> Node | None:
    nodes = [node_of(arg, arrays) for arg in args]
    found = [node for node in nodes if node is not None]
    if len(found) < len(nodes):  # one alternative takes anything
        return None
    return UnionNode(hint, tuple(sorted(found, key=lambda node: bool(node.children()))))


def _of_class(hint: type, arrays: bool) -> Node | None:
    if hint is object:
        return None
    if issubclass(hint, jaxtyping.AbstractArray):
        return ArrayNode(hint, _at_body(hint))
    if issubclass(hint, jaxtyping.PyTree):
        return _tree(hint, arrays)
    if hint in TOWER:
        return ScalarNode(hint, arrays)
    if typing_extensions.is_typeddict(hint):
        return _record(hint, dict)
    if issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return _record(hint, hint)
    if issubclass(hint, np.generic) or isinstance(hint, type(jax.numpy.float32)):
        return PlainNode(hint, lambda value: _is_scalar_of(value, hint))
    accepted: Any = (np.ndarray, jax.Array) if hint is np.ndarray else hint
    try:
        isinstance(None, accepted)
    except (TypeError, jaxtyping.AnnotationError):  # a protocol that is not runtime_checkable; a bare `Float`
        return None
    return PlainNode(hint, lambda value: isinstance(value, accepted))


def _is_scalar_of(value: Any, kind: Any) -> bool:
    """`np.float32`, and `jnp.float32`, whose instances are arrays without axes."""
    is_array = isinstance(value, np.generic | np.ndarray | jax.Array) and value.shape == ()
    return is_array and jax.numpy.issubdtype(value.dtype, kind)


def _at_body(hint: Any) -> Any:
    """Under a transform the body receives a tracer for a NumPy array."""
    if hint.array_type is not np.ndarray:
        return hint
    return type(hint)(hint.__name__, (hint,), {"array_type": (np.ndarray, jax.Array)})


def _tree(hint: Any, arrays: bool) -> Node | None:
    if not hasattr(hint, "leaftype"):
        return None
    leaf = node_of(hint.leaftype, arrays)
    structured = hint.structure is not None
    if leaf is None:
        return TreeNode(hint, None, hint) if structured else None
    simple = all(
        isinstance(node, ScalarNode) or (isinstance(node, ArrayNode) and "?" not in node.cls.dim_str)
        for node in (leaf.children() if isinstance(leaf, UnionNode) else (leaf,))
    )
    if not simple:
        return TreeNode(hint, None, hint)
    return TreeNode(hint, leaf, jaxtyping.PyTree[Any, hint.structure] if structured else None)


def _record(hint: Any, origin: type) -> Node:
    nodes = {name: node_of(field.type) for name, field in class_hints(hint).items()}
    fields = tuple((name, node) for name, node in nodes.items() if node is not None and node.binds)
    return RecordNode(hint, origin, fields)


def _of_generic(hint: Any, origin: Any, args: tuple[Any, ...], arrays: bool) -> Node | None:
    if origin is tuple and any(is_unpacked(arg) for arg in args):
        return PlainNode(hint, lambda value: isinstance(value, tuple))
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        return TupleNode(hint, tuple(node_of(arg, arrays) for arg in args))
    if origin is np.ndarray:
        return PlainNode(hint, lambda value: _is_ndarray(value, hint))
    if origin is collections.abc.Callable:
        return PlainNode(hint, callable)
    if origin is type:  # type[X] for typing.Type[X], of which beartype warns
        return _by_beartype(types.GenericAlias(type, args))
    if not isinstance(origin, type):
        return _by_beartype(hint)
    if origin.__module__ in _CONTAINER_MODULES:
        if issubclass(origin, collections.abc.Mapping) and len(args) == 2:
            return MappingNode(hint, origin, node_of(args[0]), node_of(args[1], arrays))
        if issubclass(origin, collections.abc.Collection) and not issubclass(origin, collections.abc.Mapping):
            return EachNode(hint, origin, node_of(args[0], arrays))
    return _of_class(origin, arrays)


def _is_ndarray(value: Any, hint: Any) -> bool:
    if not isinstance(value, np.ndarray | jax.Array):
        return False
    try:
        return _is_bearable(np.empty((0,), value.dtype), hint)
    except TypeError:  # a dtype of JAX's own, such as a key
        return False


def _by_beartype(hint: Any) -> Node | None:
    """Literal, type[X] and the rest of typing. What beartype can't read is not checked."""
    if isinstance(hint, str | typing.ForwardRef | typing.TypeVar) or hint is Any:
        return None
    try:
        is_bearable(None, hint, conf=_CONF)
    except BeartypeException:
        return None
    return PlainNode(hint, lambda value: _is_bearable(value, hint))


def _is_bearable(value: Any, hint: Any) -> bool:
    return is_bearable(value, hint, conf=_CONF)
