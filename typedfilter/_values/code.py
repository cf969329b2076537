"""Whose code a file is: of this package, installed, or the user's own."""

from __future__ import annotations

import functools
import sysconfig
from pathlib import Path

_OURS = str(Path(__file__).resolve().parents[1])


def is_ours(filename: str) -> bool:
    """Whether a file belongs to this package."""
    return Path(filename).is_relative_to(_OURS)


@functools.lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(
        {str(Path(paths[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    )


@functools.lru_cache(maxsize=4096)
def is_installed(filename: str) -> bool:
    """Whether a file is part of Python, of an installed package, or of this one."""
    if filename.startswith("<"):
        return True
    resolved = str(Path(filename).resolve())
    return "site-packages" in resolved or resolved.startswith((_OURS, *_installed()))
