"""The whole text of every error of closures, callbacks, device maps and shardings."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Float
from meshes import SET_MESH, set_mesh
from refusals import check

from typedfilter import (
    filter_closure_convert,
    filter_jit,
    filter_pmap,
    filter_pure_callback,
    filter_shard,
)

MESH = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
X = jnp.arange(3.0)
F32 = jax.ShapeDtypeStruct((), jnp.float32)


pytestmark = pytest.mark.usefixtures("quiet")


def affine(x, name="n", *, k=1):
    return {"y": x * X, "name": name, "k": k}


def same(tree):
    return tree


def total(*xs):
    return sum(xs)


def scale(x, y=1):
    return x * y


def split(x: Annotated[Float[Array, "b n"], PartitionSpec("d")]):
    return x


class TestClosures:
    AGAIN = "  fix: call filter_closure_convert again with arguments like these"

    def test_another_shape(self):
        check(
            lambda: filter_closure_convert(affine, X)(jnp.ones(4)),
            "affine(): argument `x` differs in shape from the example that the function was converted for",
            "  expected: f32[3]",
            "  found: an array f32[4]",
            self.AGAIN,
        )

    def test_another_dtype_inside_of_a_tree(self):
        check(
            lambda: filter_closure_convert(same, {"a": (X, 1)})({"a": (jnp.ones(3, jnp.int32), 1)}),
            "same(): argument `tree['a'][0]` differs in dtype from the example "
            "that the function was converted for",
            "  expected: f32[3]",
            "  found: an array i32[3]",
            self.AGAIN,
        )

    def test_another_structure(self):
        check(
            lambda: filter_closure_convert(same, {"a": X, "b": (X, None)})({"a": X, "b": X}),
            "same(): argument `tree` differs in structure from the example "
            "that the function was converted for",
            "  expected: {'a': *, 'b': (*, None)}",
            "  found: {'a': *, 'b': *}",
            self.AGAIN,
        )

    def test_no_array(self):
        check(
            lambda: filter_closure_convert(affine, X)("x"),
            "affine(): argument `x` differs in type from the example that the function was converted for",
            "  expected: f32[3]",
            "  found: str 'x'",
            self.AGAIN,
        )

    def test_another_static_value(self):
        check(
            lambda: filter_closure_convert(affine, X)(X, k=True),
            "affine(): argument `k` differs in value from the example that the function was converted for",
            "  expected: int 1",
            "  found: bool True",
            self.AGAIN,
        )

    def test_other_arguments(self):
        check(
            lambda: filter_closure_convert(total, X, X)(X),
            "total(): is called with other arguments than it was converted for",
            "  expected: xs[0], xs[1]",
            "  found: xs[0]",
            self.AGAIN,
        )


def returned(value: Any, declared: Any) -> Any:
    def host():
        return value

    return filter_pure_callback(host, result_shape_dtypes=declared)


class TestCallbacks:
    FIX = "  fix: return what is declared, or declare what is returned"
    OPTIONS = (
        "  expected: vmap_method='sequential' or 'sequential_unrolled' or 'expand_dims' or 'broadcast_all', "
        "or vectorized=True"
    )

    def test_another_structure(self):
        check(
            lambda: returned((1.0, 2.0), {"a": F32}),
            "host(): the return value differs in structure from what result_shape_dtypes declares",
            "  expected: {'a': *}",
            "  found: (*, *)",
            self.FIX,
        )

    def test_another_shape(self):
        check(
            lambda: returned({"a": np.ones(2, np.float32)}, {"a": F32}),
            "host(): the return value differs in shape from what result_shape_dtypes declares at `['a']`",
            "  expected: f32[]",
            "  found: an array f32[2]",
            self.FIX,
        )

    def test_a_number_of_another_kind(self):
        check(
            lambda: returned(1, F32),
            "host(): the return value differs in type from what result_shape_dtypes declares",
            "  expected: f32[]",
            "  found: int 1",
            self.FIX,
        )

    def test_another_static_value(self):
        check(
            lambda: returned([1.0, True], [F32, 1]),
            "host(): the return value differs in value from what result_shape_dtypes declares at `[1]`",
            "  expected: int 1",
            "  found: bool True",
            self.FIX,
        )

    def test_an_unknown_method(self):
        check(
            lambda: filter_pure_callback(scale, X, result_shape_dtypes=F32, vmap_method="fast"),
            "scale(): can't be called back with vmap_method='fast'",
            self.OPTIONS,
            "  found: vmap_method='fast'",
            "  fix: pass one of these",
        )

    def test_two_methods(self):
        check(
            lambda: filter_pure_callback(
                scale, X, result_shape_dtypes=F32, vmap_method="sequential", vectorized=True
            ),
            "scale(): can't be called back with vmap_method='sequential' and vectorized=True",
            self.OPTIONS,
            "  found: vmap_method='sequential' and vectorized=True",
            "  fix: pass one of these",
        )


class TestDeviceMaps:
    def test_too_few_devices(self):
        check(
            lambda: filter_pmap(scale)(jnp.ones(9)),
            "scale(): is mapped over 9 devices, and there are 8",
            "  expected: a mapped axis of size 8 or less",
            "  found: size 9",
            "  fix: map fewer examples, and the rest with filter_vmap inside; on a CPU, set "
            "XLA_FLAGS=--xla_force_host_platform_device_count=9 before JAX starts",
        )

    def test_sizes_that_disagree(self):
        check(
            lambda: filter_pmap(scale)(jnp.ones(4), jnp.ones(3)),
            "scale(): argument `y` has size 3 along axis 0, but axis 0 of `x` has size 4",
            "  expected: size 4 along axis 0",
            "  found: an array f32[3]",
            "  fix: map axes of one size, or broadcast one of the two (VmapAxis[None], or None in in_axes)",
        )

    def test_no_example_at_all(self):
        for options in ({}, {"in_axes": None, "axis_size": 0}):
            check(
                lambda options=options: filter_pmap(scale, **options)(jnp.ones((0, 2))),
                "scale(): is mapped over no device: there is no example",
                "  expected: a mapped axis of size 1 to 8",
                "  found: size 0",
                "  fix: pass at least one example, or map with filter_vmap, which takes none, too",
            )

    def test_a_name_that_is_no_string(self):
        check(
            lambda: filter_pmap(scale, axis_name=("a", 1)),
            "scale(): has axis_name=('a', 1), and JAX names the axes of devices with strings",
            "  expected: a str or None",
            "  found: tuple",
            "  fix: name the axis with a string",
        )

    def test_an_unknown_donation(self):
        check(
            lambda: filter_pmap(scale, donate="some"),
            "scale(): filter_pmap has no donate='some'",
            "  expected: 'all' or 'warn' or 'none'",
            "  found: 'some'",
            "  fix: pass one of these, or annotate single arguments as Donate[...]",
        )

    def test_a_partition_spec(self):
        check(
            lambda: filter_pmap(split),
            "split(): argument `x` is annotated Annotated[Float[Array, 'b n'], PartitionSpec('d')], "
            "but filter_pmap splits arrays over devices by itself",
            "  fix: drop the PartitionSpec, or use filter_jit and a mesh",
        )

    def test_a_map_inside_of_a_map(self):
        check(
            lambda: filter_pmap(filter_pmap(scale))(jnp.ones((2, 2))),
            "scale(): can't be mapped over devices inside of a mesh "
            f"(another map over devices, or {SET_MESH})",
            "  expected: no ambient mesh",
            "  found: a mesh with axes filter_pmap",
            "  fix: map with filter_vmap there, or annotate shardings for filter_jit",
        )

    def test_an_unhashable_static_argument(self):
        check(
            lambda: filter_pmap(scale)(jnp.ones(2), {1}),
            "scale(): argument `y` is static, since it is no array but is unhashable: set",
            "  expected: a hashable value",
            "  found: set {1}",
            "  fix: pass a hashable value: a tuple for a list, a frozen dataclass for a mutable one",
        )

    def test_a_donated_array(self):
        f = filter_pmap(scale, donate="all")
        x = filter_pmap(scale)(jnp.ones(2))
        f(x)
        check(
            lambda: f(x),
            "scale(): argument `x` was donated to an earlier call, and its memory is gone",
            "  found: a deleted array f32[2]",
            "  fix: use the result of that call in its place, or pass a copy (jax.numpy.copy) to it",
        )


class TestShardings:
    def test_no_place(self):
        check(
            lambda: filter_shard({"a": X}, {"a": "cpu"}),
            "filter_shard(): argument `device_or_shardings['a']` is str 'cpu', "
            "which is no place for an array",
            "  expected: a jax.Device, a jax.sharding.Sharding, a PartitionSpec, or a pytree of these",
            "  found: str 'cpu'",
            "  fix: of a mesh, pass jax.sharding.NamedSharding(mesh, PartitionSpec(...))",
        )

    def test_no_prefix(self):
        check(
            lambda: filter_shard({"a": X, "b": [X]}, {"a": jax.devices()[0]}),
            "filter_shard(): argument `device_or_shardings` does not fit the structure of x",
            "  expected: a prefix of {'a': *, 'b': [*]}",
            "  found: {'a': *}",
            "  fix: pass one for all of x, or a pytree like its upper levels; None leaves a subtree alone",
        )

    def test_no_mesh(self):
        check(
            lambda: filter_shard({"a": X}, PartitionSpec("d")),
            "filter_shard(): argument `x['a']` needs a mesh, and none is set",
            "  expected: an ambient mesh for PartitionSpec('d')",
            f"  fix: call it inside `with {SET_MESH}(mesh):`",
        )

    def test_no_axis_of_the_mesh(self):
        with set_mesh(MESH):
            check(
                lambda: filter_shard({"a": X}, PartitionSpec(("rows", "d"))),
                "filter_shard(): argument `x['a']` is to be split along 'rows', which is no axis of the mesh",
                "  expected: axes among: d",
                "  found: PartitionSpec(('rows', 'd'))",
                "  fix: name an axis of the mesh",
            )

    def test_too_few_dimensions(self):
        with set_mesh(MESH):
            check(
                lambda: filter_shard({"a": X}, PartitionSpec("d", None)),
                "filter_shard(): argument `x['a']` has 1 dimension, "
                "but PartitionSpec('d', None) is for 2 or more",
                "  expected: at least 2 dimensions",
                "  found: 1 dimension",
                "  fix: shorten the PartitionSpec: dimensions that it leaves out are not split",
            )

    def test_an_annotation_without_a_mesh(self):
        check(
            lambda: filter_jit(split)(jnp.ones((8, 2))),
            "split(): argument `x` needs a mesh, and none is set",
            "  expected: an ambient mesh for PartitionSpec('d')",
            f"  fix: call it inside `with {SET_MESH}(mesh):`",
        )

    def test_an_annotation_with_too_many_dimensions(self):
        def f(x) -> Annotated[Any, PartitionSpec("d", None)]:
            return {"a": x}

        with set_mesh(MESH):
            check(
                lambda: filter_jit(f)(X),
                "f(): the return value['a'] has 1 dimension, but PartitionSpec('d', None) is for 2 or more",
                "  expected: at least 2 dimensions",
                "  found: 1 dimension",
                "  fix: shorten the PartitionSpec: dimensions that it leaves out are not split",
            )
