"""`filter_vmap`: which axis of what is mapped, and where it is in the result."""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import Annotated, Any, NamedTuple

import equinox
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, Int
from numpy.testing import assert_allclose

import typedfilter as tf
from typedfilter import Static, Traced, VmapAxis, filter_grad, filter_jit, filter_vmap, if_array
from typedfilter.pytree import pytree_dataclass

X = jnp.arange(3.0)
M = jnp.arange(12.0).reshape(3, 4)


class Pair(NamedTuple):
    one: Any
    two: Any


@pytree_dataclass
class Layer:
    weight: Any
    activation: Any = jnp.tanh
    size: Static[int] = 3

    def __call__(self, x):
        return self.activation(self.weight * x)


@filter_vmap
def module_level(x, n=2):
    """One example."""
    return x * n


def shape_seen(axes: Any, *args: Any, **options: Any) -> Any:
    """The shapes that a body receives."""
    seen = []

    def body(*args):
        seen.append(jax.tree.map(lambda leaf: jnp.shape(leaf) if tf.is_array(leaf) else leaf, args))
        return 0

    filter_vmap(body, in_axes=axes, **options)(*args)
    return seen[0]


# ------------------------------------------------------------------------------------ the rule, unannotated


def test_the_example_of_the_equinox_documentation_works():
    @filter_vmap
    def f(x, y):
        return x + y

    @filter_vmap(in_axes=(None, 1))
    def g(x, y):
        return x + y

    assert_allclose(f(jnp.array([1, 2]), jnp.array([3, 4])), [4, 6])
    assert_allclose(f(jnp.array([1, 2]), 3), [4, 5])
    assert_allclose(g(jnp.array(1), jnp.array([[2, 3]])), [[3], [4]])


def test_an_ensemble_is_made_and_evaluated():
    keys = jax.random.split(jax.random.key(0), 8)

    @filter_vmap
    def make(key):
        return equinox.nn.MLP(2, 2, 2, 2, key=key)

    ensemble = make(keys)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(equinox.filter(ensemble, equinox.is_array))} == {8}
    one = equinox.nn.MLP(2, 2, 2, 2, key=keys[3])
    x = jnp.ones(2)
    on_same = filter_vmap(lambda model, x: model(x), in_axes=(if_array(0), None))(ensemble, x)
    on_own = filter_vmap(lambda model, x: model(x))(ensemble, jnp.ones((8, 2)))
    assert on_same.shape == on_own.shape == (8, 2)
    assert_allclose(on_same, on_own, rtol=1e-6)
    assert_allclose(on_same[3], one(x), rtol=1e-5)


def test_arrays_are_mapped_along_their_first_axis_and_all_else_is_broadcast():
    args = ({"x": X, "n": 2, "fn": jnp.sin, "none": None}, np.ones((3, 2)), "s", 1.5, Pair(M, "p"))
    seen = shape_seen(if_array(0), *args)
    assert seen == ({"x": (), "n": 2, "fn": jnp.sin, "none": None}, (2,), "s", 1.5, Pair((4,), "p"))


def test_keyword_arguments_are_mapped_like_positional_ones():
    def f(x, *, y, n):
        return x * y.sum() * n

    out = filter_vmap(f)(X, y=M, n=2)
    assert_allclose(out, X * M.sum(1) * 2)
    assert_allclose(filter_vmap(f)(x=X, y=M, n=2), out)


def test_a_result_may_hold_anything():
    def f(x):
        return {"x": x, "n": 1, "fn": jnp.sin, "s": "s", "none": None, "pair": Pair(x * 2, {1})}

    out = filter_vmap(f)(X)
    assert_allclose(out.pop("x"), X)
    pair = out.pop("pair")
    assert type(pair) is Pair
    assert_allclose(pair.one, X * 2)
    assert pair.two == {1}
    assert out == {"n": 1, "fn": jnp.sin, "s": "s", "none": None}


def test_an_array_that_does_not_depend_on_the_mapped_ones_gets_an_axis_all_the_same():
    out = filter_vmap(lambda x: (x, jnp.ones(2), np.zeros(2)))(X)
    assert [leaf.shape for leaf in out] == [(3,), (3, 2), (3, 2)]


