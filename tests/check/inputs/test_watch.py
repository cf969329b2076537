"""What else a field may be matters only where somebody reads it."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float

from typedfilter.check import check_shapes


class Cooling(NamedTuple):
    active: bool = False
    steps: int = 4


class Settings(NamedTuple):
    debug: bool = False
    donate: bool = False
    doubled: bool = False
    cooling: Cooling = Cooling()


@dataclasses.dataclass(frozen=True)
class Mode:
    verbose: bool = False
    kind: Literal["sum", "keep"] = "keep"
    count: int = 3


class Scale(eqx.Module):
    weight: Float[Array, "n"]
    used: bool
    unused: bool

    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.weight if self.used else x

    @eqx.filter_jit
    def compiled(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.weight if self.used else x


def one(fn):
    (result,) = check_shapes(fn)
    return result


def of_scale(name):
    (result,) = [r for r in check_shapes(Scale) if r.function.endswith(f"Scale.{name}")]
    return result


def test_what_nobody_reads_is_neither_varied_nor_told():
    def fn(x: Float[Array, "n"], settings: Settings, mode: Mode) -> Float[Array, "n"]:
        return x * 2 if settings.doubled else x

    assert one(fn).message == "for all sizes; in 2 cases"


def test_settings_inside_of_settings_are_varied_where_they_are_read():
    def fn(x: Float[Array, "n"], settings: Settings) -> Float[Array, "n"]:
        return x / settings.cooling.steps if settings.cooling.active else x

    assert one(fn).message == "for all sizes; in 2 cases; with settings.cooling.steps=4"


def test_what_is_read_in_one_branch_only_is_varied_too():
    def fn(x: Float[Array, "n"], settings: Settings, mode: Mode) -> Float[Array, "n"]:
        return x.sum() if settings.doubled and mode.kind == "sum" else x

    result = one(fn)
    assert result.status == "failed"
    assert result.case == ("settings.doubled=True", "mode.kind='sum'")


def test_a_helper_may_be_who_reads():
    def is_doubled(settings):
        return settings.doubled

    def fn(x: Float[Array, "n"], settings: Settings) -> Float[Array, "n"]:
        return x.sum() if is_doubled(settings) else x

    assert one(fn).case == ("settings.doubled=True",)


def test_the_dictionary_of_a_dataclass_reads_all_of_it():
    def fn(x: Float[Array, "n"], mode: Mode) -> Float[Array, "n"]:
        return x.sum() if dataclasses.asdict(mode)["kind"] == "sum" else x

    assert one(fn).case == ("mode.verbose=False", "mode.kind='sum'", "mode.count=3")


@pytest.mark.parametrize("name", ["__call__", "compiled"])
def test_taking_a_model_apart_is_no_reading(name):
    assert of_scale(name).message.startswith("for all sizes; in 2 cases")


def test_hashing_settings_is_no_reading_and_the_classes_are_as_before():
    def fn(x: Float[Array, "n"], mode: Mode) -> Float[Array, "n"]:
        return jax.jit(lambda m, y: y if m.verbose else y + jnp.ones(()), static_argnums=0)(mode, x)

    before = dict(vars(Mode)), dict(vars(Settings))
    assert one(fn).message == "for all sizes; in 2 cases"
    assert (dict(vars(Mode)), dict(vars(Settings))) == before
