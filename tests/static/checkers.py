"""Runs type checkers over a folder, as a user of the installed package would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))

MYPY = """\
[mypy]
strict = true
untyped_calls_exclude = jax, ml_dtypes
[mypy-optax.*]
ignore_missing_imports = true
"""
# Half the time that mypy takes without a cache. What of this a public type hangs on would be a lost type.
INTERNALS = """\
[mypy-jaxlib.mlir.*,jaxlib.mosaic.*,jaxlib.triton.*,jax._src.interpreters.mlir,jax._src.pallas.*,jax._src.dlpack]
follow_imports = skip
[mypy-jax._src.export.*,jax._src.scipy.*,jax._src.lax.windowed_reductions,jax._src.image.*,jax._src.nn.*]
follow_imports = skip
[mypy-jax._src.debugger.*,jax._src.tpu.*,jax._src.cudnn.*,beartype.*,flax.*,ml_dtypes.*]
follow_imports = skip
"""
PLUGIN = "plugins = typedfilter.mypy_plugin\n"
PYRIGHT = {
    "include": ["."],
    "typeCheckingMode": "strict",
    "reportUnnecessaryTypeIgnoreComment": "error",
    # What comes out of JAX is partly unknown, and programs that must be rejected use nothing.
    "reportUnknownMemberType": False,
    "reportUnknownArgumentType": False,
    "reportUnknownVariableType": False,
    "reportUnknownLambdaType": False,
    "reportUnusedFunction": False,
    "reportUnusedVariable": False,
}
# Whether lambdas need annotations is no question of the transforms.
PYREFLY = '[errors]\nimplicit-any-lambda = "ignore"\n'


class Found(NamedTuple):
    """One error that a checker reports."""

    file: str
    line: int
    text: str


def run_mypy(folder: Path, *, plugin: bool, settings: str = "", strict: bool = True) -> list[Found]:
    """The errors of `mypy --strict` in the files of a folder, with further lines of its configuration.

    Older releases report some errors under other codes: for them, codes are dropped from the ignores.
    """
    config = MYPY if strict else MYPY.replace("strict = true\n", "")
    (folder / "mypy.ini").write_text(
        config.replace("[mypy]\n", "[mypy]\n" + PLUGIN * plugin) + (settings or INTERNALS)
    )
    if int(version("mypy").split(".")[0]) < 2:
        for path in folder.glob("*.py"):
            path.write_text(re.sub(r"# type: ignore\[.*?\]", "# type: ignore", path.read_text()))
    kind = "static" + "-plugin" * plugin + "-loose" * (not strict) + "-settings" * bool(settings)
    cache = REPOSITORY / ".mypy_cache" / kind
    files = sorted(path.name for path in folder.glob("*.py"))
    flags = ("--cache-dir", str(cache), "--no-pretty", "--no-color-output", "--config-file", "mypy.ini")
    return _lines(_run("-m", "mypy", *flags, *files, folder=folder), r"(.+?):(\d+): error: (.*)")


def run_pyright(folder: Path, name: str = "pyright", **settings: Any) -> list[Found]:
    """The errors of pyright, or of basedpyright, in the files of a folder."""
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT | settings))
    report = pyright_report("--project", ".", folder=folder, name=name)
    files = len(list(folder.glob("*.py")))
    analyzed = report["summary"]["filesAnalyzed"]
    assert analyzed == files, f"{name} read {analyzed} of {files} files"  # it succeeds where it finds none
    return [
        Found(Path(d["file"]).name, d["range"]["start"]["line"] + 1, f"{d['message']} [{d.get('rule', '')}]")
        for d in report["generalDiagnostics"]
        if d["severity"] == "error"
    ]


def pyright_report(*args: str, folder: Path, name: str = "pyright") -> dict[str, Any]:
    """What `pyright --outputjson` says."""
    run = _run("-m", name, "--outputjson", "--pythonpath", sys.executable, *args, folder=folder)
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def run_ty(folder: Path) -> list[Found]:
    """The errors of ty in the files of a folder."""
    flags = ("--python", sys.executable, "--output-format", "concise", "--no-progress")
    run = _run("-m", "ty", "check", *flags, ".", folder=folder)
    return _lines(run, r"(.+?):(\d+):\d+: error\S* (.*)")


def run_pyrefly(folder: Path) -> list[Found]:
    """The errors of pyrefly in the files of a folder."""
    (folder / "pyrefly.toml").write_text(PYREFLY)
    flags = ("--python-interpreter-path", sys.executable, "--output-format", "min-text")
    return _lines(_run("-m", "pyrefly", "check", *flags, folder=folder), r"ERROR (.+?):(\d+):.*?: (.*)")


def run_zuban(folder: Path) -> list[Found]:
    """The errors of zuban in the files of a folder."""
    (folder / "mypy.ini").write_text("[mypy]\n")  # a project of its own, and nothing else
    files = sorted(path.name for path in folder.glob("*.py"))
    command = [str(SCRIPTS / "zuban"), "check", "--python-executable", sys.executable, *files]
    return _lines(_run(*command, folder=folder), r"(.+?):(\d+): error: (.*)")


CHECKERS: dict[str, Callable[[Path], list[Found]]] = {
    "mypy": lambda folder: run_mypy(folder, plugin=False),
    "mypy, plugin": lambda folder: run_mypy(folder, plugin=True),
    "pyright": run_pyright,
    "basedpyright": lambda folder: run_pyright(folder, "basedpyright"),
    "pyrefly": run_pyrefly,
    "ty": run_ty,
    "zuban": run_zuban,
}


def _lines(run: subprocess.CompletedProcess[str], pattern: str) -> list[Found]:
    assert run.returncode in (0, 1), run.stdout + run.stderr
    lines = [re.fullmatch(pattern, line) for line in run.stdout.splitlines()]
    return [Found(m[1].strip(), int(m[2]), m[3]) for m in lines if m]


def environment() -> dict[str, str]:
    """The environment in which checkers run."""
    # `pyright --verifytypes` looks at whichever `python` comes first.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = os.environ | {"PATH": path, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    # What the environment adds to the path of modules is not what a user has installed.
    for name in ("MYPYPATH", "PYTHONPATH"):
        env.pop(name, None)
    return env


def _run(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *args] if args[0] == "-m" else [*args]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
