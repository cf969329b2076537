"""What the command does about functions that too little is said of: examples, the share, groups, keys."""

from __future__ import annotations

import argparse
import sys
import textwrap

import pytest

from typedfilter.check import command
from typedfilter.check.inputs import examples
from typedfilter.check.report import text
from typedfilter.check.report.results import Unreadable

CODE = """
    import jax
    from jaxtyping import Array, Float, Key

    class Operator:
        def __init__(self, made_of):
            self.matrix = made_of

        def mv(self, v):
            return self.matrix @ v

    def one(a: Operator, v: Float[Array, "n"]) -> Float[Array, "n"]:
        return a.mv(v)

    def two(a: Operator, v: Float[Array, "n"]) -> Float[Array, "n"]:
        return a.mv(v)

    def three(a: Operator, v: Float[Array, "n"]) -> Float[Array, "n"]:
        return a.mv(v)

    def twice(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
        return jax.random.normal(key, x.shape) + jax.random.uniform(key, x.shape)
"""
SHAPES = """
    import jax.numpy as jnp
    from operators import Operator
    from typedfilter.check import example_of

    @example_of(Operator)
    def _(n):
        return Operator(jnp.ones((n, n)))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "operators.py").write_text(textwrap.dedent(CODE))
    (tmp_path / "pyproject.toml").write_text("")
    yield tmp_path
    examples.forget()
    for name in ("operators", "shapes_of_operators"):
        sys.modules.pop(name, None)


def check(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def test_skips_for_one_reason_are_told_together_with_the_share_that_is_judged(folder, capsys):
    assert check("operators.py", "--no-keys") == 0
    out = capsys.readouterr().out
    assert out.count("skipped 3 functions: ") == 1
    assert "25% of 4 functions judged" in out


def test_less_than_the_share_that_is_asked_for_is_status_1(folder, capsys):
    (folder / "pyproject.toml").write_text("[tool.typedfilter]\njudged = 0.5\nkeys = false\n")
    assert check("operators.py") == 1
    assert "25% of the functions are judged, less than 50%" in capsys.readouterr().err


def test_a_key_that_is_used_twice_is_a_failure_unless_keys_are_left_out(folder, capsys):
    assert check("operators.py::twice") == 1
    assert "a random key is used twice" in capsys.readouterr().out
    assert check("operators.py::twice", "--no-keys") == 0


def test_an_example_of_a_class_makes_its_instances_wherever_one_is_taken(folder, capsys):
    (folder / "shapes_of_operators.py").write_text(textwrap.dedent(SHAPES))
    (folder / "pyproject.toml").write_text(
        '[tool.typedfilter]\nexamples = "shapes_of_operators"\nkeys = false\n'
    )
    assert check("operators.py") == 0
    out = capsys.readouterr().out
    assert "4 proved in 1 file" in out
    assert "with a an example of its class" in out


def test_a_file_that_reads_its_command_line_sees_no_words_of_the_command(folder, monkeypatch):
    parser = "import argparse\nargparse.ArgumentParser().parse_args()\n"
    (folder / "script.py").write_text(parser + (folder / "operators.py").read_text())
    words = ["typedfilter", "check", "script.py"]
    monkeypatch.setattr(sys, "argv", words)
    assert check("script.py::twice", "--no-keys") == 0
    assert sys.argv is words


def test_what_several_files_lack_is_said_once():
    message = "can't be imported: ModuleNotFoundError: No module named 'torch'"
    unread = [
        Unreadable(f"{n}.py", message, f'Traceback:\n  File "{n}.py", line {n}, in <module>') for n in "123"
    ]
    other = Unreadable("4.py", "can't be imported: KeyError: 4", "Traceback:\n  File ...")
    out = text.plain(text.lines([], [*unread, other]))
    assert out.count("not checked") == 2
    assert "  the same for 2 more: 2.py, 3.py\n4.py: not checked" in out
