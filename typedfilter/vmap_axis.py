"""`VmapAxis` and `ScanAxis`, alone in their module because a stub replaces a module whole: `vmap_axis.pyi`.

At run time `VmapAxis[1]` is `Annotated[Any, AxisSpec(1)]` and `VmapAxis[1, T]` is
`Annotated[T, AxisSpec(1)]`: an alias, not an instance, so that `| None` and beartype understand it.
"""

from __future__ import annotations

import numbers
import types
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

from typedfilter.annotations import AxisSpec, Diff, Donate, Marker, NoDiff, ScanSpec, Static, Traced
from typedfilter.errors import AnnotationError

__all__ = ["AXES", "ScanAxis", "VmapAxis", "how_to_write"]


def how_to_write(name: str) -> str:
    """For messages: the forms of `VmapAxis`, or of `ScanAxis`."""
    return f"write {name}[1], {name}[None], {name}[1, T] or Annotated[T, {name}[1]]"


def _is_axis(item: object) -> bool:
    return item is None or (isinstance(item, int) and not isinstance(item, bool))


def _is_number(item: object) -> bool:
    return isinstance(item, numbers.Number)


class VmapAxis:
    """The axis along which `filter_vmap` and `filter_pmap` map an argument, a field or the result.

    `VmapAxis[k]` maps axis `k` (negative counts from the end), `VmapAxis[None]` broadcasts. With a type:
    `VmapAxis[k, T]`, or `Annotated[T, VmapAxis[k]]`, which every type checker reads without help.

    Raises:
        AnnotationError: the axis is not an `int` or `None`, or what stands beside it is not one type.
    """

    def __init__(self, *_: object) -> None:
        try:
            _no_instances("VmapAxis")
        except AnnotationError as error:
            error.__traceback__ = None
            raise

    def __class_getitem__(cls, item: Any) -> Any:
        try:
            return _annotated("VmapAxis", AxisSpec, item)
        except AnnotationError as error:
            error.__traceback__ = None  # ends at the line of whoever writes this
            raise


class ScanAxis:
    """The axis along which `filter_scan` and `filter_map` step through an argument, a field or the result.

    `ScanAxis[k]` scans along axis `k` (negative counts from the end); of `ScanAxis[None]` every step sees
    all. With a type: `ScanAxis[k, T]`, or `Annotated[T, ScanAxis[k]]`, which every type checker reads
    without help.

    Raises:
        AnnotationError: the axis is not an `int` or `None`, or what stands beside it is not one type.
    """

    def __init__(self, *_: object) -> None:
        try:
            _no_instances("ScanAxis")
        except AnnotationError as error:
            error.__traceback__ = None
            raise

    def __class_getitem__(cls, item: Any) -> Any:
        try:
            return _annotated("ScanAxis", ScanSpec, item)
        except AnnotationError as error:
            error.__traceback__ = None
            raise


AXES: tuple[type, ...] = (VmapAxis, ScanAxis)


def _no_instances(name: str, fix: str = "") -> NoReturn:
    fix = fix or how_to_write(name)
    raise AnnotationError("is an annotation and has no instances", function=name, fix=fix)


def _annotated(name: str, spec: Callable[[int | None], Marker], item: Any) -> Any:
    parts = item if isinstance(item, tuple) else (item,)
    if len(parts) == 1 and _is_axis(parts[0]):
        return Annotated[Any, spec(parts[0])]
    if len(parts) == 2:
        first, second = parts
        if _is_axis(first) and not _is_number(second):
            return Annotated[second, spec(first)]
        if _is_axis(second) and not _is_number(first):
            return Annotated[first, spec(second)]
    text = ", ".join(part.__qualname__ if isinstance(part, type) else repr(part) for part in parts)
    problem = "has no axis that is an int or None"
    if any(map(_is_axis, parts)):
        problem = "has no type" if len(parts) == 2 else "has more than one type"
    raise AnnotationError(f"{name}[{text}] {problem}", actual=text, fix=how_to_write(name))


def _refuse_call(alias: Any, /, *_: Any, **__: Any) -> NoReturn:
    """For `Static(int)`, in the place of `Static[int]`: typing itself would call the variable inside."""
    name = next(item.name for item in alias.__metadata__ if isinstance(item, Marker))
    try:
        _no_instances(name, f"write it with brackets, around a type: {name}[T]")
    except AnnotationError as error:
        error.__traceback__ = None
        raise


# A class of their own, by which other markers refuse to be called; `Static[int]` is one of typing's as ever.
_OWN = {"__call__": _refuse_call, "__module__": __name__}
_Alias = types.new_class("Alias", (type(Static),), {"_root": True}, lambda namespace: namespace.update(_OWN))
for _alias in (Static, Traced, Donate, Diff, NoDiff):
    _alias.__class__ = _Alias
