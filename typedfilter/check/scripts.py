"""What the text of a file says before anything of it runs, and how a script is read without running it.

A module is imported. A script does its work where it is imported, and nobody asked for that: of it, and of a
notebook, only definitions, imports and simple assignments are executed. What the rest would have made is
nothing that a function may use.
"""

from __future__ import annotations

import ast
import json
import linecache
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from typedfilter.check import buffers
from typedfilter.check.inputs.unmade import UnbuildableError, Unmade

NOTEBOOK = ".ipynb"


def tree_of(path: Path) -> ast.Module | None:
    """The syntax of a file; None where it has none, which importing it will tell."""
    try:
        return ast.parse(_text(path), str(path))
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, RecursionError, MemoryError):
        return None


def _text(path: Path) -> str | bytes:
    if path.suffix != NOTEBOOK:
        return buffers.read(path)  # a file may say its encoding
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n\n".join(map(_without_magics, texts)) + "\n"


def _without_magics(cell: str) -> str:
    """A cell without what is for IPython only: `%matplotlib inline`, `!pip install`, `%%bash`, `help?`."""
    lines = cell.splitlines()
    if cell.lstrip().startswith("%%"):
        return "\n" * (len(lines) - 1)
    return "\n".join(
        "" if line.lstrip().startswith(("%", "!")) or line.endswith("?") else line for line in lines
    )


def has_annotations(tree: ast.Module) -> bool:
    """Whether any function or class in a file is annotated; if none is, there is nothing to judge."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(isinstance(item, ast.AnnAssign) for item in node.body):
            return True
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            args = node.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            if node.returns is not None or any(arg is not None and arg.annotation for arg in every):
                return True
    return False


def is_script(tree: ast.Module) -> bool:
    """Whether importing a file does its work: loops at the top level, or calls of its own functions there."""
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return any(isinstance(node, ast.For | ast.While) or _calls(node, own) for node in tree.body)


def _calls(node: ast.stmt, own: set[str]) -> bool:
    if not isinstance(node, ast.Expr):
        return False
    called = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return any(isinstance(func, ast.Name) and func.id in own for func in called)


# --------------------------------------------------------------------------------------- reading a script


def module_of(name: str, path: Path, tree: ast.Module) -> types.ModuleType:
    """A module with what a script defines.

    Raises:
        Exception: whatever an import or a definition raises.
    """
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    if path.suffix == NOTEBOOK:  # whose lines are not those of the file
        lines = str(_text(path)).splitlines(keepends=True)
        linecache.cache[str(path)] = (sum(map(len, lines)), None, lines, str(path))
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    for node in tree.body:
        if node not in futures:
            _run(node, futures, path, vars(module))
    return module


def _run(node: ast.stmt, futures: list[ast.ImportFrom], path: Path, names: dict[str, object]) -> None:
    code = compile(ast.Module([*futures, node], []), str(path), "exec")
    if isinstance(node, ast.Assign | ast.AnnAssign):
        try:
            if any(isinstance(inner, ast.Call) for inner in ast.walk(node)) and not _is_named_type(node):
                raise _NotRunError
            exec(code, names)
        except Exception:
            names |= {name: Unmade(_not_run(name)) for name in _targets(node)}
    elif isinstance(node, _DEFINING) or _is_setting(node):
        exec(code, names)
    else:
        names |= {name: Unmade(_not_run(name)) for name in _targets(node) if name not in names}


class _NotRunError(Exception):
    pass


_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.If, ast.Try)


def _is_setting(node: ast.stmt) -> bool:
    """`jax.config.update(...)` decides what every function means."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func).endswith("config.update")


def _is_named_type(node: ast.Assign | ast.AnnAssign) -> bool:
    """`T = TypeVar("T")`, and what else only names a type or wraps a function that is there."""
    call = node.value
    made = ast.unparse(call.func).rpartition(".")[2] if isinstance(call, ast.Call) else ""
    return made in ("TypeVar", "ParamSpec", "NewType", "namedtuple", "NamedTuple") or made.startswith(
        "filter_"
    )


def _targets(node: ast.stmt) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id


def _not_run(name: str) -> UnbuildableError:
    return UnbuildableError(
        f"`{name}` is made at the top level of a script, which is not run",
        "make it in a function, or move the functions to a module and what runs under `if __name__ == ...`",
    )
