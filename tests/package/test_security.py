"""What docs/security.md promises: what is read is data, and nothing is sent or left behind."""

from __future__ import annotations

import ast
import html.parser
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter as tf
from typedfilter import Static, pytree_dataclass
from typedfilter.cli import main

X = jnp.arange(3.0)
GOOD = """
from jax import Array
from jaxtyping import Float

def twice(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return 2 * x
"""

# ------------------------------------------------------------------------------------------- annotations

executed: list[str] = []


def note(text: str) -> Any:
    executed.append(text)
    return int


def test_an_annotation_that_is_a_string_is_evaluated_where_its_function_was_written():
    """As Python evaluates it: whoever writes code runs code."""
    executed.clear()

    def f(x: note("here")) -> Any:  # a call, as a string
        return x

    tf.filter_jit(f)
    assert set(executed) <= {"here"}
    assert executed


@pytest.mark.parametrize(
    "name", ["ast", "Unknown", "Scope", "_Attributes", "sys", "unwrapped", "self", "text"]
)
def test_no_name_of_the_library_is_in_the_namespace_of_an_annotation(name: str):
    """What is no name of the user's is unknown, although the module that evaluates it has one."""
    names: dict[str, Any] = {}
    exec(f"def f(x: 'Donate[{name}.environ]'): return x", {"__name__": "other", "Donate": tf.Donate}, names)
    assert f"{name}.environ" in str(tf.explain(tf.filter_jit(names["f"])))


def test_what_the_module_of_builtins_has_beside_builtins_is_no_name():
    def f(x):
        return x

    f.__annotations__["x"] = "__class__"  # to Python a NameError, hence a name that nobody has
    np.testing.assert_array_equal(tf.filter_jit(f)(X), X)


HOSTILE = [
    "__import__('os').abort()",
    "{note('dimension')}",
    "n+note('dimension')",
    "\x00",
    "(" * 300,
    "${HOME}",
    "%s" * 9,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_value_that_looks_like_code_is_a_value(text: str):
    executed.clear()

    @tf.filter_jit
    def f(x: Float[Array, "n"], label: str, *, tree: Any) -> Any:
        return x + 1, label, tree[text]

    assert f(X, text, tree={text: text})[1:] == (text, text)
    with pytest.raises(tf.ShapeError) as caught:
        f(jnp.ones((2, 2)), text, tree={text: text})
    assert str(caught.value)
    assert str(tf.explain(f, X, text, tree={text: text}))
    assert executed == []


ANNOTATIONS = [
    "(" * 300,
    "list[" * 200 + "]" * 200,
    "1/0",
    "x := 1",
    "\x00",
    "lambda",
    "print()()",
    "' '",
]


@pytest.mark.parametrize("text", ANNOTATIONS, ids=range(len(ANNOTATIONS)))
def test_an_annotation_that_is_no_expression_is_refused_by_name(text: str):
    def f(x):
        return x

    f.__annotations__["x"] = text
    with pytest.raises(tf.AnnotationError, match="`x`"):
        tf.filter_jit(f)(X)


# ------------------------------------------------------------------------------------------ modules, settings

UNREADABLE = ("exits", "raises what nobody knows", "has no text", "is no text")
MODULES = {
    "exits": "import sys\nsys.exit(0)",
    "raises what nobody knows": "class Odd(BaseException): pass\nraise Odd",
    "has no text": "class Odd(Exception):\n    def __str__(self): raise Odd\nraise Odd",
    "answers everything": "def __getattr__(name): raise RuntimeError(name)",
    "hides": "import sys\ndel sys.modules[__name__]",
    "is another": "import sys, types\nsys.modules[__name__] = types.SimpleNamespace()",
    "closes": "import sys\nsys.stdout.close()",
    "is no text": "\udc80",
    "is nested": "x = " + "(" * 300 + ")" * 300,
}


def test_hostile_modules_are_told_and_the_others_are_checked(tmp_path: Path):
    files = []
    for number, text in enumerate(MODULES.values()):
        for name, content in ((f"bad_{number}.py", f"{text}\n{GOOD}"), (f"good_{number}.py", GOOD)):
            files.append(tmp_path / name)
            files[-1].write_bytes((content + "\n").encode(errors="surrogateescape"))
    done = typedfilter("check", "--format", "json", *map(str, files))
    assert done.returncode == 2, done.stderr
    report = json.loads(done.stdout)
    proved = {Path(one["file"]).name for one in report["results"] if one["status"] == "proved"}
    assert proved >= {f"good_{number}.py" for number in range(len(MODULES))}
    unread = {Path(one["target"]).name for one in report["errors"]}
    assert {f"bad_{list(MODULES).index(kind)}.py" for kind in UNREADABLE} <= unread


def typedfilter(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "typedfilter", *words], capture_output=True, text=True)


