"""The words for annotations that can't be evaluated, and for dimensions that nothing else is compared with.

Knows names and annotations; knows nothing of calls. It runs once something is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from typedfilter._reading.slips import Slip
from typedfilter._reading.text import show
from typedfilter._shapes.bindings import RunTime, bindings_of
from typedfilter._values.text import meant
from typedfilter.errors import AnnotationError


def explain_slip(slip: Slip, function: str) -> AnnotationError:
    """What is said of a dimension name that is nearly another, and binds nothing."""
    return AnnotationError(
        f"is annotated {show(slip.hint.annotation)}: the dimension `{slip.name}` stands in this place alone",
        function=function,
        parameter=slip.parameter,
        expected="a name that another annotation has, too, or one that is unlike these",
        actual=f"`{slip.name}`, which is compared with nothing",
        fix=f"did you mean `{slip.meant}`?",
    )


def explain_unbound(
    problem: Exception,
    binder: RunTime,
    function: str,
    parameter: str,
    written: Any,
    what: str = "argument",
    counts: Collection[str] = (),
) -> AnnotationError:
    """The error for an annotation that jaxtyping could not evaluate: a name that nothing binds, mostly."""
    cause = problem.__cause__
    if isinstance(cause, NameError):
        known = [*bindings_of(binder.seen)]
        return explain_name(str(cause.name), known, counts, function, parameter, written, what)
    return AnnotationError(
        f"is annotated {show(written)}, but jaxtyping can't evaluate it",
        function=function,
        parameter=parameter,
        actual=str(problem),
        fix="correct the annotation",
    )


def explain_name(
    name: str,
    known: list[str],
    counts: Collection[str],
    function: str,
    parameter: str,
    written: Any,
    what: str = "argument",
) -> AnnotationError:
    """The error for an annotation that computes with a name that nothing binds.

    Args:
        name: the name.
        known: the names that are bound there.
        counts: the names of the arguments that are whole numbers, which braces look up.
        function: the user's function.
        parameter: whose annotation it is; `return` for the result.
        written: the annotation as the user wrote it.
        what: what could bind it: an argument, or a field.
    """
    fix = f"use `{name}` alone in another {what}, or write the size out"
    slip = meant(name, known)
    shown = show(written)
    if re.search(rf"{{[^}}]*\b{name}\b", shown):
        fix = "write the name of an argument between the braces"
    elif name in counts:
        fix = f"write {{{name}}} for it: a dimension is looked up among the arguments in braces only"
    elif slip:
        fix = f"{slip} Or {fix}"
    return AnnotationError(
        f"is annotated {shown}, but no {what} binds `{name}`",
        function=function,
        parameter=parameter,
        fix=fix,
    )
