"""What fields of settings hold where a function asks something else of them: members of unions, defaults.

Which of the types of a field goes with what else is set no annotation says: nobody is blamed for that. Of
`self` the class is to mind it, and of a parameter whoever wrote its type. Knows cases and problems.
"""

from __future__ import annotations

from collections.abc import Iterator

import typing_extensions

from typedfilter.check.inputs import layout
from typedfilter.check.inputs.nodes import GivenNode, Point, walk
from typedfilter.check.inputs.signature import Letter
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.problem import Lacks, Raised, WrongResult

_NO_NONE = "say so in the type of the field, or refuse None with a `raise`"
_APART = "give those who hold something else a class of their own, or refuse them with a `raise`"


def held_instead(tried: Tried) -> Iterator[str]:
    """The fields that hold an instance of which more is asked than it is, and of what type it is."""
    cls = _met(tried)
    name = _name(cls)
    for point, option in _members(tried, name):
        if tried.layout.used.get(point.key) == option:
            yield f"`{_label(point, option)}` {'None' if name == 'None' else f'of type {name}'}"
    for parameter in tried.signature.parameters:
        for node in walk(parameter.node):
            if isinstance(node, GivenNode) and node.is_field_default and type(node.value) is cls:
                yield f"`{node.label}` its default"


def held_otherwise(tried: Tried) -> Iterator[Letter]:
    """That these fields are not None; or that no field of that argument holds such an instance."""
    if tried.problem is not None and "None" in tried.problem.message:
        name, fix = "None", _NO_NONE
    else:
        name, fix = _name(_met(tried)), _APART
    every = list(_members(tried, name))
    here = [(point, option) for point, option in every if tried.layout.used.get(point.key) == option]
    if here and name == "None":
        labels = dict.fromkeys(f"`{_label(point, option)}`" for point, option in here)
        yield Letter(f"where {' and '.join(labels)} is not None", fix, without=_keys(here))
    elif here:  # who can't do with one such field hardly can with another, and each reading takes its time
        owners = dict.fromkeys(f"`{_label(*one).partition('.')[0]}`" for one in every)
        yield Letter(f"where no field of {' and '.join(owners)} is a {name}", fix, without=_keys(every))


def _keys(members: list[tuple[Point, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((point.key, option) for point, option in members)


def _label(point: Point, option: int) -> str:
    return point.options[option].partition(": ")[0]


def _met(tried: Tried) -> type | None:
    """The class of what lacks an attribute that is asked for, or of what a result is not to hold."""
    match tried.problem:
        case Raised(cause=Lacks(cls)) | WrongResult(instead=cls):
            return cls
        case _:
            return None


def _name(cls: type | None) -> str:
    return "" if cls is None else "None" if cls is type(None) else cls.__name__


def _members(tried: Tried, name: str) -> Iterator[tuple[Point, int]]:
    """The choices of fields, not of `self`, that have a member of this name, and which it is."""
    for point in layout.points_of(tried.signature):
        for option, text in enumerate(point.options):
            label, _, member = text.partition(": ")
            if name and member == name and "." in label and not label.startswith("self."):
                yield point, option


OVERLOADED = "its overloads say which arguments go together, and its own annotations do not"
APART = "say it in the annotations of the function itself, or check a function for each overload"


def is_overloaded(tried: Tried) -> bool:
    """Whether a function has overloads, whose annotations callers see instead of its own."""
    return bool(typing_extensions.get_overloads(tried.signature.subject.root))