def test_a_python_number_that_is_returned_stays_one():
    assert filter_vmap(lambda x: (1, 2.0, True))(X) == (1, 2.0, True)


def test_mapping_is_that_of_jax():
    def f(x, y):
        return jnp.outer(x, y), x.sum()

    ours, theirs = filter_vmap(f)(M, M), jax.vmap(f)(M, M)
    jax.tree.map(assert_allclose, ours, theirs)


def test_typed_keys_are_mapped():
    keys = jax.random.split(jax.random.key(0), 3)
    ours = filter_vmap(lambda key: jax.random.normal(key, (2,)))(keys)
    assert_allclose(ours, jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys))


# --------------------------------------------------------------------------------------------------- in_axes


@pytest.mark.parametrize(
    ("axes", "args", "seen"),
    [
        (0, (M, M), ((4,), (4,))),
        (1, (M, M), ((3,), (3,))),
        (-1, (M, M), ((3,), (3,))),
        ((0, None), (M, M), ((4,), (3, 4))),
        ([None, 1], (M, M), ((3, 4), (3,))),
        ((0, 1), (M, M[:, :3]), ((4,), (3,))),
        ((if_array(1), None), (M, 2), ((3,), 2)),
        (({"a": 0, "b": None}, 0), ({"a": X, "b": M}, X), ({"a": (), "b": (3, 4)}, ())),
        (({"a": 0, "b": (None, 1)}, None), ({"a": X, "b": (M, M.T)}, 1), ({"a": (), "b": ((3, 4), (4,))}, 1)),
        ((lambda leaf: 1 if leaf.ndim == 2 else None, 0), ([X, M.T], X), ([(3,), (4,)], ())),
        ((Pair(0, None), 0), (Pair(X, "s"), X), (Pair((), "s"), ())),
        ((None, 0), (None, X), (None, ())),
        ((0, 0), ((X, 2, "s"), X), (((), 2, "s"), ())),
        (None, (M,), ((3, 4),)),
    ],
)
def test_in_axes_is_a_prefix_of_the_arguments(axes, args, seen):
    options = {"axis_size": 5} if axes is None else {}
    assert shape_seen(axes, *args, **options) == seen


def test_in_axes_by_name_leaves_the_others_to_the_rule():
    def f(x, y, *, z, n):
        assert (x.shape, y.shape, z.shape, n) == ((3,), (), (3, 4), 2)
        return x.sum() + y + z.sum()

    f_mapped = filter_vmap(f, in_axes={"x": 1, "z": None})
    out = f_mapped(M, jnp.ones(4), z=M, n=2)
    assert out.shape == (4,)
    assert_allclose(f_mapped(y=jnp.ones(4), n=2, z=M, x=M), out)


def test_variadic_arguments_are_named_in_in_axes_by_the_parameter():
    def f(x, *args, **kwargs):
        return x.shape, [a.shape for a in args], kwargs["k"].shape

    assert filter_vmap(f, in_axes={"args": 1, "k": None})(X, M.T, M.T, k=M) == ((), [(4,), (4,)], (3, 4))


def test_parameters_of_every_kind_are_named_in_in_axes():
    def f(a, /, b, *, c, **kwargs):
        return a.shape, b.shape, c.shape, kwargs["k"].shape

    mapped = filter_vmap(f, in_axes={"a": 1, "b": None, "c": 1, "kwargs": None})
    assert mapped(M.T, X, c=M.T, k=M) == ((4,), (3,), (4,), (3, 4))
    assert filter_vmap(f, in_axes={"a": 1, "k": 1})(M.T, M, c=M, k=M.T) == ((4,), (4,), (4,), (4,))


