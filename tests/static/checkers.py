"""Runs mypy and pyright over a folder, as a user of the installed package would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]

MYPY = """\
[mypy]
strict = true
untyped_calls_exclude = jax, ml_dtypes
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
    (folder / "mypy.ini").write_text(config + PLUGIN * plugin + settings)
    if int(version("mypy").split(".")[0]) < 2:
        for path in folder.glob("*.py"):
            path.write_text(re.sub(r"# type: ignore\[.*?\]", "# type: ignore", path.read_text()))
    kind = "static" + "-plugin" * plugin + "-loose" * (not strict) + "-settings" * bool(settings)
    cache = REPOSITORY / ".mypy_cache" / kind
    files = sorted(path.name for path in folder.glob("*.py"))
    run = _run("mypy", "--cache-dir", str(cache), "--no-pretty", "--no-color-output", *files, folder=folder)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    lines = [re.fullmatch(r"(.+?):(\d+): error: (.*)", line) for line in run.stdout.splitlines()]
    return [Found(m[1], int(m[2]), m[3]) for m in lines if m]


def run_pyright(folder: Path, **settings: Any) -> list[Found]:
    """The errors of pyright in the files of a folder."""
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT | settings))
    report = pyright_report("--project", ".", folder=folder)
    files = len(list(folder.glob("*.py")))
    analyzed = report["summary"]["filesAnalyzed"]
    assert analyzed == files, f"pyright read {analyzed} of {files} files"  # it succeeds where it finds none
    return [
        Found(Path(d["file"]).name, d["range"]["start"]["line"] + 1, f"{d['message']} [{d.get('rule', '')}]")
        for d in report["generalDiagnostics"]
        if d["severity"] == "error"
    ]


def pyright_report(*args: str, folder: Path) -> dict[str, Any]:
    """What `pyright --outputjson` says."""
    run = _run("pyright", "--outputjson", "--pythonpath", sys.executable, *args, folder=folder)
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def _run(module: str, *args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # `pyright --verifytypes` looks at whichever `python` comes first.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = os.environ | {"PATH": path, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    # What the environment adds to the path of modules is not what a user has installed.
    for name in ("MYPYPATH", "PYTHONPATH"):
        env.pop(name, None)
    command = [sys.executable, "-m", module, *args]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
