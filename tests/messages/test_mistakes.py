"""Mistakes, one a section of `mistakes/*.md`: the program, all that is said, and and what that says done.

A section is a heading, perhaps a rating, perhaps the releases of Python that it is about, and blocks of code:

- `python`: the program, in which a comment `# <-` marks the line that its traceback has to end at.
- `text`: the class and the whole text of the error with its notes, or what is printed where none is raised. A
  line `...` stands for any lines, and `: ...` for the rest of one: JAX's own words differ by release.
- `diff`: what the fix says, applied to the program, which then runs. Lines that are added without one that
  is removed come first.

No frame of this package may be in a traceback, and each error that the package can raise has to come up in
one of the programs.

The rating is of somebody who meets the text without having read anything else, one point for each question
that it answers: what is wrong, in words of the program; where (function, argument, leaf, line); what was
found; what would have been right; and what to write instead, so that it then works. What does not apply, or
is plain from the line itself, counts as answered. A text that answers in other words than the program's, with
lines that help nobody, or with a choice of which only one part works there, loses the point of that one.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import itertools
import linecache
import re
import sys
import traceback
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import typedfilter
from typedfilter import errors

FOLDER = Path(__file__).parent / "mistakes"
PACKAGE = Path(typedfilter.__file__).parent
PRELUDE = """\
import dataclasses, functools
from typing import Any, NamedTuple
import jax, jax.numpy as jnp, numpy as np
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Bool, Complex, Float, Int, PyTree
from typedfilter import *
X = jnp.arange(3.0)
M = jnp.ones((3, 4))
KEY = jax.random.key(0)
"""
NUMBERS = itertools.count()
NAMES = [name for name in errors.__all__ if issubclass(getattr(errors, name), errors.TypedFilterError)]


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One section: see above."""

    title: str
    rating: int | None
    program: str
    text: str
    diff: str | None
    happens: bool  # with this release of Python

    @property
    def line(self) -> int | None:
        """The line that a traceback has to end at."""
        marked = [i for i, line in enumerate(self.program.splitlines(), 1) if line.endswith("# <-")]
        return marked[0] if marked else None

    @property
    def mended(self) -> str:
        """The program as the fix says."""
        assert self.diff is not None
        lines = self.program.splitlines()
        top: list[str] = []
        at: int | None = None
        for change in self.diff.splitlines():
            if change.startswith("-"):
                at = next(i for i, line in enumerate(lines) if _bare(line) == _bare(change[1:]))
                del lines[at]
            elif at is None:
                top.append(change[1:])
            else:
                lines.insert(at, change[1:])
                at += 1
        return "\n".join([*top, *lines]) + "\n"


def _bare(line: str) -> str:
    return line.removesuffix("# <-").rstrip()


def _sections() -> Iterator[Mistake]:
    for file in sorted(FOLDER.glob("*.md")):
        for part in re.split(r"^## ", file.read_text(), flags=re.MULTILINE)[1:]:
            release = re.search(r"^Python (before|from) 3\.(\d+)$", part, re.MULTILINE)
            blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL))
            rating = re.search(r"^Rating: (\d)$", part, re.MULTILINE)
            yield Mistake(
                f"{file.stem}: {part.splitlines()[0]}",
                int(rating.group(1)) if rating else None,
                blocks["python"],
                blocks.get("text", ""),
                blocks.get("diff"),
                not release or (sys.version_info < (3, int(release[2]))) == (release[1] == "before"),
            )


SECTIONS = list(_sections())
MISTAKES = {mistake.title: mistake for mistake in SECTIONS if mistake.happens}
RATED = [mistake for mistake in MISTAKES.values() if mistake.rating is not None]


def run(program: str) -> tuple[BaseException | None, str]:
    """What a program raises, if it does, and what it prints."""
    name = f"mistake_{next(NUMBERS)}"  # each a file of its own
    filename = f"{name}.py"
    module = types.ModuleType(name)
    exec(PRELUDE, module.__dict__)
    linecache.cache[filename] = (len(program), None, program.splitlines(keepends=True), filename)
    printed = io.StringIO()
    sys.modules[name] = module
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            exec(compile(program, filename, "exec"), module.__dict__)
        return None, printed.getvalue()
    except (Exception, SystemExit) as error:
        return error, printed.getvalue()
    finally:
        del sys.modules[name]


