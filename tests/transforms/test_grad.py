"""`filter_grad` and `filter_value_and_grad`: what is differentiated, and what a gradient looks like."""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import jaxtyping
import ml_dtypes
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, Int
from numpy.testing import assert_allclose

import typedfilter as tf
from typedfilter import (
    Diff,
    NoDiff,
    ShapeError,
    Static,
    Traced,
    filter_checkpoint,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_value_and_grad,
)
from typedfilter.pytree import pytree_dataclass

X = jnp.arange(1.0, 4.0)
Y = jnp.arange(4.0, 7.0)


@filter_grad
def module_level(x, n=2):
    """A loss."""
    return (x**n).sum()


class Pair(NamedTuple):
    one: Any
    two: Any


@pytree_dataclass
class Layer:
    weight: Any
    activation: Any = jnp.tanh
    frozen: NoDiff[Any] = None
    size: Static[int] = 3

    def __call__(self, x):
        return self.activation(self.weight * x).sum()


# ------------------------------------------------------------------------------------ the rule, unannotated


def test_the_gradient_is_that_of_jax():
    assert_allclose(filter_grad(lambda x: jnp.sin(x).sum())(X), jnp.cos(X), rtol=1e-6)
    value, grad = filter_value_and_grad(lambda x: jnp.sin(x).sum())(X)
    assert_allclose(value, jnp.sin(X).sum(), rtol=1e-6)
    assert_allclose(grad, jnp.cos(X), rtol=1e-6)


def test_only_the_first_argument_is_differentiated_and_others_may_be_anything():
    grad = filter_grad(lambda x, y, fn, *, n, name: (fn(x) * y).sum() * n)(X, Y, jnp.sin, n=2, name="s")
    assert_allclose(grad, 2 * Y * jnp.cos(X), rtol=1e-6)


def test_every_leaf_that_is_no_inexact_array_has_none_for_a_gradient():
    tree = {
        "x": X,
        "pair": Pair(Y, "name"),
        "numpy": np.arange(1.0, 4.0),
        "scalar": np.float32(2),
        "int": jnp.arange(3),
        "bool": np.array([True]),
        "key": jax.random.key(0),
        "float": 2.0,
        "complex": 1j,
        "fn": jnp.sin,
        "none": None,
        "list": [1, X],
    }

    def loss(tree):
        inexact = [tree["x"], tree["pair"].one, tree["numpy"], tree["scalar"], tree["list"][1]]
        return sum((leaf**2).sum() for leaf in inexact) * tree["float"]

    grad = filter_grad(loss)(tree)
    arrays, rest = tf.partition(grad, tf.is_array)
    assert jax.tree.leaves(rest) == []
    assert jax.tree.structure(jax.tree.map(lambda _: 0, arrays)) == jax.tree.structure(
        {
            "x": 0,
            "pair": Pair(0, None),
            "numpy": 0,
            "scalar": 0,
            "int": None,
            "bool": None,
            "key": None,
            "float": None,
            "complex": None,
            "fn": None,
            "none": None,
            "list": [None, 0],
        }
    )
    assert_allclose(grad["x"], 4 * X)
    assert_allclose(grad["pair"].one, 4 * Y)
    assert_allclose(grad["numpy"], 4 * X)
    assert_allclose(grad["scalar"], 8)
    assert_allclose(grad["list"][1], 4 * X)
    assert type(grad["pair"]) is Pair


@pytest.mark.parametrize(
    "dtype",
    ["float16", "float32", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, "complex64"],
)
@pytest.mark.parametrize("make", [np.ones, jnp.ones])
def test_every_inexact_dtype_is_differentiated(make, dtype):
    grad = filter_grad(lambda x: jnp.abs(x.astype("complex64")).sum())(make(3, dtype))
    assert grad.dtype == np.dtype(dtype)
    assert_allclose(np.asarray(grad).astype("complex64"), np.ones(3))


def test_a_gradient_of_complex_numbers_follows_jaxs_convention():
    def loss(z):
        return jnp.abs(z**2).sum()

    z = jnp.array([1 + 2j, 3 - 1j])
    assert_allclose(filter_grad(loss)(z), jax.grad(loss)(z), rtol=1e-6)


