"""The architecture, read from the source: which folder may import which, and how long anything may get."""

from __future__ import annotations

import ast
import functools
import importlib.util
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

SPEC = importlib.util.find_spec("typedfilter")  # found, not imported: the source is all that is read
assert SPEC is not None
PACKAGE = Path(str(SPEC.origin)).parent
ROOT = Path(__file__).parents[2]
MODULES = sorted(PACKAGE.rglob("*.py"))
# What hands names on, because users import them from there.
FACES = {"typedfilter", "typedfilter.check", "typedfilter.testing"}
# Beside the core stands what is built on it: the commands and what they show.
AROUND = {"bench", "check", "cli", "demo", "docs", "explain", "mypy_plugin", "__main__", ""}

Graph = Mapping[str, set[str]]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The module or folder right below the package that a dotted name belongs to; '' for the package."""
    return module.split(".")[1] if "." in module else ""


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


NAMES = {name_of(path): path for path in MODULES}


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Every import of a file, wherever in it: the module, and the name taken from it ('' for none)."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from ((str(node.module), alias.name) for alias in node.names)


def own_imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports; 'typedfilter' for what that exports."""
    for module, name in imports_of(path):
        if module.split(".")[0] == "typedfilter":
            below = f"{module}.{name}"
            yield below if below in NAMES else module


def floors_of(graph: Graph) -> dict[str, int]:
    """How many floors each node of a graph of imports stands above the ground; circles are an error."""
    found: dict[str, int] = {}

    def floor(node: str, above: tuple[str, ...]) -> int:
        assert node not in above, f"a circle: {' -> '.join((*above[above.index(node) :], node))}"
        if node not in found:
            below = graph.get(node, set())
            found[node] = max((floor(one, (*above, node)) + 1 for one in below), default=0)
        return found[node]

    for node in graph:
        floor(node, ())
    return found


def docstring_lines(node: ast.AST) -> int:
    """How many lines the docstring of a module, class or function takes; 0 for anything else."""
    owner = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    first = node.body[0] if owner and node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return (first.end_lineno or 0) - first.lineno + 1
    return 0


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and its length in lines, without decorators and docstring."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1 - docstring_lines(node)
            yield f"{name_of(path)}.{node.name}", lines


def defined_in(path: Path) -> set[str]:
    """The names that a module, or the stub beside it, defines, at its top level or below an `if` there."""
    found: set[str] = set()
    stub = path.with_suffix(".pyi")
    nodes = [*ast.walk(tree_of(path)), *(ast.walk(tree_of(stub)) if stub.exists() else [])]
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


# ------------------------------------------------------------------------------------------------ imports


def test_folders_import_one_way_only_on_ten_floors_at_most():
    rooms: dict[str, set[str]] = {}
    for path in MODULES:
        room = room_of(name_of(path))
        others = {room_of(name) for name in own_imports(path)} - {room}
        if room:
            rooms.setdefault(room, set()).update(others)
    assert max(floors_of(rooms).values()) <= 10


def test_files_import_in_no_circle():
    floors_of({name_of(path): set(own_imports(path)) - {name_of(path)} for path in MODULES})


def test_the_files_of_the_core_stand_on_twelve_floors_at_most():
    core = {name for name in NAMES if room_of(name) not in AROUND}
    floors = floors_of({name: set(own_imports(NAMES[name])) & core - {name} for name in core})
    assert max(floors.values()) <= 12


def test_the_package_has_at_most_26_rooms():
    rooms = {
        path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert len(rooms - {"__init__.py"}) <= 26, sorted(rooms)


def test_imports_name_the_file_that_defines_a_name():
    handed_on = [
        f"{name_of(path)} takes {name} from {module}"
        for path in MODULES
        for module, name in imports_of(path)
        if module in NAMES and module not in FACES and f"{module}.{name}" not in NAMES
        if name not in defined_in(NAMES[module])
    ]
    assert handed_on == []


def test_only_modules_that_users_look_into_list_their_names():
    """Anywhere else an underscore says what others may use: a list is the same fact once more."""
    lists = {name_of(path) for path in MODULES if "__all__" in defined_in(path)}
    assert sorted(lists - FACES - {"typedfilter.mypy_plugin"}) == [
        f"typedfilter.{name}" for name in ("annotations", "errors", "filters", "pytree", "vmap_axis")
    ]


def test_transforms_do_not_import_each_other():
    siblings = [
        (name, other)
        for name, path in NAMES.items()
        if room_of(name) == "transforms"
        for other in own_imports(path)
        if room_of(other) == "transforms"
    ]
    assert siblings == []


def test_only_public_jax_is_imported_or_named():
    private = [
        (name_of(path), module)
        for path in MODULES
        for module, name in imports_of(path)
        if f"{module}.{name}".startswith("jax._") or module.split(".")[0] == "jaxlib"
    ]
    assert private == []
    assert [name for name, path in NAMES.items() if "jax._src" in path.read_text()] == []


def test_jax_versions_are_told_apart_in_one_module_only():
    found = [name for name, path in NAMES.items() if "__version_info__" in path.read_text()]
    assert found in ([], ["typedfilter._compat"])


# ------------------------------------------------------------------------------------------------ lengths


def test_a_module_and_a_folder_open_with_what_they_own():
    assert [name for name, path in NAMES.items() if not ast.get_docstring(tree_of(path))] == []
    private = [name for name, path in NAMES.items() if path.name == "__init__.py" and "._" in name]
    long = [name for name in private if "\n" in (ast.get_docstring(tree_of(NAMES[name])) or "")]
    assert long == []


def test_modules_stay_within_400_lines_and_transforms_within_200():
    long: list[tuple[str, int]] = []
    for name, path in NAMES.items():
        tree = tree_of(path)
        lines = len(path.read_text().splitlines()) - sum(docstring_lines(node) for node in ast.walk(tree))
        if lines > (200 if room_of(name) == "transforms" else 400):
            long.append((name, lines))
    assert long == []


def test_functions_stay_within_40_lines_and_most_are_far_shorter():
    found = [one for path in MODULES for one in functions_of(path)]
    assert [(name, lines) for name, lines in found if lines > 40] == []
    lengths = sorted(lines for _, lines in found)
    assert statistics.median(lengths) <= 5
    assert lengths[len(lengths) * 9 // 10] <= 15


def test_the_package_itself_has_no_logic():
    allowed = ast.ImportFrom | ast.Assign | ast.Expr
    body = tree_of(PACKAGE / "__init__.py").body
    assert [ast.unparse(node) for node in body if not isinstance(node, allowed)] == []


def test_the_top_level_holds_what_the_layout_names():
    built = {"build", "dist", "__pycache__"}  # by tools, and ignored by git
    top = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert top - built == {"pyproject.toml", "typedfilter", "tests", "stubs", "README.md"}
