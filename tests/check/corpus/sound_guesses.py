"""Ordinary code whose annotations say too little: what is made up is named, and nobody is blamed for it."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray


class Pool(eqx.Module):
    mode: str

    # checked: self.mode='sum', self.mode='another'
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * x.sum() if self.mode == "sum" else x


# checked: with n the size n, m the size m
def table(n: int, m: int) -> Float[Array, "n m"]:
    return jnp.zeros((n, m))


# checked: for all sizes; with size the size size
def gram(size: int, x: Float[Array, "size"]) -> Float[Array, "{size} {size}"]:
    return jnp.zeros((size, size)) + x


# checked: with n_heads=3
def by_heads(x: Float[Array, "b d"], n_heads: int) -> Float[Array, "b d"]:
    b, d = x.shape
    return x.reshape(b, n_heads, d // n_heads).reshape(b, d)


# checked: k the size k
def repeated(x: Float[Array, "n"], k: int) -> Float[Array, "k n"]:
    return jnp.stack([x] * k)


# checked: axis=0
def summed(x: Float[Array, "n m"], axis: int) -> Float[Array, "_"]:
    return x.sum(axis=axis)


# checked: rng_key a random key
def noisy(rng_key: Array, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + jax.random.normal(rng_key, x.shape)


# checked: key a random key
def noisy_by_name(key, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + jax.random.normal(key, x.shape)


# checked: activation the identity
def activated(x: Float[Array, "n"], activation: Callable) -> Float[Array, "n"]:
    return activation(x)


# checked: x of 1 axis
def energy(x: Array) -> Float[Array, ""]:
    return (x**2).sum()


class Derived(eqx.Module):
    w: Float[Array, "n m"]
    _n: int

    # proved
    def __init__(self, w: Float[Array, "n m"]):
        self.w = w
        self._n = w.shape[0]

    # proved
    def __call__(self, x: Float[Array, "m"]) -> Float[Array, "n"]:
        return (self.w @ x).reshape(self._n)


class Net(eqx.Module):
    layer: eqx.nn.Linear
    size: int

    # checked: in_size=3, out_size=4
    def __init__(self, in_size: int, out_size: int, key: PRNGKeyArray):
        self.layer = eqx.nn.Linear(in_size, out_size, key=key)
        self.size = out_size

    # checked: where i = 3; with self.in_size=3, self.out_size=4
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.layer(x).reshape(self.size)


class Stepper(eqx.Module):
    @abc.abstractmethod
    def step(self, x: Float[Array, "n"]) -> Float[Array, "n"]: ...

    # checked: self a Euler
    def twice(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.step(self.step(x))


class Euler(Stepper):
    h: float

    # proved
    def step(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.h


# checked: stepper a Euler
def stepped(stepper: Stepper, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return stepper.step(x)


# proved
def by_counter(f: Callable[[int], Float[Array, "n"]], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return jax.lax.fori_loop(0, 3, lambda i, carry: carry + f(i), x)


# proved
def by_float(f: Callable[[float], Float[Array, ""]], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return jax.vmap(f)(x)


# proved: with low=0.5, high=0.75
def first_of_a_range(low: float, high: float, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + jnp.linspace(low, high, int((high - low) * 10))[0]


# checked: at (n=3, m=5)
def of_numpy(x: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "m"]:
    return x.sum(0)


# checked: at (n=3)
def numpy_counts(x: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    return np.sort(x)


# proved
def splits(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
    for _ in range(3):
        key, own = jax.random.split(key)
        x = x + jax.random.normal(own, x.shape)
    return x


# proved
def folds(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
    def step(i, carry):
        return carry + jax.random.normal(jax.random.fold_in(key, i), carry.shape)

    return jax.lax.fori_loop(0, 3, step, x)


# proved
def mapped_keys(key: Key[Array, ""], x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    keys = jax.random.split(key, x.shape[0])
    return jax.vmap(lambda k, row: row + jax.random.normal(k, row.shape))(keys, x)


# proved
def one_key_a_branch(key: Key[Array, ""], x: Float[Array, "n"], train: bool) -> Float[Array, "n"]:
    return jax.random.normal(key, x.shape) if train else jax.random.uniform(key, x.shape)


class Declared(eqx.Module):
    w: eqx.AbstractVar[Float[Array, "n"]]

    # checked: with self a Weighted
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.w


class Weighted(Declared):
    w: Float[Array, "n"]


class Series:
    def __init__(self, length: int) -> None:
        self.event_shape = (length,)

    @property
    def length(self) -> int:
        return self.event_shape[0]

    # checked: with self.length=3
    def mean(self, x: Float[Array, "n"]) -> Float[Array, "3"]:
        return jnp.ones(self.length) * x.mean()


class Unhashable:
    __hash__ = None

    def __call__(self) -> None: ...


class Styled:
    support = Unhashable()

    def __init__(self, style: str) -> None:
        self.style = style

    # checked: with self.style='text'
    def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x
