"""`filter_pure_callback`: a Python function on the host, called from inside a compiled program.

`jax.pure_callback` of a function from arrays to arrays; all other arguments stay on the host, and
all other results are those that were declared. What the host returns is compared with the declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args, overload

import jax
import jax.core
from jax import Array, ShapeDtypeStruct
from jax.sharding import Sharding

from typedfilter._declarations import T, VmapMethod
from typedfilter._reading.callables import name_of
from typedfilter._values.context import is_compiling
from typedfilter._values.leaves import stands_for_array
from typedfilter._values.template import Template
from typedfilter._wrapping import host_errors as _raised
from typedfilter._wrapping.call import take_arrays
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.host import Host, taken_apart
from typedfilter.errors import AnnotationError

_METHODS: tuple[str, ...] = get_args(VmapMethod)


@overload
def filter_pure_callback(
    callback: Callable[..., Any],
    /,
    *args: Any,
    result_shape_dtypes: ShapeDtypeStruct,
    vmap_method: VmapMethod | None = None,
    vectorized: bool = False,
    sharding: Sharding | None = None,
    **kwargs: Any,
) -> Array: ...
@overload
def filter_pure_callback(
    callback: Callable[..., Any],
    /,
    *args: Any,
    result_shape_dtypes: tuple[ShapeDtypeStruct, ...],
    vmap_method: VmapMethod | None = None,
    vectorized: bool = False,
    sharding: Sharding | None = None,
    **kwargs: Any,
) -> tuple[Array, ...]: ...
@overload
def filter_pure_callback(
    callback: Callable[..., Any],
    /,
    *args: Any,
    result_shape_dtypes: list[ShapeDtypeStruct],
    vmap_method: VmapMethod | None = None,
    vectorized: bool = False,
    sharding: Sharding | None = None,
    **kwargs: Any,
) -> list[Array]: ...
@overload
def filter_pure_callback(
    callback: Callable[..., Any],
    /,
    *args: Any,
    result_shape_dtypes: dict[T, ShapeDtypeStruct],
    vmap_method: VmapMethod | None = None,
    vectorized: bool = False,
    sharding: Sharding | None = None,
    **kwargs: Any,
) -> dict[T, Array]: ...
@overload
def filter_pure_callback(
    callback: Callable[..., Any],
    /,
    *args: Any,
    result_shape_dtypes: T,
    vmap_method: VmapMethod | None = None,
    vectorized: bool = False,
    sharding: Sharding | None = None,
    **kwargs: Any,
) -> T: ...
@ends_at_caller
def filter_pure_callback(
    callback: Callable[..., Any],
    /,
    *args: Any,
    result_shape_dtypes: Any,
    vmap_method: VmapMethod | None = None,
    vectorized: bool = False,
    sharding: Sharding | None = None,
    **kwargs: Any,
) -> Any:
    """Call `callback(*args, **kwargs)` on the host, from wherever: eagerly, or inside `filter_jit`.

    As `jax.pure_callback`, but arguments and results may hold anything. It has no derivative: give the
    function around it one, with `filter_custom_jvp` or `filter_custom_vjp`.

    Args:
        callback: a function without side effects; a method, partial or callable object whose arrays are
            inputs, too. Arrays reach it as arrays, typed random keys as their
            `jax.random.key_data`, everything else as it is.
        result_shape_dtypes: the result, with a `jax.ShapeDtypeStruct` in the place of each array.
        vmap_method: what `jax.vmap` does with it: call it for each example (`"sequential"`, the default, or
            `"sequential_unrolled"`), or once with the batched arrays, all others having a new leading axis
            of size 1 (`"expand_dims"`) or of the size of the batch (`"broadcast_all"`).
        vectorized: `True` stands for `vmap_method="expand_dims"`.
        sharding: from where the callback is called, as in `jax.pure_callback`: of a single device, say.

    Returns:
        What is declared, with the arrays that the callback returned. A Python number fits where a scalar
        array of its kind is declared.

    Raises:
        AnnotationError: `vmap_method` is unknown, or contradicts `vectorized`.
        ShapeError: the callback returned another structure, shape or dtype than was declared.
        StaticArgumentError: it returned another value where no array was declared (`True` for `1`, say).
    """
    method = _method(callback, vmap_method, vectorized)
    called, bound = taken_apart(callback)
    args = (bound, *args)
    arguments = take_arrays(None, args, kwargs)
    arrays = arguments.arrays
    inputs = Template([*args, *kwargs.values()], [yes for mask in arguments.masks for yes in mask])
    mask = list(map(stands_for_array, jax.tree_util.tree_leaves(result_shape_dtypes)))
    results = Template(result_shape_dtypes, mask)
    host = Host(called, arguments, inputs, results, is_compiling())
    if not results.structs and not any(isinstance(array, jax.core.Tracer) for array in arrays):
        host(*arrays)  # JAX would not call what returns no arrays, and nobody would compare the rest
        return results.join(())
    with _raised.asking:  # it may run at once
        found = jax.pure_callback(host, results.structs, *arrays, sharding=sharding, vmap_method=method)
    return results.join(found)


def _method(callback: Callable[..., Any], method: str | None, vectorized: bool) -> str:
    if method is not None and (vectorized or method not in _METHODS):
        options = f"vmap_method={method!r}" + (" and vectorized=True" if vectorized else "")
        raise AnnotationError(
            f"can't be called back with {options}",
            function=name_of(callback),
            expected="vmap_method=" + " or ".join(map(repr, _METHODS)) + ", or vectorized=True",
            actual=options,
            fix="pass one of these",
        )
    return method or ("expand_dims" if vectorized else "sequential")
