"""`filter_shard` on eight devices: it moves outside of jit, and constrains inside."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding
from meshes import set_mesh

from typedfilter import ShapeError, filter_grad, filter_jit, filter_shard, filter_vmap

DEVICES = jax.devices()
AUTO = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
EXPLICIT = jax.make_mesh((8,), ("e",), axis_types=(AxisType.Explicit,))
MIXED = jax.make_mesh((4, 2), ("e", "a"), axis_types=(AxisType.Explicit, AxisType.Auto))
MESHES = pytest.mark.parametrize(
    ("mesh", "spec"),
    [(AUTO, PartitionSpec("d")), (EXPLICIT, PartitionSpec("e")), (MIXED, PartitionSpec("e", "a"))],
    ids=["auto", "explicit", "mixed"],
)


def numbers():
    return jnp.arange(16.0).reshape(8, 2)


def committed():
    return jax.device_put(numbers(), DEVICES[3])


def pieces(array):
    """The shape of what each device holds, and how many devices hold something."""
    (shape,) = {shard.data.shape for shard in array.addressable_shards}
    return shape, len(array.sharding.device_set)


def is_split(array):
    return np.array_equal(array, numbers()) and np.prod(pieces(array)[0]) == 2 and pieces(array)[1] == 8


# Outside of jit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [numbers, committed, lambda: np.arange(16.0).reshape(8, 2)], ids=["free", "committed", "numpy"]
)
@pytest.mark.parametrize("target", [DEVICES[5], SingleDeviceSharding(DEVICES[5])], ids=["device", "sharding"])
def test_arrays_are_moved_to_a_device(make, target):
    moved = filter_shard(make(), target)
    assert moved.devices() == {DEVICES[5]}
    assert np.array_equal(moved, numbers())


@MESHES
@pytest.mark.parametrize("make", [numbers, committed], ids=["free", "committed"])
def test_arrays_are_split_over_a_mesh(mesh, spec, make):
    assert is_split(filter_shard(make(), NamedSharding(mesh, spec)))


@MESHES
@pytest.mark.parametrize("make", [numbers, committed], ids=["free", "committed"])
def test_a_partition_spec_is_of_the_ambient_mesh(mesh, spec, make):
    x = make()
    with set_mesh(mesh):
        assert is_split(filter_shard(x, spec))


def test_a_tree_is_moved_as_one(monkeypatch):
    calls = []
    real = jax.device_put

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(jax, "device_put", counted)
    tree = filter_shard({"name": "n", "arrays": [numbers() for _ in range(50)]}, DEVICES[3])
    assert len(calls) == 1
    assert {array.devices().pop() for array in tree["arrays"]} == {DEVICES[3]}


def test_whatever_is_no_array_stays_as_it_is():
    tree: dict[str, Any] = {"x": numbers(), "n": 1, "f": jnp.tanh, "none": None, "words": np.array(["a"])}
    moved = filter_shard(tree, DEVICES[1])
    assert moved.pop("x").devices() == {DEVICES[1]}
    tree.pop("x")
    assert moved == tree


def test_a_prefix_places_each_subtree():
    tree = {"a": numbers(), "b": (numbers(), [numbers()], "s"), "c": committed()}
    places = {"a": DEVICES[1], "b": (NamedSharding(AUTO, PartitionSpec("d")), DEVICES[2], None), "c": None}
    moved = filter_shard(tree, places)
    assert moved["a"].devices() == {DEVICES[1]}
    assert is_split(moved["b"][0])
    assert moved["b"][1][0].devices() == {DEVICES[2]}
    assert moved["b"][2] == "s"
    assert moved["c"].devices() == {DEVICES[3]}


def test_keys_are_moved():
    assert filter_shard(jax.random.key(0), DEVICES[2]).devices() == {DEVICES[2]}


def test_the_argument_stays_where_it_is():
    x = committed()
    filter_shard(x, DEVICES[5])
    assert x.devices() == {DEVICES[3]}


# Inside of jit ---------------------------------------------------------------------------------------


@MESHES
@pytest.mark.parametrize("jit", [filter_jit, jax.jit])
def test_inside_jit_a_sharding_is_a_constraint(mesh, spec, jit):
    with set_mesh(mesh):
        assert is_split(jit(lambda x: filter_shard(x, NamedSharding(mesh, spec)))(numbers()))


@MESHES
@pytest.mark.parametrize("jit", [filter_jit, jax.jit])
@pytest.mark.parametrize("make", [numbers, lambda: np.arange(16.0).reshape(8, 2)], ids=["jax", "numpy"])
def test_inside_jit_what_is_closed_over_is_constrained_too(mesh, spec, jit, make):
    x = make()
    with set_mesh(mesh):
        assert is_split(jit(lambda: filter_shard(x, spec))())
        assert is_split(jit(lambda: filter_shard(x, NamedSharding(mesh, spec)))())


def test_inside_jit_what_is_closed_over_goes_to_a_device():
    x = numbers()
    assert filter_jit(lambda: filter_shard(x, DEVICES[2]))().devices() == {DEVICES[2]}


def test_to_look_whether_a_program_is_traced_leaves_nothing_in_it():
    x = numbers()
    jaxpr = jax.make_jaxpr(lambda: filter_shard(x, NamedSharding(AUTO, PartitionSpec("d"))))()
    (equation,) = jaxpr.eqns  # which newer JAX releases show as a call
    assert equation.primitive.name == "sharding_constraint" or "sharding_constraint" in str(equation.params)


@MESHES
def test_inside_jit_a_partition_spec_is_of_the_ambient_mesh(mesh, spec):
    with set_mesh(mesh):
        assert is_split(filter_jit(lambda x: filter_shard(x * 1, spec))(numbers()))


@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_inside_jit_no_ambient_mesh_is_needed_for_a_sharding(mesh):
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
    assert is_split(filter_jit(lambda x: filter_shard(x, sharding))(numbers()))


@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_inside_jit_what_is_split_can_be_gathered(mesh):
    split = filter_shard(numbers(), NamedSharding(mesh, PartitionSpec(mesh.axis_names[0])))
    whole = filter_jit(lambda x: filter_shard(x, NamedSharding(mesh, PartitionSpec())))(split)
    assert pieces(whole) == ((8, 2), 8)


def test_inside_jit_a_device_is_one_to_run_on():
    assert filter_jit(lambda x: filter_shard(x, DEVICES[2]))(numbers()).devices() == {DEVICES[2]}


def test_inside_jit_whatever_is_no_array_stays_as_it_is():
    out = filter_jit(lambda x: filter_shard({"x": x, "s": "s", "n": None}, DEVICES[2]))(numbers())
    assert out.pop("x").devices() == {DEVICES[2]}
    assert out == {"s": "s", "n": None}


# Other transforms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mesh", "spec"), [(AUTO, PartitionSpec("d")), (EXPLICIT, PartitionSpec("e"))])
def test_gradients_go_through_it(mesh, spec):
    with set_mesh(mesh):
        grad = filter_grad(lambda x: jnp.sum(filter_shard(x, spec) ** 2))(numbers())
    assert np.array_equal(grad, 2 * numbers())


@pytest.mark.parametrize(("mesh", "spec"), [(AUTO, PartitionSpec("d")), (EXPLICIT, PartitionSpec("e"))])
def test_under_vmap_the_spec_is_about_one_example(mesh, spec):
    with set_mesh(mesh):
        out = filter_vmap(lambda x: filter_shard(x, spec))(jnp.stack([numbers()] * 3))
    assert pieces(out) == ((3, 1, 2), 8)


# Errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["cpu", AUTO, {"a": DEVICES[0], "z": None}, (DEVICES[0],), PartitionSpec("d"), 0],
    ids=["name", "mesh", "keys", "structure", "no mesh", "number"],
)
def test_what_is_no_place_is_refused(target):
    with pytest.raises(ShapeError):
        filter_shard({"a": numbers()}, target)


@pytest.mark.parametrize("spec", [PartitionSpec("z"), PartitionSpec(None, None, "d")], ids=["axis", "rank"])
def test_a_spec_that_does_not_fit_is_refused(spec):
    with set_mesh(AUTO), pytest.raises(ShapeError):
        filter_shard(numbers(), spec)


@MESHES
def test_an_array_whose_parts_would_differ_in_size_is_named(mesh, spec):
    parts = mesh.shape[spec[0]]
    with set_mesh(mesh), pytest.raises(ShapeError) as raised:
        filter_shard({"a": numbers(), "b": [numbers()[:6]]}, spec)
    assert str(raised.value) == (
        "filter_shard(): argument `x['b'][0]` has size 6 along axis 0, "
        f"which is split into {parts} equal parts\n"
        f"  expected: a multiple of {parts} along axis 0, for PartitionSpec({', '.join(map(repr, spec))})\n"
        "  found: f32[6,2]\n"
        "  fix: pad that axis, or leave it whole: None in the PartitionSpec"
    )
