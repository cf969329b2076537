"""Protocols: a callable, or an object with methods, that nobody has an instance of.

Knows what a protocol declares; how the types in it are made is handed in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from typedfilter._reading.plan import plan_of
from typedfilter.check.inputs import classes
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.nodes import Node, RecordNode, StubNode
from typedfilter.check.inputs.place import Place
from typedfilter.check.inputs.unmade import UnbuildableError

Build: TypeAlias = Callable[[Any, Place], Node]


def protocol(cls: type, place: Place, node: Build, field: Callable[..., Node]) -> Node:
    """A stand-in for a protocol: a callable, or an object with stand-ins for its methods.

    Args:
        cls: the protocol.
        place: where it is wanted.
        node: makes the node of a type.
        field: makes the node of a field.

    Raises:
        UnbuildableError: it is called and has attributes, too.
    """
    methods = classes.protocol_methods(cls)
    fields = _types.fields_of(cls)
    call = methods.pop("__call__", None)
    if call is not None and not methods and not fields:
        return _method(place, call, 1, node)
    if call is not None:
        raise UnbuildableError(
            f"`{place.label}` is a {cls.__name__}, which is called and has attributes, too",
            "use two parameters, or add an example",
        )
    made = [(name, field(cls, name, hint, place, {})) for name, hint in fields.items()]
    for name, member in methods.items():
        at = place.at(f".{name}", inside=(*place.inside, cls))
        if isinstance(member, property):
            made.append((name, node(plan_of(member.fget).returns.type, at)))
        else:
            static = isinstance(member, staticmethod)
            made.append((name, _method(at, getattr(member, "__func__", member), 0 if static else 1, node)))
    # A protocol has no instances: a class that implements it has.
    stand_in = type(cls)(cls.__name__, (cls,), dict.fromkeys(name for name, _ in made))
    return RecordNode(place.label, stand_in, tuple(made), None)


def _method(place: Place, function: Any, skip: int, node: Build) -> Node:
    plan = plan_of(function)
    params = plan.params[skip:]
    signature = inspect.Signature([inspect.Parameter(p.name, p.kind, default=p.default) for p in params])
    made = node(plan.returns.type, place.at("()"))
    return StubNode(
        place.label, tuple(p.hint.type for p in params), made, own_names=True, signature=signature
    )
