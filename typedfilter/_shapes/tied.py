"""Names that of a signature only the result has: an instance among the arguments says what they are.

An instance binds the names in its fields for itself. A name that nobody else binds can mean no other size
than that of the one instance that has it: `layer(x)` of `weight: "out in"` returns `"out"`. Of `self` before
others: its methods are written with its names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jaxtyping
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.fields import own_kinds
from typedfilter._shapes.bindings import Seen
from typedfilter._shapes.instances import check_of
from typedfilter._shapes.standing import is_node
from typedfilter._shapes.walk import Path

_ARRAYS = (jax.Array, np.ndarray, jax.ShapeDtypeStruct)


def tie(names: frozenset[str], arguments: Iterable[tuple[Path, Any]]) -> Seen:
    """Bind names in jaxtyping's context to the sizes of the one instance that has them; say by what."""
    owners: dict[str, dict[Path, tuple[Path, Any, Any]]] = {}
    for path, value in arguments:
        for owner, field, kind, array in _fields(value, path):
            for name in names & {dim.text for dim in kind.dims if dim.is_one_axis}:
                owners.setdefault(name, {}).setdefault(owner, ((*owner, field), _alone(kind, name), array))
    found: Seen = []
    for by_owner in owners.values():
        one = by_owner.get(("self",)) or (next(iter(by_owner.values())) if len(by_owner) == 1 else None)
        if one is not None and isinstance(one[2], one[1]):
            found.append(one)
    return found


def _alone(kind: kinds.Array, name: str) -> Any:
    """What binds this name of a kind, and no other."""
    words = ("..." if dim.variadic else name if dim.text == name else "_" for dim in kind.dims)
    return jaxtyping.Shaped[Any, " ".join(words)]


def _fields(value: Any, path: Path) -> Iterator[tuple[Path, str, kinds.Array, Any]]:
    """The arrays in the fields of an instance, and of those in it: whose, in which field, and its kind."""
    if isinstance(value, _ARRAYS) or not (dataclasses.is_dataclass(value) or is_node(value)):
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields(inner, (*path, f"[{key!r}]"))
    elif isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        for index, inner in enumerate(value):
            yield from _fields(inner, (*path, f"[{index}]"))
    elif check_of(type(value)):
        for name, kind in own_kinds(type(value)).items():
            held = getattr(value, name, None)
            if isinstance(kind, kinds.Array) and isinstance(held, _ARRAYS):
                yield path, f".{name}", kind, held
            else:
                yield from _fields(held, (*path, f".{name}"))
