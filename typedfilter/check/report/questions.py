"""The questions that source code asks: which sizes are equal, whether an array is traced, which dtype it has.

Knows syntax trees, and evaluates the sides of a comparison where that runs no code of the user's; knows
nothing of symbols.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import linecache
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

# What only a tracer has, or only an array, and what tells the two apart.
_TRACERS = {
    *("Tracer", "is_concrete", "get_aval", "aval", "_trace", "is_fully_addressable", "is_fully_replicated"),
    *("addressable_shards", "addressable_data", "devices", "is_deleted", "is_ready"),
    *("on_device_size_in_bytes", "unsafe_buffer_pointer"),
}
_DTYPES = {"dtype", "itemsize", "issubdtype", "isdtype"}
_EQUAL = (ast.Eq, ast.NotEq)
_PLAIN = (
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Constant,
    ast.Tuple,
    ast.BinOp,
    ast.UnaryOp,
    ast.Slice,
    ast.expr_context,
    ast.operator,
    ast.unaryop,
)
_CONTAINERS = (tuple, list, dict, set, frozenset)
_CALLED = {"len", "int", "tuple", "list"}


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """One, as it stands in the source."""

    # `equal`, `in` and `key`: two sides; `true`: one; `match`: one that is set beside patterns. `tracer` and
    # `dtype` say what is looked at; `caught`: an error is handled; `suppressed`: some are not to be
    kind: str
    nodes: tuple[ast.expr, ...] = ()  # its sides

    @functools.cached_property
    def _code(self) -> tuple[CodeType, ...] | None:
        if self.kind == "match" or not all(map(_is_plain, self.nodes)):
            return None
        return tuple(compile(ast.Expression(node), "<question>", "eval") for node in self.nodes)

    def sides(self, frame: FrameType) -> list[tuple[Any, Any]] | None:
        """What is compared with what in a frame that is about to ask; None where that can't be known."""
        if self._code is None:
            return None
        try:
            values = [eval(code, frame.f_globals, frame.f_locals) for code in self._code]
        except (
            Exception
        ):  # a condition before it keeps it from being asked, or it is about what is made later
            return []
        if self.kind == "true":
            return [(values[0], 0)] if not isinstance(values[0], bool) else []
        if self.kind == "equal":
            return [(values[0], values[1])]
        inside = values[1]
        if self.kind == "key" and not isinstance(inside, dict):
            return []
        return [(values[0], one) for one in inside] if isinstance(inside, _CONTAINERS) else None

    def may_be_about(self, frame: FrameType, wanted: Callable[[Any], bool]) -> bool:
        """Whether a name in it stands for something that is wanted, in this frame."""
        names = {n.id for node in self.nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
        return any(wanted(frame.f_locals[name]) for name in names.intersection(frame.f_locals))


def _is_plain(node: ast.expr) -> bool:
    """Whether evaluating it is nothing but looking at values."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            of_attribute = len(one.args) == 1 and isinstance(one.args[0], (ast.Attribute, ast.Name))
            called = isinstance(one.func, ast.Name) and one.func.id in _CALLED
            if not (called and of_attribute and not one.keywords):
                return False
        elif not isinstance(one, _PLAIN):
            return False
    return True


def questions_of(file: str) -> Mapping[int, list[Question]]:
    """The questions in a file, by line."""
    return _questions(_Text(file, linecache.getlines(file)))


class _Text:
    """The lines of a file as they were read once; whoever asks for each line that runs compares no texts."""

    def __init__(self, file: str, lines: list[str]) -> None:
        self.file = file
        self.lines = lines

    def __hash__(self) -> int:
        return hash(self.file)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and self.file == other.file and self.lines is other.lines


@functools.lru_cache(maxsize=1024)  # all of the user's files that a function reaches, again for each function
def _questions(text: _Text) -> Mapping[int, list[Question]]:
    found: dict[int, list[Question]] = {}
    try:
        tree = ast.parse("".join(text.lines))
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        place = node.body[0] if isinstance(node, ast.ExceptHandler) else node
        for question in _asked_by(node):
            found.setdefault(getattr(place, "lineno", 0), []).append(question)
    return found


def _asked_by(node: ast.AST) -> Iterator[Question]:
    match node:
        case ast.Compare():
            yield from _compared(node)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) | ast.Assert(test=test):
            yield from _truth(test)
        case ast.BoolOp(values=values):
            yield from (question for value in values for question in _truth(value))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _truth(operand)
        case ast.Match(subject=subject, cases=cases):
            if any(isinstance(one, ast.MatchValue) for case in cases for one in ast.walk(case.pattern)):
                yield Question("match", (subject,))
            yield from _named(node)
        case ast.ExceptHandler():
            yield Question("caught")
        case (
            ast.Subscript(value=value, slice=key)
            | ast.Call(func=ast.Attribute(value=value, attr="get"), args=[key, *_])
        ):
            if {"shape", "size", "ndim"} & set(_words(key)):
                yield Question("key", (key, value))
        case ast.Call() | ast.Attribute():
            yield from _named(node)
            if isinstance(node, ast.Call) and _is_called(node, ("suppress",)):
                yield Question("suppressed")
        case _:
            return


def _compared(node: ast.Compare) -> Iterator[Question]:
    sides = [node.left, *node.comparators]
    for operator, one, other in zip(node.ops, sides, sides[1:], strict=False):
        if isinstance(operator, _EQUAL):
            yield Question("equal", (one, other))
        elif isinstance(operator, (ast.In, ast.NotIn)):
            yield Question("in", (one, other))
    words = set(_words(node))
    if words & _DTYPES:
        yield Question("dtype")
    if any(_is_type_of(one) for one in ast.walk(node)):
        yield Question("tracer")


def _truth(node: ast.expr) -> Iterator[Question]:
    if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp)):
        yield Question("true", (node,))


def _named(node: ast.AST) -> Iterator[Question]:
    """That tracers or dtypes are looked at: by name, or by an attribute that only one of two has."""
    if isinstance(node, ast.Attribute):
        words = {node.attr}
    elif isinstance(node, ast.Call):
        words = set(_words(node)) if _is_called(node, ("isinstance", "hasattr", "getattr")) else set[str]()
        words |= {"issubdtype"} if _is_called(node, ("issubdtype", "isdtype")) else set()
    else:
        words = {word for case in getattr(node, "cases", ()) for word in _words(case.pattern)}
    if words & _TRACERS:
        yield Question("tracer")
    if words & {"issubdtype", "itemsize"}:
        yield Question("dtype")


def _words(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def _is_called(node: ast.Call, names: tuple[str, ...]) -> bool:
    called = node.func
    word = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    return word in names


def _is_type_of(node: ast.AST) -> bool:
    """Whether it is the class of a value: `type(x)` of something that is looked at, `x.__class__`."""
    if isinstance(node, ast.Call):
        return _is_called(node, ("type",)) and len(node.args) == 1
    return isinstance(node, ast.Attribute) and node.attr == "__class__"
