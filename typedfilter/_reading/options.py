"""Options that say something of each argument: the same of all, a tuple by position, a dictionary by name.

Serves `in_axes` and `in_shardings`. Knows how a call finds its parameters; knows nothing of what is
said of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from typedfilter._reading.plan import Param, Plan
from typedfilter._values.text import meant
from typedfilter.errors import TypedFilterError


@dataclasses.dataclass(frozen=True, slots=True)
class PerArgument:
    """What an option says of the arguments of one function."""

    plan: Plan  # of the function
    option: str  # the name of the option
    given: Any  # what the user has passed
    unsaid: Any  # what stands for an argument of which a dictionary or a tuple says nothing
    error: type[TypedFilterError]  # what to raise
    text: Callable[[Any], str] = repr  # shows what was passed
    # whether what is said of a parameter asks that it is passed, not left to its default
    demands: Callable[[Any], bool] = lambda said: False

    def check(self) -> None:
        """Refuse names that the function does not have, and more entries than it has arguments."""
        if isinstance(self.given, dict):
            self._check_names()
        if isinstance(self.given, tuple | list) and self.plan.var_positional is None:
            self._check_count(len(self.plan.positionals), len(self.given))

    def _check_count(self, takes: int, entries: int) -> None:
        if entries > takes:
            raise self.error(
                f"takes {takes} positional arguments, but {self.option} has {entries} entries",
                function=self.plan.function,
                expected="no more entries than positional arguments",
                actual=f"{self.option}={self.text(self.given)}",
                fix=f"drop the entries that are too many, or give {self.option} as a dictionary by name",
            )

    def _check_names(self) -> None:
        known = [param.name for param in self.plan.params]
        for name in self.given:
            if name not in known and (self.plan.var_keyword is None or not isinstance(name, str)):
                raise self.error(
                    f"has no parameter {name!r}, which {self.option} names",
                    function=self.plan.function,
                    expected=f"names among: {', '.join(known)}",
                    actual=repr(name),
                    fix=meant(str(name), known) or f"correct the name in {self.option}",
                )

    def of_call(self, count: int, names: tuple[str, ...]) -> list[Any]:
        """What is said of each argument of a call with so many by position, and these by name.

        Raises:
            TypedFilterError: of the class `error`, where something is said of an argument that is left out,
                or nothing of one.
        """
        if isinstance(self.given, dict):
            layout = self.plan.layout(count, names)
            self._check_passed(self.given, layout)
            return [self._by_names(name, param) for name, param in layout]
        if isinstance(self.given, tuple | list) and len(self.given) > count:
            later = zip(self.plan.positionals[count:], self.given[count:], strict=False)
            said = {param.name: one for param, one in later}
            self._check_passed(said, self.plan.layout(count, names))
        return [*self._by_position(count), *map(self._by_name, names)]

    def _check_passed(self, given: dict[str, Any], layout: list[tuple[str, Param | None]]) -> None:
        passed = {name for name, _ in layout} | {param.name for _, param in layout if param is not None}
        known = {param.name for param in self.plan.params}
        for name, said in given.items():
            if name not in passed and (self.demands(said) if name in known else said is not None):
                raise self.error(
                    f"is not passed, and {self.option} says {self.text(said)} of it",
                    function=self.plan.function,
                    parameter=name,
                    expected=f"an argument of that name for each entry of {self.option}",
                    actual=f"a call with {', '.join(name for name, _ in layout) or 'no arguments'}",
                    fix=f"pass it by name, or drop its entry: {self.option} says nothing of a default",
                )

    def _by_names(self, name: str, param: Param | None) -> Any:
        starred = self.unsaid if param is None else self.given.get(param.name, self.unsaid)
        return self.given.get(name, starred)

    def _by_position(self, count: int) -> list[Any]:
        if not isinstance(self.given, tuple | list):
            return [self.given] * count
        if len(self.given) < count:
            raise self.error(
                f"got {count} positional arguments, but {self.option} has only {len(self.given)}",
                function=self.plan.function,
                expected=f"one entry of {self.option} for each of {count} arguments",
                actual=f"{self.option}={self.text(self.given)}",
                fix=f"add the missing entries, or give {self.option} as a dictionary by name",
            )
        return list(self.given[:count])

    def _by_name(self, name: str) -> Any:
        """What is said of an argument that is passed by name: what is said of its position, if it has one."""
        if not isinstance(self.given, tuple | list):
            return self.given
        names = [param.name for param in self.plan.positionals]
        at = names.index(name) if name in names else len(self.given)
        return self.given[at] if at < len(self.given) else self.unsaid

    def of(self, param: Param) -> Any:
        """What is said of a parameter as a whole."""
        if isinstance(self.given, dict):
            return self.given.get(param.name, self.unsaid)
        return (
            self.unsaid
            if param.variadic and isinstance(self.given, tuple | list)
            else self._by_name(param.name)
        )
