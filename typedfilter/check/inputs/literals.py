"""The strings that a function compares something with: the values that it knows.

Reads source, not bytecode, whose instructions change from one Python to the next.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any


def strings_for(name: str, functions: Iterable[Any]) -> tuple[str, ...]:
    """The strings that a variable or an attribute of this name is compared with, each once."""
    found = (text for function in functions for text in _in_function(function, name))
    return tuple(dict.fromkeys(found))


def _in_function(function: Any, name: str) -> Iterator[str]:
    written = inspect.unwrap(function)
    tree = _tree(written) if inspect.isfunction(written) else None
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(_is(side, name) for side in sides):
                yield from (text for side in sides for text in _texts(side))
        elif isinstance(node, ast.Match) and _is(node.subject, name):
            yield from (text for case in node.cases for text in _texts(case.pattern))
        elif isinstance(node, ast.Subscript) and _is(node.slice, name) and isinstance(node.value, ast.Dict):
            yield from (text for key in node.value.keys if key is not None for text in _texts(key))


def _is(node: ast.AST, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (
        isinstance(node, ast.Attribute) and node.attr == name
    )


def _texts(node: ast.AST) -> Iterator[str]:
    """The strings in a constant, or in a tuple, list, set or pattern of constants."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


@functools.lru_cache(maxsize=256)
def _tree(function: Any) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
