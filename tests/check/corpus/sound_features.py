"""Sound functions over less usual features of classes, decorators, aliases and transforms."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, Literal, NamedTuple, Self, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Bool, Float, Int, Key

from typedfilter import (
    Traced,
    VmapAxis,
    filter_checkpoint,
    filter_custom_vjp,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jit,
    filter_pmap,
    filter_value_and_grad,
    filter_vmap,
    if_array,
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


# proved
@timed
def decorated(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x


# proved
def aliases(x: Batch, v: Vector) -> Vector:
    return v + x.mean(axis=0)


class Outer:
    class Inner:
        # proved
        @staticmethod
        def nested(x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    w: Float[Array, "n m"]

    # proved
    def __call__(self, x: Float[Array, "n"], /) -> Float[Array, "m"]:
        return x @ self.w


@dataclasses.dataclass
class Computed:
    w: Float[Array, "n m"]
    transposed: Float[Array, "m n"] = dataclasses.field(init=False)
    scale: dataclasses.InitVar[float] = 2.0

    def __post_init__(self, scale: float) -> None:
        self.transposed = self.w.T * scale

    # proved
    def back(self, x: Float[Array, "m"]) -> Float[Array, "n"]:
        return x @ self.transposed


@dataclasses.dataclass
class Base:
    w: Float[Array, "n m"]


@dataclasses.dataclass
class Derived(Base):
    b: Float[Array, "m"]

    # proved
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "m"]:
        return x @ self.w + self.b

    # proved
    @functools.cached_property
    def transposed(self) -> Float[Array, "m n"]:
        return self.w.T

    # proved
    def doubled(self) -> Self:
        return dataclasses.replace(self, w=2 * self.w)


@dataclasses.dataclass
class Box(Generic[T]):
    value: T


# proved
def unboxed(box: Box[Float[Array, "n"]]) -> Float[Array, "n"]:
    return box.value


class Cache(NamedTuple):
    keys: Float[Array, "t n"]
    length: int = 0


# proved
def extended(x: Float[Array, "n"], cache: Cache | None = None) -> Float[Array, "_ n"]:
    return x[None] if cache is None else jnp.concatenate([cache.keys, x[None]])


# proved
def of_an_iterable(xs: Iterable[Float[Array, "n"]]) -> Float[Array, "n"]:
    return sum(xs, jnp.zeros(()))


# proved
def returns_a_callable(x: Float[Array, "n"]) -> Callable[[Float[Array, "n"]], Float[Array, "n"]]:
    return lambda y: x + y


# proved
def rank_in_braces(x: Float[Array, "n m"]) -> Float[Array, "{x.ndim}"]:
    return jnp.array([x.sum(), x.mean()])


# proved
def half_precision(x: BFloat16[Array, "n"]) -> BFloat16[Array, "n"]:
    return x * 2


# proved
@filter_jit
def traced_numbers(x: Float[Array, "n"], rate: Traced[float], times: Traced[int]) -> Float[Array, "n"]:
    return x * rate * times


# proved
@filter_vmap
def mapped_keys(key: Key[Array, ""], x: Float[Array, "n"]) -> tuple[Key[Array, ""], Float[Array, "n"]]:
    here, there = jax.random.split(key)
    return here, x + jax.random.normal(there, x.shape)


# proved
@filter_vmap
def mapped_variadic(*xs: Float[Array, "n"], **scales: Float[Array, ""]) -> Float[Array, "n"]:
    return sum(xs, jnp.zeros(())) + sum(scales.values(), jnp.zeros(()))


# proved
@filter_vmap
def mapped_statics(x: Float[Array, "n"], how: Literal["a", "b"], flip: bool = False) -> Float[Array, "n"]:
    return -x if flip or how == "a" else x


# proved
@filter_vmap(in_axes=if_array(1), out_axes=if_array(2))
def callable_axes(x: Float[Array, "n m"], k: int = 3) -> Float[Array, "n m"]:
    return x * k


@pytree_dataclass
class Ensemble:
    w: Annotated[Float[Array, "n"], VmapAxis[1]]
    b: VmapAxis[None, Float[Array, ""]]

    # proved
    @filter_vmap
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return self.w @ x + self.b

    # proved
    @filter_jit
    @filter_grad
    def loss(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return self.w @ x + self.b


# proved
@filter_vmap
def mapped_model(model: Ensemble, x: Float[Array, "n"]) -> Ensemble:
    return Ensemble(model.w * x, model.b)


# proved
@filter_jit
@filter_vmap(in_axes=(None, 0, 0))
@filter_value_and_grad(has_aux=True)
def deep_stack(
    w: Float[Array, "n m"], x: Float[Array, "n"], y: Float[Array, "m"]
) -> tuple[Float[Array, ""], dict[str, Float[Array, "m"]]]:
    out = x @ w
    return ((out - y) ** 2).mean(), {"out": out}


# proved
@filter_jacfwd
def jacobian(x: Float[Array, "n"], w: Float[Array, "n m"]) -> Float[Array, "m"]:
    return x @ w


# proved
@filter_hessian
def hessian(x: Float[Array, "n"]) -> Float[Array, ""]:
    return (x**3).sum()


# proved
@filter_checkpoint
def checkpointed(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return jnp.sin(x)


# proved
@filter_custom_vjp
def custom(x: Float[Array, "n"], scale: Float[Array, ""]) -> Float[Array, "n"]:
    return x * scale


@custom.def_fwd
def custom_forward(perturbed, x, scale):
    return x * scale, scale


@custom.def_bwd
def custom_backward(scale, grad, perturbed, x, _):
    return grad * scale


# proved
@filter_pmap
def on_devices(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x


# proved
@jax.jit
def where_masked(x: Float[Array, "n"], mask: Bool[Array, "n"] | Int[Array, "n"]) -> Float[Array, "n"]:
    return jnp.where(mask, x, 0)


Number = TypeVar("Number", Float[Array, "n"], Int[Array, "n"])


# proved: in 2 cases
def the_same_type_variable(x: Number) -> Number:
    return x * 2


# proved
def returned_function(w: Float[Array, "m n"]) -> Callable[[Float[Array, "n"]], Float[Array, "m"]]:
    return lambda x: w @ x


# proved
def returned_function_of_other_sizes(
    w: Float[Array, "m n"],
) -> Callable[[Float[Array, "n k"]], Float[Array, "m k"]]:
    return lambda x: w @ x


# proved
def handed_function(
    minimise: Callable[
        [Callable[[Float[Array, "n"]], Float[Array, ""]], Float[Array, "n"]], Float[Array, "n"]
    ],
    x: Float[Array, "n"],
) -> Float[Array, "n"]:
    return minimise(lambda y: (y**2).sum(), x)
