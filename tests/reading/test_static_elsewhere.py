"""The `Static` of JAX and of `jax_dataclasses` is ours, and neither has to be there."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import jax
import jax.numpy as jnp
import jax.typing
import pytest
from jax import Array

from typedfilter import AnnotationError, explain, filter_jit

T = TypeVar("T")
OfJaxDataclasses = Annotated[T, "__jax_dataclasses_static_field__"]
OfJax = Annotated[T, object()]
X = jnp.arange(3.0)


@pytest.fixture
def jax_has_static(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jax.typing, "Static", OfJax, raising=False)


def test_static_of_jax_dataclasses_is_a_constant_of_the_program():
    @filter_jit
    def f(x: Array, options: OfJaxDataclasses[tuple[Any, ...]]) -> Array:
        return x * (2 if options[0] else 3)

    assert f(X, (True,)).tolist() == [0.0, 2.0, 4.0]
    assert f(X, (False,)).tolist() == [0.0, 3.0, 6.0]
    assert "static" in str(explain(f)).splitlines()[3]


def test_static_of_jax_is_a_constant_of_the_program_where_jax_has_it(jax_has_static):
    @filter_jit
    def f(x: Array, options: OfJax[Any]) -> Array:
        return x * (2 if options else 3)

    assert f(X, True).tolist() == [0.0, 2.0, 4.0]
    assert "static" in str(explain(f)).splitlines()[3]


@pytest.mark.parametrize("marker", [OfJax, OfJaxDataclasses], ids=["jax", "jax_dataclasses"])
def test_what_contradicts_static_contradicts_theirs(jax_has_static, marker: Any):
    def f(x):
        return x

    f.__annotations__["x"] = marker[Array]
    with pytest.raises(AnnotationError, match="static"):
        filter_jit(f)


def test_other_metadata_is_left_alone():
    def f(x: Annotated[Array, "__jax_dataclasses_static_fields__"]) -> Array:
        return x

    assert filter_jit(f)(X).tolist() == [0.0, 1.0, 2.0]
