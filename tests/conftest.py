"""What test sessions share: eight virtual CPU devices, compiled programs, and property tests that repeat."""

from __future__ import annotations

import gc
import importlib.metadata
import itertools
import logging
import os
import tempfile
from collections.abc import Iterator

# Before anything imports JAX, which reads them once. What XLA makes of a program is not tested here, and
# a fifth of the time went into making it fast.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    if importlib.metadata.version("jaxlib").startswith("0.10."):  # compiles in two thirds of the time
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import pytest
from hypothesis import settings

# Before a test imports them: what they assert is told like what a test asserts, with what was compared.
pytest.register_assert_rewrite("arrays", "meshes", "refusals", "strategies")

# Set by .ci/run for the suites on the oldest and the newest JAX. What no version of JAX changes ran once
# before them, with the versions of README's command; of laws a few examples are enough,
# and of a long table each takes a third, not the same one. "versions" takes all of the tables.
SUITE = os.environ.get("TYPEDFILTER_TESTS")
OTHER_VERSIONS = SUITE in ("oldest", "newest", "versions")
FIRST_ROW = {"oldest": 0, "newest": 1}.get(SUITE or "")
LONG_TABLE = 3
MODULES = itertools.count(1)
ONCE = [
    *(
        "static",
        "bench",
        "check/test_pytest_plugin.py",
        "check/test_apart.py",
        "check/test_command.py",
        "check/test_lsp_command.py",
        "check/trials/test_planted.py",
        "distributed/test_demo_processes.py",  # what JAX's processes do, test_two_processes.py holds
    ),
    *("compiling/test_growth.py", "laws/test_faults.py", "laws/test_mutants.py", "package/test_security.py"),
    *("package/test_layout.py", "package/test_cli.py", "package/test_readme.py", "package/test_docs.py"),
]
collect_ignore = ONCE if OTHER_VERSIONS else []

# No deadline: the first example of a test compiles. Derandomized: a failure must fail again.
settings.register_profile(
    "typedfilter", deadline=None, derandomize=True, max_examples=6 if OTHER_VERSIONS else 100
)
settings.load_profile("typedfilter")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the laws that draw programs be tried for longer, with other programs each time."""
    parser.addoption("--fuzz", type=float, metavar="MINUTES", help="try only the laws of programs, so long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fuzz") is not None:
        chosen = [item for item in items if "fuzz" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
    if FIRST_ROW is not None:
        deselect_rows(config, items, FIRST_ROW)


def deselect_rows(config: pytest.Config, items: list[pytest.Item], first: int) -> None:
    """Leave every third row of each long table, from the `first` on."""
    tables: dict[str, list[pytest.Item]] = {}
    for item in items:
        tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    shorter = (rows[first::3] if len(rows) >= LONG_TABLE else rows for rows in tables.values())
    chosen = set(itertools.chain.from_iterable(shorter))
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nothing is logged: JAX does so with every exception of a callback, besides raising one."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def look_up_in(folder: str | None) -> None:
    """Let JAX keep what it compiles in a folder, or in none."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()  # whether there is one, JAX asks when it compiles for the first time


@pytest.fixture(scope="session", autouse=True)
def compiled_before() -> Iterator[str]:
    """The folder in which JAX looks up programs: thousands of new functions are a few hundred programs.

    Each process of tests has its own, since JAX does not write a file in one step. All is traced, lowered and
    asked for as without it, and JAX tells listeners of each program that it compiled it.
    """
    with tempfile.TemporaryDirectory() as folder:
        look_up_in(folder)
        yield folder
        look_up_in(None)


@pytest.fixture
def compiled_anew(compiled_before: str) -> Iterator[None]:
    """Look nothing up: threads are to compile side by side, and would read what another has half written."""
    look_up_in(None)
    yield
    look_up_in(compiled_before)


@pytest.fixture(scope="module", autouse=True)
def _only_what_this_module_makes_is_collected() -> None:
    """Leave what was imported, and what JAX keeps of earlier modules, out of garbage collections.

    Tests ask for many collections, and JAX's search for leaks looks at all objects that one would look at.
    What JAX has lowered it keeps, a megabyte for each program: four gigabytes, if nobody let go of them.
    """
    if next(MODULES) % 8 == 0:
        import jax

        jax.clear_caches()
    gc.set_threshold(10_000, 10, 10)  # of 700 objects, as many as one trace makes, hardly one is garbage
    gc.collect()
    gc.freeze()
