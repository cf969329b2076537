"""The pytest plugin: one item a function, and no JAX where nobody asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import typedfilter

ROOT = Path(str(typedfilter.__file__)).parent.parent
CODE = """
    from jaxtyping import Array, Float


    def good(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x


    def bad(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x[1:]


    def left_out(x: Float[Array, "n"], k: list) -> Float[Array, "n"]:
        return x
"""
# An installed package announces the plugin itself; a checkout on the path has to be told.
PLUGIN = (
    []
    if any(e.name == "typedfilter" for e in entry_points(group="pytest11"))
    else ["-p", "typedfilter_pytest"]
)


# Plugins of the process that these tests run in, which there can be one of.
ALONE = [f"no:{name}" for name in ("cacheprovider", "faulthandler", "threadexception", "unraisableexception")]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "model.py").write_text(textwrap.dedent(CODE).lstrip())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run pytest in this process: its status, and what it prints."""

    def run_pytest(*words: str) -> tuple[int, str, str]:
        own = [word for name in ALONE for word in ("-p", name)]
        status = pytest.main([*PLUGIN, *own, "-rs", "--import-mode=importlib", *words])
        out, err = capsys.readouterr()
        return int(status), out, err

    return run_pytest


def test_each_function_is_an_item(run):
    status, out, _ = run("--typedfilter-check", "model.py", "-v")
    assert "model.py::good PASSED" in out
    assert "model.py::bad FAILED" in out
    assert "model.py::left_out SKIPPED" in out
    assert "expected: Float[Array, 'n']\n  found: f32[n - 1]" in out
    assert "`k` is of type list and has no default; add @typedfilter.check.example(k=...)" in out
    assert "1 failed, 1 passed, 1 skipped" in out
    assert status == 1


def test_items_can_be_chosen_by_name(run):
    status, out, _ = run("--typedfilter-check", "model.py", "-k", "good")
    assert "1 passed, 2 deselected" in out
    assert status == 0


def test_a_file_that_cannot_be_imported_is_a_failure_and_hides_no_other(run, folder):
    (folder / "broken.py").write_text("import no_such_module_anywhere\n\ndef f(x: int) -> int: ...\n")
    _, out, _ = run("--typedfilter-check", ".")
    assert "ModuleNotFoundError: No module named 'no_such_module_anywhere'" in out
    assert "2 failed, 1 passed, 1 skipped" in out


def test_nothing_found_is_a_failure(run, folder):
    (folder / "empty.py").write_text("")
    status, out, _ = run("--typedfilter-check", "empty.py")
    assert "no annotated function found: nothing was checked" in out
    assert status == 1


def test_ordinary_tests_run_beside_it(run, folder):
    (folder / "test_ordinary.py").write_text("def test_one():\n    pass\n")
    _, out, _ = run("--typedfilter-check", "model.py::good")
    assert "2 passed" in out


def test_without_the_option_nothing_of_it_is_imported(folder):
    (folder / "test_lazy.py").write_text(
        "import sys\n\ndef test_lazy():\n    assert 'typedfilter.check.run' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'stubs'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout


def test_strict_settings_make_what_can_not_be_judged_a_failure(run, folder):
    (folder / "pyproject.toml").write_text("[tool.typedfilter]\nstrict = true\n")
    status, out, _ = run("--typedfilter-check", "model.py::left_out")
    assert status == 1
    assert "skipped left_out: `k` is of type list and has no default" in out


def test_settings_that_are_wrong_are_an_error_of_usage(run, folder):
    (folder / "pyproject.toml").write_text("[tool.typedfilter]\nstrikt = true\n")
    status, out, err = run("--typedfilter-check", "model.py")
    assert status == 4
    assert "[tool.typedfilter] has no setting `strikt`" in err
    assert "INTERNALERROR" not in out
