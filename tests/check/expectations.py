"""The corpus: each function in `corpus/`, with the verdict that the comment above it expects."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*.py"))


@dataclasses.dataclass(frozen=True)
class Expected:
    """What is expected of one function: its verdict, and what the text of the verdict mentions."""

    file: str
    function: str
    status: str
    mentions: str

    def __str__(self) -> str:
        return f"{self.file}::{self.function}"


def expectations() -> list[Expected]:
    return [expected for file in FILES for expected in _in_file(file)]


def _in_file(file: Path) -> list[Expected]:
    text = file.read_text()
    lines = text.splitlines()
    found: list[Expected] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.FunctionDef | ast.Assign):
                first = min([child.lineno, *(d.lineno for d in getattr(child, "decorator_list", ()))])
                match = re.match(r"\s*# (proved|checked|failed)(?:: (.*))?$", lines[first - 2])
                if match:
                    name = child.name if isinstance(child, ast.FunctionDef) else ast.unparse(child.targets[0])
                    found.append(Expected(file.name, f"{prefix}{name}", match[1], match[2] or ""))

    visit(ast.parse(text), "")
    return found
