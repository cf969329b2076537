"""`filter_closure_convert`: what a function closes over becomes data, and the function stays the same."""

from __future__ import annotations

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.extend.core import Jaxpr
from jaxtyping import Float

from typedfilter import (
    ShapeError,
    StaticArgumentError,
    Traced,
    combine,
    filter,
    filter_closure_convert,
    filter_grad,
    filter_jit,
    filter_vmap,
    is_array,
    partition,
    tree_equal,
)

W = jnp.array([1.0, 2.0, 3.0])
I = jnp.arange(3)  # noqa: E741
STRUCT = jax.ShapeDtypeStruct((3,), jnp.float32)


def closes_over_two(x, name="n", *, k=1):
    return {"y": x * W + I, "name": name, "k": k}


def ids(consts):
    return [id(const) for const in consts]


def test_the_example_of_the_documentation_holds():
    @jax.grad
    def f(x, y):
        z = x + y
        g2 = filter_closure_convert(lambda a: z + a, 1)
        assert ids(g2.consts) == [id(z)]
        return z

    assert f(1.0, 1.0) == 1.0


def test_every_array_is_hoisted_whatever_its_dtype():
    assert ids(filter_closure_convert(closes_over_two, W).consts) == ids([W, I])


@pytest.mark.parametrize("transform", [jax.grad, jax.jit, jax.vmap])
def test_tracers_are_the_very_objects(transform):
    seen = []

    def f(x):
        z = x * 2
        converted = filter_closure_convert(lambda a: a * z, 1.0)
        seen.append(ids(converted.consts) == [id(z)])
        return converted(1.0)

    transform(f)(jnp.ones(2) if transform is jax.vmap else 1.0)
    assert seen == [True]


def test_numpy_arrays_are_hoisted_as_numpy_arrays():
    n = np.arange(3, dtype=np.float32)
    (const,) = filter_closure_convert(lambda x: x + n, W).consts
    assert type(const) is np.ndarray
    assert np.array_equal(const, n)


def test_keys_are_hoisted():
    key = jax.random.key(0)
    converted = filter_closure_convert(lambda x: x + jax.random.normal(key), 1.0)
    assert ids(converted.consts) == [id(key)]


def test_arrays_of_a_callable_module_are_hoisted():
    module = jax.tree_util.Partial(lambda w, x: w * x, W)
    assert ids(filter_closure_convert(module, W).consts) == ids([W])


def test_it_computes_what_the_function_computes():
    out = filter_closure_convert(closes_over_two, W, "m", k=2)(2 * W, "m", k=2)
    assert jnp.array_equal(out.pop("y"), 2 * W * W + I)
    assert out == {"name": "m", "k": 2}


def test_examples_may_be_structs():
    assert jnp.array_equal(filter_closure_convert(closes_over_two, STRUCT)(W)["y"], W * W + I)


def test_the_function_is_traced_once_and_not_evaluated():
    seen = []

    def f(x):
        seen.append(type(x))
        return x * W

    converted = filter_closure_convert(f, W)
    converted(W), converted(2 * W)
    assert len(seen) == 1
    assert issubclass(seen[0], jax.core.Tracer)


def test_python_numbers_are_passed_as_they_are():
    seen = []
    filter_closure_convert(lambda *args: seen.extend(args), True, 2, 2.0, 2j)
    assert [(type(value), value) for value in seen] == [(bool, True), (int, 2), (float, 2.0), (complex, 2j)]


def test_it_is_a_pytree_of_its_program_and_its_consts():
    converted = filter_closure_convert(closes_over_two, W)
    (jaxpr, *consts), treedef = jax.tree_util.tree_flatten(converted)
    assert isinstance(jaxpr, Jaxpr)
    assert ids(consts) == ids([W, I])
    doubled = treedef.unflatten([jaxpr, 2 * W, I])
    assert jnp.array_equal(doubled(W)["y"], 2 * W * W + I)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(converted)[0]]
    assert paths == [".jaxpr", ".consts[0]", ".consts[1]"]


