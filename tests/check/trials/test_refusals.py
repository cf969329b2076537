"""A refusal is a success only where the function refuses what it was given."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from typedfilter.check import check_shapes


def verdict(fn):
    (result,) = check_shapes(fn)
    return result


def rows(scales, table):
    if scales.shape[0] != table.shape[0]:
        raise ValueError("one scale a row")
    return scales[:, None] * table


def test_a_helper_that_refuses_what_the_function_made_shows_its_mistake():
    def fn(u: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return rows(jnp.ones(u.shape[1]), u)

    result = verdict(fn)
    assert result.status == "failed"
    assert result.message == "ValueError: one scale a row"
    assert dict(result.sizes) == {"n": 3, "k": 5}


def test_the_same_helper_may_refuse_what_the_caller_gave():
    def half(x):
        if x.shape[0] % 2:
            raise ValueError("an even number of rows")
        return x[: x.shape[0] // 2]

    def fn(x: Float[Array, "n k"]) -> Float[Array, "n//2 k"]:
        return half(x)

    assert verdict(fn).status == "checked"


def test_what_works_only_where_two_sizes_agree_is_no_success():
    def fn(s: Float[Array, "m"], u: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return rows(s, u)

    result = verdict(fn)
    assert result.status == "skipped"
    assert result.message == "it works only where m = n: ValueError: one scale a row"


def test_what_the_function_itself_asserts_is_said_with_the_verdict():
    def fn(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
        assert x.shape == y.shape
        return x + y

    result = verdict(fn)
    assert (result.status, result.by_letter) == ("checked", True)
    assert result.message.startswith("works only where n = m; ")
    assert result.fix.startswith("say so in the annotations")


def test_an_alternative_that_is_never_accepted_is_named():
    def fn(x: Float[Array, "n"], signs: Float[Array, "n"] | None) -> Float[Array, "n"]:
        if signs is not None:
            raise ValueError("signs are for later")
        return x

    result = verdict(fn)
    assert result.status == "skipped"
    assert "with signs: Float[Array, 'n'] it refuses all that was tried: ValueError" in result.message


def test_each_alternative_may_be_refused_beside_another():
    def fn(
        x: Float[Array, "n"], y: Float[Array, "n"] | None, mode: Literal["one", "two"]
    ) -> Float[Array, "n"]:
        if (mode == "two") != (y is not None):
            raise ValueError("two need a second")
        return x if y is None else x + y

    assert verdict(fn).status == "checked"


def test_multiples_of_what_the_signature_offers_are_tried():
    def fn(x: Float[Array, "n"], width: Literal[48, 96] = 48) -> Float[Array, "n"]:
        if x.shape[0] % width:
            raise ValueError("whole blocks")
        return x.reshape(-1, width).reshape(-1)

    result = verdict(fn)
    assert result.status == "checked"
    assert "n=48" in result.message
