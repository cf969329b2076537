"""The library calls: `check_shapes` and `example`.

Whoever imports the package imports this: the machinery comes with the first check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.check.report.report import Report

T = TypeVar("T", bound=Callable[..., Any])


@ends_at_caller
def check_shapes(target: Any, /, *, mesh: Mapping[str, int] | None = None) -> Report:
    """Prove the shapes of an annotated function, of the methods of a class, or of all functions of a module.

    Nothing is compiled and no array is made: the body is traced with symbolic sizes.

    Args:
        target: a function, transformed or not; a method; a class; a module.
        mesh: the sizes of the axes of a mesh, by name: what needs one is traced under it, without devices.
            Of a function whose annotations say how arrays are split it is proved that the result is.

    Returns:
        A report: its `status` is that of the function (the worst, of several), and it prints as text.

    Raises:
        TypeError: there is no annotated function in `target`.
    """
    from typedfilter.check.trials import judge
    from typedfilter.check.trials import subject as _subject

    if not isinstance(mesh, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance] # who has no types
        raise TypeError(
            f"check_shapes() takes mesh= as sizes by name, such as {{'data': 4}}, not {mesh!r}\n"
            "  fix: of a mesh of devices, pass dict(mesh.shape)"
        )
    axes = tuple((mesh or {}).items())
    results = tuple(judge.judge(subject, axes=axes) for subject in _subject.subjects_of(target))
    if not results:
        raise TypeError(f"{target!r} is not a function that is written in Python, nor holds any")
    return Report(results)


@ends_at_caller
def example_of(cls: Any, /) -> Callable[[T], T]:
    """Say how an instance of somebody else's class is made, wherever a function under check takes one.

    The parameters of the decorated function are names of dimensions: `def _(n): return Operator(jnp.eye(n))`.
    A name that the signature under check has too is that size; others are sizes of their own. The function
    is traced: it may build arrays of symbolic sizes, and is called as often as sizes are tried.

    Raises:
        TypeError: a parameter of the function can't be given a size by name.
    """

    @ends_at_caller
    def mark(function: T) -> T:
        from typedfilter.check.inputs import examples

        examples.remember(cls, function)
        return function

    return mark


def example(**values: Any) -> Callable[[T], T]:
    """Say with which values a function is to be checked, where its annotations do not.

    A name is a parameter (`Static[int]` without a default), or a dimension (`n=16`, for a function that does
    not take all sizes). On a class: the fields that `self` is made with. Several examples are all tried.
    The function itself is not changed.
    """

    @ends_at_caller
    def mark(target: T) -> T:
        marked: Any = target
        if not callable(target):
            raise TypeError(f"check.example() marks a function or a class, not {target!r}")
        inner = marked
        while not isinstance(marked, type) and hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        known = vars(inner).get("__typedfilter_examples__", ())
        inner.__typedfilter_examples__ = [values, *known]
        return target

    return mark
