"""`filter_closure_convert`: what a function closes over becomes data, and the function stays the same."""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import (
    ShapeError,
    StaticArgumentError,
    Traced,
    filter_closure_convert,
    filter_grad,
    filter_jit,
    filter_vmap,
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


def test_it_is_a_pytree_of_its_consts():
    converted = filter_closure_convert(closes_over_two, W)
    leaves, treedef = jax.tree_util.tree_flatten(converted)
    assert ids(leaves) == ids([W, I])
    doubled = treedef.unflatten([2 * W, I])
    assert jnp.array_equal(doubled(W)["y"], 2 * W * W + I)
    (path, _), _ = jax.tree_util.tree_flatten_with_path(converted)[0]
    assert jax.tree_util.keystr(path) == ".consts[0]"


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
