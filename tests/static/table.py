"""Counts the programs of `programs.py` under each checker and library, and writes the table of the README.

python tests/static/table.py            print the table
python tests/static/table.py README.md  put it between the markers of this file
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs.py"
BEGIN, END = "<!-- counted by tests/static/table.py -->", "<!-- end of the table -->"

# The same programs, with the functions of other libraries under the same names.
LIBRARIES = {
    "jax": """
from typing import Annotated
from jax import checkpoint, custom_jvp, eval_shape, grad, hessian, jacfwd, jacrev, jit, jvp, make_jaxpr
from jax import pure_callback, value_and_grad, vjp, vmap
U = TypeVar("U")
Static = Annotated[U, "static"]
""",
    "equinox": """
from typing import Annotated
from equinox import filter_checkpoint as checkpoint, filter_custom_jvp as custom_jvp, filter_jit as jit
from equinox import filter_eval_shape as eval_shape, filter_grad as grad, filter_hessian as hessian
from equinox import filter_jacfwd as jacfwd, filter_jacrev as jacrev, filter_make_jaxpr as make_jaxpr
from equinox import filter_pure_callback as pure_callback, filter_value_and_grad as value_and_grad
from equinox import filter_jvp as jvp, filter_vjp as vjp, filter_vmap as vmap
U = TypeVar("U")
Static = Annotated[U, "static"]
""",
    "typedfilter": "",
}


def checkers() -> Any:
    """The module beside this one."""
    spec = importlib.util.spec_from_file_location("checkers", HERE / "checkers.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules["checkers"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source(library: str) -> str:
    """The programs, written for a library."""
    text = PROGRAMS.read_text()
    if LIBRARIES[library]:
        before, rest = text.split("# library\n")
        _, after = rest.split("# end of library\n")
        text = f"{before}{LIBRARIES[library]}{after}"
    if library == "jax":  # the same things, spelled otherwise
        text = text.replace(".def_jvp(", ".defjvp(").replace("result_shape_dtypes=", "")
        text = re.sub(
            r"pure_callback\(add, X, X, (.*?\))\), Array", r"pure_callback(add, \1, X, X), Array", text
        )
    return text


def passed(text: str, errors: set[int]) -> dict[str, dict[str, bool]]:
    """Family -> program -> whether its types are kept, or its mistake is caught."""
    lines = text.splitlines()
    families: dict[str, dict[str, bool]] = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef) or not re.match("kept_|caught_", node.name):
            continue
        family = next(line[7:] for line in reversed(lines[: node.lineno]) if line.startswith("# ---- "))
        span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        mistakes = {number for number in span if "# mistake" in lines[number - 1]}
        families.setdefault(family, {})[node.name] = errors & set(span) == mistakes
    return families


def measure(*libraries: str) -> dict[tuple[str, str], dict[str, dict[str, bool]]]:
    """`(library, checker)` -> family -> program -> whether it passed."""
    run = checkers()
    modes: dict[str, Callable[[Path], Any]] = {
        "mypy": lambda folder: run.run_mypy(folder, plugin=False),
        "mypy, plugin": lambda folder: run.run_mypy(folder, plugin=True),
        "pyright": lambda folder: run.run_pyright(folder, typeCheckingMode="standard"),
    }
    results: dict[tuple[str, str], dict[str, dict[str, bool]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = {library: source(library) for library in libraries}
        for library, text in texts.items():
            (folder / f"programs_{library}.py").write_text(text)
        for mode, check in modes.items():
            found = check(folder)
            for library, text in texts.items():
                errors = {line for file, line, _ in found if file == f"programs_{library}.py"}
                results[library, mode] = passed(text, errors)
    return results


COLUMNS = [
    ("jax", "mypy"),
    ("jax", "pyright"),
    ("equinox", "mypy"),
    ("equinox", "pyright"),
    ("typedfilter", "mypy"),
    ("typedfilter", "mypy, plugin"),
    ("typedfilter", "pyright"),
]


def render(results: dict[tuple[str, str], dict[str, dict[str, bool]]]) -> str:
    """The table, in Markdown."""
    heads = [f"`{library}`<br>{mode}" for library, mode in COLUMNS]
    rows = ["| programs | | " + " | ".join(heads) + " |", "|---|--:|" + "--:|" * len(COLUMNS)]
    families = results[COLUMNS[0]]
    sums = [0] * (len(COLUMNS) + 1)
    for family, programs in families.items():
        counts = [len(programs), *(sum(results[column][family].values()) for column in COLUMNS)]
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        rows.append(f"| {family} | " + " | ".join(map(str, counts)) + " |")
    rows.append("| **all** | " + " | ".join(f"**{total}**" for total in sums) + " |")
    packages = ("jax", "equinox", "mypy", "pyright")
    rows += ["", "Counted with " + ", ".join(f"{name} {version(name)}" for name in packages) + "."]
    return "\n".join(rows)


def main() -> None:
    results = measure(*LIBRARIES)
    table = render(results)
    print(table)
    for (library, mode), families in results.items():
        failed = [name for programs in families.values() for name, ok in programs.items() if not ok]
        print(f"\n{library}, {mode}: not kept or not caught: {' '.join(failed) or 'none'}")
    for name in sys.argv[1:]:
        path = Path(name)
        before, rest = path.read_text().split(BEGIN)
        _, after = rest.split(END)
        path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
