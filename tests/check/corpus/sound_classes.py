"""Sound classes: their instances are built from the annotations of their fields."""

import dataclasses
import itertools
import typing
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, jaxtyped

import typedfilter
from typedfilter import NoDiff, Static, filter_jit, filter_vmap
from typedfilter.pytree import pytree_dataclass


@pytree_dataclass
class Linear:
    weight: Float[Array, "i o"]
    bias: Float[Array, "o"]

    # proved
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return x @ self.weight + self.bias

    # proved
    @property
    def norm(self) -> Float[Array, ""]:
        return jnp.linalg.norm(self.weight)

    # proved
    @classmethod
    def zeros(cls, like: Float[Array, "i o"]) -> "Linear":
        return cls(jnp.zeros_like(like), jnp.zeros(like.shape[1]))

    # proved
    @staticmethod
    def init(key: Key[Array, ""], i: int = 3, o: int = 4) -> "Linear":
        return Linear(jax.random.normal(key, (i, o)), jnp.zeros(o))

    # proved
    @filter_jit
    def jitted(self, x: Float[Array, "*batch i"]) -> Float[Array, "*batch o"]:
        return x @ self.weight + self.bias

    # proved
    def transposed(self) -> Float[Array, "o i"]:
        return self.weight.T


# proved
def batched(model: Linear, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
    return jax.vmap(model)(x)


# proved
def sgd(params: Linear, grads: Linear, rate: float = 0.1) -> Linear:
    return jax.tree.map(lambda p, g: p - rate * g, params, grads)


@pytree_dataclass
class Network:
    first: Linear
    second: Linear
    activation: Static[Callable[[Array], Array]] = jax.nn.relu

    # proved
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.second(self.activation(self.first(x)))


@pytree_dataclass
class Deep:
    layers: list[Linear]

    # proved
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        for layer in self.layers:
            x = layer(x)
        return x


# proved
def autoencoder(encode: Linear, decode: Linear, x: Float[Array, "b i"]) -> Float[Array, "b i"]:
    return batched(decode, batched(encode, x))


@pytree_dataclass
class Attention:
    query: Float[Array, "d d"]
    key: Float[Array, "d d"]

    # proved
    def __call__(self, x: Float[Array, "s d"]) -> Float[Array, "s d"]:
        return jax.nn.softmax(x @ self.query @ (x @ self.key).T, axis=-1) @ x


@pytree_dataclass
class Block:
    attention: Attention
    up: Float[Array, "d h"]
    down: Float[Array, "h d"]
    depth: Static[int] = 2

    # proved
    def __call__(self, x: Float[Array, "s d"]) -> Float[Array, "s d"]:
        for _ in range(self.depth):
            x = x + self.attention(x)
            x = x + jax.nn.gelu(x @ self.up) @ self.down
        return x


@dataclasses.dataclass
class Plain:
    scale: Float[Array, "n"]
    frozen: NoDiff[Float[Array, "n"]]

    # proved
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.scale + self.frozen


@typedfilter.check.example(steps=3)
@pytree_dataclass
class Repeated:
    weight: Float[Array, "n n"]
    steps: Static[int]

    # proved
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        for _ in range(self.steps):
            x = self.weight @ x
        return x


class Module(eqx.Module):
    weight: Float[Array, "o i"]
    bias: Float[Array, "o"] | None
    use_bias: bool = eqx.field(static=True)

    # proved
    def __init__(self, key: Key[Array, ""], i: int = 2, o: int = 3, use_bias: bool = True):
        self.weight = jax.random.normal(key, (o, i))
        self.bias = jnp.zeros(o) if use_bias else None
        self.use_bias = use_bias

    # proved
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        y = self.weight @ x
        return y if self.bias is None else y + self.bias


class Stateful(eqx.Module):
    count: Int[Array, ""]
    module: Module

    # proved
    def update(self, x: Float[Array, "i"]) -> tuple["Stateful", Float[Array, "o"]]:
        return Stateful(self.count + 1, self.module), self.module(x)


# proved
@jaxtyped(typechecker=None)
def already_jaxtyped(model: Module, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
    return jax.vmap(model)(x)


@pytree_dataclass
class Recursive:
    value: Float[Array, "n"]
    next: "Recursive | None" = None

    # proved
    def total(self) -> Float[Array, "n"]:
        return self.value if self.next is None else self.value + self.next.total()


class Base:
    # proved
    def __init__(self, matrix: Float[Array, "n m"]) -> None:
        self.matrix = matrix

    # proved
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "m"]:
        return x @ self.matrix


# proved
def two_layers(key: Key[Array, ""], n: int = 3, m: int = 4) -> tuple[Linear, Linear]:
    first, second = jax.random.split(key)
    return Linear.init(first, n, m), Linear.init(second, m, n)


# proved
@typedfilter.check.example(sizes=(4, 3, 2))
def init_deep(key: Key[Array, ""], sizes: tuple[int, ...]) -> Deep:
    keys = jax.random.split(key, len(sizes) - 1)
    return Deep([Linear.init(k, i, o) for k, (i, o) in zip(keys, itertools.pairwise(sizes), strict=True)])


# proved
def sgd_deep(params: Deep, grads: Deep) -> Deep:
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)


