"""Dimension names that are nearly another one: asked about in a table, and no error."""

import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import CheckWarning, explain, filter_jit, filter_vmap
from typedfilter._reading.plan import plan_of
from typedfilter._reading.slips import slips

X = jnp.ones((2, 3))


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


def test_a_name_that_is_typed_wrong_warns_once_at_the_definition_where_it_is_checked(recwarn):
    def mean(x: Float[Array, "batch n"]) -> Float[Array, "bacth"]:
        return x.mean(1)

    mean.__qualname__ = "mean"
    filter_jit(mean, check=False)(X)
    assert len(recwarn) == 0
    with pytest.warns(CheckWarning) as told:
        filter_jit(mean)(X)
    filter_jit(mean)(X[:1])
    filter_vmap(mean)(X[None])
    assert len(recwarn) == 0
    (warning,) = told
    assert str(warning.message) == (
        "mean(): the return value is annotated Float[Array, 'bacth']: the dimension `bacth` stands in this "
        "place alone\n"
        "  expected: a name that another annotation has, too, or one that is unlike these\n"
        "  found: `bacth`, which is compared with nothing\n"
        "  fix: did you mean `batch`?"
    )
    assert (warning.filename, warning.lineno) == (__file__, mean.__code__.co_firstlineno)


@pytest.mark.parametrize(
    ("name", "other", "sure"),
    [
        ("bacth", "batch", True),
        ("chanels", "channels", True),
        ("featurees", "features", True),
        ("ebmed", "embed", True),
        ("heads", "head", False),
        ("x_dim", "y_dim", False),
        ("in_features", "out_features", False),
        ("size_1", "size_12", False),
    ],
)
def test_only_what_the_keys_of_one_word_give_is_warned_of(name, other, sure):
    def f(x: Float[Array, other], y: Float[Array, name]): ...

    assert [slip.sure for slip in slips(plan_of(f))] in ([[True]] if sure else [[], [False]])
