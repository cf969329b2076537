"""Sound functions over dtypes, containers, trees, unions, static arguments and callables."""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Optional, Protocol, TypedDict, TypeVar, Union

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import (
    Array,
    ArrayLike,
    Bool,
    Complex,
    Float,
    Float32,
    Inexact,
    Int,
    Int8,
    Key,
    Num,
    PRNGKeyArray,
    PyTree,
    Real,
    Shaped,
    UInt8,
)

import typedfilter
from typedfilter import Static, Traced

T = TypeVar("T", bound=Float[Array, "n"])


# proved
def count(x: Float[Array, "n"]) -> Int[Array, ""]:
    return (x > 0).sum()


# proved
def mask(x: Float[Array, "n"]) -> Bool[Array, "n"]:
    return x > 0


# proved
def gather(table: Float[Array, "vocab dim"], tokens: Int[Array, "*batch"]) -> Float[Array, "*batch dim"]:
    return table[tokens]


# proved
def any_number(x: Num[Array, "n"]) -> Num[Array, "n"]:
    return x * 2


# proved
def any_real(x: Real[Array, "n"]) -> Real[Array, "n"]:
    return jnp.maximum(x, 0)


# proved
def magnitude(x: Inexact[Array, "n"]) -> Float[Array, "n"]:
    return jnp.abs(x)


# proved
def conjugate(x: Complex[Array, "n"]) -> Complex[Array, "n"]:
    return x.conj()


# proved
def whatever(x: Shaped[Array, "n m"]) -> Shaped[Array, "m n"]:
    return x.T


# proved
def pixels(image: UInt8[Array, "h w 3"]) -> Float32[Array, "h w"]:
    return image.astype(jnp.float32).mean(axis=-1) / 255


# proved
def quantized(x: Float[Array, "n"]) -> Int8[Array, "n"]:
    return jnp.clip(x, -127, 127).astype(jnp.int8)


