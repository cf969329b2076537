"""Where arrays live: on a device, or split over a mesh, by option or by annotation.

Floor 3. Concrete arrays are moved; traced ones are constrained, which is all that a program can ask for. A
`PartitionSpec` is about the ambient mesh (`jax.set_mesh`). Of a mesh, `Auto` axes take constraints and
`Explicit` ones a reshard.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import types
from collections.abc import Callable, Generator
from typing import Any

import jax
import jax.core
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from typedfilter._hints import Hint
from typedfilter._lift import is_passed
from typedfilter._plan import Plan
from typedfilter.errors import AnnotationError, ShapeError

__all__ = ["mesh_problem", "no_placement", "place", "placed", "placing", "rank_problem"]


def place(array: Any, target: Any) -> Any:
    """`array` on a device or with a sharding: moved if it is concrete, constrained if it is traced.

    Args:
        array: an array; NumPy's become JAX's.
        target: a `jax.Device`, a `jax.sharding.Sharding`, or a `PartitionSpec` of the ambient mesh.
    """
    if not isinstance(array, jax.core.Tracer):
        return jax.device_put(array, target)
    if isinstance(target, jax.Device):
        target = SingleDeviceSharding(target)
    return _constrained(array, target)


@functools.partial(jax.jit, static_argnums=1, inline=True)  # under jit, since eager constraints can do less
def _constrained(array: Any, target: Any) -> Any:
    if not isinstance(target, NamedSharding | PartitionSpec):
        return jax.lax.with_sharding_constraint(array, target)
    ambient = jax.sharding.get_abstract_mesh()
    mesh = target.mesh if isinstance(target, NamedSharding) else ambient
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if AxisType.Explicit in kinds.values():
        if ambient.empty:
            array = jax.device_put(array, target)  # nothing else says which devices the program runs on
        array = jax.sharding.reshard(array, _only(AxisType.Explicit, kinds, target))
    if AxisType.Auto in kinds.values():
        array = jax.lax.with_sharding_constraint(array, _only(AxisType.Auto, kinds, target))
    return array


def _only(kind: Any, kinds: dict[Any, Any], target: Any) -> Any:
    """`target` without the mesh axes of other kinds."""
    if set(kinds.values()) == {kind}:
        return target

    def keep(entry: Any) -> Any:
        names = entry if isinstance(entry, tuple) else (entry,)
        return tuple(name for name in names if kinds.get(name) is kind) or None

    if isinstance(target, NamedSharding):
        return NamedSharding(target.mesh, PartitionSpec(*map(keep, target.spec)))
    return PartitionSpec(*map(keep, target))


def mesh_problem(spec: PartitionSpec) -> dict[str, str] | None:
    """Why `spec` can't be about the ambient mesh, as the fields of an error; `None` if it can."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return {
            "problem": "needs a mesh, and none is set",
            "expected": f"an ambient mesh for {spec_text(spec)}",
            "fix": "call it inside `with jax.set_mesh(mesh):`",
        }
    named = [name for entry in spec for name in (entry if isinstance(entry, tuple) else (entry,))]
    missing = [name for name in named if isinstance(name, str) and name not in mesh.axis_names]
    if not missing:
        return None
    return {
        "problem": f"is to be split along {missing[0]!r}, which is no axis of the mesh",
        "expected": "axes among: " + ", ".join(map(str, mesh.axis_names)),
        "actual": spec_text(spec),
        "fix": "name an axis of the ambient mesh",
    }


def spec_text(spec: PartitionSpec) -> str:
    """A `PartitionSpec` as it is written: its own repr differs between JAX releases."""
    return f"PartitionSpec({', '.join(map(repr, spec))})"


def rank_problem(spec: PartitionSpec, array: Any) -> dict[str, str] | None:
    """Why `array` can't be split by `spec`, as the fields of an error; `None` if it can."""
    if len(spec) <= array.ndim:
        return None
    return {
        "problem": f"has {array.ndim} dimensions, but {spec_text(spec)} is for {len(spec)} or more",
        "expected": f"at least {len(spec)} dimensions",
        "actual": f"{array.ndim} dimensions",
        "fix": "shorten the PartitionSpec: dimensions that it leaves out are not split",
    }


# ------------------------------------------------------------------------------------------- annotations

_active: contextvars.ContextVar[bool | None] = contextvars.ContextVar("typedfilter_placing", default=None)


@contextlib.contextmanager
def placing() -> Generator[None]:
    """Bodies inside honour their `PartitionSpec`s: they are being compiled."""
    token = _active.set(True if _active.get() is None else _active.get())
    try:
        yield
    finally:
        _active.reset(token)


@contextlib.contextmanager
def no_placement() -> Generator[None]:
    """No body inside honours its `PartitionSpec`s: for traces that ask for shapes only, on no device."""
    token = _active.set(False)
    try:
        yield
    finally:
        _active.reset(token)


def placed(fn: Callable[..., Any], plan: Plan, body: Callable[..., Any]) -> Callable[..., Any]:
    """`body`, with arguments and result sharded as the annotations of `fn` say, while it is compiled.

    `body` itself where they say nothing, or where `fn` is one of our wrappers: a `PartitionSpec` is about
    what the user's function receives, whatever axes the transforms around it add.
    """
    hinted = any(param.hint.sharding is not None for param in plan.params)
    if not (hinted or plan.returns.sharding is not None) or _is_wrapped(fn):
        return body

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _active.get():
            return body(*args, **kwargs)
        names = plan.bind_names(len(args), tuple(kwargs))
        hints: list[Hint | None] = [plan.positional(i).hint for i in range(len(args))]
        for name in kwargs:
            param = plan.keyword(name)
            hints.append(None if param is None else param.hint)
        values = list(map(functools.partial(_shard, plan), names, hints, [*args, *kwargs.values()]))
        out = body(*values[: len(args)], **dict(zip(kwargs, values[len(args) :], strict=True)))
        return _shard(plan, "return", plan.returns, out)

    return call


def _is_wrapped(fn: Any) -> bool:
    while isinstance(fn, functools.partial | types.MethodType):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__func__
    return hasattr(type(fn), "__typedfilter_plan__")


def _shard(plan: Plan, name: str, hint: Hint | None, value: Any) -> Any:
    if hint is None or hint.sharding is None:
        return value
    spec = hint.sharding
    problem = mesh_problem(spec)
    if problem is not None:
        raise AnnotationError(function=plan.function, parameter=name, **problem)
    found, treedef = jax.tree_util.tree_flatten_with_path(value)
    leaves: list[Any] = []
    for path, leaf in found:
        problem = rank_problem(spec, leaf) if is_passed(leaf) else None
        if problem is not None:
            raise ShapeError(function=plan.function, parameter=name + jax.tree_util.keystr(path), **problem)
        leaves.append(place(leaf, spec) if is_passed(leaf) else leaf)
    return jax.tree_util.tree_unflatten(treedef, leaves)
