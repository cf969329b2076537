"""What tests of messages ask of an error: all of its text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from typedfilter import TypedFilterError


def check(call: Callable[[], object], *lines: str) -> None:
    """Assert that a call is refused, in these lines."""
    with pytest.raises(TypedFilterError) as refused:
        call()
    assert str(refused.value).splitlines() == list(lines)


def lines(*parts: str) -> str:
    """The text of an error: what is wrong, and below it the facts."""
    return "\n  ".join(parts)
