"""Dimension names that are nearly another one: asked about in a table, and no error."""

from __future__ import annotations

import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import explain


def swapped(x: Float[Array, "batch n"]) -> Float[Array, "bacth"]: ...
def dropped(x: Float[Array, "channels n"], y: Float[Array, "chanels"], z: Float[Array, "channels"]): ...
def computed(x: Float[Array, "length"]) -> Float[Array, "lenght+1"]: ...
def numbered(x: Float[Array, "dim_1"], y: Float[Array, "dim_2"]): ...
def short(x: Float[Array, "nb"], y: Float[Array, "n"]): ...
def apart(x: Float[Array, "batch"], y: Float[Array, "hidden"]): ...
def plural(x: Float[Array, "head"], y: Float[Array, "heads head"], z: Float[Array, "heads"]): ...


@pytest.mark.parametrize(
    ("fn", "name", "meant"),
    [(swapped, "bacth", "batch"), (dropped, "chanels", "channels"), (computed, "lenght", "length")],
)
def test_a_name_that_stands_once_and_is_nearly_another_is_asked_about(fn, name, meant):
    explained = explain(fn)
    assert explained.slips == ((name, meant),)
    assert f"dimension `{name}` stands in one place only: did you mean `{meant}`?" in str(explained)


@pytest.mark.parametrize("fn", [numbered, short, apart, plural])
def test_names_that_differ_on_purpose_are_not(fn):
    assert explain(fn).slips == ()
    assert "did you mean" not in str(explain(fn))
