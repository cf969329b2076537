"""Meshes of the eight devices that every session has, and what tests ask of programs on them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

set_mesh: Any = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh  # the name before JAX 0.7.1
SET_MESH = "jax.set_mesh" if hasattr(jax, "set_mesh") else "jax.sharding.use_mesh"

AXES = ("data", "model")
AUTO = jax.make_mesh((4, 2), AXES, axis_types=(AxisType.Auto,) * 2)
EXPLICIT = jax.make_mesh((4, 2), AXES, axis_types=(AxisType.Explicit,) * 2)
MIXED = jax.make_mesh((4, 2), AXES, axis_types=(AxisType.Explicit, AxisType.Auto))
MESHES = pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])

has_host_memory = pytest.mark.skipif(
    "pinned_host" not in {memory.kind for memory in jax.devices()[0].addressable_memories()},
    reason="the CPU of this release of JAX has one kind of memory",
)


def pieces(array: Any) -> tuple[int, ...]:
    """The shape of what each device holds."""
    (shape,) = {shard.data.shape for shard in array.addressable_shards}
    return shape


def assert_same(ours: Any, theirs: Any) -> None:
    """Assert that two results have the same structure, values, places and types."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert one.sharding.is_equivalent_to(other.sharding, other.ndim), (one.sharding, other.sharding)
        assert one.sharding.memory_kind == other.sharding.memory_kind
        assert jax.typeof(one) == jax.typeof(other)


_TELLING = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(|\b(?:may|must)-(alias)"
)


def told(program: Any) -> Counter[str]:
    """How often each collective, and each buffer that is shared with an argument, is in a compiled text."""
    return Counter(first or second for first, second in _TELLING.findall(program.as_text()))
