"""The attributes that the user's code reads while a trial runs.

A field that could not be made can't be read by the user's own code, whatever it does with it afterwards: `is`
asks nobody. And a field that nobody read makes no difference: what else it may be need not be tried.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import sys
import types
from collections.abc import Generator
from pathlib import Path
from typing import Any

from typedfilter._values.code import is_installed, is_ours
from typedfilter.check.inputs.unmade import TOUCHED, UnbuildableError, is_unmade, use

# Their classes and transforms read every field of every instance, to take it apart and to put it together.
_INDIFFERENT = frozenset({"jax", "jaxlib", "equinox", "flax", "jaxtyping", "beartype"})


class Watch:
    """What is read while one trial runs.

    Attributes:
        file: of the function under test.
        read: the fields that somebody has read, as `Class.field`.
    """

    def __init__(self, file: str, read: set[str]) -> None:
        self.file = file
        self.read = read
        self._hooked: dict[tuple[type, str], Any] = {}

    def hook(self, cls: type, name: str) -> None:
        """See reads of an attribute of the instances of a class."""
        if (cls, name) in self._hooked:
            return
        self._hooked[cls, name] = vars(cls).get(name, _NOTHING)
        type.__setattr__(cls, name, _Attribute(cls, name, self))

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
    """An attribute that is remembered when it is read, and that the user can't read while it is unmade."""

    def __init__(self, cls: type, name: str, watch: Watch) -> None:
        before = inspect.getattr_static(cls, name, _NOTHING)
        self.name = name
        self.before = before
        self.watch = watch
        self.key = field_key(cls, name)
        self.slot = isinstance(before, types.MemberDescriptorType) or issubclass(cls, tuple)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        value = self._value(instance, owner)
        if instance is not None and (is_unmade(value) or self.key not in self.watch.read):
            reader = _reader()
            if is_unmade(value) and (reader == self.watch.file or not is_installed(reader)):
                use(value)
            if reader == self.watch.file or not _is_indifferent(reader):
                self.watch.read.add(self.key)
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


def _reader() -> str:
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name in ("__getattribute__", "__getattr__"):
        frame = frame.f_back
    return "<" if frame is None else frame.f_code.co_filename


def _is_indifferent(file: str) -> bool:
    return file.startswith("<") or is_ours(file) or not _INDIFFERENT.isdisjoint(Path(file).parts)


def field_key(cls: type, name: str) -> str:
    """What a field is called by everybody who asks whether it was read."""
    return f"{cls.__qualname__}.{name}"


@contextlib.contextmanager
def watching(file: str, read: set[str]) -> Generator[Watch]:
    """Remember what is read, and what is used of values that could not be made; raise that in the end.

    Raises:
        UnbuildableError: the code under test has caught the one that a use raised.
    """
    watch, touched = Watch(file, read), list[UnbuildableError]()
    tokens = _WATCH.set(watch), TOUCHED.set(touched)
    try:
        yield watch
    except Exception as error:
        if touched and error is not touched[0]:
            raise touched[0] from error
        raise
    finally:
        _WATCH.reset(tokens[0])
        TOUCHED.reset(tokens[1])
        watch.unhook()
    if touched:
        raise touched[0]


def hook(instance: Any, name: str) -> None:
    """See reads of a field of an instance, if a trial is being watched."""
    watch = _WATCH.get()
    if watch is not None:
        watch.hook(type(instance), name)
