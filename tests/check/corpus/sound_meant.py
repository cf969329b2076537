"""Functions that are right as they are meant, and not to the letter: the verdict says how they were read."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Num, PRNGKeyArray, PyTree


# proved: where n_minus_1 = n-1
def differences(x: Float[Array, "n"], d: Float[Array, "n_minus_1"]) -> Float[Array, "n_minus_1"]:
    return x[1:] * d


# proved: where Nm1 = N-1
def spans(x: Float[Array, "N"], d: Float[Array, "Nm1"]) -> Float[Array, "Nm1"]:
    return jnp.diff(x) * d


# proved: where n_plus_1 = n+1
def edges(x: Float[Array, "n_plus_1"], d: Float[Array, "n"]) -> Float[Array, "n"]:
    return jnp.diff(x) * d


# proved: where twice_n = 2*n
def doubled(x: Float[Array, "n"], y: Float[Array, "twice_n"]) -> Float[Array, "twice_n"]:
    return jnp.concatenate([x, x]) + y


# proved: where tril = (n**2 + n)//2
def packed(x: Float[Array, "n n"], t: Float[Array, "tril"]) -> Float[Array, "tril"]:
    n = x.shape[0]
    return jnp.ones(n * (n + 1) // 2) * t


# proved: where `x` and `y` are of one kind
def joined(
    x: Float[Array, "n"] | Float[Array, "n m"], y: Float[Array, "n"] | Float[Array, "n m"]
) -> Float[Array, "..."]:
    return jnp.concatenate([x, y])


# proved: where `mean` and `scale` are given together or not at all
def standardized(
    x: Float[Array, "n d"], mean: Float[Array, "d"] | None, scale: Float[Array, "d"] | None
) -> Float[Array, "n d"]:
    return x if mean is None and scale is None else (x - mean) / scale


# proved: where `...` means the same axes in `x` and `y`
def added(x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    return x + y


class Row(eqx.Module):
    w: Float[Array, "*batch d"]

    # proved: where *batch of `self` has 0 axes
    def __call__(self, x: Float[Array, "d"]) -> Float[Array, ""]:
        return self.w @ x


class Cache(eqx.Module):
    k: Float[Array, "t d"]

    # proved: with sizes of its own in the instance that it returns
    def extended(self, x: Float[Array, "d"]) -> "Cache":
        return Cache(jnp.concatenate([self.k, x[None]]))

    # proved: in the instance that it returns, whose axes are in another order
    def turned(self) -> "Cache":
        return Cache(self.k.T)


class Normalized(eqx.Module):
    w: Float[Array, "n d"]
    total: Float[Array, "m"]

    # proved
    def __init__(self, w: Float[Array, "n d"]):
        self.w = w
        self.total = w.sum(axis=0)

    # proved: as their constructors make them
    def __call__(self) -> Float[Array, "n d"]:
        return self.w / self.total


# checked: works only where n = m
def asserted(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
    assert x.shape == y.shape
    return x + y


# proved
def in_steps(x: Float[Array, "t d"]) -> Float[Array, "t d"]:
    return jax.lax.scan(lambda carry, row: (carry + row, carry), jnp.zeros(x.shape[1]), x)[1]


class Plain(eqx.Module):
    value: Float[Array, "..."]

    # proved: where `...` of `self` has 0 axes
    def __call__(self) -> Float[Array, ""]:
        return self.value


# proved: where `...` has 1 axis or more
def spectrum(x: Float[Array, "..."]) -> Complex[Array, "..."]:
    return jnp.fft.rfftn(x)


# proved: where n, m are 2 or more
def steepest(x: Float[Array, "n m"]) -> Float[Array, ""]:
    return jnp.min(jnp.diff(x, axis=0))


# proved: where n is 5 or more
def trimmed(x: Float[Array, "n"]) -> Float[Array, ""]:
    return jax.lax.slice(x, (2,), (x.shape[0] - 2,)).sum()


# proved: where `points` and `shift` are of one kind
def shifted(
    points: Float[Array, "y x 2"] | Float[Array, "z y x 3"],
    shift: Float[Array, "2"] | Float[Array, "3"] | None = None,
) -> Float[Array, "..."]:
    return points if shift is None else points - shift


# proved: with other numbers
def binned(x: Float[Array, "n"], low: float, high: float) -> Float[Array, "n"]:
    return x + jnp.linspace(low, high, int(high - low)).min()


# proved: with other numbers, and where `x` and `y` are of one kind
def binned_together(
    x: Float[Array, "n"] | Float[Array, "n m"], y: Float[Array, "n"] | Float[Array, "n m"], low: float
) -> Float[Array, "..."]:
    return jnp.stack([x, y]) + jnp.ones(int(low)).min()


class Walls(NamedTuple):
    left: int = 0


class Setup(NamedTuple):
    walls: Walls | None = None
    dimensionality: int = 1


# proved: where `setup.walls` is not None
def reflected(x: Float[Array, "n"], setup: Setup) -> Float[Array, "n"]:
    return x[::-1] if setup.walls.left == 0 else x


# proved: where state: Float[Array, 'v n']
def ghosted(
    state: Float[Array, "v n"] | Float[Array, "v n m"], setup: Setup
) -> Float[Array, "v n+4"] | Float[Array, "v n+4 m+4"]:
    return jnp.pad(state, ((0, 0),) + ((2, 2),) * setup.dimensionality)


# checked: where tril = rows_of_tril*(rows_of_tril+1)//2
def symmetric(x: Float[Array, "tril"]) -> Float[Array, "r r"]:
    rows = int((8 * x.shape[0] + 1) ** 0.5 - 1) // 2
    return jnp.zeros((rows, rows)).at[jnp.tril_indices(rows)].set(x)


@dataclasses.dataclass(frozen=True)
class Signs:
    incoming: Float[Array, "in_channels"]
    outgoing: Float[Array, "out_channels"]

    # proved: where source = in_channels of `self`
    def __call__(self, x: Float[Array, "source"]) -> Float[Array, "source"]:
        return x * self.incoming


# proved: where channels is a multiple of 64
def in_whole_blocks(x: Float[Array, "n channels"], size: Literal[32, 64]) -> Float[Array, "n channels"]:
    n, channels = x.shape
    blocks = x.reshape(n, channels // size, size)
    return (blocks - blocks.mean(-1, keepdims=True)).reshape(n, channels)


# proved: where the size `heads` is the argument of that name
def by_heads(x: Float[Array, "t heads*d"], heads: Literal[2, 4]) -> Float[Array, "heads t d"]:
    return x.reshape(x.shape[0], heads, -1).transpose(1, 0, 2)


class Edges(NamedTuple):
    left: int = 0


class Config(NamedTuple):
    edges: Edges | None = None


# proved: where `config.edges` is not None
def without_none(x: Float[Array, "n"], config: Config) -> Float[Array, "n"]:
    return x.at[config.edges.left].set(0.0)


# proved: where `...` has 1 axis or more
def needs_an_axis(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x[0]


# proved: where `...` has 1 axis or more
def sums_an_axis(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x.sum(axis=-1)


# proved: where `f` returns axes as long as those that it takes; for all sizes
def row_by_row(
    f: Callable[[Float[Array, "_ d"]], Float[Array, "_ d"]], x: Float[Array, "n d"]
) -> Float[Array, "n d"]:
    return jax.lax.map(lambda row: f(row[None])[0], x) + f(x)


class Scaled(eqx.Module):
    w: Float[Array, "n"]
    scale: float = eqx.field(static=True)
    activation: Callable[[Float[Array, "n"]], Float[Array, "n"]] = eqx.field(static=True)


# proved: `model.scale` and `gradient.scale`, and `model.activation` and `gradient.activation` are the same
def descended(model: Scaled, gradient: Scaled) -> Scaled:
    return jax.tree.map(lambda w, g: w - g, model, gradient)


# proved: for all sizes
def apart_in_scale(model: Scaled, other: Scaled) -> Float[Array, "n"]:
    return model.w * other.w * round(1 / (model.scale - other.scale))  # of one scale it would divide by 0


class Path(eqx.Module):
    key: PRNGKeyArray
    scale: Float[Array, ""]

    # proved
    def at(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return self.scale * t * jax.random.normal(self.key)

    # proved: where the key `self.key` is meant to give the same numbers again: a random key is used twice
    def between(self, s: Float[Array, ""], t: Float[Array, ""]) -> Float[Array, ""]:
        return self.at(t) - self.at(s)

    # proved: its sizes are fixed
    def on_purpose(self, s: Float[Array, ""], t: Float[Array, ""]) -> Float[Array, ""]:
        return self.at(t) - Path(jax.random.clone(self.key), self.scale).at(s)


# checked: at (n=3, d=5)
def picked_alike(
    key: PRNGKeyArray, x: Float[Array, "n d"], y: Float[Array, "n"], p: Float[Array, "n"]
) -> tuple[Float[Array, "3 d"], Float[Array, "3"]]:
    return jax.random.choice(key, x, (3,), p=p), jax.random.choice(key, y, (3,), p=p)


# proved: where arrays are of floats; for all sizes
def is_small(x: Num[Array, "n"]) -> Bool[Array, ""]:
    return (abs(x) < jnp.finfo(x.dtype).eps).all()


# proved: where n is a multiple of 2
def of_pairs(x: Float[Array, "n"]) -> Float[Array, "n//2"]:
    return x.reshape(-1, 2).sum(1)


# proved: where n is a multiple of 2
def halves(x: Float[Array, "n"]) -> Float[Array, "n"]:
    first, second = jnp.split(x, 2)
    return jnp.concatenate([second, first])


# proved: where d is a multiple of 2
def rotated(x: Float[Array, "t d"]) -> Float[Array, "t d"]:
    half = x.shape[-1] // 2
    first, second = x[:, :half], x[:, half:]
    return jnp.concatenate([-second, first], axis=-1) * jnp.repeat(jnp.arange(half), 2)


# proved: where n is a multiple of m
def grouped(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
    return (x.reshape(y.shape[0], -1) * y[:, None]).reshape(-1)


# proved: where h is a multiple of g
def of_fewer_heads(q: Float[Array, "t h d"], k: Float[Array, "t g d"]) -> Float[Array, "t h d"]:
    return q * jnp.repeat(k, q.shape[1] // k.shape[1], axis=1)


# proved: where h is a multiple of 4, and where w is a multiple of 4
def pooled(x: Float[Array, "b h w"]) -> Float[Array, "b h//4 w//4"]:
    b, h, w = x.shape
    return x.reshape(b, h // 4, 4, w // 4, 4).mean((2, 4))


class Many(eqx.Module):
    w: Float[Array, "*e o i"]

    # proved: where *e of `self` has 0 axes
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.w @ x


class Twice(eqx.Module):
    first: Many
    second: Many

    # proved: where *e of `self.first` has 0 axes, and where *e of `self.second` has 0 axes
    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.second(jnp.tanh(self.first(x)))


# proved: where x is a multiple of 2
def of_a_spectrum(spectrum: Complex[Array, "y x//2+1"]) -> Float[Array, "y x"]:
    return jnp.fft.irfftn(spectrum)


def as_array(values: Iterable[float] | None) -> Array | None:
    return None if values is None else jnp.asarray(tuple(values))


def refuse_other_lengths(*arrays: Array) -> None:
    if arrays and any(array.shape[0] != arrays[0].shape[0] for array in arrays):
        raise ValueError("lists must have the same length.")


# proved: for all sizes
def of_like_lists(
    x: Float[Array, "n"], low: Iterable[float] | None = None, high: Iterable[float] | None = None
) -> Float[Array, "n"]:
    refuse_other_lengths(*(array for array in map(as_array, (low, high)) if array is not None))
    return x


class Dynamics(NamedTuple):
    start: Float[Array, "s"]
    step: (
        Callable[[Float[Array, "s"]], Float[Array, "s"]]
        | Callable[[Float[Array, "s"], Float[Array, "u"]], Float[Array, "s"]]
    )


# proved: where `Dynamics.step` is the first of two without `inputs`, and else the second
def driven(
    dynamics: Dynamics, times: Float[Array, "t"], inputs: Float[Array, "t u"] | None = None
) -> Float[Array, "t s"]:
    step = dynamics.step if inputs is not None else lambda s, _: dynamics.step(s)
    given = times if inputs is None else inputs

    def turn(state, one):
        state = step(state, one)
        return state, state

    return jax.lax.scan(turn, dynamics.start, given)[1]


# checked: where levels is a multiple of 2
def mirrored(x: Float[Array, "n"], levels: Float[Array, "levels"]) -> Float[Array, "levels"]:
    half = len(range(levels.shape[0])) // 2
    counts = jnp.bincount(x.astype(int), length=half) + levels[half:]
    return jnp.concatenate([-counts[::-1], counts])


# proved: where `params` and `grads` are trees of one structure and shape
def stepped(
    params: PyTree[Float[Array, "..."]], grads: PyTree[Float[Array, "..."]]
) -> PyTree[Float[Array, "..."]]:
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)


# proved: where `params` and `grads` are trees of one structure; for all sizes
def of_like_leaves(params: PyTree[Float[Array, "n"]], grads: PyTree[Float[Array, "n"]]) -> Float[Array, "n"]:
    return sum(jax.tree.leaves(jax.tree.map(jnp.multiply, params, grads)))


class Properties(NamedTuple):
    trainable: bool = True


class Settings(NamedTuple):
    mean: Float[Array, "s"] | Properties
    cov: Float[Array, "s s"] | Properties
    shift: Float[Array, "s"] | None


class Moments(NamedTuple):
    mean: Float[Array, "s"]
    cov: Float[Array, "s s"]


# proved: where no field of `settings` is a Properties; for all sizes
def with_the_fields_of(settings: Settings) -> Moments:
    return Moments(settings.mean, settings.cov)


# proved: where `settings.shift` is not None
def shift_of(settings: Settings) -> Float[Array, "s"]:
    return settings.shift


class Pair(NamedTuple):
    left: Float[Array, "s"] | None
    right: Float[Array, "s"] | None


# proved: where `pair.left` is not None; for all sizes
def left_of(pair: Pair) -> Float[Array, "s"]:
    return pair.left
