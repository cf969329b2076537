"""A plugin of pytest, for `.ci/switches`: with `SWITCHED=no-tracing`, JAX traces nothing while a test runs.

JAX reads that switch from the environment, too, but then no module of tests can be imported.
"""

import os
from collections.abc import Generator

import jax
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Set the switch for the test alone, not for its fixtures."""
    jax.config.update("jax_no_tracing", os.environ["SWITCHED"] == "no-tracing")
    try:
        return (yield)
    finally:
        jax.config.update("jax_no_tracing", False)
