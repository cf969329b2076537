"""The command: targets, exit status, formats, settings, and how it treats the code that it imports."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import pytest

import typedfilter
from typedfilter.check import command

GOOD = """
    from jaxtyping import Array, Float

    def good(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x
"""
BAD = """
    from jaxtyping import Array, Float

    def bad(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x[1:]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip())
    return path


def check(*words: str) -> int:
    """The command, in this process: of others is `test_apart`."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--jobs", "0", *words]))


def results_of(capsys, *words: str) -> tuple[int, list[dict]]:
    capsys.readouterr()
    status = check(*words, "--format", "json")
    return status, json.loads(capsys.readouterr().out)["results"]


def names_of(results: list[dict]) -> list[str]:
    return [result["function"] for result in results]


# ------------------------------------------------------------------------------------------------- status


def test_all_good_is_status_0(folder, capsys):
    write(folder, "good.py", GOOD)
    assert check("good.py") == 0
    assert capsys.readouterr().out == "good.py:3: proved good: for all sizes\n1 proved in 1 file\n"


def test_a_failure_is_status_1(folder):
    write(folder, "good.py", GOOD)
    write(folder, "bad.py", BAD)
    assert check("good.py", "bad.py") == 1


def test_no_function_at_all_is_status_2_and_says_so(folder, capsys):
    write(folder, "empty.py", "x = 1\n\ndef plain(x: int) -> int:\n    return x\n")
    assert check("empty.py") == 2
    assert capsys.readouterr().out == "no annotated function found: nothing was checked\n"


def test_only_skipped_functions_are_status_2(folder, capsys):
    write(
        folder,
        "only.py",
        GOOD.replace('-> Float[Array, "n"]:', '-> Float[Array, "n"]:  # typedfilter: ignore'),
    )
    assert check("only.py") == 2
    assert "1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    "target", ["missing.py", "no/such/folder", "no_such_module", "json.no_such_part", "good.py::nobody"]
)
def test_a_target_that_does_not_exist_is_status_2(folder, capsys, target):
    write(folder, "good.py", GOOD)
    assert check("good.py", target) == 2
    out = capsys.readouterr().out
    assert f"{target}: not checked: there is no " in out
    assert "proved good" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:\n", "SyntaxError"),
        (
            "import no_such_module_anywhere\n",
            "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        ),
        ("raise SystemExit(0)\n", "SystemExit: 0"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_imported_is_status_2_with_its_traceback_and_hides_no_other(
    folder, capsys, text, said
):
    write(folder, "a_good.py", GOOD)
    write(folder, "b_broken.py", f"{text}\ndef annotated(x: int) -> int: ...\n")
    write(folder, "c_good.py", GOOD)
    assert check(".") == 2
    out = capsys.readouterr().out
    assert f"b_broken.py: not checked: can't be imported: {said}" in out
    assert 'b_broken.py", line 1' in out
    assert "2 proved, 1 not read in 2 files" in out


def test_strict_makes_a_skipped_function_a_failure(folder):
    write(
        folder,
        "good.py",
        GOOD + "\n    def other(x: Float[Array, 'n'], k: int) -> Float[Array, 'n']:\n        return x\n",
    )
    assert check("good.py") == 0
    assert check("good.py", "--strict") == 1


# ------------------------------------------------------------------------------------------------ targets


def test_a_folder_is_all_files_below_it_but_hidden_ones_and_environments(folder, capsys):
    write(folder, "src/one.py", GOOD)
    write(folder, "src/deep/two.py", GOOD)
    write(folder, "src/.hidden/three.py", BAD)
    write(folder, "src/__pycache__/four.py", BAD)
    write(folder, "src/env/pyvenv.cfg", "")
    write(folder, "src/env/five.py", BAD)
    status, results = results_of(capsys, "src")
    assert status == 0
    assert [result["file"] for result in results] == ["src/deep/two.py", "src/one.py"]


def test_one_function_of_a_file_can_be_asked_for(folder, capsys):
    write(folder, "both.py", GOOD + BAD)
    assert names_of(results_of(capsys, "both.py::good")[1]) == ["good"]


def test_a_method_is_named_with_its_class(folder, capsys):
    text = """
        from jaxtyping import Array, Float

        class Model:
            @staticmethod
            def one(x: Float[Array, "n"]) -> Float[Array, "n"]:
                return x

            @staticmethod
            def two(x: Float[Array, "n"]) -> Float[Array, "n"]:
                return x
    """
    write(folder, "model.py", text)
    assert names_of(results_of(capsys, "model.py::Model.two")[1]) == ["Model.two"]
    assert names_of(results_of(capsys, "model.py::Model::two")[1]) == ["Model.two"]
    assert names_of(results_of(capsys, "model.py::Model")[1]) == ["Model.one", "Model.two"]


def test_dotted_names_of_packages_modules_and_functions(folder, capsys):
    write(folder, "pack/__init__.py", "")
    write(folder, "pack/inner/__init__.py", "")
    write(folder, "pack/inner/one.py", GOOD)
    write(
        folder,
        "pack/two.py",
        "from pack.inner.one import good\n" + textwrap.dedent(GOOD).replace("good", "best"),
    )
    assert names_of(results_of(capsys, "pack")[1]) == ["good", "best"]
    assert names_of(results_of(capsys, "pack.inner")[1]) == ["good"]
    assert names_of(results_of(capsys, "pack.two")[1]) == ["best"]
    assert names_of(results_of(capsys, "pack.two.best")[1]) == ["best"]
    assert names_of(results_of(capsys, "pack/two.py")[1]) == ["best"]


def test_a_file_is_checked_once_however_often_it_is_named(folder, capsys):
    write(folder, "good.py", GOOD)
    assert names_of(results_of(capsys, "good.py", ".", "good.py")[1]) == ["good"]


def test_functions_come_in_the_order_of_their_lines(folder, capsys):
    body = '(x: Float[Array, "n"]) -> Float[Array, "n"]:\n    return x\n\n'
    write(
        folder, "many.py", "from jaxtyping import Array, Float\n\n" + "".join(f"def {n}{body}" for n in "cab")
    )
    assert names_of(results_of(capsys, "many.py")[1]) == ["c", "a", "b"]


# ------------------------------------------------------------------------------------------------ imports


def test_main_guards_do_not_run(folder, capsys):
    write(
        folder,
        "script.py",
        GOOD + "\n    if __name__ == '__main__':\n        raise SystemExit('ran as a program')\n",
    )
    assert check("script.py") == 0


def test_main_modules_of_packages_are_left_alone(folder):
    write(folder, "pack/__init__.py", "")
    write(folder, "pack/__main__.py", "raise SystemExit('ran as a program')\n")
    write(folder, "pack/good.py", GOOD)
    assert check("pack") == 0


def test_what_a_file_prints_does_not_end_up_in_the_report(folder, capsys):
    noisy = (
        GOOD.replace("return x", "print('while tracing')\n        return x")
        + "\n    print('while importing')\n"
    )
    write(folder, "noisy.py", noisy)
    status, results = results_of(capsys, "noisy.py")
    assert (status, names_of(results)) == (0, ["good"])


def test_the_import_path_and_the_modules_are_as_they_were(folder):
    write(folder, "helper_of_check.py", "WIDTH = 3\n")
    write(folder, "uses_helper.py", "import helper_of_check\n" + textwrap.dedent(GOOD))
    path, modules = list(sys.path), set(sys.modules)
    assert check("uses_helper.py") == 0
    assert sys.path == path
    assert not {"helper_of_check", "uses_helper"} & (set(sys.modules) - modules)


def test_two_folders_may_have_modules_of_one_name(folder, capsys):
    for name, size in (("a", 3), ("b", 4)):
        write(folder, f"{name}/sizes.py", f"SIZE = {size}\n")
        text = f"""
            import jax.numpy as jnp
            from jaxtyping import Array, Float

            def model(x: Float[Array, "n"]) -> Float[Array, "{size}"]:
                from sizes import SIZE
                return jnp.zeros(SIZE) + x.sum()
        """
        write(folder, f"{name}/model.py", text)
    status, results = results_of(capsys, "a", "b")
    assert [result["message"] for result in results] == ["for all sizes"] * 2
    assert status == 0


def test_a_file_may_be_called_as_a_module_of_the_standard_library(folder, capsys):
    write(folder, "random.py", GOOD)
    assert check("random.py") == 0
    import random

    assert hasattr(random, "random")


def test_a_file_in_a_package_is_imported_as_part_of_it(folder):
    write(folder, "lib/pack_of_check/__init__.py", "")
    write(folder, "lib/pack_of_check/part.py", "from . import other\n" + textwrap.dedent(GOOD))
    write(folder, "lib/pack_of_check/other.py", "")
    assert check("lib/pack_of_check/part.py") == 0


# ----------------------------------------------------------------------------------------------- settings


def test_settings_name_what_is_checked_and_what_is_not(folder, capsys):
    settings = """
        [tool.typedfilter]
        paths = ["src"]
        exclude = ["src/old/*"]
        ignore = ["*bad"]
    """
    write(folder, "pyproject.toml", settings)
    write(folder, "src/good.py", GOOD)
    write(folder, "src/bad.py", BAD)
    write(folder, "src/old/worse.py", BAD.replace("bad", "worse"))
    status, results = results_of(capsys)
    assert status == 0
    assert [(r["function"], r["status"]) for r in results] == [("bad", "skipped"), ("good", "proved")]
    assert results[0]["message"] == "ignored: it matches '*bad'"


def test_patterns_of_the_command_line_leave_files_and_functions_out(folder, capsys):
    skipped = GOOD.replace("good", "taken").replace('x: Float[Array, "n"]', 'x: Float[Array, "n"], k')
    write(folder, "src/good.py", GOOD)
    write(folder, "src/bad.py", BAD)
    write(folder, "src/old/worse.py", BAD)
    write(folder, "src/old/deep/worst.py", BAD)
    write(folder, "src/taken.py", skipped)
    words = ["src", "--exclude", "src/old", "--ignore", "b*", "--ignore", "nobody", "--exclude", "scr/*"]
    assert check(*words) == 0
    assert capsys.readouterr() == (
        textwrap.dedent("""
            src/bad.py:3: skipped bad: ignored: it matches 'b*'
            src/good.py:3: proved good: for all sizes
            src/taken.py:3: skipped taken: `k` has no annotation
              fix: annotate it, or add @typedfilter.check.example(k=...)
            33% of 3 functions judged
            1 proved, 2 skipped in 3 files
        """).lstrip(),
        textwrap.dedent("""
            typedfilter check: --exclude 'scr/*': no file in a folder has such a path
            typedfilter check: --ignore 'nobody': no function has such a name
        """).lstrip(),
    )
    assert check(*words, "--no-skipped") == 0
    assert (
        capsys.readouterr().out
        == textwrap.dedent("""
        src/good.py:3: proved good: for all sizes
        33% of 3 functions judged
        1 proved, 2 skipped in 3 files
    """).lstrip()
    )
    assert check(*words, "--no-skipped", "--format", "github") == 0
    assert capsys.readouterr().out == "1 proved, 2 skipped in 3 files\n"
    assert check(*words, "--no-skipped", "--format", "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert names_of(report["results"]) == ["good"]
    assert report["summary"] == {"proved": 1, "checked": 0, "failed": 0, "skipped": 2}


def test_a_pattern_that_leaves_everything_out_or_says_nothing_is_told(folder, capsys):
    write(folder, "src/bad.py", BAD)
    assert check("src", "--exclude", "*.py") == 2
    out = capsys.readouterr().out
    assert out == "src: not checked: all Python files in this folder are excluded\n1 not read\n"
    with pytest.raises(SystemExit):
        check("src", "--ignore", "")
    assert "argument --ignore: a pattern of names, such as 'Model.plot*'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        check("src", "--exclude", " ")
    assert "argument --exclude: a pattern of files, such as 'src/legacy/*'" in capsys.readouterr().err


def test_strict_can_be_a_setting(folder):
    write(folder, "pyproject.toml", "[tool.typedfilter]\nstrict = true\n")
    write(
        folder,
        "good.py",
        GOOD + "\n    def other(x: Float[Array, 'n'], k: int) -> Float[Array, 'n']:\n        return x\n",
    )
    assert check("good.py") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[tool.typedfilter]\npath = []\n",
            "has no setting `path`; did you mean 'paths'?",
        ),
        (
            "[tool.typedfilter]\nzzz = []\n",
            "has no setting `zzz`; it has examples, exclude, ignore, judged, keys, mesh, paths, strict",
        ),
        (
            "[tool.typedfilter]\npaths = 'src'\n",
            "`paths` of [tool.typedfilter] is 'src', not a list of strings",
        ),
        ("[tool.typedfilter]\nstrict = 1\n", "`strict` of [tool.typedfilter] is 1, not true or false"),
        ("[tool\n", "Expected ']'"),
    ],
)
def test_settings_that_are_not_understood_are_status_2(folder, capsys, text, said):
    write(folder, "pyproject.toml", text)
    write(folder, "good.py", GOOD)
    assert check("good.py") == 2
    assert said in capsys.readouterr().err


def test_nothing_to_check_is_status_2(folder, capsys):
    assert check() == 2
    assert "nothing to check" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ formats


def test_json_is_one_object_with_all_the_facts(folder, capsys):
    write(folder, "bad.py", BAD)
    write(folder, "broken.py", "1 / 0\ndef annotated(x: int) -> int: ...\n")
    capsys.readouterr()
    assert check("bad.py", "broken.py", "--format", "json") == 2
    found = json.loads(capsys.readouterr().out)
    assert found["results"] == [
        {
            "function": "bad",
            "file": "bad.py",
            "line": 3,
            "status": "failed",
            "message": "the return value is not what is annotated: axis 0 is n - 1, not n",
            "expected": "Float[Array, 'n']",
            "found": "f32[n - 1]",
            "dims": {"n": "axis 0 of `x`"},
            "sizes": {"n": 3},
            "good_sizes": {},
            "case": [],
            "fix": "",
            "by_letter": False,
            "guessed": False,
            "annotation": {"line": 3, "column": 34, "end_column": 51},
        }
    ]
    (error,) = found["errors"]
    assert (error["target"], error["message"]) == (
        "broken.py",
        "can't be imported: ZeroDivisionError: division by zero",
    )
    assert "ZeroDivisionError" in error["traceback"]
    assert found["summary"] == {"proved": 0, "checked": 0, "failed": 1, "skipped": 0}


def test_github_annotations_stand_where_the_mistake_is(folder, capsys):
    write(folder, "bad.py", BAD)
    assert check("bad.py", "--format", "github") == 1
    command_line, summary = capsys.readouterr().out.splitlines()
    head = "::error file=bad.py,line=3,col=34,endColumn=50,title=bad%3A failed::"
    assert command_line.startswith(
        head + "  the return value is not what is annotated: axis 0 is n - 1, not n%0A"
    )
    assert summary == "1 failed in 1 file"


def test_quiet_leaves_out_what_is_good(folder, capsys):
    write(folder, "good.py", GOOD)
    assert check("good.py", "--quiet") == 0
    assert capsys.readouterr().out == "1 proved in 1 file\n"


def test_a_terminal_gets_colours_and_the_same_text():
    from io import StringIO

    console_module = pytest.importorskip("rich.console")
    from typedfilter.check import Report, Result
    from typedfilter.check.report import text as _text

    report = Report((Result("f", "", 1, "failed", "[red]not markup[/red]", found="float32[n]"),))
    out = StringIO()
    _text.print_rich(
        _text.lines(report.results, report.unreadable),
        console_module.Console(file=out, force_terminal=True, width=40),
    )
    assert "\x1b[" in out.getvalue()
    assert "[red]not markup[/red]" in out.getvalue()


# ------------------------------------------------------------------------------------------ what it costs


def test_the_shapes_of_the_demo_hold(capsys):
    for package in ("optax", "sklearn", "rich"):
        pytest.importorskip(package)
    folder = Path(str(typedfilter.__file__)).parent / "demo"
    status, results = results_of(capsys, str(folder))
    verdicts = [result["status"] for result in results]
    assert status == 0
    assert verdicts.count("proved") >= 5
    assert not {"failed"} & set(verdicts)
    whole = [result for result in results if Path(result["file"]).stem in ("model", "training")]
    assert [result["message"] for result in whole if result["status"] == "skipped"] == []
    assert {result["function"] for result in whole} >= {"init_state", "train_step"}


def test_arguments_that_their_own_library_refuses_to_make_are_no_mistake_of_the_function(folder, capsys):
    write(
        folder,
        "abstract.py",
        """
        import equinox as eqx
        from jaxtyping import Array, Float

        class Base(eqx.Module):
            weight: Float[Array, ""] = eqx.field(converter=len)

            def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
                return self.weight * x
        """,
    )
    status, (result,) = results_of(capsys, "abstract.py")
    assert (status, result["status"]) == (2, "skipped")
    assert result["message"] == "its arguments can't be made: TypeError: len() of unsized object"
    assert result["fix"] == "add @typedfilter.check.example with what it takes"


def run_alone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(typedfilter.__file__).parent.parent)}
    command = [sys.executable, "-m", "typedfilter", "check", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_json_is_all_that_stdout_holds_whatever_user_code_prints(folder):
    write(
        folder,
        "noisy/__init__.py",
        """
        import os, sys
        print("on import")
        os.write(1, b"to the descriptor")
        sys.__stdout__.write("to the first stdout")
        sys.__stdout__.flush()
        """,
    )
    write(folder, "noisy/part.py", GOOD + '    print("in the package")\n')
    done = run_alone(folder, "noisy.part", "--format", "json")
    assert names_of(json.loads(done.stdout)["results"]) == ["good"]
    assert done.returncode == 0
    for text in ("on import", "to the descriptor", "to the first stdout", "in the package"):
        assert text in done.stderr


@pytest.mark.parametrize(
    ("raised", "said"), [("sys.exit(0)", "SystemExit: 0"), ("1 / 0", "ZeroDivisionError: division by zero")]
)
def test_a_package_that_can_not_be_imported_is_said_and_no_success(folder, capsys, raised, said):
    write(folder, "stubborn_of_check/__init__.py", f"import sys\n{raised}\n")
    write(folder, "stubborn_of_check/part.py", GOOD)
    write(folder, "good.py", GOOD)
    assert check("stubborn_of_check.part", "good.py") == 2
    out = capsys.readouterr().out
    assert f"stubborn_of_check.part: not checked: can't be imported: {said}" in out
    assert "proved good" in out


def test_a_body_that_exits_fails_and_the_rest_is_judged(folder, capsys):
    exits = GOOD.replace("def good", "def exits").replace("return x", "raise SystemExit(0)")
    write(folder, "both.py", GOOD + textwrap.indent(textwrap.dedent(exits), "    "))
    status, results = results_of(capsys, "both.py")
    assert {r["function"]: r["status"] for r in results}["good"] == "proved"
    assert len(results) == 2


def test_two_packages_of_one_name_are_both_judged_and_imported_once_in_a_process(folder, capsys):
    for parent in ("one", "two"):
        write(folder, f"{parent}/same_of_check/__init__.py", f"print('imported {parent}')\n")
        write(folder, f"{parent}/same_of_check/helper.py", f"NAME = '{parent}'\n")
        part = GOOD + f"    from .helper import NAME\n    assert NAME == '{parent}'\n"
        write(folder, f"{parent}/same_of_check/a.py", part)
        write(folder, f"{parent}/same_of_check/b.py", part)
    status, results = results_of(capsys, "one", "two")
    assert (status, len(results)) == (0, 4)
    done = run_alone(folder, "one", "two", "--jobs", "1", "--no-cache")
    assert [line for line in done.stderr.splitlines() if line.startswith("imported")] == [
        "imported one",
        "imported two",
    ]


def test_a_file_may_import_its_neighbours_as_a_package_would(folder, capsys):
    write(folder, "loose_of_check/other.py", "SIZE = 3\n")
    write(folder, "loose_of_check/part.py", GOOD + "    from .other import SIZE\n")
    status, results = results_of(capsys, "loose_of_check/part.py")
    assert (status, names_of(results)) == (0, ["good"])


def test_a_file_that_changes_the_folder_does_not_change_the_paths_of_others(folder, capsys):
    write(folder, "a.py", GOOD + "    import os\n    os.chdir('/')\n")
    write(folder, "b.py", GOOD)
    check("a.py", "b.py")
    assert "\nb.py:3: proved good" in capsys.readouterr().out
    assert Path.cwd() == folder


def test_patterns_of_the_settings_are_relative_to_their_file(folder, capsys, monkeypatch):
    write(folder, "pyproject.toml", '[tool.typedfilter]\nexclude = ["src/legacy/*"]\n')
    write(folder, "src/legacy/old.py", BAD)
    write(folder, "src/new.py", GOOD)
    monkeypatch.chdir(folder / "src")
    status, results = results_of(capsys, ".")
    assert (status, names_of(results)) == (0, ["good"])


def test_strict_is_not_about_what_is_asked_to_be_ignored(folder, capsys):
    write(folder, "pyproject.toml", '[tool.typedfilter]\nignore = ["plot"]\nstrict = true\n')
    ignored = """
    def plot(x: Float[Array, "n"]) -> Float[Array, "n 1"]:
        return x

    def later(x: Float[Array, "n"]) -> Float[Array, "n 1"]:  # typedfilter: ignore
        return x
"""
    write(folder, "part.py", GOOD + ignored)
    assert check("part.py") == 0
    above = ignored.replace("  # typedfilter: ignore", "\n        # typedfilter: ignore")
    write(folder, "other.py", GOOD + above)
    assert check("other.py") == 1
    assert "failed later" in capsys.readouterr().out


def test_a_function_of_which_only_the_signature_is_written_is_skipped(folder, capsys):
    write(
        folder,
        "stub.py",
        """
        from jaxtyping import Array, Float

        def later(x: Float[Array, "n"]) -> Float[Array, "m"]: ...
        """,
    )
    status, (result,) = results_of(capsys, "stub.py")
    assert (status, result["status"], result["message"]) == (2, "skipped", "there is no body to check")


# --------------------------------------------------------------------------------------------------- mesh

MESHED = """
    from jax.sharding import PartitionSpec
    from jaxtyping import Array, Float
    from typedfilter import filter_shard

    def rows(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return filter_shard(x, PartitionSpec("data"))

    def plain(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x
"""


@pytest.mark.skipif(not hasattr(jax.sharding, "use_abstract_mesh"), reason="no public abstract meshes")
def test_the_axes_of_a_mesh_are_said_by_the_settings_or_the_command_line(folder, capsys):
    write(folder, "meshed.py", MESHED)
    status, (result, _) = results_of(capsys, "meshed.py")
    assert (status, result["status"]) == (0, "skipped")
    status, (result, _) = results_of(capsys, "meshed.py", "--mesh", "data=4, model=2")
    assert (result["status"], "data=4, model=2 (Auto" in result["message"]) == ("proved", True)
    write(folder, "pyproject.toml", "[tool.typedfilter]\nmesh = {data = 2}\n")
    _, (result, _) = results_of(capsys, "meshed.py")
    assert (result["status"], "data=2 (Auto" in result["message"]) == ("proved", True)
    _, (result, _) = results_of(capsys, "meshed.py", "--mesh", "model=2")
    assert result["status"] == "skipped"


@pytest.mark.parametrize("text", ["data", "data=", "data=0", "data=x", "=4", "data=4;model=2", ""])
def test_a_mesh_that_is_not_understood_is_status_2(folder, capsys, text):
    assert check(".", "--mesh", text) == 2
    said = f"typedfilter check: --mesh {text!r} is not what a mesh looks like: --mesh data=4,model=2\n"
    assert capsys.readouterr().err == said


def test_a_mesh_in_the_settings_that_is_not_understood_is_status_2(folder, capsys):
    write(folder, "pyproject.toml", "[tool.typedfilter]\nmesh = {data = 0}\n")
    assert check(".") == 2
    assert (
        "not a table of sizes by the names of axes, such as {data = 4, model = 2}" in capsys.readouterr().err
    )
