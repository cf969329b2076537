"""A sharded checkpoint of orbax's, restored into the shapes of a function that makes a model."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Float
from meshes import set_mesh

from typedfilter import Static, combine, filter_eval_shape, filter_jit, is_array_or_struct, partition
from typedfilter.pytree import pytree_dataclass

orbax = pytest.importorskip("orbax.checkpoint")
MESH = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))


@pytree_dataclass
class Net:
    weight: Annotated[Float[Array, "m n"], PartitionSpec("data")]
    bias: Annotated[Float[Array, "m"], PartitionSpec()]
    activation: Any = jnp.tanh
    name: Static[str] = "net"


@filter_jit
def create(key: Array) -> Net:
    return Net(jax.random.normal(key, (16, 4)), jnp.zeros(16))


def test_a_sharded_model_is_restored_into_the_shapes_of_its_init_function(tmp_path):
    with set_mesh(MESH):
        net = create(jax.random.key(0))
        arrays, _ = partition(net, is_array_or_struct)
        structs, rest = partition(filter_eval_shape(create, jax.random.key(0)), is_array_or_struct)
        checkpointer = orbax.StandardCheckpointer()
        checkpointer.save(tmp_path / "net", arrays)
        checkpointer.wait_until_finished()
        restored = combine(checkpointer.restore(tmp_path / "net", structs), rest)
        checkpointer.close()
    assert type(restored) is Net
    assert (restored.activation, restored.name) == (jnp.tanh, "net")
    np.testing.assert_array_equal(restored.weight, net.weight)
    assert restored.weight.sharding.is_equivalent_to(NamedSharding(MESH, PartitionSpec("data")), 2)
    assert restored.bias.sharding.is_fully_replicated
