"""What is annotated `Float`, which says neither array nor shape, as it may be meant.

The annotation is told once for each function, and hides neither what is wrong with its body nor the class
whose constructor has it. Knows annotations; knows nothing of trials.
"""

from __future__ import annotations

import collections.abc
import types
from typing import Any, get_origin

import jax

from typedfilter._reading.forms import is_array_class, is_bare_dtype, rebuilt
from typedfilter._reading.kinds import Array, Kind, kind_of
from typedfilter._reading.names import Scope, annotations_of
from typedfilter._reading.plan import Plan, plan_of
from typedfilter.errors import AnnotationError


def plan_as_meant(function: types.FunctionType) -> Plan:
    """The plan of a function that is not under test: that it says `Float` is told elsewhere.

    Raises:
        AnnotationError: an annotation can't be read for another reason.
    """
    try:
        return plan_of(function)
    except AnnotationError:
        copy = as_meant(function)
        if copy is None:
            raise
        return plan_of(copy)


def as_meant(function: types.FunctionType) -> types.FunctionType | None:
    """The same function with a number, or a key, for each bare `Float` or `Key`; None where it has none."""
    scope = Scope.of_function(function)
    found: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        hint = scope.evaluate(annotation) if isinstance(annotation, str) else annotation
        meant = _replaced(hint, returned=name == "return")
        if meant is not hint:
            found[name] = meant
    if not found:
        return None
    copy = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__, copy.__module__ = function.__kwdefaults__, function.__module__
    copy.__qualname__, copy.__annotations__ = function.__qualname__, {**function.__annotations__, **found}
    return copy


def field_as_meant(cls: type, name: str) -> Kind | None:
    """The kind of what a field that is annotated `Float` may hold; None where it is annotated otherwise."""
    owner = next((base for base in cls.__mro__ if name in annotations_of(base)), None)
    if owner is None:
        return None
    annotation = annotations_of(owner)[name]
    hint = Scope.of_class(owner).evaluate(annotation) if isinstance(annotation, str) else annotation
    meant = _replaced(hint, returned=False)
    return None if meant is hint else kind_of(meant)


def _replaced(hint: Any, returned: bool) -> Any:
    """A type with what is meant for each dtype that stands alone; the same where there is none."""
    if is_bare_dtype(hint) and not is_array_class(hint):
        return Any if returned else _meant(hint)
    arguments = getattr(hint, "__args__", ())
    if not arguments:
        return hint
    # What a callable returns has to be made.
    called = get_origin(hint) is collections.abc.Callable
    new = tuple(_replaced(one, returned and not called) for one in arguments)
    if called and any(one is not old for one, old in zip(new, arguments, strict=True)):
        form: Any = collections.abc.Callable  # what stands in it is not known to type checkers
        return form[... if new[0] is ... else list(new[:-1]), new[-1]]
    return rebuilt(hint, new)


def _meant(dtype: Any) -> Any:
    """A number: of those that are counted with, an int; a key; or else a scalar of that dtype."""
    scalar = dtype[jax.Array, ""]
    kind = kind_of(scalar)
    assert isinstance(kind, Array)
    if kind.allows("float32"):
        return jax.Array | float
    return int if kind.allows("int32") else scalar