def test_the_structure_of_examples_and_result_can_be_asked_for():
    converted = filter_closure_convert(closes_over_two, W, k=2)
    assert converted.in_struct == ((STRUCT,), {"k": 2})
    assert converted.out_struct == {"y": STRUCT, "name": "n", "k": 2}
    assert filter_closure_convert(lambda: 1).out_struct == 1


def test_structures_survive_flattening_copying_and_other_consts():
    converted = filter_closure_convert(closes_over_two, W)
    for other in (jax.tree.map(lambda leaf: leaf, converted), copy.deepcopy(converted)):
        assert other.out_struct == converted.out_struct
        assert other.in_struct == converted.in_struct


def scaled(z, like, **options):
    return filter_closure_convert(lambda x, **k: (x * z, k), like, **options)


def test_two_conversions_at_like_arguments_differ_in_their_program_alone():
    one, two = scaled(W, W), scaled(2 * W, 2 * W)
    arrays, others = zip(partition(one, is_array), partition(two, is_array), strict=True)
    assert jax.tree.structure(arrays[0]) == jax.tree.structure(arrays[1])
    assert tree_equal(*others, typematch=True) is False
    no_program = [filter(part, lambda leaf: isinstance(leaf, Jaxpr), inverse=True) for part in others]
    assert tree_equal(*no_program, typematch=True) is True
    mixed = combine(arrays[1], others[0])  # as who chooses between two states of a solver does
    assert jnp.array_equal(mixed(W)[0], 2 * W * W)


@pytest.mark.parametrize(
    "other",
    [
        lambda: scaled(W, 1.0),
        lambda: filter_closure_convert(lambda x, **k: (2 * x, k), W[:2]),
        lambda: scaled(W, W, n=1),
        lambda: scaled(W, W, n=True),
        lambda: filter_closure_convert(lambda y, **k: (y * W, k), W),
        lambda: filter_closure_convert(lambda x, **k: ([x * W], k), W),
    ],
)
def test_conversions_that_take_or_return_something_else_differ_in_structure(other):
    assert jax.tree.structure(scaled(W, W, n=1.0)) != jax.tree.structure(other())
    assert jax.tree.structure(scaled(W, W)) != jax.tree.structure(other())


def test_conversions_of_a_plain_function_at_like_arguments_are_one_program():
    traces = []

    @filter_jit
    def call(f, x):
        traces.append(x)
        return f(x)

    for k in range(3):
        converted = filter_closure_convert(squared, W)
        assert jnp.array_equal(call(converted, k * W), k * k * W * W)
    assert len(traces) == 1
    assert filter_closure_convert(squared, 3.0)(3.0) == 9.0


SCALE = jnp.array(2.0)


def squared(x):
    return x**2


def scaled_by_a_global(x):
    return x * SCALE


def test_a_global_that_was_set_anew_is_hoisted_anew(monkeypatch):
    assert filter_closure_convert(scaled_by_a_global, 3.0)(3.0) == 6.0
    monkeypatch.setitem(globals(), "SCALE", jnp.array(5.0))
    assert filter_closure_convert(scaled_by_a_global, 3.0)(3.0) == 15.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class One:
    x: jax.Array

    def double(self):
        return 2 * self.x


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Two:
    x: jax.Array

    def double(self):
        return 20 * self.x


def test_an_argument_of_another_class_with_the_same_fields_does_not_fit():
    converted = filter_closure_convert(lambda model: model.double(), One(W))
    with pytest.raises(ShapeError, match="differs in structure"):
        converted(Two(W))


def test_gradients_reach_the_consts():
    converted = filter_closure_convert(lambda x: jnp.sum(x * W), W)
    grad = filter_grad(lambda f, x: f(x))(converted, 3 * W)
    assert jnp.array_equal(grad.consts[0], 3 * W)


