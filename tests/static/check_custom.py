"""Custom derivative rules are checked against their function. Executed as well: see test_static."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from typing_extensions import assert_type

from typedfilter import filter_custom_jvp, filter_custom_vjp, filter_grad, filter_jit

X = jnp.arange(3.0)


@filter_custom_jvp
def call(x: Array, y: Array, *, fn: Callable[[Array, Array], Array]) -> Array:
    return fn(x, y)


@call.def_jvp
def call_jvp(
    primals: tuple[Array, Array],
    tangents: tuple[Array | None, Array | None],
    *,
    fn: Callable[[Array, Array], Array],
) -> tuple[Array, Array]:
    x, y = primals
    return call(x, y, fn=fn), 2 * jnp.ones_like(x)


@filter_custom_vjp
def clip(x: Array, low: float, *, high: float = 1.0) -> Array:
    return jnp.clip(x, low, high)


@clip.def_fwd
def clip_fwd(perturbed: Any, x: Array, low: float, *, high: float = 1.0) -> tuple[Array, Array]:
    return jnp.clip(x, low, high), x


@clip.def_bwd
def clip_bwd(
    residuals: Array, grad: Array, perturbed: Any, x: Array, low: float, *, high: float = 1.0
) -> Array:
    return grad * jnp.where((residuals > low) & (residuals < high), 1.0, 0.5)


@filter_custom_jvp
def flat(x: Array) -> Array:
    return jnp.floor(x)


@flat.def_jvp
def flat_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, None]:
    return flat(primals[0]), None


@filter_custom_vjp(check=False)
def stopped(x: Array) -> Array:
    return x


@stopped.def_fwd
def stopped_fwd(perturbed: bool, x: Array) -> tuple[Array, None]:
    return x, None


@stopped.def_bwd
def stopped_bwd(residuals: None, grad: Array, perturbed: bool, x: Array) -> None:
    return None


def total(x: Array) -> Array:
    return clip(x, 0.0, high=2.0).sum()


def accepted() -> None:
    assert_type(call(X, X, fn=jnp.add), Array)
    assert_type(filter_jit(call)(X, X, fn=jnp.add), Array)
    assert_type(clip(X, 0.0), Array)
    assert_type(clip(X, 0.0, high=2.0), Array)
    assert_type(filter_grad(total)(X), Array)
    assert_type(call_jvp((X, X), (X, None), fn=jnp.add), tuple[Array, Array])
    assert_type(clip_fwd(True, X, 0.0), tuple[Array, Array])
    assert_type(flat(X), Array)
    assert_type(stopped(X), Array)


def rejected_calls() -> None:
    call(X, X)  # type: ignore[call-arg]
    call("x", X, fn=jnp.add)  # type: ignore[arg-type]
    clip("x", 0.0)  # type: ignore[arg-type]
    clip(X, "0")  # type: ignore[arg-type]
    clip(X, 0.0, hihg=1.0)  # type: ignore[call-arg]


def rejected_rules() -> None:
    @filter_custom_jvp
    def double(x: Array) -> Array:
        return x * 2

    @double.def_jvp  # type: ignore[arg-type]
    def text(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, str]:
        return primals[0], "x"

    @double.def_jvp  # type: ignore[arg-type]
    def single(primals: tuple[Array], tangents: tuple[Array]) -> Array:
        return primals[0]

    @filter_custom_vjp
    def half(x: Array, n: int) -> Array:
        return x / n

    @half.def_fwd  # type: ignore[arg-type]
    def fwd_without_n(perturbed: Any, x: Array) -> tuple[Array, None]:
        return x, None

    @half.def_fwd  # type: ignore[arg-type]
    def fwd_without_residuals(perturbed: Any, x: Array, n: int) -> Array:
        return x

    @half.def_bwd  # type: ignore[arg-type]
    def bwd_of_text(residuals: None, grad: Array, perturbed: Any, x: Array, n: int) -> str:
        return "x"

    print(text, single, fwd_without_n, fwd_without_residuals, bwd_of_text)


if __name__ == "__main__":
    accepted()
