"""What stands in the place of a value that can't be made: every use of it says so, and is remembered.

A comparison that answers would silently take one branch. `is` asks nobody, so that the attribute itself
is watched while a trial runs: the user's own code can't read it, whatever it does with it afterwards.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import sys
import types
from collections.abc import Generator
from typing import Any

from typedfilter._values.code import is_installed


class UnbuildableError(Exception):
    """No value can be made; `fix` says what to add."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


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
    watch = _WATCH.get()
    if watch is not None:
        watch.touched.append(problem)
    raise problem


def _is_asked_by_user() -> bool:
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.endswith(("abc>", "abc.py")):
        frame = frame.f_back
    return not is_installed(frame.f_code.co_filename)


_USES = (
    "call bool len iter next reversed contains getitem setitem delitem missing hash repr str bytes format "
    "eq ne lt le gt ge index int float complex round trunc floor ceil neg pos abs invert length_hint "
    "enter exit await dir array jax_array"
)
_BINARY = "add sub mul truediv floordiv mod divmod pow matmul lshift rshift and or xor"
for _name in _USES.split():
    setattr(Unmade, f"__{_name}__", _use)
for _name in _BINARY.split():
    for _prefix in ("", "r", "i"):
        setattr(Unmade, f"__{_prefix}{_name}__", _use)


# ---------------------------------------------------------------------------------------------- watching


class Watch:
    """What was used of what could not be made, while one trial ran."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.touched: list[UnbuildableError] = []
        self._hooked: dict[tuple[type, str], Any] = {}

    def hook(self, cls: type, name: str) -> None:
        """See reads of an attribute of the instances of a class."""
        if (cls, name) in self._hooked:
            return
        self._hooked[cls, name] = vars(cls).get(name, _NOTHING)
        type.__setattr__(cls, name, _Attribute(name, inspect.getattr_static(cls, name, _NOTHING), self.file))

    def unhook(self) -> None:
        """Leave the classes as they were."""
        for (cls, name), value in self._hooked.items():
            if value is _NOTHING:
                type.__delattr__(cls, name)
            else:
                type.__setattr__(cls, name, value)
        self._hooked.clear()


_NOTHING: Any = object()
_WATCH: contextvars.ContextVar[Watch | None] = contextvars.ContextVar("watch", default=None)


class _Attribute:
    """An attribute that the user's own code can't read while it holds an `Unmade`."""

    def __init__(self, name: str, before: Any, file: str) -> None:
        self.name = name
        self.before = before
        self.file = file
        self.slot = isinstance(before, types.MemberDescriptorType)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        value = self._value(instance, owner)
        if type(value) is Unmade:
            frame: types.FrameType | None = sys._getframe(1)
            while frame is not None and frame.f_code.co_name in ("__getattribute__", "__getattr__"):
                frame = frame.f_back
            reader = "<" if frame is None else frame.f_code.co_filename
            if reader == self.file or not is_installed(reader):
                _use(value)
        return value

    def _value(self, instance: Any, owner: type | None) -> Any:
        if self.slot and instance is not None:
            return self.before.__get__(instance, owner)
        if instance is not None and self.name in vars(instance):
            return vars(instance)[self.name]
        if self.before is _NOTHING:
            raise AttributeError(f"{owner!r} has no attribute {self.name!r}")
        get = getattr(type(self.before), "__get__", None)
        return self.before if get is None else get(self.before, instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        if self.slot:
            self.before.__set__(instance, value)
        else:
            vars(instance)[self.name] = value

    def __delete__(self, instance: Any) -> None:
        if self.slot:
            self.before.__delete__(instance)
        else:
            del vars(instance)[self.name]


@contextlib.contextmanager
def watching(file: str) -> Generator[Watch]:
    """Remember what is used of values that could not be made; raise it in the end, if nothing else is.

    Raises:
        UnbuildableError: the code under test has caught the one that a use raised.
    """
    watch = Watch(file)
    token = _WATCH.set(watch)
    try:
        yield watch
    except Exception as error:
        if watch.touched and error is not watch.touched[0]:
            raise watch.touched[0] from error
        raise
    finally:
        _WATCH.reset(token)
        watch.unhook()
    if watch.touched:
        raise watch.touched[0]


def is_unmade(value: Any) -> bool:
    """Whether a value stands for one that can't be made; asked in a way that it can't refuse."""
    return type(value) is Unmade


def hook(instance: Any, name: str) -> None:
    """See reads of a field of an instance that could not be made, if a trial is being watched."""
    watch = _WATCH.get()
    if watch is not None:
        watch.hook(type(instance), name)
