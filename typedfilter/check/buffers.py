"""The texts of files that are open in an editor: what these say goes before what the disk says.

Knows Python's import system; knows nothing of editors. Without texts, files are those of the disk.
"""

from __future__ import annotations

import importlib.machinery
import linecache
import sys
import types
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path

_TEXTS: dict[str, str] = {}


def replace(texts: Mapping[str, str]) -> None:
    """From now on files have these texts, by their resolved paths; all others are those of the disk."""
    for file in _TEXTS.keys() - texts.keys():
        linecache.cache.pop(file, None)
    _TEXTS.clear()
    _TEXTS.update(texts)
    for file, text in texts.items():
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    if texts and _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    elif not texts and _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)


def text_of(file: str) -> str | None:
    """What the editor has of a file; None where it is not open."""
    return _TEXTS.get(file)


def read(path: Path) -> bytes:
    """What a file says.

    Raises:
        OSError: it can't be read.
    """
    text = _TEXTS.get(str(path))
    return path.read_bytes() if text is None else text.encode()


def with_text(spec: ModuleSpec | None) -> ModuleSpec | None:
    """A module's spec, loaded from the text of its file where that is open."""
    if spec is not None and spec.origin is not None and isinstance(spec.loader, SourceFileLoader):
        file = str(Path(spec.origin).resolve())
        if file in _TEXTS:
            spec.loader = _Loader(spec.name, spec.origin)
    return spec


class _Loader(SourceFileLoader):
    """Compiles the text of an editor, and leaves no compiled file behind."""

    def get_code(self, fullname: str) -> types.CodeType:
        file = Path(self.path).resolve()
        code: types.CodeType = self.source_to_code(read(file), str(file))
        return code


class _Finder(importlib.machinery.PathFinder):
    """Finds modules where Python does."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        return None if spec is None or spec.origin is None else with_text(spec)


_FINDER = _Finder
