"""`filter_checkpoint`: the same values and gradients, fewer residuals, anything in and out."""

from __future__ import annotations

import collections
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float
from numpy.testing import assert_allclose

from typedfilter import (
    ShapeError,
    StaticArgumentError,
    filter_checkpoint,
    filter_grad,
    filter_jit,
    filter_make_jaxpr,
    filter_vmap,
)


def remat_of(fun, *args):
    """The parameters of the checkpoint in the jaxpr of a call."""
    jaxpr, _, _ = filter_make_jaxpr(fun)(*args)
    (equation,) = [eqn for eqn in jaxpr.jaxpr.eqns if "policy" in eqn.params]
    return equation.params


def residuals(fun, x):
    """How many arrays the backward pass of a scalar function keeps."""
    _, pull = jax.vjp(fun, x)
    return len([leaf for leaf in jax.tree_util.tree_leaves(pull) if jnp.ndim(leaf) > 0])


def chain(x):
    for _ in range(4):
        x = jnp.sin(jnp.exp(x))
    return jnp.sum(x)


X = jnp.linspace(-1.0, 1.0, 5)


def test_value_and_gradient_are_those_of_the_function():
    checkpointed = filter_checkpoint(chain)
    assert jnp.array_equal(checkpointed(X), chain(X))
    np.testing.assert_allclose(filter_grad(checkpointed)(X), jax.grad(chain)(X), rtol=1e-6)


def test_it_keeps_no_intermediate_values():
    assert residuals(filter_checkpoint(chain), X) < residuals(chain, X)


def test_a_policy_says_what_to_keep():
    keep_all = filter_checkpoint(chain, policy=jax.checkpoint_policies.everything_saveable)
    assert residuals(keep_all, X) > residuals(filter_checkpoint(chain), X)


def test_the_policy_reaches_jax():
    policy = jax.checkpoint_policies.dots_saveable
    assert remat_of(filter_checkpoint(chain, policy=policy), X)["policy"] is policy


@pytest.mark.parametrize("prevent", [True, False])
def test_prevent_cse_reaches_jax(prevent):
    assert np.all(
        np.asarray(remat_of(filter_checkpoint(chain, prevent_cse=prevent), X)["prevent_cse"]) == prevent
    )


def test_cse_is_prevented_by_default():
    assert np.all(np.asarray(remat_of(filter_checkpoint(chain), X)["prevent_cse"]))


def test_it_decorates_without_options():
    @filter_checkpoint
    def f(x):
        return x + 1

    assert f(1.0) == 2.0
    assert f.__name__ == "f"


def test_it_decorates_with_options():
    @filter_checkpoint(prevent_cse=False)
    def f(x):
        return x + 1

    assert f(jnp.array(1.0)) == 2.0
    assert repr(f) == "filter_checkpoint(test_it_decorates_with_options.<locals>.f, prevent_cse=False)"


def test_arguments_and_results_may_hold_anything():
    marker = object()

    @filter_checkpoint
    def f(model, x, name="n", *, flag):
        return {"y": model["act"](model["w"] * x), "name": name, "flag": flag, "marker": marker, "none": None}

    out = f({"w": X, "act": jnp.tanh}, 2, flag={1, 2})
    assert jnp.array_equal(out.pop("y"), jnp.tanh(X * 2))
    assert out == {"name": "n", "flag": {1, 2}, "marker": marker, "none": None}


def test_numpy_arrays_of_objects_pass_by():
    words = np.array(["a", None], dtype=object)
    found = filter_checkpoint(lambda x, w: (x + 1, w))(X, words)[1]
    assert found.dtype == object
    assert found.tolist() == ["a", None]


def test_gradients_reach_arrays_inside_a_callable_module():
    model = jax.tree_util.Partial(lambda w, x: jnp.sum(w * x), X)
    grad = filter_grad(lambda model, x: filter_checkpoint(model)(x))(model, jnp.ones(5))
    assert jnp.array_equal(grad.args[0], jnp.ones(5))


def test_it_works_inside_jit_and_vmap():
    f = filter_checkpoint(lambda x, power: jnp.sum(x**power))
    expected = jax.vmap(jax.grad(lambda x: jnp.sum(x**3)))(jnp.stack([X, 2 * X]))
    got = filter_jit(filter_vmap(filter_grad(f), in_axes=(0, None)))(jnp.stack([X, 2 * X]), 3)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_it_works_as_a_method():
    class Model:
        scale = 3.0

        @filter_checkpoint
        def __call__(self, x):
            return self.scale * x

    assert Model()(2.0) == 6.0


