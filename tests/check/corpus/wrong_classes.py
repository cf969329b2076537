"""Planted mistakes in classes."""

import dataclasses
import typing

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from typedfilter import Static, filter_jit
from typedfilter.pytree import pytree_dataclass


@pytree_dataclass
class Linear:
    weight: Float[Array, "i o"]
    bias: Float[Array, "o"]

    # failed: got (o,) and (i,)
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.weight @ x + self.bias

    # failed: found: f32[o]
    @property
    def fan_in(self) -> Float[Array, "i"]:
        return self.weight.sum(axis=0)

    # failed: `.bias` of the return value
    @classmethod
    def zeros(cls, like: Float[Array, "i o"]) -> "Linear":
        return cls(jnp.zeros_like(like), jnp.zeros(like.shape[0]))

    # failed: axis 0 is 3, not o = 4
    @staticmethod
    def init(key: Key[Array, ""], i: int = 3, o: int = 4) -> "Linear":
        return Linear(jax.random.normal(key, (i, o)), jnp.zeros(i))

    # failed: f32[b,i]
    @filter_jit
    def jitted(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
        return x * self.weight.sum(axis=1)

    def apply(self, x: Float[Array, "i"]) -> Float[Array, "o"]:  # typedfilter: ignore
        return x @ self.weight + self.bias


# failed: got (i,) and (b,)
def forgot_to_map(model: Linear, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
    return model.weight.T @ x


# failed: (o, i), (i, o)
def transposed_update(params: Linear, grads: Linear) -> Linear:
    return Linear(params.weight.T - grads.weight, params.bias - grads.bias)


# failed: `.weight` of the return value
def transposed_result(params: Linear) -> Linear:
    return Linear(params.weight.T, params.bias)


@pytree_dataclass
class Network:
    first: Linear
    second: Linear

    # failed: found: f32[1,second_o]
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.second.apply(self.first.apply(x))[None]


@pytree_dataclass
class Attention:
    query: Float[Array, "d k"]
    key: Float[Array, "d k"]

    # failed: found: f32[s,k]
    def __call__(self, x: Float[Array, "s d"]) -> Float[Array, "s d"]:
        return jax.nn.softmax(x @ self.query @ (x @ self.key).T, axis=-1) @ (x @ self.query)


@pytree_dataclass
class Stack:
    attention: Attention
    depth: Static[int] = 2

    # failed: (s, d), (s, k)
    def __call__(self, x: Float[Array, "s d"]) -> Float[Array, "s d"]:
        for _ in range(self.depth):
            x = x + x @ self.attention.query
        return x


@dataclasses.dataclass
class Plain:
    scale: Float[Array, "n"]

    # failed: (m, n), (n, n)
    def __call__(self, x: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return x + jnp.diag(self.scale)


class Module(eqx.Module):
    weight: Float[Array, "o i"]
    bias: Float[Array, "o"] | None

    # failed: `.bias` of the return value
    def __init__(self, key: Key[Array, ""], i: int = 2, o: int = 3):
        self.weight = jax.random.normal(key, (o, i))
        self.bias = jnp.zeros(i)

    # failed: self.bias: None
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.weight @ x + self.bias


# failed: `[0].weight` of the return value
def swapped(params: Linear) -> tuple[Linear, Linear]:
    return Linear(params.weight.T, params.bias), params


# failed: `[1].bias` of the return value
def two_layers(key: Key[Array, ""], n: int = 3, m: int = 4) -> tuple[Linear, Linear]:
    return Linear(jnp.zeros((n, m)), jnp.zeros(m)), Linear(jnp.zeros((m, n)), jnp.zeros(m))


class Mean:
    # failed: 1 axis, not 0
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return x


class Offset:
    # proved
    def __init__(self, by: Float[Array, "n"]) -> None:
        self.by = by

    # failed: found: f32[1,n]
    def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return (x + self.by)[None]


class Partly(eqx.Module):
    linear: eqx.nn.Linear
    gain: Float[Array, "n"]

    # failed: found: f32[1,n]
    def norm(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.gain[None] * x


class Loss(typing.Protocol):
    def __call__(self, w: Float[Array, "p"], *, x: Float[Array, "i"]) -> Float[Array, ""]: ...


# failed: argument 1 of `loss` is f32[b,i]
def a_protocol_by_name(loss: Loss, w: Float[Array, "p"], x: Float[Array, "b i"]) -> Float[Array, ""]:
    return loss(w, x=x)


# failed: `loss`, which is (w, *, x): missing a required
def a_protocol_without_an_argument(loss: Loss, w: Float[Array, "p"]) -> Float[Array, ""]:
    return loss(w)  # type: ignore[call-arg]


class Distribution(typing.Protocol):
    def sample(self, key: Key[Array, ""]) -> Float[Array, "n"]: ...


# failed: found: f32[n]
def a_protocol_with_methods(d: Distribution, key: Key[Array, ""]) -> Float[Array, ""]:
    return d.sample(key)


# failed: 'Distribution' object has no attribute 'mode'
def what_a_protocol_lacks(d: Distribution, key: Key[Array, ""]) -> Float[Array, "n"]:
    return d.mode(key)  # type: ignore[attr-defined, no-any-return]


class Rows:
    # proved
    def __init__(self, *rows: Float[Array, "n"]) -> None:
        self.rows = rows


# failed: 2 axes, not 1
def a_column(rows: Rows) -> Float[Array, "n"]:
    return rows.rows[0][:, None]


class Weight(eqx.Module):
    matrix: Float[Array, "m d"]


# failed: got (d,) and (m,)
def turned_beside_another(one: Weight, two: Weight, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    return jnp.tanh(x @ one.matrix) @ two.matrix.T


class Two(eqx.Module):
    first: Weight
    second: Weight

    # failed: got (d,) and (m,)
    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n m"]:
        return jnp.tanh(x @ self.first.matrix) @ self.second.matrix.T

    # failed: axis 0 is d, not m
    def last_turned(self, x: Float[Array, "d"]) -> Float[Array, "m"]:
        return self.second.matrix.T @ jnp.tanh(self.first.matrix @ x)

    # failed: axis 0
    def rows_turned(self, x: Float[Array, "n d"]) -> Float[Array, "n m"]:
        return (jnp.tanh(x @ self.first.matrix.T) @ self.second.matrix.T).T
