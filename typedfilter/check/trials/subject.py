"""What there is to judge: the annotated functions of a module, a class or a callable, and what wraps them.

Knows Python's objects and how they are decorated; knows nothing of shapes or values.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax

from typedfilter._reading.checkers import is_checker
from typedfilter._reading.plan import plan_of
from typedfilter._wrapping.effects import Result
from typedfilter._wrapping.wrapper import BoundWrapper, Wrapper
from typedfilter.check.inputs.unmade import Unmade
from typedfilter.check.trials.meshes import Meshed

_INFINITE = 100


@dataclasses.dataclass(frozen=True)
class Subject:
    """One function to judge."""

    name: str  # its qualified name, or that of the variable that holds it
    call: Callable[..., Any]  # what is called: the outermost callable through which a trace can be followed
    # the function that somebody wrote, innermost
    root: Any  # a types.FunctionType, which type checkers would bind to the instance
    layers: tuple[Wrapper, ...] = ()  # the transforms of this package around the root, outermost first
    cls: type | None = None  # the class whose method it is
    kind: str = "function"  # `function`, `method`, `property`, `constructor`, `static`, `class` or `bound`
    traced: bool = False  # whether `jax.jit` is among what is around the root
    opaque: str = ""  # what is around `call` and can't be followed; empty if nothing is
    receiver: Any = None  # what a bound method is bound to
    mesh: Meshed | None = None  # what it is traced under

    @property
    def file(self) -> str:
        """The file that the function was written in."""
        return str(self.root.__code__.co_filename)

    @property
    def line(self) -> int:
        """The line on which it begins, decorators included."""
        return int(self.root.__code__.co_firstlineno)


def subject_of(
    target: Any, name: str = "", cls: type | None = None, kind: str = "function"
) -> Subject | None:
    """The subject that `target` is; None where nobody wrote a function in it."""
    chain = list(_chain(target))
    root = chain[-1]
    if not isinstance(root, types.FunctionType):
        return None
    first = max((i + 1 for i, link in enumerate(chain) if _is_opaque(link)), default=0)
    outer = ", ".join(dict.fromkeys(_opaque_name(link) for link in chain[:first] if _is_opaque(link)))
    inside = chain[first:]
    return Subject(
        name=name or root.__qualname__,
        call=inside[0],
        root=root,
        layers=tuple(link for link in inside if isinstance(link, Wrapper)),
        cls=cls,
        kind=kind,
        traced=any(_is_jitted(link) for link in inside),
        opaque=outer,
    )


def without_checkers(subject: Subject) -> Subject | None:
    """The same function without the checks of jaxtyping or beartype around it; None where there are none."""
    if not is_checker(subject.call):
        return None
    call: Any = subject.call
    while is_checker(call):
        call = call.__wrapped__
    return dataclasses.replace(subject, call=call)


def _chain(target: Any) -> Iterator[Any]:
    """`target` and what it wraps, outermost first."""
    for _ in range(_INFINITE):
        yield target
        inner = _wrapped(target)
        if inner is None or inner is target:
            return
        target = inner


def _wrapped(target: Any) -> Any:
    if isinstance(target, (jax.custom_jvp, jax.custom_vjp)):
        return target.__wrapped__ if hasattr(target, "__wrapped__") else None
    return getattr(target, "__wrapped__", None)


def _is_jitted(link: Any) -> bool:
    """Whether `link` is made by `jax.jit`: its arguments are the function's own."""
    return (
        not isinstance(link, (types.FunctionType, Wrapper))
        and hasattr(link, "lower")
        and hasattr(link, "trace")
    )


def _is_opaque(link: Any) -> bool:
    """Whether `link` may change what its function is given in ways that can't be seen from outside."""
    if isinstance(link, Wrapper):
        return link.transform.effects(link.__wrapped__, plan_of(link.__wrapped__)).result is Result.ELSEWHERE
    if isinstance(link, (jax.custom_jvp, jax.custom_vjp)) or _is_jitted(link):
        return False
    if not isinstance(link, types.FunctionType):
        return True
    return _wrapped(link) is not None and _package(link) in ("jax", "equinox", "flax", "functools")


