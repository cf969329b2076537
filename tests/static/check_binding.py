"""Wrappers that bind by their declared `__get__`; mypy reads it from 1.18 on. Executed: see test_static."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from typing_extensions import assert_type

from typedfilter import (
    Static,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_grad,
    filter_jit,
    pytree_dataclass,
)

X = jnp.arange(3.0)


@pytree_dataclass
class Model:
    weight: Array

    @filter_jit
    @filter_grad
    def pull(self, x: Array, *, power: Static[int] = 2) -> Array:
        return (self.weight @ x) ** power

    @filter_jit
    def positional(self, x: Array, /) -> Array:
        return self.weight @ x

    @filter_jit
    def renamed(model, x: Array) -> Array:
        return model.weight @ x

    @staticmethod
    @filter_jit
    def anything(x: Any, y: Array) -> Array:
        return y

    @filter_custom_vjp
    def slow(self, x: Array) -> Array:
        return self.weight @ x

    @filter_custom_jvp
    def fast(self, x: Array) -> Array:
        return self.weight @ x


@Model.slow.def_fwd
def slow_fwd(perturbed: Any, model: Model, x: Array) -> tuple[Array, None]:
    return model.weight @ x, None


@Model.slow.def_bwd
def slow_bwd(residuals: None, grad: Array, perturbed: Any, model: Model, x: Array) -> Model:
    return Model(grad * x)


@Model.fast.def_jvp
def fast_jvp(primals: tuple[Model, Array], tangents: tuple[Model, Array]) -> tuple[Array, Array]:
    return primals[0].weight @ primals[1], tangents[0].weight @ primals[1]


def accepted() -> None:
    model = Model(X)
    assert_type(model.pull(X), Model)
    assert_type(model.pull(X, power=3), Model)
    assert_type(Model.pull(model, X), Model)
    assert_type(model.positional(X), Array)
    assert_type(model.renamed(X), Array)
    assert_type(model.anything(model, X), Array)
    assert_type(model.slow(X), Array)
    assert_type(model.fast(X), Array)
    assert_type(Model.slow(model, X), Array)


def rejected(model: Model) -> None:
    model.pull("x")  # type: ignore[arg-type]
    model.positional(model, X)  # type: ignore[call-arg, arg-type]
    model.slow("x")  # type: ignore[arg-type]
    model.fast(X, X)  # type: ignore[call-arg]
    model.pull.lowre(X)  # type: ignore[attr-defined]


if __name__ == "__main__":
    accepted()
