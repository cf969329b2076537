"""A stack of transforms, bound methods and partials, taken apart into its links and put together again.

Knows `Wrapper`s and what of Python binds arguments; knows nothing of what any transform does.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax

from typedfilter._reading.wrappers import is_method, is_proxy
from typedfilter._wrapping.wrapper import BoundWrapper, Transform, Wrapper


@dataclasses.dataclass(frozen=True)
class Bind:
    """A link of a stack: arguments are bound, `positional` many by position and these by name."""

    positional: int
    names: tuple[str, ...] = ()


Link = Bind | Transform


@dataclasses.dataclass(frozen=True)
class Unwound:
    """A callable taken apart: `root` with `links` around it, innermost first, and what they bind.

    Two callables with the same root (identically) and equal links do the same to what they bind. So a
    compilation can be shared by all of them, while the bound values stay inputs of it.
    """

    root: Callable[..., Any]
    links: tuple[Link, ...] = ()
    bound: tuple[Any, ...] = ()

    def then(self, link: Link, *bound: Any) -> Unwound:
        return Unwound(self.root, (*self.links, link), self.bound + bound)


def unwind(fn: Any) -> Unwound:
    """Take wrappers, bound methods, partials and callable modules apart, down to a plain callable."""
    if type(fn) is types.FunctionType or is_proxy(fn):
        return Unwound(fn)
    if isinstance(fn, Wrapper):
        return unwind(fn.__wrapped__).then(fn.transform)
    if isinstance(fn, BoundWrapper):
        return unwind(fn.__func__).then(Bind(1), fn.__self__)
    if is_method(fn):
        return unwind(fn.__func__).then(Bind(1), fn.__self__)
    if isinstance(fn, functools.partial):
        link = Bind(len(fn.args), tuple(fn.keywords))
        return unwind(fn.func).then(link, *fn.args, *fn.keywords.values())
    if _is_module(fn):
        return unwind(type(fn).__call__).then(Bind(1), fn)
    return Unwound(fn)


def _is_module(fn: Any) -> bool:
    """Whether `fn` is a pytree with a `__call__` of its own: its arrays are inputs, not constants."""
    return not jax.tree_util.all_leaves([fn]) and not isinstance(fn, type)


def is_module_below(fn: Any) -> bool:
    """Whether what a stack of transforms and partials is made of is a module."""
    while isinstance(fn, Wrapper | functools.partial):
        fn = fn.__wrapped__ if isinstance(fn, Wrapper) else fn.func
    return not isinstance(fn, BoundWrapper | types.MethodType) and _is_module(fn)


def rewind(
    root: Callable[..., Any], links: tuple[Link, ...], bound: tuple[Any, ...], *, lent: bool = False
) -> Callable[..., Any]:
    """The inverse of `unwind`, with other values bound (tracers, say)."""
    values: Iterator[Any] = iter(bound)
    fn = root
    for link in links:
        if isinstance(link, Transform):
            fn = link.wrap(fn, lent=lent)
        elif link.positional or link.names:
            args = [next(values) for _ in range(link.positional)]
            fn = functools.partial(fn, *args, **{name: next(values) for name in link.names})
    return fn
