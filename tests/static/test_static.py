"""The programs of this folder, under mypy with and without the plugin, under pyright, and executed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
CHECKED = sorted(HERE.glob("check_*.py"))
WITH_PLUGIN = [*CHECKED, HERE / "plugin_check.py"]
NEW_MYPY = ("check_binding", "check_vjp")  # what they say, mypy understands from 1.18 on
README = HERE.parents[1] / "README.md"

# A file that every run must find wrong, in exactly these lines: a checker that reads nothing, or does not
# find the package, would report something else.
GUARD = """\
from jax import Array
import typedfilter

@typedfilter.filter_jit
def function(x: Array) -> Array:
    return x

function("text")
wrong: int = function(1, 2, 3)
"""
GUARDED = {("guard.py", 8), ("guard.py", 9)}


def sibling(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


checkers = sibling("checkers")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder away from the source tree, so that checkers find the package where it is installed."""
    try:
        importlib.metadata.distribution("typedfilter")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("typedfilter is not installed: checkers would not find it")
    return tmp_path


def readable_by_mypy(files: list[Path]) -> list[Path]:
    major, minor = map(int, importlib.metadata.version("mypy").split(".")[:2])
    return [file for file in files if file.stem not in NEW_MYPY or (major, minor) >= (1, 18)]


def with_guard(files: list[Path], folder: Path) -> Path:
    for file in files:
        shutil.copy(file, folder)
    (folder / "guard.py").write_text(GUARD)
    return folder


def assert_only_the_guard(found: list[tuple[str, int, str]]) -> None:
    unexpected = [f"{file}:{line}: {text}" for file, line, text in found if file != "guard.py"]
    assert unexpected == []
    assert {(file, line) for file, line, _ in found} == GUARDED


def test_mypy_accepts_and_rejects_what_the_programs_say(folder: Path):
    assert_only_the_guard(checkers.run_mypy(with_guard(readable_by_mypy(CHECKED), folder), plugin=False))


def test_mypy_with_the_plugin_accepts_and_rejects_what_the_programs_say(folder: Path):
    assert_only_the_guard(checkers.run_mypy(with_guard(readable_by_mypy(WITH_PLUGIN), folder), plugin=True))


def test_the_plugin_knows_markers_of_modules_that_mypy_read_from_its_cache(folder: Path):
    (folder / "losses.py").write_text(
        "from jax import Array\nfrom typedfilter import Diff\n"
        "def loss(x: str, w: Diff[dict[str, Array]]) -> Array:\n    return w[x]\n"
    )
    for name in ("first", "second"):  # `losses` is read, then taken from the cache
        (folder / "use.py").write_text(
            "from typedfilter import filter_grad\nfrom losses import loss\n"
            f"{name} = filter_grad(loss)('a', {{}})\nreveal: int = {name}\n"
        )
        found = checkers.run_mypy(folder, plugin=True)
        assert [(error.file, error.line) for error in found] == [("use.py", 4)]
        assert '"dict[str, Array]"' in found[0].text


@pytest.mark.parametrize("settings", ["[mypy-jax.*]\nfollow_imports = skip", "follow_imports = skip"])
def test_the_plugin_works_where_mypy_is_told_to_skip_imports(folder: Path, settings: str):
    (folder / "program.py").write_text(
        "from jax import Array\n"
        "from typedfilter import Diff, Static, VmapAxis, filter_grad, filter_jacfwd, filter_jit\n"
        "def f(x: VmapAxis[1], n: Static[Array], w: Diff[dict[str, float]]) -> float: return 1.0\n"
        "filter_grad(f), filter_jacfwd(f), filter_jit(f).lower(1)\n"
    )
    assert checkers.run_mypy(folder, plugin=True, strict=False, settings=settings + "\n") == []


def test_pyright_accepts_and_rejects_what_the_programs_say(folder: Path):
    assert_only_the_guard(checkers.run_pyright(with_guard(CHECKED, folder)))


def test_every_public_name_has_a_complete_type(folder: Path):
    report = checkers.pyright_report("--verifytypes", "typedfilter", "--ignoreexternal", folder=folder)
    completeness = report["typeCompleteness"]
    incomplete = [symbol["name"] for symbol in completeness["symbols"] if not symbol["isTypeKnown"]]
    assert incomplete == []
    assert completeness["completenessScore"] == 1.0
    assert completeness["exportedSymbolCounts"]["withKnownType"] > 50


@pytest.mark.parametrize("file", WITH_PLUGIN, ids=lambda file: file.stem)
def test_the_accepted_programs_run(file: Path):
    runpy.run_path(str(file), run_name="__main__")


@pytest.mark.parametrize("file", WITH_PLUGIN, ids=lambda file: file.stem)
def test_every_accepted_program_is_called_when_the_file_runs(file: Path):
    text = file.read_text()
    called = text.partition('if __name__ == "__main__":')[2]
    assert re.findall(r"^def (accepted\w*)", text, re.MULTILINE) == called.replace("()", "").split()


def test_every_ignored_error_is_named():
    bare = [
        f"{file.name}:{number}"
        for file in [*WITH_PLUGIN, *HERE.parents[1].glob("typedfilter/**/*.py")]
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"#\s*(type|pyright): ignore(?!\[)", line)
    ]
    assert bare == []


def test_the_readme_promises_no_more_than_what_is_counted(folder: Path):
    table = sibling("table")
    _, _, rest = README.read_text().partition(table.BEGIN)
    promised = rest.partition(table.END)[0]
    assert promised, "the README has no table"
    header, _, *rows = [line.split("|")[1:-1] for line in promised.splitlines() if line.startswith("|")]
    results = table.measure("typedfilter")
    for column, head in enumerate(header):
        mode = head.strip().removeprefix("`typedfilter`<br>")
        if mode == head.strip():
            continue
        for row in rows[:-1]:
            programs = results["typedfilter", mode][row[0].strip()]
            assert int(row[1]) == len(programs)
            assert int(row[column]) <= sum(programs.values()), (
                mode,
                [n for n, ok in programs.items() if not ok],
            )
