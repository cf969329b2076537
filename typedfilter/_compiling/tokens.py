"""What JAX gets in the place of a Python object: a token that refers to the object weakly.

JAX keeps static arguments and the auxiliary data of pytrees in caches of its own, thousands of them,
some beyond `clear_cache` and the life of the function. It compares tokens by identity and keeps nothing
alive through them. What a token stands for is kept by the engine that has use for it (`Kept`), except
functions and other objects that are compared by identity: these are kept by nobody here, and what refers
to them goes when they go.
"""

from __future__ import annotations

import contextlib
import enum
import sys
import weakref
from collections.abc import Hashable
from typing import Any

from typedfilter._values.keys import current, exact_key, is_self_exact
from typedfilter._values.leaves import said_by
from typedfilter._values.memory import ByClass, InternTable, PerObject
from typedfilter.errors import TypedFilterError


class Token:
    """Stands for an object that others keep alive; compared and hashed by identity."""

    __slots__ = ("__weakref__", "_object")

    def __init__(self, obj: Any) -> None:
        self._object = weakref.ref(obj)

    def get(self) -> Any:
        """The object; `None` once it is gone."""
        return self._object()

    def value(self) -> Any:
        """The static argument that this stands for."""
        found = self.get()
        if found is None:
            raise TypedFilterError(
                "a static value was forgotten before the function was traced with it",
                expected=f"at most {Kept.limit} static arguments in one call",
                fix="put many static values into one tuple or frozen dataclass",
            )
        return found.value if type(found) is StaticValue else found

    def __repr__(self) -> str:
        found = self.get()
        return repr(found.value if type(found) is StaticValue else found)


class Content:
    """Base of what is kept under a key: it has one token."""

    __slots__ = ("__weakref__", "keepers", "key", "token")

    def __init__(self, key: Hashable) -> None:
        self.key: Any = key
        self.token = Token(self)
        self.keepers: list[weakref.ref[Kept]] = []

    def forget(self) -> None:
        """Some object that this refers to is gone: nobody can ask for it any more."""
        for ref in self.keepers:
            keeper = ref()
            if keeper is not None:
                keeper.contents.pop(self, None)


class Kept:
    """The contents that one engine keeps alive, so that it recognises them at the next call.

    Bounded: of more than `limit` different static parts, those seen first are forgotten, and traced again.
    """

    __slots__ = ("__weakref__", "contents")
    limit = 4096  # as many programs as JAX itself keeps for a function

    def __init__(self) -> None:
        self.contents: dict[Content, None] = {}

    def keep(self, content: Content) -> None:
        if content in self.contents:
            return
        if len(self.contents) >= self.limit:  # the oldest goes: the others may be of calls that run just now
            with contextlib.suppress(RuntimeError, StopIteration):  # another thread adds, or clears, just now
                self.contents.pop(next(iter(self.contents)), None)
        self.contents[content] = None
        content.keepers = [ref for ref in content.keepers if ref() is not None]
        content.keepers.append(weakref.ref(self))


# ------------------------------------------------------------------------------------- single static values

_PLAIN = (int, bool, str, bytes, type(None))


def _is_raw(cls: type) -> bool:
    if cls in _PLAIN:
        return True
    return issubclass(cls, enum.Enum) and getattr(sys.modules.get(cls.__module__), cls.__name__, None) is cls


is_raw = ByClass(_is_raw).__getitem__
"""Whether values of exactly this class go to JAX as they are: its comparison of static arguments, by type
and `==`, is exact for them, and nothing hangs on them that would be kept alive."""


def _is_by_identity(cls: type) -> bool:
    own: Any = cls
    by_value = own.__eq__ is not object.__eq__ or own.__hash__ is not object.__hash__
    return not by_value and is_self_exact(cls) and cls.__weakrefoffset__ != 0


_BY_IDENTITY = ByClass(_is_by_identity)


class StaticValue(Content):
    """A static value that is compared by its exact key."""

    __slots__ = ("value",)

    def __init__(self, value: Any, key: Hashable) -> None:
        super().__init__(key)
        self.value = value


_values: InternTable[StaticValue] = InternTable()
_objects: PerObject[list[Token]] = PerObject(list)


def static_token(kept: Kept, value: Any) -> Token:
    """The token of a static argument; the same one for all values that no program can tell apart.

    Raises:
        TypeError: the value is unhashable.
    """
    if _BY_IDENTITY[type(value)]:
        tokens = _objects.of(value)
        if not tokens:
            tokens.append(Token(value))
        return tokens[0]
    key = exact_key(value)
    content = current(_values, value, key, lambda: StaticValue(value, key))
    kept.keep(content)
    return content.token


# --------------------------------------------------------------------------------- objects inside a content


class Weak:
    """In the place of an object inside of a key: equal to that object, as long as it is there."""

    __slots__ = ("_digest", "ref")

    def __init__(self, obj: Any, content: Content) -> None:
        owner = weakref.ref(content)

        def gone(_: Any) -> None:
            content = owner()
            if content is not None:
                content.forget()

        self._digest = hash(obj)
        self.ref = weakref.ref(obj, gone)

    def __eq__(self, other: object) -> bool:
        return self is other or self.ref() is other

    def __hash__(self) -> int:
        return self._digest


def weaken(value: Any, content: Content) -> Any:
    """`value`, or a weak stand-in if it is compared by identity and may go while the process runs."""
    if not _BY_IDENTITY[type(value)] or _is_permanent(value):
        return value
    return Weak(value, content)


def strong(value: Any) -> Any:
    """What a stand-in stands for."""
    return value.ref() if type(value) is Weak else value


def _is_permanent(value: Any) -> bool:
    module, name = said_by(value, "__module__"), said_by(value, "__qualname__")
    if type(module) is not str or type(name) is not str:
        return False
    return said_by(sys.modules.get(module), name) is value
