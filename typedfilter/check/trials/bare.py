"""Functions that are annotated `Float`, which says neither array nor shape, as they may be meant.

The annotation is told once for each function, and does not hide what is wrong with its body. Knows
annotations; knows nothing of trials.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import jax

from typedfilter._reading.forms import is_array_class, is_bare_dtype, rebuilt
from typedfilter._reading.names import Scope
from typedfilter.check.trials.subject import Subject


def as_meant(subject: Subject) -> Subject | None:
    """The same function with an array of some shape for each bare `Float`; None where it has none."""
    root = subject.root
    scope = Scope.of_function(root)
    found: dict[str, Any] = {}
    for name, annotation in root.__annotations__.items():
        hint = scope.evaluate(annotation) if isinstance(annotation, str) else annotation
        meant = _replaced(hint, Any if name == "return" else jax.Array)
        if meant is not hint:
            found[name] = meant
    if not found:
        return None
    copy = types.FunctionType(
        root.__code__, root.__globals__, root.__name__, root.__defaults__, root.__closure__
    )
    copy.__kwdefaults__, copy.__module__ = root.__kwdefaults__, root.__module__
    copy.__qualname__, copy.__annotations__ = root.__qualname__, {**root.__annotations__, **found}
    return dataclasses.replace(subject, root=copy)


def _replaced(hint: Any, other: Any) -> Any:
    """A type with `other` for each dtype that stands alone; the same where there is none."""
    if is_bare_dtype(hint) and not is_array_class(hint):
        return other
    arguments = getattr(hint, "__args__", ())
    return rebuilt(hint, tuple(_replaced(one, other) for one in arguments)) if arguments else hint
