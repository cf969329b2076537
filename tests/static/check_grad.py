"""Derivatives: a gradient has the type of what is differentiated. Executed as well: see test_static."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float
from typing_extensions import TypeVar, assert_type

from typedfilter import (
    NoDiff,
    Static,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_value_and_grad,
    pytree_dataclass,
)

X = jnp.arange(3.0)
T = TypeVar("T")


@pytree_dataclass
class Params:
    w: Float[Array, " n"]
    b: NoDiff[Float[Array, ""]]

    @filter_grad
    def pull(self, x: Array) -> Array:
        return (self.w @ x + self.b) ** 2


PARAMS = Params(X, jnp.float32(1.0) + 0)


def loss(params: Params, x: Float[Array, " n"], *, power: Static[int] = 2) -> Float[Array, ""]:
    return (params.w @ x + params.b) ** power


def loss_aux(params: Params, x: Float[Array, " n"]) -> tuple[Float[Array, ""], str]:
    return loss(params, x), "aux"


def square(x: Array) -> Array:
    return x @ x


def accepted_grad() -> None:
    assert_type(filter_grad(loss)(PARAMS, X), Params)
    assert_type(filter_grad(loss)(PARAMS, X, power=3), Params)
    assert_type(filter_grad(loss)(PARAMS, x=X), Params)
    assert_type(filter_grad(loss, has_aux=False, check=False)(PARAMS, X), Params)
    assert_type(filter_grad(loss_aux, has_aux=True)(PARAMS, X), tuple[Params, str])
    assert_type(filter_value_and_grad(loss)(PARAMS, X), tuple[Array, Params])
    assert_type(filter_value_and_grad(loss_aux, has_aux=True)(PARAMS, X), tuple[tuple[Array, str], Params])
    assert_type(filter_grad(square)(X), Array)
    assert_type(X - 0.1 * filter_grad(square)(X), Array)
    assert_type(filter_grad(filter_jit(square))(X), Array)
    assert_type(filter_jit(filter_grad(loss))(PARAMS, X), Params)
    print(filter_grad(lambda tree: tree["a"] @ tree["a"])({"a": X}))


@filter_grad
def slope(x: Array, y: Array) -> Array:
    return x @ y


@filter_grad(has_aux=True)
def slope_aux(x: Array, y: Array) -> tuple[Array, int]:
    return x @ y, 3


@filter_value_and_grad(has_aux=False)
def value_and_slope(x: Array, y: Array) -> Array:
    return x @ y


@filter_value_and_grad(has_aux=True)
def value_and_slope_aux(x: Array, y: Array) -> tuple[Array, list[int]]:
    return x @ y, [3]


@filter_jit
@filter_value_and_grad
def compiled(params: Params, x: Array) -> Array:
    return loss(params, x)


def accepted_decorators() -> None:
    assert_type(slope(X, X), Array)
    assert_type(slope_aux(X, X), tuple[Array, int])
    assert_type(value_and_slope(X, y=X), tuple[Array, Array])
    assert_type(value_and_slope_aux(X, X), tuple[tuple[Array, list[int]], Array])
    assert_type(compiled(PARAMS, X), tuple[Array, Params])
    assert_type(compiled.lower(PARAMS, X).compile()(PARAMS, X), tuple[Array, Params])


def accepted_methods() -> None:
    assert_type(PARAMS.pull(X), Params)
    assert_type(Params.pull(PARAMS, X), Params)


def several(x: Array, params: dict[str, Array], label: str) -> tuple[Array, dict[str, Array], str]:
    return x * params["a"], params, label


def several_aux(x: Array, params: dict[str, Array]) -> tuple[Array, int]:
    return x * params["a"], 7


def accepted_jvp() -> None:
    assert_type(filter_jvp(square, (X,), (X,)), tuple[Array, Array])
    assert_type(
        filter_jvp(several_aux, (X, {"a": X}), (X, None)), tuple[tuple[Array, int], tuple[Array, int]]
    )
    assert_type(
        filter_jvp(several_aux, [X, {"a": X}], [X, None]), tuple[tuple[Array, int], tuple[Array, int]]
    )

    def scaled(x: Array, *, by: Array) -> Array:
        return x * by

    def three(x: Array, y: Array, z: Array, *, n: Static[int] = 2) -> Array:
        return x**n

    def five(x: Array, y: Array, z: Array, u: Array, v: str, *, n: Static[int] = 2) -> Array:
        return x**n

    assert_type(filter_jvp(scaled, (X,), (X,), by=X), tuple[Array, Array])
    assert_type(filter_jvp(three, (X, X, X), (X, X, X), n=3), tuple[Array, Array])
    assert_type(filter_jvp(five, (X, X, X, X, "a"), (X, X, None, X, None), n=3), tuple[Array, Array])


def accepted_jacobians() -> None:
    def linear(x: Array, scale: Array) -> Array:
        return x * scale

    def with_aux(x: Array) -> tuple[Array, str]:
        return x * 2, "aux"

    def tree(x: Array) -> dict[str, Array]:
        return {"a": x}

    assert_type(filter_jacfwd(linear)(X, X), Array)
    assert_type(filter_jacrev(linear)(X, scale=X), Array)
    assert_type(filter_hessian(square)(X), Array)
    assert_type(filter_jacfwd(with_aux, has_aux=True)(X), tuple[Array, str])
    assert_type(filter_jacrev(with_aux, has_aux=True)(X), tuple[Array, str])
    assert_type(filter_jacrev(loss)(PARAMS, X), Params)
    assert_type(filter_jacfwd(tree)(X), dict[str, Array])
    assert_type(filter_hessian(tree)(X), dict[str, Array])

    print(filter_jacfwd(lambda x: x * x)(X), filter_jacrev(lambda x, y: x * y)(X, X))
    print(filter_hessian(lambda x: x @ x)(X), filter_hessian(lambda x: (x @ x, 1), has_aux=True)(X))
    print(filter_jacfwd(has_aux=True)(lambda x: (x * x, 1))(X), filter_hessian()(lambda x: x @ x)(X))

    @filter_jacfwd
    def decorated(x: Array) -> Array:
        return x * 2

    @filter_hessian(has_aux=True)
    def twice(x: Array) -> tuple[Array, str]:
        return x @ x, "aux"

    assert_type(decorated(X), Array)
    assert_type(twice(X), tuple[Array, str])


def rejected_functions() -> None:
    def labelled(x: Array) -> str:
        return "a"

    def pair(x: Array) -> tuple[Array, Array]:
        return x, x

    filter_grad(labelled)  # type: ignore[arg-type]
    filter_grad(pair)  # type: ignore[arg-type]
    filter_grad(square, has_aux=True)  # type: ignore[arg-type]
    filter_grad(loss_aux)  # type: ignore[arg-type]
    filter_value_and_grad(labelled)  # type: ignore[type-var]
    filter_value_and_grad(loss_aux)  # type: ignore[type-var]
    filter_grad(square, has_aux="yes")  # type: ignore[call-overload]
    filter_grad(square, argnums=1)  # type: ignore[call-overload]
    filter_hessian(square, has_aux=True)  # type: ignore[arg-type]
    filter_grad(3)  # type: ignore[call-overload]


def rejected_calls() -> None:
    filter_grad(loss)("params", X)  # type: ignore[arg-type]
    filter_grad(loss)(PARAMS)  # type: ignore[call-arg]
    filter_grad(loss)(PARAMS, X, power="2")  # type: ignore[arg-type]
    filter_value_and_grad(loss)(PARAMS, X, X)  # type: ignore[call-arg, arg-type]
    compiled(X, X)  # type: ignore[arg-type]
    PARAMS.pull("x")  # type: ignore[arg-type]
    gradient: Array = filter_grad(loss)(PARAMS, X)  # type: ignore[assignment]
    filter_jvp(square, (X, X), (X, X))  # type: ignore[arg-type]
    filter_jvp(several_aux, (X, "a"), (X, None))  # type: ignore[arg-type]
    filter_jvp(several_aux, (X, {}), (X, None), n=3)  # type: ignore[arg-type]
    filter_jvp(square, ("x",), (X,))  # type: ignore[arg-type]
    filter_jacfwd(square)("x")  # type: ignore[arg-type]
    print(gradient)


if __name__ == "__main__":
    accepted_grad()
    accepted_decorators()
    accepted_methods()
    accepted_jvp()
    accepted_jacobians()
