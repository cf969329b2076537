"""What the docstrings of the public functions say about arguments, results and errors."""

from __future__ import annotations

import inspect
import re

import pytest

import typedfilter

TRANSFORMS = [name for name in typedfilter.__all__ if name.startswith("filter_")]
# In a few words, since they are those of another transform or of what is transformed.
SHORT = {"filter_value_and_grad", "filter_hessian", "filter_eval_shape"}


def sections(name: str) -> list[str]:
    doc = inspect.getdoc(getattr(typedfilter, name)) or ""
    return re.findall(r"^(Args|Returns|Raises):$", doc, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name not in SHORT])
def test_each_transform_says_what_it_takes_returns_and_raises(name: str):
    assert sections(name) == ["Args", "Returns", "Raises"]


def test_what_is_said_in_short_names_the_errors_nevertheless():
    for name in sorted(SHORT):
        doc = inspect.getdoc(getattr(typedfilter, name)) or ""
        assert "Raises" in sections(name) or re.search(r"`filter_\w+`.*\berrors\b", doc), name
