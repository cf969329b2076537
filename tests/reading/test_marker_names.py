"""The names of markers, which the plugin of mypy lists once more: it imports nothing of the package."""

from __future__ import annotations

from typedfilter import annotations
from typedfilter._reading.names import MARKER_NAMES
from typedfilter._reading.text import show
from typedfilter.mypy_plugin.annotations import MARKERS


def test_the_reader_and_the_plugin_know_the_same_markers():
    assert {name.rpartition(".")[2] for name in MARKERS} <= set(MARKER_NAMES)


def test_every_marker_is_shown_by_a_name_that_the_reader_knows():
    for name in MARKER_NAMES:
        marker = getattr(annotations, name, None)
        if marker is not None:
            assert show(marker[int]) == f"{name}[int]"
