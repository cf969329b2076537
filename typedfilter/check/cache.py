"""What earlier runs of the check have found, for as long as nothing that it depends on has changed.

That is: the file, all files that were imported for it and are not installed, which distributions are
installed in which versions, Python, and the settings. What else a file reads while it is imported (data, the
environment) is not seen: `--no-cache` looks again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from typedfilter.check.find import Source
from typedfilter.check.report.results import Frame, Result, Span

FOLDER = ".typedfilter_cache"
_FORMAT = 1


class Cache:
    """Verdicts by file, in a folder; `None` for one that remembers nothing."""

    def __init__(self, folder: Path | None, settings: Iterable[Any] = ()) -> None:
        self._folder = folder
        self._settings = [_FORMAT, *map(repr, settings)]
        self._digests: dict[str, str] = {}  # of each file as this run first saw it

    def get(self, source: Source) -> tuple[list[Result], tuple[str, ...]] | None:
        """The verdicts on a file, and what was imported for it; None where they may be others now."""
        if self._folder is None:
            return None
        try:
            entry = json.loads(self._file(source).read_text(encoding="utf-8"))
            if any(self._digest(file) != digest for file, digest in entry["files"].items()):
                return None
            return [_result(values) for values in entry["results"]], tuple(entry["files"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # missing, or not written by us
            return None

    def add(self, source: Source, results: Sequence[Result], modules: Iterable[str]) -> None:
        """Remember the verdicts on a file; a folder that can't be written to is left alone."""
        if self._folder is None or source.path is None:
            return
        files = {str(source.path), *(file for file in modules if not _is_installed(file))}
        entry = {
            "files": {file: self._digest(file) for file in sorted(files)},
            "results": [dataclasses.asdict(result) for result in results],
        }
        with contextlib.suppress(OSError, TypeError, ValueError):
            _prepare(self._folder)
            _write(self._file(source), json.dumps(entry))

    def _digest(self, file: str) -> str:
        if file not in self._digests:
            self._digests[file] = _digest(file)
        return self._digests[file]

    def _file(self, source: Source) -> Path:
        assert self._folder is not None
        key = [*self._settings, str(source.path), source.module, source.only, *_versions()]
        return self._folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.json"


def _prepare(folder: Path) -> None:
    """Make the folder, which no version control and no backup takes for somebody's work."""
    folder.mkdir(exist_ok=True)
    for name, text in ((".gitignore", "*\n"), ("CACHEDIR.TAG", _TAG)):
        if not (folder / name).exists():
            (folder / name).write_text(text)


_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Verdicts of `typedfilter check`; it may be deleted.\n"


def _write(file: Path, text: str) -> None:
    """Whole, or not at all: another run may read at the same moment."""
    descriptor, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(name, file)


def _result(values: dict[str, Any]) -> Result:
    span, frame = values["span"], values["frame"]
    values["case"] = tuple(values["case"])
    values["span"] = None if span is None else Span(**span)
    values["frame"] = None if frame is None else Frame(**frame)
    return Result(**values)


def _digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


@functools.cache
def _installed() -> tuple[str, ...]:
    return tuple(
        {str(Path(part)) for part in sys.path if "site-packages" in part} | {sys.base_prefix, sys.prefix}
    )


def _is_installed(file: str) -> bool:
    """Whether a file belongs to a distribution, or to Python: its version says what is in it."""
    return file.startswith(_installed())


@functools.cache
def _versions() -> tuple[str, ...]:
    # With what was installed: a package that one works on is installed again and again under one version.
    # The record names the folder of the metadata, which says name and version: these take long to parse.
    found = {
        one.read_text("RECORD") or f"{one.name} {one.version}" for one in importlib.metadata.distributions()
    }
    return sys.version, hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()
