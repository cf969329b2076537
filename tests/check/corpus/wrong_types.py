"""Planted mistakes in dtypes, containers, trees, unions, static arguments and callables."""

import enum
from collections.abc import Callable
from typing import Literal, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Inexact, Int, Key, Num, PyTree

import typedfilter
from typedfilter import Static


# failed: the dtype is float32
def float_for_int(x: Float[Array, "n"]) -> Int[Array, "n"]:
    return jnp.round(x)


# failed: the dtype is int32
def int_for_float(x: Float[Array, "n"]) -> Float[Array, ""]:
    return x.argmax()


# failed: the dtype is bool
def bool_for_float(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x > 0


# failed: the dtype is bfloat16
def narrowed(x: Float[Array, "n"]) -> Float32[Array, "n"]:
    return x.astype(jnp.bfloat16)


# failed: dtype int32
def float_only_for_floats(x: Num[Array, "n"]) -> Float[Array, "n"]:
    return x * 2


# failed: dtype complex64
def not_for_complex(x: Inexact[Array, "n"]) -> Float[Array, "n"]:
    return x * 2


# failed: the dtype is uint32
def key_data(key: Key[Array, ""]) -> Key[Array, ""]:
    return jax.random.key_data(key)


# failed: found: key[2]
def forgot_to_unpack(key: Key[Array, ""]) -> Key[Array, ""]:
    return jax.random.split(key)


# failed: found: numpy f64[3]
def a_numpy_array(x: Float[Array, "n"]) -> Float[Array, "3"]:
    return np.zeros(3)


# failed: found: float 0.5
def a_python_float(x: Float[Array, "n"]) -> Float[Array, ""]:
    return 0.5


# failed: expected: float
def an_array_for_a_float(x: Float[Array, "n"]) -> float:
    return x.sum()


# failed: found: None
def forgot_to_return(x: Float[Array, "n"]) -> Float[Array, "n"]:
    x * 2


# failed: `[1]` of the return value
def wrong_half_of_a_pair(x: Float[Array, "n m"]) -> tuple[Float[Array, "n"], Float[Array, "m"]]:
    return x.sum(axis=1), x.sum(axis=1)


# failed: found: tuple of f32[n], f32[m], f32[]
def three_for_two(x: Float[Array, "n m"]) -> tuple[Float[Array, "n"], Float[Array, "m"]]:
    return x.sum(axis=1), x.sum(axis=0), x.sum()


# failed: `[1]` of the return value
def wrong_element_of_a_list(xs: list[Float[Array, "n"]]) -> list[Float[Array, "n"]]:
    return [xs[0], *(x[None] for x in xs[1:])]


# failed: expected: list
def a_tuple_for_a_list(xs: list[Float[Array, "n"]]) -> list[Float[Array, "n"]]:
    return tuple(xs)


# failed: `['y']` of the return value
def wrong_value_of_a_dict(x: Float[Array, "n"]) -> dict[str, Float[Array, "n"]]:
    return {"x": x, "y": x.sum()}


class Batch(TypedDict):
    image: Float[Array, "h w"]
    label: Int[Array, ""]


# failed: `['image']` of the return value
def transposed_image(batch: Batch) -> Batch:
    return {"image": batch["image"].T, "label": batch["label"]}


# failed: found: dict of 'image'
def lost_the_label(batch: Batch) -> Batch:
    return {"image": batch["image"]}


class Moments(NamedTuple):
    mean: Float[Array, "n"]
    variance: Float[Array, "n"]


# failed: `.variance` of the return value
def wrong_field(x: Float[Array, "b n"]) -> Moments:
    return Moments(x.mean(axis=0), x.var())


# failed: expected: Moments
def a_tuple_for_a_named_tuple(x: Float[Array, "b n"]) -> Moments:
    return x.mean(axis=0), x.var(axis=0)


# failed: the structure is
def another_structure(tree: PyTree[Float[Array, "..."], "T"]) -> PyTree[Float[Array, "..."], "T"]:
    return jax.tree.leaves(tree)


# failed: the structure is
def half_composed(
    outer: PyTree[Float[Array, ""], "S"], inner: PyTree[Float[Array, ""], "T"]
) -> PyTree[Float[Array, ""], "S T"]:
    return outer


# failed: 0 axes, not 1
def summed_leaves(tree: PyTree[Float[Array, "n"]]) -> PyTree[Float[Array, "n"]]:
    return jax.tree.map(jnp.sum, tree)


# failed: `right` a single leaf
def structures_may_differ(
    left: PyTree[Float[Array, "n"], "S"], right: PyTree[Float[Array, "n"], "T"]
) -> PyTree[Float[Array, "n"], "S"]:
    return jax.tree.map(lambda x, y: x + y, left, right)


# failed: bias: None
def none_forgotten(x: Float[Array, "n"], bias: Float[Array, "n"] | None = None) -> Float[Array, "n"]:
    return x + bias


# failed: x: Float[Array, 'm n']
def vectors_only(x: Float[Array, "n"] | Float[Array, "m n"]) -> Float[Array, "n"]:
    return x * 2


# failed: how='none'
def one_of_the_literals(
    x: Float[Array, "n"], how: Literal["sum", "mean", "none"] = "sum"
) -> Float[Array, ""]:
    return x if how == "none" else getattr(jnp, how)(x)


# failed: keep=True
def one_of_the_flags(x: Float[Array, "n m"], keep: bool = False) -> Float[Array, "n"]:
    return x.sum(axis=1, keepdims=keep)


class Pool(enum.Enum):
    MEAN = "mean"
    LAST = "last"


# failed: pool=<Pool.LAST
def one_of_the_members(x: Float[Array, "t n"], pool: Pool) -> Float[Array, "n"]:
    return x.mean(axis=0) if pool is Pool.MEAN else x[:, -1]


# failed: axis 0 is 4, not {k} = 3
def one_too_many(x: Float[Array, "n"], k: Static[int] = 3) -> Float[Array, "{k} n"]:
    return jnp.stack([x**i for i in range(k + 1)])


# failed: axis 0 is 2*n, not n*{k}
@typedfilter.check.example(k=2)
@typedfilter.check.example(k=5)
def second_example(x: Float[Array, "n"], k: int) -> Float[Array, "n*{k}"]:
    return jnp.tile(x, 2)


# failed: argument 0 of `fn` is f32[b,n], not Float[Array, 'n']
def forgot_to_map(
    fn: Callable[[Float[Array, "n"]], Float[Array, "m"]], xs: Float[Array, "b n"]
) -> Float[Array, "b m"]:
    return fn(xs)


# failed: `fn` takes 1 argument, got 2
def too_many_arguments(
    fn: Callable[[Float[Array, "n"]], Float[Array, "n"]], x: Float[Array, "n"]
) -> Float[Array, "n"]:
    return fn(x, x)


# failed: found: f32[b,m]
def result_of_a_callable(
    fn: Callable[[Float[Array, "n"]], Float[Array, "m"]], xs: Float[Array, "b n"]
) -> Float[Array, "b n"]:
    return jax.vmap(fn)(xs)


# failed: found: f32[n]
def variadic(*xs: Float[Array, "n"]) -> Float[Array, "_ n"]:
    return sum(xs, jnp.zeros(()))


# failed: the dtype is float32
def strings(x: "Float[Array, 'n']") -> "Bool[Array, 'n']":
    return x


# failed: found: f32[]
def more_in_a_tuple(parts: tuple[Float[Array, "m"], *tuple[Float[Array, "n"], ...]]) -> Float[Array, "n"]:
    return parts[1].sum()


# failed: the return value is not what is annotated
def no_array_at_all(x: Float[Array, "n"]) -> Array:
    return [x]


# failed: add got incompatible shapes
def in_wrong_steps(
    f: Callable[[Float[Array, "_ d"]], Float[Array, "_ d"]], x: Float[Array, "n d"]
) -> Float[Array, "n d"]:
    return f(x[1:]) + x


def _scaled(x, *, factor):
    return x * factor


# failed: missing 1 required keyword-only argument: 'factor'
def passes_on_something_else(x: Float[Array, "n"], **options) -> Float[Array, "n"]:
    return _scaled(x)
