"""The command judges files in processes of their own: what one does ends neither the run nor another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from typedfilter.check import apart
from typedfilter.check.cache import Cache
from typedfilter.check.find import sources_of
from typedfilter.check.scripts import tree_of
from typedfilter.cli import main

GOOD = """
from jaxtyping import Array, Float


def good(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x
"""
ANNOTATED = "\n\ndef never(x: int) -> int: ...\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def found(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = main(["check", "--format", "json", *words])
    return status, json.loads(capsys.readouterr().out)


def verdicts(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["function"]: (one["status"], one["message"]) for one in report["results"]}


# What ends a process -------------------------------------------------------------------------------------


def test_a_file_that_ends_its_process_or_never_returns_is_told_and_hides_no_other(folder, capsys):
    write(folder, "a.py", f"import os\nos._exit(0){ANNOTATED}")
    write(folder, "b.py", f"import time\ntime.sleep(1000){ANNOTATED}")
    write(folder, "c.py", GOOD)
    status, report = found(capsys, "--patience", "10", ".")
    assert status == 2
    assert [(one["target"], one["message"]) for one in report["errors"]] == [
        ("a.py", "can't be imported: it ends the process with status 0"),
        ("b.py", "can't be imported: it takes more than 10 seconds"),
    ]
    assert verdicts(report) == {"good": ("proved", "for all sizes")}


def test_a_function_that_ends_its_process_is_skipped_and_the_others_of_its_file_are_judged(folder, capsys):
    ends = GOOD.replace("def good", "def ends").replace("return x", "os._exit(3)")
    write(folder, "both.py", f"import os{ends}{GOOD}")
    status, report = found(capsys, "both.py")
    assert status == 0
    assert verdicts(report) == {
        "ends": ("skipped", "tracing it ends the process with status 3"),
        "good": ("proved", "for all sizes"),
    }


def test_a_function_that_takes_the_memory_of_the_machine_is_let_go(folder, capsys, monkeypatch):
    monkeypatch.setattr(apart, "_MOST", 1e9)
    greedy = """

        def greedy(x: Float[Array, "n"]) -> Float[Array, "n"]:
            held = []
            while True:
                held.append(b"x" * 50_000_000)
    """
    write(folder, "a.py", textwrap.dedent(GOOD) + textwrap.dedent(greedy))
    status, report = found(capsys, "--jobs", "1", "a.py")
    assert status == 0
    assert verdicts(report) == {
        "good": ("proved", "for all sizes"),
        "greedy": ("skipped", "tracing it takes more than 1 GB of memory"),
    }


def test_a_package_that_ends_the_process_where_it_is_looked_for_is_told(folder, capsys):
    write(folder, "gone_of_check/__init__.py", "import os\nos._exit(0)\n")
    write(folder, "gone_of_check/part.py", GOOD)
    write(folder, "good.py", GOOD)
    status, report = found(capsys, "gone_of_check.part", "good.py")
    assert status == 2
    assert report["errors"][0]["message"] == "can't be imported: it ends the process with status 0"
    assert set(verdicts(report)) == {"good"}


@pytest.mark.parametrize("jobs", ["0", "1", "3"])
def test_the_report_is_the_same_in_any_number_of_processes(folder, capsys, jobs):
    for number, name in enumerate("dbca"):
        noted = f"with open('order', 'a') as file:\n    file.write('{name}')\n#{'-' * number}\n"
        write(folder, f"{name}.py", noted + GOOD.replace("good", name) + GOOD.replace('"n"]:', '"n 1"]:'))
    status, report = found(capsys, "--jobs", jobs, ".")
    assert status == 1
    if jobs == "1":  # the longest first: no process is left alone with it in the end
        assert (folder / "order").read_text() == "acbd"
    assert [(one["file"], one["function"], one["status"]) for one in report["results"]] == [
        (f"{name}.py", function, how)
        for name in "abcd"
        for function, how in ((name, "proved"), ("good", "failed"))
    ]


@pytest.mark.parametrize("jobs", ["0", "1"])
def test_flags_of_jax_that_one_file_sets_do_not_reach_the_next(folder, capsys, jobs):
    wide = "import jax\njax.config.update('jax_enable_x64', True)\n"
    body = """
import jax
import numpy as np
from jaxtyping import Array, Float32


def narrow(x: Float32[Array, "n"]) -> Float32[Array, "n"]:
    return x + jax.numpy.asarray(np.ones(()))
"""
    write(folder, "a.py", wide + body)
    write(folder, "b.py", body)
    _, report = found(capsys, "--jobs", jobs, "a.py", "b.py")
    assert [one["status"] for one in report["results"]] == ["failed", "proved"]


def test_a_number_of_processes_below_nought_is_refused(folder, capsys):
    with pytest.raises(SystemExit):
        main(["check", "--jobs", "-1", "."])
    assert "argument -j/--jobs: a number of processes, 0 or more" in capsys.readouterr().err


# What is not run -----------------------------------------------------------------------------------------


def test_a_file_without_annotated_functions_is_not_run(folder, capsys):
    write(folder, "effects.py", "open('written', 'w').close()\n\ndef plain(x): ...\n")
    write(folder, "good.py", GOOD)
    assert found(capsys, ".")[0] == 0
    assert not (folder / "written").exists()


def test_of_a_script_only_definitions_are_executed(folder, capsys):
    write(
        folder,
        "script.py",
        f"""
        {GOOD.replace(chr(10), chr(10) + "        ")}
        SCALE = 2.0

        def main() -> None:
            open("written", "w").close()

        def scaled(x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x * SCALE

        def moved(x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x + table

        for step in range(3):
            open("written", "w").close()
        table = main()
        main()
        """,
    )
    status, report = found(capsys, "script.py")
    assert status == 0
    assert verdicts(report) == {
        "good": ("proved", "for all sizes"),
        "scaled": ("proved", "for all sizes"),
        "moved": ("skipped", "`table` is made at the top level of a script, which is not run"),
    }
    assert not (folder / "written").exists()


def test_a_notebook_is_checked_where_it_is_named(folder, capsys):
    cells = [
        {"cell_type": "markdown", "source": ["# not code"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import os\n", "!touch written"]},
        {"cell_type": "code", "source": ["%%bash\n", "touch written"]},
        {"cell_type": "code", "source": [GOOD, "open('written', 'w').close()"]},
    ]
    (folder / "book.ipynb").write_text(json.dumps({"cells": cells}))
    status, report = found(capsys, "book.ipynb")
    assert status == 0
    assert verdicts(report) == {"good": ("proved", "for all sizes")}
    assert not (folder / "written").exists()


def test_a_notebook_that_is_none_is_told(folder, capsys):
    (folder / "book.ipynb").write_text("{}")
    assert tree_of(folder / "book.ipynb") is None
    status, report = found(capsys, "book.ipynb")
    assert status == 2
    assert report["errors"][0]["message"] == "can't be imported: ImportError: it is no notebook"


# What is remembered --------------------------------------------------------------------------------------


def run_counted(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], int]:
    """The verdicts, and how many times a file was imported."""
    log = folder / "imports.txt"
    log.write_text("")
    _, report = found(capsys, "--jobs", "1", *words, "user.py", "other.py")
    return [one["status"] for one in report["results"]], len(log.read_text().splitlines())


@pytest.fixture
def project(folder: Path) -> Path:
    noted = "open('imports.txt', 'a').write('imported\\n')\n"
    write(folder, "helper.py", "def same(x):\n    return x\n")
    write(folder, "user.py", noted + "from helper import same\n" + GOOD.replace("return x", "return same(x)"))
    write(folder, "other.py", noted + GOOD)
    return folder


def test_what_has_not_changed_is_not_judged_again(project, capsys):
    assert run_counted(project, capsys) == (["proved", "proved"], 2)
    assert run_counted(project, capsys) == (["proved", "proved"], 0)
    assert run_counted(project, capsys, "--no-cache") == (["proved", "proved"], 2)


def test_what_was_judged_before_a_run_is_broken_off_is_not_judged_again(folder):
    write(folder, "long.py", GOOD + "#" * 100)  # the first
    write(folder, "short.py", GOOD)
    setup = apart.setup_of((), (), True, ())
    cache = Cache(folder / "cache")

    def break_off(fraction: float, name: str) -> None:
        if fraction:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apart.run(["."], (), setup, break_off, jobs=1, patience=60.0, cache=cache)
    known = [(one.target, cache.get(one)) for one in sources_of(["."])]
    assert [(target, len(found[0])) for target, found in known if found] == [("long.py", 1)]


def test_what_a_changed_file_is_imported_by_is_judged_again(project, capsys):
    run_counted(project, capsys)
    write(project, "helper.py", "def same(x):\n    return x[:-1]\n")
    assert run_counted(project, capsys) == (["failed", "proved"], 1)
    assert run_counted(project, capsys) == (["failed", "proved"], 0)


def test_other_settings_have_verdicts_of_their_own(project, capsys):
    run_counted(project, capsys)
    assert run_counted(project, capsys, "--ignore", "good") == (["skipped", "skipped"], 2)
    assert run_counted(project, capsys) == (["proved", "proved"], 0)


def test_a_package_that_is_installed_again_under_one_version_is_another(project):
    about = project / "site" / "thing-1.0.dist-info"
    write(about, "METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    log = project / "imports.txt"
    command = [sys.executable, "-m", "typedfilter", "check", "--jobs", "1", "user.py"]
    counts: list[int] = []
    for record in ("thing.py,sha256=a,1", "thing.py,sha256=a,1", "thing.py,sha256=b,1"):
        write(about, "RECORD", record)
        log.write_text("")
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(about.parent)}, cwd=project, check=True)
        counts.append(len(log.read_text().splitlines()))
    assert counts == [1, 0, 1]


def test_a_cache_that_is_broken_or_cannot_be_written_is_left_alone(project, capsys):
    run_counted(project, capsys)
    for entry in (project / ".typedfilter_cache").glob("*.json"):
        entry.write_text('{"files": {}, "results": [{}]}')
    assert run_counted(project, capsys) == (["proved", "proved"], 2)
    for entry in (project / ".typedfilter_cache").iterdir():
        entry.unlink()
    (project / ".typedfilter_cache").rmdir()
    (project / ".typedfilter_cache").write_text("somebody's file")
    assert run_counted(project, capsys) == (["proved", "proved"], 2)


def test_the_cache_is_nothing_to_commit_or_to_back_up(project, capsys):
    run_counted(project, capsys)
    assert (project / ".typedfilter_cache" / ".gitignore").read_text() == "*\n"
    assert (project / ".typedfilter_cache" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f59")
