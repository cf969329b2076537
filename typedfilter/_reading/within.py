"""Places inside of containers: what `dict[str, Annotated[T, P]]` says of the arrays of a value.

Where every element is in one place, that is the place of the whole. Where elements differ, a tuple or a
dictionary has the places of its elements, as a prefix of the value. Knows nothing of what a place is for.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.tree_util import DictKey

from typedfilter._values.nodes import one_level

_SEQUENCES = (list, collections.deque, collections.abc.Sequence, collections.abc.MutableSequence)
_MAPPINGS = (
    *(dict, collections.OrderedDict, collections.defaultdict),
    *(collections.abc.Mapping, collections.abc.MutableMapping),
)


class NoPartsError(ValueError):
    """A value does not have the parts that places are said of."""


@dataclasses.dataclass(frozen=True, eq=False)
class Placed:
    """What an annotation says of the places of its elements, as one more marker around it."""

    places: Any


@dataclasses.dataclass(frozen=True)
class Each:
    """Of elements whose number only a value shows: the places of the parts of each."""

    places: Any


@dataclasses.dataclass(frozen=True)
class Maybe:
    """Of a value that may be missing, or parts of it: the places of those that are there."""

    places: Any


def is_structure(places: Any) -> bool:
    """Whether these are the places of parts, and not one place."""
    return type(places) in (tuple, dict, Each, Maybe)  # a PartitionSpec of older releases is a tuple, too


def of_container(origin: Any, members: Sequence[Any], fixed: bool) -> Any:
    """The places of a container, by those that the arguments of its type say; `None` where they can't be.

    Args:
        origin: the class of the container.
        members: what each argument says; `None` where it says nothing.
        fixed: whether it is a tuple that has an argument for each element.
    """
    if fixed:
        return members[0] if all(one == members[0] for one in members) else tuple(members)
    if origin in _MAPPINGS and members[0] is None:
        inner = members[1]
    elif origin is tuple or origin in _SEQUENCES:
        inner = members[0]
    else:
        return None
    return Each(inner) if is_structure(inner) else inner


def every_place(places: Any) -> Iterator[Any]:
    """The places that are a part of what is said."""
    if isinstance(places, Each | Maybe):
        yield from every_place(places.places)
    elif is_structure(places):
        for inner in places.values() if isinstance(places, dict) else places:
            yield from every_place(inner)
    elif places is not None:
        yield places


def spread_within(places: Any, value: Any) -> list[Any]:
    """The place of each leaf of a value.

    Raises:
        NoPartsError: it is not what the annotation says.
    """
    if isinstance(places, Maybe):
        return [] if value is None else spread_within(places.places, value)
    if not is_structure(places):
        return [places] * len(jax.tree_util.tree_leaves(value))
    children = _children(value)
    pairs = zip(_of_children(places, value, children), children, strict=True)
    return [place for inner, (_, child) in pairs for place in spread_within(inner, child)]


def _of_children(places: Any, value: Any, children: list[tuple[Any, Any]]) -> list[Any]:
    if isinstance(places, Each) and not _is_leaf(value):
        return [places.places] * len(children)
    if isinstance(places, dict) and isinstance(value, dict):
        return [places.get(key) for key, _ in children]
    if isinstance(places, tuple) and isinstance(value, tuple) and len(places) == len(children):
        return list(places)
    raise NoPartsError


def _is_leaf(value: Any) -> bool:
    return bool(jax.tree_util.all_leaves([value]))


def _children(value: Any) -> list[tuple[Any, Any]]:
    """What a node holds, with the key of each in a dictionary."""
    keys, children, _ = one_level(value)
    names = [key[0].key if key and isinstance(key[0], DictKey) else None for key in keys]
    return list(zip(names, children, strict=True))
