"""What fields of settings hold where a function asks something else of them: members of unions, defaults.

Which of the types of a field goes with what else is set no annotation says: nobody is blamed for that. Of
`self` the class is to mind it, and of a parameter whoever wrote its type. Knows cases and problems.
"""

from __future__ import annotations

from collections.abc import Iterator

import typing_extensions

from typedfilter.check.inputs import layout
from typedfilter.check.inputs.nodes import GivenNode, walk
from typedfilter.check.trials.excuses import Tried


def held_instead(tried: Tried) -> Iterator[str]:
    """The fields that hold an instance which lacks an attribute that is asked for, and of what type it is."""
    lacking = tried.problem.lacking if tried.problem is not None else None
    if lacking is None:
        return
    name = "None" if lacking[0] is type(None) else lacking[0].__name__
    for point in layout.points_of(tried.signature):
        option = tried.layout.used.get(point.key)
        label, _, member = point.options[min(option or 0, len(point.options) - 1)].partition(": ")
        if option is not None and member == name and "." in label and not label.startswith("self."):
            yield f"`{label}` {'None' if name == 'None' else f'of type {name}'}"
    for parameter in tried.signature.parameters:
        for node in walk(parameter.node):
            if isinstance(node, GivenNode) and node.is_field_default and type(node.value) is lacking[0]:
                yield f"`{node.label}` its default"


OVERLOADED = "its overloads say which arguments go together, and its own annotations do not"
APART = "say it in the annotations of the function itself, or check a function for each overload"


def is_overloaded(tried: Tried) -> bool:
    """Whether a function has overloads, whose annotations callers see instead of its own."""
    return bool(typing_extensions.get_overloads(tried.signature.subject.root))
