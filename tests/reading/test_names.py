"""Names in annotations: those of type checkers only, of other people's aliases, of other calls, and slips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, Union

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

from typedfilter import (
    AnnotationError,
    Donate,
    ShapeError,
    explain,
    filter_jit,
    pytree_dataclass,
)

if TYPE_CHECKING:
    from somewhere import Statics  # type: ignore[import-not-found]  # a name that only type checkers see

T = TypeVar("T")
Leaves = Union[int, Iterable["Leaves"]]


@pytest.mark.parametrize("dims", ["b n", "", "*b n", "n+1", "#n", "n", "...", "2 n", "rows=2 _"])
def test_dimensions_of_an_array_that_only_type_checkers_know_are_no_names(dims: str):
    def keep(x: Any) -> Any:
        return x

    def use(x: Any) -> Any:
        return x + 1

    keep.__annotations__["x"] = f"Float[Array, {dims!r}]"
    use.__annotations__["x"] = f"Donate[Float[Array, {dims!r}]] | None"
    x, y = jnp.ones((2, 3)), jnp.ones((2, 3))
    np.testing.assert_array_equal(filter_jit(keep)(x), x)
    filter_jit(use)(y)
    assert (x.is_deleted(), y.is_deleted()) == (False, True)
    assert "name `Float` not found" in str(explain(filter_jit(keep)))


def test_a_reference_inside_of_an_alias_means_what_it_means_where_the_alias_was_made():
    def step(params: Array, state: optax.OptState) -> optax.OptState:
        return state

    state = optax.adam(1e-3).init(jnp.ones(2))
    assert filter_jit(step)(jnp.ones(2), state)[0].count == 0
    assert "not found" not in str(explain(filter_jit(step)))


def test_a_marker_that_is_misspelt_is_told():
    def f(x: Array, n: Statik[int]) -> Any:  # pyright: ignore[reportUndefinedVariable]  # that is the point
        return x * n

    with pytest.raises(AnnotationError) as caught:
        filter_jit(f)(jnp.ones(2), 3)
    assert str(caught.value).splitlines() == [
        "f(): argument `n` has an annotation in which `Statik` is not found: did you mean `Static`?",
        "  found: Statik[int]",
        "  fix: write Static, or import `Statik`",
    ]


def test_a_name_that_only_type_checkers_know_may_be_like_that_of_a_marker():
    def f(x: Array, n: Statics[int]) -> Any:
        return x * n

    np.testing.assert_array_equal(filter_jit(f)(jnp.ones(2), 3), [3.0, 3.0])


def made(Mark: Any, former: Callable[..., Any] | None = None) -> Any:
    if former is not None:
        former(jnp.ones(2), 3)  # whose `Mark` is that of its own call, which is over

    def f(x: Mark, n: Any) -> Any:
        return x * n

    return f


def test_names_of_another_call_of_a_factory_are_not_borrowed():
    first = made(Array)
    seen: list[Array] = []

    def call(x: Array, n: int) -> None:
        seen.append(x)
        filter_jit(first)(x, n)

    made(Donate[Array], call)
    assert not seen[0].is_deleted()


def test_names_of_the_own_call_are():
    def inner() -> Any:
        Mark = Donate[Array]

        @filter_jit
        def f(x: Mark) -> Any:
            return x + 1

        return f

    x = jnp.ones(2)
    inner()(x)
    assert x.is_deleted()


def test_a_class_that_was_defined_again_is_told():
    def cell() -> type:
        @pytree_dataclass
        class Layer:
            w: Array

        return Layer

    old, new = cell(), cell()

    def f(layer: Any) -> Array:
        return layer.w

    f.__annotations__["layer"] = new
    with pytest.raises(ShapeError) as caught:
        filter_jit(f)(old(jnp.ones(2)))
    assert str(caught.value).splitlines() == [
        "f(): argument `layer` is a Layer, but Layer is expected as it is defined now",
        "  expected: Layer",
        "  found: a Layer",
        "  fix: make it again: `Layer` was defined anew since, as when a cell is run twice",
    ]
