"""Other people's run-time checkers around a function, and the function inside of them.

`jaxtyping.jaxtyped` (its import hook, too) and `beartype` (`beartype.claw`, too) know no markers: to them an
argument annotated `Traced[float]` is a float, where the body receives an array. There our own check takes the
place of theirs. Anywhere else theirs stays. typeguard, which rewrites functions, is told of them.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import jaxtyping

from typedfilter._reading.plan import Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.wrappers import is_method
from typedfilter._shapes.rewriting import spare_traced


def own_body(fn: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    """`fn`, without what would check an argument that is traced by the type that it is before.

    The same function comes back as the same one, so that JAX traces once.
    """
    if not any(param.hint.role is Role.TRACED for param in plan.params):
        return fn
    spare_traced()
    inner: Callable[..., Any] = _inside(fn)
    return inner


def _inside(fn: Any) -> Any:
    if is_checker(fn):
        return _inside(fn.__wrapped__)
    if isinstance(fn, types.FunctionType | type):
        return fn
    if is_method(fn):
        inner = _inside(fn.__func__)
        return fn if inner is fn.__func__ else types.MethodType(inner, fn.__self__)
    if isinstance(fn, functools.partial):
        inner = _inside(fn.func)
        return fn if inner is fn.func else functools.partial(inner, *fn.args, **fn.keywords)
    called = inspect.getattr_static(type(fn), "__call__", None)
    return types.MethodType(_inside(called), fn) if is_checker(called) else fn


def is_checker(fn: Any) -> bool:
    """Whether `fn` is what `jaxtyped` or `beartype` has put around a function."""
    if not isinstance(fn, types.FunctionType) or not hasattr(fn, "__wrapped__"):
        return False
    # The wrappers that jaxtyped makes are defined where it is defined itself, and share its globals.
    jaxtyped = fn.__globals__ is jaxtyping.jaxtyped.__globals__
    return jaxtyped or getattr(fn, "__beartype_wrapper", False) is True
