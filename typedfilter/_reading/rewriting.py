"""What typeguard is told of `Traced`: it writes its checks into a function, where nothing can spare them.

`Traced[float]` is a float to it, where the body receives an array. It asks those who are registered with it
who checks a type, so that what is traced is left to our own check, which has looked at it before.
"""

from __future__ import annotations

import functools
import operator
import sys
import types
from collections.abc import Callable
from typing import Any

from jax.tree_util import tree_leaves

from typedfilter._values.leaves import is_array
from typedfilter.annotations import TracedMarker


def spare_traced() -> None:
    """Register with typeguard, if the program has loaded it, and only once."""
    registered = getattr(sys.modules.get("typeguard"), "checker_lookup_functions", None)
    if registered is not None and _lookup not in registered:
        registered.insert(0, _lookup)


def _lookup(origin: Any, args: tuple[Any, ...], extras: tuple[Any, ...]) -> Callable[..., None] | None:
    """Who checks a value of this type: `_check` what is marked `Traced`; all else, who does without us."""
    return _check if any(isinstance(one, TracedMarker) for one in extras) else None


def _check(value: Any, origin: Any, args: tuple[Any, ...], memo: Any) -> None:
    if not any(map(is_array, tree_leaves(value))):
        from typeguard import check_type_internal  # here: whoever calls has it

        check_type_internal(value, _type_of(origin, args), memo)


def _type_of(origin: Any, args: tuple[Any, ...]) -> Any:
    if origin is types.UnionType:
        return functools.reduce(operator.or_, args)
    return origin[args] if args else origin
