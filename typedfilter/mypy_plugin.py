"""The mypy plugin: `[mypy] plugins = typedfilter.mypy_plugin`. Optional; it needs mypy beside the package.

What declarations can't say: the bare forms of `VmapAxis` exactly, contradictory annotations, gradients of
`Diff` parameters that are not the first, and transforms that keep overloads, methods and their `.lower`.

Floor 0. Knows mypy and the names of the package; imports nothing of it, and nothing of it imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

from mypy.erasetype import erase_typevars
from mypy.errorcodes import ErrorCode
from mypy.nodes import ARG_STAR, ARG_STAR2, Decorator
from mypy.nodes import TypeAlias as AliasNode
from mypy.plugin import AnalyzeTypeContext, FunctionContext, MethodContext, Plugin
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    LiteralType,
    NoneType,
    Overloaded,
    RawExpressionType,
    TupleType,
    Type,
    TypeAliasType,
    TypeOfAny,
    UnboundType,
    UnionType,
    get_proper_type,
)

__all__ = ["TypedfilterPlugin", "plugin"]

CODE = ErrorCode("typedfilter", "Annotations of typedfilter that contradict each other", "Plugin")

AXIS = "typedfilter.vmap_axis.VmapAxis"  # the defining module: re-exports resolve to it
MARKERS = {
    f"typedfilter.annotations.{name}": name for name in ("Static", "Traced", "Donate", "Diff", "NoDiff")
}
ANNOTATED = ("typing.Annotated", "typing_extensions.Annotated")
SIGNATURES = "typedfilter._signatures"

# What one annotation can't say at once, and why.
CONTRADICTIONS = {
    frozenset({"Static", "Traced"}): "an argument is either static or traced",
    frozenset({"Static", "Donate"}): "a static argument has no buffers to donate",
    frozenset({"Static", "Diff"}): "a static argument can't be differentiated",
    frozenset({"Static", "VmapAxis"}): "a static argument has no axis to map over",
    frozenset({"Diff", "NoDiff"}): "an argument is either differentiated or not",
    frozenset({"VmapAxis"}): "an argument is mapped over one axis",
    frozenset({"VmapAxis", "VmapAxis[None]"}): "an argument is mapped over one axis",
}

# Types that are static without a marker, and those of them that can't become arrays.
SCALARS = {f"builtins.{name}" for name in ("int", "float", "complex", "bool")}
TEXTS = {"builtins.str", "builtins.bytes"}
UNHASHABLE = {f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")}

CallContext: TypeAlias = FunctionContext | MethodContext


# Annotations --------------------------------------------------------------------------------------------


def _is_axis(arg: Type) -> bool:
    if isinstance(arg, RawExpressionType):
        return arg.base_type_name == "builtins.int"
    if isinstance(arg, UnboundType):
        return arg.name == "None" or (arg.name.rpartition(".")[2] == "Literal" and len(arg.args) == 1)
    return isinstance(arg, (NoneType, LiteralType))


def _split_axis(args: tuple[Type, ...]) -> tuple[Type | None, str]:
    """The type in `VmapAxis[...]`, if one is written, and what is wrong with it (or an empty text)."""
    axes = [arg for arg in args if _is_axis(arg)]
    if not 1 <= len(args) <= 2:
        return None, "takes an axis, or an axis and a type"
    if not axes:
        return None, "needs an axis: an int literal or None"
    if len(args) == 1:
        return None, ""
    if len(axes) == 2 and not isinstance(axes[1], (UnboundType, NoneType)):
        return None, "takes one axis"
    axis = axes[0]
    (other,) = [arg for arg in args if arg is not axis]
    return other, ""


def _axis_name(args: tuple[Type, ...]) -> str:
    """`VmapAxis`, or `VmapAxis[None]`, which maps over nothing."""
    axis = next((arg for arg in args if _is_axis(arg)), None)
    none = isinstance(axis, NoneType) or (isinstance(axis, UnboundType) and axis.name == "None")
    return "VmapAxis[None]" if none else "VmapAxis"


def _written_marks(ctx: AnalyzeTypeContext, typ: Type) -> Iterator[str]:
    """The markers around a type, from the outermost inwards, as it is written."""
    if isinstance(typ, UnionType):
        for item in typ.items:
            yield from _written_marks(ctx, item)
    if not isinstance(typ, UnboundType):
        return
    symbol = ctx.api.lookup_qualified(typ.name, typ, suppress_errors=True)  # type: ignore[attr-defined]  # not in the interface
    node = symbol.node if symbol else None
    name = node.fullname if node else ""
    if name == AXIS:
        yield _axis_name(typ.args)
        other, _ = _split_axis(typ.args)
        if other is not None:
            yield from _written_marks(ctx, other)
    elif name in MARKERS and typ.args:
        yield MARKERS[name]
        yield from _written_marks(ctx, typ.args[0])
    elif name in ANNOTATED and typ.args:
        for part in reversed(typ.args):
            yield from _written_marks(ctx, part)
    elif isinstance(node, AliasNode):
        yield from _marks(node.target)


def _marks(typ: Type) -> Iterator[str]:
    """The markers around an analyzed type: markers are generic aliases, which types keep by name."""
    while isinstance(typ, TypeAliasType) and typ.alias is not None:
        name = MARKERS.get(typ.alias.fullname)
        if name:
            yield name
        typ = typ.args[0] if name and typ.args else typ.alias.target
    if isinstance(typ, UnionType):
        for item in typ.items:
            yield from _marks(item)


def _is_text(part: Type) -> bool:
    """Whether metadata of `Annotated` is a string, as the dimensions of a jaxtyping annotation are."""
    if isinstance(part, UnboundType):
        return part.original_str_expr is not None
    return isinstance(part, RawExpressionType) and part.base_type_name == "builtins.str"


def _fail(ctx: AnalyzeTypeContext, message: str) -> None:
    ctx.api.fail(message, ctx.context, code=CODE)


def _check_nesting(ctx: AnalyzeTypeContext, outer: str, inner: Iterable[str]) -> None:
    for name in dict.fromkeys(inner):
        why = CONTRADICTIONS.get(frozenset({outer, name}))
        if why:
            _fail(ctx, f"{outer} contradicts {name}: {why}" if outer != name else f"{outer} twice: {why}")


def _check_type(ctx: AnalyzeTypeContext, marker: str, inner: list[str], typ: Type) -> None:
    why = _unfit(ctx, marker, inner, get_proper_type(typ))
    if why:
        _fail(ctx, f"{marker}[...]: {why}")


def _unfit(ctx: AnalyzeTypeContext, marker: str, inner: list[str], typ: Type) -> str:
    """Why a marker can't be honoured for the type that it stands around; empty where it can."""
    if not isinstance(typ, Instance):
        return ""
    name = typ.type.fullname
    short = typ.type.name
    if marker == "Static":
        if name == "numpy.ndarray" or typ.type is ctx.api.named_type("jax.Array", []).type:
            return "an array can't be static: it is not hashable"
        return f"a {short} can't be static: it is not hashable" if name in UNHASHABLE else ""
    if marker == "Traced":
        return f"{short} can't become an array" if name in TEXTS or typ.type.is_enum else ""
    implied = name in SCALARS or name in TEXTS or typ.type.is_enum
    if not implied or "Traced" in inner or "Static" in inner:
        return ""
    reasons = {
        "Donate": "has no buffers to donate",
        "Diff": "can't be differentiated",
        "VmapAxis": "has no axis to map over",
    }
    return f"{short} is static and {reasons[marker]}" if marker in reasons else ""