def said(error: BaseException | None, printed: str) -> str:
    """All that somebody reads below the traceback; addresses and numbers that differ are left out."""
    if error is None or isinstance(error, SystemExit):
        return re.sub(r"mistake_\d+", "mistake", printed)
    text = "".join(traceback.format_exception_only(error)).partition(": ")[2]
    name = type(error).__name__
    text = f"{name}: {text}"
    text = re.sub(r"\. Did you mean ('\w+')\?$", r"\n  fix: did you mean \1?", text, flags=re.MULTILINE)
    text = text.replace("XlaRuntimeError", "JaxRuntimeError").replace("jax.sharding.use_mesh", "jax.set_mesh")
    return re.sub(r"mistake_\d+", "mistake", re.sub(r" at 0x[0-9a-f]+", " at 0x...", text))


def matches(text: str, wanted: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*" if line == "...\n" else re.escape(line).replace(r":\ \.\.\.", ": .*")
        for line in wanted.splitlines(keepends=True)
    )
    return re.fullmatch(pattern, text if text.endswith("\n") else f"{text}\n") is not None


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("title", MISTAKES)
def test_all_that_is_said_of_a_mistake(title):
    mistake = MISTAKES[title]
    error, printed = run(mistake.program)
    text = said(error, printed)
    assert matches(text, mistake.text), text
    if error is not None and not isinstance(error, SystemExit):
        frames = traceback.extract_tb(error.__traceback__)[1:]
        assert [frame.filename for frame in frames if frame.filename.startswith(str(PACKAGE))] == []
        assert [frame.filename for frame in frames if frame.filename.startswith("<")] == []
        assert re.fullmatch(r"mistake_\d+\.py", frames[-1].filename)
        assert frames[-1].lineno == mistake.line


@pytest.mark.parametrize("title", [title for title, mistake in MISTAKES.items() if mistake.diff is not None])
def test_a_program_runs_when_the_fix_is_followed(title):
    mended = MISTAKES[title].mended
    error, printed = run(mended)
    if error is not None:
        shown = "".join(traceback.format_exception(error))
        pytest.fail(f"{mended}\n{shown}\n{printed}")


def test_the_ratings_are_high():
    assert len(RATED) >= 67
    assert min(mistake.rating or 0 for mistake in RATED) >= 3
    assert sum(mistake.rating or 0 for mistake in RATED) / len(RATED) >= 4.7


# ------------------------------------------------------------------- every error of the package has a program


@dataclasses.dataclass(frozen=True)
class Site:
    """A place in the source of the package where an error is made."""

    file: str
    function: str
    first: int
    last: int

    def made(self, frame: types.FrameType) -> bool:
        return frame.f_code.co_filename.endswith(self.file) and self.first <= frame.f_lineno <= self.last


