"""What is being built: a parameter, or something inside one; how messages, examples and cases call it.

Knows names only.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from typedfilter.check.inputs.unmade import UnbuildableError

EXAMPLE = "@typedfilter.check.example"


@dataclasses.dataclass(frozen=True)
class Guess:
    """What is made up where annotations say too little: softly, so that nobody is blamed for it."""

    round: int  # which of several guesses, from 0
    # the dimension names of the signature: an int that is called so is that size
    names: frozenset[str] = frozenset()
    offered: tuple[int, ...] = ()  # whole numbers that the signature offers
    functions: tuple[Any, ...] = ()  # the functions whose source says with which strings they compare what
    fields: bool = False  # whether classes are filled by their fields even where they have a constructor
    # whether nothing is made up but that a constructor is called where fields would do
    constructor: bool = False
    called: bool = False  # whether a constructor is called where fields would do, with what is made up


@dataclasses.dataclass(frozen=True)
class Place:
    """What is being built: a parameter, or something inside one."""

    label: str  # how messages call it: `x`, `params["a"]`, `model.layers[0]`
    name: str  # what an example calls it: the parameter, or the field of a class
    # what two places share that vary alike: a field of one class has one length in all its instances
    key: str = ""
    owner: str = ""  # the class whose field it is; empty for a parameter
    number: str = ""  # of the leaf of the tree that it is in
    tree: str = ""  # the name of the structure of that tree
    inside: tuple[type, ...] = ()  # the classes that it is in
    scope: str = ""  # what sets the dimension names of this instance apart
    apart: frozenset[str] = frozenset()  # the labels of the instances that have names of their own
    guess: Guess | None = None  # what to make up where the annotations say too little; None makes nothing up

    def at(self, piece: str, **changes: Any) -> Place:
        """A place inside this one."""
        changes.setdefault("key", f"{self.key or self.label}{piece}")
        return dataclasses.replace(self, label=f"{self.label}{piece}", **changes)

    def field(self, cls: type, name: str) -> Place:
        """The place of a field of an instance of `cls` that is here."""
        key = f"{cls.__qualname__}.{name}"
        return self.at(f".{name}", name=name, key=key, owner=cls.__name__, inside=(*self.inside, cls))

    @property
    def without_guesses(self) -> Place:
        """The same place, where nothing is made up."""
        guessed = self.guess is not None and not self.guess.constructor
        return dataclasses.replace(self, guess=None) if guessed else self

    @property
    def leaves_out(self) -> bool:
        """Whether parameters of constructors are left to their defaults: every other time."""
        return self.guess is not None and (self.guess.constructor or self.guess.round % 2 == 0)

    def missing(self, what: str, value: str) -> UnbuildableError:
        """That a value of this place can't be made, and that an example helps."""
        where = f"field `{self.name}` of `{self.owner}`" if self.owner else f"`{self.label}`"
        on = f" on the class `{self.owner}`" if self.owner else ""
        return UnbuildableError(f"{where} {what}", f"add {EXAMPLE}({self.name}={value}){on}")


def scope_of(label: str) -> str:
    """What the dimension names of an instance begin with where they are its own."""
    return re.sub(r"[^0-9A-Za-z]+", "_", label.removeprefix("self.")).strip("_")


def anonymous_stem(place: Place) -> str:
    """What names of anonymous axes begin with.

    Trees that share the name of a structure share them, leaf by leaf: nobody who writes
    `params: PyTree[Float[Array, "..."], "T"], grads: PyTree[Float[Array, "..."], "T"]` means other shapes.
    """
    shared = (
        f"{place.tree} leaf {place.number}{place.label.rpartition('>')[2]}" if place.tree else place.label
    )
    return "_" + re.sub(r"[^0-9A-Za-z]+", "_", shared).strip("_")
