"""`Float` alone says neither array nor shape: that is told, and does not hide the body."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, Int, Key

from typedfilter import AnnotationError, Static, filter_jit, pytree_dataclass
from typedfilter.check import check_shapes

_TOLD = "`{}` is annotated {}, but `{}` alone says neither array nor shape".format


def scaled(x: Float[Array, "n"], step: Float) -> Float[Array, "n"]:
    return x * step


def total(x: Float[Array, "n"]) -> Float:
    return x.sum()


def counted(x: Float[Array, "n"], k: Int = 3) -> tuple[Float, Float[Array, "n"]]:
    return x.sum(), x * k


def noisy(key: Key, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + jax.random.normal(key, x.shape)


def optional(x: Float[Array, "n"], step: Float | None) -> Float[Array, "n"]:
    return x if step is None else x * step


@pytest.mark.parametrize(
    ("fn", "told"),
    [
        (scaled, _TOLD("step", "Float", "Float")),
        (total, _TOLD("return", "Float", "Float")),
        (counted, _TOLD("k", "Int", "Int")),
        (noisy, _TOLD("key", "Key", "Key")),
        (optional, _TOLD("step", "Float | None", "Float")),
    ],
)
def test_a_sound_body_is_good_and_the_annotation_is_told(fn, told):
    (result,) = check_shapes(fn)
    assert result.status in ("proved", "checked")
    assert result.by_letter
    assert result.message.endswith(told)
    assert result.fix.startswith("write ")
    assert result.fix.endswith("[Array, '...']")


def test_a_mistake_in_the_body_is_what_is_told_first():
    def fn(x: Float[Array, "n m"], step: Float = 0.1) -> Float[Array, "n m"]:
        return x.T * step

    (result,) = check_shapes(fn)
    assert result.status == "failed"
    assert result.message == "the return value is not what is annotated: axis 0 is m, not n"


def test_a_body_that_nobody_can_judge_leaves_the_annotation():
    def fn(x: Float[Array, "n"], step: Float) -> Float[Array, "n"]:
        return x * len(step.names)

    (result,) = check_shapes(fn)
    assert (result.status, result.by_letter) == ("skipped", True)
    assert result.message.startswith("fn(): argument `step` is annotated Float, but `Float` alone says")


def test_the_function_keeps_its_annotations():
    before = dict(scaled.__annotations__)
    check_shapes(scaled)
    assert scaled.__annotations__ == before


def test_arrays_that_say_their_shape_are_read_as_before():
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return jnp.flip(x)

    (result,) = check_shapes(fn)
    assert (result.status, result.message, result.by_letter) == ("proved", "for all sizes", False)


class Scaled(eqx.Module):
    scale: Float
    shift: Float | None = None

    def shifted(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x + 1

    def wrong(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum()

    def scaled(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.scale


def test_a_field_of_somebody_elses_class_is_tried_as_a_number():
    found = {result.function.rpartition(".")[2]: result for result in check_shapes(Scaled)}
    assert {name: result.status for name, result in found.items()} == {
        "shifted": "proved",
        "wrong": "failed",
        "scaled": "checked",
    }
    assert found["scaled"].message == "for all sizes; with self.scale a number"
    assert filter_jit(lambda model, x: x * model.scale)(Scaled(jnp.float32(2)), 3.0) == 6.0


class Stepped(eqx.Module):
    size: Float[Array, ""]
    count: int
    loss: Callable[[Float[Array, "n"], dict], Float]

    def __init__(
        self, loss: Callable[[Float[Array, "n"], dict], Float], size: Float = 0.1, count: Int = 3
    ) -> None:
        self.size, self.count, self.loss = jnp.asarray(size), count, loss

    def step(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x - self.size * self.count * jax.grad(self.loss)(x, {})

    def wrong(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.step(x)[1:]


def test_a_constructor_that_says_it_hides_no_method_of_its_class():
    found = {result.function.rpartition(".")[2]: result for result in check_shapes(Stepped)}
    assert {name: result.status for name, result in found.items()} == {
        "__init__": "checked",
        "step": "checked",
        "wrong": "skipped",  # nobody is blamed for what was made up
    }
    assert found["step"].message.startswith("for all sizes; with ")


@pytest.mark.parametrize("annotation", [Float, Float | None])
def test_a_class_of_ours_refuses_such_a_field(annotation):
    with pytest.raises(AnnotationError, match="but `Float` alone says neither array nor shape"):
        pytree_dataclass(type("Model", (), {"__annotations__": {"weight": annotation}}))


def test_a_marker_around_it_is_never_lost():
    model = type("Model", (eqx.Module,), {"__annotations__": {"weight": Static[Float]}})
    with pytest.raises(AnnotationError, match="but `Float` alone says neither array nor shape"):
        filter_jit(lambda m: 0)(model(1.0))