# Calls of transforms ------------------------------------------------------------------------------------


def _function(ctx: CallContext) -> FunctionLike | None:
    """The function that a transform is applied to; None for classes, callable objects and anything else."""
    if not ctx.arg_types or not ctx.arg_types[0]:
        return None
    fun = get_proper_type(ctx.arg_types[0][0])
    return fun if isinstance(fun, (CallableType, Overloaded)) and not fun.is_type_obj() else None


def _rebuilt(fun: FunctionLike, change: Callable[[CallableType], CallableType]) -> Type:
    items = [change(item) for item in fun.items]
    return items[0] if len(items) == 1 else Overloaded(items)


def _jit(ctx: CallContext) -> Type:
    """The function itself, with the attributes of `Jitted`: overloads and binding stay mypy's own."""
    fun = _function(ctx)
    if fun is None:
        return ctx.default_return_type
    info = ctx.api.modules[SIGNATURES].names["Jitted"].node  # type: ignore[attr-defined]  # named types must be public
    held: Type = fun
    if isinstance(ctx.context, Decorator) and ctx.context.func.info and not ctx.context.func.is_static:
        held = _rebuilt(fun, _bound)  # `.lower` and the like are looked up on the bound method
    jitted = Instance(info, [held])
    return _rebuilt(fun, lambda item: item.copy_modified(fallback=jitted))


