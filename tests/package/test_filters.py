"""Predicates of leaves, and filter, partition, combine, apply_updates, tree_equal."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from typedfilter import filters
from typedfilter._values.leaves import (
    if_array,
    is_array,
    is_array_like,
    is_array_or_struct,
    is_inexact_array,
    is_inexact_array_like,
    leaf_is_array_type,
)
from typedfilter.errors import PytreeError, TypedFilterError
from typedfilter.filters import apply_updates, combine, partition, tree_equal


class Converts:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __jax_array__(self) -> jax.Array:
        return jnp.asarray(self.value)


STRUCT = jax.ShapeDtypeStruct((2,), jnp.float32)

# value, is_array, is_array_like, is_inexact_array, is_inexact_array_like
TABLE = [
    (jnp.ones(2), True, True, True, True),
    (jnp.ones(2, int), True, True, False, False),
    (jnp.ones(2, bool), True, True, False, False),
    (jnp.ones(2, jnp.complex64), True, True, True, True),
    (jnp.ones(2, jnp.bfloat16), True, True, True, True),
    (jax.random.key(0), True, True, False, False),
    (np.ones(2), True, True, True, True),
    (np.ones(2, np.int8), True, True, False, False),
    (np.ones(2, ml_dtypes.bfloat16), True, True, True, True),
    (np.ones(2, ml_dtypes.float8_e4m3fn), True, True, True, True),
    (np.ones(2, ml_dtypes.int4), True, True, False, False),
    (np.zeros((2,), jax.dtypes.float0), True, True, False, False),
    (np.float32(1), True, True, True, True),
    (np.float64(1), True, True, True, True),
    (np.int32(1), True, True, False, False),
    (np.bool_(True), True, True, False, False),
    (ml_dtypes.bfloat16(1), True, True, True, True),
    (np.array([object()]), False, False, False, False),
    (np.array(["a"]), False, False, False, False),
    (np.array(["2020"], "M8[D]"), False, False, False, False),
    (np.array([1], "m8[D]"), False, False, False, False),
    (np.zeros(1, [("a", "i4")]), False, False, False, False),
    (np.ones(1, np.longdouble), False, False, False, False),
    (np.ones(1, ">f4"), False, False, False, False),
    (np.str_("a"), False, False, False, False),
    (np.datetime64("2020"), False, False, False, False),
    (np.longdouble(1), False, False, False, False),
    (True, False, True, False, False),
    (1, False, True, False, False),
    (1.0, False, True, False, True),
    (1j, False, True, False, True),
    (Converts(1.0), False, True, False, True),
    (Converts(1), False, True, False, False),
    (Converts, False, False, False, False),
    (STRUCT, False, False, False, False),
    ("a", False, False, False, False),
    (None, False, False, False, False),
    (abs, False, False, False, False),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{type(row[0]).__name__}-{row[0]!s:.12}")
def test_the_predicates_say_what_jax_can_trace_and_differentiate(row):
    value, *expected = row
    asked = (is_array, is_array_like, is_inexact_array, is_inexact_array_like)
    assert [predicate(value) for predicate in asked] == expected
    assert is_array_or_struct(value) == (expected[0] or value is STRUCT)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{type(row[0]).__name__}-{row[0]!s:.12}")
def test_what_the_type_of_a_leaf_says_is_what_its_value_says(row):
    assert leaf_is_array_type(type(row[0])) in (None, row[1])


def test_jax_traces_exactly_the_numpy_dtypes_that_count_as_arrays():
    dtypes = ["?", *"bBhHiIlLqQefdFDgG", "O", "S1", "U1", "M8[s]", "m8[s]", ">f4", ">i4", [("a", "i4")]]
    for dtype in map(np.dtype, dtypes):
        array = np.zeros(2, dtype)
        try:
            jax.eval_shape(lambda x: x, array)
            traced = True
        except TypeError:
            traced = False
        assert is_array(array) == traced, dtype


def test_tracers_of_every_transform_are_arrays():
    seen = []

    def look(x):
        seen.append((is_array(x), is_inexact_array(x), is_array_like(x), leaf_is_array_type(type(x))))
        return x

    jax.jit(look)(1.0)
    jax.vmap(look)(jnp.ones(2))
    jax.grad(look)(1.0)
    assert seen == [(True, True, True, None)] * 3


def test_if_array_is_a_value_that_maps_arrays_only():
    axis = if_array(-1)
    assert (axis(jnp.ones(1)), axis(np.ones(1)), axis(1.0), axis(None)) == (-1, -1, None, None)
    assert axis == if_array(-1) != if_array(0)
    assert hash(axis) == hash(if_array(-1))
    assert pickle.loads(pickle.dumps(axis)) == axis
    assert repr(axis) == "IfArray(axis=-1)"


# --- filter and partition -----------------------------------------------------------------------------------

ONES = jnp.ones(2)
TREE = (1, (ONES, "a"), None, {"k": 2.0})


def is_pair(node: Any) -> bool:
    return isinstance(node, tuple) and len(node) == 2


def not_tuple(node: Any) -> bool:
    return not isinstance(node, tuple)


@pytest.mark.parametrize(
    ("spec", "options", "expected"),
    [
        (is_array, {}, (None, (ONES, None), None, {"k": None})),
        (is_array, {"inverse": True}, (1, (None, "a"), None, {"k": 2.0})),
        (is_array, {"replace": 7}, (7, (ONES, 7), None, {"k": 7})),
        (True, {}, TREE),
        (False, {}, (None, (None, None), None, {"k": None})),
        (False, {"is_leaf": is_pair}, (None, None, None, {"k": None})),
        (not_tuple, {"is_leaf": is_pair}, (1, None, None, {"k": 2.0})),
        (not_tuple, {"is_leaf": is_pair, "inverse": True}, (None, (ONES, "a"), None, {"k": None})),
        ((True, False, True, is_array), {}, (1, (None, None), None, {"k": None})),
        ((True, (False, True), None, {"k": True}), {}, (1, (None, "a"), None, {"k": 2.0})),
        ((True, (False, True), None, {"k": True}), {"is_leaf": is_pair}, (1, (None, "a"), None, {"k": 2.0})),
        ((False, not_tuple, False, True), {"is_leaf": is_pair}, (None, None, None, {"k": 2.0})),
        (np.bool_(True), {}, TREE),
    ],
)
def test_filter_keeps_what_the_spec_selects(spec, options, expected):
    kept = filters.filter(TREE, spec, **options)
    assert jax.tree.structure(kept) == jax.tree.structure(expected)
    assert tree_equal(kept, expected)


def test_partition_gives_the_selected_and_the_others():
    arrays, rest = partition(TREE, is_array)
    assert tree_equal(arrays, filters.filter(TREE, is_array))
    assert tree_equal(rest, filters.filter(TREE, is_array, inverse=True))
    assert arrays[1][0] is ONES
    assert partition([1, "a"], callable, replace=0) == ([0, 0], [1, "a"])


def test_a_spec_asks_once_about_each_leaf():
    asked = []

    def predicate(leaf: Any) -> bool:
        asked.append(leaf)
        return True

    partition([1, [2, 3]], predicate)
    assert asked == [1, 2, 3]


SPEC_FIX = "\n  fix: give filter_spec the structure of the pytree, or of its upper levels"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            (True, False),
            (
                "filter(): argument `filter_spec` does not match `pytree`\n"
                f"  expected: tuple of 4\n  found: tuple of 2{SPEC_FIX}"
            ),
        ),
        (
            (True, [True, False], True, True),
            (
                "filter(): argument `filter_spec[1]` does not match `pytree[1]`\n"
                f"  expected: tuple of 2\n  found: list of 2{SPEC_FIX}"
            ),
        ),
        (
            (True, True, True, {"l": True}),
            (
                "filter(): argument `filter_spec[3]` does not match `pytree[3]`\n"
                f"  expected: dict with ['k']\n  found: dict with ['l']{SPEC_FIX}"
            ),
        ),
        (
            ((True,), True, True, True),
            (
                "filter(): argument `filter_spec[0]` does not match `pytree[0]`\n"
                f"  expected: a leaf of type int\n  found: tuple of 1{SPEC_FIX}"
            ),
        ),
        (
            None,
            (
                "filter(): argument `filter_spec` does not match `pytree`\n"
                f"  expected: tuple of 4\n  found: None{SPEC_FIX}"
            ),
        ),
        (
            (True, True, True, {"k": "yes"}),
            (
                "filter(): argument `filter_spec[3]['k']` is neither a bool nor a predicate\n  found: 'yes'\n"
                "  fix: write True, False or a function of one leaf that returns a bool"
            ),
        ),
    ],
)
def test_a_bad_spec_is_named_with_its_path(spec, text):
    with pytest.raises(PytreeError) as e:
        filters.filter(TREE, spec)
    assert str(e.value) == text
    assert isinstance(e.value, TypedFilterError)
    assert isinstance(e.value, ValueError)


def test_a_bad_spec_of_partition_names_partition():
    with pytest.raises(PytreeError) as e:
        partition(1, 0)
    assert str(e.value) == (
        "partition(): argument `filter_spec` is neither a bool nor a predicate\n  found: 0\n"
        "  fix: write True, False or a function of one leaf that returns a bool"
    )


# --- combine and apply_updates ------------------------------------------------------------------------------


def test_combine_takes_the_first_that_is_not_none():
    assert combine((None, 2, 3), (1, None, 4), (0, 0, 0)) == (1, 2, 3)
    assert combine((1, None)) == (1, None)
    assert combine(None, None) is None


def test_none_stands_for_a_subtree_in_any_of_the_trees():
    assert combine(None, (1, 2)) == (1, 2)
    assert combine((1, 2), None) == (1, 2)
    assert combine(((1, 1), None, {"a": None}), (None, (2, 2), {"a": 3})) == ((1, 1), (2, 2), {"a": 3})


def test_combine_takes_nodes_whole_where_is_leaf_says_so():
    assert combine((None, (1, 2)), ((3, 4), (5, 6)), is_leaf=lambda node: node in ((1, 2), (3, 4))) == (
        (3, 4),
        (1, 2),
    )


@pytest.mark.parametrize(
    ("trees", "text"),
    [
        ((), "combine(): needs at least one pytree\n  fix: pass the parts to combine"),
        (
            ((1, None), [1, 2]),
            (
                "combine(): argument `pytrees[1]` does not match `pytrees[0]`\n"
                "  expected: tuple of 2\n  found: list of 2\n"
                "  fix: combine parts of one pytree, as partition returns them"
            ),
        ),
        (
            ({"a": (None, 1)}, {"a": (None, None)}, {"a": (1, [2])}),
            (
                "combine(): argument `pytrees[2]['a'][1]` does not match `pytrees[0]['a'][1]`\n"
                "  expected: a leaf of type int\n  found: list of 1\n"
                "  fix: combine parts of one pytree, as partition returns them"
            ),
        ),
    ],
)
def test_trees_that_do_not_match_are_named_with_the_path(trees, text):
    with pytest.raises(PytreeError) as e:
        combine(*trees)
    assert str(e.value) == text


@pytest.mark.parametrize("subtree", [(), [2], (1, 2), {"a": None}, [None]])
def test_a_subtree_in_the_place_of_a_leaf_is_no_match(subtree):
    for trees in (((1,), (subtree,)), ((subtree,), (1,))):
        with pytest.raises(PytreeError, match=r"^combine\(\): argument `pytrees\[1\]\[0\]` does not match"):
            combine(*trees)
        with pytest.raises(PytreeError, match=r"^apply_updates\(\): argument `updates\[0\]` does not match"):
            apply_updates(*trees)


def test_static_parts_that_differ_are_said_to():
    one = jax.tree_util.Partial(print, 1)
    two = jax.tree_util.Partial(len, 1)
    with pytest.raises(PytreeError) as e:
        combine((one,), (two,))
    assert str(e.value) == (
        "combine(): argument `pytrees[1][0]` does not match `pytrees[0][0]`\n"
        f"  expected: Partial with {KEYS}\n  found: Partial with {KEYS} whose static parts differ\n"
        "  fix: combine parts of one pytree, as partition returns them"
    )


KEYS = ", ".join(
    jax.tree_util.keystr(path[:1])
    for path, _ in jax.tree_util.tree_leaves_with_path(
        jax.tree_util.Partial(print, 1), is_leaf=lambda node: isinstance(node, (tuple, dict))
    )
)


def test_updates_are_added_and_none_leaves_the_leaf():
    updated = apply_updates((1, ONES, None, print, (1, 2)), (None, ONES, None, None, None))
    assert tree_equal(updated, (1, 2 * ONES, None, print, (1, 2)))


@pytest.mark.parametrize(
    ("model", "updates", "text"),
    [
        (
            (1, 2),
            (1, 2, 3),
            (
                "apply_updates(): argument `updates` does not match `model`\n"
                "  expected: tuple of 2\n  found: tuple of 3\n"
            ),
        ),
        (
            (1, None),
            (1, 2),
            (
                "apply_updates(): argument `updates[1]` does not match `model[1]`\n"
                "  expected: None\n  found: a leaf of type int\n"
            ),
        ),
        (
            ((1, 2), 3),
            (1, None),
            (
                "apply_updates(): argument `updates[0]` does not match `model[0]`\n"
                "  expected: tuple of 2\n  found: a leaf of type int\n"
            ),
        ),
    ],
)
def test_updates_that_do_not_match_are_named_with_the_path(model, updates, text):
    with pytest.raises(PytreeError) as e:
        apply_updates(model, updates)
    fix = "  fix: give updates the structure of the model, with None for what stays as it is"
    assert str(e.value) == text + fix


def test_what_can_not_be_added_is_pythons_to_report():
    with pytest.raises(TypeError, match="unsupported operand"):
        apply_updates([object(), ONES], [0, ONES])


# --- tree_equal ---------------------------------------------------------------------------------------------

NAN = float("nan")
with jax.debug_nans(False):
    NANS = jnp.array(NAN)


@pytest.mark.parametrize(
    ("one", "two", "options", "expected"),
    [
        (1, 1.0, {}, True),
        (1, 1.0, {"typematch": True}, False),
        (ONES, 1.0, {}, False),
        (ONES, np.ones(2, np.float32), {}, True),
        (ONES, np.ones(2, np.float32), {"typematch": True}, False),
        (ONES, jnp.ones(3), {}, False),
        (ONES, jnp.ones(2, int), {}, False),
        (ONES, jnp.ones((2, 1)), {}, False),
        (ONES, ONES + 0.1, {}, False),
        (ONES, ONES + 0.1, {"atol": 0.2}, True),
        (ONES, ONES + 0.1, {"rtol": 0.2}, True),
        (np.ones(2), np.ones(2) + 0.1, {"rtol": 0.2}, True),
        (np.ones(2), np.ones(2) + 0.1, {"rtol": 0.01}, False),
        (1.0, 1.1, {"atol": 0.2}, False),
        (jnp.array(1), jnp.array(2), {"atol": 3}, False),
        (NANS, NANS, {}, False),
        (np.array(["a"]), np.array(["a"]), {}, True),
        (jax.random.key(0), jax.random.key(0), {"atol": 1}, True),
        ((1,), [1], {}, False),
        (None, 1, {}, False),
        ({"a": (ONES, print)}, {"a": (ONES, print)}, {}, True),
        ({"a": (ONES, print)}, {"a": (ONES, len)}, {}, False),
    ],
)
def test_trees_are_equal_when_structure_types_of_arrays_and_values_are(one, two, options, expected):
    assert bool(tree_equal(one, two, **options)) is expected


def test_all_trees_are_compared_with_the_first():
    assert tree_equal(1) is True
    assert tree_equal(1, 1, 2) is False
    assert not tree_equal(ONES, ONES, 2 * ONES)


def test_comparing_what_is_traced_gives_what_is_traced():
    assert jax.jit(lambda x: tree_equal((x, 1), (ONES, 1)))(ONES)
    assert not jax.jit(lambda x: tree_equal((x, 1), (ONES, 1)))(2 * ONES)


def test_comparing_nothing_is_an_error():
    with pytest.raises(PytreeError) as e:
        tree_equal()
    assert str(e.value) == "tree_equal(): needs at least one pytree\n  fix: pass those to compare"


def test_dataclasses_of_two_types_are_not_equal():
    def registered(name: str) -> Any:
        cls = dataclasses.make_dataclass(name, ["content", "size"])
        return jax.tree_util.register_dataclass(cls, data_fields=["content"], meta_fields=["size"])

    One, Two = registered("One"), registered("Two")
    assert tree_equal(One(1, 2), One(1, 2))
    assert not tree_equal(One(1, 2), Two(1, 2))
