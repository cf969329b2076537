"""The numbers that a function mentions: sizes at which it may do something else.

A symbol never equals a number, so that `if n == 128` looks decided to it; trials at these sizes see
what symbols do not. Looked for in the function, the functions in it, those of its module that it calls, the
module's own numbers, and the dimensions of the signature.
"""

from __future__ import annotations

import dis
import re
import types
from collections.abc import Iterator

from typedfilter._values.code import codes_of
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.nodes import GivenNode, walk
from typedfilter.check.inputs.signature import Signature

_LARGEST = 4096
_MOST_COMPARED = 6
_MOST_OTHERS = 4
_DEEPEST = 3  # calls from one function of the module to another


def numbers_of(signature: Signature) -> list[int]:
    """Numbers to try as sizes, each with its successor: those that are compared or divide, then others."""
    compared = list(_in_dimensions(signature))
    others: list[int] = []
    for number, decides in _in_code(signature.subject.root, _DEEPEST, set()):
        (compared if decides else others).append(number)
    numbers = [*_some(compared, _MOST_COMPARED), *_some(others, _MOST_OTHERS)]
    offered = _some(offered_by(signature), _MOST_OTHERS)
    tried = [size for number in numbers for size in (number, number + 1)]
    return list(dict.fromkeys([*tried, *(size for number in offered for size in (number, 2 * number))]))


def offered_by(signature: Signature) -> list[int]:
    """The whole numbers that the signature itself offers: defaults, the values of a `Literal`."""
    nodes = (node for p in signature.parameters for node in walk(p.node))
    return [node.value for node in nodes if isinstance(node, GivenNode) and type(node.value) is int]


def _some(numbers: list[int], most: int) -> list[int]:
    """The smallest, each once."""
    return sorted({number for number in numbers if 1 < number <= _LARGEST})[:most]


def _in_dimensions(signature: Signature) -> Iterator[int]:
    said = [parameter.type for parameter in signature.parameters]
    for kind in (*said, signature.returns):
        for array in _types.arrays_in(kind):
            for dim in array.dims:
                if dim.kind == "expression":
                    yield from map(int, re.findall(r"(?<![\w.])\d+(?![\w.])", dim.text))


def _in_code(
    function: types.FunctionType, depth: int, seen: set[types.CodeType]
) -> Iterator[tuple[int, bool]]:
    """Each number that a function mentions, and whether it is compared with something, or divides it."""
    globals_, closure = function.__globals__, _closed_over(function)
    for code in codes_of(function.__code__):
        if code in seen:
            continue
        seen.add(code)
        instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "NOP", "PRECALL")]
        for here, after in zip(instructions, [*instructions[1:], None], strict=True):
            value = here.argval
            if here.opname.startswith("LOAD_") and isinstance(value, str):
                value = closure.get(value, globals_.get(value))
            if type(value) is int and here.opname.startswith("LOAD_"):
                yield value, after is not None and _decides(after)
            elif isinstance(value, types.FunctionType) and value.__module__ == function.__module__ and depth:
                yield from _in_code(value, depth - 1, seen)


def _decides(instruction: dis.Instruction) -> bool:
    return instruction.opname in ("COMPARE_OP", "CONTAINS_OP") or (
        instruction.opname.startswith("BINARY_") and instruction.argrepr in ("%", "//", "")
    )


def _closed_over(function: types.FunctionType) -> dict[str, object]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found: dict[str, object] = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found
