"""What a class says of its instances: defaults, constructors, examples, the members of a protocol.

Knows classes; knows nothing of nodes or values.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import jax

from typedfilter._reading.kinds import kind_of
from typedfilter._values.code import is_installed
from typedfilter.check.inputs import types as _types

_HEAP_TYPE = 1 << 9  # written in Python, by a flag of CPython's


def examples_of(target: Any) -> list[dict[str, Any]]:
    """What `example` was given on a function or a class (not on a base of the class)."""
    found = target.__dict__.get("__typedfilter_examples__", ()) if hasattr(target, "__dict__") else ()
    return list(found)


def is_abstract(target: Any) -> bool:
    """Whether a function is only declared: abstract, or of a protocol."""
    return bool(getattr(target, "__isabstractmethod__", False))


def lacks_parts(cls: type) -> bool:
    """Whether a class can have no instances: methods, or attributes of Equinox's, are only declared."""
    declared = (getattr(cls, name, ()) for name in ("__abstractvars__", "__abstractclassvars__"))
    return inspect.isabstract(cls) or any(declared)


def is_stateless(cls: type) -> bool:
    """Whether calling the class without arguments says all of its instances."""
    own = {name: inspect.getattr_static(cls, name) for name in ("__init__", "__new__")}
    plain = all(value is getattr(object, name) for name, value in own.items())
    # A class that says itself what its instances are has others: members of somebody's enumeration.
    usual = type(cls).__instancecheck__ in (type.__instancecheck__, abc.ABCMeta.__instancecheck__)
    return plain and usual and bool(cls.__flags__ & _HEAP_TYPE)


def constructor_of(cls: type) -> types.FunctionType | None:
    """The constructor, if somebody wrote it in Python."""
    init = inspect.getattr_static(cls, "__init__")
    inner = inspect.unwrap(init) if callable(init) else init
    return inner if isinstance(inner, types.FunctionType) else None


def written_constructor_of(cls: type) -> types.FunctionType | None:
    """The constructor, if a person wrote it: not the one that `dataclass` writes."""
    if dataclasses.is_dataclass(cls) and init_fields(cls) is not None:
        return None
    return constructor_of(cls)


def is_of_others(cls: type) -> bool:
    """Whether the class comes with an installed package, so that nobody can annotate it better."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is not None and is_installed(file)


def is_streams(cls: type) -> bool:
    """Whether this is `flax.nnx.Rngs`, which models are made with: streams of keys, by names of any kind."""
    return cls.__name__ == "Rngs" and cls.__module__.startswith("flax.nnx")


def is_laid_out_by_others(cls: type) -> bool:
    """Whether a constructor of an installed package makes what an instance is, so that none can be filled."""
    made = (base for base in cls.__mro__[:-1] if "__init__" in vars(base) and is_of_others(base))
    return is_of_others(cls) or any(not dataclasses.is_dataclass(base) for base in made)


def defaults(cls: type) -> dict[str, Any]:
    """The defaults of the annotated fields."""
    if not dataclasses.is_dataclass(cls):
        return {name: getattr(cls, name) for name in _types.fields_of(kind_of(cls)) if hasattr(cls, name)}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = _from_factory(field.default_factory)
    return {name: value for name, value in found.items() if value is not inspect.Parameter.empty}


def _from_factory(factory: Callable[[], Any]) -> Any:
    """What a factory makes, without making its arrays."""
    try:
        return jax.eval_shape(factory)
    except TypeError:  # it makes something that is no array
        return factory()


def init_fields(cls: type) -> tuple[str, ...] | None:
    """The fields that the constructor takes by name; None where `dataclass` did not write it."""
    if not dataclasses.is_dataclass(cls):
        return () if is_stateless(cls) and not _types.fields_of(kind_of(cls)) else None
    code = getattr(inspect.unwrap(cls.__init__), "__code__", None)
    if code is None or code.co_filename != "<string>":
        return None
    return tuple(field.name for field in dataclasses.fields(cls) if field.init)


def protocol_methods(cls: type) -> dict[str, Any]:
    """The methods and properties of a protocol and of those that it extends, as they are written."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if not _types.is_protocol(base):
            continue
        for name, value in vars(base).items():
            written = inspect.isfunction(value) or isinstance(value, (property, staticmethod, classmethod))
            if written and (name == "__call__" or not name.startswith("_")):
                found.setdefault(name, value)
    return found
