"""Whose code a file is: this package's, JAX's, installed, or the user's own; and the code inside of code."""

from __future__ import annotations

import functools
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path

import jax

_OURS = str(Path(__file__).resolve().parents[1])
JAX_FILES = str(Path(jax.__file__).parent)
"""How the names of JAX's files begin."""


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and those of the functions that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


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
