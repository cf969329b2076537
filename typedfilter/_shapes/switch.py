"""Whether bodies are checked just now, and what becomes of what does not fit: an error, or a warning.

Asked each time a body runs, which under `filter_jit` is when it is traced.
"""

from __future__ import annotations

import contextvars
import enum
import functools
import inspect
import os
import sys
import types
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from typedfilter._declarations import Check
from typedfilter._reading.wrappers import is_method
from typedfilter._values.context import setting
from typedfilter._values.memory import Attached
from typedfilter._values.text import among
from typedfilter.errors import AnnotationError, CheckWarning, TypedFilterError


class Mode(enum.Enum):
    """What a check does."""

    OFF = "nothing"
    WARN = "a warning, once for each place"
    RAISE = "an error"


_chosen: contextvars.ContextVar[Mode] = contextvars.ContextVar("typedfilter_checks", default=Mode.RAISE)
_OFF = ("off", "0", "false", "no")


def check_mode() -> Mode:
    """What checks do now: as the transforms around say, and the environment variable TYPEDFILTER_CHECK."""
    chosen = _chosen.get()
    wanted = os.environ.get("TYPEDFILTER_CHECK", "on").strip().lower()
    if chosen is Mode.OFF or wanted in _OFF:
        return Mode.OFF
    return Mode.WARN if wanted == "warn" else chosen


def raises() -> bool:
    """Whether what does not fit is an error just now."""
    return check_mode() is Mode.RAISE


def refuse_check(check: object, function: str) -> None:
    """Refuse an option `check` that is none: whatever is not True would turn checks off.

    Raises:
        AnnotationError: it is neither a bool nor "warn".
    """
    if not isinstance(check, bool) and check != "warn":
        raise AnnotationError(
            f"has no check={check!r}",
            function=function,
            expected="True, False or 'warn'",
            actual=repr(check),
            fix=among(check, ["warn"]),
        )


def checking(check: Check) -> AbstractContextManager[None]:
    """Bodies inside are checked as this option says: those of the wrappers that are called there, too.

    Nothing inside turns on what was turned off around it.
    """
    if check is True or _chosen.get() is Mode.OFF:
        return nullcontext()
    return setting(_chosen, Mode.WARN if check == "warn" else Mode.OFF)


def report(error: TypedFilterError, fn: Callable[..., Any], place: object, *, mild: bool = False) -> None:
    """Raise `error`; or say its text as a warning at the definition of `fn`, once for each place; or neither.

    Args:
        mild: it is a warning whatever the mode is.
    """
    mode = check_mode()
    if mode is Mode.OFF:
        return
    if mode is not Mode.WARN and not mild:
        raise error
    inner = _function_in(fn)
    told = _told.of(inner)
    if place in told:
        return
    filename, line, names = _definition_of(inner)
    # By the registry of a module Python tells, by default, what it has told already of a line there.
    registry = names.setdefault("__warningregistry__", {})
    told.add(place)
    try:
        warnings.warn_explicit(str(error), CheckWarning, filename, line, registry=registry)
    except BaseException:  # where warnings are errors, it is one each time
        told.discard(place)
        raise


def _definition_of(made: Any) -> tuple[str, int, dict[str, Any]]:
    """File and line of a function or class, and the names of its module."""
    code = getattr(made, "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno, getattr(made, "__globals__", {})
    names = vars(sys.modules.get(getattr(made, "__module__", None) or "", types.ModuleType("")))
    try:
        return inspect.getsourcefile(made) or "<unknown>", inspect.getsourcelines(made)[1] or 1, names
    except (OSError, TypeError):
        return "<unknown>", 1, names


_told: Attached[set[object]] = Attached("__typedfilter_told__", set)


def _function_in(fn: Any) -> Any:
    """The function inside of methods, partials, objects that are called, and decorators."""
    while isinstance(fn, functools.partial) or is_method(fn):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__func__
    if not isinstance(fn, types.FunctionType | type):
        fn = getattr(type(fn), "__call__", fn)  # noqa: B004 (the function is wanted)
    return inspect.unwrap(fn)
