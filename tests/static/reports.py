"""One run of each checker over all programs, shared by the tests of a session and its processes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
CHECKED = sorted(HERE.glob("check_*.py"))
WITH_PLUGIN = [*CHECKED, HERE / "plugin_check.py"]
COUNTED = [HERE / f"{name}.py" for name in ("programs", "models", "call_sites", "usage")]

# A file that every run must find wrong, in exactly these lines: a checker that reads nothing, or does not
# find the package, would report something else.
GUARD = """\
from jax import Array
import typedfilter

@typedfilter.filter_jit
def function(x: Array) -> Array:
    return x

function("text")
wrong: int = function(1, 2, 3)
"""

# What the plugin is to take from the cache when another file is read.
LOSSES = """\
from jax import Array
from typedfilter import Diff
def loss(x: str, w: Diff[dict[str, Array]]) -> Array:
    return w[x]
"""


def files_of(checker: str, new_mypy: tuple[str, ...]) -> list[Path]:
    """What a checker reads: the ignores in `check_` files are those of mypy and pyright."""
    checked = {"mypy, plugin": WITH_PLUGIN, "mypy": CHECKED, "pyright": CHECKED, "basedpyright": CHECKED}
    files = [*checked.get(checker, []), *COUNTED]
    return [file for file in files if not (checker.startswith("mypy") and file.stem in new_mypy)]


def report(
    checker: str, checkers: ModuleType, shared: Path, new_mypy: tuple[str, ...]
) -> list[tuple[str, int, str]]:
    """What a checker finds; the first process that asks runs it, and the others wait for the result.

    Args:
        checker: its name in `checkers.CHECKERS`.
        checkers: the module of that name.
        shared: a folder that all processes of the session see.
        new_mypy: files that this mypy is too old for.
    """
    name = checker.replace(", ", "-")
    result = shared / f"{name}.json"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            folder = shared / name
            folder.mkdir()
            for file in files_of(checker, new_mypy):
                shutil.copy(file, folder)
            (folder / "guard.py").write_text(GUARD)
            if checker == "mypy, plugin":
                (folder / "losses.py").write_text(LOSSES)
            result.write_text(json.dumps(checkers.CHECKERS[checker](folder)))
    return [(file, line, text) for file, line, text in json.loads(result.read_text())]


def shared_folder(own: Path) -> Path:
    """A folder of this session for all its processes, given the one of this process."""
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "checkers"
    folder.mkdir(exist_ok=True)
    return folder
