"""`in_shardings` and `out_shardings` of `filter_jit`, on eight devices."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float
from meshes import AUTO, MESHES, SET_MESH, pieces, set_mesh

from typedfilter import (
    AnnotationError,
    Donate,
    ShapeError,
    Static,
    explain,
    filter_grad,
    filter_jit,
    filter_vmap,
    pytree_dataclass,
)

ROWS = NamedSharding(AUTO, PartitionSpec("data"))
BOTH = NamedSharding(AUTO, PartitionSpec("data", "model"))
WHOLE = NamedSharding(AUTO, PartitionSpec())
EIGHT = ("data", "model")
X = jnp.arange(32.0).reshape(8, 4)


def noted(seen, name, shape, sharding):
    seen[name] = sharding.shard_shape(shape)


def inside(seen, **arrays):
    """Record, when a compiled program runs, what of each array a device holds."""
    for name, array in arrays.items():
        note = functools.partial(noted, seen, name, array.shape)
        jax.debug.inspect_array_sharding(array * 2, callback=note)


@MESHES
@pytest.mark.parametrize("make", [jnp.array, np.asarray], ids=["jax", "numpy"])
def test_arguments_and_results_are_split(mesh, make):
    both = NamedSharding(mesh, PartitionSpec("data", "model"))
    out = filter_jit(lambda x: x * 2, in_shardings=both, out_shardings=both)(make(X))
    assert np.array_equal(out, 2 * X)
    assert pieces(out) == (2, 2)


@MESHES
@pytest.mark.parametrize("make", [jnp.array, np.asarray], ids=["jax", "numpy"])
def test_results_that_the_function_closes_over_are_split(mesh, make):
    x = make(X)
    both = NamedSharding(mesh, PartitionSpec("data", "model"))
    doubled, same = filter_jit(lambda y: (y * 2, x), out_shardings=both)(X)
    assert pieces(doubled) == pieces(same) == (2, 2)
    device = jax.devices()[2]
    assert filter_jit(lambda: x, out_shardings=device)().devices() == {device}


@pytest.mark.parametrize(
    "how", [ROWS, (ROWS, None), [ROWS, None], {"x": ROWS}], ids=["all", "tuple", "list", "names"]
)
@pytest.mark.parametrize("by_name", [False, True], ids=["position", "name"])
def test_one_for_all_or_by_position_or_by_name(how, by_name):
    seen: dict[str, Any] = {}

    def f(x, y=2):
        inside(seen, x=x)
        return x * y

    jitted = filter_jit(f, in_shardings=how)
    out = jitted(x=X) if by_name else jitted(X)
    assert np.array_equal(out, 2 * X)
    assert seen == {"x": (2, 4)}


def test_each_argument_of_a_variadic_parameter_has_a_place():
    seen: dict[str, Any] = {}

    def f(a, *rest, **more):
        inside(seen, a=a, first=rest[0], second=rest[1], k=more["k"], z=more["z"])
        return a

    filter_jit(f, in_shardings={"rest": ROWS, "k": BOTH})(X, X, X, k=X, z=X)
    assert seen == {"a": (8, 4), "first": (2, 4), "second": (2, 4), "k": (2, 2), "z": (8, 4)}
    filter_jit(f, in_shardings=(None, BOTH, ROWS))(X, X, X, k=X, z=X)
    assert seen == {"a": (8, 4), "first": (2, 2), "second": (2, 4), "k": (8, 4), "z": (8, 4)}


def test_places_are_a_prefix_of_an_argument_or_result():
    places = {"a": ROWS, "b": (None, BOTH)}
    tree = {"a": (X, "text", X), "b": (X, {"c": X, "d": 3})}
    out = filter_jit(lambda tree: tree, in_shardings=(places,), out_shardings=places)(tree)
    assert [pieces(x) for x in out["a"][::2]] == [(2, 4), (2, 4)]
    assert pieces(out["b"][1]["c"]) == (2, 2)
    assert (out["a"][1], out["b"][1]["d"]) == ("text", 3)


def test_a_partition_spec_is_about_the_ambient_mesh():
    spec = PartitionSpec("data")
    f = filter_jit(lambda x: x * 2, in_shardings=spec, out_shardings=spec)
    with set_mesh(AUTO):
        assert pieces(f(X)) == (2, 4)


def test_an_option_takes_precedence_over_the_annotation():
    seen: dict[str, Any] = {}
    Split = Annotated[Float[Array, "b n"], PartitionSpec("data")]

    def f(x: Split, y: Split) -> Split:
        inside(seen, x=x, y=y)
        return x + y

    with set_mesh(AUTO):
        out = filter_jit(f, in_shardings={"x": WHOLE}, out_shardings=BOTH)(X, X)
    assert seen == {"x": (8, 4), "y": (2, 4)}
    assert pieces(out) == (2, 2)


def test_around_vmap_and_grad_it_is_about_what_is_compiled():
    row = filter_vmap(filter_grad(lambda x: jnp.sum(x**2)))
    out = filter_jit(row, in_shardings=BOTH, out_shardings=BOTH)(X)
    assert np.array_equal(out, 2 * X)
    assert pieces(out) == (2, 2)


def test_inside_of_grad_and_vmap_it_is_a_constraint():
    f = filter_jit(lambda x: jnp.sum(x**2), in_shardings=ROWS)
    assert np.array_equal(filter_grad(f)(X), 2 * X)
    assert np.array_equal(filter_vmap(f)(jnp.stack([X, X])), jnp.sum(X**2) * jnp.ones(2))


@pytest.mark.parametrize("places", [ROWS, (ROWS,), {"x": ROWS}], ids=["all", "position", "name"])
@pytest.mark.parametrize("by_name", [False, True], ids=["positional", "keyword"])
def test_what_is_bound_is_no_argument(places, by_name):
    seen: dict[str, Any] = {}

    def f(w, x):
        inside(seen, w=w, x=x)
        return x

    jitted = filter_jit(functools.partial(f, X), in_shardings=places)
    jitted(x=X) if by_name else jitted(X)
    assert seen == {"w": (8, 4), "x": (2, 4)}


@pytest.mark.parametrize("places", [ROWS, (ROWS,), {"x": ROWS}], ids=["all", "position", "name"])
def test_what_is_bound_below_another_transform_is_no_argument(places):
    seen: dict[str, Any] = {}

    def f(w, x):
        inside(seen, x=x)
        return w + x

    mapped = filter_jit(functools.partial(filter_vmap(f, in_axes=None, axis_size=3), X), in_shardings=places)
    assert np.array_equal(mapped(X), jnp.stack([2 * X] * 3))
    assert seen == {"x": (2, 4)}


def test_methods_and_modules():
    seen: dict[str, Any] = {}

    @pytree_dataclass
    class Model:
        w: Float[Array, "b n"]

        def __call__(self, x):
            inside(seen, w=self.w, x=x)
            return x

        @filter_jit(in_shardings={"x": BOTH})
        def method(self, x):
            inside(seen, w=self.w, x=x)
            return x

    model = Model(X)
    filter_jit(model, in_shardings=(ROWS,))(X)
    assert seen == {"w": (8, 4), "x": (2, 4)}
    model.method(X)
    assert seen == {"w": (8, 4), "x": (2, 2)}


def test_donated_arguments_are_placed_too():
    def f(x: Donate[Float[Array, "b n"]]):
        return x + 1

    given = jax.device_put(X, ROWS)
    out = filter_jit(f, in_shardings=ROWS, out_shardings=ROWS)(given)
    assert given.is_deleted()
    assert pieces(out) == (2, 4)


def test_the_same_places_are_one_compilation_and_others_another():
    traces: list[str] = []

    def f(x):
        traces.append("f")
        return x * 2

    def again():
        return NamedSharding(AUTO, PartitionSpec("data"))

    for places in ({"x": again()}, {"x": again()}, {"x": BOTH}):
        filter_jit(f, in_shardings=places)(X)
    assert len(traces) == 2


def test_it_is_pickled_copied_and_lowered():
    f = filter_jit(tanh, in_shardings=ROWS, out_shardings=BOTH)
    assert copy.deepcopy(f) == f
    assert pickle.loads(pickle.dumps(sharded_tanh)) is sharded_tanh
    assert pieces(f.lower(X).compile()(X)) == (2, 2)
    assert f.eval_shape(X).shape == (8, 4)


def test_without_jit_arrays_are_moved():
    with jax.disable_jit():
        assert pieces(filter_jit(lambda x: x, in_shardings=ROWS)(X)) == (2, 4)


def tanh(x):
    return jnp.tanh(x)


@filter_jit(out_shardings=PartitionSpec("data"))
def sharded_tanh(x):
    return jnp.tanh(x)


# What is refused ------------------------------------------------------------------------------------------


def f(x: Float[Array, "b n"], n: Static[int] = 2):
    return x * n


NOT_A_PLACE = """
  expected: a jax.Device, a jax.sharding.Sharding, a PartitionSpec, or a pytree of these
  found: {found}
  fix: of a mesh, pass jax.sharding.NamedSharding(mesh, PartitionSpec(...))"""

AT_DECORATION = {
    "name": (
        {"in_shardings": {"y": ROWS}},
        """f(): has no parameter 'y', which in_shardings names
  expected: names among: x, n
  found: 'y'
  fix: correct the name in in_shardings""",
    ),
    "count": (
        {"in_shardings": (ROWS, None, None)},
        """f(): takes 2 positional arguments, but in_shardings has 3 entries
  expected: no more entries than positional arguments
  found: in_shardings=(PartitionSpec('data') of data=4, model=2, None, None)
  fix: drop the entries that are too many, or give in_shardings as a dictionary by name""",
    ),
    "argument": (
        {"in_shardings": {"x": 3}},
        "f(): is given in_shardings['x'], but that is int 3, which is no place for an array"
        + NOT_A_PLACE.format(found="int 3"),
    ),
    "result": (
        {"out_shardings": "data"},
        "f(): is given out_shardings, but that is str 'data', which is no place for an array"
        + NOT_A_PLACE.format(found="str 'data'"),
    ),
    "static": (
        {"in_shardings": (ROWS, ROWS)},
        """f(): argument `n` is annotated Static[int], so that in_shardings has nothing to place
  fix: drop its entry, or make it None""",
    ),
}
AT_THE_CALL = {
    "prefix": (
        {"in_shardings": {"x": (ROWS, ROWS)}},
        """f(): argument `x` has a structure that its entry in in_shardings is no prefix of
  expected: a prefix of *
  found: (*, *)
  fix: give one for all of it, or a pytree like its upper levels; None leaves a subtree alone""",
    ),
    "rank": (
        {"out_shardings": NamedSharding(AUTO, PartitionSpec(None, None, "data"))},
        """f(): the return value has 2 dimensions, but PartitionSpec(None, None, 'data') is for 3 or more
  expected: at least 3 dimensions
  found: 2 dimensions
  fix: shorten the PartitionSpec: dimensions that it leaves out are not split""",
    ),
    "mesh": (
        {"in_shardings": {"x": PartitionSpec("data")}},
        f"""f(): argument `x` needs a mesh, and none is set
  expected: an ambient mesh for PartitionSpec('data')
  fix: call it inside `with {SET_MESH}(mesh):`""",
    ),
    "size": (
        {"out_shardings": NamedSharding(AUTO, PartitionSpec(None, EIGHT))},
        """f(): the return value has size 4 along axis 1, which is split into 8 equal parts
  expected: a multiple of 8 along axis 1, for PartitionSpec(None, ('data', 'model'))
  found: f32[8,4]
  fix: pad that axis, or leave it whole: None in the PartitionSpec""",
    ),
}


@pytest.mark.parametrize(("options", "text"), AT_DECORATION.values(), ids=AT_DECORATION)
def test_it_is_refused_when_the_decorator_runs(options, text):
    with pytest.raises(AnnotationError) as caught:
        filter_jit(f, **options)
    assert str(caught.value) == text


@pytest.mark.parametrize(("options", "text"), AT_THE_CALL.values(), ids=AT_THE_CALL)
def test_it_is_refused_at_the_call(options, text):
    with pytest.raises(ShapeError) as caught:
        filter_jit(f, **options)(X)
    assert str(caught.value) == text


def test_too_few_entries_are_refused_at_the_call():
    with pytest.raises(AnnotationError) as caught:
        filter_jit(lambda x, y: x, in_shardings=(ROWS,))(X, X)
    assert str(caught.value).splitlines()[0] == (
        "<lambda>(): got 2 positional arguments, but in_shardings has only 1"
    )


def test_explain_tells_what_is_placed_and_where():
    def g(
        x: Float[Array, "b n"], y: Annotated[Float[Array, "b n"], PartitionSpec("data")]
    ) -> Float[Array, "b n"]:
        return x + y

    shown = str(explain(filter_jit(g, in_shardings={"x": BOTH}, out_shardings=ROWS)))
    rows = [line.split() for line in shown.splitlines()[2:5]]
    assert [row[:3] for row in rows] == [
        ["x", "traced,", "placed"],
        ["y", "traced,", "placed"],
        ["return", "traced,", "placed"],
    ]
    assert "in_shardings=PartitionSpec('data', 'model') of data=4, model=2" in shown
    assert "out_shardings=PartitionSpec('data') of data=4, model=2" in shown


# Several meshes, and arrays that are elsewhere ------------------------------------------------------------

LINE = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
ALONG = NamedSharding(LINE, PartitionSpec("d"))
HALF = NamedSharding(jax.sharding.Mesh(np.array(jax.devices()[:4]), ("h",)), PartitionSpec("h"))
THIRD = jax.devices()[3]


@pytest.mark.parametrize(
    "run",
    [
        lambda f: f(X),
        lambda f: f.lower(X).compile()(X),
        lambda f: filter_jit(lambda x: f(x))(X),
    ],
    ids=["call", "compiled", "jit"],
)
def test_arguments_and_result_may_be_on_two_meshes_of_the_same_devices(run):
    f = filter_jit(lambda x: (x * 2, "text"), in_shardings=ALONG, out_shardings=ROWS)
    out, text = run(f)
    assert np.array_equal(out, 2 * X)
    assert out.sharding.is_equivalent_to(ROWS, 2)
    assert pieces(out) == (2, 4)
    assert text == "text"


def test_a_result_of_two_meshes_needs_a_place_where_jax_can_say_none():
    flat = NamedSharding(jax.make_mesh((8,), ("all",), axis_types=(AxisType.Auto,)), PartitionSpec("all"))

    def pair(x, y):
        return x * 2, y * 2

    pair.__qualname__ = "pair"
    f = filter_jit(pair, in_shardings=(flat, BOTH))
    if jax.__version_info__ < (0, 8):  # says the place of such a result in words of no mesh
        assert np.array_equal(f(X, X)[1], 2 * X)
    else:
        with pytest.raises(ShapeError) as caught:
            f(X, X)
        assert str(caught.value) == (
            "pair(): the return value has no place of its own, and more than one mesh is named\n"
            "  expected: a place for each part of the result in out_shardings, or one mesh\n"
            "  found: out_shardings=None\n"
            "  fix: pass out_shardings, or split all arguments over one mesh"
        )
    for fixed in ({"out_shardings": (flat, BOTH)}, {"in_shardings": (BOTH, BOTH)}):
        out = filter_jit(pair, **{"in_shardings": (flat, BOTH), **fixed})(X, X)
        assert np.array_equal(out[1], 2 * X)


def test_gradients_go_through_two_meshes():
    f = filter_jit(lambda x: x**2, in_shardings=ALONG, out_shardings=ROWS)
    assert np.array_equal(filter_grad(lambda x: f(x).sum())(X), 2 * X)
    assert np.array_equal(filter_vmap(f)(jnp.stack([X, X])), jnp.stack([X**2, X**2]))


@pytest.mark.parametrize(("places", "path"), [(ALONG, ""), ({"x": ALONG}, ""), ({"x": (None, ALONG)}, "[1]")])
def test_an_array_that_is_committed_elsewhere_is_named(places, path):
    def g(x):
        return x

    g.__qualname__ = "g"
    committed = jax.device_put(X, THIRD)
    with pytest.raises(ShapeError) as caught:
        filter_jit(g, in_shardings=places)((X, committed) if path else committed)
    assert str(caught.value) == (
        f"g(): argument `x{path}` is committed to device 3, but in_shardings names devices 0 to 7, "
        """and a program runs in one place
  expected: an array on devices 0 to 7, or one that is not committed
  found: an array f32[8,4] on device 3
  fix: move it there before the call: filter_shard"""
    )


def test_an_array_that_is_committed_to_other_devices_than_the_result_is_named():
    def g(x, y):
        return x + y

    g.__qualname__ = "g"
    with pytest.raises(ShapeError) as caught:
        filter_jit(g, out_shardings=jax.devices()[2])(X, jax.device_put(X, THIRD))
    assert str(caught.value) == (
        "g(): argument `y` is committed to device 3, but out_shardings names device 2, "
        """and a program runs in one place
  expected: an array on device 2, or one that is not committed
  found: an array f32[8,4] on device 3
  fix: move it there before the call: filter_shard"""
    )


def test_places_on_several_sets_of_devices_are_refused():
    with pytest.raises(ShapeError) as caught:
        filter_jit(f, in_shardings={"x": ALONG}, out_shardings=HALF)(X)
    assert (
        str(caught.value)
        == """f(): is placed on devices 0 to 7 and on devices 0, 1, 2, 3, and a program runs in one place
  expected: in_shardings and out_shardings that all name the same devices
  found: devices 0 to 7, devices 0, 1, 2, 3
  fix: name the same devices, or move the result with filter_shard, outside of the function"""
    )


def test_an_error_of_the_user_that_speaks_of_devices_passes_unchanged():
    def g(x):
        raise ValueError("Received incompatible devices for jitted computation")

    with pytest.raises(ValueError, match="Received") as caught:
        filter_jit(g, in_shardings=ALONG)(X)
    assert type(caught.value) is ValueError


def test_a_result_may_be_in_several_places_on_another_mesh():
    out, same = filter_jit(lambda x: (x * 2, x), in_shardings=ALONG, out_shardings=(ROWS, None))(X)
    assert out.sharding.is_equivalent_to(ROWS, out.ndim)
    assert np.array_equal(same, X)
