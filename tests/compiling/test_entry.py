"""The function that a jitted call enters: it binds as the user's own function does."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import pytest

from typedfilter import filter_jit


def test_parameters_may_have_the_names_of_builtins():
    @filter_jit
    def f(x, type, map=3, *values, name="a", **options):
        return x * type, map, values, name, options

    for _ in range(2):
        scaled, *rest = f(jnp.ones(2), 2, 4, 5, 6, name="b", q=7, dict=8)
        assert scaled.tolist() == [2.0, 2.0]
        assert rest == [4, (5, 6), "b", {"q": 7, "dict": 8}]


def test_however_arguments_are_passed_there_is_one_trace():
    traces = 0

    @filter_jit
    def f(x, n=2, *, k=3):
        nonlocal traces
        traces += 1
        return x * n * k

    x = jnp.ones(())
    for call in (
        lambda: f(x),
        lambda: f(x, 2),
        lambda: f(x=x, n=2),
        lambda: f(n=2, k=3, x=x),
        lambda: f(x, k=3),
    ):
        assert float(call()) == 6.0
    assert traces == 1


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_keywords_may_come_in_any_order(order):
    @filter_jit
    def f(**values):
        return values["a"] - values["b"] * values["c"]

    values = {"a": jnp.ones(()), "b": 2, "c": jnp.ones(())}
    assert float(f(**{name: values[name] for name in order})) == -1.0


def test_a_key_error_of_the_function_is_the_users_own():
    @filter_jit
    def f(x, name):
        return {"a": x}[name]

    for _ in range(2):
        with pytest.raises(KeyError, match=r"^'b'"):
            f(jnp.ones(2), "b")
    assert f(jnp.ones(2), "a").tolist() == [1.0, 1.0]
    with pytest.raises(KeyError, match=r"^'b'"):
        f(jnp.ones(2), "b")
