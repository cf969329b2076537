"""The dimension language, held against jaxtyping's own reading of it."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import export
from jaxtyping import Float, jaxtyped

from typedfilter._reading import dims as _dims
from typedfilter._reading.dims import Bindings, DisagreementError
from typedfilter.check.inputs import sizes as _sizes

WORDS = ("n", "m", "3", "rows=3", "#n", "#3", "_", "_k", "n+1", "2*n", "#n+1", "min(n,m)")
VARIADIC = ("...", "*b", "*#b", "#*b", "*_any")


def agrees(dims: str, shape: tuple[int, ...], bindings: Bindings) -> bool:
    try:
        _dims.match(_dims.parse(dims), shape, bindings)
    except DisagreementError:
        return False
    return True


@st.composite
def dim_strings(draw):
    words = draw(st.lists(st.sampled_from(WORDS), max_size=3))
    if draw(st.booleans()):
        words.insert(draw(st.integers(0, len(words))), draw(st.sampled_from(VARIADIC)))
    return " ".join(words)


shapes = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@given(st.lists(st.tuples(dim_strings(), shapes), min_size=1, max_size=3))
def test_matching_concrete_shapes_says_what_jaxtyping_says(pairs):
    ours = Bindings()
    known = "n m"  # so that no expression comes before its names
    pairs = [(known, (2, 3)), *pairs]
    with jaxtyped("context"):
        for dims, shape in pairs:
            theirs = isinstance(np.zeros(shape, np.float32), Float[np.ndarray, dims])
            assert agrees(dims, shape, ours) == theirs


@pytest.mark.parametrize(
    ("dims", "shape", "why"),
    [
        ("n m", (2,), "1 axis, not 2"),
        ("n ... m", (2,), "1 axis, not 2 or more"),
        ("n n", (2, 3), "axis 1 is 3, not n = 2"),
        ("n 4", (2, 3), "axis 1 is 3, not 4"),
        ("n n+1", (2, 2), "axis 1 is 2, not n+1 = 3"),
        ("n k+1", (2, 2), "axis 1: no size is known for `k` in `k+1`"),
    ],
)
def test_a_disagreement_names_the_axis_the_size_and_the_name(dims, shape, why):
    with pytest.raises(DisagreementError) as error:
        _dims.match(_dims.parse(dims), shape, Bindings())
    assert str(error.value) == why


def test_a_shape_that_does_not_match_binds_nothing():
    bindings = Bindings()
    assert not agrees("n m 3", (1, 2, 4), bindings)
    assert bindings.sizes == {}


def test_symbolic_sizes_are_equal_only_where_they_are_for_every_value():
    n, m = export.symbolic_shape("n, m")
    assert agrees("a b a+b", (n, m, m + n), Bindings())
    assert not agrees("a a", (n, m), Bindings())
    assert not agrees("a 3", (n, m), Bindings())


def test_symbolic_shapes_broadcast():
    n, m = export.symbolic_shape("n, m")
    assert _dims.broadcast((n, 1), (m,)) == (n, m)
    with pytest.raises(DisagreementError):
        _dims.broadcast((n,), (m,))


def test_numbers_in_braces_come_from_the_arguments():
    assert _dims.interpolate("{k}*n", {"k": 3}) == "3*n"
    assert _dims.interpolate("n+{x.size}", {"x": np.zeros(2)}) == "n+2"


# -------------------------------------------------------------------------------------------------- sizes


def sizes_of(*free: str, expressions: tuple[str, ...] = (), extra: tuple[int, ...] = ()):
    return list(_sizes.concrete(_sizes.Names(free, expressions), extra))


def test_sizes_to_try_are_odd_and_even_and_one_and_unequal_and_equal():
    found = sizes_of("n", "m", "k")
    values = [tuple(sizes.values()) for sizes in found]
    assert any(all(v % 2 for v in vs) and len(set(vs)) == 3 for vs in values)
    assert any(not any(v % 2 for v in vs) and len(set(vs)) == 3 for vs in values)
    assert (1, 1, 1) in values
    assert any(len(set(vs)) == 1 and vs[0] > 1 for vs in values)
    assert any(vs == tuple(sorted(vs)) for vs in values if len(set(vs)) == 3)
    assert any(vs == tuple(sorted(vs, reverse=True)) for vs in values if len(set(vs)) == 3)


@pytest.mark.parametrize("expression", ["n-2", "n-m", "n//4", "n/2", "(n+1)//2 - 3", "n*m-10"])
def test_every_axis_of_an_annotation_holds_an_element_at_every_size_that_is_tried(expression):
    found = sizes_of("n", "m", expressions=(expression,))
    assert found
    for sizes in found:
        value = _dims.evaluate(expression, sizes)
        assert value >= 1
        assert value == int(value)


def test_sizes_that_no_choice_makes_possible_are_not_tried():
    assert sizes_of("n", expressions=("2-n-4",)) == []


def test_each_extra_size_is_tried_for_each_name_alone():
    found = [(sizes["n"], sizes["m"]) for sizes in sizes_of("n", "m", extra=(7,))]
    assert any(n == 7 and m != 7 for n, m in found)
    assert any(m == 7 and n != 7 for n, m in found)


def test_an_expression_constrains_its_symbols():
    sizes = _sizes.symbolic(_sizes.Names(("h", "k"), ("h-k+1",)))
    h, k = sizes["h"], sizes["k"]
    assert h - k >= 0
    out = jax.eval_shape(
        lambda x: jnp.zeros((h - k + 1,)) + x[k - 1 :], jax.ShapeDtypeStruct((h,), jnp.float32)
    )
    assert out.shape == (h - k + 1,)


@pytest.mark.parametrize("name", ["max", "min", "mod", "floordiv", "in", "is"])
def test_a_name_that_means_something_to_a_parser_is_a_name_all_the_same(name):
    assert set(_sizes.symbolic(_sizes.Names((name, "n")))) == {name, "n"}


def test_names_that_equal_another_get_its_size():
    names = _sizes.Names(("a", "b"), equal=(("a", "b"),))
    assert all(sizes["a"] == sizes["b"] for sizes in _sizes.concrete(names))
    symbols = _sizes.symbolic(names)
    assert symbols["a"] is symbols["b"]


def test_every_word_of_the_language_is_read():
    kinds = {word: _dims.parse(word)[0].kind for word in itertools.chain(WORDS, VARIADIC)}
    assert kinds["rows=3"] == "fixed"
    assert kinds["_k"] == kinds["..."] == kinds["*_any"] == "anonymous"
    assert kinds["#n+1"] == kinds["min(n,m)"] == "expression"
