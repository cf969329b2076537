"""Readings under which a function takes less than its annotations say: no size of 1, no scalar.

A function that is good so is not called wrong: the verdict says what it takes, and what to write. A result
of another shape is no such thing: it is a mistake at whatever sizes it shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs.nodes import ArrayNode, walk
from typedfilter.check.inputs.signature import Letter, Signature
from typedfilter.check.inputs.values import FloatNode
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.problem import Raised, WrongResult

_LEAST = (2, 3, 5)
_SMALL = 4
_NO_AXES = 1  # the option of `...` that has none
_OTHER_NUMBERS = ((0.5, 8.0, 64.0, 512.0), (512.0, 64.0, 8.0, 0.5))


def less_of(tried: Tried) -> Iterator[Letter]:
    """Readings that leave something of the signature out, the likeliest first."""
    yield from _floats(tried)
    yield from _no_scalar(tried)
    yield from _first_members(tried)
    yield from _larger(tried)
    yield from _other_numbers(tried.signature)


def _floats(tried: Tried) -> Iterator[Letter]:
    """Annotations of more than floats (`Num`, `Shaped`, `Inexact`), where a function takes no others."""
    problem, chosen = tried.problem, tried.layout.used.get("dtype", 0)
    if not isinstance(problem, Raised) or not chosen:
        return
    option = next(p for p in _layout.points_of(tried.signature) if p.key == "dtype").options
    if option[0] == "dtype float32":
        fix = "write Float for it, or refuse other dtypes with a `raise`"
        yield Letter(
            "where arrays are of floats", fix, without=tuple(("dtype", i) for i in range(1, len(option)))
        )


def _first_members(tried: Tried) -> Iterator[Letter]:
    """Unions that go with a number in a settings object, of which the default alone is tried."""
    numbers = any(re.fullmatch(r"\w+\.[\w.]+=\d+", note) for note in tried.layout.notes)
    points = [p for p in _layout.points_of(tried.signature) if p.key in tried.layout.used and not p.soft]
    unions = [p for p in points if p.key.startswith("choice of ") and "." not in p.key]
    chosen = [p for p in unions if tried.layout.used[p.key]] if numbers else []
    if chosen:
        said = " and ".join(p.options[0] for p in chosen)
        fix = "say it with overloads, or refuse the others with a `raise`"
        yield Letter(f"where {said}", fix, options=tuple((p.key, 0) for p in unions))


def _no_scalar(tried: Tried) -> Iterator[Letter]:
    """Arrays of any axes of which a scalar is another case: what a function of an axis makes of one."""
    problem = tried.problem
    if not isinstance(problem, WrongResult) or tried.layout.used.get("...") != _NO_AXES:
        return
    nodes = (n for p in tried.signature.parameters for n in walk(p.node))
    if any(isinstance(node, ArrayNode) and _is_any_axes(node) for node in nodes):
        yield Letter("where `...` has 1 axis or more", 'write "_ ..." for it', without=(("...", _NO_AXES),))


def _is_any_axes(node: ArrayNode) -> bool:
    return len(node.dims) == 1 and node.dims[0].variadic and not node.dims[0].text


def _larger(tried: Tried) -> Iterator[Letter]:
    """Sizes that are too small for what the function does, where all the others are good."""
    problem = tried.problem
    if not isinstance(problem, Raised) or not tried.good:
        return
    names = [name for name in tried.layout.names.varied if tried.sizes.get(name, _SMALL) < _SMALL]
    for least in _LEAST if names else ():
        said = ", ".join(names)
        fix = "refuse smaller sizes with a `raise`"
        yield Letter(
            f"where {said} {'is' if len(names) == 1 else 'are'} {least} or more",
            fix,
            least=tuple((name, least) for name in names),
        )


def _other_numbers(signature: Signature) -> Iterator[Letter]:
    """Floats that are made up, and that decide a shape."""
    nodes = (n for p in signature.parameters for n in walk(p.node))
    if any(isinstance(node, FloatNode) for node in nodes):
        for numbers in _OTHER_NUMBERS:
            yield Letter("with other numbers", "", numbers=numbers)
