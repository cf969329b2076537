"""The mypy plugin's types of transformed functions: what calling a transform gives.

Knows mypy and the declarations of `_declarations`; knows nothing of how annotations are written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from mypy.erasetype import erase_typevars
from mypy.nodes import ARG_STAR, ARG_STAR2, Decorator, RefExpr, TypeInfo
from mypy.plugin import FunctionContext, MethodContext
from mypy.plugins.functools import partial_new_callback
from mypy.subtypes import is_same_type
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    LiteralType,
    Overloaded,
    TupleType,
    Type,
    TypeOfAny,
    get_proper_type,
)

from typedfilter.mypy_plugin.annotations import marks

JIT = "typedfilter.transforms.jit.filter_jit"

SIGNATURES = "typedfilter._declarations"

CallContext: TypeAlias = FunctionContext | MethodContext


def _function(ctx: CallContext) -> FunctionLike | None:
    """The function that a transform is applied to; None for classes, callable objects and anything else."""
    if not ctx.arg_types or not ctx.arg_types[0]:
        return None
    fun = get_proper_type(ctx.arg_types[0][0])
    return fun if isinstance(fun, (CallableType, Overloaded)) and not fun.is_type_obj() else None


def _partial(ctx: CallContext) -> CallableType | None:
    """What mypy knows that a `functools.partial` is called as, where a transform is applied to one."""
    fun = get_proper_type(ctx.arg_types[0][0]) if ctx.arg_types and ctx.arg_types[0] else None
    if not isinstance(fun, Instance) or fun.type.fullname != "functools.partial" or not fun.extra_attrs:
        return None
    called = get_proper_type(fun.extra_attrs.attrs.get("__mypy_partial"))
    return called if isinstance(called, CallableType) else None


def partial_of_jit(ctx: FunctionContext) -> Type:
    """`functools.partial(filter_jit, ...)` with options alone is `filter_jit(...)`."""
    transform = ctx.args[0][0] if ctx.args and ctx.args[0] else None
    given = [arg for args in ctx.args[1:2] for arg in args]
    info = _class(ctx, SIGNATURES, "JitDecorator")
    if given or info is None or not isinstance(transform, RefExpr) or transform.fullname != JIT:
        return partial_new_callback(ctx)
    return Instance(info, [])


def _class(ctx: CallContext, module: str, name: str) -> TypeInfo | None:
    """A class of a module; None where mypy is told not to follow imports of it."""
    tree = ctx.api.modules.get(module)  # type: ignore[attr-defined]  # not in the interface, whose own look-up crashes
    symbol = tree.names.get(name) if tree else None
    return symbol.node if symbol and isinstance(symbol.node, TypeInfo) else None


def _rebuilt(fun: FunctionLike, change: Callable[[CallableType], CallableType]) -> Type:
    items = [change(item) for item in fun.items]
    return items[0] if len(items) == 1 else Overloaded(items)


def _jit(ctx: CallContext) -> Type:
    """The function itself, with the attributes of `Jitted`: overloads and binding stay mypy's own."""
    fun = _function(ctx)
    if fun is None:
        return ctx.default_return_type
    info = _class(ctx, SIGNATURES, "Jitted")
    if info is None:
        return ctx.default_return_type
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
    marked = [i for i, typ in enumerate(item.arg_types) if "Diff" in marks(typ)]
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
        partial = _partial(ctx)
        fun = _function(ctx) or partial
        has_aux = _has_aux(ctx) if aux is None else aux
        if fun is None or has_aux is None or (partial is None and _follows_context(ctx, fun)):
            return ctx.default_return_type
        results: list[CallableType] = []
        for item in fun.items:
            grad = _grad_type(ctx, item)
            returned = get_proper_type(item.ret_type)
            pair = returned.items if isinstance(returned, TupleType) and len(returned.items) == 2 else None
            if grad is None or (has_aux and pair is None):
                return ctx.default_return_type
            outcome = item.ret_type
            if has_aux and pair is not None:
                outcome = _tuple(ctx, pair) if value else pair[1]
            parts = [outcome, grad] if value else [grad, outcome] if has_aux else [grad]
            results.append(_with_result(ctx, item, parts))
        return results[0] if len(results) == 1 else Overloaded(results)

    return hook


def _follows_context(ctx: CallContext, fun: FunctionLike) -> bool:
    """Whether mypy chose another first parameter by what is expected of the result; with `Diff` it can't."""
    item = fun.items[0]
    default = get_proper_type(ctx.default_return_type)
    if len(fun.items) > 1 or item.variables or any("Diff" in marks(typ) for typ in item.arg_types):
        return False
    if not isinstance(default, CallableType) or not default.arg_types or not item.arg_types:
        return False
    return not is_same_type(default.arg_types[0], item.arg_types[0])


def _jacobian(hessian: bool, aux: bool | None) -> Callable[[CallContext], Type]:
    """The hook of Jacobians and Hessians: what is declared goes by the first parameter."""

    def hook(ctx: CallContext) -> Type:
        fun = _function(ctx)
        info = _class(ctx, "jax", "Array")
        has_aux = _has_aux(ctx) if aux is None else aux
        if fun is None or info is None or has_aux is None:
            return ctx.default_return_type
        if not all(_decided(item) for item in fun.items):
            return ctx.default_return_type
        array = Instance(info, [])

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


def _decided(item: CallableType) -> bool:
    """Whether something is marked; or it is a lambda, of which all overloads hold: they have to agree."""
    first = item.arg_types[0] if item.arg_types else None
    return isinstance(get_proper_type(first), AnyType) or any("Diff" in marks(typ) for typ in item.arg_types)


def _with_result(ctx: CallContext, item: CallableType, parts: list[Type]) -> CallableType:
    """A plain function with the same parameters that returns this, or a tuple if it is several."""
    plain = ctx.api.named_generic_type("builtins.function", [])
    return item.copy_modified(ret_type=parts[0] if len(parts) == 1 else _tuple(ctx, parts), fallback=plain)


def _tuple(ctx: CallContext, items: list[Type]) -> TupleType:
    return TupleType(items, ctx.api.named_generic_type("builtins.tuple", [AnyType(TypeOfAny.special_form)]))


def _has_aux(ctx: CallContext) -> bool | None:
    """The option as it is written in the call; None where that isn't known (`**options`)."""
    for name, types in zip(ctx.callee_arg_names, ctx.arg_types, strict=False):
        if name == "has_aux" and types:
            written = get_proper_type(types[0])
            if isinstance(written, Instance) and written.last_known_value is not None:
                written = written.last_known_value
            return written.value is True if isinstance(written, LiteralType) else None
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