def test_a_model_has_a_gradient_of_its_own_class():
    model = Layer(X, jnp.sin, frozen=Y)
    grad = filter_grad(lambda model, x: model(x))(model, Y)
    assert type(grad) is Layer
    assert_allclose(grad.weight, Y * jnp.cos(X * Y), rtol=1e-5)
    assert (grad.activation, grad.frozen, grad.size) == (None, None, 3)


def test_a_module_of_equinox_has_the_gradient_that_equinox_gives():
    model = equinox.nn.MLP(3, "scalar", 4, 1, key=jax.random.key(0))

    def loss(model, x):
        return model(x)

    ours, theirs = filter_grad(loss)(model, X), equinox.filter_grad(loss)(model, X)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(functools.partial(assert_allclose, rtol=1e-5), ours, theirs)


def test_a_gradient_fits_apply_updates():
    model = Layer(X, frozen=Y)
    grad = filter_grad(lambda model: model.weight.sum())(model)
    updated = tf.apply_updates(model, grad)
    assert_allclose(updated.weight, X + 1)
    assert updated.activation is jnp.tanh
    assert updated.frozen is Y


def test_a_tree_without_anything_to_differentiate_has_a_gradient_of_none():
    assert filter_grad(lambda tree: jnp.float32(1))({"n": 1, "x": jnp.arange(3)}) == {"n": None, "x": None}
    assert filter_value_and_grad(lambda tree: jnp.float32(1))(()) == (1, ())


def test_derivatives_may_be_taken_of_derivatives():
    third = filter_grad(filter_grad(filter_grad(lambda x: x**4)))
    assert_allclose(third(jnp.float32(2)), 48.0)


def test_a_value_of_the_differentiated_argument_is_a_tracer_and_others_are_not():
    seen = []

    def loss(tree, other):
        seen.append([isinstance(leaf, jax.core.Tracer) for leaf in (tree["x"], tree["n"], other)])
        return tree["x"].sum()

    filter_grad(loss)({"x": X, "n": jnp.arange(3)}, Y)
    assert seen == [[True, False, False]]


def test_the_body_runs_once_for_value_gradient_and_aux():
    runs = []

    def loss(x):
        runs.append(0)
        return x.sum(), "aux"

    filter_value_and_grad(loss, has_aux=True)(X)
    assert len(runs) == 1


# ------------------------------------------------------------------------------------------------------- aux


def test_auxiliary_data_may_hold_anything_and_comes_back_as_it_is():
    def loss(x):
        return x.sum(), {"x": x * 2, "name": "aux", "n": 1, "fn": jnp.sin, "none": None, "pair": Pair(x, {1})}

    for transform in (filter_grad(loss, has_aux=True), filter_jit(filter_grad(loss, has_aux=True))):
        grad, aux = transform(X)
        assert_allclose(grad, jnp.ones(3))
        assert_allclose(aux.pop("x"), X * 2)
        pair = aux.pop("pair")
        assert_allclose(pair.one, X)
        assert pair.two == {1}
        assert aux == {"name": "aux", "n": 1, "fn": jnp.sin, "none": None}


def test_value_and_aux_come_as_a_pair_before_the_gradient():
    (value, aux), grad = filter_value_and_grad(lambda x: (x.sum(), "aux"), has_aux=True)(X)
    assert (value, aux) == (6, "aux")
    assert_allclose(grad, jnp.ones(3))


def test_the_pair_may_be_a_list():
    grad, aux = filter_grad(lambda x: [x.sum(), "aux"], has_aux=True)(X)  # type: ignore[return-value]  # types want a tuple
    assert_allclose(grad, jnp.ones(3))
    assert aux == "aux"
    assert filter_value_and_grad(lambda x: [x.sum(), "aux"], has_aux=True)(X)[0] == (6, "aux")  # type: ignore[return-value]  # likewise


def test_arrays_in_auxiliary_data_are_values_and_not_tracers():
    _, aux = filter_grad(lambda x: (x.sum(), [x, X, np.ones(2)]), has_aux=True)(X)
    assert not any(isinstance(leaf, jax.core.Tracer) for leaf in aux)