# proved
def noise(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + jax.random.normal(key, x.shape)


# proved
def older_keys(key: PRNGKeyArray, x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return x * jax.random.bernoulli(key, 0.5, x.shape)


# proved
def keys(key: Key[Array, ""], x: Float[Array, "n"]) -> Key[Array, "n"]:
    return jax.random.split(key, x.shape[0])


# proved
def pair(x: Float[Array, "n m"]) -> tuple[Float[Array, "n"], Float[Array, "m"]]:
    return x.sum(axis=1), x.sum(axis=0)


# proved
def stacked(xs: list[Float[Array, "n"]]) -> Float[Array, "_ n"]:
    return jnp.stack(xs)


# proved
def first_two(xs: Sequence[Float[Array, "n"]]) -> Float[Array, "n"]:
    return xs[0] + xs[1]


# proved
def unpacked(xs: tuple[Float[Array, "n"], ...]) -> Float[Array, "n"]:
    a, b = xs
    return a * b


# proved
def each(xs: list[Float[Array, "n"]]) -> list[Float[Array, "n"]]:
    return [jnp.exp(x) for x in xs]


# proved
def named(batch: dict[Literal["x", "y"], Float[Array, "n"]]) -> Float[Array, "n"]:
    return batch["x"] * batch["y"]


# proved
def summed(parts: Mapping[str, Float[Array, "n"]]) -> Float[Array, "n"]:
    return sum(parts.values(), jnp.zeros(()))


class Batch(TypedDict):
    image: Float[Array, "h w"]
    label: Int[Array, ""]


# proved
def flipped(batch: Batch) -> Batch:
    return {"image": batch["image"][::-1], "label": batch["label"]}


class Moments(NamedTuple):
    mean: Float[Array, "n"]
    covariance: Float[Array, "n n"]


# proved
def moments(x: Float[Array, "b n"]) -> Moments:
    return Moments(x.mean(axis=0), x.T @ x)


# proved
def whitened(x: Float[Array, "b n"], moments: Moments) -> Float[Array, "b n"]:
    return (x - moments.mean) @ moments.covariance


# proved
def scaled_tree(tree: PyTree[Float[Array, "..."], "T"]) -> PyTree[Float[Array, "..."], "T"]:
    return jax.tree.map(lambda leaf: 0.5 * leaf, tree)


# proved
def two_trees(
    params: PyTree[Float[Array, "?n"], "T"], grads: PyTree[Float[Array, "?n"], "T"]
) -> PyTree[Float[Array, "?n"], "T"]:
    return jax.tree.map(lambda p, g: p - g, params, grads)


# proved
def composed(
    outer: PyTree[Float[Array, ""], "S"], inner: PyTree[Float[Array, ""], "T"]
) -> PyTree[Float[Array, ""], "S T"]:
    return jax.tree.map(lambda x: jax.tree.map(lambda y: x * y, inner), outer)


# proved
def total_of_tree(tree: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
    return sum((leaf.sum() for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


# proved
def optional_bias(x: Float[Array, "b n"], bias: Optional[Float[Array, "n"]] = None) -> Float[Array, "b n"]:
    return x if bias is None else x + bias


# proved
def vector_or_matrix(x: Union[Float[Array, "n"], Float[Array, "m n"]]) -> Float[Array, "... n"]:
    return x / x.sum(axis=-1, keepdims=True)


# proved
def numbers_or_arrays(x: Float[ArrayLike, ""], y: Float[Array, "n"]) -> Float[Array, "n"]:
    return x * y


# proved
def reduced(x: Float[Array, "n"], how: Literal["sum", "mean", "max"]) -> Float[Array, ""]:
    return getattr(jnp, how)(x)


# proved
def maybe_flipped(x: Float[Array, "n"], flip: bool) -> Float[Array, "n"]:
    return x[::-1] if flip else x


class Norm(enum.Enum):
    ONE = 1
    TWO = 2


# proved
def norm(x: Float[Array, "n"], kind: Norm = Norm.TWO) -> Float[Array, ""]:
    return jnp.linalg.norm(x, ord=kind.value)


# proved
def powers(x: Float[Array, "n"], k: Static[int] = 3) -> Float[Array, "{k} n"]:
    return jnp.stack([x**i for i in range(k)])


# proved
@typedfilter.check.example(k=2)
@typedfilter.check.example(k=5)
def repeated(x: Float[Array, "n"], k: int) -> Float[Array, "n*{k}"]:
    return jnp.tile(x, k)


# proved
def damped(x: Float[Array, "n"], rate: float, times: Traced[float]) -> Float[Array, "n"]:
    return x * rate + times


# proved
def mapped(
    fn: Callable[[Float[Array, "n"]], Float[Array, "m"]], xs: Float[Array, "b n"]
) -> Float[Array, "b m"]:
    return jax.vmap(fn)(xs)


# proved
def generic_callable(
    fn: Callable[[Float[Array, "*any"]], Float[Array, "*any"]], x: Float[Array, "n"], y: Float[Array, "m"]
) -> tuple[Float[Array, "n"], Float[Array, "m"]]:
    return fn(x), fn(y)


# proved
def any_callable(fn: Callable[..., Float[Array, "n"]], x: Float[Array, "n"]) -> Float[Array, "n"]:
    return fn(x, 3, key="word") + x


# proved
def default_callable(
    x: Float[Array, "n"], activation: Callable[[Any], Any] = jax.nn.relu
) -> Float[Array, "n"]:
    return activation(x)


class Model(Protocol):
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]: ...


# proved
def through_a_protocol(model: Model, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return model(model(x))


# proved
def bounded(x: T, y: T) -> T:
    return x + y


# proved
def many(*xs: Float[Array, "n"]) -> Float[Array, "n"]:
    return sum(xs, jnp.zeros(()))


# proved
def by_name(x: Float[Array, "n"], *, scale: Float[Array, ""], **more: Float[Array, "n"]) -> Float[Array, "n"]:
    return sum(more.values(), x * scale)


# proved
def positional(x: Float[Array, "n"], /, y: Float[Array, "n"]) -> Float[Array, "n"]:
    return x - y


# proved
def strings(x: "Float[Array, 'n']") -> "Float[Array, 'n']":
    return x


# proved
def length(x: Float[Array, "n"]) -> int:
    return x.shape[0]


# proved
def nothing(x: Float[Array, "n"]) -> None:
    x.sum()


# proved: for all sizes
def some_array(x: Float[Array, "n"]) -> Array:
    return x + 1


# proved: for all sizes
def some_arrays(x: Float[Array, "n"]) -> tuple[Array, dict[str, jax.Array]]:
    return x + 1, {"sum": x.sum()}


# proved
def no_return_annotation(x: Float[Array, "n"], y: Float[Array, "n"]):
    return x + y


Part = TypeVar("Part", bound="Moved")


# proved: for all sizes
def moved(part: Part, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return part.shift + x


class Moved(eqx.Module):
    shift: Float[Array, "n"]


# checked: in 3 cases
def more_in_a_tuple(parts: tuple[int, *tuple[Float[Array, "n"], ...]]) -> Float[Array, "n"]:
    return sum(parts[1:], jnp.zeros(()))
