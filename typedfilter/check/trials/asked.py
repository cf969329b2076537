"""What user code asks while a trial runs, and gets one answer to where other arguments give another.

Two symbols are never equal, and every symbol is true: `if n == m` and `if n % 2` look decided to them. So
what was asked is looked at: an equality that can hold is tried as a case of its own. And a tracer has no
value: code that asks whether an array is one, or catches what a tracer raises, does something else with
arrays. Knows nothing of verdicts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import traceback
from collections.abc import Generator, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeAlias

from jax import export

from typedfilter._values.code import JAX_FILES
from typedfilter.check.report.questions import Question, questions_of
from typedfilter.check.trials.listening import listening, reached_from
from typedfilter.check.trials.raised import VALUES_NEEDED

Equality: TypeAlias = tuple[tuple[Any, Any], ...]
"""Pairs of sizes, symbols or numbers, that are all equal."""


@dataclasses.dataclass
class Asked:
    """What the code of the user's has asked."""

    root: FunctionType  # the function under test
    # equalities of sizes that symbols take for false, and that can hold
    equal: list[Equality] = dataclasses.field(default_factory=list[Equality])
    # whether there are questions about sizes that are no equality, or errors that were caught
    unclear: bool = False
    values: bool = False  # whether somebody looks for tracers, or catches what they raise
    widths: bool = False  # whether somebody compares dtypes

    @contextlib.contextmanager
    def listening(self, bindings: object) -> Generator[None]:
        """Listen to what runs inside."""
        with listening(_asking(self.root), self._tell):
            yield

    def hear(self, other: Asked) -> None:
        """Take over what another trial has asked."""
        self.equal += [one for one in other.equal if one not in self.equal]
        self.unclear |= other.unclear
        self.values |= other.values
        self.widths |= other.widths

    def _tell(self, frame: FrameType, line: int) -> None:
        for question in questions_of(frame.f_code.co_filename).get(line, ()):
            match question.kind:
                case "tracer":
                    self.values = True
                case "dtype":
                    self.widths = True
                case "caught":
                    self._caught(sys.exc_info()[1])
                case "suppressed":
                    self.values = self.unclear = True
                case _:
                    self._ask(question, frame)

    def _ask(self, question: Question, frame: FrameType) -> None:
        try:
            self._compare(question, frame)
        except Exception:  # an object of the user's, which answers as it likes: not here
            self.unclear = True

    def _caught(self, error: BaseException | None) -> None:
        if isinstance(error, VALUES_NEEDED):
            self.values = True
        elif isinstance(error, (TypeError, ValueError, IndexError, NotImplementedError)):
            *_, (last, _) = traceback.walk_tb(error.__traceback__)
            self.unclear |= last.f_code.co_filename.startswith(JAX_FILES)

    def _compare(self, question: Question, frame: FrameType) -> None:
        answer = question.sides(frame)
        if answer is None:
            self.unclear |= question.may_be_about(frame, _is_symbolic)
            return
        for one, other in answer:
            equality = _undecided(one, other)
            if equality is not None and equality not in self.equal:
                self.equal.append(equality)


@functools.lru_cache(maxsize=8)
def _asking(root: FunctionType) -> tuple[CodeType, ...]:
    """The code that a function may reach in which something is asked."""
    return tuple(filter(_asks, reached_from(root)))


def _asks(code: CodeType) -> bool:
    questions = questions_of(code.co_filename)
    return any(line in questions for _, _, line in code.co_lines())


def _is_symbolic(value: Any) -> bool:
    """Whether it is a size that is a symbol, or has one."""
    if isinstance(value, (tuple, list, set, frozenset, dict)):
        return any(map(_is_symbolic, value))
    shape = getattr(value, "shape", ()) if hasattr(type(value), "shape") else ()
    return _is_symbol(value) or (isinstance(shape, tuple) and any(map(_is_symbolic, shape)))


def _is_symbol(value: Any) -> bool:
    return export.is_symbolic_dim(value)


def _undecided(one: Any, other: Any) -> Equality | None:
    """What must be equal for these to be; None where they are, or never can be."""
    pairs = list(_pairs(one, other))
    open_ = [pair for pair in pairs if _may_be_equal(*pair) and not _is_equal(*pair)]
    if not open_ or any(not _may_be_equal(*pair) for pair in pairs):
        return None
    return tuple((a, b) if _is_symbol(a) else (b, a) for a, b in open_)


def _pairs(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        if len(one) != len(other):
            yield 0, 1
            return
        for a, b in zip(one, other, strict=True):
            yield from _pairs(a, b)
    elif _is_symbol(one) or _is_symbol(other):
        yield one, other
    elif _is_symbolic(one) or _is_symbolic(other):
        yield (0, 0) if one is other else (0, 1)  # a tuple beside something else
    elif isinstance(one, int) and isinstance(other, int):
        yield one, other


def _is_equal(one: Any, other: Any) -> bool:
    return bool(one == other)


def _may_be_equal(one: Any, other: Any) -> bool:
    """Whether there are sizes for which they are: JAX says where it knows that there are none."""
    try:
        difference = one - other
        return not (difference >= 1 or difference <= -1)
    except TypeError:  # something else than a number
        return False
    except Exception:  # inconclusive
        return True
