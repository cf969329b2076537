"""What a frozen class answers to an assignment: how to make a changed copy, or what was meant."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from typedfilter._wrapping.frames import ends_at_caller


# Python's own say no fix, and those of 3.11 for classes with slots raise a TypeError: their super() is the
# class without slots.
@ends_at_caller
def refuse_assignment(self: Any, name: str, value: Any) -> None:
    """The `__setattr__` of a frozen dataclass."""
    names = [field.name for field in dataclasses.fields(self)]
    near = next(iter(difflib.get_close_matches(name, names, 1)), "")
    if name not in names and near:
        fix = f"did you mean {near!r}? Make a changed copy: dataclasses.replace(x, {near}=value)"
    elif name not in names:
        fix = f"declare it as a field: `{name}: ...`, and make a changed copy: dataclasses.replace"
    elif name in vars(self) if hasattr(self, "__dict__") else hasattr(self, name):
        fix = f"make a changed copy: dataclasses.replace(x, {name}=value)"
    else:
        fix = f"in an __init__ of your own, write object.__setattr__(self, {name!r}, value)"
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}\n  fix: {fix}")


@ends_at_caller
def refuse_deletion(self: Any, name: str) -> None:
    """The `__delattr__` of a frozen dataclass."""
    fix = f"make a changed copy: dataclasses.replace(x, {name}=None)"
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}\n  fix: {fix}")
