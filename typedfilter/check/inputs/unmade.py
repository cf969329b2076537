"""What stands in the place of a value that can't be made: every use of it says so, and is remembered.

A comparison that answers would silently take one branch. `is` asks nobody: for that, see `watch`.
"""

from __future__ import annotations

import contextvars
import sys
from typing import Any

from typedfilter._values.code import is_installed

TOUCHED: contextvars.ContextVar[list[Any] | None] = contextvars.ContextVar("touched", default=None)
"""What was used of what could not be made, by the trial that runs."""


class UnbuildableError(Exception):
    """No value can be made; `fix` says what to add."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


class RefusedError(UnbuildableError):
    """A constructor that is not under test refuses what was made for it."""


class Unmade:
    """In the place of a value that can't be made: whatever is done with it says so."""

    __slots__ = ("_problem",)

    def __init__(self, problem: UnbuildableError) -> None:
        object.__setattr__(self, "_problem", problem)

    def __getattr__(self, name: str) -> Any:
        _use(self)

    def __setattr__(self, name: str, value: Any) -> None:
        _use(self)

    @property  # type: ignore[misc]  # a class may say anything of itself
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # likewise
        # isinstance asks for it. A library may: it then sees what it does not know.
        return _use(self) if _is_asked_by_user() else Unmade


def _use(unmade: Unmade, *args: Any, **kwargs: Any) -> Any:
    problem: UnbuildableError = object.__getattribute__(unmade, "_problem")
    touched = TOUCHED.get()
    if touched is not None:
        touched.append(problem)
    raise problem


def _is_asked_by_user() -> bool:
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.endswith(("abc>", "abc.py")):
        frame = frame.f_back
    return not is_installed(frame.f_code.co_filename)


_USES = (
    "call bool len iter next reversed contains getitem setitem delitem missing hash repr str bytes format "
    "eq ne lt le gt ge index int float complex round trunc floor ceil neg pos abs invert length_hint "
    "enter exit await dir array"
)
_BINARY = "add sub mul truediv floordiv mod divmod pow matmul lshift rshift and or xor"
for _name in _USES.split():
    setattr(Unmade, f"__{_name}__", _use)
for _name in _BINARY.split():
    for _prefix in ("", "r", "i"):
        setattr(Unmade, f"__{_prefix}{_name}__", _use)


def use(unmade: Any) -> Any:
    """What is done with a value that could not be made.

    Raises:
        UnbuildableError: that it could not.
    """
    return _use(unmade)


def is_unmade(value: Any) -> bool:
    """Whether a value stands for one that can't be made; asked in a way that it can't refuse."""
    return type(value) is Unmade
