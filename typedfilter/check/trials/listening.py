"""The lines of some functions, told as they run; and which of the user's functions another one may reach.

Python tells lines of chosen code alone from 3.12 on, which costs next to nothing; before, a trace function is
called for each call. Knows code objects; knows nothing of what is asked.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeAlias

from typedfilter.check.inputs.unmade import is_unmade
from typedfilter.check.trials.problem import is_users

_DEEPEST = 6  # wrappers around a function

Tell: TypeAlias = Callable[[FrameType, int], None]


@contextlib.contextmanager
def listening(codes: Collection[CodeType], tell: Tell) -> Generator[None]:
    """Tell of each line of these that is about to run inside; what was there before comes back."""
    tool = _free_tool() if codes else None
    if not codes:
        yield
    elif tool is None:
        with _traced(frozenset(map(id, codes)), tell):
            yield
    else:
        with _monitored(tool, codes, tell):
            yield


def _free_tool() -> int | None:
    if not hasattr(sys, "monitoring"):
        return None
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from Python 3.12 on
    return next((number for number in range(5, -1, -1) if monitoring.get_tool(number) is None), None)


@contextlib.contextmanager
def _monitored(tool: int, codes: Collection[CodeType], tell: Tell) -> Generator[None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from Python 3.12 on
    monitoring.use_tool_id(tool, "typedfilter")
    try:
        monitoring.register_callback(
            tool, monitoring.events.LINE, lambda _, line: tell(sys._getframe(1), line)
        )
        for code in codes:
            monitoring.set_local_events(tool, code, monitoring.events.LINE)
        yield
    finally:
        for code in codes:
            monitoring.set_local_events(tool, code, 0)
        monitoring.register_callback(tool, monitoring.events.LINE, None)
        monitoring.free_tool_id(tool)


@contextlib.contextmanager
def _traced(codes: frozenset[int], tell: Tell) -> Generator[None]:
    def begin(frame: FrameType, event: str, argument: object) -> Any:
        return follow if id(frame.f_code) in codes else None

    def follow(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            tell(frame, frame.f_lineno)
        return follow

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        yield
    finally:
        sys.settrace(before)


# -------------------------------------------------------------------------------------------- what is reached


def reached_from(root: FunctionType) -> list[CodeType]:
    """The code of a function, and the user's code of the names mentioned there, or of Python's own."""
    file = root.__code__.co_filename
    known = dict(_named(tuple(sys.modules), file))
    for name, code in _codes_in(
        (*root.__globals__.items(), *zip(root.__code__.co_freevars, _cells(root), strict=True))
    ):
        if is_users(code.co_filename, file):
            known[name] = (*known.get(name, ()), code)
    found: dict[int, CodeType] = {}
    waiting = [root.__code__, *known.get("", ())]
    for code in waiting:  # it grows on the way
        if id(code) not in found:
            found[id(code)] = code
            mentioned = (*code.co_names, *code.co_freevars)
            waiting += [one for name in mentioned for one in known.get(name, ())]
            waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
    return list(found.values())


@functools.lru_cache(maxsize=4)
def _named(modules: tuple[str, ...], file: str) -> Mapping[str, tuple[CodeType, ...]]:
    """The code in all modules of the user's, by name; that of `__call__` and the like by the empty one."""
    found: dict[str, dict[int, CodeType]] = {}
    for module in (sys.modules.get(name) for name in modules):
        if is_users(getattr(module, "__file__", None) or "<", file):
            for name, code in _codes_in(vars(module).items()):
                if is_users(code.co_filename, file):
                    found.setdefault("" if name.startswith("__") else name, {})[id(code)] = code
    return {name: tuple(codes.values()) for name, codes in found.items()}


def _codes_in(
    items: Iterable[tuple[str, Any]], inside: tuple[type, ...] = ()
) -> Iterator[tuple[str, CodeType]]:
    """The code of functions, and of the methods of classes, by the name that they have there."""
    for name, value in list(items):
        if isinstance(value, type):
            if value not in inside:
                yield from _codes_in(vars(value).items(), (*inside, value))
            continue
        function = _unwrapped(value)
        if function is not None:
            yield name, function.__code__
            if function.__code__.co_name != name:
                yield function.__code__.co_name, function.__code__


def _unwrapped(value: Any) -> FunctionType | None:
    """The function in wrappers, properties and partials; None where there is none."""
    for _ in range(_DEEPEST):
        if isinstance(value, FunctionType) and "__wrapped__" not in vars(value):
            return value
        match value:
            case property():
                value = value.fget
            case classmethod() | staticmethod() | types.MethodType():
                value = value.__func__
            case functools.partial() | functools.cached_property():
                value = value.func
            case _:
                value = _inside(value)
    return None


def _inside(value: Any) -> Any:
    if is_unmade(value):
        return None
    try:
        own = vars(value) if hasattr(type(value), "__dict__") else {}
        return own.get("method") or getattr(value, "__wrapped__", None)  # Equinox keeps methods so
    except Exception:  # an object of the user's, which answers as it likes
        return None


def _cells(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            yield None