def _bound(item: CallableType) -> CallableType:
    if not item.arg_types or not item.arg_kinds[0].is_positional():
        return item
    rest = item.copy_modified(
        arg_types=item.arg_types[1:], arg_kinds=item.arg_kinds[1:], arg_names=item.arg_names[1:], variables=[]
    )
    return erase_typevars(rest)  # type: ignore[return-value]  # of a callable it makes a callable


def _same(ctx: CallContext) -> Type:
    """All overloads of the function, where a declaration keeps the first."""
    fun = _function(ctx)
    if not isinstance(fun, Overloaded):
        return ctx.default_return_type
    plain = ctx.api.named_generic_type("builtins.function", [])
    return _rebuilt(fun, lambda item: item.copy_modified(fallback=plain))


def _grad_type(ctx: CallContext, item: CallableType) -> Type | None:
    """The type of the gradient: of the `Diff` parameters, or else of the first one."""
    marked = [i for i, typ in enumerate(item.arg_types) if "Diff" in _marks(typ)]
    if not marked:
        return item.arg_types[0] if item.arg_types and item.arg_kinds[0].is_positional() else None
    if any(item.arg_kinds[i] in (ARG_STAR, ARG_STAR2) for i in marked):
        return AnyType(TypeOfAny.special_form)
    types = [item.arg_types[i] for i in marked]
    if len(types) == 1:
        return types[0]
    return _tuple(ctx, types)


def _grad(value: bool, aux: bool | None) -> Callable[[CallContext], Type]:
    """The hook of `filter_grad` or `filter_value_and_grad`; `aux` is read from the call where it is None."""

    def hook(ctx: CallContext) -> Type:
        fun = _function(ctx)
        has_aux = _has_aux(ctx) if aux is None else aux
        if fun is None:
            return ctx.default_return_type
        results: list[CallableType] = []
        for item in fun.items:
            grad = _grad_type(ctx, item)
            returned = get_proper_type(item.ret_type)
            if grad is None or (
                has_aux and not (isinstance(returned, TupleType) and len(returned.items) == 2)
            ):
                return ctx.default_return_type
            parts: list[Type] = [grad]
            if value:
                parts = [item.ret_type, grad]
            elif has_aux and isinstance(returned, TupleType):
                parts = [grad, returned.items[1]]
            results.append(_with_result(ctx, item, parts))
        return results[0] if len(results) == 1 else Overloaded(results)

    return hook


def _jacobian(hessian: bool, aux: bool | None) -> Callable[[CallContext], Type]:
    """The hook of Jacobians and Hessians: what is declared goes by the first parameter."""

    def hook(ctx: CallContext) -> Type:
        fun = _function(ctx)
        if fun is None or not all(any("Diff" in _marks(typ) for typ in item.arg_types) for item in fun.items):
            return ctx.default_return_type
        array = ctx.api.named_generic_type("jax.Array", [])
        has_aux = _has_aux(ctx) if aux is None else aux

        def change(item: CallableType) -> CallableType:
            returned = get_proper_type(item.ret_type)
            parts = returned.items if has_aux and isinstance(returned, TupleType) else [item.ret_type]
            grad = _grad_type(ctx, item) or AnyType(TypeOfAny.special_form)
            result: Type = AnyType(TypeOfAny.special_form)
            if get_proper_type(grad) == array:
                result = parts[0]
            elif get_proper_type(parts[0]) == array and not hessian:
                result = grad
            return _with_result(ctx, item, [result, *parts[1:]])

        return _rebuilt(fun, change)

    return hook


def _with_result(ctx: CallContext, item: CallableType, parts: list[Type]) -> CallableType:
    """A plain function with the same parameters that returns this, or a tuple if it is several."""
    plain = ctx.api.named_generic_type("builtins.function", [])
    return item.copy_modified(ret_type=parts[0] if len(parts) == 1 else _tuple(ctx, parts), fallback=plain)


def _tuple(ctx: CallContext, items: list[Type]) -> TupleType:
    return TupleType(items, ctx.api.named_generic_type("builtins.tuple", [AnyType(TypeOfAny.special_form)]))


def _has_aux(ctx: CallContext) -> bool:
    for name, types in zip(ctx.callee_arg_names, ctx.arg_types, strict=False):
        if name == "has_aux" and types:
            return getattr(get_proper_type(types[0]), "value", None) is True or "True" in str(types[0])
    return False


