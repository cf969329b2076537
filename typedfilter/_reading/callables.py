"""What a callable is called, which parameters it takes, and in which scope its annotations are read.

Knows the kinds of callable that Python and JAX have; knows nothing of what an annotation means.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import types
from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any

from typedfilter._reading.names import Scope, annotations_of
from typedfilter._reading.wrappers import hands_on, is_wrapper, unwrapped
from typedfilter.errors import AnnotationError

ANYTHING = Signature(
    [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
)
"""The signature of builtins that do not tell theirs (`max`, `operator.itemgetter(0)`)."""

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
"""The kinds of parameters that can be passed by position, `*args` not among them."""
_HOLE = getattr(functools, "Placeholder", object())  # Python 3.14: an argument of a partial that stays open


def name_of(fn: Any) -> str:
    """The qualified name of `fn`, without the functions that it is defined in."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    names = (getattr(fn, "__qualname__", None), getattr(fn, "__name__", None), type(fn).__qualname__)
    name = next(name for name in names if name and isinstance(name, str))  # a mock has any attribute
    return name.rpartition("<locals>.")[2]


def signature_of(fn: Any) -> Signature | None:
    """The parameters that `fn` itself has, with its own annotations; `None` if it does not tell.

    Of a wrapper they are those of its own code, `*args` and `**kwargs` mostly: what it wraps may get others.
    """
    if hands_on(fn):
        return signature_of(fn.__wrapped__)
    if is_wrapper(fn) and not says(fn):
        return _of_code(fn) if isinstance(fn, types.FunctionType) else None
    return told(fn)


def says(fn: Any) -> bool:
    """Whether a function has been told by hand how it is called: by a `__signature__` that is no copy."""
    said = getattr(fn, "__dict__", {}).get("__signature__")
    inner = getattr(getattr(fn, "__wrapped__", None), "__signature__", None)
    return said is not None and (inner is None or not _is_copy(said, inner))


def _is_copy(one: Signature, two: Signature) -> bool:
    """Whether two signatures are the same, with the same objects as defaults: arrays do not answer `==`."""
    pairs = list(itertools.zip_longest(one.parameters.values(), two.parameters.values()))
    if any(a is None or b is None or a.default is not b.default for a, b in pairs):
        return False
    bare = [
        signature.replace(
            parameters=[param.replace(default=Parameter.empty) for param in signature.parameters.values()]
        )
        for signature in (one, two)
    ]
    return bare[0] == bare[1]


def _of_code(fn: types.FunctionType) -> Signature:
    """What the code of a function takes, whatever it wraps."""
    bare = types.FunctionType(fn.__code__, {}, None, fn.__defaults__, fn.__closure__)
    bare.__kwdefaults__ = fn.__kwdefaults__
    own: Mapping[str, Any] = {} if _copies_annotations(fn) else annotations_of(fn)
    params = inspect.signature(bare).parameters.values()
    return Signature(
        [param.replace(annotation=own.get(param.name, Parameter.empty)) for param in params],
        return_annotation=own.get("return", Parameter.empty),
    )


def _copies_annotations(fn: Any) -> bool:
    """Whether the annotations of a wrapper are those of what it wraps, as `functools.wraps` copies them."""
    own = dict(annotations_of(fn))
    while is_wrapper(fn):  # a transform in between may show fewer
        fn = fn.__wrapped__
        if own == dict(annotations_of(fn)):
            return True
    return False


def told(fn: Any) -> Signature | None:
    """What Python says, which follows `__wrapped__`: for people."""
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
    if isinstance(fn, types.FunctionType | types.BuiltinFunctionType) or (is_wrapper(fn) and says(fn)):
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
    positional = [param for param in params if param.kind in POSITIONAL]
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


def inside_partials(fn: Any) -> Any:
    """What partials are made of: their own name and text are those of `functools.partial`."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn


def globals_of(fn: Any) -> dict[str, Any]:
    """The globals of the function inside of any callable; none where there is no such function."""
    while not isinstance(fn, types.FunctionType):
        inner = getattr(fn, "func", None) or getattr(fn, "__func__", None) or getattr(fn, "__wrapped__", None)
        fn = inner or getattr(type(fn), "__call__", None)  # noqa: B004 (the function is wanted)
        if fn is None or isinstance(fn, types.WrapperDescriptorType):
            return {}
    return fn.__globals__
