"""The lines of some functions, told as they run; and which of the user's functions another one may reach.

Python tells lines of chosen code alone from 3.12 on, which costs next to nothing; before, a trace function is
called for each call. Knows code objects; knows nothing of what is asked.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeAlias

from typedfilter._values.code import is_installed
from typedfilter.check.inputs.unmade import is_unmade
from typedfilter.check.trials.raised import is_users

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
    owner = file if is_installed(file) else ""
    every: list[Any] = list(sys.modules.values())  # what can't be hashed no `import` has made
    modules = tuple(one for one in every if isinstance(one, Hashable) and _is_of_users(one, owner))
    known = _named(modules, tuple(len(vars(one)) for one in modules), owner)
    cells: Iterable[tuple[str, Any]] = zip(root.__code__.co_freevars, _cells(root), strict=True)
    if not any(vars(one) is root.__globals__ for one in modules):
        cells = (*root.__globals__.items(), *cells)
    own: dict[str, list[CodeType]] = {}
    for name, code in _codes_in(cells):
        if is_users(code.co_filename, file):
            own.setdefault(name, []).append(code)
    found: dict[int, CodeType] = {}
    waiting = [root.__code__, *known.get("", ())]
    for code in waiting:  # it grows on the way
        if id(code) not in found:
            found[id(code)] = code
            for name in (*code.co_names, *code.co_freevars):
                waiting += (*known.get(name, ()), *own.get(name, ()))
            waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
    return list(found.values())


@functools.lru_cache(maxsize=8192)  # JAX alone has more than a thousand modules
def _is_of_users(module: Any, owner: str) -> bool:
    named = isinstance(getattr(module, "__dict__", None), dict)
    return named and is_users(getattr(module, "__file__", None) or "<", owner)


@functools.lru_cache(maxsize=4)
def _named(
    modules: tuple[types.ModuleType, ...], lengths: tuple[int, ...], owner: str
) -> Mapping[str, tuple[CodeType, ...]]:
    """The code in all modules of the user's, by name; that of `__call__` and the like by the empty one.

    Args:
        modules: of the user's.
        lengths: how many names each has: what has more by now is looked at again.
        owner: the file under test where that is an installed one, which is the user's then.
    """
    found: dict[str, dict[int, CodeType]] = {}
    for module, length in zip(modules, lengths, strict=True):
        for name, code in _codes_of_module(module, length):
            if is_users(code.co_filename, owner):
                found.setdefault("" if name.startswith("__") else name, {})[id(code)] = code
    return {name: tuple(codes.values()) for name, codes in found.items()}


@functools.lru_cache(maxsize=512)  # a module that a function imports while it runs makes not all others new
def _codes_of_module(module: types.ModuleType, length: int) -> tuple[tuple[str, CodeType], ...]:
    return tuple(_codes_in(vars(module).items()))


def _codes_in(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, CodeType]]:
    """The code of functions, and of the methods of classes, by the name that they have there."""
    waiting: list[type] = []
    for name, value in list(items):
        if isinstance(value, type):
            waiting.append(value)
        else:
            yield from _code_of(name, value)
    seen: set[int] = set()
    for cls in waiting:  # it grows on the way
        if id(cls) not in seen:
            seen.add(id(cls))
            codes, inner = _codes_of_class(_Same(cls))
            yield from codes
            waiting += inner


class _Same:
    """A class that is equal to itself alone, whatever its metaclass says."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def __hash__(self) -> int:
        return id(self.cls)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.cls is other.cls


@functools.lru_cache(maxsize=2048)  # modules import each other's classes, and Python's
def _codes_of_class(same: _Same) -> tuple[tuple[tuple[str, CodeType], ...], tuple[type, ...]]:
    """The code of the methods of a class, and the classes in it."""
    items = list(vars(same.cls).items())
    codes = (pair for name, value in items if not isinstance(value, type) for pair in _code_of(name, value))
    return tuple(codes), tuple(value for _, value in items if isinstance(value, type))


def _code_of(name: str, value: Any) -> Iterator[tuple[str, CodeType]]:
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