SETTINGS = {
    "no TOML": b"[tool.typedfilter",
    "no text": b"\xff\xfe\x00",
    "a number": b"[tool]\ntypedfilter = 1",
    "tool is a list": b"[[tool]]\n",
    "nested": b"x = " + b"[" * 2000 + b"]" * 2000,
    "a name that is code": b"[tool.typedfilter]\n\"__import__('os').abort()\" = true",
    "a value that is code": b"[tool.typedfilter]\nstrict = \"__import__('os').abort()\"",
    "patterns": b"[tool.typedfilter]\nexclude = ['[', '../../*', '**/**/**', '']",
    "paths": b"[tool.typedfilter]\npaths = ['-rf', '::', '\\n', '']",
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_hostile_settings_are_data(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    (tmp_path / "pyproject.toml").write_bytes(SETTINGS[kind])
    (tmp_path / "good_two.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "good_two.py"]) in (0, 2)
    told = capsys.readouterr()
    assert "1 proved" in told.out or "pyproject.toml" in told.err


def test_a_notebook_that_is_broken_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    notebook = tmp_path / "hostile.ipynb"
    cell = {"cell_type": "code", "source": ["!touch ran\n", "open('ran', 'w')"], "outputs": None}
    notebook.write_text(json.dumps({"cells": [cell, None, 1], "nbformat": "x"}))
    for command in ("check", "shapes"):
        assert main([command, str(notebook)]) == 2
        told = capsys.readouterr()
        assert "can't be imported: ImportError: it is no notebook" in told.out + told.err
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------------------------------------ names

NAMES = [
    "a b.py",
    "-rf.py",
    "line\nbreak.py",
    "<b onclick=x>&amp;.py",
    "a::b.py",
    "%0A::error::x.py",
    "'\"`$(x).py",
    "ü☃.py",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_file_name_is_a_file_name(name: str, tmp_path: Path, monkeypatch: Any, capsys: Any):
    (tmp_path / name).write_text(GOOD.replace("return 2 * x", "return x[:1]"))
    monkeypatch.chdir(tmp_path)
    for target in (".", f"./{name}", str(tmp_path / name)):
        assert main(["check", "--format", "json", target]) == 1
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert Path(result["file"]).name == name
    assert main(["check", "--format", "github", "."]) == 1
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert len(commands) == 1
    assert commands[0].startswith("::error file=")
    main(["shapes", f"./{name}", "--html", "page.html"])
    assert tags(tmp_path / "page.html") <= SAFE


SAFE = {
    "html",
    "head",
    "meta",
    "title",
    "body",
    "style",
    "div",
    "pre",
    "h3",
    "table",
    "tr",
    "td",
    "small",
    "b",
    "th",
    "br",
}


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not [name for name, _ in attrs if name.startswith("on")], attrs
        self.found.add(tag)


def tags(page: Path | str) -> set[str]:
    parser = Tags()
    parser.feed(page.read_text() if isinstance(page, Path) else page)
    return parser.found


MARKUP = "<script>alert(1)</script>"


@pytree_dataclass
class Model:
    weight: Any
    name: Static[Any] = MARKUP


def test_names_with_markup_are_text_in_html():
    def f(x, /, **options):
        return x

    f.__name__ = f.__qualname__ = MARKUP
    explained: Any = tf.explain(tf.filter_jit(f), {MARKUP: X, "b": MARKUP}, **{MARKUP: MARKUP})
    model: Any = Model({MARKUP: X, "<img src=x>": MARKUP})
    for page in (explained._repr_html_(), model._repr_html_()):
        assert "script" in page
        assert tags(page) <= SAFE | {"details", "summary"}


# ------------------------------------------------------------------------------ what is sent and left behind

WATCHED = """
import os, sys, tempfile
seen = []
def writes(path, mode, flags):  # a descriptor was opened, and seen, before
    by_flags = mode is None and flags & (os.O_WRONLY | os.O_RDWR)
    return not isinstance(path, int) and (by_flags or set(mode or "") & set("wax+"))
def watch(event, args):
    if event.startswith(("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib")):
        seen.append(f"{event} {args}")
    elif event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.rename", "os.remove"):
        seen.append(f"{event} {args}") if "__pycache__" not in str(args) else None
    elif event == "open" and writes(*args):
        seen.append(f"{event} {args}") if "__pycache__" not in str(args) else None
import jax, jaxtyping, beartype, numpy
import jax.export
jax.numpy.ones(3) + 1
sys.addaudithook(watch)
import typedfilter.cli
for words in (["check", "--no-cache", "--jobs", "0", "good.py"],
              ["explain", "good:twice"], ["shapes", "good.py"], ["docs", "security"],
              ["shapes", "good.py", "--html", "page.html"], ["--version"]):
    try:
        typedfilter.cli.main(words)
    except SystemExit:
        pass
print("SEEN", seen)
"""


def test_commands_send_nothing_start_nothing_and_write_what_was_asked_for_alone(tmp_path: Path):
    (tmp_path / "good.py").write_text(GOOD)
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (seen,) = [line.removeprefix("SEEN ") for line in done.stdout.splitlines() if line.startswith("SEEN")]
    events: list[str] = eval(seen)
    assert [event for event in events if "page.html" not in event and "/dev/null" not in event] == []
    assert len(events) >= 1  # that of the page: what is watched is seen


TALKING = """
import multiprocessing, os, sys
folders, seen = [], []
def watch(event, args):
    if event == "os.mkdir":
        folders.append((os.path.abspath(args[0]), args[1]))
    elif event in ("socket.connect", "socket.bind"):
        seen.append(args[1])
    elif event.startswith(("socket.getaddrinfo", "socket.gethostby", "socket.sendto", "urllib")):
        seen.append(event)
import typedfilter.cli
if __name__ == "__main__":
    sys.addaudithook(watch)
    try:
        typedfilter.cli.main(["check", "--jobs", "2", "good.py", "good_two.py"])
    except SystemExit:
        pass
    print("SEEN", (folders, seen))
"""


def test_processes_of_check_talk_through_files_that_nobody_else_can_guess_or_read(tmp_path: Path):
    for name in ("good.py", "good_two.py"):
        (tmp_path / name).write_text(GOOD)
    program = tmp_path / "talking.py"
    program.write_text(TALKING)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 proved" in done.stdout
    (said,) = [line.removeprefix("SEEN ") for line in done.stdout.splitlines() if line.startswith("SEEN")]
    folders, seen = ast.literal_eval(said)
    assert seen  # whatever talks, through a file in a new folder of its own
    private = [Path(folder) for folder, mode in folders if mode == 0o700]
    assert {Path(address).parent for address in seen} <= set(private)
    assert {folder for folder, mode in folders if mode != 0o700} == {str(tmp_path / ".typedfilter_cache")}
