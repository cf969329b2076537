"""Checks that warn: each place once, with the text of the error, and the call goes on."""

from __future__ import annotations

import functools
import warnings

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float, Int

from typedfilter import (
    ShapeError,
    Traced,
    filter_checkpoint,
    filter_custom_jvp,
    filter_grad,
    filter_jit,
    filter_scan,
    filter_value_and_grad,
    filter_vmap,
)
from typedfilter.errors import CheckWarning

X = jnp.arange(3.0)


def make(**options):
    """A function of its own each time: what was told of one is not told of another."""

    def scaled(x: Float[Array, "n"], k: Int[Array, "n"], rate: Traced[float] = 1.0) -> Float[Array, "n n"]:
        return x * k * rate

    return filter_jit(scaled, **options)


def told(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = call()
    assert all(one.category is CheckWarning for one in found)
    return result, found


@pytest.fixture(params=["option", "variable"])
def warning(request, monkeypatch):
    """What makes a jitted function that warns, by option or by environment."""
    if request.param == "option":
        return functools.partial(make, check="warn")
    monkeypatch.setenv("TYPEDFILTER_CHECK", "warn")
    return make


def test_each_place_is_told_once_at_the_definition_and_the_call_goes_on(warning):
    f = warning()
    result, found = told(lambda: f(X, X))
    assert jnp.array_equal(result, X * X)
    assert {one.filename for one in found} == {__file__}
    assert len(found) == 2
    for _ in range(2):  # also where it is traced again
        assert told(lambda: f(jnp.ones(4), jnp.ones(4)))[1] == []
        assert told(lambda: f(X, X))[1] == []


def test_the_text_is_that_of_the_error(warning):
    _, found = told(lambda: warning()(X, X))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ShapeError) as raised:
        patch.delenv("TYPEDFILTER_CHECK", raising=False)
        make()(X, X)
    assert str(found[0].message) == str(raised.value)


def test_by_default_a_line_is_told_once_however_many_functions_are_made_there(warning):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(3):
            warning()(X, X)
    assert len(found) == 2


def test_numbers_become_arrays_all_the_same(warning):
    with jax.disable_jit():
        result, _ = told(lambda: warning()(X, X, 2.0))
    assert jnp.array_equal(result, 2 * X * X)


def test_a_warning_can_be_made_an_error_by_its_class(warning):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckWarning)
        f = warning()
        for _ in range(2):  # nobody was told by the first call, which raised
            with pytest.raises(CheckWarning, match="argument `k`"):
                f(X, X)


def test_off_stays_off_inside():
    inner = make(check="warn")
    assert told(lambda: filter_jit(lambda x: inner(x, x), check=False)(X))[1] == []


def test_warnings_reach_the_wrappers_that_are_called():
    inner = make()
    result, found = told(lambda: filter_jit(lambda x: inner(x, x), check="warn")(X))
    assert jnp.array_equal(result, X * X)
    assert len(found) == 2
    with pytest.raises(ShapeError):
        make()(X, X)


@pytest.mark.parametrize(
    "transform", [filter_jit, filter_grad, filter_value_and_grad, filter_vmap, filter_checkpoint]
)
def test_every_transform_takes_it(transform):
    def f(x: Float[Array, "n m"]) -> Float[Array, ""]:
        return jnp.sum(x)

    x = jnp.ones((2, 3)) if transform is filter_vmap else X
    result, found = told(lambda: transform(f, check="warn")(x))
    expected = transform(lambda x: jnp.sum(x))(x)
    assert all(map(jnp.array_equal, jax.tree.leaves(result), jax.tree.leaves(expected)))
    assert len(found) == 1


def test_rules_and_loops_take_it():
    @filter_custom_jvp(check="warn")
    def f(x: Float[Array, "n m"]) -> Array:
        return x * 2

    f.def_jvp(lambda primals, tangents: (f(*primals), 2 * tangents[0]))
    _, found = told(lambda: jax.jvp(f, (X,), (X,)))
    assert len({str(one.message) for one in found}) == 1

    def step(carry: Float[Array, "n m"], x: Array) -> tuple[Array, Array]:
        return carry + x, x

    (total, _), found = told(lambda: filter_scan(step, jnp.array(0.0), X, check="warn"))
    assert total == 3.0
    assert len(found) == 1
