"""The markers are the types that they stand around. Executed as well: see test_static."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic

import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec
from jaxtyping import Float, Int
from typing_extensions import TypeVar, assert_type

from typedfilter import Diff, Donate, NoDiff, Static, Traced, VmapAxis, pytree_dataclass

T = TypeVar("T")
X = jnp.arange(3.0)
Width = Static[int]
Weights = Donate[Float[Array, " n"]]
Kept = Static[T]


def nested(
    a: Static[int],
    b: Traced[float],
    c: Donate[Float[Array, " n"]],
    d: Diff[Donate[Array]],
    e: NoDiff[Int[Array, " n"]] | None,
    f: Annotated[Donate[Array], VmapAxis[1]],
    g: Annotated[Array, PartitionSpec("x")],
    h: Width,
    i: Weights,
    j: Kept[tuple[int, str]],
    k: Annotated[Array, VmapAxis[None]],
    *args: Static[str],
    **kwargs: Traced[complex],
) -> Annotated[Array, VmapAxis[-1]]:
    assert_type(a, int)
    assert_type(b, float)
    assert_type(c, Array)
    assert_type(d, Array)
    assert_type(e, Array | None)
    assert_type(f, Array)
    assert_type(g, Array)
    assert_type(h, int)
    assert_type(i, Array)
    assert_type(j, tuple[int, str])
    assert_type(k, Array)
    assert_type(args, tuple[str, ...])
    assert_type(kwargs, dict[str, complex])
    return c


@pytree_dataclass
class Fields(Generic[T]):
    weight: Diff[Float[Array, " n"]]
    frozen: NoDiff[Array]
    size: Static[int]
    call: Static[Callable[[Array], Array]]
    rows: Annotated[Array, VmapAxis[1]]
    other: T


@dataclass
class Plain:
    rate: Traced[float] = 0.1
    name: "Static[str]" = "plain"


def accepted() -> None:
    fields = Fields(X, X, 3, jnp.sin, X[None], "other")
    assert_type(fields, Fields[str])
    assert_type(fields.weight, Array)
    assert_type(fields.frozen, Array)
    assert_type(fields.size, int)
    assert_type(fields.call(X), Array)
    assert_type(fields.rows, Array)
    assert_type(fields.other, str)
    assert_type(Plain().rate, float)
    assert_type(Plain().name, str)
    assert_type(nested(1, 1.0, X, X, None, X, X, 1, X, (1, "a"), X, "b", z=1j), Array)


def rejected() -> None:
    nested("1", 1.0, X, X, None, X, X, 1, X, (1, "a"), X)  # type: ignore[arg-type]
    nested(1, "1", X, X, None, X, X, 1, X, (1, "a"), X)  # type: ignore[arg-type]
    nested(1, 1.0, 1, X, None, X, X, 1, X, (1, "a"), X)  # type: ignore[arg-type]
    nested(1, 1.0, X, X, None, X, X, 1, X, (1, 2), X)  # type: ignore[arg-type]
    nested(1, 1.0, X, X, None, X, X, 1, X, (1, "a"), X, 3)  # type: ignore[arg-type]
    Fields(X, X, "3", jnp.sin, X, 1)  # type: ignore[arg-type]
    Fields(X, X, 3, "sin", X, 1)  # type: ignore[arg-type]
    Fields(X, X, 3)  # type: ignore[call-arg]
    Fields(X, X, 3, jnp.sin, X, 1).size = 4  # type: ignore[misc]


class Rejected:
    several: Static[int, str]  # type: ignore[type-arg]
    number: Static[1]  # type: ignore[valid-type]


if __name__ == "__main__":
    accepted()
