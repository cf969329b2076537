"""How a law of programs is tried: a few, the same each time; under `--fuzz` others, for as long as asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from strategies.programs import hold

Law = Callable[[st.SearchStrategy[Any], int], None]


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Law:
    """Runs programs of a strategy, so many; under `--fuzz` until this law's share of the time is over."""
    minutes = request.config.getoption("--fuzz")
    laws = sum("fuzz" in getattr(item, "fixturenames", ()) for item in request.session.items)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

    def run(programs: st.SearchStrategy[Any], count: int) -> None:
        until = time.monotonic() + (minutes or 0) * 60 * workers / laws
        hold(programs, min(count, settings().max_examples), derandomize=minutes is None)
        while time.monotonic() < until:
            hold(programs, count, derandomize=False)

    return run
