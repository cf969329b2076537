"""Wrappers of functions: which of them hand on what they are given, so that what they wrap speaks for them.

A wrapper may give its function other arguments than it gets: one example of a batch, one more, fewer.
So what a function is annotated with says nothing of a wrapper, but for a few that are known here.
"""

from __future__ import annotations

import contextlib
import functools
import types
from typing import Any, TypeGuard

import jax
import jaxtyping

_CACHED: type = type(functools.lru_cache(len))


def is_wrapper(fn: Any) -> bool:
    """Whether `fn` has a `__wrapped__` that it calls, as `functools.wraps` leaves one."""
    return not isinstance(fn, type) and callable(getattr(fn, "__wrapped__", None))


def is_proxy(fn: Any) -> bool:
    """Whether `fn` says that it is of another class, as what `wrapt` makes: it shows what it wraps."""
    return fn.__class__ is not type(fn)


def is_method(fn: Any) -> TypeGuard[types.MethodType]:
    """Whether `fn` is a bound method: Python's own, or what stands for one (Equinox's, which is a pytree)."""
    if isinstance(fn, types.MethodType | types.FunctionType | type):
        return type(fn) is types.MethodType  # no proxy of one
    method = getattr(fn, "__wrapped__", None)
    return isinstance(method, types.MethodType) and _same_method(method, fn)


def _same_method(method: types.MethodType, fn: Any) -> bool:
    function, receiver = getattr(fn, "__func__", None), getattr(fn, "__self__", None)
    return method.__func__ is function and method.__self__ is receiver


def hands_on(fn: Any) -> bool:
    """Whether `fn` is a wrapper that calls what it wraps with just the arguments that it is called with.

    True of what `jaxtyping.jaxtyped` and `beartype` make, of context managers as decorators
    (`jax.named_scope` too), and of `functools.cache`.
    """
    if not is_wrapper(fn) or is_proxy(fn):
        return False
    if not isinstance(fn, types.FunctionType):
        return isinstance(fn, _CACHED)
    code = fn.__code__
    # Of beartype's the code tells: `functools.wraps` copies the attributes to whatever is around it.
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return (
        made_by_jaxtyped(fn)
        or code in _codes_of_managers()
        or any(name.startswith("__beartype_") for name in by_name)
    )


def made_by_jaxtyped(fn: types.FunctionType) -> bool:
    """Whether `jaxtyping.jaxtyped` made a function: it shares the globals of the one that makes it."""
    return fn.__globals__ is jaxtyping.jaxtyped.__globals__


def unwrapped(fn: Any) -> Any:
    """The function whose annotations `fn` has: itself, or what is inside of wrappers that hand on."""
    seen: set[int] = set()
    while id(fn) not in seen and hands_on(fn):
        seen.add(id(fn))
        fn = fn.__wrapped__
    return fn


def made_by_jax(fn: Any) -> str:
    """The name of the function of JAX's that has made a wrapper: "grad", say; empty for any other wrapper."""
    if not isinstance(fn, types.FunctionType):
        return ""
    inside = [_content(cell) for cell in fn.__closure__ or ()]
    made = [code for code in (fn, *inside) if isinstance(code, types.FunctionType) and _is_of_jax(code)]
    names = [code.__code__.co_qualname.partition(".")[0] for code in made]
    return next((name for name in names if hasattr(jax, name)), "")


def _is_of_jax(fn: types.FunctionType) -> bool:
    return str(fn.__globals__.get("__name__", "")).partition(".")[0] == "jax"


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


@functools.cache
def _codes_of_managers() -> frozenset[types.CodeType]:
    """The code of what context managers make of a function that they decorate."""
    codes: list[types.CodeType] = []
    for manager in (contextlib.ContextDecorator, type(jax.named_scope(""))):
        call = manager.__call__
        if isinstance(call, types.FunctionType):
            codes += [const for const in call.__code__.co_consts if isinstance(const, types.CodeType)]
    return frozenset(codes)
