"""How pytest finds `--typedfilter-check`: a package of its own, since pytest imports it at every start.

It imports `typedfilter`, and so JAX, only where the option is used: not before a `conftest.py` had its say about
platforms and flags, and not in projects whose tests have nothing to do with it.
"""

from __future__ import annotations

import importlib

import pytest


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
    if config.getoption("--typedfilter-check"):
        plugin = importlib.import_module("typedfilter.check.pytest_plugin")
        config.pluginmanager.register(plugin, "typedfilter-check-items")
