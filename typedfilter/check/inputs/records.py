"""Instances: how to make one of a class, by its fields, its constructor or an example.

Knows classes and kinds; how the types in a class are made is handed in.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.kinds import Kind, kind_of
from typedfilter._reading.plan import Param
from typedfilter._reading.text import show
from typedfilter.check.inputs import classes, examples
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.bare import field_as_meant, plan_as_meant
from typedfilter.check.inputs.defaults import Build, given, or_default
from typedfilter.check.inputs.nodes import Node, RecordNode, SequenceNode, UnmadeNode
from typedfilter.check.inputs.place import EXAMPLE, Place, scope_of
from typedfilter.check.inputs.protocols import protocol
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.inputs.values import FreshNode

_VALUES: Mapping[type, str] = {int: "3", str: '"..."', bytes: 'b"..."'}


def instance(kind: Kind, place: Place, build: Build) -> Node:
    """How to make an instance of the class that a type is.

    Raises:
        UnbuildableError: it is none, or the class does not say enough.
    """
    cls = _class_of(kind, place)
    place = dataclasses.replace(place, scope=scope_of(place.label) if place.label in place.apart else "")
    if classes.is_streams(cls):
        return FreshNode(functools.partial(cls, 0), f"{place.label} of seed 0")
    if _types.is_protocol(cls):
        return protocol(cls, place, build)
    return _Instances(cls, kind, place, build).node()


def _class_of(kind: Kind, place: Place) -> type:
    cls = kind.instance_class
    if kind.hint is Any:
        raise place.missing("may be anything, which says no shape", "...")
    if cls is None:
        raise place.missing(f"has the annotation {show(kind.hint)}, which says no shape", "...")
    if any(base.__module__.startswith("flax.linen") for base in cls.__mro__):
        reason = f"`{place.label}` is a flax.linen module: it has parameters inside `init` and `apply` only"
        raise UnbuildableError(reason, "check the function that calls `apply`")
    if place.inside.count(cls) > 1:  # one in another shows what either does with the other
        raise UnbuildableError(
            f"`{place.label}` is a {cls.__name__} in a {cls.__name__}", f"add {EXAMPLE} with one"
        )
    if issubclass(cls, (jax.Array, np.ndarray)):
        reason = f"`{place.label}` is an array of unknown shape"
        raise UnbuildableError(reason, 'say its shape, as in Float[Array, "n"]')
    return cls


@dataclasses.dataclass(frozen=True)
class _Instances:
    """Those of one class, at one place."""

    cls: type
    kind: Kind
    place: Place
    build: Build

    @functools.cached_property
    def fields(self) -> Mapping[str, Kind]:
        return _types.fields_of(self.kind)

    @functools.cached_property
    def given(self) -> dict[str, Node]:
        """What an example on the class says of its instances."""
        found = {name: value for one in classes.examples_of(self.cls)[:1] for name, value in one.items()}
        label = self.place.label
        return {
            name: given(value, self.place.at(f".{name}"), f"{label}.{name}={value!r}")
            for name, value in found.items()
        }

    def node(self) -> Node:
        """An instance: by its constructor, if one can know what that takes, else by its annotated fields."""
        cls, place = self.cls, self.place
        shown = examples.of(cls)
        if shown is not None:
            return examples.node(shown, place)
        if classes.lacks_parts(cls):
            if not self.fields:
                raise place.missing(f"is of type {cls.__name__} and has no default", "...")
            raise UnbuildableError(
                f"`{place.label}`: the class {cls.__name__} is abstract", "check a class that is not"
            )
        init = classes.written_constructor_of(cls)
        if init is not None and not self._is_filled():
            made = self._by_constructor(init)
            if made is not None:
                return made
        stateless = classes.is_stateless(cls) and not classes.is_of_others(cls)
        if not (self.fields or stateless or dataclasses.is_dataclass(cls)):
            raise place.missing(f"is of type {cls.__name__} and has no default", _VALUES.get(cls, "..."))
        return self._by_fields()

    def _is_filled(self) -> bool:
        """Whether an instance is made of its fields alone, though somebody wrote a constructor.

        Where all that a dataclass holds can be made to the letter, the sizes stay symbols; a constructor is
        for what it derives.
        """
        guess = self.place.guess
        called = guess is not None and (guess.constructor or guess.called)
        if not dataclasses.is_dataclass(self.cls) or called:
            return False
        if guess is not None and guess.fields:
            return True
        letter = dataclasses.replace(self, place=dataclasses.replace(self.place, guess=None))
        defaults = classes.defaults(self.cls)
        try:
            for name in self.fields.keys() - self.given.keys():
                letter._field(name, defaults)
        except UnbuildableError:
            return False
        return True

    def _by_constructor(self, init: types.FunctionType) -> Node | None:
        """An instance by its constructor; None where only its fields can be made, perhaps.

        Raises:
            UnbuildableError: a class of others is never filled: it has more attributes than annotations.
        """
        try:
            return self._constructed(init)
        except UnbuildableError as problem:
            wrapped = self._around(init)
            if wrapped is not None:
                return wrapped
            if not self.fields:
                raise
            if classes.is_laid_out_by_others(self.cls):
                raise self._unsaid() from problem
        return None

    def _unsaid(self) -> UnbuildableError:
        what = f"is a {self.cls.__name__}, whose annotations do not say its shapes"
        return self.place.missing(what, "...")

    def _around(self, init: types.FunctionType) -> Node | None:
        """An instance of `Box[A]`, whose constructor takes the A first and needs nothing else."""
        arguments = self.kind.arguments if isinstance(self.kind, kinds.Class) else ()
        params = plan_as_meant(init).params[1:]
        needed = [p for p in params if p.default is Param.empty and not p.variadic]
        if len(arguments) != 1 or len(needed) != 1 or needed[0] is not params[0]:
            return None
        inside = dataclasses.replace(self.place, inside=(*self.place.inside, self.cls))
        inner = self.build(kind_of(arguments[0]), inside.at(".value"))
        return SequenceNode(lambda values: self.cls(*values), (inner,))

    def _constructed(self, init: types.FunctionType) -> Node:
        """An instance by the parameters of the constructor that somebody wrote."""
        cls, place = self.cls, self.place
        inner = dataclasses.replace(place, owner=cls.__name__, inside=(*place.inside, cls))
        made: dict[str, Node] = {}
        spread = ""
        for param in plan_as_meant(init).params[1:]:
            at = inner.at(f".{param.name}", name=param.name, key=f"{cls.__qualname__}.{param.name}")
            if param.name in self.given:
                made[param.name] = self.given[param.name]
            elif not param.variadic:
                made[param.name] = or_default(
                    self.build, at, param.hint.kind, param.default, place.leaves_out
                )
            elif param.kind is param.kind.VAR_POSITIONAL and param.hint.annotated:
                spread = param.name
                made[spread] = self.build(self._several(param), at)
        if not self.given.keys() <= made.keys():
            raise UnbuildableError("the example names fields", "name parameters of the constructor")
        return RecordNode(place.label, cls, tuple(made.items()), tuple(made), spread=spread)

    def _several(self, param: Param) -> Kind:
        """What `*args` are: the field of that name may say how many, as in `MultiTerm[tuple[A, B]]`."""
        field = self.fields.get(param.name)
        if isinstance(field, kinds.Tuple):
            return field
        one: Any = param.hint.type
        return kind_of(tuple[one, ...])

    def _by_fields(self) -> Node:
        cls, defaults = self.cls, classes.defaults(self.cls)
        init, whole = classes.init_fields(cls), dataclasses.is_dataclass(cls)
        filled = whole and init is not None  # there is nothing in it but its fields, whosever it is
        made: list[tuple[str, Node]] = []
        for name in self.fields:
            try:
                made.append((name, self.given[name] if name in self.given else self._field(name, defaults)))
            except UnbuildableError as problem:
                if classes.is_of_others(cls) and not filled:
                    raise self._unsaid() from problem
                made.append((name, UnmadeNode(problem)))
        return RecordNode(self.place.label, cls, tuple(made), init, complete=whole, tracked=True)

    def _field(self, name: str, defaults: Mapping[str, Any]) -> Node:
        at, kind = self.place.field(self.cls, name), self.fields[name]
        if kind.hint is jax.Array and at.guess is not None:
            kind = field_as_meant(self.cls, name) or kind
        return or_default(self.build, at, kind, defaults.get(name, Param.empty))
