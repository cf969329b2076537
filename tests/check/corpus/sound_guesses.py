"""Ordinary code whose annotations say too little: what is made up is named, and nobody is blamed for it."""

import abc
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

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


# checked: at (n=32
def in_blocks_of_its_own(x: Float[Array, "n m"], size: Literal[32, 64]) -> Float[Array, "n m"]:
    return _in_blocks(x.T, size).T


def _in_blocks(x, size):
    if x.shape[-1] % size:
        raise ValueError("whole blocks")
    return x.reshape(*x.shape[:-1], -1, size).reshape(x.shape)


def _matrix_at(matrix, function, time):
    if function is not None:
        return function(time)
    if matrix is None:
        raise ValueError("a matrix or a function")
    return matrix


# checked: in 4 cases
def filtered(
    matrix: Float[Array, "k k"] | None,
    x: Float[Array, "t k"],
    function: Callable[[Int[Array, ""]], Float[Array, "k k"]] | None = None,
) -> Float[Array, "k"]:
    def step(state, time):
        return _matrix_at(matrix, function, time) @ state, None

    return jax.lax.scan(step, x[0], jnp.arange(x.shape[0]))[0]


class Settings(eqx.Module):
    mesh: jax.sharding.Mesh
    places: dict[str, str] = eqx.field(default_factory=dict, static=True)

    # checked: self.mesh a mesh of one device
    def placed(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        names = jax.sharding.PartitionSpec(self.places.get("n"))
        return jax.lax.with_sharding_constraint(x, jax.sharding.NamedSharding(self.mesh, names))


class Properties(NamedTuple):
    trainable: bool = True


class Parameters(NamedTuple):
    weights: Properties | Float[Array, "d n"]
    count: int


# checked: where params.weights: Float[Array, 'd n']
def mean_of(params: Parameters, x: Float[Array, "n"]) -> Float[Array, "d"]:
    return params.weights @ x / params.count


# checked: where cols = 3*groups
def in_groups(
    x: Float[Array, "rows cols"], scales: Float[Array, "rows groups"], size: int
) -> Float[Array, "rows cols"]:
    return x * jnp.repeat(scales, size, axis=1)


# checked: groups = blocks_of_cols
def in_groups_of(
    x: Float[Array, "rows cols"], scales: Float[Array, "rows groups"], size: int
) -> Float[Array, "rows cols"]:
    return (x.reshape(x.shape[0], x.shape[1] // size, size) * scales[..., None]).reshape(x.shape)


class Base(eqx.Module):
    @abc.abstractmethod
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]: ...


class Wide(Base):
    count: int
    inner: Base

    def __call__(self, x):
        return self.inner(x) * self.count


class Narrow(Base):
    scale: Float[Array, ""]

    def __call__(self, x):
        return x * self.scale


T = TypeVar("T", bound=Base)


# checked: model a Narrow
def by_the_simplest_subclass(model: T, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return model(x)


class Loose:
    """`options` may be left out, and nobody says what it is."""

    # proved: for all sizes
    def __init__(self, scale: Float[Array, "n"], options=None):
        self.scale = scale if options is None else options(scale)

    # proved: for all sizes
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.scale


# proved: with nothing in *rest, nothing in **options
def with_more(x: Float[Array, "n"], *rest, **options: object) -> Float[Array, "n"]:
    return x[1:] if options.get("shorter") else x


REDUCTIONS = {"mean": jnp.mean, "sum": jnp.sum}


# checked: with how='mean', how='sum'
def from_a_table(x: Float[Array, "n"], how: str) -> Float[Array, ""]:
    return REDUCTIONS[how](x)


# checked: with how='max', how='min'
def from_a_table_or_not(x: Float[Array, "n"], how: str | None) -> Float[Array, ""]:
    return x.sum() if how is None else {"max": x.max(), "min": x.min()}[how]


def _reduced(x, *, how):
    if how.startswith("mean"):
        return x.mean()
    if how not in REDUCTIONS:
        raise ValueError(how)
    return REDUCTIONS[how](x)


# checked: with how='mean', how='sum'
def by_a_helper(x: Float[Array, "n"], how: str) -> Float[Array, ""]:
    return _reduced(x, how=how)


# checked: with weights of 1 axis
def weighted(x: Float[np.ndarray, "n"], weights: np.ndarray) -> Float[np.ndarray, "n"]:
    return x * weights.mean()


# proved
def one_key_of_two(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
    first, second = jax.random.split(key)
    chosen = jax.lax.cond(x.sum() > 0, lambda: first, lambda: second)
    return x + jax.random.normal(chosen, x.shape)


# proved
def one_key_of_an_array(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + jax.random.normal(jnp.stack([key, key])[0], x.shape)


# proved: with bias given, though its default is None
def may_be_left_out(x: Float[Array, "n"], bias: Float[Array, "n"] = None) -> Float[Array, "n"]:
    return x + bias


class Cells(NamedTuple):
    centers: jnp.ndarray = None
    volumes: jnp.ndarray = None


# checked: for all sizes where _cells_volumes_0 = n; with cells.volumes of 1 axis
def weighted_by_a_record(x: Float[Array, "n"], cells: Cells) -> Float[Array, ""]:
    return jnp.sum(x * cells.volumes)


# checked: with cells.volumes of 1 axis
@jax.jit
def below_a_transform(x: Float[Array, "n"], cells: Cells) -> Float[Array, ""]:
    return jnp.sum(x * cells.volumes)


# proved: for all sizes
def a_record_that_nobody_reads(x: Float[Array, "n"], cells: Cells) -> Float[Array, "n"]:
    return x


class Affine(eqx.Module):
    weight: Array
    bias: Array

    # checked: self.weight of 2 axes, self.bias of 1 axis
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.weight @ x + self.bias


class Layers(eqx.Module):
    layers: list

    # failed: a random key is used twice
    def __init__(self, shape: list[int], key: Key[Array, ""]) -> None:
        sizes = [(shape[i], shape[i + 1]) for i in range(len(shape) - 2)]
        self.layers = [eqx.nn.Linear(i, o, key=key) for i, o in [*sizes, (shape[-2], shape[-1])]]

    # checked: for all sizes where n_in = 3; in 2 cases
    def __call__(self, x: Float[Array, "n_in"]) -> Float[Array, "n_out"]:
        for layer in self.layers:
            x = layer(x)
        return x


class Shifted(eqx.Module):
    scale: Layers
    shift: Layers

    # checked: for all sizes where n = 3, m = 4
    def __call__(self, x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "m"]:
        return y * self.scale(x) + self.shift(x)


class Spread:
    # failed: 'NoneType' object has no attribute 'shape'
    def __init__(
        self, loc: Float[Array, "n"] | None = None, scale: Float[Array, "m k"] | None = None
    ) -> None:
        self.size = scale.shape[0]
        self.loc, self.scale = jnp.zeros(self.size) if loc is None else loc, scale

    # checked: where self.scale: Float[Array, 'm k']
    def log_det(self) -> Float[Array, ""]:
        return jnp.linalg.slogdet(self.scale @ self.scale.T)[1]


class Mapped:
    def __init__(self, input_dim: int, output_dim: int) -> None:
        self.weight = jnp.ones((output_dim, input_dim))

    # checked: where i = 3; with self.input_dim=3, self.output_dim=4
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.weight @ x


_BLOCKS = {"size": 24}


# checked: at (n=24); it refuses n=3: ValueError: 3 is no multiple of 24
def in_blocks(x: Float[Array, "n"]) -> Float[Array, "n"]:
    if x.shape[0] % _BLOCKS["size"]:
        raise ValueError(f"{x.shape[0]} is no multiple of {_BLOCKS['size']}")
    return x.reshape(-1, 24).reshape(-1)


# checked: at (n=3, d=5)
def in_one_order(
    key: Key[Array, ""], x: Float[Array, "n d"], y: Float[Array, "n"]
) -> tuple[Float[Array, "n d"], Float[Array, "n"]]:
    return jax.random.permutation(key, x), jax.random.permutation(key, y)


class Term(eqx.Module):
    @abc.abstractmethod
    def at(self, t: Float[Array, ""]) -> Float[Array, "n"]: ...


class Drift(Term):
    rate: Float[Array, "n"]

    # proved
    def at(self, t: Float[Array, ""]) -> Float[Array, "n"]:
        return self.rate * t


Terms = TypeVar("Terms", bound=tuple[Term, ...])


class Sum(eqx.Module, Generic[Terms]):
    terms: Terms

    def __init__(self, *terms: Term) -> None:
        self.terms = terms

    # checked: with self.terms[0] a Drift, self.terms[1] a Drift
    def at(self, t: Float[Array, ""]) -> Float[Array, "n"]:
        return sum(term.at(t) for term in self.terms)


# checked: with total.terms[0] a Drift, total.terms[1] a Drift
def of_two_terms(total: Sum[tuple[Term, Term]], t: Float[Array, ""]) -> Float[Array, "n"]:
    first, _ = total.terms
    return first.at(t)


class Stack:
    # proved
    def __init__(self, scale: float, *rows: Float[Array, "n"], shift: float = 2.0) -> None:
        self.rows, self.scale, self.shift = rows, scale, shift


# proved: with stack.scale=0.5, stack.shift=2.0
def of_two_rows(stack: Stack) -> Float[Array, "n"]:
    first, second = stack.rows
    return first * stack.scale + second * stack.shift


# checked: where n is more than k; for all sizes; with k the size k
def the_largest(x: Float[Array, "n"], k: int) -> tuple[Float[Array, "k"], Int[Array, "k"]]:
    values, places = jax.lax.top_k(x, k)
    return values, places


# checked: where d is more than k; for all sizes; with k the size k
def leading(x: Float[Array, "n d"], k: int) -> Float[Array, "n {k}"]:
    return x[:, ::-1][:, :k]


# checked: for all sizes; with count the size count
def counted(x: Int[Array, "n"], count: int) -> Int[Array, "count"]:
    return jnp.zeros(count, int).at[x].add(1)


# checked: for all sizes; with before the size before, after the size after
def padded_by(x: Float[Array, "n"], before: int, after: int) -> Float[Array, "n+{before}+{after}"]:
    return jnp.pad(x, (before, after))


# proved: for all sizes; with rows=3
def by_default(x: Float[Array, "d"], rows: int = 3) -> Float[Array, "rows d"]:
    return jnp.ones((rows, 1)) * x