def sites() -> list[Site]:
    """Every call of a class of errors, by name or as `self.error`."""
    found: list[Site] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if path.name != "errors.py" and isinstance(node, ast.Call) and _makes_error(node):
                around = [f.name for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
                file = f"typedfilter/{path.relative_to(PACKAGE).as_posix()}"
                found.append(Site(file, ".".join(around), node.lineno, node.end_lineno or 0))
    return found


def _makes_error(call: ast.Call) -> bool:
    by_name = isinstance(call.func, ast.Name) and call.func.id in NAMES
    told = isinstance(call.func, ast.Attribute) and call.func.attr == "error" and bool(call.args)
    by_problem = told and ast.unparse(call.args[0]) in NAMES  # `problem.error(ShapeError, ...)`
    return (
        by_name
        or by_problem
        or (
            ast.unparse(call.func) == "self.error"
            and any(keyword.arg == "function" for keyword in call.keywords)
        )
    )


ELSEWHERE = {
    "typedfilter/_compiling/results.py: _held": "a function that is gone: test_call_errors",
    "typedfilter/_compiling/tokens.py: value": "a limit that is made small: test_call_errors",
    "typedfilter/_differentiating/rules.py: __call__": "a function that is gone: test_derivative_errors",
    "typedfilter/_placing/bodies.py: targets_of_result": "refused before, where the result is placed",
    "typedfilter/_placing/faults.py: shared_out": "several processes: tests/distributed",
    "typedfilter/_placing/faults.py: _two_meshes": "the oldest JAX takes two meshes: test_jit_shardings",
}
"""Sites that no program here can reach, each by file and function, and where they are tested."""


def test_every_error_of_the_package_comes_up(monkeypatch):
    """An error that is new needs a section in `mistakes`, or a reason why it can't have one."""
    left = sites()
    assert len(left) > 100
    make = errors.TypedFilterError.__init__

    def recorded(self: Any, *args: Any, **fields: Any) -> None:
        make(self, *args, **fields)
        frames = sys._getframe(1), sys._getframe(2)  # a problem makes the error of who asks it
        left[:] = [site for site in left if not any(map(site.made, frames))]

    monkeypatch.setattr(errors.TypedFilterError, "__init__", recorded)
    for mistake in MISTAKES.values():
        run(mistake.program)
    missing = {f"{site.file}: {site.function}" for site in left}
    assert missing - ELSEWHERE.keys() == set()
    assert ELSEWHERE.keys() - missing == set(), "these come up: drop them from ELSEWHERE"


# --------------------------------------------------------------------- every fix of the package is followed


def _is_fix(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions of fixes that a node of the source holds."""
    if isinstance(node, ast.keyword) and node.arg == "fix":
        yield node.value
    elif isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        yield from (value for key, value in zip(keys, node.values, strict=True) if key == "fix")
    elif isinstance(node, ast.Assign):
        if any(isinstance(target, ast.Name) and target.id in ("fix", "cure") for target in node.targets):
            yield node.value
    elif isinstance(node, ast.FunctionDef) and re.search("cure|fix|_way$", node.name):
        values = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return | ast.Yield)]
        yield from (value for value in values if value is not None)


def fixes() -> dict[str, str]:
    """The longest piece of text of each fix in the source, and its file; `check` tells its own."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if file.startswith(("check/", "bench/", "demo/")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for fix in _is_fix(node):
                texts = [one.value for one in ast.walk(fix) if isinstance(one, ast.Constant)]
                pieces = [piece for text in texts if isinstance(text, str) for piece in text.split("{}")]
                longest = max(pieces, key=len, default="").strip()
                if len(longest) > 12:
                    found[longest] = file
    return found


UNFOLLOWED = {
    "keep a reference to the jitted function": "a function that is gone: test_call_errors",
    "put many static values into one tuple or frozen dataclass": "a limit made small: test_call_errors",
    "keep a reference to it for as long as that is differentiated": "gone: test_derivative_errors",
    "split it before the call: filter_shard(array,": "the oldest JAX splits it: test_shard_map",
    "pass out_shardings, or split all arguments over one mesh": "not the oldest JAX: test_jit_shardings",
    "make it of the parts: jax.make_array_from_process_local_data(sharding, array)": "tests/distributed",
    "make it an Explicit axis: jax.make_mesh(..., axis_types=...)": "newer JAX: test_jit_places",
    "name one; or give one Format for all of an argument, or annotate it as arrays alone: "
    "PyTree[Array]": "layouts, not of the oldest JAX: test_jit_places",
    "write Annotated[T, PartitionSpec('x')]": "the class in the place of a value: test_annotation_errors",
    "; filter_pure_callback in the place of jax.pure_callback lets that exception "
    "arrive as it was raised": "a process ends otherwise: loops.md, without a fix",
    "a pytree_dataclass with arrays, and Static fields for the rest, is not taken apart": "of `explain`",
}
"""Fixes that no program here follows, and where they are tested."""


def test_every_fix_of_the_package_is_followed():
    """A fix that is new needs a section whose `diff` does what it says, or a reason why it can't have one."""
    said_in_programs = "\n".join(mistake.text for mistake in SECTIONS if mistake.diff is not None)
    missing = {text: file for text, file in fixes().items() if text not in said_in_programs}
    assert {text: file for text, file in missing.items() if text not in UNFOLLOWED} == {}
    assert [text for text in UNFOLLOWED if text not in missing] == [], "these are followed: drop them"
