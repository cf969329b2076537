"""A call of a loop or branch as a call of its body: `explain(filter_scan, step, init, xs)`.

Knows how the public functions take their arguments; what they do to them, their effects say.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from typedfilter._looping.effects import Loops, Manner, Scans, Steps
from typedfilter._reading.plan import plan_of
from typedfilter._wrapping.effects import Given
from typedfilter.transforms.branches import filter_cond, filter_switch
from typedfilter.transforms.loops import filter_fori_loop, filter_while_loop
from typedfilter.transforms.map import filter_associative_scan, filter_map
from typedfilter.transforms.scan import filter_scan

TRACED, STEPPED, ALONG = Manner.TRACED, Manner.STEPPED, Manner.ALONG


@dataclasses.dataclass(frozen=True)
class LoopCall:
    """A call of a loop."""

    name: str  # of the loop
    body: Callable[..., Any]  # the function that it calls; of branches the first one
    options: dict[str, Any]  # those that differ from their defaults
    effects: Loops  # what the loop does to the arguments of the body
    given: Given  # the arguments of the body, as the loop is given them


@dataclasses.dataclass(frozen=True)
class _Form:
    """How a loop takes its body, and the arguments of that."""

    body: str
    arguments: tuple[str, ...]  # in the order in which the body gets them
    manners: tuple[Manner, ...]
    made_of: str
    effects: type[Loops] = Loops


_FORMS: dict[Any, _Form] = {
    filter_scan: _Form("f", ("init", "xs"), (TRACED, STEPPED), "last carry, results of all steps", Scans),
    filter_while_loop: _Form("body_fun", ("init_val",), (TRACED,), "last carry"),
    filter_fori_loop: _Form("body_fun", ("lower", "init_val"), (TRACED,), "last carry"),
    filter_map: _Form("f", ("xs",), (STEPPED,), "results of all steps", Steps),
    filter_associative_scan: _Form("fn", ("elems", "elems"), (ALONG,), "combined elements", Steps),
    filter_cond: _Form("true_fun", ("operands",), (TRACED,), "result of one branch"),
    filter_switch: _Form("branches", ("operands",), (TRACED,), "result of one branch"),
}


def loop_call(fun: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> LoopCall | None:
    """The call of a body that `fun(*args, **kwargs)` is; `None` where `fun` is no loop or has no body yet."""
    if isinstance(fun, functools.partial):
        return loop_call(fun.func, (*fun.args, *args), {**fun.keywords, **kwargs})
    form = _FORMS.get(fun) if inspect.isfunction(fun) else None
    if form is None:
        return None
    signature = inspect.signature(fun)
    given = signature.bind_partial(*args, **kwargs).arguments
    if form.body not in given:
        return None
    body = given[form.body][0] if form.body == "branches" else given[form.body]
    used = {form.body, *form.arguments, "cond_fun", "false_fun", "pred", "index", "upper"}
    options = {
        name: value
        for name, value in given.items()
        if name not in used and value is not signature.parameters[name].default
    }
    effects = form.effects(fun.__name__, plan_of(body), form.manners, form.made_of)
    return LoopCall(fun.__name__, body, options, effects, Given(_values(form, given)))


def _values(form: _Form, given: Mapping[str, Any]) -> tuple[Any, ...]:
    if form.arguments == ("operands",):
        return tuple(given.get("operands", ()))
    if form.arguments[0] not in given:
        return ()
    return tuple(given.get(name) for name in form.arguments)
