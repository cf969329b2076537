"""Whose a refusal is: the function's own, of what it was given, or of what it made wrongly itself.

A `raise` in a helper is a size that the function refuses only where the helper was handed the function's
own arguments, unchanged. Knows frames and values; knows nothing of annotations.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

from typedfilter._values.code import codes_of
from typedfilter.check.report import source
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.raised import is_users, links_of

_DEEPEST = 6


class Calls:
    """The arrays that the user's functions were called with, as long as a profile hook looks on."""

    def __init__(self, file: str) -> None:
        self.file = file
        # By the identity of a frame, which is kept alive; and by parameter.
        self.arrays: dict[int, dict[str, list[Any]]] = {}
        self._frames: list[FrameType] = []

    def look(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note the arguments of a call; a hook for `sys.setprofile`."""
        if event == "call" and is_users(frame.f_code.co_filename, self.file):
            self._frames.append(frame)
            count = frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount
            names = frame.f_code.co_varnames[: count + 2]
            given = {name: frame.f_locals[name] for name in names if name in frame.f_locals}
            self.arrays[id(frame)] = {name: list(_arrays(value, 0)) for name, value in given.items()}


def _arrays(value: Any, depth: int) -> Iterator[Any]:
    """The arrays in containers, and in the attributes of instances."""
    if hasattr(type(value), "shape") and hasattr(type(value), "dtype"):
        yield value
    elif depth < _DEEPEST and not isinstance(value, (type, FunctionType)):
        inner: Any = ()
        if isinstance(value, (list, tuple)):
            inner = value
        elif isinstance(value, dict):
            inner = value.values()
        elif hasattr(value, "__dict__"):
            inner = vars(value).values()
        for item in list(inner):
            yield from _arrays(item, depth + 1)


def is_of_what_it_made(root: FunctionType, again: Callable[[], None]) -> bool:
    """Whether a helper refused what the function `root` itself had made.

    Args:
        root: the function under test.
        again: runs the trial that was refused once more; it raises the same again.
    """
    calls = Calls(root.__code__.co_filename)
    before = sys.getprofile()
    sys.setprofile(calls.look)
    try:
        again()
    except Exception as error:
        sys.setprofile(before)
        return _is_derived(error.__traceback__, root.__code__, calls)
    finally:
        sys.setprofile(before)
    return False


def _is_derived(tb: TracebackType | None, code: CodeType, calls: Calls) -> bool:
    frames = [(link.tb_frame, link.tb_lineno) for link in links_of(tb)]
    own = [i for i, (frame, _) in enumerate(frames) if frame.f_code is code]
    if not own:
        return False
    inside = set(codes_of(code))
    below = next((i for i in range(own[-1] + 1, len(frames)) if frames[i][0].f_code not in inside), None)
    if below is None or not is_users(frames[below][0].f_code.co_filename, calls.file):
        return False  # the function itself refuses, or a transform stands between: whose arrays is not known
    given = _all(calls.arrays.get(id(frames[own[-1]][0]), {}))
    known, shapes = {id(x) for x in given}, {(tuple(x.shape), str(x.dtype)) for x in given}
    handed = calls.arrays.get(id(frames[below][0]), {})
    asked = _decisive(*frames[below]) if below == len(frames) - 1 else set[str]()
    decisive = {name: arrays for name, arrays in handed.items() if name in asked} if asked else handed
    return any(id(x) not in known and (tuple(x.shape), str(x.dtype)) not in shapes for x in _all(decisive))


def _all(arrays: Mapping[str, list[Any]]) -> list[Any]:
    return [array for some in arrays.values() for array in some]


def _decisive(frame: FrameType, line: int) -> set[str]:
    """The names that decide whether a function refuses on this line; none where its source is not there."""
    code = frame.f_code
    found = source.function_at(code.co_filename, code.co_firstlineno, code.co_name)
    before = (
        [node for node in ast.walk(found.node) if getattr(node, "lineno", line + 1) <= line] if found else []
    )
    names: set[str] = set()
    for node in before:
        if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)):
            names |= _names(node.test)
        elif isinstance(node, ast.Match):
            names |= _names(node.subject)
    known: set[str] = set()
    while names and names != known:
        known = set(names)
        for node in before:
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= _names(node.value) if any(names & _names(target) for target in targets) else set()
            elif isinstance(node, (ast.For, ast.comprehension)) and names & _names(node.target):
                names |= _names(node.iter)
    return names


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


# --------------------------------------------------------------------------------------- what was accepted


def narrowed(done: Sequence[Tried]) -> str:
    """Where alone a function works that refuses the other sizes: `n = k`; empty where it is not so narrow."""
    if not any(tried.refused for tried in done):
        return ""
    sets: list[Mapping[str, int]] = [sizes for tried in done for sizes in tried.good]
    names = list(dict.fromkeys(n for tried in done for n in tried.layout.names.varied))
    if not names or not sets or not all(map(_is_special(names), sets)):
        return ""
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    equal = [f"{a} = {b}" for a, b in pairs if all(_equal(sizes, a, b) for sizes in sets)]
    ones = [f"{name} = 1" for name in names if all(sizes.get(name, 1) == 1 for sizes in sets)]
    return " and ".join((ones or equal)[:3]) or "two of its sizes are equal, or one is 1"


def _equal(sizes: Mapping[str, int], one: str, other: str) -> bool:
    return one not in sizes or other not in sizes or sizes[one] == sizes[other]


def _is_special(names: Sequence[str]) -> Callable[[Mapping[str, int]], bool]:
    def special(sizes: Mapping[str, int]) -> bool:
        own = [sizes[name] for name in names if name in sizes]
        return bool(own) and (1 in own or len(set(own)) < len(own))

    return special


def never_accepted(every: Sequence[Tried], options: Mapping[str, tuple[str, ...]]) -> str:
    """An alternative (a member of a union, a value of a `Literal`) that was never accepted, or nothing."""
    for key, names in options.items():
        tried = {t.layout.used[key] for t in every if key in t.layout.used}
        good = {t.layout.used[key] for t in every if key in t.layout.used and t.good and t.problem is None}
        for option in sorted(tried - good):
            return names[min(option, len(names) - 1)]
    return ""
