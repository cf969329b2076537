"""filter_jit: what a jitted callable is to a type checker. Executed as well: see test_static."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, overload

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import SingleDeviceSharding
from jaxtyping import Float
from typing_extensions import Self, TypeVar, assert_type

from typedfilter import Donate, Static, Traced, filter_jit, pytree_dataclass

T = TypeVar("T")
X = jnp.arange(3.0)
SPLIT = SingleDeviceSharding(jax.devices()[0])


@filter_jit
def scale(x: Float[Array, " n"], by: Static[int] = 2, *, shift: Traced[float] = 0.0) -> Float[Array, " n"]:
    return x * by + shift


@filter_jit(donate="all-except-first", inline=True)
def first(pair: tuple[T, Array], /) -> T:
    return pair[0]


@filter_jit
def named(x: Donate[Array], *xs: Array, name: str, **more: Array) -> tuple[Array, str]:
    return x + sum(xs) + sum(more.values()), name


@overload
def double(x: Array) -> Array: ...
@overload
def double(x: str) -> str: ...
@filter_jit
def double(x: Any) -> Any:
    return x + x


def plain(x: Array) -> Array:
    return x + 1


@filter_jit
def generic(tree: T, n: Static[int] = 1) -> T:
    return tree


@filter_jit
def total(*xs: Array, **more: Array) -> Array:
    return sum(xs) + sum(more.values()) + jnp.zeros(3)


class Scaling(Protocol):
    def __call__(self, x: Float[Array, " n"], by: Static[int] = 2) -> Float[Array, " n"]: ...


class Renamed(Protocol):
    def __call__(self, y: Array) -> Array: ...


def accepted_functions() -> None:
    assert_type(scale(X), Array)
    assert_type(scale(X, 3), Array)
    assert_type(scale(X, by=3, shift=0.5), Array)
    assert_type(scale(x=X), Array)
    assert_type(first((X, X)), Array)
    assert_type(first(("a", X)), str)
    assert_type(named(jnp.ones(2), jnp.ones(2), jnp.ones(2), name="n", extra=jnp.ones(2)), tuple[Array, str])
    assert_type(double("a"), str)
    assert_type(double(X), Array)
    assert_type(filter_jit(plain)(X), Array)
    assert_type(filter_jit(plain, donate="none", check=False)(X), Array)
    assert_type(filter_jit(plain, in_shardings=SPLIT, out_shardings=SPLIT)(X), Array)
    assert_type(filter_jit(plain, in_shardings=(None,), out_shardings=SPLIT).lower(X).compile()(X), Array)
    assert_type(filter_jit(in_shardings={"x": SPLIT})(plain)(X), Array)
    assert_type(filter_jit(functools.partial(plain, X))(), Array)
    assert_type(filter_jit(filter_jit(plain))(X), Array)
    assert_type(scale.__wrapped__(X), Array)
    assert_type(scale.__name__, str)


def accepted_unknown_parameters(gradual: Callable[..., Array] = plain) -> None:
    print(filter_jit(gradual)(X), filter_jit(lambda x: x * 2)(X))


def accepted_as_callables() -> None:
    one: Callable[[Array], Array] = scale
    many: Callable[..., Array] = scale
    protocol: Scaling = scale
    print(protocol(X, by=3))
    print(one(X), many(X, by=2), jax.vmap(filter_jit(plain))(X), list(map(filter_jit(plain), [X])))


def accepted_ahead_of_time() -> None:
    lowered = scale.lower(X, 3, shift=1.0)
    assert_type(lowered.as_text(), str)
    assert_type(lowered.compile()(X, 3, shift=1.0), Array)
    assert_type(
        scale.lower(jax.ShapeDtypeStruct((3,), jnp.float32), 3, shift=1.0).compile()(X, 3, shift=1.0), Array
    )
    assert_type(generic.lower("a").compile()("a"), str)
    assert_type(total(X, a=X), Array)
    assert_type(total.lower(X, a=X).compile()(X, a=X), Array)
    assert_type(filter_jit(functools.partial(scale, by=3)).lower(X).compile()(X), Array)
    assert_type(generic.lower((X, X), n=2).compile()((X, X), n=2), tuple[Array, Array])
    compiled: Scaling = lowered.compile()
    print(compiled, scale.trace(X), scale.eval_shape(X))
    scale.clear_cache()


@pytree_dataclass
class Linear:
    weight: Float[Array, " n"]

    @filter_jit
    def __call__(self, x: Float[Array, " n"], times: Static[int] = 1) -> Float[Array, ""]:
        return self.weight @ x * times

    @filter_jit(donate="none")
    def updated(self, weight: Array) -> Self:
        return type(self)(weight)

    @filter_jit
    def pick(self, x: T) -> T:
        return x

    @staticmethod
    @filter_jit
    def norm(x: Array) -> Array:
        return x @ x

    @staticmethod
    @filter_jit
    def anything(x: Any, y: Array) -> Array:
        return y

    @classmethod
    @filter_jit
    def ones(cls, n: Static[int]) -> Self:
        return cls(jnp.ones(n))

    @property
    @filter_jit
    def size(self) -> Array:
        return self.weight.sum()


class Affine(Linear):
    @filter_jit
    def __call__(self, x: Float[Array, " n"], times: Static[int] = 1) -> Float[Array, ""]:
        return super().__call__(x, times) + 1


class Callable2(Protocol):
    def __call__(self, x: Array, times: int = 1) -> Array: ...
    def updated(self, weight: Array) -> Self: ...


def accepted_methods() -> None:
    linear = Linear(X)
    assert_type(linear(X, times=2), Array)
    assert_type(linear.updated(X), Linear)
    assert_type(linear.pick("a"), str)
    assert_type(linear.norm(X), Array)
    assert_type(Linear.norm(X), Array)
    assert_type(linear.anything("a", X), Array)
    assert_type(Linear.ones(3), Linear)
    assert_type(linear.size, Array)
    assert_type(Linear.updated(linear, X), Linear)
    assert_type(filter_jit(linear)(X), Array)
    assert_type(filter_jit(linear.updated)(X), Linear)
    print(filter_jit(Linear)(X))
    other: Callable2 = linear
    bound: Callable[[Array], Linear] = linear.updated
    print(other, bound)


def rejected_calls() -> None:
    scale("x")  # type: ignore[arg-type]
    scale(X, "3")  # type: ignore[arg-type]
    scale(X, 1, 2)  # type: ignore[call-arg]
    scale(X, shfit=1.0)  # type: ignore[call-arg]
    scale()  # type: ignore[call-arg]
    named(X)  # type: ignore[call-arg]
    first(pair=(X, X))  # type: ignore[call-arg]
    double(3)  # type: ignore[call-overload]
    text: str = scale(X)  # type: ignore[assignment]
    scale.lower(X).compile()("x")  # type: ignore[arg-type]
    scale.lowre(X)  # type: ignore[attr-defined]
    total(X, a="a")  # type: ignore[arg-type]
    generic.lower("a").compile()("a", "b")  # type: ignore[arg-type]
    protocol: Renamed = scale  # type: ignore[assignment]
    number: int = generic.lower("a").compile()("a")  # type: ignore[assignment]
    print(text, protocol, number)


def rejected_methods(linear: Linear) -> None:
    linear("x")  # type: ignore[arg-type]
    linear.updated()  # type: ignore[call-arg]
    linear.norm(X, X)  # type: ignore[call-arg]
    Linear.ones("3")  # type: ignore[arg-type]
    filter_jit(linear)("x")  # type: ignore[arg-type]


def rejected_options() -> None:
    filter_jit(plain, donate="al")  # type: ignore[call-overload]
    filter_jit(plain, static_argnums=0)  # type: ignore[call-overload]
    filter_jit(donate=True)  # type: ignore[call-overload]
    filter_jit(3)  # type: ignore[call-overload]
    filter_jit(plain, in_shardings="data")  # type: ignore[call-overload]
    filter_jit(plain, in_shardings=8)  # type: ignore[call-overload]
    filter_jit(plain, out_sharding=SPLIT)  # type: ignore[call-overload]


if __name__ == "__main__":
    accepted_functions()
    accepted_unknown_parameters()
    accepted_as_callables()
    accepted_ahead_of_time()
    accepted_methods()
