"""What every program of the laws starts with: pytrees, arrays by name, comparison by all that shows.

A program that failed is printed with this file in front of it: it imports nothing of the tests.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import inspect
import ipaddress
import math
import operator
import os
import pathlib
import re
import statistics
import time
import types
import typing
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Inexact, Int, Num, PyTree, Shaped

import typedfilter as tf
from typedfilter import Diff, Donate, NoDiff, Static, Traced, VmapAxis, filter_jit, pytree_dataclass

IMPORTED = (
    *(collections, datetime, decimal, fractions, inspect, ipaddress, operator, os, pathlib, re, statistics),
    *(time, types, typing, uuid, zoneinfo, Annotated, Literal, Array, ArrayLike, filter_jit, tf),
    *(Bool, Float, Inexact, Int, Num, PyTree, Shaped, Diff, Donate, Traced, VmapAxis, functools),
)

# ------------------------------------------------------------------------------------------------- arrays


def numbers(dtype: str, shape: tuple[int, ...], seed: int = 1) -> np.ndarray[Any, Any]:
    """A NumPy array of small numbers that every dtype holds exactly."""
    count = math.prod(shape)
    return np.reshape((np.arange(count) * 3 + seed) % 4, shape).astype(jnp.dtype(dtype))


def array(dtype: str, shape: tuple[int, ...], seed: int = 1) -> Array:
    return jnp.asarray(numbers(dtype, shape, seed))


def keys(count: int) -> Array:
    return jax.random.split(jax.random.key(count), count)


SHARED = jnp.arange(3.0)  # the same object wherever a tree holds it
SHARED_NUMBER = 0.375

# ------------------------------------------------------------------------------------------------- pytrees


class Pair(NamedTuple):
    a: Any
    b: Any


@functools.partial(jax.tree_util.register_dataclass, data_fields=["a", "b"], meta_fields=["name"])
@dataclasses.dataclass(frozen=True)
class Frozen:
    a: Any
    b: Any
    name: str = "frozen"


@functools.partial(jax.tree_util.register_dataclass, data_fields=["a", "b"], meta_fields=["name"])
@dataclasses.dataclass(frozen=True)
class Twin:
    """To JAX's treedefs the same as `Frozen`."""

    a: Any
    b: Any
    name: str = "frozen"


@jax.tree_util.register_pytree_with_keys_class
class Keyed:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b

    def tree_flatten_with_keys(self) -> Any:
        key = jax.tree_util.GetAttrKey
        return ((key("a"), self.a), (key("b"), self.b)), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> Any:
        return cls(*children)


class ByHand:
    """Registered without keys; `a` is frozen by its annotation."""

    a: NoDiff[Any]
    b: Any

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


jax.tree_util.register_pytree_node(ByHand, lambda node: ((node.a, node.b), None), lambda _, ab: ByHand(*ab))


@pytree_dataclass
class Model:
    a: Any
    b: Any
    n: Static[Any] = 2


@pytree_dataclass
class Fixed:
    a: NoDiff[Any]
    b: Any


class Module(eqx.Module):
    a: Any
    b: Any
    n: Any = eqx.field(static=True, default=1.0)


class Struct(flax.struct.PyTreeNode):
    a: Any
    b: Any
    n: Any = flax.struct.field(pytree_node=False, default=True)


# ------------------------------------------------------------------------------------------- static values


class Colour(enum.Enum):
    RED = 1
    ONE = "1"


class Level(enum.IntEnum):
    ZERO = 0
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Config:
    gain: Any
    names: Any = ()


@dataclasses.dataclass(unsafe_hash=True)
class Changeable:
    gain: Any


class Liar:
    """Equal to all of its class whose numbers are equal, 1 and True among them."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Liar) and self.value == other.value

    def __hash__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return f"Liar({self.value!r})"


def double(x: Any) -> Any:
    return x * 2


# ----------------------------------------------------------------------------------------------- comparison


def is_array(leaf: Any) -> bool:
    """What is traced unless an annotation says otherwise: written independently of the library."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic) and (
        jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        or jnp.issubdtype(leaf.dtype, np.number)
        or leaf.dtype == bool
    )


def is_inexact(leaf: Any) -> bool:
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, np.inexact)


def told(value: Any) -> str:
    """All that a program can tell of a static value."""
    shown = re.sub(" at 0x[0-9a-f]+", "", repr(value))
    return f"{type(value).__module__}.{type(value).__qualname__} {shown} {more(value)}"


