"""Arrays put where they are to be: moved, or constrained where a program is being traced.

A constraint is all that a program can ask for. Of a mesh, `Auto` axes take constraints and `Explicit` ones a
reshard, and another kind of memory is a move in the program as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
from jax.experimental.layout import Format, Layout, with_layout_constraint
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from typedfilter._compat import memory_space, spec_entries
from typedfilter._placing.places import for_jax, is_free, spread_places
from typedfilter._placing.specs import Problem, fit_problem
from typedfilter._values.leaves import is_passed

Refuse = Callable[[str, Problem], Exception]


def is_staging() -> bool:
    """Whether what is computed now becomes a part of a program, also where nothing in it is traced.

    In a program, `jax.device_put` of what the program closes over says nothing about the result.
    """
    with jax.transfer_guard("allow"):  # the user's guard is about the user's arrays
        probe = jax.lax.full((), False)  # dropped from a program: nothing uses it
    return isinstance(probe, jax.core.Tracer)


def place_tree(tree: Any, places: Any, refuse: Refuse) -> Any:
    """`tree` with its arrays placed; what is no array stays as it is.

    Args:
        tree: any pytree; NumPy's arrays become JAX's.
        places: a pytree of places and rules, whose structure is a prefix of that of `tree`.
        refuse: makes an exception of the path of an array, and the fields of an error.

    Raises:
        NoPrefixError: `places` is no prefix.
    """
    return place_leaves(tree, spread_places(places, tree, refuse), refuse)


def place_leaves(tree: Any, targets: Sequence[Any], refuse: Refuse, *, even: bool = False) -> Any:
    """As `place_tree`, with one place for each leaf; with `even`, what can't be shared evenly is refused."""
    found, treedef = jax.tree_util.tree_flatten_with_path(tree)
    leaves = [leaf for _, leaf in found]
    at = [i for i, leaf in enumerate(leaves) if targets[i] is not None and is_passed(leaf)]

    def refuse_misfits(even: bool) -> None:
        for i in at:
            problem = fit_problem(targets[i], leaves[i], even)
            if problem is not None:
                raise refuse(jax.tree_util.keystr(found[i][0]), problem) from None

    refuse_misfits(even)
    for i in at:
        if _is_open(targets[i]):
            raise refuse(jax.tree_util.keystr(found[i][0]), _OPEN_LAYOUT)
    if not at:
        return tree
    try:
        moved = _moved([leaves[i] for i in at], [targets[i] for i in at])
    except ValueError:  # only a constraint inside of a program may be uneven
        refuse_misfits(even=True)
        raise
    for i, array in zip(at, moved, strict=True):
        leaves[i] = array
    return jax.tree_util.tree_unflatten(treedef, leaves)


def _moved(arrays: list[Any], targets: list[Any]) -> list[Any]:
    if not any(isinstance(array, jax.core.Tracer) for array in arrays) and not is_staging():
        summed = [
            _constrained([a], (for_jax(t),))[0] if _is_unreduced(a) else a
            for a, t in zip(arrays, targets, strict=True)
        ]
        moved: list[Any] = jax.device_put(summed, targets)
        return moved
    constrained: list[Any] = _constrained(arrays, tuple(map(for_jax, targets)))
    return constrained


_OPEN_LAYOUT = Problem(
    problem="is to have a layout that the compiler chooses, which it does for whole arguments of filter_jit",
    expected="a Layout",
    actual="Layout.AUTO",
    fix="name one; or give one Format for all of an argument, or annotate it as arrays alone: PyTree[Array]",
)


def _is_open(target: Any) -> bool:
    """Whether a place leaves the layout of an array to the compiler: no program can ask for that."""
    layout = target.layout if isinstance(target, Format) else None
    return layout is not None and not isinstance(layout, Layout)


def _is_unreduced(array: Any) -> bool:
    """Whether devices hold parts of the sums that an array is: only a program can move that."""
    spec = getattr(getattr(array, "sharding", None), "spec", None)
    return bool(getattr(spec, "unreduced", None))


@functools.partial(jax.jit, static_argnums=1, inline=True)  # under jit, since eager constraints can do less
def _constrained(arrays: list[Any], targets: tuple[Any, ...]) -> list[Any]:
    return list(map(_constrain, arrays, targets))


