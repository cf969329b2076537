"""filter_vjp: exact cotangents; mypy finds the right overload from 1.18 on. Executed: see test_static."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from typing_extensions import assert_type

from typedfilter import Static, filter_vjp

X = jnp.arange(3.0)


def square(x: Array) -> Array:
    return x @ x


def several_aux(x: Array, params: dict[str, Array]) -> tuple[Array, int]:
    return x * params["a"], 7


def accepted_vjp() -> None:
    out, pull = filter_vjp(square, X)
    assert_type(out, Array)
    assert_type(pull, Callable[[Array], tuple[Array]])
    assert_type(pull(out), tuple[Array])
    _, pull_two = filter_vjp(several_aux, X, {"a": X})
    print(pull_two)
    out, pull_both, aux = filter_vjp(several_aux, X, {"a": X}, has_aux=True)
    assert_type(pull_both(out), tuple[Array, dict[str, Array]])
    assert_type(aux, int)


def powers(x: Array, label: str, *, n: Static[int] = 2) -> Array:
    return x**n


def powers_aux(x: Array, *, n: Static[int] = 2) -> tuple[Array, str]:
    return x**n, "aux"


def accepted_vjp_with_keywords() -> None:
    out, pull = filter_vjp(powers, X, "a", n=3)
    assert_type(out, Array)
    assert_type(pull(out), tuple[Any, ...])
    one, pull_one, aux = filter_vjp(powers_aux, X, has_aux=True, n=3)
    assert_type(aux, str)
    (grad,) = pull_one(one)
    print(grad)


def rejected() -> None:
    filter_vjp(square)  # type: ignore[call-arg, arg-type]
    filter_vjp(square, "x")  # type: ignore[arg-type]
    filter_vjp(square, X, X)  # type: ignore[call-arg, arg-type]
    filter_vjp(powers, X, "a", n="3")  # type: ignore[arg-type]
    filter_vjp(powers, X, "a", m=3)  # type: ignore[call-arg]
    filter_vjp(powers, X, 2, n=3)  # type: ignore[arg-type]
    filter_vjp(powers_aux, "x", has_aux=True, n=3)  # type: ignore[arg-type]
    filter_vjp(square, X, has_aux=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    accepted_vjp()
    accepted_vjp_with_keywords()
