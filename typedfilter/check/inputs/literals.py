"""The strings that a function compares something with: the values that it knows.

Reads source, not bytecode, whose instructions change from one Python to the next. A helper that is given
the string is read as well, and so is a table that it is looked up in.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

_DEEPEST = 3  # from a function to a helper
_TESTS = ("startswith", "endswith")
_TABLES = (dict, set, frozenset, list, tuple)


def strings_for(name: str, functions: Iterable[Any]) -> tuple[str, ...]:
    """The strings that a variable or an attribute of this name is compared with, each once."""
    found = (text for source in _sources(name, functions) for text in source.strings())
    return tuple(dict.fromkeys(found))


def is_looked_up(name: str, functions: Iterable[Any]) -> bool:
    """Whether strings of this name are the keys of a table: no other string is one, then."""
    return any(source.is_key(node) for source in _sources(name, functions) for node in ast.walk(source.tree))


@dataclasses.dataclass(frozen=True)
class _Source:
    """A function, and what the string is called in it."""

    function: FunctionType
    tree: ast.AST
    name: str

    def means(self, node: ast.AST) -> bool:
        """Whether an expression is the string."""
        return (isinstance(node, ast.Name) and node.id == self.name) or (
            isinstance(node, ast.Attribute) and node.attr == self.name
        )

    def is_key(self, node: ast.AST) -> bool:
        """Whether the string is looked up here."""
        return isinstance(node, ast.Subscript) and self.means(node.slice)

    def strings(self) -> Iterator[str]:
        """What it is compared with."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                if any(map(self.means, sides)):
                    yield from (text for side in sides for text in self._texts(side))
            elif isinstance(node, ast.Match) and self.means(node.subject):
                yield from (text for case in node.cases for text in self._texts(case.pattern))
            elif isinstance(node, ast.Subscript) and self.means(node.slice):
                yield from self._keys(node.value)
            elif isinstance(node, ast.Call) and self._is_test(node.func):
                yield from (text for argument in node.args for text in self._texts(argument))

    def _is_test(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in _TESTS and self.means(node.value)

    def _keys(self, node: ast.expr) -> Iterator[str]:
        if isinstance(node, ast.Dict):
            yield from (text for key in node.keys if key is not None for text in self._texts(key))
        else:
            yield from self._texts(node)

    def _texts(self, node: ast.AST) -> Iterator[str]:
        """The strings in constants, in containers and patterns of those, in a table of the module."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield inner.value
            elif isinstance(inner, ast.Name) and not self.means(inner):
                value = self.value_of(inner)
                held: Iterable[Any] = value if isinstance(value, _TABLES) else ()
                yield from (text for text in held if isinstance(text, str))

    def value_of(self, node: ast.expr) -> Any:
        """What a name of the module, or of a function around this one, means; None for any other."""
        if not isinstance(node, ast.Name):
            return None
        known = inspect.getclosurevars(self.function)
        return {**known.globals, **known.nonlocals}.get(node.id)


def _sources(name: str, functions: Iterable[Any]) -> Iterator[_Source]:
    """The functions, and the helpers that they hand the string to."""
    waiting = [(inspect.unwrap(function), name, 0) for function in functions]
    seen: set[tuple[int, str]] = set()
    for function, called, depth in waiting:  # it grows on the way
        tree = tree_of(function) if isinstance(function, FunctionType) else None
        if tree is None or (id(function), called) in seen:
            continue
        seen.add((id(function), called))
        source = _Source(function, tree, called)
        yield source
        if depth < _DEEPEST:
            waiting += ((helper, other, depth + 1) for helper, other in _helpers(source))


def _helpers(source: _Source) -> Iterator[tuple[FunctionType, str]]:
    """The functions of the same module that are called with the string, and what they call it."""
    for node in ast.walk(source.tree):
        given = [*node.args, *(one.value for one in node.keywords)] if isinstance(node, ast.Call) else []
        if not isinstance(node, ast.Call) or not any(map(source.means, given)):
            continue
        helper = source.value_of(node.func)
        if isinstance(helper, FunctionType) and helper.__module__ == source.function.__module__:
            names = helper.__code__.co_varnames[: helper.__code__.co_argcount]
            yield from ((helper, n) for n, one in zip(names, node.args, strict=False) if source.means(one))
            yield from ((helper, one.arg) for one in node.keywords if one.arg and source.means(one.value))


@functools.lru_cache(maxsize=256)
def tree_of(function: FunctionType) -> ast.AST | None:
    """The parsed source of a function; None where there is none."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
