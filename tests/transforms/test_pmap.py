"""`filter_pmap` on eight devices: axes as `filter_vmap` has them, compilation as `filter_jit` has it."""

from __future__ import annotations

import functools
import gc
import warnings
import weakref
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import PartitionSpec
from jaxtyping import Float

from typedfilter import (
    AnnotationError,
    Donate,
    DonationError,
    ShapeError,
    StaticArgumentError,
    Traced,
    VmapAxis,
    VmapAxisError,
    filter_grad,
    filter_jit,
    filter_pmap,
    filter_vmap,
    if_array,
    tree_equal,
)

X = jnp.arange(8.0)
Y = jnp.arange(24.0).reshape(3, 8)
NAN = float("nan")


def same(one, two):
    return jax.tree_util.tree_all(jax.tree_util.tree_map(lambda a, b: bool(jnp.array_equal(a, b)), one, two))


def devices_of(array):
    return [device.id for device in sorted(array.sharding.device_set, key=lambda device: device.id)]


# Axes -----------------------------------------------------------------------------------------------


def test_arrays_are_mapped_along_their_first_axis_one_a_device():
    out = filter_pmap(lambda x: x + 1)(X)
    assert same(out, X + 1)
    assert devices_of(out) == list(range(8))


def test_fewer_examples_take_the_first_devices():
    assert devices_of(filter_pmap(lambda x: x + 1)(X[:3])) == [0, 1, 2]


def test_numpy_arrays_are_mapped_and_everything_else_is_broadcast():
    out = filter_pmap(lambda x, n, s: (x * n, s))(np.arange(8.0), 3, "s")
    assert same(out[0], 3 * X)
    assert out[1] == "s"


@pytest.mark.parametrize("in_axes", [(0, 1), (0, -1), {"y": 1}, (if_array(0), if_array(1))], ids=str)
def test_in_axes_are_a_prefix_or_a_dictionary_by_name(in_axes):
    out = filter_pmap(lambda x, y: x * y, in_axes=in_axes)(X, Y)
    assert same(out, (X * Y).T)


def test_none_broadcasts_an_array():
    assert same(filter_pmap(lambda x, y: x + y, in_axes=(None, 0))(jnp.array(1.0), X), X + 1)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_out_axes_place_the_mapped_axis(axis):
    f = lambda x: x * jnp.ones((2, 3))
    expected = jax.vmap(f, out_axes=axis)(X)
    assert same(filter_pmap(f, out_axes=axis)(X), expected)


def test_out_axes_are_a_prefix_of_the_result():
    f = lambda x: {"a": x * jnp.ones(2), "b": (x, "s", 1.0 + 0 * x.sum())}
    out = filter_pmap(f, out_axes={"a": 1, "b": (if_array(0), None, None)})(X)
    assert same(out["a"], jnp.stack([X, X]))
    assert same(out["b"][0], X)
    assert out["b"][1] == "s"
    assert out["b"][2] == 1.0


def test_keyword_arguments_are_mapped_too():
    assert same(filter_pmap(lambda x, *, y: x + y)(X, y=X), 2 * X)


def test_annotations_choose_axes():
    def f(
        x: VmapAxis[1, Float[Array, "3"]], y: VmapAxis[None, Float[Array, "3"]]
    ) -> VmapAxis[1, Float[Array, "3"]]:
        return x + y

    y = jnp.arange(3.0)
    assert same(filter_pmap(f)(Y, y), Y + y[:, None])


def test_axis_name_is_for_collectives():
    f = filter_pmap(lambda x: x / jax.lax.psum(x, "i") + jax.lax.axis_index("i"), axis_name="i")
    assert same(f(X), X / X.sum() + jnp.arange(8))


def test_axis_size_is_enough_where_nothing_is_mapped():
    out = filter_pmap(lambda s: (jax.lax.axis_index("i"), s), axis_size=5, axis_name="i")("s")
    assert same(out[0], jnp.arange(5))
    assert out[1] == "s"


def test_keys_are_mapped():
    keys = jax.random.split(jax.random.key(0), 8)
    np.testing.assert_allclose(
        filter_pmap(jax.random.normal)(keys), jax.vmap(jax.random.normal)(keys), rtol=1e-6
    )


