"""Keywords that a public function does not have: what to write instead, or what was meant.

Runs only when Python has refused a call. One table for all transforms serves who comes from JAX's own.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from typedfilter._values.text import meant

__all__ = ["better_refusal", "refuse_options"]

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


def better_refusal(
    function: Callable[..., Any], error: TypeError, kwargs: Mapping[str, Any]
) -> TypeError | None:
    """A refusal with the cure, where `error` is Python's about a keyword that `function` does not have."""
    inside = None if error.__traceback__ is None else error.__traceback__.tb_next
    if inside is not None or not isinstance(function, types.FunctionType):  # it was called, and raised
        return None
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    names = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return _refusal(function.__name__, kwargs, names)


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
