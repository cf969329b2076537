"""The pytest plugin: one item a function, and no JAX where nobody asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
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


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-rs", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'stubs'}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "model.py").write_text(textwrap.dedent(CODE).lstrip())
    return tmp_path


def test_each_function_is_an_item(folder):
    done = run_pytest(folder, "--typedfilter-check", "model.py", "-v")
    assert "model.py::good PASSED" in done.stdout
    assert "model.py::bad FAILED" in done.stdout
    assert "model.py::left_out SKIPPED" in done.stdout
    assert "expected: Float[Array, 'n']\n  found: f32[n - 1]" in done.stdout
    assert "`k` is of type list and has no default; add @typedfilter.check.example(k=...)" in done.stdout
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert done.returncode == 1


def test_items_can_be_chosen_by_name(folder):
    done = run_pytest(folder, "--typedfilter-check", "model.py", "-k", "good")
    assert "1 passed, 2 deselected" in done.stdout
    assert done.returncode == 0


def test_a_file_that_cannot_be_imported_is_a_failure_and_hides_no_other(folder):
    (folder / "broken.py").write_text("import no_such_module_anywhere\n\ndef f(x: int) -> int: ...\n")
    done = run_pytest(folder, "--typedfilter-check", ".")
    assert "ModuleNotFoundError: No module named 'no_such_module_anywhere'" in done.stdout
    assert "2 failed, 1 passed, 1 skipped" in done.stdout


def test_nothing_found_is_a_failure(folder):
    (folder / "empty.py").write_text("")
    done = run_pytest(folder, "--typedfilter-check", "empty.py")
    assert "no annotated function found: nothing was checked" in done.stdout
    assert done.returncode == 1


def test_ordinary_tests_run_beside_it(folder):
    (folder / "test_ordinary.py").write_text("def test_one():\n    pass\n")
    done = run_pytest(folder, "--typedfilter-check", "model.py::good")
    assert "2 passed" in done.stdout


def test_without_the_option_nothing_of_it_is_imported(folder):
    (folder / "test_lazy.py").write_text(
        "import sys\n\ndef test_lazy():\n    assert 'typedfilter.check.run' not in sys.modules\n"
    )
    done = run_pytest(folder)
    assert "1 passed" in done.stdout


def test_strict_settings_make_what_can_not_be_judged_a_failure(folder):
    (folder / "pyproject.toml").write_text("[tool.typedfilter]\nstrict = true\n")
    done = run_pytest(folder, "--typedfilter-check", "model.py::left_out")
    assert done.returncode == 1
    assert "skipped left_out: `k` is of type list and has no default" in done.stdout


def test_settings_that_are_wrong_are_an_error_of_usage(folder):
    (folder / "pyproject.toml").write_text("[tool.typedfilter]\nstrikt = true\n")
    done = run_pytest(folder, "--typedfilter-check", "model.py")
    assert done.returncode == 4
    assert "[tool.typedfilter] has no setting `strikt`" in done.stderr
    assert "INTERNALERROR" not in done.stdout