def test_aux_may_itself_be_a_pair_or_nothing():
    assert filter_grad(lambda x: (x.sum(), (1, 2)), has_aux=True)(X)[1] == (1, 2)
    assert filter_grad(lambda x: (x.sum(), None), has_aux=True)(X)[1] is None


# ----------------------------------------------------------------------------------------------- annotations


def test_an_argument_marked_diff_is_differentiated_instead_of_the_first():
    def loss(x, y: Diff[Float[Array, "n"]], z):
        return (x * y * z).sum()

    assert_allclose(filter_grad(loss)(X, Y, 2.0), 2 * X)
    assert_allclose(filter_grad(loss)(X, y=Y, z=2.0), 2 * X)
    assert_allclose(filter_value_and_grad(loss)(1.0, Y, 2.0)[1], 2 * jnp.ones(3))


def test_several_marked_arguments_have_a_tuple_of_gradients_in_their_order():
    def loss(x, *, z: Diff[Any], y: Diff[Any]):
        return (x * y["y"] * z).sum()

    grads = filter_grad(loss)(X, y={"y": Y, "n": "n"}, z=X)
    assert type(grads) is tuple
    assert_allclose(grads[0], X * Y)
    assert_allclose(grads[1]["y"], X * X)
    assert grads[1]["n"] is None


def test_variadic_arguments_that_are_marked_have_a_tuple_of_gradients():
    def loss(x, *args: Diff[Any]):
        return sum((x * arg).sum() for arg in args)

    for count in (1, 3):
        grads = filter_grad(loss)(X, *[Y] * count)
        assert type(grads) is tuple
        assert len(grads) == count
        for grad in grads:
            assert_allclose(grad, X)


def test_keyword_arguments_that_are_marked_have_a_dictionary_of_gradients():
    def loss(a, **ws: Diff[Float[Array, ""]]) -> Float[Array, ""]:
        return ws["x"] * ws["y"] * a

    two, three = jnp.array(2.0), jnp.array(3.0)
    for transform in (filter_grad, filter_jacrev, filter_jacfwd, lambda f: filter_jit(filter_grad(f))):
        for given in ({"x": two, "y": three}, {"y": three, "x": two}):
            assert transform(loss)(2.0, **given) == {"x": 6.0, "y": 4.0}
    assert filter_hessian(loss)(2.0, x=two, y=three)["x"] == {"x": 0.0, "y": 2.0}
    assert filter_value_and_grad(loss)(2.0, x=two, y=three) == (12.0, {"x": 6.0, "y": 4.0})
    with pytest.raises(ShapeError, match="argument `ws` is missing"):
        filter_grad(loss)(2.0)


@pytest.mark.parametrize("wrap", [lambda f: f, filter_jit])
def test_gradients_of_marked_parameters_stand_in_their_order_whatever_that_of_the_call(wrap):
    def loss(b: Diff[Any], *xs: Diff[Any], a: Diff[Any] = 2.0 * X, **ws: Diff[Any]):
        return (b * a * (sum(xs) + ws["z"] * ws["c"])).sum()

    grad = wrap(filter_grad(loss))
    for given in ({"z": X, "c": Y, "a": X}, {"a": X, "c": Y, "z": X}):
        of_b, of_xs, of_a, of_ws = grad(Y, X, Y, **given)
        assert_allclose(of_b, X * (X + Y + X * Y))
        assert_allclose(of_xs, [X * Y, X * Y])
        assert_allclose(of_a, Y * (X + Y + X * Y))
        assert list(of_ws) == ["c", "z"]
        assert_allclose(of_ws["z"], Y * X * Y)
    assert grad(Y, c=X, z=X)[1] == ()
    assert_allclose(grad(Y, c=X, z=Y)[2], Y * X * Y)  # of the default


def test_a_default_by_position_is_differentiated_where_it_is_marked():
    def loss(x, y=Y, z: Diff[Any] = X, /):
        return (x * y * z).sum()

    assert_allclose(filter_grad(loss)(X), X * Y)
    assert_allclose(filter_grad(loss)(X, X), X * X)
    with pytest.raises(ShapeError, match="argument `z` is missing"):
        filter_grad(filter_checkpoint(loss))(X)  # to which a default may mean something else