def test_a_callable_is_asked_for_every_leaf_and_none_broadcasts():
    asked = []

    def axis(leaf):
        asked.append(leaf)
        return 0 if tf.is_array(leaf) else None

    filter_vmap(lambda tree: 0, in_axes=axis)({"x": X, "s": "s", "n": 1})
    assert "s" in asked
    assert 1 in asked
    assert any(leaf is X for leaf in asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_axes": "0"}, "no axis"),
        ({"in_axes": 0.0}, "no axis"),
        ({"in_axes": True}, "no axis"),
        ({"in_axes": ("x", 0)}, "no axis"),
        ({"out_axes": "0"}, "no axis"),
        ({"out_axes": (0, 1.5)}, "no axis"),
        ({"in_axes": {"z": 0}}, "no parameter"),
        ({"in_axes": (0, 0, 0)}, "3 entries"),
    ],
)
def test_what_is_no_axis_is_refused_when_the_decorator_runs(options, message):
    with pytest.raises(tf.VmapAxisError, match=message):
        filter_vmap(lambda x, y: x, **options)


def test_an_unknown_option_fails_where_it_is_given():
    with pytest.raises(TypeError):
        filter_vmap(lambda x: x, axes=0)


# -------------------------------------------------------------------------------------------------- out_axes


@pytest.mark.parametrize(
    ("axes", "shapes"),
    [
        (0, [(3, 4, 2), (3, 5)]),
        (1, [(4, 3, 2), (5, 3)]),
        (-1, [(4, 2, 3), (5, 3)]),
        ((2, 0), [(4, 2, 3), (3, 5)]),
        ([-2, 1], [(4, 3, 2), (5, 3)]),
        ((if_array(1), 0), [(4, 3, 2), (3, 5)]),
        ((0, None), [(3, 4, 2), (5,)]),
        (lambda leaf: 1 if leaf.ndim == 2 else 0, [(4, 3, 2), (3, 5)]),
    ],
)
def test_out_axes_says_where_the_mapped_axis_goes(axes, shapes):
    def f(x):
        out = (jnp.ones((4, 2)) * x, jnp.ones(5))
        return list(out) if isinstance(axes, list) else out

    out = filter_vmap(f, out_axes=axes)(X)
    assert [leaf.shape for leaf in out] == shapes


def test_out_axes_agrees_with_jax_on_values():
    for axis in (0, 1, -1):
        ours = filter_vmap(lambda x: jnp.outer(x, x), out_axes=axis)(M)
        assert_allclose(ours, jax.vmap(lambda x: jnp.outer(x, x), out_axes=axis)(M))


def test_out_axes_is_a_prefix_and_leaves_what_is_no_array_alone():
    out = filter_vmap(lambda x: {"a": (x, "s"), "b": jnp.ones(2)}, out_axes={"a": 0, "b": 1})(X)
    assert out["a"][1] == "s"
    assert (out["a"][0].shape, out["b"].shape) == ((3,), (2, 3))


# ---------------------------------------------------------------------------------------- names and sizes


def test_collectives_reach_a_named_axis():
    out = filter_vmap(lambda x: x / jax.lax.psum(x, "batch"), axis_name="batch")(X + 1)
    assert_allclose(out, (X + 1) / (X + 1).sum(), rtol=1e-6)


def test_a_size_is_needed_only_where_nothing_is_mapped():
    assert filter_vmap(lambda x: jnp.ones(2), in_axes=None, axis_size=5)(X).shape == (5, 2)
    assert filter_vmap(lambda n: jnp.ones(n), axis_size=5)(2).shape == (5, 2)
    assert filter_vmap(lambda: jnp.ones(2), axis_size=5)().shape == (5, 2)
    assert filter_vmap(lambda x: x, axis_size=3)(X).shape == (3,)


def test_a_batch_of_size_zero_is_mapped():
    assert filter_vmap(lambda x: x * 2)(jnp.zeros((0, 2))).shape == (0, 2)


# ----------------------------------------------------------------------------------------------- annotations


def test_annotated_axes_are_those_that_are_mapped():
    @filter_vmap
    def f(
        a: VmapAxis[1],
        b: VmapAxis[None],
        c: Annotated[Float[Array, "m"], VmapAxis[-1]],
        d: VmapAxis[0, Float[Array, ""]],
        e,
    ) -> Annotated[Float[Array, "m"], VmapAxis[1]]:
        assert (a.shape, b.shape, c.shape, d.shape, e.shape) == ((4,), (3, 4), (4,), (), (4,))
        return a + b[0] + c + d + e

    assert f(M.T, M, M.T, X, M).shape == (4, 3)
    assert f(M.T, b=M, c=M.T, d=X, e=M).shape == (4, 3)


