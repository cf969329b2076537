"""What a function that was traced once takes and returns, and whether a later call fits that.

Knows plans and templates; knows nothing of jaxprs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from typing import Any

from typedfilter._reading.plan import Plan
from typedfilter._values.template import Difference, Template
from typedfilter._wrapping.call import Call
from typedfilter.errors import ShapeError, StaticArgumentError, TypedFilterError


@dataclasses.dataclass(eq=False)
class Interface:
    """What a traced function takes and returns; two are equal where no call could tell them apart."""

    plan: Plan  # of the function
    names: tuple[str, ...]  # of its arguments
    templates: tuple[Template, ...]  # of its arguments
    # how many of the example arguments were given by position, and the names of the others
    given: tuple[Template, Template]
    out: Template  # of its result

    @functools.cached_property
    def key(self) -> Hashable:
        kinds = tuple([(param.name, param.kind) for param in self.plan.params])
        templates = (*self.templates, *self.given, self.out)
        return kinds, self.names, tuple([template.key for template in templates])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interface) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def arrays_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arrays of a call that fits the examples.

        Raises:
            ShapeError: a structure, shape or dtype is another one.
            StaticArgumentError: something that is no array is another value.
        """
        call = Call(args, kwargs).filled(self.plan)
        given = {name: value for name, _, value in self.plan.arguments(call.args, call.kwargs)}
        if given.keys() != set(self.names):
            raise ShapeError(
                "is called with other arguments than it was converted for",
                function=self.plan.function,
                expected=", ".join(self.names) or "no arguments",
                actual=", ".join(given) or "no arguments",
                fix=_FIX,
            )
        arrays: list[Any] = []
        for name, template in zip(self.names, self.templates, strict=True):
            found = template.fit(given[name])
            if isinstance(found, Difference):
                raise self._error(name, found)
            arrays += found
        return arrays

    def _error(self, name: str, difference: Difference) -> TypedFilterError:
        error = StaticArgumentError if difference.static else ShapeError
        return error(
            f"differs in {difference.what} from the example that the function was converted for",
            function=self.plan.function,
            parameter=name + difference.where,
            expected=difference.expected,
            actual=difference.actual,
            fix=_FIX,
        )


_FIX = "call filter_closure_convert again with arguments like these"
