"""What a callable is called, which parameters it takes, and in which scope its annotations are read.

Knows the kinds of callable that Python and JAX have; knows nothing of what an annotation means.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from typedfilter._reading.names import Scope, annotations_of, unwrapped
from typedfilter.errors import AnnotationError

__all__ = [
    "ANYTHING",
    "constructor_scope",
    "method_owner",
    "name_of",
    "own_call",
    "partly_bound",
    "signature_of",
]

ANYTHING = Signature(
    [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
)
"""The signature of builtins that do not tell theirs (`max`, `operator.itemgetter(0)`)."""

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_HOLE = getattr(functools, "Placeholder", object())  # Python 3.14: an argument of a partial that stays open


def name_of(fn: Any) -> str:
    """The qualified name of `fn`, without the functions that it is defined in."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name: str = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__qualname__
    return name.rpartition("<locals>.")[2]


def signature_of(fn: Any) -> Signature | None:
    """How `fn` is called, with the annotations of what it wraps; `None` if it does not tell.

    A function under `functools.wraps` may take other parameters than the one that it wraps: its own are
    those of a call. Its `*args` and `**kwargs` stand for what it passes on.
    """
    told = _told(fn)
    own = None if told is None else _own(fn)
    inner = None if own is None else signature_of(fn.__wrapped__)
    return told if own is None or inner is None else _around(own, inner)


def _own(fn: Any) -> Signature | None:
    """What the code of a wrapper takes; `None` where `fn` is none, or has said itself how it is called."""
    inner = getattr(fn, "__wrapped__", None)
    if not callable(inner) or isinstance(fn, type):
        return None
    said = getattr(fn, "__signature__", None)
    if said is not None and said is not getattr(inner, "__signature__", None):  # which `wraps` copies
        return None
    code = fn if isinstance(fn, types.FunctionType) else getattr(type(fn), "__call__", None)  # noqa: B004
    if not isinstance(code, types.FunctionType):
        return None
    bare = types.FunctionType(code.__code__, {}, None, code.__defaults__, code.__closure__)
    bare.__kwdefaults__ = code.__kwdefaults__
    annotations = annotations_of(code)
    params = [
        param.replace(annotation=annotations.get(param.name, Parameter.empty))
        for param in inspect.signature(bare).parameters.values()
        if not (param.kind is Parameter.KEYWORD_ONLY and param.name.startswith("__"))  # beartype's own
    ]
    bound = code is not fn and params and params[0].kind in _POSITIONAL
    return Signature(params[1:] if bound else params)


def _around(own: Signature, inner: Signature) -> Signature:
    """The parameters of a wrapper, and in the place of its variadic ones those of the function inside."""
    known = inner.parameters
    named = [param for param in own.parameters.values() if param.kind not in _VARIADIC]
    named = [p.replace(annotation=known[p.name].annotation) if p.name in known else p for p in named]
    variadic = [param for param in own.parameters.values() if param.kind in _VARIADIC]
    kinds = [param.kind for param in variadic]
    names = {param.name for param in named}
    passed = [_passed_on(param, kinds) for param in known.values() if param.name not in names]
    rest = [param for param in passed if param is not None]
    if not rest and len(variadic) < 2:
        rest = variadic
    if any(param.kind is Parameter.POSITIONAL_OR_KEYWORD for param in named):  # none may come before these
        rest = [_by_either(param) for param in rest]
    try:
        params = sorted([*named, *rest], key=lambda param: param.kind)
        return inner.replace(parameters=params)
    except ValueError:  # it has a default that those after it lack
        return inner.replace(parameters=[*own.parameters.values()])


def _passed_on(param: Parameter, kinds: Sequence[Any]) -> Parameter | None:
    """How a parameter is passed through a wrapper that has variadic parameters of these kinds."""
    if Parameter.VAR_POSITIONAL in kinds and param.kind in (*_POSITIONAL, Parameter.VAR_POSITIONAL):
        return param
    if Parameter.VAR_KEYWORD not in kinds or param.kind in (
        Parameter.POSITIONAL_ONLY,
        Parameter.VAR_POSITIONAL,
    ):
        return None
    by_name = param.kind is Parameter.POSITIONAL_OR_KEYWORD
    return param.replace(kind=Parameter.KEYWORD_ONLY) if by_name else param


def _by_either(param: Parameter) -> Parameter:
    by_place = param.kind is Parameter.POSITIONAL_ONLY
    return param.replace(kind=Parameter.POSITIONAL_OR_KEYWORD) if by_place else param


def _told(fn: Any) -> Signature | None:
    """What Python says, which follows `__wrapped__`."""
    try:
        if sys.version_info >= (
            3,
            14,
        ):  # annotations are evaluated late there; ours is the tolerant evaluation
            import annotationlib

            return inspect.signature(fn, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(fn)
    except ValueError:
        return None


def own_call(fn: Any) -> Any:
    """The bound `__call__` of a callable object that is written in Python; `None` for any other callable."""
    if isinstance(fn, types.FunctionType | types.BuiltinFunctionType) or hasattr(fn, "__wrapped__"):
        return None
    call = getattr(fn, "__call__", None)  # noqa: B004 (the bound method is wanted, not whether there is one)
    return None if isinstance(call, types.MethodWrapperType) else call


def method_owner(method: types.MethodType) -> type | None:
    """The class in whose body the function of a bound method is defined."""
    receiver = method.__self__
    cls: type = receiver if isinstance(receiver, type) else type(receiver)
    code = getattr(unwrapped(method.__func__), "__code__", None)
    body = getattr(code, "co_qualname", "").rpartition(".")[0]
    return next((base for base in cls.__mro__ if base.__qualname__ == body), None)


def constructor_scope(cls: type) -> Scope:
    """The scope of the function whose signature a class shows: its `__init__`, or its `__new__`."""
    for function in (getattr(cls, "__init__", None), cls.__new__):
        if isinstance(function, types.FunctionType):
            return Scope.of_function(function, cls)
    return Scope.of_class(cls)


def partly_bound(
    name: str, signature: Signature, args: tuple[Any, ...], keywords: Mapping[str, Any]
) -> Signature:
    """What is left of a signature when a `functools.partial` has bound `args` and `keywords`.

    Raises:
        AnnotationError: it binds more positional arguments than there are.
    """
    params = list(signature.parameters.values())
    positional = [param for param in params if param.kind in _POSITIONAL]
    variadic = any(param.kind is Parameter.VAR_POSITIONAL for param in params)
    if len(args) > len(positional) and not variadic:
        problem = f"takes {len(positional)} positional arguments, and the partial binds {len(args)}"
        raise AnnotationError(problem, function=name, fix="bind fewer")
    bound = {param.name for param, arg in zip(positional, args, strict=False) if arg is not _HOLE}
    left: list[Parameter] = []
    by_keyword = False  # what follows an argument that is bound by keyword can't be passed by position
    for param in params:
        if param.name in bound:
            continue
        if param.kind is not Parameter.POSITIONAL_ONLY and param.name in keywords:
            by_keyword = by_keyword or param.kind is Parameter.POSITIONAL_OR_KEYWORD
            param = param.replace(kind=Parameter.KEYWORD_ONLY, default=keywords[param.name])
        elif by_keyword and param.kind is Parameter.POSITIONAL_OR_KEYWORD:
            param = param.replace(kind=Parameter.KEYWORD_ONLY)
        elif by_keyword and param.kind is Parameter.VAR_POSITIONAL:
            continue
        left.append(param)
    return signature.replace(parameters=sorted(left, key=lambda param: param.kind))
