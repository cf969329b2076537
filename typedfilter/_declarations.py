"""What is left of the type declarations at run time: names, and the options that are looked at.

The declarations themselves are in `_declarations.pyi`, which type checkers read in this file's place. All
other names stand for `Any` here, so that whoever writes a signature imports from one place.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

Donation: TypeAlias = Literal["all", "all-except-first", "warn", "warn-except-first", "none"]
PmapDonation: TypeAlias = Literal["all", "warn", "none"]
VmapMethod: TypeAlias = Literal["sequential", "sequential_unrolled", "expand_dims", "broadcast_all"]


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return Any