def more(value: Any) -> Any:
    """What the text of some values does not tell."""
    if isinstance(value, uuid.UUID):
        return value.is_safe
    if isinstance(value, time.struct_time):
        return value.tm_zone, value.tm_gmtoff
    if isinstance(value, memoryview):
        return value.format, value.shape, bytes(value)
    if isinstance(value, datetime.datetime | datetime.time):
        return value.fold, value.tzinfo
    if isinstance(value, types.CodeType):
        return value.co_filename
    if isinstance(value, Liar):
        return told(value.value)
    if isinstance(value, tuple | list | frozenset):
        return [told(one) for one in value]
    return sorted(vars(value)) if dataclasses.is_dataclass(value) else ""


def data_of(leaf: Any) -> Any:
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).astype(np.complex128 if jnp.issubdtype(leaf.dtype, np.complexfloating) else float)


def is_weak(leaf: Any) -> bool:
    return getattr(leaf, "weak_type", False)


def agree(ours: Any, right: Any, *, weak: bool = True) -> None:
    """Fail unless both are one tree: classes, dtypes, weak types, numbers, and all that is static."""
    assert str(jax.tree.structure(ours)) == str(jax.tree.structure(right)), (ours, right)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(right), strict=True):
        assert is_array(one) == is_array(other), (one, other)
        if not is_array(one):
            assert told(one) == told(other)
            continue
        one, other = jnp.asarray(one), jnp.asarray(other)
        assert (one.shape, one.dtype) == (other.shape, other.dtype), (one, other)
        assert not weak or is_weak(one) == is_weak(other), (one, other)
        tolerance = 2e-2 if one.dtype.itemsize < 4 else 1e-5
        np.testing.assert_allclose(data_of(one), data_of(other), rtol=tolerance, atol=tolerance)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or that it raises."""
    try:
        return call()
    except Exception as error:
        return Raised(error)


@dataclasses.dataclass
class Raised:
    error: Exception


def agree_or_raise(ours: Any, right: Any, **how: Any) -> None:
    """`agree`, where what JAX refuses is refused."""
    if isinstance(right, Raised):
        assert isinstance(ours, Raised), f"JAX raised {right.error!r}, and this returned {ours}"
        return
    if isinstance(ours, Raised):
        raise ours.error
    agree(ours, right, **how)


# -------------------------------------------------------------------------------- what plain JAX would say


class Parts:
    """A tree taken apart by hand: the chosen leaves, and how to put others into their places."""

    def __init__(self, tree: Any, choose: Callable[[Any], bool] = is_array) -> None:
        self.leaves, self.treedef = jax.tree.flatten(tree)
        self.at = [i for i, leaf in enumerate(self.leaves) if choose(leaf)]
        self.chosen = [jnp.asarray(self.leaves[i]) for i in self.at]

    def put(self, chosen: Any) -> Any:
        leaves = list(self.leaves)
        for i, leaf in zip(self.at, chosen, strict=True):
            leaves[i] = leaf
        return self.treedef.unflatten(leaves)

    def alone(self, chosen: Any) -> Any:
        leaves: list[Any] = [None] * len(self.leaves)
        for i, leaf in zip(self.at, chosen, strict=True):
            leaves[i] = leaf
        return self.treedef.unflatten(leaves)


def plain(transform: Callable[[Any], Any], fn: Callable[..., Any], *args: Any) -> Any:
    """`transform(fn)(*args)` with a transform of JAX's, of the arrays alone; the rest is put around."""
    parts, results = Parts(args), []

    def of_arrays(*arrays: Any) -> Any:
        results[:] = [Parts(fn(*parts.put(arrays)))]
        return results[0].chosen

    arrays = transform(of_arrays)(*parts.chosen)
    return results[0].put(arrays)


