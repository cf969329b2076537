"""Objects whose attributes change between two calls: what a body reads of them is read in each."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from typedfilter import (
    filter_checkpoint,
    filter_cond,
    filter_eval_shape,
    filter_make_jaxpr,
    filter_map,
    filter_scan,
    filter_switch,
)
from typedfilter._values.keys import may_be_read_anew

X, ONE = jnp.ones(3), jnp.ones(())


class ByIdentity:
    scale = 1.0

    def __call__(self, x: Any) -> Any:
        return x * self.scale

    def step(self, carry: Any, x: Any) -> Any:
        return carry + x * self.scale, None


class OfItsOwn(ByIdentity):
    """Equal to all of its class: that decides, as of any static value."""

    def __eq__(self, other: object) -> bool:
        return type(other) is OfItsOwn

    def __hash__(self) -> int:
        return 1


def called(one: Any, x: Any) -> Any:
    return one(x)


def sized(one: Any) -> Any:
    return jnp.zeros(int(one.scale))


kept = filter_checkpoint(called)
CALLS: dict[str, Callable[[Any], Any]] = {
    "scan, a method": lambda one: filter_scan(one.step, ONE * 0, X)[0] / 3,
    "scan, a partial": lambda one: filter_scan(functools.partial(ByIdentity.step, one), ONE * 0, X)[0] / 3,
    "cond": lambda one: filter_cond(True, one, one, ONE),
    "switch, an operand": lambda one: filter_switch(0, [called], one, ONE),
    "map": lambda one: filter_map(one, X)[0],
    "checkpoint": lambda one: kept(one, ONE),
    "eval_shape": lambda one: filter_eval_shape(sized, one).shape[0],
    "make_jaxpr": lambda one: filter_make_jaxpr(sized)(one)[1].shape[0],
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_body_reads_of_an_object_is_what_it_is_at_that_call(name: str):
    one = ByIdentity()
    found = []
    for scale in (1.0, 2.0, 1.0):
        one.scale = scale
        found.append(float(CALLS[name](one)))
    assert found == [1.0, 2.0, 1.0]


class Choice(enum.Enum):
    A = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    size: Any = 1


@dataclasses.dataclass(unsafe_hash=True)
class Settable:
    size: int = 1


KNOWN: list[Any] = [
    OfItsOwn(),
    1,
    "a",
    (1, "a"),
    math.sin,
    jnp.tanh,
    np.sin,
    np.dtype("int8"),
    called,
    Choice.A,
    Frozen,
    Frozen(),
    math,
]


@pytest.mark.parametrize("value", KNOWN, ids=[type(value).__name__ + str(i) for i, value in enumerate(KNOWN)])
def test_what_nobody_sets_an_attribute_of_is_known_again(value: Any):
    assert not may_be_read_anew(value)


CHANGING = {
    "identity": ByIdentity(),
    "dataclass": Settable(),
    "inside": Frozen((1, ByIdentity())),
}


@pytest.mark.parametrize("value", CHANGING.values(), ids=CHANGING)
def test_an_object_whose_attributes_can_be_set_is_not(value: Any):
    assert may_be_read_anew(value)