def with_default(x, y=2.0):
    return x * y


def with_array_default(x, y=np.arange(3.0)):  # noqa: B008 (never written to)
    return x * y


def with_numbers(x: Float[Array, ""], y: Float[Array, ""], z: Traced[float]):
    return x * y + z


def variadic(*xs, scale=1):
    return sum(xs) * scale


@pytest.mark.parametrize(
    ("f", "options", "args", "kwargs"),
    [
        (with_default, {}, (X,), {}),
        (with_default, {"in_axes": (0,)}, (X,), {}),
        (with_default, {"in_axes": (0, None)}, (X,), {"y": X}),
        (with_array_default, {}, (X,), {}),
        (with_numbers, {}, (X, 2.0, 3.0), {}),
        (variadic, {}, (X, X, X), {"scale": 2}),
        (variadic, {"in_axes": (0, None, 0)}, (X, jnp.array(1.0), X), {}),
        (lambda x, n: x, {}, (X, None), {}),
    ],
    ids=["default", "fewer axes", "by name", "array default", "numbers", "variadic", "variadic axes", "none"],
)
def test_it_maps_what_vmap_maps(f, options, args, kwargs):
    assert same(filter_pmap(f, **options)(*args, **kwargs), filter_vmap(f, **options)(*args, **kwargs))


# Compilation -------------------------------------------------------------------------------------------


def counting(fun, **options):
    traces = []

    @functools.wraps(fun)
    def counted(*args, **kwargs):
        traces.append(args)
        return fun(*args, **kwargs)

    wrapper: Any = filter_pmap(counted, **options)
    return wrapper, traces


def test_it_is_traced_once_a_compilation():
    f, traces = counting(lambda x, n: x * n)
    f(X, 2), f(X + 1, 2)
    assert len(traces) == 1
    f(X[:4], 2)
    assert len(traces) == 2


def test_static_arguments_are_told_apart_exactly():
    f, traces = counting(lambda x, s: (x, type(s), s))
    for value in (1, 1.0, True, 0.0, -0.0, NAN, (1,), (True,)):
        before = len(traces)
        out = f(X, value)
        assert len(traces) == before + 1
        assert out[1] is type(value)
    f(X, float("nan")), f(X, (1,)), f(X, -0.0)
    assert len(traces) == 8


def test_static_results_are_told_apart_exactly():
    f = filter_pmap(lambda x, s: (x, s))
    assert [repr(f(X, s)[1]) for s in (1, True, 1.0, 0.0, -0.0)] == ["1", "True", "1.0", "0.0", "-0.0"]


def test_an_unhashable_static_argument_is_named():
    with pytest.raises(StaticArgumentError) as caught:
        filter_pmap(lambda x, s: x)(X, {1})
    assert caught.value.parameter == "s"


def test_models_are_mapped_leaf_by_leaf():
    model = filter_vmap(lambda key: eqx.nn.MLP(2, 1, 4, 1, key=key))(jax.random.split(jax.random.key(0), 8))
    x = jnp.ones((8, 2))
    assert np.allclose(
        filter_pmap(lambda m, x: m(x))(model, x), filter_vmap(lambda m, x: m(x))(model, x), rtol=1e-5
    )
    assert tree_equal(filter_pmap(lambda m: m)(model), model)


def test_the_arrays_of_a_callable_module_stay_inputs():
    model = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    f: Any = filter_pmap(model)
    assert np.allclose(f(jnp.ones((8, 2))), jax.vmap(model)(jnp.ones((8, 2))), rtol=1e-6)
    assert f.trace(jnp.ones((8, 2))).jaxpr.consts == []


def test_lower_compiles_ahead_and_takes_the_original_arguments():
    f: Any = filter_pmap(lambda x, n: x * n)
    compiled = f.lower(jax.ShapeDtypeStruct((8,), jnp.float32), 2).compile()
    assert same(compiled(X, 2), 2 * X)
    with pytest.raises(StaticArgumentError):
        compiled(X, 2.0)


