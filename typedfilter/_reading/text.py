"""Annotations as their author would write them: `Float[Array, 'b n']`, `Static[int]`, `VmapAxis[1, Array]`.

Renders; decides nothing.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
from typing import Annotated, Any, ForwardRef, get_args, get_origin

import jax
import jaxtyping
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jax.typing import ArrayLike

from typedfilter._compat import spec_entries
from typedfilter._reading.forms import UNIONS, is_array_class, is_literal, is_tree_class
from typedfilter.annotations import AxisSpec, Marker, ScanSpec, T

_ANY_SHAPE = (tuple[Any, ...], Any)  # of `NDArray`; the second one before NumPy 2.2
_WELL_KNOWN: tuple[tuple[Any, str], ...] = (
    (inspect.Parameter.empty, ""),
    (type(None), "None"),
    (None, "None"),
    (..., "..."),
    (jax.Array, "Array"),
    (PartitionSpec, "PartitionSpec"),
    (np.bool_, "np.bool_"),  # not to be taken for Python's own
    (jaxtyping.PRNGKeyArray, "PRNGKeyArray"),
)


def show(annotation: Any) -> str:
    """`annotation` as text, markers included, without modules; empty where there is none."""
    for known, name in _WELL_KNOWN:
        if annotation is known:
            return name
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, PartitionSpec | Sharding):
        return _metadata(annotation)
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, dataclasses.InitVar):
        return f"InitVar[{show(annotation.type)}]"
    if isinstance(annotation, list):  # the parameters of a Callable
        return f"[{', '.join(map(show, annotation))}]"
    origin = get_origin(annotation)
    if origin is None:
        return _jaxtyping(annotation) if isinstance(annotation, type) else _name(annotation)
    if origin is Annotated:
        return _annotated(annotation)
    return _generic(annotation, origin)


def _jaxtyping(cls: Any) -> str:
    if is_array_class(cls):
        return _array(cls)
    if is_tree_class(cls) and hasattr(cls, "leaftype"):
        structure = "" if cls.structure is None else f", {cls.structure!r}"
        return f"PyTree[{show(cls.leaftype)}{structure}]"
    return _name(cls)


def _name(annotation: Any) -> str:
    if not (isinstance(annotation, type) or hasattr(annotation, "__name__")):
        return repr(annotation).removeprefix("typing.").removeprefix("typing_extensions.")
    name: str = getattr(annotation, "__qualname__", annotation.__name__)
    return name.rpartition("<locals>.")[2]


def _array(annotation: Any) -> str:
    dtype = annotation.__name__.partition("[")[0]
    return f"{dtype}[{show(annotation.array_type)}, {annotation.dim_str!r}]"


def _generic(annotation: Any, origin: Any) -> str:
    args = get_args(annotation)
    if origin in UNIONS:
        return _union(annotation, args)
    if is_literal(annotation):
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin is np.ndarray and len(args) == 2 and args[0] in _ANY_SHAPE and get_args(args[1]):
        return f"NDArray[{show(get_args(args[1])[0])}]"
    inside = ", ".join(map(show, args)) or "()"
    name = "Callable" if origin is collections.abc.Callable else _name(origin)
    star = "*" if getattr(annotation, "__unpacked__", False) else ""
    return f"{star}{name}[{inside}]"


def _union(annotation: Any, args: tuple[Any, ...]) -> str:
    if annotation == ArrayLike:
        return "ArrayLike"
    arrays = [arg for arg in args if is_array_class(arg)]
    names = {show(getattr(arg, "array_type", None)) for arg in arrays}
    if {"Array", "ndarray"} <= names:  # how jaxtyping spells Float[ArrayLike, ""]
        return f"{arrays[0].__name__.partition('[')[0]}[ArrayLike, {arrays[0].dim_str!r}]"
    return " | ".join(map(show, args))


def _annotated(annotation: Any) -> str:
    text = "" if annotation.__origin__ is T else show(annotation.__origin__)  # T: a marker without a type
    plain: list[str] = []  # metadata that is not a marker, waiting for its closing bracket
    for item in annotation.__metadata__:
        if isinstance(item, Marker):
            text = _marked(_closed(text, plain), item)
            plain = []
        else:
            plain.append(_metadata(item))
    return _closed(text, plain)


def _closed(text: str, plain: list[str]) -> str:
    return f"Annotated[{', '.join([text, *plain])}]" if plain else text


def _marked(text: str, marker: Marker) -> str:
    if isinstance(marker, AxisSpec | ScanSpec):
        return f"{marker.name}[{marker.axis}]" if text == "Any" else f"{marker.name}[{marker.axis}, {text}]"
    return f"{marker.name}[{text}]" if text else marker.name


def spec_text(spec: PartitionSpec) -> str:
    """A `PartitionSpec` as it is written: its own repr differs between JAX releases."""
    parts = list(map(repr, spec_entries(spec)))
    for name in ("unreduced", "reduced"):
        axes = sorted(map(repr, getattr(spec, name, ())))
        parts += [f"{name}={{{', '.join(axes)}}}"] if axes else []
    return f"PartitionSpec({', '.join(parts)})"


def sharding_text(sharding: Sharding) -> str:
    """A sharding in short: of a mesh, what it is called and how long it is."""
    if not isinstance(sharding, NamedSharding):
        return str(sharding)
    axes = ", ".join(f"{name}={size}" for name, size in sharding.mesh.shape.items())
    return f"{spec_text(sharding.spec)} of {axes}"


def _metadata(item: Any) -> str:
    if isinstance(item, PartitionSpec):
        return spec_text(item)
    if isinstance(item, Sharding):
        return sharding_text(item)
    if isinstance(item, type) or get_origin(item) is Annotated:
        return show(item)
    return repr(item)


class WrittenSignature(inspect.Signature):
    """A signature whose text has annotations as they were written: `n: Static[int]`.

    What `inspect` finds in it is unchanged.
    """

    __slots__ = ()

    @classmethod
    def of(cls, signature: inspect.Signature) -> WrittenSignature:
        """The same signature, with another text."""
        return cls(
            list(map(_WrittenParameter.of, signature.parameters.values())),
            return_annotation=signature.return_annotation,
            __validate_parameters__=False,
        )

    def format(self, **options: Any) -> str:
        """The text; options are those of Python 3.13 and later."""
        parameters = list(map(_with_text, self.parameters.values()))
        plain = inspect.Signature(parameters, return_annotation=_written(self.return_annotation))
        known = getattr(plain, "format", None)
        return str(plain) if known is None else str(known(**options))

    def __str__(self) -> str:
        return self.format()


class _WrittenParameter(inspect.Parameter):
    """Likewise: IPython shows parameters one by one."""

    __slots__ = ()

    @classmethod
    def of(cls, one: inspect.Parameter) -> _WrittenParameter:
        return cls(one.name, one.kind, default=one.default, annotation=one.annotation)

    def __str__(self) -> str:
        return str(_with_text(self))


def _with_text(one: inspect.Parameter) -> inspect.Parameter:
    return inspect.Parameter(one.name, one.kind, default=one.default, annotation=_written(one.annotation))


class _Written:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _written(annotation: Any) -> Any:
    return annotation if annotation is inspect.Parameter.empty else _Written(show(annotation))
