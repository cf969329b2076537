"""A plugin of pytest, for `.ci/switches`: with `SWITCHED=no-tracing`, JAX traces nothing while a test runs.

JAX reads that switch from the environment, too, but then no module of tests can be imported.
"""

import os
from collections.abc import Generator

import jax
import pytest
from hypothesis import Phase, settings


def pytest_configure() -> None:
    """Let the examples of a law fail as they are: to find smaller ones takes minutes, for each that fails."""
    settings.register_profile("switched", settings(), phases=[Phase.explicit, Phase.generate])
    settings.load_profile("switched")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Set the switch for the test alone, not for its fixtures."""
    jax.config.update("jax_no_tracing", os.environ["SWITCHED"] == "no-tracing")
    try:
        return (yield)
    finally:
        jax.config.update("jax_no_tracing", False)