def test_annotated_axes_hold_for_every_kind_of_parameter():
    @filter_vmap
    def f(a: VmapAxis[1], /, *args: VmapAxis[1], k: VmapAxis[None], **kwargs: VmapAxis[1]):
        return a.shape, [x.shape for x in args], k.shape, {n: x.shape for n, x in kwargs.items()}

    assert f(M.T, M.T, M.T, k=X, z=M.T) == ((4,), [(4,), (4,)], (3,), {"z": (4,)})


def test_an_annotated_axis_holds_for_every_array_of_a_tree():
    @filter_vmap
    def f(tree: VmapAxis[1], rest: VmapAxis[None]):
        return jax.tree.map(jnp.shape, tree["x"]), tree["s"], rest[0].shape

    assert f({"x": [M, M], "s": "s"}, (M, 1)) == ([(3,), (3,)], "s", (3, 4))


def test_fields_choose_their_own_axis():
    @pytree_dataclass
    class Ensemble:
        weight: Annotated[Float[Array, "n"], VmapAxis[1]]
        bias: Float[Array, ""]
        shared: Annotated[Float[Array, "n m"], VmapAxis[None]]
        name: Static[str] = "e"

        @filter_vmap
        def __call__(self, x):
            assert (self.weight.shape, self.bias.shape, self.shared.shape) == ((4,), (), (3, 4))
            return (self.weight * x).sum() + self.bias

    model = Ensemble(M.T, X, M)
    assert_allclose(model(M), (M * M).sum(1) + X)
    copied = filter_vmap(lambda model: model)(model)
    assert (copied.weight.shape, copied.bias.shape, copied.shared.shape) == ((4, 3), (3,), (3, 4))
    jax.tree.map(assert_allclose, copied, model)


def test_an_annotation_on_the_return_places_arrays_of_trees():
    @filter_vmap
    def f(x) -> VmapAxis[1]:
        return {"x": x, "s": "s"}

    out = f(M)
    assert_allclose(out["x"], M.T)
    assert out["s"] == "s"


def test_an_option_has_precedence_over_an_annotation_and_the_annotation_over_the_rule():
    def f(x: VmapAxis[1], y: VmapAxis[1], z):
        return x.shape, y.shape, z.shape

    assert filter_vmap(f)(M.T, M.T, M) == ((4,), (4,), (4,))
    assert filter_vmap(f, in_axes={"x": 0})(M, M.T, M) == ((4,), (4,), (4,))
    assert filter_vmap(f, in_axes=(0, None, 0))(M, M, M) == ((4,), (3, 4), (4,))

    def g(x) -> VmapAxis[1]:
        return x

    assert filter_vmap(g, out_axes=0)(M).shape == (3, 4)


def test_the_rule_itself_has_precedence_too_where_it_is_given_as_an_option():
    def f(x: VmapAxis[1], y: VmapAxis[1]) -> VmapAxis[1]:
        return x, jnp.zeros(y.shape)

    for options in ({"in_axes": if_array(0)}, {"in_axes": (if_array(0), if_array(0))}):
        assert [out.shape for out in filter_vmap(f, **options)(M, M)] == [(4, 3), (4, 3)]
    by_name = filter_vmap(f, in_axes={"x": if_array(0)}, out_axes=if_array(0))
    assert [out.shape for out in by_name(M, M.T)] == [(3, 4), (3, 4)]
    assert pickle.loads(pickle.dumps(filter_vmap(Plain.static))) == filter_vmap(Plain.static)


def test_static_arguments_are_broadcast():
    @filter_vmap
    def f(x, shape: Static[tuple], n: int, name: str = "n"):
        return x + jnp.ones(shape), n, name

    out, n, name = f(X, (2,), 3)
    assert out.shape == (3, 2)
    assert (n, name) == (3, "n")


def test_traced_scalars_are_broadcast_and_traced_arrays_are_mapped():
    @filter_vmap
    def f(x: Traced[Any], rate: Traced[float]):
        return x.shape, isinstance(rate, jax.Array) and rate.shape

    assert f(M, 0.5) == ((4,), ())
    assert f({"x": M, "n": 2}["x"], 1.0) == ((4,), ())


