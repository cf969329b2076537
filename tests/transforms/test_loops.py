"""`filter_while_loop`, `filter_fori_loop`, `filter_map` and `filter_associative_scan`."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool, Float, Int

from typedfilter import (
    ScanAxis,
    ShapeError,
    Static,
    VmapAxisError,
    filter_associative_scan,
    filter_fori_loop,
    filter_jit,
    filter_map,
    filter_vmap,
    filter_while_loop,
    pytree_dataclass,
)

X = jnp.arange(6.0).reshape(3, 2)


@pytree_dataclass
class Search:
    """A search: numbers that change beside what stays."""

    low: float
    high: float
    steps: int
    fn: Any = jnp.sin

    def goes_on(self) -> Bool[Array, ""]:
        return jnp.logical_and(self.high - self.low > 1e-3, self.steps < 50)

    def next(self) -> Search:
        mid = (self.low + self.high) / 2
        above = self.fn(mid) > 0
        return Search(
            jnp.where(above, self.low, mid),
            jnp.where(above, mid, self.high),
            self.steps + 1,
            self.fn,
        )


def bisect(low: Any, high: Any) -> Any:
    return filter_while_loop(Search.goes_on, Search.next, Search(low, high, 0))


def test_a_while_loop_carries_numbers_and_hands_static_parts_on():
    found = bisect(-1.0, 2.0)
    assert abs(float(found.low)) < 1e-3
    assert found.fn is jnp.sin
    with jax.disable_jit():
        assert float(bisect(-1.0, 2.0).low) == float(found.low)
    mapped = filter_vmap(lambda low: bisect(low, 2.0))(jnp.array([-1.0, -0.5]))
    assert jnp.all(jnp.abs(mapped.low) < 2e-3)
    assert int(filter_jit(bisect)(jnp.float32(-1.0), 2.0).steps) == int(found.steps)


def test_a_while_loop_has_a_forward_derivative_and_no_other_one():
    def power(x: Any) -> Any:
        return filter_while_loop(lambda c: c["i"] < 3, lambda c: {"i": c["i"] + 1, "y": c["y"] * x}, start)[
            "y"
        ]

    start = {"i": 0, "y": 1.0}
    assert jax.jvp(power, (2.0,), (1.0,)) == (8.0, 12.0)
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(power)(2.0)


def test_loops_that_are_called_again_are_not_traced_again():
    traces: list[str] = []

    def goes_on(carry: Any) -> Any:
        traces.append("goes_on")
        return carry[0] < 3

    def step(carry: Any) -> Any:
        traces.append("step")
        return carry[0] + 1, carry[1]

    def counted(i: Any, carry: Any) -> Any:
        traces.append("counted")
        return carry + i

    def mapped(x: Any) -> Any:
        traces.append("mapped")
        return x * 2

    def combined(a: Any, b: Any) -> Any:
        traces.append("combined")
        return a + b

    for _ in range(3):
        filter_while_loop(goes_on, step, (0, "s"))
        filter_fori_loop(0, 3, counted, 0)
        filter_map(mapped, X)
        filter_associative_scan(combined, jnp.ones(2))
    assert traces[:4] == ["goes_on", "step", "counted", "mapped"]
    assert traces[4:] == ["combined"] * (len(traces) - 4)  # JAX itself calls it several times in one trace
    before = len(traces)
    filter_associative_scan(combined, jnp.zeros(2))
    assert len(traces) == before
    filter_fori_loop(0, 4, counted, 0)
    filter_while_loop(goes_on, step, (0, "t"))
    assert len(traces) == before + 3


@pytest.mark.parametrize("bound", [4, jnp.int32(4), np.int64(4), jnp.asarray(4)])
def test_bounds_that_are_known_make_a_loop_that_has_a_gradient(bound):
    def power(x: Any) -> Any:
        return filter_fori_loop(1, bound, lambda i, y: y * x, 1.0)

    assert float(jax.grad(power)(2.0)) == 12.0
    assert float(filter_fori_loop(bound, 1, lambda i, y: y * 2, 1.0)) == 1.0


def test_bounds_that_are_traced_make_a_loop_without():
    start = {"n": 0, "s": "static"}
    run = filter_jit(
        lambda upper: filter_fori_loop(0, upper, lambda i, c: {"n": c["n"] + i, "s": c["s"]}, start)
    )
    assert [int(run(jnp.int32(n))["n"]) for n in (0, 3, 5)] == [0, 3, 10]
    with pytest.raises(ValueError, match="Can only use `unroll`"):
        filter_jit(lambda n: filter_fori_loop(0, n, lambda i, c: c + i, 0, unroll=2))(jnp.int32(3))


def test_counters_are_annotated_as_integers_or_numbers():
    def as_array(i: Int[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x + i

    def as_number(i: int, x: float) -> float:
        return x + i

    def goes_on(state: tuple[int, float]) -> Bool[Array, ""]:
        return state[0] < 3  # type: ignore[return-value]  # a number to type checkers, traced here

    def step(state: tuple[int, float]) -> tuple[int, float]:
        return state[0] + 1, state[1] * 2

    np.testing.assert_array_equal(filter_fori_loop(0, 3, as_array, jnp.zeros(2)), [3, 3])
    assert float(filter_fori_loop(0, 3, as_number, 0.0, unroll=True)) == 3.0
    assert [float(x) for x in filter_while_loop(goes_on, step, (0, 1.0))] == [3.0, 8.0]
    with pytest.raises(ShapeError, match="argument `x`"):
        filter_fori_loop(0, 3, as_array, 0.0)


def test_static_parameters_of_loops_stay_as_they_are():
    def body(i: Any, carry: Static[int]) -> int:
        assert carry == 3
        return carry

    def goes_on(carry: Static[int]) -> Any:
        return False

    assert filter_fori_loop(0, 2, body, 3) == 3
    assert filter_while_loop(goes_on, lambda carry: carry, 3) == 3


# ------------------------------------------------------------------------------------------------ filter_map


def test_a_map_steps_along_the_axes_that_annotations_say():
    def column(x: Annotated[Float[Array, "3"], ScanAxis[1]]) -> Annotated[Any, ScanAxis[-1]]:
        return {"x": x * 2, "s": "static"}

    for batch_size in (None, 2):
        out = filter_map(column, X, batch_size=batch_size)
        np.testing.assert_array_equal(out["x"], X * 2)
        assert out["s"] == "static"


def test_a_map_sees_whole_what_has_no_axis():
    @pytree_dataclass
    class Pair:
        x: Float[Array, "*n"]
        w: Annotated[Float[Array, "2"], ScanAxis[None]]
        k: int = 2

    out = filter_map(lambda p: (p.x @ p.w) * p.k, Pair(X, jnp.array([1.0, 2.0])), batch_size=2)
    np.testing.assert_array_equal(out, X @ jnp.array([1.0, 2.0]) * 2)
    grads = jax.grad(lambda w: filter_map(lambda p: p.x @ p.w, Pair(X, w)).sum())(jnp.ones(2))
    np.testing.assert_array_equal(grads, X.sum(0))


# ----------------------------------------------------------------------------------- filter_associative_scan


@pytree_dataclass
class Affine:
    """x -> a x + b, with a bias that all share."""

    a: Float[Array, "*n"]
    b: Annotated[Float[Array, "*n"], ScanAxis[-1]]
    shared: Annotated[Float[Array, " m"], ScanAxis[None]]
    name: str = "affine"


def after(first: Affine, second: Affine) -> Affine:
    assert second.name == "affine"
    return Affine(first.a * second.a, first.b * second.a + second.b, first.shared, first.name)


def test_an_associative_scan_of_a_class_with_static_and_shared_parts():
    a, b = jnp.array([0.5, 2.0, 3.0, 1.0]), jnp.arange(4.0)
    out = filter_associative_scan(after, Affine(a, b, jnp.ones(2)))
    x, wanted = 0.0, []
    for i in range(4):
        x = float(a[i] * x + b[i])
        wanted.append(x)
    np.testing.assert_allclose(out.b, wanted)
    np.testing.assert_array_equal(out.shared, jnp.ones(2))
    assert out.name == "affine"


def test_the_axis_of_an_associative_scan_takes_precedence_over_annotations():
    def add(x: Annotated[Array, ScanAxis[1]], y: Any) -> Any:
        return x + y

    np.testing.assert_array_equal(filter_associative_scan(add, X), jnp.cumsum(X, 1))
    np.testing.assert_array_equal(filter_associative_scan(add, X, axis=-2), jnp.cumsum(X, 0))
    np.testing.assert_array_equal(filter_associative_scan(jnp.add, X, reverse=True), X[::-1].cumsum(0)[::-1])


def test_what_every_element_shares_must_come_back():
    def wrong(first: Affine, second: Affine) -> Affine:
        return Affine(first.a, first.b, first.shared * 2)

    with pytest.raises(VmapAxisError, match="but computed in each step"):
        filter_associative_scan(wrong, Affine(jnp.ones(3), jnp.ones(3), jnp.ones(2)))