def _constrain(array: Any, target: Any) -> Any:
    if isinstance(target, Format):
        array = _constrain(array, target.sharding) if target.sharding is not None else array
        return with_layout_constraint(array, target.layout) if target.layout is not None else array
    if isinstance(target, NamedSharding | PartitionSpec):
        array = _split(array, target)
    elif not _is_in_other_memory(array, target):
        array = jax.lax.with_sharding_constraint(array, target)
    if not _is_in_other_memory(array, target):
        return array
    # To `jax.device_put`, a dimension that is left open is an axis of this name, which no mesh has.
    space = memory_space(getattr(target, "memory_kind", None)) if is_free(target) else None
    return jax.device_put(array, target if space is None else space)


def _split(array: Any, target: Any) -> Any:
    ambient = jax.sharding.get_abstract_mesh()
    mesh = target.mesh if isinstance(target, NamedSharding) else ambient
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if AxisType.Explicit in kinds.values() and not typed_as(array, target):
        if ambient.empty:
            array = jax.device_put(array, target)  # nothing else says which devices the program runs on
        array = jax.sharding.reshard(array, _only(AxisType.Explicit, kinds, target, array))
    if AxisType.Auto in kinds.values():
        array = jax.lax.with_sharding_constraint(array, _only(AxisType.Auto, kinds, target, array))
    return array


def typed_as(array: Any, target: Any) -> bool:
    """Whether the type of an array says already how it is split: nothing is left to ask for."""
    spec = target.spec if isinstance(target, NamedSharding) else target
    mesh = target.mesh if isinstance(target, NamedSharding) else jax.sharding.get_abstract_mesh()
    if not isinstance(spec, PartitionSpec) or set(mesh.axis_types) != {AxisType.Explicit}:
        return False
    found = getattr(jax.typeof(array), "sharding", None)
    if found is None or found.mesh.shape != mesh.shape or found.mesh.axis_types != mesh.axis_types:
        return False
    return _normal(found.spec, array.ndim) == _normal(spec, array.ndim)


def _normal(spec: PartitionSpec, ndim: int) -> tuple[Any, ...]:
    entries = [entry if isinstance(entry, tuple) else (entry,) for entry in spec_entries(spec)]
    whole = [tuple(name for name in entry if name is not None) for entry in entries]
    sums: list[Any] = [getattr(spec, name, frozenset()) for name in ("unreduced", "reduced")]
    return (*whole, *[()] * (ndim - len(whole)), *sums)


def _only(kind: Any, kinds: dict[Any, Any], target: Any, array: Any) -> Any:
    """`target` without the mesh axes of other kinds.

    A dimension that is unconstrained stays as it is: of `Explicit` axes, as the type of the array says.
    """
    spec = target.spec if isinstance(target, NamedSharding) else target
    free = is_free(spec)
    if set(kinds.values()) == {kind} and not (free and kind is AxisType.Explicit):
        return target
    found = spec_entries(jax.typeof(array).sharding.spec) if free else ()

    def keep(dim: int, entry: Any) -> Any:
        if entry is PartitionSpec.UNCONSTRAINED:
            if kind is not AxisType.Explicit:
                return entry
            entry = found[dim] if dim < len(found) else None
        names = entry if isinstance(entry, tuple) else (entry,)
        return tuple(name for name in names if kinds.get(name) is kind) or None

    sums: dict[str, frozenset[Any]] = {
        name: frozenset(axis for axis in getattr(spec, name) if kinds.get(axis) is kind)
        for name in ("unreduced", "reduced")
        if getattr(spec, name, None)
    }
    kept = PartitionSpec(*[keep(dim, entry) for dim, entry in enumerate(spec_entries(spec))], **sums)
    if isinstance(target, NamedSharding):
        return NamedSharding(target.mesh, kept, memory_kind=target.memory_kind)
    return kept


def _is_in_other_memory(array: Any, target: Any) -> bool:
    """Whether a place names a kind of memory that an array of the program isn't in."""
    kind = getattr(target, "memory_kind", None)
    if kind is None or not getattr(target, "device_set", None):
        return False
    default = next(iter(target.device_set)).default_memory().kind
    found = str(getattr(jax.typeof(array), "memory_space", "")).lower()
    return kind != default or "host" in found
