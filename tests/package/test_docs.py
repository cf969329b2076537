"""`typedfilter docs`: every page and every public name can be read in the terminal."""

from __future__ import annotations

import pydoc
import re

import pytest

import typedfilter
from typedfilter.cli import main
from typedfilter.docs.command import pages


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["docs", *words]) == 0
    return capsys.readouterr().out


def test_without_a_topic_all_pages_and_names_are_listed(capsys: pytest.CaptureFixture[str]):
    listed = said(capsys)
    for topic in pages():
        assert re.search(rf"^  {topic} +\S", listed, re.MULTILINE), topic
    for name in typedfilter.__all__:
        assert name in listed


@pytest.mark.parametrize("topic", pages())
def test_a_page_is_shown_as_it_is_written(topic: str, capsys: pytest.CaptureFixture[str]):
    assert said(capsys, topic).rstrip("\n") == pages()[topic].read_text().rstrip("\n")


def test_in_a_terminal_prose_keeps_within_its_width_and_code_is_as_written(monkeypatch: pytest.MonkeyPatch):
    shown: list[str] = []
    monkeypatch.setattr("pydoc.pager", shown.append)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    for topic, page in pages().items():
        assert main(["docs", topic]) == 0
        blocks, written = (text.split("```") for text in (shown.pop(), page.read_text()))
        assert blocks[1::2] == written[1::2]
        lines = [line for prose in blocks[::2] for line in prose.splitlines() if line[:1] not in ("|", "#")]
        assert [line for line in lines if len(line) > 50 and " " in line.strip("- ")] == []
        assert [prose.split() for prose in blocks[::2]] == [prose.split() for prose in written[::2]]


@pytest.mark.parametrize("name", [name for name in typedfilter.__all__ if name.startswith("filter_")])
def test_the_reference_of_a_transform_is_its_signature_and_its_docstring(
    name: str, capsys: pytest.CaptureFixture[str]
):
    first, _, *rest = said(capsys, name).splitlines()
    assert first.startswith(f"{name}(")
    assert rest[0].strip()


def test_a_name_that_is_almost_one_is_told(capsys: pytest.CaptureFixture[str]):
    assert main(["docs", "filter_jitt"]) == 2
    assert capsys.readouterr().err == (
        "typedfilter docs: there is no page or public name 'filter_jitt'; did you mean 'filter_jit'? "
        "(without a topic, all are listed)\n"
    )


def test_every_link_between_pages_leads_to_one():
    names = {f"{topic}.md" for topic in pages()}
    for topic, page in pages().items():
        linked = re.findall(r"\]\(([\w-]+\.md)[#)]", page.read_text())
        assert set(linked) <= names, topic


@pytest.mark.parametrize("marker", ["Static", "Traced", "Donate", "Diff", "NoDiff", "VmapAxis", "ScanAxis"])
def test_help_on_a_marker_explains_it(marker: str, capsys: pytest.CaptureFixture[str]):
    told = pydoc.plain(pydoc.render_doc(getattr(typedfilter, marker)))
    assert f"`{marker}[" in told
    assert f"`{marker}[" in said(capsys, marker)


def test_a_page_and_a_marker_of_one_name_are_told_apart_by_case(capsys: pytest.CaptureFixture[str]):
    assert said(capsys, "static").startswith("# Static values")
    assert said(capsys, "Static").startswith("Static[T]\n\n    `Static[T]`: ")
    assert said(capsys, "STATIC") == said(capsys, "static")


def test_the_whole_reference_has_every_public_name(capsys: pytest.CaptureFixture[str]):
    heads = set(re.findall(r"^\w+", said(capsys, "api"), re.MULTILINE))
    assert heads == set(typedfilter.__all__)
