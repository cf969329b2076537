"""The command line: what it offers, what it prints, and what it says when something is missing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest

import typedfilter
from typedfilter import explain
from typedfilter.cli import COMMANDS, main

every_command = pytest.mark.parametrize("command", COMMANDS)


def status_of(*words: str) -> int:
    """The exit status, whether `main` returns it or argparse raises it."""
    try:
        return main(words)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with a function to explain, a class, something that can't be called, and a main guard."""
    path = tmp_path / "source_of_targets.py"
    path.write_text(
        textwrap.dedent(
            """
            import helper_of_targets
            from typedfilter import Donate, Static

            def double(n: int) -> int:
                return 2 * n

            class Box:
                def twice(self, n: int) -> int:
                    return 2 * n

            number = 3

            def contra(n: Donate[Static[int]]) -> int:
                return n

            class Moody:
                def __getattr__(self, name):
                    raise RuntimeError("not today")

                def __call__(self, n):
                    return n

            moody = Moody()

            if __name__ == "__main__":
                raise SystemExit("the guard ran")
            """
        )
    )
    (tmp_path / "helper_of_targets.py").write_text("")
    return path


@pytest.fixture(autouse=True)
def _forget_targets(monkeypatch: pytest.MonkeyPatch):
    """Commands import what they are pointed at and make its folder importable: undo both."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.endswith("_of_targets"):
            del sys.modules[name]


def test_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]):
    assert status_of("--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, command in COMMANDS.items():
        assert f"{name} {command.help}" in out


def test_version_is_that_of_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(metadata, "version", {"typedfilter": "1.2.3"}.__getitem__)
    assert status_of("--version") == 0
    assert capsys.readouterr().out == "typedfilter 1.2.3\n"


def test_without_an_installed_package_there_is_no_version_to_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert status_of("--version") == 0
    assert capsys.readouterr().out == "typedfilter is not installed: nothing tells its version\n"


@every_command
def test_each_command_has_a_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]):
    assert status_of(command, "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith(f"usage: typedfilter {command}")
    assert COMMANDS[command].help[1:] in out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "argument COMMAND: invalid choice: 'fly'"),
        (["explain"], "the following arguments are required: TARGET"),
        (["explain", "a:b", "--deeply"], "unrecognized arguments: --deeply"),
        (["demo", "--step", "3"], "unrecognized arguments: --step 3"),
    ],
)
def test_a_command_line_that_can_not_be_read_is_status_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    assert status_of(*words) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("package", ["rich", "optax", "sklearn"])
def test_a_missing_extra_is_one_message_with_the_command_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in [name for name in sys.modules if f"{name}.".startswith(("typedfilter.demo.", f"{package}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(typedfilter, "demo", raising=False)
    monkeypatch.setitem(sys.modules, package, None)  # what Python then raises is ModuleNotFoundError

    assert status_of("demo", "--steps", "1") == 2
    assert capsys.readouterr().err == (
        f"typedfilter: `demo` needs {package}, which is not installed\n"
        "  fix: pip install 'typedfilter[demo]'\n"
    )


def test_explain_prints_the_table_of_a_function_in_a_module(capsys: pytest.CaptureFixture[str]):
    from typedfilter.demo.training import train_step

    assert status_of("explain", "typedfilter.demo.training:train_step") == 0
    assert capsys.readouterr().out == f"{explain(train_step)}\n"


def test_explain_reads_a_file_beside_its_neighbours_and_runs_no_main_guard(
    source: Path, capsys: pytest.CaptureFixture[str]
):
    assert status_of("explain", f"{source}::double") == 0
    assert capsys.readouterr().out == f"{explain(sys.modules[source.stem].double)}\n"


def test_explain_reaches_into_classes(source: Path, capsys: pytest.CaptureFixture[str]):
    assert status_of("explain", f"{source}::Box.twice") == 0
    assert capsys.readouterr().out == f"{explain(sys.modules[source.stem].Box.twice)}\n"


def test_a_file_named_like_an_imported_module_does_not_replace_it(tmp_path: Path):
    path = tmp_path / "typedfilter.py"
    path.write_text("def double(n: int) -> int: return 2 * n")
    assert status_of("explain", f"{path}::double") == 0
    assert sys.modules["typedfilter"] is typedfilter
    del sys.modules["_typedfilter_typedfilter"]


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("double", "'double' is not a target: write module:function or path/to/file.py::function"),
        ("{source}::", "'{source}::' is not a target: write module:function or path/to/file.py::function"),
        ("{source}x.py::double", "there is no file {source}x.py"),
        ("{source}::duoble", "{source} has no 'duoble': did you mean 'double'?"),
        ("{source}::Box.twixe", "{source} has no 'Box.twixe': did you mean 'twice'?"),
        ("{source}::number", "'number' of {source} is not callable: it is of type int"),
        ("no_such.module:f", "there is no module 'no_such'"),
        ("os.nowhere:f", "there is no module 'os.nowhere'"),
        ("{source}::moody.run", "{source}::moody.run can't be looked at: RuntimeError: not today"),
        ("{source}::moody", "{source}::moody can't be looked at: RuntimeError: not today"),
    ],
)
def test_a_target_that_names_nothing_says_which_part(
    target: str, complaint: str, source: Path, capsys: pytest.CaptureFixture[str]
):
    assert status_of("explain", target.format(source=source)) == 2
    assert capsys.readouterr().err == f"typedfilter explain: {complaint.format(source=source)}\n"


def test_annotations_that_contradict_each_other_are_a_message(
    source: Path, capsys: pytest.CaptureFixture[str]
):
    assert status_of("explain", f"{source}::contra") == 2
    assert capsys.readouterr().err == (
        "typedfilter explain: contra(): argument `n` is annotated Donate[Static[int]], but what is static "
        "holds no arrays to donate\n"
        "  fix: drop Donate\n"
    )


@pytest.mark.parametrize("statement", ["1 / 0", "import no_such_of_targets", "raise SystemExit(0)"])
def test_a_file_that_can_not_be_imported_shows_its_own_traceback(
    statement: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "broken_of_targets.py"
    path.write_text(f"def f(): ...\n\n{statement}\n")
    assert status_of("explain", f"{path}::f") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == [
        f"typedfilter explain: {path} can't be imported",
        "Traceback (most recent call last):",
        f'  File "{path}", line 3, in <module>',
        f"    {statement}",
    ]


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "typedfilter", "explain", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("typedfilter explain: 'nothing' is not a target")


def test_ctrl_c_ends_a_command_with_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("typedfilter.docs.command.run", interrupted)
    assert main(["docs"]) == 130
    assert capsys.readouterr() == ("", "typedfilter docs: interrupted\n")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_their_options(shell: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    for word in (*COMMANDS, "--ensemble", "--rounds"):
        assert word in script


def test_completion_without_shtab_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "typedfilter: --print-completion needs shtab, which is not installed\n"
        "  fix: pip install 'typedfilter[completion]'\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explian"], "there is no command 'explian'; did you mean 'explain'?"),
        (["check", "--formt", "json"], "unrecognized arguments: --formt; did you mean '--format'?"),
        (["check", "--formt=json"], "unrecognized arguments: --formt=json; did you mean '--format'?"),
        (["docs", "lops"], "there is no page or public name 'lops'; did you mean 'loops'?"),
        (["docs", "filter_jt"], "there is no page or public name 'filter_jt'; did you mean 'filter_jit'?"),
    ],
)
def test_a_slip_on_the_command_line_is_answered_with_what_was_meant(words, said, capsys):
    assert status_of(*words) == 2
    assert said in capsys.readouterr().err


def test_a_word_that_is_nearly_nothing_is_answered_with_what_there_is(capsys):
    assert status_of("zzz") == 2
    assert "invalid choice: 'zzz'" in capsys.readouterr().err
    assert status_of("check", "--zzz") == 2
    assert "did you mean" not in capsys.readouterr().err
