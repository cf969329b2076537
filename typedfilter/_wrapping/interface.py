"""What a function that was traced once takes and returns, and whether a later call fits that.

Knows plans and templates; knows nothing of jaxprs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Hashable
from typing import Any

from typedfilter._reading.plan import Plan
from typedfilter._values.template import Difference, Template
from typedfilter.errors import ShapeError, StaticArgumentError, TypedFilterError

__all__ = ["Interface", "bind", "names_of", "values_of"]


class Interface:
    """What a traced function takes and returns; two are equal where no call could tell them apart.

    Attributes:
        plan: of the function.
        names: of its arguments.
        templates: of its arguments.
        given: how many of the example arguments were given by position, and the names of the others.
        out: of its result.
    """

    def __init__(
        self,
        plan: Plan,
        names: tuple[str, ...],
        templates: tuple[Template, ...],
        given: tuple[Template, Template],
        out: Template,
    ) -> None:
        self.plan = plan
        self.names = names
        self.templates = templates
        self.given = given
        self.out = out

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
        bound = bind(self.plan, args, kwargs)
        names = names_of(self.plan, bound)
        if names != self.names:
            raise ShapeError(
                "is called with other arguments than it was converted for",
                function=self.plan.function,
                expected=", ".join(self.names) or "no arguments",
                actual=", ".join(names) or "no arguments",
                fix=_FIX,
            )
        arrays: list[Any] = []
        for name, template, value in zip(names, self.templates, values_of(bound), strict=True):
            found = template.fit(value)
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


def bind(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """One form for calls that pass the same by position, by keyword or by default."""
    bound = plan.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


def names_of(plan: Plan, bound: inspect.BoundArguments) -> tuple[str, ...]:
    return tuple(plan.bind_names(len(bound.args), tuple(bound.kwargs)))


def values_of(bound: inspect.BoundArguments) -> list[Any]:
    return [*bound.args, *bound.kwargs.values()]