def test_it_has_trace_eval_shape_and_clear_cache():
    f, traces = counting(lambda x: x * jnp.ones(3), out_axes=1)
    assert f.eval_shape(X) == jax.ShapeDtypeStruct((3, 8), jnp.float32)
    assert len(f.trace(X).jaxpr.in_avals) == 1
    f.clear_cache()
    f(X)
    assert len(traces) > 1


def test_arrays_that_are_committed_elsewhere_are_moved():
    f, traces = counting(lambda x, y, m: x * y + m["w"], in_axes=(0, None, None))
    far = functools.partial(jax.device_put, device=jax.devices()[6])
    out = f(far(X[:4]), far(jnp.array(2.0)), {"w": far(jnp.array(1.0)), "n": 1})
    assert same(out, 2 * X[:4] + 1)
    assert devices_of(out) == [0, 1, 2, 3]


def test_results_of_more_devices_are_arguments_for_fewer():
    wide = filter_pmap(lambda x: x)(X)
    assert same(filter_pmap(lambda x: x + 1)(wide[:2]), X[:2] + 1)


def test_a_dropped_function_is_freed():
    def made():
        kept = jnp.arange(4.0)
        f = lambda x: x * kept
        filter_pmap(f)(X)
        filter_pmap(f, donate="all")(X + 0)
        return weakref.ref(f), weakref.ref(kept)

    refs = [ref for _ in range(3) for ref in made()]
    gc.collect()
    assert [ref() for ref in refs] == [None] * 6


# Donation ------------------------------------------------------------------------------------------------


def spread():
    return filter_pmap(lambda x: x * 1)(jnp.ones((8, 3)))


def test_nothing_is_donated_by_default():
    x = spread()
    filter_pmap(lambda x: x + 1)(x)
    assert not x.is_deleted()


@pytest.mark.parametrize("donate", ["all", "warn"])
def test_every_array_is_donated_on_request(donate):
    x, y = spread(), spread()
    filter_pmap(lambda x, y: (x + 1, y + 1), donate=donate)(x, y)
    assert x.is_deleted()
    assert y.is_deleted()


def test_an_annotation_donates_one_argument():
    def f(x: Donate[Float[Array, "3"]], y: Float[Array, "3"]):
        return x + y

    x, y = spread(), spread()
    filter_pmap(f)(x, y)
    assert x.is_deleted()
    assert not y.is_deleted()


def test_warn_lets_jax_warn_about_unusable_buffers_and_all_does_not():
    one = jnp.ones((1, 3))  # on one device: for several JAX leaves it to XLA, and does not warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filter_pmap(lambda x: jnp.sum(x), donate="all")(one + 0)
    with pytest.warns(UserWarning, match="donated buffers were not usable"):
        filter_pmap(lambda x: jnp.sum(x), donate="warn")(one + 0)


def test_a_donated_array_can_not_be_used_again():
    f = filter_pmap(lambda x: x + 1, donate="all")
    x = spread()
    f(x)
    with pytest.raises(DonationError) as caught:
        f(x)
    assert caught.value.parameter == "x"


# Other transforms ----------------------------------------------------------------------------------------


def test_gradients_inside():
    loss = lambda w, x: jnp.sum(w * x) ** 2
    out = filter_pmap(filter_grad(loss), in_axes=(None, 0))(jnp.ones(3), Y.T)
    np.testing.assert_allclose(out, jax.vmap(jax.grad(loss), in_axes=(None, 0))(jnp.ones(3), Y.T), rtol=1e-6)


def test_gradients_through_it():
    def total(w):
        f = filter_pmap(lambda x, w: jax.lax.psum(x * w, "i"), in_axes=(0, None), axis_name="i")
        return jnp.sum(f(X, w) ** 2)

    np.testing.assert_allclose(
        filter_grad(total)(jnp.array(2.0)), jax.grad(lambda w: 8 * (w * X.sum()) ** 2)(2.0), rtol=1e-6
    )


