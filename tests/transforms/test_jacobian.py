"""`filter_jacfwd`, `filter_jacrev` and `filter_hessian`: structure, options, markers, what is no array."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from arrays import close
from beartype import beartype
from jaxtyping import Array, Float, Int, jaxtyped

from typedfilter import (
    AnnotationError,
    Diff,
    NoDiff,
    ShapeError,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_vmap,
    pytree_dataclass,
)

JACOBIANS: list[Any] = [filter_jacfwd, filter_jacrev]
ALL: list[Any] = [*JACOBIANS, filter_hessian]
X = jnp.arange(1.0, 3.0)


def same(one: Any, two: Any) -> bool:
    return jax.tree.structure(one) == jax.tree.structure(two) and jax.tree.all(jax.tree.map(close, one, two))


def power(x):
    return x**3


@filter_jacfwd
def module_level(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x**2


@pytest.mark.parametrize(("ours", "theirs"), [(filter_jacfwd, jax.jacfwd), (filter_jacrev, jax.jacrev)])
def test_the_structure_is_that_of_the_result_and_in_it_that_of_the_argument(ours, theirs):
    def f(p: Any) -> Any:
        return {"a": jnp.outer(p["w"], p["b"]), "b": (p["w"].sum(),)}

    params = {"w": X, "b": jnp.ones(3)}
    assert same(ours(f)(params), theirs(f)(params))


def test_the_hessian_is_forward_over_reverse():
    def f(p: Any) -> Any:
        return {"a": (p["w"] ** 3).sum() * p["b"]}

    params = {"w": X, "b": jnp.array(2.0)}
    assert same(filter_hessian(f)(params), jax.hessian(f)(params))


@pytest.mark.parametrize("transform", ALL)
def test_what_is_not_differentiated_is_none(transform):
    def f(p: Any, act: Any) -> Any:
        return {"y": act(p["w"]), "n": jnp.arange(2), "flag": p["w"] > 0, "name": "a", "number": 1.5}

    found = transform(f)({"w": X, "n": jnp.arange(2), "act": max, "number": 2.0}, jnp.sin)
    assert [found[name] for name in ("n", "flag", "name", "number")] == [None] * 4
    leaf = found["y"]["w"] if transform is filter_hessian else found
    inner = leaf if transform is filter_hessian else found["y"]
    assert [inner[name] for name in ("n", "act", "number")] == [None] * 3
    assert inner["w"] is not None


@pytest.mark.parametrize("transform", ALL)
def test_auxiliary_data_comes_back_as_it_is(transform):
    def f(x: Any) -> Any:
        return (x**2).sum(), {"x": x, "f": max, "name": "a", "n": 3}

    found, aux = transform(f, has_aux=True)(X)
    expected = {filter_hessian: 2 * jnp.eye(2)}.get(transform, 2 * X)
    assert close(found, expected)
    assert (aux["f"], aux["name"], aux["n"]) == (max, "a", 3)
    assert close(aux["x"], X)
    assert not isinstance(aux["x"], jax.core.Tracer)


@pytest.mark.parametrize("transform", ALL)
def test_has_aux_may_be_given_by_position(transform):
    assert transform(lambda x: (x.sum(), "aux"), True)(X)[1] == "aux"


@pytest.mark.parametrize("transform", ALL)
def test_the_pair_with_auxiliary_data_may_be_a_list(transform):
    found, aux = transform(lambda x: [(x**2).sum(), "aux"], has_aux=True)(X)
    assert close(found, {filter_hessian: 2 * jnp.eye(2)}.get(transform, 2 * X))
    assert aux == "aux"


@pytest.mark.parametrize("transform", ALL)
def test_with_and_without_options_it_is_a_decorator(transform):
    @transform
    def plain(x):
        return (x**2).sum()

    @transform()
    def called(x):
        return (x**2).sum()

    @transform(has_aux=True)
    def with_aux(x):
        return (x**2).sum(), "aux"

    assert same(plain(X), called(X))
    assert same(plain(X), with_aux(X)[0])


@pytest.mark.parametrize("transform", ALL)
def test_methods_can_be_transformed(transform):
    class Power:
        n = 2

        @transform
        def of(self, x):
            return x

        @staticmethod
        @transform
        def square(x):
            return (x**2).sum()

    @pytree_dataclass
    class Scaled:
        by: Float[Array, ""]

        @transform
        def apply(self, x):
            return self.by**2 * x.sum()

    assert close(jnp.sum(Power.square(X)), jnp.sum(transform(lambda x: (x**2).sum())(X)))
    found = Scaled(jnp.array(3.0)).apply(X)
    leaf = found.by if transform is not filter_hessian else found.by.by
    assert close(leaf, (2 if transform is filter_hessian else 6) * X.sum())


@pytest.mark.parametrize("transform", ALL)
def test_the_differentiated_argument_may_be_passed_by_keyword(transform):
    assert same(transform(lambda x, y: x * y)(X, 2.0), transform(lambda x, y: x * y)(y=2.0, x=X))


@pytest.mark.parametrize("transform", JACOBIANS)
def test_diff_arguments_take_the_place_of_the_first(transform):
    def one(x: Any, y: Diff[Float[Array, "n"]]) -> Any:
        return x * y

    def two(x: Diff[Float[Array, "n"]], n: int, y: Diff[Float[Array, "n"]]) -> Any:
        return x * y * n

    assert close(transform(one)(2.0, X), 2 * jnp.eye(2))
    by_x, by_y = transform(two)(X, 3, 2 * X)
    assert close(by_x, 6 * jnp.diag(X))
    assert close(by_y, 3 * jnp.diag(X))


def test_the_hessian_of_several_diff_arguments_is_a_tuple_of_tuples():
    def f(x: Diff[Float[Array, ""]], y: Diff[Float[Array, ""]]) -> Float[Array, ""]:
        return x**2 * y

    (xx, xy), (yx, yy) = filter_hessian(f)(jnp.array(3.0), jnp.array(2.0))
    assert [float(value) for value in (xx, xy, yx, yy)] == [4.0, 6.0, 6.0, 0.0]


@pytest.mark.parametrize("transform", ALL)
def test_nodiff_fields_are_none(transform):
    @pytree_dataclass
    class Layer:
        w: Float[Array, ""]
        frozen: NoDiff[Float[Array, ""]]

    found = transform(lambda layer: layer.w**2 * layer.frozen)(Layer(jnp.array(2.0), jnp.array(3.0)))
    assert found.frozen is None
    assert found.w is not None


@pytest.mark.parametrize("transform", ALL)
def test_annotated_scalars_are_differentiable(transform):
    def f(x: Float[Array, ""]) -> Float[Array, ""]:
        return x**2

    assert close(transform(f)(3.0), 2.0 if transform is filter_hessian else 6.0)


@pytest.mark.parametrize("transform", ALL)
def test_a_function_without_arrays_has_an_empty_jacobian(transform):
    assert transform(lambda x: ("a", 1))(X) == (None, None)
    found = transform(lambda x: (jnp.ones(2), "a"))({"n": 1})
    assert jax.tree.leaves(found) == []
    assert found[1] is None


@pytest.mark.parametrize("transform", ALL)
def test_empty_arrays_have_empty_derivatives(transform):
    found = transform(lambda x: x.sum())(jnp.ones((0,)))
    assert found.size == 0


def test_forward_mode_takes_complex_results():
    assert close(filter_jacfwd(lambda x: x * 1j)(X), 1j * jnp.eye(2))


@pytest.mark.parametrize("transform", ALL)
def test_under_jit_and_vmap(transform):
    def f(x: Any) -> Any:
        return (x**3).sum()

    expected = transform(f)(X)
    assert close(jax.jit(transform(f))(X), expected)
    assert close(filter_jit(transform(f))(X), expected)
    assert close(filter_vmap(transform(f))(jnp.stack([X, X]))[1], expected)
    with jax.disable_jit():
        assert close(transform(f)(X), expected)


@pytest.mark.parametrize("transform", ALL)
def test_the_body_is_checked_once_on_one_example(transform):
    def f(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * y

    assert jax.tree.leaves(transform(f)(X, X))
    with pytest.raises(ShapeError, match=r"f\(\): argument `y`"):
        transform(f)(X, jnp.ones(3))
    with pytest.raises(TypeError, match="shapes"):
        transform(f, check=False)(X, jnp.ones(3))


@pytest.mark.parametrize("transform", ALL)
def test_an_integer_argument_is_refused_when_the_decorator_runs(transform):
    def f(x: Int[Array, "n"]) -> Float[Array, "n"]:
        return x * 1.0

    with pytest.raises(AnnotationError, match=transform.__name__):
        transform(f)


@pytest.mark.parametrize("transform", ALL)
def test_a_return_annotation_that_is_no_pair_is_refused_with_has_aux(transform):
    def f(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x

    with pytest.raises(AnnotationError, match="pair"):
        transform(f, has_aux=True)


@pytest.mark.parametrize("transform", ALL)
def test_wrappers_say_what_they_are(transform):
    def raised(x, n=2):
        """Raise x."""
        return x**n

    wrapped = transform(raised, has_aux=True)
    assert repr(wrapped).startswith(f"{transform.__name__}(")
    assert repr(wrapped).endswith("raised, has_aux=True)")
    assert wrapped.__wrapped__ is raised
    assert wrapped.__doc__ == "Raise x."
    assert inspect.signature(wrapped) == inspect.signature(raised)


@pytest.mark.parametrize("transform", ALL)
def test_jaxtyped_and_hashing_work_on_top(transform):
    wrapped = transform(power)
    assert same(jaxtyped(typechecker=beartype)(wrapped)(X), wrapped(X))
    assert {wrapped: 1}[wrapped] == 1


def test_wrappers_pickle_and_copy():
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    assert close(copy.deepcopy(filter_hessian(jnp.sum))(X), jnp.zeros((2, 2)))
    assert close(pickle.loads(pickle.dumps(filter_jacrev(power)))(X), jnp.diag(3 * X**2))
