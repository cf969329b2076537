"""What a public function refuses to take: keywords that it does not have, options by position, no function.

Runs only when Python has refused a call. One table for all transforms serves who comes from JAX's own.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from typedfilter._values.text import brief, count_text, describe, meant
from typedfilter._values.uncallable import PASS_FUNCTION, UncallableError
from typedfilter.errors import ShapeError

_STATIC = "annotate the parameter as Static[...]"
_DONATE = 'annotate the parameter as Donate[...], or pass donate="all"'
_DIFF = "annotate what is differentiated as Diff[...]; without it, that is the first argument"
_INSTEAD = {
    "static_argnums": _STATIC,
    "static_argnames": _STATIC,
    "static_broadcasted_argnums": _STATIC,
    "donate_argnums": _DONATE,
    "donate_argnames": _DONATE,
    "argnums": _DIFF,
    "nondiff_argnums": "pass it as it is: a rule sees arguments of any kind, and NoDiff[...] excludes one",
    "nondiff_argnames": "pass it as it is: a rule sees arguments of any kind, and NoDiff[...] excludes one",
    "abstracted_axes": "name dimensions in the annotations: Float[Array, 'batch n']",
}


_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def better_refusal(
    function: Callable[..., Any], error: TypeError, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TypeError | None:
    """A refusal with the cure, where `error` is about what a public function was given.

    Python raises one for a keyword that it does not have, and for options by position.
    """
    if not isinstance(function, types.FunctionType) or function.__name__.startswith("_"):
        return None
    signature = inspect.signature(function)
    if isinstance(error, UncallableError):
        return _uncallable(function.__name__, error.value, signature.bind_partial(*args, **kwargs).arguments)
    inside = None if error.__traceback__ is None else error.__traceback__.tb_next
    if inside is not None:  # it was called, and raised
        return None
    parameters = signature.parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    names = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    refusal = _refusal(function.__name__, kwargs, names)
    if refusal is None and by_name and len(args) > len(names) - len(by_name):
        return _by_position(function.__name__, len(args), len(names) - len(by_name), by_name)
    return refusal


def _uncallable(function: str, value: object, given: Mapping[str, Any]) -> TypeError | None:
    name = next((name for name, one in given.items() if one is value), "")
    if not name or "self" in given:  # of a method, on the way from a public function
        return None
    return ShapeError(
        f"is {describe(value)}, which is not callable",
        function=function,
        parameter=name,
        expected="a function, or another callable",
        actual=brief(value),
        fix=PASS_FUNCTION,
    )


def _by_position(function: str, given: int, taken: int, by_name: Sequence[str]) -> TypeError:
    options = ", ".join(f"{name}=" for name in by_name)
    fix = f"pass an option by name: {options}. What the function takes goes to the result: {function}(f)(...)"
    if "has_aux" in by_name:
        fix += f". {_DIFF[0].upper()}{_DIFF[1:]}"
    takes = count_text(taken, "argument")
    return TypeError(f"{function}() takes {takes} by position, but {given} were given\n  fix: {fix}")


def note_slip(error: TypeError, given: Iterable[str], names: Sequence[str]) -> None:
    """Add to Python's refusal of a keyword which one was meant; newer Pythons say it themselves, mostly."""
    found = _UNEXPECTED.search(str(error))
    told = "\n".join((str(error), *map(str, getattr(error, "__notes__", ())))).lower()
    if found is None or found.group(1) not in given or "did you mean" in told:
        return
    slip = meant(found.group(1), list(names))
    if slip:
        error.add_note(f"  fix: {slip}")


def refuse_options(function: str, given: Iterable[str], names: list[str]) -> None:
    """Refuse an option that is none of these.

    Raises:
        TypeError: there is one, of which the cure is told.
    """
    refusal = _refusal(function, given, names)
    if refusal is not None:
        raise refusal


def _refusal(function: str, given: Iterable[str], names: list[str]) -> TypeError | None:
    for name in given:
        if name not in names:
            cure = _INSTEAD.get(name) or meant(name, names) or f"its options are {', '.join(names)}"
            return TypeError(f"{function}() has no option {name!r}\n  fix: {cure}")
    return None
