"""Every exception of the package: facts as fields, and one renderer that turns them into text.

Knows nothing of plans, pytrees or JAX: whoever raises one passes strings that say what was
found, what was expected and how to mend it.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = [
    "AnnotationError",
    "CheckWarning",
    "DonationError",
    "HostShapeError",
    "HostStaticArgumentError",
    "NoRuleError",
    "PytreeError",
    "RetraceError",
    "RuleError",
    "ShapeError",
    "StaticArgumentError",
    "TypedFilterError",
    "VmapAxisError",
]


class TypedFilterError(Exception):
    """Base of all errors of `typedfilter`. Its text is rendered from its fields.

    The first line is the subject and the evidence; expected, found and fix follow, one a line, where
    they are known.

    Attributes:
        problem: what is wrong, as a predicate of the argument (or of the function).
        function: the qualified name of the user's function; empty if there is none.
        parameter: the argument, with the path to a leaf inside it if there is one (`model.layers[0]`).
        expected: what would have been right.
        actual: what was found.
        fix: what to change.
    """

    def __init__(
        self,
        problem: str,
        *,
        function: str = "",
        parameter: str = "",
        expected: str = "",
        actual: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.function = function
        self.parameter = parameter
        self.expected = expected
        self.actual = actual
        self.fix = fix

    @property
    def fields(self) -> dict[str, str]:
        """The facts of the error by name, as its constructor takes them (without `problem`)."""
        names = ("function", "parameter", "expected", "actual", "fix")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        subject = f"{self.function}(): " if self.function else ""
        if self.parameter:
            is_return = self.parameter.partition("[")[0].partition(".")[0] == "return"
            path = self.parameter.removeprefix("return")
            subject += f"the return value{path} " if is_return else f"argument `{self.parameter}` "
        lines = [subject + self.problem]
        for label, fact in (("expected", self.expected), ("found", self.actual), ("fix", self.fix)):
            if fact:
                lines.append(f"  {label}: {fact}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows, which alone asks for this: one line of each function in the place of five."""
        show = importlib.import_module("IPython").get_ipython().InteractiveTB.structured_traceback
        lines: list[str] = show(type(self), self, self.__traceback__, None, 1)
        return lines

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception pickles by its positional arguments alone and would lose the fields.
        return _rebuild, (type(self), self.problem, self.fields)


def _rebuild(cls: type[TypedFilterError], problem: str, fields: dict[str, str]) -> TypedFilterError:
    return cls(problem, **fields)


class AnnotationError(TypedFilterError, TypeError):
    """An annotation contradicts itself, another one or an option, or can't be read."""


class ShapeError(TypedFilterError, TypeError):
    """A value does not have the shape, dtype or type that its annotation says."""


class StaticArgumentError(TypedFilterError, TypeError):
    """A static value can't be one: it is unhashable, an array, or differs from what was compiled for."""


class VmapAxisError(TypedFilterError, ValueError):
    """An axis to map over is out of range, or mapped sizes disagree."""


class DonationError(TypedFilterError, RuntimeError):
    """An array that was donated to an earlier call is used again."""


class PytreeError(TypedFilterError, ValueError):
    """Pytrees that must match don't, or one holds what it can't."""


class RetraceError(TypedFilterError, RuntimeError):
    """A compiled function is traced more often than it may be."""


class RuleError(TypedFilterError, RuntimeError):
    """A function with a derivative of its own has no rules yet at a call, or gets one that is none."""


# What JAX itself reports as a RuntimeError is one here, too, whatever else it is.


class HostShapeError(ShapeError, RuntimeError):
    """What a callback returned on the host is not what was declared."""


class HostStaticArgumentError(StaticArgumentError, RuntimeError):
    """A callback returned another value on the host, where no array was declared."""


class NoRuleError(ShapeError, RuleError):
    """A derivative is asked for that the rules of a function do not give."""


class CheckWarning(UserWarning):
    """What would be an error of a check, where checks only warn."""