def test_a_field_marked_nodiff_is_not_differentiated():
    def loss(model: Layer):
        return model(X) + model.frozen.sum()

    grad = filter_grad(loss)(Layer(X, frozen=Y))
    assert grad.frozen is None
    assert grad.weight is not None


def test_what_is_marked_nodiff_inside_of_nested_models_is_not_differentiated():
    grad = filter_grad(lambda tree: (tree[0].weight * tree[1]["m"].frozen).sum())(
        [Layer(X), {"m": Layer(X, frozen=Y)}]
    )
    assert_allclose(grad[0].weight, Y)
    assert_allclose(grad[1]["m"].weight, jnp.zeros(3))
    assert grad[1]["m"].frozen is None


def test_a_python_number_is_differentiated_where_it_is_annotated_as_an_array_or_traced():
    def loss(x: Float[Array, ""]):
        return x**2

    def traced(x: Traced[float]):
        return x**2

    for fn in (loss, traced):
        grad = filter_grad(fn)(3.0)
        assert isinstance(grad, jax.Array)
        assert_allclose(grad, 6.0)


def test_the_dtype_decides_at_run_time_where_the_annotation_leaves_it_open():
    def loss(tree: list[Array]):
        return sum(leaf.sum() * 1.0 for leaf in tree)

    grad = filter_grad(loss)([X, jnp.arange(3)])
    assert_allclose(grad[0], jnp.ones(3))
    assert grad[1] is None


def test_an_integer_array_by_annotation_has_none_for_a_gradient():
    def loss(x: Diff[Float[Array, "n"]], n: Int[Array, ""]):
        return (x * n).sum()

    assert_allclose(filter_grad(loss)(X, jnp.int32(2)), 2 * jnp.ones(3))


def test_the_differentiated_argument_may_be_passed_by_name_or_left_to_its_default():
    def loss(x=X, y=2.0):
        return (x * y).sum()

    grad = filter_grad(loss)
    for out in (grad(X), grad(x=X), grad(y=2.0, x=X), grad(y=2.0), grad()):
        assert_allclose(out, 2 * jnp.ones(3))


def test_shapes_are_checked_at_the_body():
    def loss(x: Float[Array, "n"], y: Float[Array, "n"]):
        return (x[:2] * y[:2]).sum()

    with pytest.raises(tf.ShapeError):
        filter_grad(loss)(X, jnp.ones(2))
    filter_grad(loss, check=False)(X, jnp.ones(2))
    filter_grad(check=False)(loss)(X, jnp.ones(2))


def test_contradictions_are_refused_when_the_decorator_runs():
    def integer(n: int): ...

    def vector(x) -> Float[Array, "n"]:
        return x

    def no_pair(x) -> Float[Array, ""]:
        return x

    def both(x: Diff[NoDiff[Array]]): ...

    def excluded(x: NoDiff[Array], y): ...

    def static(x: Diff[Static[str]]): ...

    cases = [
        (integer, {}),
        (vector, {}),
        (no_pair, {"has_aux": True}),
        (both, {}),
        (excluded, {}),
        (static, {}),
    ]
    for fn, options in cases:
        for transform in (filter_grad, filter_value_and_grad):
            with pytest.raises(tf.AnnotationError):
                transform(fn, **options)


# --------------------------------------------------------------------------------- callables, and the wrapper


class Losses:
    @staticmethod
    @filter_grad
    def static(x, n):
        return (x**n).sum()

    @filter_grad
    @staticmethod
    def static_inside(x, n):
        return (x**n).sum()

    @filter_grad(has_aux=True)
    @classmethod
    def named(cls, x: Diff[Any]):
        return x["x"].sum(), cls.__name__


def test_a_method_is_differentiated_with_respect_to_its_instance():
    @pytree_dataclass
    class Model:
        weight: Any
        name: str = "model"

        @filter_grad
        def loss(self, x):
            return (self.weight * x).sum()

        @filter_value_and_grad
        def marked(self, x: Diff[Any]):
            return (self.weight * x).sum()

    grad = Model(X).loss(Y)
    assert type(grad) is Model
    assert_allclose(grad.weight, Y)
    assert grad.name is None
    value, grad = Model(X).marked(Y)
    assert_allclose(value, (X * Y).sum())
    assert_allclose(grad, X)


