"""What is wrong with a trial, as a value: a mismatch, or an exception and what it is due to."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping
from typing import TypeAlias

from typedfilter.check.report.results import Frame, Span

# ------------------------------------------------------------------------------------------------ problems


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a trial failed: one of the classes below."""

    message: str  # one sentence or a few lines
    frame: Frame | None = None  # the innermost line of the user's code, where something raised

    @property
    def text(self) -> str:
        """All that is said of sizes and their names."""
        return self.message

    @property
    def refuses(self) -> bool:
        """Whether the function itself says, in so many words, that it does not take what it got."""
        return False

    @property
    def _blames(self) -> str:
        """Whose annotation does not hold; `return`, or empty where none is to blame."""
        return ""

    def is_like(self, other: Problem) -> bool:
        """Whether the two are the same mistake, seen at other sizes."""
        here, there = self.frame, other.frame
        same_place = (here and (here.file, here.line)) == (there and (there.file, there.line))
        return type(self) is type(other) and self._blames == other._blames and same_place

    def with_names(self, names: Mapping[str, str]) -> Problem:
        """The same, with the names of sizes for the numbers that stand for them."""
        return dataclasses.replace(self, message=_named(self.message, names))


def _named(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"(?<![\w.])\d+(?![\w.])", lambda number: names.get(number[0], number[0]), text)


@dataclasses.dataclass(frozen=True)
class Mismatch(Problem):
    """A value is not what it is annotated with: by default an argument of a check inside."""

    expected: str = dataclasses.field(kw_only=True)
    found: str = dataclasses.field(kw_only=True)
    parameter: str = dataclasses.field(default="", kw_only=True)

    @property
    def text(self) -> str:
        return f"{self.message} {self.expected} {self.found}"

    def with_names(self, names: Mapping[str, str]) -> Problem:
        message, expected, found = (_named(one, names) for one in (self.message, self.expected, self.found))
        return dataclasses.replace(self, message=message, expected=expected, found=found)

    @property
    def _blames(self) -> str:
        return self.parameter


@dataclasses.dataclass(frozen=True)
class WrongResult(Mismatch):
    """The result of the function is not."""

    parameter: str = dataclasses.field(default="return", kw_only=True)
    # the class of what it holds that is not what is annotated
    instead: type | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(frozen=True)
class WrongLocal(Mismatch):
    """An annotated local is not."""

    span: Span | None = dataclasses.field(default=None, kw_only=True)  # the annotation


@dataclasses.dataclass(frozen=True)
class Raised(Problem):
    """The function raised."""

    # `raise` and `assert`: it refused; `structure`: its own line failed, on a value of another structure
    # perhaps; `library`: another one than JAX did, likewise
    how: str = ""
    # of which it is the plain consequence: the `length` of a list, the `keys` of a dictionary, the
    # `structure` of a tree
    plainly: frozenset[str] = frozenset()
    lookup: bool = False  # it is what a value without structure causes, whoever raised it
    cause: Cause | None = None  # where that is no mistake of the function's, or another one than it says

    @property
    def refuses(self) -> bool:
        return self.how in ("raise", "assert")


class NoSymbols(Problem):
    """The sizes can't be symbols."""


class OutOfTime(Problem):
    """The trial took too long."""


@dataclasses.dataclass(frozen=True)
class KeyUsedTwice(Problem):
    """A random key is used twice."""

    kept: str = ""  # the field that keeps it


# -------------------------------------------------------------------------------- what an exception is due to


class Due(enum.Enum):
    """What an exception is due to, where there is no more to say of that."""

    VALUE = "it asked for the value of an array"
    MESH = "it needs a mesh, or an axis of one"
    SYMBOLS = "JAX could not compare two of them"
    UNFINISHED = "code that nobody has written raised NotImplementedError: JAX's own is another matter"
    SPREADS = "a call takes as many arguments as something has elements: `f(*args, **options)`"


@dataclasses.dataclass(frozen=True)
class Unbound:
    """It needs to be inside of a map."""

    axis: str


@dataclasses.dataclass(frozen=True)
class NeedsModule:
    """A module could not be found."""

    module: str


@dataclasses.dataclass(frozen=True)
class Lacks:
    """An instance of a class has no such attribute."""

    cls: type
    attribute: str


Cause: TypeAlias = Due | Unbound | NeedsModule | Lacks


def cause_of(problem: Problem | None) -> Cause | None:
    """What a problem is due to, if it is an exception and that can be told."""
    return problem.cause if isinstance(problem, Raised) else None
