"""The mypy plugin: `[mypy] plugins = typedfilter.mypy_plugin`. Optional; it needs mypy beside the package.

What declarations can't say: the bare forms of `VmapAxis` exactly, contradictory annotations, gradients of
`Diff` parameters that are not the first, and transforms that keep overloads, methods and their `.lower`.

Knows mypy and the names of the package; imports nothing else of it, and nothing of it imports this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mypy.plugin import AnalyzeTypeContext, FunctionContext, MethodContext, Plugin
from mypy.types import AnyType, Type, TypeOfAny, UnboundType

from typedfilter.mypy_plugin.annotations import (
    ANNOTATED,
    AXES,
    CONTAINERS,
    MARKERS,
    array_type,
    axis_name,
    check_inside,
    check_nesting,
    check_type,
    fail,
    is_integral,
    is_text,
    split_axis,
    written_marks,
)
from typedfilter.mypy_plugin.calls import HOOKS, SIGNATURES, partial_of_jit

__all__ = ["TypedfilterPlugin", "plugin"]

# With another version mypy doesn't go on with what it has cached. It looks at this file by itself.
__version__ = hashlib.sha256(
    b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in ("annotations", "calls"))
).hexdigest()


class TypedfilterPlugin(Plugin):
    """See the module."""

    _pass_on: str | None = None  # the name that mypy itself is to analyze next

    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        if fullname == self._pass_on:
            self._pass_on = None
            return None
        if fullname in AXES:
            return partial(self._axis, AXES[fullname])
        if fullname in MARKERS:
            return partial(self._marker, fullname)
        if fullname in CONTAINERS:
            return partial(self._container, fullname)
        return partial(self._annotated, fullname) if fullname in ANNOTATED else None

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        if fullname == "functools.partial":
            return partial_of_jit
        return HOOKS.get(fullname.rpartition(".")[2]) if fullname.startswith("typedfilter.") else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        module, _, name = fullname.partition(SIGNATURES + ".")
        return None if module else HOOKS.get(name)

    def _analyze(self, fullname: str, ctx: AnalyzeTypeContext) -> Type:
        """What mypy makes of the type without this plugin."""
        self._pass_on = fullname
        return ctx.api.visit_unbound_type_nonoptional(ctx.type, False)  # type: ignore[attr-defined,no-any-return]  # not in the interface

    def _axis(self, axis: str, ctx: AnalyzeTypeContext) -> Type:
        other, problem = split_axis(ctx.type.args)
        if problem:
            fail(ctx, f"{axis}[...] {problem}")
            return AnyType(TypeOfAny.from_error)
        if other is None:
            return array_type(ctx)
        name = axis_name(axis, ctx.type.args)
        inner = list(written_marks(ctx, other))
        check_nesting(ctx, name, inner)
        typ = ctx.api.analyze_type(other)
        check_type(ctx, name, inner, typ)
        return typ

    def _marker(self, fullname: str, ctx: AnalyzeTypeContext) -> Type:
        typ = self._analyze(fullname, ctx)
        if ctx.type.args:
            inner = list(written_marks(ctx, ctx.type.args[0]))
            check_nesting(ctx, MARKERS[fullname], inner)
            check_type(ctx, MARKERS[fullname], inner, typ)
            if MARKERS[fullname] == "Diff" and is_integral(ctx, ctx.type.args[0]):
                fail(ctx, "Diff[...]: it has no floating-point dtype to differentiate")
        return typ

    def _container(self, fullname: str, ctx: AnalyzeTypeContext) -> Type:
        check_inside(ctx)
        return self._analyze(fullname, ctx)

    def _annotated(self, fullname: str, ctx: AnalyzeTypeContext) -> Type:
        typ = self._analyze(fullname, ctx)
        if not ctx.type.args:
            return typ
        first, *metadata = ctx.type.args
        marks = list(written_marks(ctx, first))
        # A type of jaxtyping, such as Float[Array, "n"], is Annotated by another name to type checkers.
        if metadata and is_text(metadata[0]) and not ctx.type.name.endswith("Annotated"):
            if marks:
                name = ctx.type.name
                fail(ctx, f"{marks[0]} inside {name}[...] is not seen: write {marks[0]}[{name}[...]]")
            return typ
        for part in metadata:
            found = self._check_metadata(ctx, part, marks)
            for mark in found:
                check_type(ctx, mark, marks, typ)
            marks += found
        return typ

    def _check_metadata(self, ctx: AnalyzeTypeContext, part: Type, inner: list[str]) -> list[str]:
        """Check one piece of metadata of `Annotated`, which mypy itself skips; the markers in it."""
        found = list(written_marks(ctx, part))
        axis = found[0].partition("[")[0] if found else ""
        if isinstance(part, UnboundType) and axis in AXES.values():
            _, problem = split_axis(part.args)
            if problem:
                fail(ctx, f"{axis}[...] {problem}")
        for mark in found:
            check_nesting(ctx, mark, inner)
        return found


def plugin(version: str) -> type[Plugin]:
    """What mypy calls; the plugin is the same for every version that the package supports."""
    return TypedfilterPlugin
