"""Protocols: a callable, or an object with methods, that nobody has an instance of.

Knows what a protocol declares; how the types in it are made is handed in.
"""

from __future__ import annotations

import inspect
from typing import Any

from typedfilter._reading.kinds import kind_of
from typedfilter._reading.plan import plan_of
from typedfilter.check.inputs import classes
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.defaults import Build
from typedfilter.check.inputs.nodes import Node, RecordNode, StubNode
from typedfilter.check.inputs.place import Place
from typedfilter.check.inputs.unmade import UnbuildableError


def protocol(cls: type, place: Place, build: Build) -> Node:
    """A stand-in for a protocol: a callable, or an object with stand-ins for its methods.

    Args:
        cls: the protocol.
        place: where it is wanted.
        build: makes the node of a type.

    Raises:
        UnbuildableError: it declares nothing; or it is called and has attributes, too.
    """
    methods = classes.protocol_methods(cls)
    fields = _types.fields_of(kind_of(cls))
    call = methods.pop("__call__", None)
    if call is None and not methods and not fields:  # a mark for trees of anything
        raise place.missing(f"is a {cls.__name__}, which declares nothing", "...")
    if call is not None and not methods and not fields:
        return _method(place, call, 1, build)
    if call is not None:
        raise UnbuildableError(
            f"`{place.label}` is a {cls.__name__}, which is called and has attributes, too",
            "use two parameters, or add an example",
        )
    made = [(name, build(kind, place.field(cls, name))) for name, kind in fields.items()]
    for name, member in methods.items():
        at = place.at(f".{name}", inside=(*place.inside, cls))
        if isinstance(member, property):
            made.append((name, build(plan_of(member.fget).returns.kind, at)))
        else:
            static = isinstance(member, staticmethod)
            made.append((name, _method(at, getattr(member, "__func__", member), 0 if static else 1, build)))
    # A protocol has no instances: a class that implements it has.
    stand_in = type(cls)(cls.__name__, (cls,), dict.fromkeys(name for name, _ in made))
    return RecordNode(place.label, stand_in, tuple(made), None)


def _method(place: Place, function: Any, skip: int, build: Build) -> Node:
    plan = plan_of(function)
    params = plan.params[skip:]
    signature = inspect.Signature([inspect.Parameter(p.name, p.kind, default=p.default) for p in params])
    made = build(plan.returns.kind, place.at("()"))
    return StubNode(
        place.label, tuple(p.hint.kind for p in params), made, own_names=True, signature=signature
    )