def plain_grad(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """The gradient for the inexact leaves of the first argument; None for others, and below NoDiff."""
    parts = Parts(tree, is_inexact)
    fixed = fixed_leaves(tree)
    parts.at = [i for i in parts.at if i not in fixed]
    parts.chosen = [jnp.asarray(parts.leaves[i]) for i in parts.at]
    if not parts.chosen:
        return parts.alone([])
    grads = jax.grad(lambda chosen: fn(parts.put(chosen), *rest))(parts.chosen)
    return parts.alone(grads)


def fixed_leaves(tree: Any) -> set[int]:
    """The places of the leaves below a field that is marked NoDiff."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, ByHand | Fixed))
    places: set[int] = set()
    at = 0
    for node in nodes:
        if not isinstance(node, ByHand | Fixed):
            at += 1
            continue
        first = len(jax.tree.leaves(node.a))
        places |= set(range(at, at + first))
        places |= {at + first + place for place in fixed_leaves(node.b)}
        at += len(jax.tree.leaves(node))
    return places


# ------------------------------------------------------------------------------ what a parameter's role says


def seen(tree: Any) -> list[str]:
    """How the leaves of an argument look from inside of the body."""
    return ["traced" if isinstance(leaf, jax.core.Tracer) else told(leaf) for leaf in jax.tree.leaves(tree)]


def expected(role: str, value: Any) -> Any:
    """What a jitted body is to return of an argument, beside what it has `seen`, in a role."""
    leaves = jax.tree.leaves(value)
    traced = [role == "traced" or (role == "leaf" and is_array(leaf)) for leaf in leaves]
    arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf) if role == "traced" else leaf, value)
    return arrays, [
        "traced" if is_traced else told(leaf) for is_traced, leaf in zip(traced, leaves, strict=True)
    ]


def values_of(returned: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, (value, _) in returned.items()}


def sliced(axis: int | None, value: Any, i: int) -> Any:
    if axis is None:
        return value

    def example(leaf: Any) -> Any:  # by index: JAX 0.7 can't `take` from an array of keys
        return jnp.asarray(leaf)[(slice(None),) * (axis % leaf.ndim) + (i,)] if is_array(leaf) else leaf

    return jax.tree.map(example, value)


def by_example(fn: Callable[..., Any], axes: dict[str, Any], args: dict[str, Any], unpack: Any) -> Any:
    """What a map over 3 examples is: the function once for each, and the results side by side."""
    results = [
        fn(*unpack({name: sliced(axes[name], value, i) for name, value in args.items()})) for i in range(3)
    ]
    return jax.tree.map(lambda *ones: jnp.stack(ones) if is_array(ones[0]) else ones[0], *results)


def as_arrays(tree: Any) -> Any:
    return jax.tree.map(jnp.asarray, tree)


def fresh(args: dict[str, Any]) -> list[Any]:
    """Arguments that nobody else holds: they may be donated."""
    return [jax.tree.map(lambda leaf: leaf.copy() if is_array(leaf) else leaf, arg) for arg in args.values()]


# ------------------------------------------------------------------------------------------------- layers


def jax_layer(transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A transform of JAX's own, around a function of a tree and an array."""
    return lambda fn: lambda tree, x: plain(transform, fn, tree, x)


def jax_vmap(fn: Callable[..., Any]) -> Callable[..., Any]:
    def mapped(tree: Any, x: Any) -> Any:
        axes = (None,) * len(Parts(tree).chosen) + (0,)
        return plain(lambda fn: jax.vmap(fn, in_axes=axes), fn, tree, x)

    return mapped


def scanned(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: tf.filter_scan(lambda carry, one: (carry, fn(tree, one)), jnp.float32(0), x)[1]


def chosen(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: tf.filter_cond(jnp.sum(x) < 100, fn, fn, tree, x)


def pushed(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: tf.filter_jvp(lambda x: fn(tree, x), (x,), (jnp.ones_like(x),))[0]


def pulled(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: tf.filter_vjp(lambda x: fn(tree, x), x)[0]


def totalled(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: total(fn(tree, x))


def converted(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: tf.filter_closure_convert(fn, tree, x)(tree, x)


def same(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


def plain_grads(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: plain_grad(fn, tree, x)


def plain_value_and_grads(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, x: (fn(tree, x), plain_grad(fn, tree, x))


# ------------------------------------------------------------------------------------------------- bodies


def change(tree: Any, *rest: Any) -> Any:
    """Another tree: each array twice, or joined to itself, and the rest as it came."""

    def twice(leaf: Any) -> Any:
        if not is_array(leaf):
            return leaf
        leaf = jnp.asarray(leaf)
        return leaf + leaf if is_inexact(leaf) else jnp.stack([leaf, leaf])

    return {
        "changed": jax.tree.map(twice, tree),
        "told": [told(leaf) for leaf in statics_of(tree)],
        "rest": rest,
    }


def statics_of(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if not is_array(leaf)]


def total(tree: Any, *rest: Any) -> Any:
    """A number to which every number of the tree counts, each array otherwise."""
    found = jnp.float32(0)
    for i, leaf in enumerate(jax.tree.leaves((tree, rest))):
        if isinstance(leaf, bool | int | float | complex):
            leaf = jnp.asarray(leaf)  # loops and branches trace numbers: they count as arrays do
        if is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jnp.asarray(leaf)
            leaf = jnp.real(leaf) + jnp.imag(leaf) if jnp.iscomplexobj(leaf) else leaf
            found = found + jnp.sum(jnp.sin(leaf.astype(jnp.float32))) * (i + 1)
    return found
