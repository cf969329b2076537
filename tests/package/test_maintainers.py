"""The pages for maintainers: every folder stands in them, and every file that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "typedfilter"
PAGES = ROOT / ".github"
KINDS = {"added", "changed", "fixed", "deprecated", "removed"}


def test_every_room_of_the_package_stands_in_the_page_on_architecture():
    page = (PAGES / "ARCHITECTURE.md").read_text()
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {room for room in rooms - {"__init__"} if f"`{room}`" not in page} == set()


def test_every_file_that_the_pages_name_exists():
    named = [
        (page.name, name)
        for page in PAGES.glob("*.md")
        for name in re.findall(r"`((?:typedfilter/|tests/|_\w+/|check/)[\w/.]*)`", page.read_text())
    ]
    assert len(named) > 30
    missing = [
        (page, name) for page, name in named if not any((base / name).exists() for base in (ROOT, PACKAGE))
    ]
    assert missing == []


def test_every_fragment_of_the_changelog_has_a_kind_and_some_words():
    for fragment in (ROOT / ".changes").iterdir():
        name, kind, suffix = fragment.name.split(".")
        assert name
        assert kind in KINDS
        assert suffix == "md"
        assert fragment.read_text().strip()
