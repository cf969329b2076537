"""How a law of programs is tried: a few, the same each time; under `--fuzz` others, for as long as asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Law = Callable[..., None]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]  # programs are long, and compile


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Law:
    """Runs programs of a strategy, so many; under `--fuzz` until this law's share of the time is over.

    Of what fails the smallest is told, unless it is called with `smallest=False`.
    """
    minutes = request.config.getoption("--fuzz")
    laws = sum("fuzz" in getattr(item, "fixturenames", ()) for item in request.session.items)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

    def run(programs: st.SearchStrategy[Any], count: int, smallest: bool = True) -> None:
        until = time.monotonic() + (minutes or 0) * 60 * workers / laws
        how = settings(
            max_examples=count,
            suppress_health_check=SLOW,
            derandomize=minutes is None,
            phases=[*Phase] if smallest else [Phase.generate],
        )

        @how
        @given(programs)
        def law(program: Any) -> None:
            program.run()

        law()
        while time.monotonic() < until:
            law()

    return run
