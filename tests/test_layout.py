"""The architecture, read from the source: which module may import which, and how long anything may get."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SPEC = importlib.util.find_spec("typedfilter")  # found, not imported: the source is all that is read
assert SPEC is not None
PACKAGE = Path(str(SPEC.origin)).parent
ROOT = Path(__file__).parent.parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# The modules around which the others stand. All of them say their floor in their docstrings.
FLOORS = {
    "errors": 0,
    "annotations": 0,
    "vmap_axis": 0,
    "_compat": 0,
    "filters": 1,
    "_hints": 1,
    "_plan": 2,
    "_shapes": 2,
    "_split": 3,
    "_wrapper": 3,
    "transforms": 4,
    "explain": 5,
    "check": 5,
    "cli": 6,
    "__main__": 6,
    "demo": 6,
}
TOP_FLOOR = 6  # uses `typedfilter` as its users do


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The module or folder right below the package that a dotted name belongs to; '' for the package."""
    return module.split(".")[1] if "." in module else ""


def floor_of(module: str) -> int | None:
    """The floor that a module states, or that its folder states for all it holds."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    stated = re.search(r"\bFloor (\d)\b", ast.get_docstring(ast.parse(source.read_text())) or "")
    if stated:
        return int(stated[1])
    folder = module.rpartition(".")[0]
    return floor_of(folder) if folder else None


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, and `a.b` where it may be one (`from a import b`)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports; 'typedfilter' for what that exports."""
    known = {name_of(module) for module in MODULES}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "typedfilter")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "typedfilter":
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in known else str(node.module)


def docstring_lines(node: ast.AST) -> int:
    """How many lines the docstring of a module, class or function takes; 0 for anything else."""
    first = (
        node.body[0] if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body else None
    )
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return (first.end_lineno or 0) - first.lineno + 1
    return 0


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and its length in lines, without decorators and docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring_lines(node)


modules = pytest.mark.parametrize("path", MODULES, ids=name_of)


@modules
def test_every_module_says_its_floor_and_it_is_the_one_above(path: Path):
    module = name_of(path)
    if module != "typedfilter":  # which stands for all floors
        assert floor_of(module) is not None
        assert floor_of(module) == FLOORS.get(room_of(module), floor_of(module))


@modules
def test_imports_go_down_only(path: Path):
    module = name_of(path)
    floor = floor_of(module)
    if floor is None:
        return
    for imported in own_imports(path):
        above = floor_of(imported)
        assert (TOP_FLOOR if above is None else above) <= floor, f"{imported} is above {module}"


@modules
def test_transforms_do_not_import_each_other(path: Path):
    module = name_of(path)
    if room_of(module) == "transforms" and module != "typedfilter.transforms":
        assert [name for name in own_imports(path) if room_of(name) == "transforms"] == []


@modules
def test_only_public_jax_is_imported(path: Path):
    for name in imports_of(path):
        assert not name.startswith("jax._"), f"{name} is private"
        assert name.split(".")[0] != "jaxlib", f"{name} is not JAX's public face"


@modules
def test_private_jax_is_not_even_named(path: Path):
    assert "jax._src" not in path.read_text()


@modules
def test_jax_versions_are_told_apart_in_one_module_only(path: Path):
    if name_of(path) != "typedfilter._compat":
        assert "__version_info__" not in path.read_text()


@modules
def test_a_module_opens_with_what_it_owns(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring


@modules
def test_modules_stay_within_400_lines_and_transforms_within_200(path: Path):
    text = path.read_text()
    lines = len(text.splitlines()) - sum(docstring_lines(node) for node in ast.walk(ast.parse(text)))
    assert lines <= (200 if room_of(name_of(path)) == "transforms" else 400)


@modules
def test_functions_stay_within_50_lines(path: Path):
    assert [(name, lines) for name, lines in functions_of(path) if lines > 50] == []


def test_the_package_itself_has_no_logic():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    allowed = ast.ImportFrom | ast.Assign | ast.Expr
    assert [ast.unparse(node) for node in tree.body if not isinstance(node, allowed)] == []


def test_the_top_level_holds_what_the_layout_names():
    built = {"build", "dist", "__pycache__"}  # by tools, and ignored by git
    top = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert top - built == {"pyproject.toml", "typedfilter", "tests", "stubs", "README.md"}
