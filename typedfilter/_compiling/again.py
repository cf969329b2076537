"""Whether the static arguments of another call of a compiled program are the same, asked at little cost.

What is asked of each argument is written into the function that a call enters. A "no" decides nothing: then
the arguments are compared one by one, and an error says which of them is another one.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from typedfilter._compiling.entry import Quick
from typedfilter._compiling.modes import STATIC_MODES, Mode, Place
from typedfilter._compiling.packing import Packed, Packer
from typedfilter._compiling.remembered import seen
from typedfilter._compiling.tokens import Token, strong
from typedfilter._values.dictionaries import exact_dict_keys
from typedfilter._values.keys import stays_equal

Kind = inspect._ParameterKind


def same_rest(packed: Packed, pack: Packer) -> Callable[[Any], Packed | None]:
    """What packs a tree in which all is static as in this one, and is `None` of any other.

    The classes of leaves are learned from the first tree that is packed: a program may be compiled for
    structs. Where each array has an axis, they are not asked for: what is no array has none, and JAX refuses
    it. Nor are the keys of dictionaries where the program's are plain strings. A closure, since this is
    called at each call of a program.
    """
    token, part = packed.token, packed.token.get()
    layout, flatten = part.layout, part.treedef.flatten_up_to
    take, take_others, exact, dicts = layout.take, layout.take_others, layout.exact, layout.dicts
    statics, keys = tuple(map(strong, part.statics)), part.key[1]
    has_axes = all(getattr(one, "ndim", 0) for one in packed.arrays)
    is_bare = False  # whether structure and static leaves tell all; not before a tree was looked at
    known_again = False  # whether the trees of this program are frozen models
    types: tuple[type, ...] = (_Never,)  # unknown yet; where objects in the tree may change, for ever

    def looked_at(tree: Any) -> Packed | None:
        nonlocal is_bare, known_again, types
        packed = pack(tree)
        if packed.token is not token:
            return None
        if part.stays_equal:
            known_again = pack.remembers and seen(id(tree)) is not None
            types, is_bare = tuple(map(type, flatten(tree))), has_axes and not keys
        return packed

    def again(tree: Any) -> Packed | None:
        known = seen(id(tree)) if known_again else None
        if known is not None and known() is tree:
            return Packed(known.arrays, token) if known.part() is part else None
        try:
            leaves = flatten(tree)
        except Exception:  # a ValueError; or whatever the `repr` of a leaf raises
            return None
        if is_bare and not statics:
            return Packed(leaves, token)
        others = take_others(leaves)
        same = all(map(operator.is_, others, statics))
        if is_bare and same:
            return Packed(take(leaves), token)
        same = (same or (exact and others == statics)) and types == tuple(map(type, leaves))
        same = same and exact_dict_keys(tree, dicts) == keys
        return Packed(take(leaves), token) if same else looked_at(tree)

    return again


@dataclasses.dataclass
class Learned:
    """Of what class the arguments are whose class tells how they travel: as they were in an earlier call."""

    quick: Quick
    at: list[tuple[str, Place]]  # the name that stands for the class, and the place of the argument

    def learn(self, shim: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Have a function of `write_shim` enter the program with arguments of these classes."""
        for name, place in self.at:
            value = args[place] if isinstance(place, int) else kwargs[place]
            self.quick.set(shim, name, type(value))


class _Writer:
    """Writes what is asked of each argument, and which of them the program receives."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.moving: list[str] = []
        self.names: dict[str, Any] = {}
        self.types: list[tuple[str, Place]] = []

    def named(self, value: Any) -> str:
        """A name for an object, in a text of which `{_}` is to be filled in."""
        name = f"again_{len(self.names)}"
        self.names[name] = value
        return f"{{_}}{name}"

    def static(self, text: str, value: Any, converted: Any, convert: Callable[[Any], Any] | None) -> None:
        """A static argument: the same object, or one that no program can tell from it."""
        same = f"{text} is {self.named(value)}"
        if convert is None:
            kind = self.named(type(value))
            self.tests.append(f"({same} or ({{_}}type({text}) is {kind} and {text} == {self.named(value)}))")
        else:
            token = f"{self.named(convert)}({text}) is {self.named(converted)}"
            self.tests.append(f"({same} or {token})" if stays_equal(value) else token)

    def packed(self, text: str, prefix: str, value: Packed, pack: Packer) -> None:
        """A tree that travels as one."""
        name = f"{{_}}packed_{len(self.names)}"
        self.tests.append(f"({name} := {self.named(same_rest(value, pack))}({text})) is not None")
        self.moving.append(prefix + name)

    def traced(self, text: str, prefix: str, place: Place | None) -> None:
        """What travels as it is; where its class tells so, that is learned."""
        self.moving.append(prefix + text)
        if place is not None:
            name = self.named(_Never)
            self.types.append((name.removeprefix("{_}"), place))
            self.tests.append(f"{{_}}type({text}) is {name}")


class _Never:
    """The class of nothing."""


def quick_call(
    signature: inspect.Signature,
    by_type: frozenset[str],
    modes: Mapping[Place, Mode],
    converters: Mapping[Place, Any],
    values: Mapping[Place, Any],
    by_position: Sequence[str] | None,
) -> Learned | None:
    """What lets a call enter a program with no more than a comparison of each argument.

    Args:
        signature: of the function that is entered.
        by_type: its parameters whose classes tell how arguments travel.
        modes: how each argument travels.
        converters: what makes of an argument what travels.
        values: the arguments that the program was compiled for, as they travel.
        by_position: the names of those by name, in the order in which the program takes them by position;
            `None` where it takes them by name.
    """
    names = [place for place in values if isinstance(place, str)]
    count = len(values) - len(names)
    found = _texts(signature, by_type, count, frozenset(names))
    if found is None:
        return None
    writer, (tests, texts) = _Writer(), found
    for place in (*range(count), *(names if by_position is None else by_position)):
        text, looks = texts[place]
        prefix = f"{place}=" if isinstance(place, str) and by_position is None else ""
        value, mode = values[place], modes[place]
        if mode in STATIC_MODES:
            given = value.value() if type(value) is Token else value
            writer.static(text, given, value, converters.get(place))
        elif mode is Mode.PACKED:
            writer.packed(text, prefix, value, converters[place])
        else:
            writer.traced(text, prefix, place if looks else None)
    quick = Quick((*tests, *writer.tests), tuple(writer.moving), writer.names)
    return Learned(quick, writer.types)


def _texts(
    signature: inspect.Signature, by_type: frozenset[str], count: int, names: frozenset[str]
) -> tuple[list[str], dict[Place, tuple[str, bool]]] | None:
    """How each argument is found inside of a function of this signature, and how many there must be."""
    tests: list[str] = []
    places: dict[Place, tuple[str, bool]] = {}
    for name, param in signature.parameters.items():
        looks = name in by_type
        if param.kind is Kind.VAR_POSITIONAL:
            first = len(places)
            tests.append(f"{{_}}len({name}) == {count - first}")
            places |= {i: (f"{name}[{i - first}]", looks) for i in range(first, count)}
        elif param.kind is Kind.VAR_KEYWORD:
            rest = sorted(names - set(places))
            tests.append(f"{{_}}len({name}) == {len(rest)}")
            tests += [f"{key!r} in {name}" for key in rest]
            places |= {key: (f"{name}[{key!r}]", looks) for key in rest}
        elif param.kind is Kind.KEYWORD_ONLY:
            places[name] = name, looks
        else:
            places[len(places)] = name, looks
    whole = set(places) == {*range(count), *names} and all(map(str.isidentifier, names))
    return (tests, places) if whole else None
