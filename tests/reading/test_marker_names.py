"""The names of markers: each marker knows its own, and users write that one."""

from __future__ import annotations

from typing import get_args

import pytest

import typedfilter
from typedfilter._reading.text import show
from typedfilter.annotations import ALIASES


@pytest.mark.parametrize("marker", ALIASES)
def test_a_marker_is_exported_and_shown_by_the_name_that_it_has(marker):
    alias = getattr(typedfilter, marker.name)
    assert get_args(alias[int]) == (int, marker())
    assert show(alias[int]) == f"{marker.name}[int]"
