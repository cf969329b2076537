"""Functions that are annotated `Float`, which says neither array nor shape, as they may be meant.

The annotation is told once for each function, and does not hide what is wrong with its body. Knows
annotations; knows nothing of trials.
"""

from __future__ import annotations

import dataclasses
import sys
import types
from typing import Any, Union, get_args, get_origin

import jax
import jaxtyping

from typedfilter._reading.forms import UNIONS, is_array_class
from typedfilter.check.trials.subject import Subject


def as_meant(subject: Subject) -> Subject | None:
    """The same function with an array of some shape for each bare `Float`; None where it has none."""
    root = subject.root
    names = dict(vars(sys.modules.get(root.__module__, types)))
    found: dict[str, Any] = {}
    for name, annotation in root.__annotations__.items():
        hint = _evaluated(annotation, {**names, **root.__globals__})
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


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)
    except Exception:  # whatever an annotation raises: it is read by somebody else then
        return annotation


def _replaced(hint: Any, other: Any) -> Any:
    """A type with `other` for each dtype that stands alone; the same where there is none."""
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractDtype) and not is_array_class(hint):
        return other
    arguments, origin = get_args(hint), get_origin(hint)
    if not arguments or not (origin in UNIONS or origin in (tuple, list, dict)):
        return hint
    inner = tuple(_replaced(argument, other) for argument in arguments)
    if all(new is old for new, old in zip(inner, arguments, strict=True)):
        return hint
    generic: Any = Union if origin in UNIONS else origin
    return generic[inner]
