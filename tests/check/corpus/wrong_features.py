"""Planted mistakes in less usual features of classes, decorators, aliases and transforms."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, Generic, NamedTuple, Self, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from beartype import beartype
from jaxtyping import Array, BFloat16, Float, Int, Key, jaxtyped

from typedfilter import (
    Traced,
    VmapAxis,
    filter_checkpoint,
    filter_grad,
    filter_hessian,
    filter_jacrev,
    filter_jit,
    filter_pmap,
    filter_value_and_grad,
    filter_vmap,
)
from typedfilter.pytree import pytree_dataclass

Batch: TypeAlias = Float[Array, "b n"]
Vector = Annotated[Float[Array, "n"], "documented"]
T = TypeVar("T")


def timed(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return inner


# failed: found: f32[n - 1]
@timed
def decorated(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:]


# failed: (n,), (b,)
def aliases(x: Batch, v: Vector) -> Vector:
    return v + x.mean(axis=1)


class Outer:
    class Inner:
        # failed: 0 axes, not 1
        @staticmethod
        def nested(x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    w: Float[Array, "n m"]

    # failed: found: f32[m]
    def __call__(self, x: Float[Array, "n"], /) -> Float[Array, "n"]:
        return x @ self.w


@dataclasses.dataclass
class Computed:
    w: Float[Array, "n m"]
    transposed: Float[Array, "m n"] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.transposed = self.w.T

    # failed: got (n,) and (m,)
    def forward(self, x: Float[Array, "n"]) -> Float[Array, "m"]:
        return x @ self.transposed


@dataclasses.dataclass
class Base:
    w: Float[Array, "n m"]


@dataclasses.dataclass
class Derived(Base):
    b: Float[Array, "m"]

    # failed: axis 0 is n, not m
    @functools.cached_property
    def transposed(self) -> Float[Array, "m n"]:
        return self.w

    # failed: `.w` of the return value
    def flipped(self) -> Self:
        return dataclasses.replace(self, w=self.w.T)


@dataclasses.dataclass
class Box(Generic[T]):
    value: T


# failed: axis 0 is n - 1, not n
def unboxed(box: Box[Float[Array, "n"]]) -> Float[Array, "n"]:
    return box.value[1:]


class Cache(NamedTuple):
    keys: Float[Array, "t n"]
    length: int = 0


# failed: cache: None
def extended(x: Float[Array, "n"], cache: Cache | None = None) -> Float[Array, "_ n"]:
    return x if cache is None else jnp.concatenate([cache.keys, x[None]])


# failed: found: f32[n - 1]
def sometimes_none(x: Float[Array, "n"], keep: bool = True) -> Float[Array, "n"] | None:
    return None if keep else x[1:]


# failed: the dtype is float32
def half_precision(x: BFloat16[Array, "n"]) -> BFloat16[Array, "n"]:
    return x * jnp.ones(3).sum()


# failed: Shapes must be 1D sequences of concrete values of integer type
@filter_jit
def traced_size(x: Float[Array, "n"], k: Traced[int]) -> Float[Array, "m"]:
    return jnp.zeros(k)


# failed: found: key
@filter_vmap
def mapped_keys(key: Key[Array, ""]) -> Key[Array, ""]:
    return jax.random.split(key)


@pytree_dataclass
class Ensemble:
    w: Annotated[Float[Array, "n"], VmapAxis[1]]
    b: VmapAxis[None, Float[Array, ""]]

    # failed: found: f32[]
    @filter_vmap
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.w @ x + self.b

    # failed: got (m,) and (n,)
    @filter_jit
    @filter_grad
    def loss(self, x: Float[Array, "n m"]) -> Float[Array, ""]:
        return (x @ self.w).sum() + self.b


# failed: `[1]['out']` of the return value
@filter_jit
@filter_vmap(in_axes=(None, 0, 0))
@filter_value_and_grad(has_aux=True, check=False)
def deep_stack(
    w: Float[Array, "n m"], x: Float[Array, "n"], y: Float[Array, "m"]
) -> tuple[Float[Array, ""], dict[str, Float[Array, "m"]]]:
    out = x @ w
    return ((out - y) ** 2).mean(), {"out": x}


# failed: axis 0 is m, not n
@filter_jacrev(check=False)
def jacobian(x: Float[Array, "n"], w: Float[Array, "n m"]) -> Float[Array, "n"]:
    return x @ w


# failed: (n,), (m,)
@filter_jit
@filter_hessian
def hessian(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, ""]:
    return (x**3 * y).sum()


# failed: found: f32[1,n]
@filter_checkpoint
def checkpointed(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[None]


# failed: `[1]` of the return value
@filter_grad(has_aux=True, check=False)
def unchecked_aux(x: Float[Array, "n"]) -> tuple[Float[Array, ""], Float[Array, "2*n"]]:
    return x.sum(), x


# failed: axis 0 is n - 1, not n
@filter_pmap
def on_devices(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:]


Number = TypeVar("Number", Float[Array, "n"], Int[Array, "n"])


# failed: the dtype is float32
def the_same_type_variable(x: Number) -> Number:
    return x / 2


# failed: got (n,) and (m,)
def returned_function(w: Float[Array, "m n"]) -> Callable[[Float[Array, "n"]], Float[Array, "m"]]:
    return lambda x: x @ w


# failed: `()` of the return value
def result_of_a_returned_function(w: Float[Array, "m n"]) -> Callable[[Float[Array, "n"]], Float[Array, "m"]]:
    return lambda x: (w @ x)[None]


# failed: argument 0 of `minimise`() is f32[n], not Float[Array, '']
def handed_function(
    minimise: Callable[
        [Callable[[Float[Array, "n"]], Float[Array, ""]], Float[Array, "n"]], Float[Array, "n"]
    ],
    x: Float[Array, "n"],
) -> Float[Array, "n"]:
    return minimise(lambda y: 2 * y, x)


# failed: expected: Float[Array, 'n']
@jaxtyped(typechecker=beartype)
def what_others_check_too(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:]
