"""The source of a function: its `def` line, where its annotations stand, and whether it asks to be ignored.

Knows files and syntax trees; knows nothing of values or verdicts.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import linecache
import re

from typedfilter.check.report.results import Span

_IGNORE = re.compile(r"#\s*typedfilter:\s*ignore\b")


@dataclasses.dataclass(frozen=True)
class Function:
    """One `def` in a file."""

    file: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def line(self) -> int:
        """The line of the `def`."""
        return self.node.lineno

    @property
    def ignored(self) -> bool:
        """Whether a line of the signature (or of a decorator) says `# typedfilter: ignore`."""
        first = min([self.node.lineno, *(d.lineno for d in self.node.decorator_list)])
        last = self.node.body[0].lineno - 1 if self.node.body else self.node.lineno
        lines = linecache.getlines(self.file)[first - 1 : max(last, self.node.lineno)]
        return any(_IGNORE.search(line) and not line.lstrip().startswith("#") for line in lines)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but `...` in it, after a docstring perhaps."""
        return all(
            isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in self.node.body
        ) and any(
            isinstance(n, ast.Constant) and n.value is ... for line in self.node.body for n in ast.walk(line)
        )

    def span(self, parameter: str) -> Span | None:
        """Where the annotation of a parameter (or the return) begins; to the end of its first line."""
        annotation = self._annotation(parameter.partition("[")[0].partition(".")[0])
        return None if annotation is None else span_of(self.file, annotation)

    def _annotation(self, parameter: str) -> ast.expr | None:
        if parameter == "return":
            return self.node.returns
        arguments = self.node.args
        every = [
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        ]
        return next((a.annotation for a in every if a is not None and a.arg == parameter), None)


def span_of(file: str, annotation: ast.expr) -> Span:
    """Where an annotation stands; to the end of its first line."""
    line = linecache.getline(file, annotation.lineno).rstrip("\n")
    column = _column(line, annotation.col_offset)
    one_line = annotation.end_lineno == annotation.lineno and annotation.end_col_offset is not None
    end = _column(line, annotation.end_col_offset or 0) if one_line else len(line)
    return Span(file, annotation.lineno, column, end)


def _column(line: str, offset: int) -> int:
    """Syntax trees count bytes; people and terminals count characters."""
    return len(line.encode()[:offset].decode(errors="ignore"))


@functools.lru_cache(maxsize=256)
def _functions(file: str, text: str) -> tuple[Function, ...]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return tuple(Function(file, node) for node in ast.walk(tree) if isinstance(node, kinds))


def function_at(file: str, line: int, name: str) -> Function | None:
    """The `def` of `name` that begins (with its decorators) on a line."""
    text = "".join(linecache.getlines(file))
    for function in _functions(file, text):
        node = function.node
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        if first <= line <= node.lineno and node.name == name:
            return function
    return None


def line_text(file: str, line: int) -> str:
    """A line of a file, without its end; empty where there is none."""
    return linecache.getline(file, line).rstrip("\n")
