"""Shapes, jaxprs, closures, callbacks, shardings. Executed as well: see test_static."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, ShapeDtypeStruct
from typing_extensions import assert_type

from typedfilter import (
    Static,
    filter_closure_convert,
    filter_eval_shape,
    filter_jit,
    filter_make_jaxpr,
    filter_pure_callback,
    filter_shard,
    pytree_dataclass,
)

X = jnp.arange(3.0)
STRUCT = ShapeDtypeStruct((3,), jnp.float32)


@pytree_dataclass
class Pair:
    first: Array
    second: Array


def add(x: Array, y: Array, *, times: Static[int] = 1) -> Array:
    return (x + y) * times


def pair(x: Array) -> Pair:
    return Pair(x, x)


def accepted_shapes() -> None:
    assert_type(filter_eval_shape(add, X, X), ShapeDtypeStruct)
    assert_type(filter_eval_shape(add, STRUCT, STRUCT, times=2), ShapeDtypeStruct)
    assert_type(filter_eval_shape(pair, X), Pair)
    assert_type(filter_eval_shape(filter_jit(add), X, X), ShapeDtypeStruct)
    assert_type(filter_eval_shape(lambda: 3), int)


def accepted_jaxprs() -> None:
    jaxpr, shape, _static = filter_make_jaxpr(add)(X, X, times=2)
    assert_type(shape, ShapeDtypeStruct)
    assert_type(len(jaxpr.eqns), int)
    assert_type(filter_make_jaxpr(add)(STRUCT, STRUCT)[1], ShapeDtypeStruct)
    print(filter_make_jaxpr(pair)(X))


def accepted_closures() -> None:
    converted = filter_closure_convert(add, X, X, times=2)
    assert_type(converted(X, X, times=2), Array)
    assert_type(converted.consts, list[Any])
    assert_type(filter_closure_convert(add, STRUCT, STRUCT)(X, X), Array)


def on_host(x: Any) -> Any:
    return np.asarray(x) * 2


def accepted_callbacks() -> None:
    assert_type(filter_pure_callback(on_host, X, result_shape_dtypes=STRUCT), Array)
    assert_type(filter_pure_callback(on_host, X, result_shape_dtypes=STRUCT, vmap_method="sequential"), Array)
    several = filter_pure_callback(lambda x: [on_host(x)], X, result_shape_dtypes=[STRUCT])
    assert_type(several, list[Array])
    named = filter_pure_callback(lambda x: {"a": on_host(x)}, X, result_shape_dtypes={"a": STRUCT})
    assert_type(named, dict[str, Array])
    tree = filter_pure_callback(
        lambda x: Pair(on_host(x), on_host(x)), X, result_shape_dtypes=filter_eval_shape(pair, X)
    )
    assert_type(tree, Pair)


def accepted_shards() -> None:
    device = jax.devices()[0]
    assert_type(filter_shard(X, device), Array)
    assert_type(filter_shard(Pair(X, X), device), Pair)
    assert_type(filter_shard([X], device), list[Array])


def rejected() -> None:
    filter_eval_shape(X)  # type: ignore[call-overload]
    filter_make_jaxpr(X)  # type: ignore[call-overload]
    filter_closure_convert(3, X)  # type: ignore[call-overload]
    filter_closure_convert(add, X, X)("x", X)  # type: ignore[arg-type]
    filter_pure_callback(on_host, X)  # type: ignore[call-overload]
    filter_pure_callback(X, X, result_shape_dtypes=STRUCT)  # type: ignore[call-overload]
    filter_pure_callback(on_host, X, result_shape_dtypes=STRUCT, vmap_method="sequentially")  # type: ignore[call-overload]
    text: str = filter_shard(X, jax.devices()[0])  # type: ignore[assignment]
    array: Array = filter_eval_shape(add, X, X)  # type: ignore[assignment]
    print(text, array)


if __name__ == "__main__":
    accepted_shapes()
    accepted_jaxprs()
    accepted_closures()
    accepted_callbacks()
    accepted_shards()