def test_it_averages_gradients_as_data_parallel_training_does():
    @functools.partial(filter_pmap, in_axes=(None, 0, 0), out_axes=None, axis_name="data")
    def step(w, x, y):
        grad = filter_grad(lambda w: jnp.mean((x @ w - y) ** 2))(w)
        return w - 0.1 * jax.lax.pmean(grad, "data")

    x = jax.random.normal(jax.random.key(0), (8, 4, 2))
    y = jax.random.normal(jax.random.key(1), (8, 4))
    w = jnp.ones(2)
    expected = w - 0.1 * jax.grad(lambda w: jnp.mean((x @ w - y) ** 2))(w)
    np.testing.assert_allclose(step(w, x, y), expected, rtol=1e-5)


def test_vmap_inside_and_around():
    batch = jnp.arange(24.0).reshape(8, 3)
    assert same(filter_pmap(filter_vmap(lambda x: x * 2))(batch), batch * 2)
    assert same(filter_vmap(filter_pmap(lambda x: x * 2), in_axes=1, out_axes=1)(batch), batch * 2)


def test_it_runs_inside_jit():
    out = filter_jit(filter_pmap(lambda x, s: (x * 2, s)))(X, "s")
    assert same(out[0], 2 * X)
    assert out[1] == "s"


def test_it_works_as_a_method_and_a_decorator():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @filter_pmap(in_axes={"self": None})
        def __call__(self, x):
            return self.scale * x

    assert same(Model(3)(X), 3 * X)


def test_the_body_is_checked_on_one_example():
    @filter_pmap
    def f(x: Float[Array, "3"]) -> Float[Array, ""]:
        return x.sum()

    assert same(f(Y.T), Y.sum(0))
    with pytest.raises(ShapeError):
        f(jnp.ones((8, 4)))


def test_the_check_can_be_left_out():
    def f(x: Float[Array, "3"]):
        return x

    assert filter_pmap(f, check=False)(jnp.ones((8, 4))).shape == (8, 4)


# Errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: filter_pmap(lambda x: x)(jnp.ones(9)), VmapAxisError),
        (lambda: filter_pmap(lambda x, y: x)(X, X[:4]), VmapAxisError),
        (lambda: filter_pmap(lambda x: x)(jnp.array(1.0)), VmapAxisError),
        (lambda: filter_pmap(lambda x: x)("s"), VmapAxisError),
        (lambda: filter_pmap(lambda x: x, in_axes="0"), VmapAxisError),
        (lambda: filter_pmap(lambda x: x, in_axes={"z": 0}), VmapAxisError),
        (lambda: filter_pmap(lambda x: x, axis_name=("a", 1)), VmapAxisError),
        (lambda: filter_pmap(lambda x: x, donate="some"), AnnotationError),
        (lambda: filter_pmap(filter_pmap(lambda x: x))(jnp.ones((2, 2))), VmapAxisError),
    ],
    ids=["devices", "sizes", "rank", "nothing", "axes", "names", "name", "donate", "nested"],
)
def test_what_can_not_be_mapped_is_refused(call, error):
    with pytest.raises(error):
        call()


def test_a_partition_spec_is_refused():
    def f(x: Annotated[Float[Array, "3"], PartitionSpec("d")]):
        return x

    with pytest.raises(AnnotationError):
        filter_pmap(f)


def test_an_error_of_the_body_passes_unchanged():
    runs: list[int] = []

    def f(x):
        runs.append(1)
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine"):
        filter_pmap(f)(X)
    assert runs == [1]


def test_its_repr_names_the_options():
    assert repr(filter_pmap(jnp.sin, axis_name="i")) == "filter_pmap(sin, axis_name='i')"


def test_an_array_on_explicit_axes_is_refused_by_name():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    split = jax.device_put(jnp.arange(16.0).reshape(8, 2), rows)

    def double(tree):
        return tree["x"] * 2

    with pytest.raises(ShapeError) as raised:
        filter_pmap(double)({"x": split})
    assert str(raised.value) == (
        "double(): argument `tree['x']` is split over a mesh with Explicit axes, "
        "and filter_pmap has axes of its own\n"
        "  expected: an array on one device, or on a mesh with Auto axes\n"
        "  found: an array on a mesh of x\n"
        "  fix: use filter_shard_map, or filter_shard it to one device before"
    )