HOOKS: dict[str, Callable[[Any], Type]] = {
    "filter_jit": _jit,
    "JitDecorator.__call__": _jit,
    "filter_vmap": _same,
    "filter_pmap": _same,
    "filter_checkpoint": _same,
    "SameDecorator.__call__": _same,
    "filter_grad": _grad(value=False, aux=None),
    "GradDecorator.__call__": _grad(value=False, aux=False),
    "GradAuxDecorator.__call__": _grad(value=False, aux=True),
    "filter_value_and_grad": _grad(value=True, aux=None),
    "ValueAndGradDecorator.__call__": _grad(value=True, aux=False),
    "ValueAndGradAuxDecorator.__call__": _grad(value=True, aux=True),
    "filter_jacfwd": _jacobian(hessian=False, aux=None),
    "filter_jacrev": _jacobian(hessian=False, aux=None),
    "JacobianDecorator.__call__": _jacobian(hessian=False, aux=False),
    "JacobianAuxDecorator.__call__": _jacobian(hessian=False, aux=True),
    "filter_hessian": _jacobian(hessian=True, aux=None),
    "HessianDecorator.__call__": _jacobian(hessian=True, aux=False),
    "HessianAuxDecorator.__call__": _jacobian(hessian=True, aux=True),
}


class TypedfilterPlugin(Plugin):
    """See the module."""

    _pass_on: str | None = None  # the name that mypy itself is to analyze next

    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        if fullname == self._pass_on:
            self._pass_on = None
            return None
        if fullname == AXIS:
            return self._axis
        if fullname in MARKERS:
            return partial(self._marker, fullname)
        return partial(self._annotated, fullname) if fullname in ANNOTATED else None

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return HOOKS.get(fullname.rpartition(".")[2]) if fullname.startswith("typedfilter.") else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        module, _, name = fullname.partition(SIGNATURES + ".")
        return None if module else HOOKS.get(name)

    def _analyze(self, fullname: str, ctx: AnalyzeTypeContext) -> Type:
        """What mypy makes of the type without this plugin."""
        self._pass_on = fullname
        return ctx.api.visit_unbound_type_nonoptional(ctx.type, False)  # type: ignore[attr-defined,no-any-return]  # not in the interface

    def _axis(self, ctx: AnalyzeTypeContext) -> Type:
        other, problem = _split_axis(ctx.type.args)
        if problem:
            _fail(ctx, f"VmapAxis[...] {problem}")
            return AnyType(TypeOfAny.from_error)
        if other is None:
            return ctx.api.named_type("jax.Array", [])
        name = _axis_name(ctx.type.args)
        inner = list(_written_marks(ctx, other))
        _check_nesting(ctx, name, inner)
        typ = ctx.api.analyze_type(other)
        _check_type(ctx, name, inner, typ)
        return typ

    def _marker(self, fullname: str, ctx: AnalyzeTypeContext) -> Type:
        typ = self._analyze(fullname, ctx)
        if ctx.type.args:
            inner = list(_written_marks(ctx, ctx.type.args[0]))
            _check_nesting(ctx, MARKERS[fullname], inner)
            _check_type(ctx, MARKERS[fullname], inner, typ)
        return typ

    def _annotated(self, fullname: str, ctx: AnalyzeTypeContext) -> Type:
        if ctx.type.args:
            first, *metadata = ctx.type.args
            marks = list(_written_marks(ctx, first))
            # A type of jaxtyping, such as Float[Array, "n"], is Annotated by another name to type checkers.
            if metadata and _is_text(metadata[0]) and not ctx.type.name.endswith("Annotated"):
                if marks:
                    name = ctx.type.name
                    _fail(ctx, f"{marks[0]} inside {name}[...] is not seen: write {marks[0]}[{name}[...]]")
            else:
                for part in metadata:
                    marks += self._check_metadata(ctx, part, marks)
        return self._analyze(fullname, ctx)

    def _check_metadata(self, ctx: AnalyzeTypeContext, part: Type, inner: list[str]) -> list[str]:
        """Check one piece of metadata of `Annotated`, which mypy itself skips; the markers in it."""
        found = list(_written_marks(ctx, part))
        if isinstance(part, UnboundType) and found and found[0].startswith("VmapAxis"):
            _, problem = _split_axis(part.args)
            if problem:
                _fail(ctx, f"VmapAxis[...] {problem}")
        for mark in found:
            _check_nesting(ctx, mark, inner)
        return found


def plugin(version: str) -> type[Plugin]:
    """What mypy calls; the plugin is the same for every version that the package supports."""
    return TypedfilterPlugin
