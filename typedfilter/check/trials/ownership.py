"""Whose code a file is: the user's, or that of an installed package.

Floor 5.
"""

from __future__ import annotations

import functools
import sysconfig
from pathlib import Path

_OURS = str(Path(__file__).resolve().parent.parent)


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


def is_users(filename: str, file: str) -> bool:
    """Whether a frame is in the user's own code."""
    return filename == file or not is_installed(filename)
