"""Examples by type: what `example_of` was told of classes that their own annotations don't say enough of.

Kept by class as long as the process; an example from the same place takes the place of an older one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from typedfilter.check.inputs.place import Place
from typedfilter.check.inputs.values import ExampleNode

_KNOWN: dict[Any, Callable[..., Any]] = {}


def remember(cls: Any, function: Callable[..., Any]) -> None:
    """Let `function` make the instances of a class.

    Raises:
        TypeError: a parameter of the function is not one that a size can be given to by name.
    """
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(
                f"the example of {cls!r} takes `{parameter}`: its parameters are the names of sizes, as in "
                "`def _(n): ...`"
            )
    _KNOWN[cls] = function


def of(cls: Any) -> Callable[..., Any] | None:
    """What makes the instances of a class; None where nobody has said."""
    return _KNOWN.get(cls)


def node(function: Callable[..., Any], place: Place) -> ExampleNode:
    """An instance that an example makes: its sizes are those of the names that they are called by."""
    scope = f"{place.scope}_" if place.scope else ""
    names = inspect.signature(function).parameters
    return ExampleNode(place.label, function, tuple((name, f"{scope}{name}") for name in names))


def forget() -> None:
    """Know no example."""
    _KNOWN.clear()