def _package(link: types.FunctionType) -> str:
    # functools.wraps copies __module__, so that only the code knows where a wrapper was written.
    return str(link.__globals__.get("__name__", "")).partition(".")[0]


def _opaque_name(link: Any) -> str:
    if isinstance(link, Wrapper):
        return link.transform.name
    if isinstance(link, types.FunctionType):
        return f"a transform of {_package(link)}"
    return f"{type(link).__module__.partition('.')[0]}.{type(link).__name__}"


# ------------------------------------------------------------------------------------------------ finding


def subjects_of(target: Any) -> Iterator[Subject]:
    """What is to be judged in a module, a class, a method or a function."""
    if isinstance(target, types.ModuleType):
        yield from _in_module(target)
    elif isinstance(target, type):
        yield from _in_class(target)
    elif isinstance(target, (types.MethodType, BoundWrapper)):
        found = subject_of(target.__func__, cls=type(target.__self__), kind="bound")
        if found is not None:
            yield dataclasses.replace(found, receiver=target.__self__)
    elif not isinstance(target, types.FunctionType) and _wrapped(target) is None:
        call = inspect.getattr_static(type(target), "__call__", None)
        found = None if call is None else subject_of(call, cls=type(target), kind="bound")
        if found is not None:
            yield dataclasses.replace(found, receiver=target)
    else:
        owner, kind = _owner(target)
        found = subject_of(target, cls=owner, kind=kind)
        if found is not None:
            yield found


def _owner(target: Any) -> tuple[type | None, str]:
    """The class that a function was found on, from its qualified name."""
    root = list(_chain(target))[-1]
    path = getattr(root, "__qualname__", "").split(".")[:-1]
    found: Any = sys.modules.get(getattr(root, "__module__", "") or "")
    for part in path:
        found = getattr(found, part, None)
    if not path or not isinstance(found, type):
        return None, "function"
    for subject in _in_class(found):
        if subject.root is root:
            return found, subject.kind
    return None, "function"


def _in_module(module: types.ModuleType) -> Iterator[Subject]:
    seen: set[int] = set()
    for name, value in list(vars(module).items()):
        if id(value) in seen or type(value) is Unmade:
            continue
        seen.add(id(value))
        if isinstance(value, type):
            if value.__module__ == module.__name__:
                yield from _in_class(value)
        elif callable(value):
            found = subject_of(value)
            if found is not None and _is_of(found, module):
                # `fast = filter_jit(slow)` is judged too, and not under the name of `slow`.
                yield (
                    found
                    if (value is not found.root and found.root.__name__ == name) or value is found.root
                    else (dataclasses.replace(found, name=name))
                )


def _is_of(found: Subject, module: types.ModuleType) -> bool:
    return found.file == getattr(module, "__file__", None) or found.root.__module__ == module.__name__


def _in_class(cls: type) -> Iterator[Subject]:
    for name, value in list(vars(cls).items()):
        if isinstance(value, type):
            if value.__qualname__ == f"{cls.__qualname__}.{name}":
                yield from _in_class(value)
            continue
        kind = "constructor" if name == "__init__" else "method"
        if isinstance(value, (staticmethod, classmethod)):
            kind = "static" if isinstance(value, staticmethod) else "class"
            value = value.__func__
        elif isinstance(value, (property, functools.cached_property)):
            kind = "property"
            value = value.fget if isinstance(value, property) else value.func
        elif isinstance(value, Wrapper):
            kind = _kind_of_wrapper(value, cls, name)
        found = subject_of(value, f"{cls.__qualname__}.{name}", cls, kind) if callable(value) else None
        if found is not None and kind == "constructor":
            found = dataclasses.replace(found, call=cls)
        if found is not None and found.file != "<string>" and found.root.__module__ == cls.__module__:
            yield found


def _kind_of_wrapper(wrapper: Wrapper, cls: type, name: str) -> str:
    """How a wrapped function binds, which only the wrapper knows."""
    bound = inspect.getattr_static(cls, name).__get__(None, cls)
    if isinstance(bound, BoundWrapper):
        return "class"
    instance_bound = wrapper.__get__(object(), cls)
    return "method" if isinstance(instance_bound, BoundWrapper) else "static"
