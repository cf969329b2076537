"""What tests share tells what it compared, as a test does."""

from __future__ import annotations

import pytest
from refusals import check

from typedfilter import ShapeError


def refused() -> None:
    raise ShapeError("is wrong", function="f", parameter="x")


def test_a_shared_assertion_says_what_it_compared():
    with pytest.raises(AssertionError, match=r"argument `x` is wrong"):
        check(refused, "something else")