def test_shapes_are_checked_on_one_example():
    def f(x: Float[Array, "n"], n: Int[Array, ""]) -> Float[Array, "n"]:
        return x * n

    assert filter_vmap(f)(M, jnp.arange(3)).shape == (3, 4)
    with pytest.raises(tf.ShapeError):
        filter_vmap(f)(X, jnp.arange(3))
    filter_vmap(f, check=False)(X, jnp.arange(3))
    filter_vmap(check=False)(f)(X, jnp.arange(3))


def test_contradictions_are_refused_when_the_decorator_runs():
    def static(x: Annotated[Static[int], VmapAxis[1]]): ...

    def two(x: Annotated[VmapAxis[0, Array], VmapAxis[1]]): ...

    for fn in (static, two):
        with pytest.raises(tf.AnnotationError):
            filter_vmap(fn)


# --------------------------------------------------------------------------------- callables, and the wrapper


class Plain:
    scale = 2.0

    @filter_vmap
    def times(self, x, n=1):
        return x.sum() * self.scale * n

    @filter_vmap(in_axes={"x": 1})
    def along_one(self, x):
        return x.sum() * self.scale

    @staticmethod
    @filter_vmap
    def static(x):
        return x.sum()

    @filter_vmap
    @classmethod
    def named(cls, x):
        return cls.__name__, x.sum()


def test_methods_of_every_kind():
    plain = Plain()
    assert_allclose(plain.times(M), M.sum(1) * 2)
    assert_allclose(plain.times(M, n=2), M.sum(1) * 4)
    assert_allclose(Plain.times(plain, M), M.sum(1) * 2)
    assert_allclose(plain.along_one(M), M.sum(0) * 2)
    for owner in (plain, Plain):
        assert_allclose(owner.static(M), M.sum(1))
        name, out = owner.named(M)
        assert name == "Plain"
        assert_allclose(out, M.sum(1))


def test_a_bound_method_is_mapped_over_what_is_passed():
    assert_allclose(filter_vmap(Plain().times.__wrapped__)(M), M.sum(1) * 2)
    layer = Layer(jnp.ones(4), abs)
    assert_allclose(filter_vmap(layer.__call__)(M), M)


def test_callables_of_every_kind_are_mapped():
    assert_allclose(filter_vmap(jnp.sum)(M), M.sum(1))
    assert_allclose(filter_vmap(Layer(jnp.ones(4), abs))(M), M)
    assert_allclose(
        filter_vmap(functools.partial(lambda w, x, n: (w * x).sum() * n, M[0], n=2))(M), 2 * M @ M[0]
    )
    assert_allclose(filter_vmap(jax.jit(jnp.sum))(M), M.sum(1))
    made = filter_vmap(Layer)(M)
    assert type(made) is Layer
    assert_allclose(made.weight, M)


def test_an_exception_of_the_body_passes_unchanged():
    raised = ValueError("mine")

    def f(x):
        raise raised

    with pytest.raises(ValueError) as caught:
        filter_vmap(f)(X)
    assert caught.value is raised


def test_the_body_runs_once_a_call():
    runs = []
    filter_vmap(lambda x: runs.append(0))(M)
    assert len(runs) == 1


def test_it_works_inside_of_jaxs_own_transforms():
    f = filter_vmap(lambda x, n: x.sum() * n)
    assert_allclose(jax.jit(lambda x: f(x, 2))(M), 2 * M.sum(1))
    assert_allclose(jax.grad(lambda x: f(x, 2).sum())(M), 2 * jnp.ones_like(M))
    assert_allclose(jax.vmap(lambda x: f(x, 2))(M[None]), 2 * M.sum(1)[None])


def test_without_jit_it_is_the_same():
    with jax.disable_jit():
        assert_allclose(filter_vmap(lambda x, n: x * n)(X, 2), 2 * X)
        assert filter_vmap(lambda x: ("s", x))(X)[0] == "s"


