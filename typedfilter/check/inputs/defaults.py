"""What a default says of a parameter or a field whose annotation does not say enough.

Knows kinds, places and nodes; how a value of a type is made is handed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from typedfilter._reading import kinds
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Param
from typedfilter.check.inputs import types
from typedfilter.check.inputs.nodes import GivenNode, Node
from typedfilter.check.inputs.place import Place
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.inputs.values import NotedNode

Build: TypeAlias = Callable[[Kind, Place], Node]
"""How to make a value of a type, somewhere."""

_BY_DEFAULT = (int, str, bytes, float, complex)


def or_default(build: Build, place: Place, kind: Kind, default: Any, left_out: bool = False) -> Node:
    """How to make a value that may be left out; with `left_out` it is, where it can be.

    Raises:
        UnbuildableError: its annotation does not say enough, and it has no default.
    """
    if left_out and default is not Param.empty:
        return given(default, place, f"{place.label} its default")
    if default is not Param.empty and kind.hint in _BY_DEFAULT:
        return given(default, place, f"{place.label}={default!r}")
    if default is Param.empty:
        return build(kind, place)
    optional = kind.hint is Any or any(one.hint is type(None) for one in types.alternatives(kind))
    try:
        made = build(kind, place.without_guesses)  # what somebody wrote is better than what is made up
        omitted = default is None and not optional and not place.owner
        return NotedNode(made, f"{place.label} given, though its default is None") if omitted else made
    except UnbuildableError:
        # A caller may leave a parameter out; a field that is None by default is filled in later.
        if default is None and place.owner and not optional:
            return build(kind, place)
        members = types.alternatives(kind)
        others = [
            one for one in members if isinstance(one, kinds.Record | kinds.Class) and not _is(default, one)
        ]
        if place.owner and others and place.guess is not None and place.guess.round % 2:
            return build(others[0], place)  # what the default is not
        made = GivenNode(default, place.label, f"{place.label} its default")
        return dataclasses.replace(made, is_field_default=bool(place.owner) and len(members) > 1)


def _is(value: Any, kind: Kind) -> bool:
    return isinstance(kind.hint, type) and isinstance(value, kind.hint)


def given(value: Any, place: Place, note: str = "") -> Node:
    """A value that is there already."""
    return GivenNode(value, place.label, note)
