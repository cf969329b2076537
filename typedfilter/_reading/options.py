"""Options that say something of each argument: the same of all, a tuple by position, a dictionary by name.

Serves `in_axes` and `in_shardings`. Knows how a call finds its parameters; knows nothing of what is
said of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from typedfilter._reading.plan import Param, Plan
from typedfilter.errors import TypedFilterError

__all__ = ["PerArgument"]


@dataclasses.dataclass(frozen=True, slots=True)
class PerArgument:
    """What an option says of the arguments of one function.

    Attributes:
        plan: of the function.
        option: the name of the option.
        given: what the user has passed.
        unsaid: what stands for an argument of which a dictionary or a tuple says nothing.
        error: what to raise.
        text: shows what was passed.
    """

    plan: Plan
    option: str
    given: Any
    unsaid: Any
    error: type[TypedFilterError]
    text: Callable[[Any], str] = repr

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
                    fix=f"correct the name in {self.option}",
                )

    def by_position(self, count: int) -> list[Any]:
        """What is said of each of `count` positional arguments."""
        if isinstance(self.given, dict):
            names = self.plan.bind_names(count)
            starred = [self.plan.positional(i).name for i in range(count)]
            return [
                self.given.get(s, self.given.get(n, self.unsaid)) for n, s in zip(names, starred, strict=True)
            ]
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

    def by_name(self, name: str) -> Any:
        """What is said of an argument that is passed by name: what is said of its position, if it has one."""
        if isinstance(self.given, dict):
            param = self.plan.keyword(name)
            starred = self.unsaid if param is None else self.given.get(param.name, self.unsaid)
            return self.given.get(name, starred)
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
            else self.by_name(param.name)
        )
