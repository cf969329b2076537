"""Bare `VmapAxis[1]` passes every checker, through the stub package. Executed as well: see test_static."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

import typedfilter
from typedfilter import Donate, VmapAxis, filter_vmap, pytree_dataclass

BATCH = jnp.ones((4, 3))


@filter_vmap
def columns(x: VmapAxis[1]) -> VmapAxis[0]:
    return x.sum() + x[0]


@filter_vmap
def typed(
    x: VmapAxis[1, Float[Array, " n"]], y: VmapAxis[None, Float[Array, " m"]], z: VmapAxis[-1] | None = None
) -> typedfilter.VmapAxis[Float[Array, ""], 0]:
    return x.sum() + y.sum()


@filter_vmap
def donated(x: Donate[VmapAxis[1]]) -> Array:
    return jnp.sum(x)


@pytree_dataclass
class Rows:
    rows: VmapAxis[1]
    columns: VmapAxis[0, Float[Array, "n m"]]


def accepted() -> None:
    print(columns(BATCH), typed(BATCH, BATCH[0]), donated(jnp.ones((4, 3))), columns(x=BATCH))
    rows = Rows(BATCH, BATCH)
    print(rows.rows + 1, rows.columns + 1)


def rejected() -> None:
    columns()  # type: ignore[call-arg]
    columns(BATCH, BATCH)  # type: ignore[call-arg]


if __name__ == "__main__":
    accepted()
