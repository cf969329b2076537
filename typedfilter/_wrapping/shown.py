"""What a wrapper shows to whoever looks at functions: people, what completes names, and run-time checkers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from typedfilter._reading.plan import plan_of


class Unannotated(type):
    """The class of what shows annotations of others.

    Python makes a class a dictionary for its own, if it has none, for whoever asks; from then on, that would
    be found in each instance.
    """

    @property
    def __annotations__(cls) -> dict[str, Any]:  # type: ignore[override]  # to mypy a variable
        return {}


class Quiet(Unannotated):
    """The class of wrappers: what completes names lists a class's, besides those of the object."""

    def __dir__(cls) -> list[str]:
        return offered(super().__dir__())


def offered(names: Iterable[str]) -> list[str]:
    """The attributes that are for users to complete, and not a wrapper's own."""
    own = ("lent", "transform")
    return sorted(name for name in names if name.startswith("__") or not (name[0] == "_" or name in own))


def shown_annotations(fn: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """The annotations of a callable that a signature shows: none of what holds inside of a map alone, say.

    They are evaluated where all their names are found: the call of a wrapper may have globals of its own,
    where a string means less.
    """
    annotations: Any = fn.__annotations__
    if not isinstance(annotations, dict):  # a mock's
        return {}
    plan = plan_of(fn)
    read = {"return": plan.returns} | {param.name: param.hint for param in plan.params}
    return {
        name: written if name not in read or read[name].unresolved else read[name].annotation
        for name, written in annotations.items()
        if _shows(signature, name)
    }


def _shows(signature: inspect.Signature, name: str) -> bool:
    """Whether a signature shows the annotation of a parameter, or of the return."""
    if name == "return":
        return signature.return_annotation is not signature.empty
    found = signature.parameters.get(name)
    return found is None or found.annotation is not found.empty
