"""Maps and checkpoints keep parameters and result. Executed as well: see test_static."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, overload

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float
from typing_extensions import TypeVar, assert_type

from typedfilter import (
    Static,
    VmapAxis,
    filter_checkpoint,
    filter_jit,
    filter_pmap,
    filter_vmap,
    if_array,
    pytree_dataclass,
)

T = TypeVar("T")
X = jnp.arange(3.0)


def dot(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
    return x @ y


@filter_vmap
def norm(x: Float[Array, " n"], power: Static[int] = 2) -> Float[Array, ""]:
    return (x**power).sum()


@filter_vmap(in_axes=(0, None), axis_name="batch")
def labelled(x: Array, label: str) -> tuple[Array, str]:
    return x, label


@filter_vmap
def columns(x: Annotated[Float[Array, " n"], VmapAxis[1]]) -> Annotated[Array, VmapAxis[0]]:
    return x.sum()


@filter_vmap
def same(x: T) -> T:
    return x


@overload
def double(x: Array) -> Array: ...
@overload
def double(x: int) -> int: ...
@filter_vmap(out_axes=0)
def double(x: Any) -> Any:
    return x * 2


@filter_jit
@filter_vmap
def fast(x: Array, *, scale: Static[float] = 1.0) -> Array:
    return x * scale


@filter_checkpoint
def remembered(x: Array, n: Static[int] = 2) -> Array:
    return x**n


@filter_checkpoint(policy=jax.checkpoint_policies.everything_saveable, prevent_cse=False)
def partly(x: Array) -> Array:
    return jnp.sin(x)


@filter_pmap(donate="none")
def spread(x: Array) -> Array:
    return x + 1


@pytree_dataclass
class Model:
    weight: Array

    @filter_vmap(in_axes=(None, 0))
    def apply(self, x: Array) -> Array:
        return self.weight @ x

    @filter_checkpoint
    def again(self, x: Array) -> Array:
        return self.weight @ x


BATCH = jnp.ones((4, 3))


def accepted() -> None:
    assert_type(norm(BATCH), Array)
    assert_type(norm(BATCH, power=3), Array)
    assert_type(labelled(BATCH, "a"), tuple[Array, str])
    assert_type(columns(BATCH), Array)
    assert_type(same(BATCH), Array)
    assert_type(double(BATCH), Array)
    assert_type(fast(BATCH, scale=2.0), Array)
    assert_type(fast.lower(BATCH).compile()(BATCH), Array)
    assert_type(filter_vmap(dot)(BATCH, BATCH), Array)
    assert_type(filter_vmap(dot, in_axes=(0, None), out_axes=0)(BATCH, X), Array)
    assert_type(filter_vmap(dot, in_axes={"y": None}, axis_size=4, check=True)(BATCH, X), Array)
    assert_type(filter_vmap(dot, in_axes=if_array(0))(BATCH, BATCH), Array)
    assert_type(filter_vmap(filter_vmap(dot))(BATCH[None], BATCH[None]), Array)
    assert_type(remembered(X, n=3), Array)
    assert_type(partly(X), Array)
    assert_type(spread(BATCH[:1]), Array)
    assert_type(Model(X).apply(BATCH), Array)
    assert_type(Model(X).again(X), Array)
    mapped: Callable[[Array, Array], Array] = filter_vmap(dot)
    print(mapped(BATCH, BATCH))


def rejected() -> None:
    norm("x")  # type: ignore[arg-type]
    norm(BATCH, 2, 3)  # type: ignore[call-arg]
    norm(BATCH, pwoer=2)  # type: ignore[call-arg]
    labelled(BATCH, 3)  # type: ignore[arg-type]
    columns()  # type: ignore[call-arg]
    double("x")  # type: ignore[call-overload]
    remembered(X, "3")  # type: ignore[arg-type]
    spread(3)  # type: ignore[arg-type]
    Model(X).apply("x")  # type: ignore[arg-type]
    Model(X).again(X, X)  # type: ignore[call-arg]
    text: str = norm(BATCH)  # type: ignore[assignment]
    filter_vmap(dot, axis_size="4")  # type: ignore[call-overload]
    filter_vmap(dot, in_axis=0)  # type: ignore[call-overload]
    filter_pmap(dot, donate="all-except-first")  # type: ignore[call-overload]
    filter_checkpoint(dot, prevent_cse="no")  # type: ignore[call-overload]
    filter_vmap(BATCH)  # type: ignore[call-overload]
    print(text)


if __name__ == "__main__":
    accepted()
