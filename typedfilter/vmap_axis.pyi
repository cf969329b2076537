# Replaces vmap_axis.py for type checkers, so that the bare forms `VmapAxis[1]` and `VmapAxis[1, T]`, and
# those of `ScanAxis`, are accepted as types (read as `Any`; the mypy plugin makes them exact). No declaration
# does it for all checkers at once, so each is led to its own. tests/static keeps all of them honest.
import typing as _t  # pyright: ignore[reportAssignmentType]  # declared below as what it is not
from typing import Any, Literal

__all__ = ["AXES", "ScanAxis", "VmapAxis", "how_to_write"]

AXES: tuple[type, ...]

def how_to_write(name: str) -> str: ...

MYPY: bool  # mypy takes this name for true

class _No:
    @property
    def TYPE_CHECKING(self) -> Literal[False]: ...  # noqa: N802 (the name is the point)

_t: _No  # type: ignore[no-redef]

# mypy can't decide `and 1`, reads both branches, skips the inner block and keeps the second declaration.
# pyright goes by the name TYPE_CHECKING and takes the first branch: a class to derive from, in which a
# subscript is a call. ty reads Literal[False] and takes the second.
if _t.TYPE_CHECKING and 1:
    if not MYPY:
        from _typedfilter_axis import ScanAxis as ScanAxis
        from _typedfilter_axis import VmapAxis as VmapAxis
else:
    VmapAxis: Any
    ScanAxis: Any
