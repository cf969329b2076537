"""The README's code runs, prints what it shows, and its shell blocks are what they say."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import pkgutil
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import typedfilter
from typedfilter import TypedFilterError
from typedfilter.docs.command import pages

README = Path(__file__).parents[2] / "README.md"
PAGES = [README, *pages().values()]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def _bare_tracebacks():
    """Without JAX's note on the frames that it removes, which is no part of a message."""
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    yield
    jax.config.update("jax_traceback_filtering", before)


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str, str]]:
    """Line number, language and text of each fenced block of a page in these languages."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        if match[1] in languages:
            yield text.count("\n", 0, match.start()) + 2, match[1], match[2]


every_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])


@every_page
@pytest.mark.usefixtures("_bare_tracebacks")
def test_python_blocks_run_in_order_and_print_what_they_show(page: Path, monkeypatch: pytest.MonkeyPatch):
    name = page.stem.lower().replace("-", "_")
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    for line, language, text in blocks(page, "python", "pycon"):
        if language == "python":
            # Padded with empty lines, so that a traceback points at the line of the README.
            exec(compile("\n" * (line - 1) + text, str(page), "exec"), module.__dict__)
        else:
            # doctest takes an empty line for the end of the output; here that is the next prompt.
            text = re.sub(r"^$\n(?!>>>)", "<BLANKLINE>\n", text, flags=re.MULTILINE)
            session = parser.get_doctest(text, module.__dict__, page.name, str(page), line - 1)
            runner.run(session, out=report.append, clear_globs=False)
            module.__dict__.update(session.globs)
    assert not report, "".join(report)
    assert runner.summarize(verbose=False).attempted > 0 or not list(blocks(page, "pycon"))


@every_page
def test_every_block_says_its_language(page: Path):
    fences = re.findall(r"^```(\w*)$", page.read_text(), re.MULTILINE)
    assert "" not in fences[::2]
    assert set(fences[1::2]) <= {""}


def test_the_first_two_shell_blocks_install_and_run_the_demo_and_the_tests():
    shell = [text.splitlines() for _, _, text in blocks(README, "sh")]
    demo, tests = shell[:2]
    assert demo[1:] == ["pip install '.[demo]'", "typedfilter demo"]
    assert tests[1:] == ["pip install -e '.[dev]'", "pytest -n auto"]
    assert demo[0] == tests[0] == "python3 -m venv .venv && . .venv/bin/activate"


def test_the_table_of_errors_has_all_of_them_with_what_they_also_are():
    page = pages()["errors"].read_text()
    table = re.findall(r"^\| `(\w+Error)` \| `(\w+)` \|", page, re.MULTILINE)
    for module in pkgutil.walk_packages(typedfilter.__path__, "typedfilter."):
        with contextlib.suppress(ModuleNotFoundError):  # the plugin for mypy, without mypy
            importlib.import_module(module.name)
    errors = [e for e in TypedFilterError.__subclasses__() if e.__module__.startswith("typedfilter.")]
    found = {(error.__name__, error.__bases__[1].__name__) for error in errors}
    assert sorted(table) == sorted(found)
    for name, _ in table:
        assert getattr(typedfilter, name).__module__ == "typedfilter.errors"
        assert name in typedfilter.__all__


def test_relative_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
