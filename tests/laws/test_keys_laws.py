"""Laws of exact keys, against a deep comparison that is written independently of them."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from typedfilter._values.keys import exact_key, intern


class Level(enum.IntEnum):
    ZERO = 0
    ONE = 1


class Pair(NamedTuple):
    one: Any
    two: Any


@dataclasses.dataclass(frozen=True)
class Box:
    content: Any


# Few, and mostly equal under ==, so that two drawn values often collide where they must not.
LEAVES = [
    *(
        0,
        1,
        False,
        True,
        0.0,
        -0.0,
        1.0,
        0j,
        1 + 0j,
        complex(0.0, -0.0),
        Level.ZERO,
        Level.ONE,
        None,
        "",
        "1",
    ),
    *(np.int32(1), np.int64(1), np.float32(0.0), np.float32(-0.0), np.float64(1.0), np.bool_(True)),
    *(math.inf, -math.inf, int, float),
]

leaves = st.sampled_from(LEAVES) | st.builds(float, st.just("nan")) | st.builds(np.float32, st.just("nan"))
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.builds(Pair, inner, inner)
        | st.builds(Box, inner)
        | st.frozensets(inner, max_size=3)
        | st.builds(range, st.integers(0, 2), st.integers(0, 2))
    ),
    max_leaves=4,
)


def same_float(one: float, two: float) -> bool:
    if math.isnan(one) or math.isnan(two):
        return math.isnan(one) and math.isnan(two)
    return one == two and math.copysign(1, one) == math.copysign(1, two)


def same(one: Any, two: Any) -> bool:
    """Whether no program can tell two values apart: types and signs of zero at every depth."""
    if type(one) is not type(two):
        return False
    match one:
        case enum.Enum():
            return one is two
        case float() | np.floating():
            return same_float(float(one), float(two))
        case complex():
            return same_float(one.real, two.real) and same_float(one.imag, two.imag)
        case tuple() | frozenset():
            return len(one) == len(two) and all(map(same, one, two))
        case range():
            return (one.start, one.stop, one.step) == (two.start, two.stop, two.step)
        case Box():
            return same(one.content, two.content)
        case _:
            return bool(one == two)


@given(values, values)
def test_keys_are_equal_exactly_when_no_program_can_tell_the_values_apart(one, two):
    assert (exact_key(one) == exact_key(two)) == same(one, two)


@given(values, values)
def test_interned_objects_are_one_exactly_when_the_values_are_the_same(one, two):
    first, second = intern(one), intern(two)
    assert (first is second) == same(one, two)


@given(values)
def test_equal_keys_have_equal_hashes_and_contain_no_surprises(value):
    again = exact_key(value)
    assert again == exact_key(value)
    assert hash(again) == hash(exact_key(value))
    assert same(intern(value).value, value)


@given(values, values)
def test_values_that_print_differently_have_different_keys(one, two):
    if repr(one) != repr(two):
        assert exact_key(one) != exact_key(two)