# proved
@filter_jit
@filter_vmap(in_axes=(None, 0))
def mapped_deep(model: Deep, batch: Float[Array, "batch i"]) -> Float[Array, "batch o"]:
    return filter_vmap(model)(batch)


class Squared:
    # proved
    def __call__(self, x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, ""]:
        return ((x - y) ** 2).sum()


# proved
def with_a_stateless_class(loss: Squared, x: Float[Array, "n"]) -> Float[Array, ""]:
    return loss(x, x)


class Scaled:
    weight: Float[Array, "n"]

    # proved
    def __init__(self, weight: Float[Array, "n"], scale: float = 2.0) -> None:
        self.weight, self.scale = weight, scale

    # proved: with self.scale=2.0
    def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.scale * self.weight * x


class Heir(Scaled):
    # proved
    def twice(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.apply(self.apply(x))


class Normed(eqx.Module):
    linear: eqx.nn.Linear
    gain: Float[Array, "n"]

    # proved
    def norm(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.gain * x / jnp.linalg.norm(x)


class Loss(typing.Protocol):
    def __call__(
        self, w: Float[Array, "p"], x: Float[Array, "i"], *, train: bool = False
    ) -> Float[Array, ""]: ...


# proved
def a_protocol_by_name(loss: Loss, w: Float[Array, "p"], x: Float[Array, "b i"]) -> Float[Array, "b"]:
    return jax.vmap(lambda row: loss(x=row, w=w, train=True))(x) + loss(w, x[0])


class Distribution(typing.Protocol):
    mean: Float[Array, "n"]

    @property
    def scale(self) -> Float[Array, ""]: ...
    def sample(self, key: Key[Array, ""]) -> Float[Array, "n"]: ...
    @staticmethod
    def log_prob(x: Float[Array, "n"]) -> Float[Array, ""]: ...


# proved
def a_protocol_with_methods(d: Distribution, key: Key[Array, ""]) -> Float[Array, ""]:
    return d.scale * d.log_prob(d.sample(key) - d.mean)


class Stretched:
    def __init__(self, lengths: list[float] | float = 1.0) -> None:
        self.lengths = jnp.asarray(lengths)

    # proved: with instances as their constructors make them
    def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x / self.lengths


class Options(typing.TypedDict):
    gain: Float[Array, ""]


class Configured(eqx.Module):
    options: Options
    shift: Float[Array, "n"]


# proved: for all sizes
def with_a_typed_dict_in_a_field(model: Configured, x: Float[Array, "n"]) -> Configured:
    return Configured(model.options, model.shift + x)


class Weight(eqx.Module):
    matrix: Float[Array, "m d"]


# proved: for all sizes; `k` may be any size
def back_again(encoder: Weight, decoder: Weight, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    return jnp.tanh(x @ encoder.matrix.T) @ decoder.matrix[:, 1:]


# proved: for all sizes where decoder_d = m
def decoded(encoder: Weight, decoder: Weight, z: Float[Array, "n m"]) -> Float[Array, "n d"]:
    return z @ decoder.matrix.T


class Coder(eqx.Module):
    encoder: Weight
    decoder: Weight

    # proved: where encoder_d = d, encoder_m = decoder_d
    def __call__(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        return self.decode(self.encoder.matrix @ x)

    # proved: where decoder_d = m; `d` may be any size
    def decode(self, z: Float[Array, "m"]) -> Float[Array, "d"]:
        return self.decoder.matrix @ z

    # proved: `k` may be any size
    def bias(self) -> Float[Array, "k"]:
        return self.encoder.matrix[0]
