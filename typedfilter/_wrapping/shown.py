"""The annotations that a wrapper shows to whoever reads those of functions: people, and run-time checkers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from typedfilter._reading.plan import plan_of

__all__ = ["shown_annotations"]


def shown_annotations(fn: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """The annotations of a callable that a signature shows: none of what holds inside of a map alone, say.

    They are evaluated where all their names are found: the call of a wrapper may have globals of its own,
    where a string means less.
    """
    plan = plan_of(fn)
    read = {"return": plan.returns} | {param.name: param.hint for param in plan.params}
    return {
        name: written if name not in read or read[name].unresolved else read[name].annotation
        for name, written in fn.__annotations__.items()
        if _shows(signature, name)
    }


def _shows(signature: inspect.Signature, name: str) -> bool:
    """Whether a signature shows the annotation of a parameter, or of the return."""
    if name == "return":
        return signature.return_annotation is not signature.empty
    found = signature.parameters.get(name)
    return found is None or found.annotation is not found.empty
