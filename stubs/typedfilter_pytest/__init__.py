"""How pytest finds `--typedfilter-check`, fixtures and markers: a package of its own, imported at every start.

It imports `typedfilter`, and so JAX, only where the option is used: not before a `conftest.py` had its say about
platforms and flags, and not in projects whose tests have nothing to do with it.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

import pytest

MARKERS = (
    "no_retrace: fail where a filter_jit function is traced again during this test",
    "max_traces(fn, count): fail where fn is traced more often than that during this test",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--typedfilter-check`."""
    parser.getgroup("typedfilter").addoption(
        "--typedfilter-check",
        action="append",
        default=[],
        metavar="PATH",
        help="prove the shapes of the annotated functions in a file, folder or module; may be given again",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Bring in the plugin, if there is something to check."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getoption("--typedfilter-check"):
        plugin = importlib.import_module("typedfilter.check.pytest_plugin")
        config.pluginmanager.register(plugin, "typedfilter-check-items")


@pytest.fixture
def no_retrace() -> Iterator[None]:
    """Fail where a `filter_jit` function is traced again while the test runs."""
    with importlib.import_module("typedfilter.testing").no_retrace():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run a test under what its markers say."""
    markers = [*item.iter_markers("no_retrace"), *item.iter_markers("max_traces")]
    with contextlib.ExitStack() as stack:
        for marker in markers:
            testing = importlib.import_module("typedfilter.testing")
            stack.enter_context(getattr(testing, marker.name)(*marker.args, **marker.kwargs))
        return (yield)
