"""Loops and branches keep the types of carries and results. Executed: see test_static."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int
from typing_extensions import assert_type

from typedfilter import (
    ScanAxis,
    filter_associative_scan,
    filter_cond,
    filter_fori_loop,
    filter_linearize,
    filter_map,
    filter_scan,
    filter_switch,
    filter_while_loop,
)

X = jnp.arange(6.0).reshape(3, 2)
State = tuple[Array, str]


def step(carry: State, x: Array) -> tuple[State, dict[str, Array]]:
    return (carry[0] + x.sum(), carry[1]), {"y": x}


def column(carry: Array, x: Annotated[Array, ScanAxis[1]]) -> tuple[Array, Annotated[Array, ScanAxis[1]]]:
    return carry + x.sum(), x


def bare(carry: Array, x: ScanAxis[1, Float[Array, " n"]]) -> tuple[Array, None]:
    return carry + x.sum(), None


def no_steps(carry: float, x: None) -> tuple[float, int]:
    return carry * 2, 3


def accepted_scan() -> None:
    carry, ys = filter_scan(step, (jnp.zeros(()), "name"), X)
    assert_type(carry, State)
    assert_type(ys, dict[str, Array])
    total, xs = filter_scan(column, 0.0, X, reverse=True, unroll=2)
    assert_type(total, Array)
    assert_type(xs, Array)
    assert_type(filter_scan(no_steps, 1.0, length=3), tuple[float, int])
    assert_type(filter_scan(no_steps, 1, None, 3, check=False), tuple[float, int])
    filter_scan(bare, 0.0, X, unroll=True)
    filter_scan(lambda carry, x: (carry + x, None), 0.0, jnp.ones(3))


class Layer:
    """A method is a body, too."""

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        return x * 2

    def step(self, x: Array, i: Int[Array, ""]) -> tuple[Array, None]:
        return self(x) + i, None


def accepted_methods() -> None:
    assert_type(filter_scan(Layer().step, X, jnp.arange(3))[0], Array)
    assert_type(filter_map(Layer(), X), Array)


def goes_on(state: State) -> Bool[Array, ""]:
    return state[0] < 3


def add_one(state: State) -> State:
    return state[0] + 1, state[1]


def add(i: Array, total: Array) -> Array:
    return total + i


def add_number(i: int, total: float) -> float:
    return total + i


def accepted_loops() -> None:
    assert_type(filter_while_loop(goes_on, add_one, (jnp.zeros(()), "a")), State)
    assert_type(filter_fori_loop(0, jnp.int32(3), add, jnp.zeros(())), Array)
    assert_type(filter_fori_loop(0, 3, add, 0, unroll=2), Array)
    assert_type(filter_fori_loop(0, 3, add_number, 0.0), float)
    assert_type(filter_associative_scan(jnp.add, X, axis=1), Array)
    assert_type(filter_map(lambda x: {"a": x}, X, batch_size=2), dict[str, Array])


def double(x: Array, label: str) -> tuple[Array, str]:
    return x * 2, label


def halve(x: Array, label: str) -> tuple[Array, str]:
    return x / 2, label


def accepted_branches() -> None:
    assert_type(filter_cond(True, double, halve, X, "a"), tuple[Array, str])
    assert_type(filter_switch(jnp.int32(1), [double, halve], X, "a", check=False), tuple[Array, str])
    assert_type(filter_cond(X.sum() > 0, lambda: X, lambda: -X), Array)


def with_aux(x: Array) -> tuple[Array, str]:
    return x * 2, "aux"


def accepted_linearize() -> None:
    out, linear = filter_linearize(double, X, "a")
    assert_type(out, tuple[Array, str])
    assert_type(linear, Callable[[Array, str], tuple[Array, str]])
    _, linear_one, aux = filter_linearize(with_aux, X, has_aux=True)
    assert_type(linear_one(X), Array)
    assert_type(aux, str)


def wrong_carry(carry: Array, x: Array) -> tuple[str, Array]:
    return "", x


def rejected() -> None:
    filter_scan(step, (jnp.zeros(()), 1), X)  # type: ignore[arg-type]
    filter_scan(step, (jnp.zeros(()), "a"), "xs")  # type: ignore[arg-type]
    filter_scan(wrong_carry, X, X)  # type: ignore[arg-type]
    filter_scan(column, "text", X)  # type: ignore[arg-type]
    filter_scan(column, 0.0, X, unrol=2)  # type: ignore[call-overload]
    filter_while_loop(goes_on, add_one, X)  # type: ignore[arg-type]
    filter_while_loop(goes_on, double, (X, "a"))  # type: ignore[arg-type]
    filter_fori_loop("0", 3, add, X)  # type: ignore[call-overload]
    filter_fori_loop(0, 3, add, "text")  # type: ignore[arg-type]
    filter_cond(True, double, halve, X)  # type: ignore[arg-type]
    filter_cond(True, double, halve, X, 1)  # type: ignore[arg-type]
    filter_switch(0, [double, goes_on], X, "a")  # type: ignore[arg-type]
    filter_map(step, X)  # type: ignore[arg-type]
    filter_associative_scan(double, X)  # type: ignore[arg-type]


def unread(value: Any) -> None:
    print(value)


if __name__ == "__main__":
    accepted_scan()
    accepted_methods()
    accepted_loops()
    accepted_branches()
    accepted_linearize()
