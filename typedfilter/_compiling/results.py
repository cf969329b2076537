"""What a compiled function returns that is not only arrays, on its way out of JAX.

To JAX a result is a node of arrays with a token for the rest, which is kept as long as the program that
returns it. A frozen model in a result is known again when it comes back as an argument.
"""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import jax.core

from typedfilter._compiling.packing import StaticPart, pack
from typedfilter._compiling.remembered import can_change, remember
from typedfilter._compiling.tokens import Kept, Token
from typedfilter._values.dictionaries import Step, follow
from typedfilter._values.fresh import fresh, is_changeable, refuse_used_up
from typedfilter._values.leaves import is_array
from typedfilter._values.split import Rest, getter, split_where
from typedfilter.errors import TypedFilterError

_config: Any = jax.config  # whose flags no type checker sees


class _ResultRest:
    """The rest of a packed result, which nobody else may hold; nor any object in it that could be changed.

    A frozen model in a result is known when it comes back as an argument: of what it is made is known here.
    """

    __slots__ = ("__weakref__", "_changeable", "_in_order", "_models", "rest")

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self._changeable = any(map(is_changeable, rest.others))
        # Of all arrays and then all others the leaves, by one look-up for all.
        places = {at: i for i, at in enumerate((*rest.taken_at, *rest.others_at))}
        self._in_order = getter([places[at] for at in range(len(places))])
        self._models: list[_Model] | None = None  # not looked for yet

    def join(self, arrays: Sequence[Any]) -> Any:
        rest = self.rest
        others = map(fresh, rest.others) if self._changeable else rest.others
        out = rest.treedef.unflatten(self._in_order((*arrays, *others)))
        if self._models is None:
            self._models = list(_models_in(out, self.rest))
        if self._models and not any(issubclass(cls, jax.core.Tracer) for cls in set(map(type, arrays))):
            for get, take, part in self._models:
                remember(get(out), take(arrays), part)
        return out


# Looked up and not compared: a metaclass may call all classes equal.
_CONTAINERS = frozenset((tuple, list, dict))
_Model: TypeAlias = "tuple[Callable[[Any], Any], Callable[[Any], tuple[Any, ...]], StaticPart]"
"""A frozen model in a result: how to get there, which of the arrays are its own, and the rest of it."""


def _models_in(out: Any, rest: Rest) -> Iterator[_Model]:
    """The frozen models that a result is, or that stand in containers of it."""
    places = {at: i for i, at in enumerate(rest.taken_at)}
    for steps, node, first in _nodes_in(out, (), 0):
        if can_change(node):
            continue
        packed = pack(Kept(), node)
        part = packed.part
        taken = [] if part is None else [places.get(first + at) for at in part.layout.taken_at]
        positions = [place for place in taken if place is not None]
        if part is not None and len(positions) == len(taken):
            yield functools.partial(follow, steps), getter(positions), part


def _nodes_in(node: Any, steps: tuple[Step, ...], first: int) -> Iterator[tuple[tuple[Step, ...], Any, int]]:
    """Each node below containers of Python's own, with the way there and how many leaves are before it."""
    if type(node) not in _CONTAINERS:
        yield steps, node, first
        return
    for key in sorted(node) if isinstance(node, dict) else range(len(node)):
        yield from _nodes_in(node[key], (*steps, operator.itemgetter(key)), first)
        first += len(jax.tree.leaves(node[key]))


Results: TypeAlias = "weakref.WeakKeyDictionary[Token, _ResultRest | _StaticValue]"
"""What the programs of one body return, as long as that is there, and JAX has a program with the token."""


class PackedResult:
    """What a traced body returns where that is not only arrays.

    To JAX it holds nothing but arrays, in whatever way JAX takes it apart: a program whose result has other
    leaves is called by way of Python each time.
    """

    __slots__ = ("arrays", "token")

    def __init__(self, token: Token, arrays: Sequence[Any]) -> None:
        self.token = token
        self.arrays = arrays


class OpenResult:
    """A result whose structure JAX sees, as its only child: places are given for parts of it."""

    __slots__ = ("tree",)

    def __init__(self, tree: Any) -> None:
        self.tree = tree


class _StaticLeaf:
    """In an open result, in the place of a leaf that is no array."""

    __slots__ = ("token",)

    def __init__(self, token: Token) -> None:
        self.token = token


class _StaticValue:
    """What a static leaf stands for."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Any) -> None:
        self.value = value


jax.tree_util.register_pytree_node(
    OpenResult, lambda result: ((result.tree,), None), lambda _, children: OpenResult(*children)
)
jax.tree_util.register_pytree_node(
    _StaticLeaf, lambda leaf: ((), leaf.token), lambda token, _: _StaticLeaf(token)
)
jax.tree_util.register_pytree_node(PackedResult, lambda packed: (packed.arrays, packed.token), PackedResult)


def unpack_result(value: Any) -> Any:
    """What a body returned; anything that is not packed comes back as it is."""
    if type(value) is OpenResult:
        return closed(value)
    return _held(value.token).join(value.arrays) if type(value) is PackedResult else value


def _held(token: Token) -> Any:
    found = token.get()
    if found is None:
        raise TypedFilterError(
            "a program returned what belongs to a function that is gone",
            expected="the function, or its jitted wrapper, to live as long as what was compiled from it",
            fix="keep a reference to the jitted function",
        )
    return found


class Opened:
    """Takes the open results of one engine: as quickly as may be, while no trace has had another leaf."""

    __slots__ = ("had_static",)

    def __init__(self) -> None:
        self.had_static = False

    def __call__(self, result: OpenResult) -> Any:
        return closed(result) if self.had_static else result.tree


def closed(result: OpenResult) -> Any:
    """The tree of an open result, with its static leaves."""

    def static(leaf: Any) -> bool:
        return type(leaf) is _StaticLeaf

    leaves, treedef = jax.tree_util.tree_flatten(result.tree, is_leaf=static)
    if not any(map(static, leaves)):
        return result.tree
    whole = [fresh(_held(leaf.token).value) if static(leaf) else leaf for leaf in leaves]
    return jax.tree_util.tree_unflatten(treedef, whole)


def pack_output(results: Results, tree: Any, function: str) -> Any:
    """What a traced body returns to JAX: the tree itself where it holds arrays only, else packed.

    Args:
        results: keeps what a program returns; lives as long as the body that is traced.
        tree: what the body returned.
        function: its name, for messages.

    Raises:
        StaticArgumentError: there is something that could be used once only.
    """
    arrays, rest = split_where(tree, is_array)
    for leaf in rest.others:
        refuse_used_up(leaf, function)
    if not rest.others or _config.jax_disable_jit:  # then nobody flattens it
        return tree
    held = _ResultRest(rest)
    token = Token(held)
    results[token] = held
    return PackedResult(token, arrays)


def open_output(opened: Opened, results: Results, tree: Any, function: str) -> OpenResult:
    """As `pack_output`, with the structure left as it is."""

    def leaf(value: Any) -> Any:
        if is_array(value):
            return value
        refuse_used_up(value, function)
        opened.had_static = True
        held = _StaticValue(value)
        token = Token(held)
        results[token] = held
        return _StaticLeaf(token)

    return OpenResult(jax.tree_util.tree_map(leaf, tree))