def test_maps_nest():
    f = filter_vmap(filter_vmap(lambda x, y: x * y, in_axes=(None, 0)), in_axes=(0, None))
    assert_allclose(f(X, M[0]), jnp.outer(X, M[0]))
    named = filter_vmap(filter_vmap(lambda x: jax.lax.psum(x, ("i", "j")), axis_name="j"), axis_name="i")
    assert_allclose(named(M), jnp.full((3, 4), M.sum()))


def test_a_wrapper_looks_like_what_it_wraps():
    f = module_level
    assert (f.__name__, f.__qualname__, f.__doc__) == ("module_level", "module_level", "One example.")
    assert list(inspect.signature(f).parameters) == ["x", "n"]
    assert repr(f) == "filter_vmap(module_level)"
    assert (
        repr(filter_vmap(f.__wrapped__, in_axes=(1, None))) == "filter_vmap(module_level, in_axes=(1, None))"
    )
    assert pickle.loads(pickle.dumps(f)) is f


def test_wrappers_of_modules_pickle_and_hash():
    f = filter_vmap(Layer(jnp.ones(4), abs), in_axes=if_array(1), out_axes=(1))
    assert_allclose(pickle.loads(pickle.dumps(f))(M.T), f(M.T))
    assert filter_vmap(jnp.sum) == filter_vmap(jnp.sum)
    assert filter_vmap(jnp.sum, in_axes=1) == filter_vmap(jnp.sum, in_axes=1)
    assert filter_vmap(jnp.sum, in_axes=1) != filter_vmap(jnp.sum, in_axes=0)
    assert filter_vmap(jnp.sum, in_axes=({"a": 1},)) == filter_vmap(jnp.sum, in_axes=({"a": 1},))
    assert hash(filter_vmap(jnp.sum, in_axes=({"a": [1]},))) == hash(
        filter_vmap(jnp.sum, in_axes=({"a": [1]},))
    )


def test_jaxtyped_may_be_put_around_a_wrapper():
    @jaxtyping.jaxtyped(typechecker=None)
    @filter_vmap
    def f(x):
        return x.sum()

    assert_allclose(f(M), M.sum(1))


def test_a_wrapper_is_a_tree_whose_arrays_are_those_of_what_it_wraps():
    f = filter_vmap(Layer(jnp.ones(4), abs))
    doubled = jax.tree.map(lambda leaf: leaf * 2 if tf.is_array(leaf) else leaf, f)
    assert_allclose(doubled(M), 2 * M)


def test_gradients_for_each_example():
    def loss(model, x):
        return model(x).sum()

    model = Layer(jnp.ones(4), abs)
    grads = filter_vmap(filter_grad(loss), in_axes=(None, 0))(model, M)
    assert type(grads) is Layer
    assert_allclose(grads.weight, M)
    assert grads.activation is None
    assert_allclose(filter_jit(filter_vmap(filter_grad(loss), in_axes=(None, 0)))(model, M).weight, M)


def test_a_result_without_an_axis_that_differs_between_examples_is_named():
    expected = (
        "f(): the return value has no axis (None), but differs between the mapped examples\n"
        "  expected: a value that does not depend on mapped arguments\n"
        "  fix: give it an axis: VmapAxis[0], or 0 in out_axes"
    )

    def f(x):
        return x

    for mapped in (filter_vmap(f, out_axes=None), filter_jit(filter_vmap(f, out_axes=None))):
        with pytest.raises(tf.VmapAxisError) as caught:
            mapped(jnp.ones(3))
        assert str(caught.value) == expected


# References -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(jax, "new_ref"), reason="JAX has no references yet")
@pytest.mark.parametrize("jitted", [False, True])
def test_a_reference_is_mapped_as_an_array_is(jitted):
    def add(ref, x, name):
        ref[...] = ref[...] + x
        return 2 * x, name

    f = filter_vmap(add)
    f = filter_jit(f, donate="all") if jitted else f
    ref = jax.new_ref(jnp.zeros((2, 3)))
    for k in (1.0, 2.0):
        out, name = f(ref, jnp.full((2, 3), k), "n")
        assert jnp.array_equal(out, jnp.full((2, 3), 2 * k))
        assert name == "n"
    assert jnp.array_equal(ref[...], jnp.full((2, 3), 3.0))