def test_it_crosses_jit_as_an_argument_and_as_the_function():
    converted = filter_closure_convert(closes_over_two, W)
    expected = W * W + I
    assert jnp.array_equal(filter_jit(lambda f, x: f(x))(converted, W)["y"], expected)
    assert jnp.array_equal(filter_jit(converted)(W)["y"], expected)


def test_its_consts_stay_inputs_when_it_is_jitted():
    converted = filter_closure_convert(closes_over_two, W)
    jaxpr = filter_jit(converted).trace(W).jaxpr
    assert jaxpr.consts == []
    assert len(jaxpr.in_avals) == 3


def test_it_can_be_mapped():
    converted = filter_closure_convert(lambda x: x * W, STRUCT)
    assert jnp.array_equal(filter_vmap(converted)(jnp.ones((2, 3))), jnp.stack([W, W]))


def test_positional_keyword_and_default_arguments_are_one_call():
    converted = filter_closure_convert(closes_over_two, W)
    assert converted(x=W, name="n", k=1)["k"] == 1


def test_methods_can_be_converted():
    class Model:
        def __init__(self):
            self.w = W

        def __call__(self, x):
            return self.w * x

        def other(self, x):
            return self.w + x

    model = Model()
    assert ids(filter_closure_convert(model, W).consts) == ids([W])
    assert ids(filter_closure_convert(model.other, W).consts) == ids([W])


def test_a_number_fits_where_a_scalar_array_was():
    converted = filter_closure_convert(lambda x: x * W, jnp.array(1.0))
    assert jnp.array_equal(converted(2.0), 2 * W)


def test_an_annotation_says_that_numbers_are_traced():
    def f(x: Traced[float]):
        return x * W

    converted = filter_closure_convert(f, 1.0)
    assert jnp.array_equal(converted(2.0), 2 * W)


def test_the_body_is_checked_when_it_is_converted():
    def f(x: Float[Array, "a b"]):
        return x

    with pytest.raises(ShapeError):
        filter_closure_convert(f, W)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda f: f(jnp.ones(4)), ShapeError),
        (lambda f: f(jnp.ones(3, jnp.int32)), ShapeError),
        (lambda f: f((W, W)), ShapeError),
        (lambda f: f(1), ShapeError),
        (lambda f: f(W, "m"), StaticArgumentError),
        (lambda f: f(W, k=True), StaticArgumentError),
        (lambda f: f(W, k=1.0), StaticArgumentError),
    ],
    ids=["shape", "dtype", "structure", "type", "static", "bool", "float"],
)
def test_a_call_that_differs_from_the_examples_is_refused(call, error):
    with pytest.raises(error):
        call(filter_closure_convert(closes_over_two, W))


def test_a_nan_is_itself():
    converted = filter_closure_convert(lambda x, s: x, W, float("nan"))
    assert converted(W, float("nan")) is not None


def test_another_number_of_arguments_is_refused():
    converted = filter_closure_convert(lambda *xs: sum(xs), W, W)
    with pytest.raises(ShapeError):
        converted(W)


def test_its_name_signature_and_repr_are_readable():
    converted = filter_closure_convert(lambda x: x, W)
    assert converted.__name__ == "<lambda>"
    assert str(converted.__signature__) == "(x)"
    assert repr(converted) == "filter_closure_convert(<lambda>, consts=[])"


def test_a_deep_copy_has_its_own_consts():
    converted = filter_closure_convert(closes_over_two, W)
    copied = copy.deepcopy(converted)
    assert copied.consts[0] is not W
    assert jnp.array_equal(copied(W)["y"], converted(W)["y"])


@pytest.mark.parametrize("key", [True, 1.0, jnp.float32(1).item()])
def test_keys_of_dictionaries_without_leaves_are_told_apart_exactly(key):
    converted = filter_closure_convert(lambda tree, x: x * 2, {1: (), 2: []}, W)
    with pytest.raises(ShapeError, match="differs in structure"):
        converted({key: (), 2: []}, W)
