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


def programs(text: str) -> dict[str, list[tuple[str, range, set[int]]]]:
    """Family -> the programs in it: name, lines, and the lines on which a mistake must be reported."""
    lines = text.splitlines()
    families: dict[str, list[tuple[str, range, set[int]]]] = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef) or not re.match("kept_|caught_", node.name):
            continue
        family = next(line[7:] for line in reversed(lines[: node.lineno]) if line.startswith("# ---- "))
        span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        mistakes = {number for number in span if "# mistake" in lines[number - 1]}
        families.setdefault(family, []).append((node.name, span, mistakes))
    return families


def passed(text: str, errors: set[int]) -> dict[str, dict[str, bool]]:
    """Family -> program -> whether its types are kept, or its mistake is caught."""
    return {
        family: {name: errors & set(span) == mistakes for name, span, mistakes in found}
        for family, found in programs(text).items()
    }


def measure(*libraries: str) -> dict[tuple[str, str], dict[str, dict[str, bool]]]:
    """`(library, checker)` -> family -> program -> whether it passed."""
    results: dict[tuple[str, str], dict[str, dict[str, bool]]] = {}
    for checker, check in checkers().CHECKERS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            texts = {library: source(library) for library in libraries}
            for library, text in texts.items():
                (folder / f"programs_{library}.py").write_text(text)
            found = check(folder)
        for library, text in texts.items():
            errors = {line for file, line, _ in found if file == f"programs_{library}.py"}
            results[library, checker] = passed(text, errors)
    return results


def total(families: dict[str, dict[str, bool]]) -> int:
    return sum(sum(programs.values()) for programs in families.values())


def render(results: dict[tuple[str, str], dict[str, dict[str, bool]]]) -> str:
    """The table, in Markdown: a row for each library, a column for each checker."""
    names = list(dict.fromkeys(checker for _, checker in results))
    count = sum(len(programs) for programs in next(iter(results.values())).values())
    rows = [f"| of {count} programs | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for library in LIBRARIES:
        counts = [str(total(results[library, name])) for name in names]
        if library == "typedfilter":
            counts = [f"**{one}**" for one in counts]
        rows.append(f"| `{library}` | " + " | ".join(counts) + " |")
    packages = ("jax", "equinox", "mypy", "pyright", "basedpyright", "pyrefly", "ty", "zuban")
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
