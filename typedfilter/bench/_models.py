"""The pytrees that are passed to what is measured: of many leaves, each in the ways that JAX users have.

Knows nothing of timing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from typedfilter import Static, pytree_dataclass


def mixed_tree(leaves: int) -> dict[str, tuple[Array, object]]:
    """`leaves` leaves: half of them arrays, the others functions and ints in turn."""
    return {f"layer{i:05d}": (jnp.ones(2), jnp.tanh if i % 2 else i) for i in range(leaves // 2)}


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Node:
    """How one passes a value that is no array to `jax.jit` by hand: as a static field."""

    array: Any
    value: Any = dataclasses.field(metadata={"static": True})


def as_nodes(tree: dict[str, tuple[Array, object]]) -> dict[str, Node]:
    """The same leaves as `mixed_tree`, those that are no arrays in static fields."""
    return {name: Node(*pair) for name, pair in tree.items()}


# ---------------------------------------------------------------------------- modules flattened in Python


@dataclasses.dataclass(frozen=True)
class PythonLinear:
    """A layer whose flattening is Python code, as that of many libraries is."""

    weight: Any
    bias: Any


@dataclasses.dataclass(frozen=True)
class PythonMLP:
    """A multi-layer perceptron of such layers."""

    layers: Any
    activation: Any
    final_activation: Any


def _register(cls: type[Any]) -> None:
    names = [field.name for field in dataclasses.fields(cls)]

    def flatten(module: Any) -> tuple[list[Any], None]:
        return [getattr(module, name) for name in names], None

    def flatten_with_keys(module: Any) -> tuple[list[tuple[Any, Any]], None]:
        return [(jax.tree_util.GetAttrKey(name), getattr(module, name)) for name in names], None

    def unflatten(_: None, children: Any) -> Any:
        module = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(module, name, child)
        return module

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


_register(PythonLinear)
_register(PythonMLP)


def python_module(layers: int) -> PythonMLP:
    """A multi-layer perceptron: two arrays a layer, and two activation functions."""
    linear = tuple(PythonLinear(jnp.ones((4, 4)), jnp.ones(4)) for _ in range(layers))
    return PythonMLP(linear, jax.nn.relu, jnp.tanh)


def equinox_mlp(equinox: Any, layers: int) -> Any:
    """Equinox's own multi-layer perceptron, of the same leaves."""
    return equinox.nn.MLP(4, 4, 4, layers - 1, key=jax.random.key(0))


# ------------------------------------------------------------------------------- models that are annotated


@pytree_dataclass
class Layer:
    """A layer as typedfilter wants it: what is static says so."""

    weight: Float[Array, "out in"]
    bias: Float[Array, "out"]
    activation: Static[Callable[[Array], Array]]
    width: Static[int]


@pytree_dataclass
class Model:
    """Layers of arrays, and nothing that a call would have to look at."""

    layers: list[Layer]


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class DataclassLayer:
    """The same layer for JAX alone."""

    weight: Float[Array, "out in"]
    bias: Float[Array, "out"]
    activation: Callable[[Array], Array] = dataclasses.field(metadata={"static": True})
    width: int = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class PlainModel:
    """The same model for JAX alone."""

    layers: list[DataclassLayer]


def model(layers: int) -> Model:
    """Two arrays a layer, and two static fields."""
    return Model([Layer(jnp.ones((4, 4)), jnp.ones(4), jax.nn.relu, i) for i in range(layers)])


def dataclass_model(layers: int) -> PlainModel:
    """The same in classes registered with `jax.tree_util.register_dataclass`."""
    made = [DataclassLayer(jnp.ones((4, 4)), jnp.ones(4), jax.nn.relu, i) for i in range(layers)]
    return PlainModel(made)