def test_the_body_is_checked_once_and_can_be_left_unchecked():
    def f(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return x + y.sum()

    with pytest.raises(ShapeError):
        filter_checkpoint(f)(jnp.ones(2), jnp.ones(3))
    assert filter_checkpoint(f, check=False)(jnp.ones(2), jnp.ones(3)).shape == (2,)


def test_a_python_float_is_traced_where_the_annotation_says_array():
    seen = []

    @filter_checkpoint
    def f(x: Float[Array, ""], y):
        seen.append((isinstance(x, jax.core.Tracer), y))
        return x * y

    assert f(2.0, 3.0) == 6.0
    assert seen == [(True, 3.0)]


def test_equal_layers_are_traced_once():
    runs = []

    def layer(w, x, power, activation):
        runs.append(power)
        return activation(x @ w) ** power, power

    checkpointed = filter_checkpoint(layer)

    def network(weights, x):
        for w in weights:
            x, power = checkpointed(w, x, 2, jnp.tanh)
            assert power == 2
        return x.sum()

    weights = [0.1 * jnp.eye(3) + i for i in range(20)]
    x = jnp.ones(3)
    grads = jax.jit(jax.grad(network))(weights, x)
    assert runs == [2]
    checkpointed(weights[0], x, 3, jnp.tanh)
    checkpointed(weights[0], x, 3.0, jnp.tanh)
    assert runs == [2, 3, 3.0]

    def plain(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w) ** 2
        return x.sum()

    for grad, expected in zip(grads, jax.grad(plain)(weights, x), strict=True):
        np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-6)


def test_a_function_that_is_wrapped_anew_for_each_layer_is_traced_once():
    runs, last = [], None
    power = 2

    def layer(x, n):
        nonlocal last
        last = n
        runs.append(n)
        return jnp.sin(x) ** power + n

    def stack(x, checkpoint):
        for _ in range(20):
            x = checkpoint(layer)(x, 1)
        return checkpoint(layer)(x, 3).sum()

    x = jnp.ones(3)
    jax.make_jaxpr(lambda x: stack(x, filter_checkpoint))(x)
    assert (runs, last) == ([1, 3], 3)
    assert_allclose(jax.grad(stack)(x, filter_checkpoint), jax.grad(stack)(x, jax.checkpoint), rtol=1e-6)
    power = 3
    assert_allclose(filter_checkpoint(layer)(x, 1), jnp.sin(x) ** 3 + 1, rtol=1e-6)


def test_of_a_function_that_closes_over_tracers_nothing_is_kept():
    def outer(x):
        scale = x.sum()

        def layer(y):
            return y * scale

        first = filter_checkpoint(layer)(x)
        scale = scale + 1
        return first, filter_checkpoint(layer)(x)

    with jax.checking_leaks():
        first, second = jax.jit(outer)(jnp.ones(3))
    assert_allclose((first[0], second[0]), (3.0, 4.0))


def test_an_object_that_is_changed_is_read_anew():
    class Config:
        scale = 1.0

    config = Config()
    f = filter_checkpoint(lambda config, x: x * config.scale)
    assert f(config, jnp.float32(2)) == 2
    config.scale = 3.0
    assert f(config, jnp.float32(2)) == 6


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"a"},
        lambda: bytearray(b"a"),
        lambda: collections.deque(["a"]),
        lambda: collections.Counter("a"),
        lambda: np.array(["a"]),
        lambda: ({"a"}, [{"a"}]),
    ],
    ids=["set", "bytearray", "deque", "counter", "strings", "nested"],
)
def test_what_callers_could_change_is_theirs_alone(make):
    checkpointed = filter_checkpoint(lambda x: (x, make()))
    first, second = checkpointed(X)[1], checkpointed(X)[1]
    for one, other, new in zip(*map(jax.tree.leaves, (first, second, make())), strict=True):
        assert one is not other
        assert type(other) is type(new)
        np.testing.assert_array_equal(other, new)


@pytest.mark.filterwarnings("ignore:Python iterable type:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: (i for i in "a"), "a generator"),
        (lambda: iter([1]), "an iterator (list_iterator)"),
    ],
)
def test_what_can_be_used_once_is_refused(make, what):
    checkpointed = filter_checkpoint(lambda x: (x, make()))
    with pytest.raises(StaticArgumentError, match=re.escape(f"is {what}, which can be used once")):
        checkpointed(X)


def test_nothing_that_is_traced_is_kept_for_later_calls():
    with jax.checking_leaks():
        gradient = filter_grad(filter_checkpoint(lambda x: jnp.sum(x * x)))(X)
    assert_allclose(gradient, 2 * X)
