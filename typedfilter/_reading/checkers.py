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

from typedfilter._reading.plan import Plan
from typedfilter._reading.rewriting import spare_traced
from typedfilter._reading.roles import Role
from typedfilter._reading.wrappers import hands_on, is_method, made_by_jaxtyped


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
    return made_by_jaxtyped(fn) or getattr(fn, "__beartype_wrapper", False) is True


def is_unchecked(fn: Any) -> bool:
    """Whether nobody checks yet what `fn` is annotated with.

    False where, on the way through partials, methods and wrappers that hand on, there is one of ours, or
    what `jaxtyped` has made.
    """
    seen: set[int] = set()
    while id(fn) not in seen:
        seen.add(id(fn))
        if hasattr(type(fn), "__typedfilter_plan__") or getattr(fn, "__no_type_check__", False):
            return False
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, types.FunctionType):
            if made_by_jaxtyped(fn):
                return False
            if not hands_on(fn):
                return True
            fn = getattr(fn, "__wrapped__", None)
        elif isinstance(fn, type):
            return True
        elif is_method(fn):
            fn = fn.__func__
        elif hands_on(fn):  # `functools.cache`, which can't hold what is traced
            return False
        else:  # an instance: what is called is its class's method
            fn = inspect.getattr_static(type(fn), "__call__", None)
    return True