def test_static_and_class_methods_are_differentiated_with_respect_to_their_argument():
    for losses in (Losses, Losses()):
        assert_allclose(losses.static(X, 2), 2 * X)
        assert_allclose(losses.static_inside(X, 2), 2 * X)
        grad, name = losses.named({"x": X, "n": 1})
        assert_allclose(grad["x"], jnp.ones(3))
        assert (grad["n"], name) == (None, "Losses")


def test_a_bound_method_is_differentiated_with_respect_to_what_is_passed():
    class Plain:
        scale = 3.0

        def loss(self, x):
            return (x * self.scale).sum()

    assert_allclose(filter_grad(Plain().loss)(X), 3 * jnp.ones(3))
    assert_allclose(filter_grad(Layer(X, lambda y: y).__call__)(Y), X)


def test_callables_of_every_kind_are_differentiated():
    assert_allclose(filter_grad(Layer(X, lambda y: y))(Y), X)
    assert_allclose(filter_grad(functools.partial(lambda a, x, n: (a * x).sum() * n, X, n=2))(Y), 2 * X)
    assert_allclose(filter_grad(jnp.sum)(X), jnp.ones(3))
    assert_allclose(filter_grad(jax.jit(jnp.sum))(X), jnp.ones(3))


def test_an_exception_of_the_body_passes_unchanged():
    raised = KeyError("mine")

    def loss(x):
        raise raised

    with pytest.raises(KeyError) as caught:
        filter_grad(loss)(X)
    assert caught.value is raised


def test_it_works_inside_of_jaxs_own_transforms():
    grad = filter_grad(lambda x, n: (x**n).sum())
    assert_allclose(jax.jit(lambda x: grad(x, 2))(X), 2 * X)
    assert_allclose(jax.vmap(lambda x: grad(x, 3))(X), 3 * X**2)
    assert_allclose(jax.jacfwd(lambda x: grad(x, 2))(X), 2 * jnp.eye(3))


def test_without_jit_it_is_the_same():
    with jax.disable_jit():
        assert_allclose(filter_grad(lambda x, n: (x**n).sum())(X, 2), 2 * X)


def test_a_wrapper_looks_like_what_it_wraps():
    f = module_level
    assert (f.__name__, f.__qualname__, f.__doc__) == ("module_level", "module_level", "A loss.")
    assert list(inspect.signature(f).parameters) == ["x", "n"]
    assert repr(f) == "filter_grad(module_level)"
    assert repr(filter_value_and_grad(f.__wrapped__, has_aux=True)) == (
        "filter_value_and_grad(module_level, has_aux=True)"
    )
    assert pickle.loads(pickle.dumps(f)) is f


def test_wrappers_of_modules_pickle_and_hash():
    f = filter_grad(functools.partial(module_level.__wrapped__, n=3))
    g = pickle.loads(pickle.dumps(filter_grad(Layer(X, abs))))
    assert_allclose(g(Y), X)
    assert {f: 1}[f] == 1
    assert filter_grad(jnp.sum) == filter_grad(jnp.sum)
    assert hash(filter_grad(jnp.sum)) != hash(filter_value_and_grad(jnp.sum))
    assert len({filter_grad(jnp.sum), filter_grad(jnp.sum), filter_grad(jnp.sum, check=False)}) == 2


def test_jaxtyped_may_be_put_around_a_wrapper():
    @jaxtyping.jaxtyped(typechecker=None)
    @filter_grad
    def f(x: Float[Array, "n"]):
        return x.sum()

    assert_allclose(f(X), jnp.ones(3))


def test_an_unknown_option_fails_where_it_is_given():
    for transform in (filter_grad, filter_value_and_grad):
        with pytest.raises(TypeError):
            transform(jnp.sum, argnums=1)


def test_a_wrapper_is_a_tree_whose_arrays_are_those_of_what_it_wraps():
    f = filter_grad(Layer(X, abs))
    doubled = jax.tree.map(lambda leaf: leaf * 2 if tf.is_array(leaf) else leaf, f)
    assert_allclose(doubled(Y), 2 * X)
