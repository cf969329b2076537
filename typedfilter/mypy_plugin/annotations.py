"""The mypy plugin's reading of annotations: markers around a type, axes, and what contradicts what.

Knows mypy and the names of the package; knows nothing of transforms or their calls.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator

from mypy.errorcodes import ErrorCode
from mypy.nodes import SymbolNode, TypeInfo
from mypy.nodes import TypeAlias as AliasNode
from mypy.plugin import AnalyzeTypeContext
from mypy.types import (
    AnyType,
    Instance,
    LiteralType,
    NoneType,
    ProperType,
    RawExpressionType,
    TupleType,
    Type,
    TypeAliasType,
    TypeOfAny,
    TypeType,
    UnboundType,
    UnionType,
    get_proper_type,
)

from typedfilter.annotations import ALIASES
from typedfilter.annotations import AXES as AXIS_MARKERS

CODE = ErrorCode("typedfilter", "Annotations of typedfilter that contradict each other", "Plugin")

# By the defining module: re-exports resolve to it.
AXES = {f"typedfilter.vmap_axis.{marker.name}": marker.name for marker in AXIS_MARKERS}
MARKERS = {f"typedfilter.annotations.{marker.name}": marker.name for marker in ALIASES} | {
    "jax.typing.Static": "Static",
    "jax_dataclasses._dataclasses.Static": "Static",
}
ANNOTATED = ("typing.Annotated", "typing_extensions.Annotated")

# What one annotation can't say at once, and why.
CONTRADICTIONS = {
    frozenset({"Static", "Traced"}): "an argument is either static or traced",
    frozenset({"Static", "Donate"}): "a static argument has no buffers to donate",
    frozenset({"Static", "Diff"}): "a static argument can't be differentiated",
    frozenset({"Static", "VmapAxis"}): "a static argument has no axis to map over",
    frozenset({"Diff", "NoDiff"}): "an argument is either differentiated or not",
    frozenset({"VmapAxis"}): "an argument is mapped over one axis",
    frozenset({"VmapAxis", "VmapAxis[None]"}): "an argument is mapped over one axis",
    frozenset({"Static", "ScanAxis"}): "a static argument has no axis to scan",
    frozenset({"ScanAxis"}): "an argument is scanned along one axis",
    frozenset({"ScanAxis", "ScanAxis[None]"}): "an argument is scanned along one axis",
}

# Types that are static without a marker, and those of them that can't become arrays.
SCALARS = {f"builtins.{name}" for name in ("int", "float", "complex", "bool")}
TEXTS = {"builtins.str", "builtins.bytes"}
UNHASHABLE = {f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")}
INTEGERS = {"builtins.int", "builtins.bool"}
INTEGRAL = re.compile(r"Bool|Key|Integer|U?Int\d*")  # of jaxtyping
CONTAINERS = {f"builtins.{name}" for name in ("list", "dict", "set", "frozenset", "tuple")}
NAMES = {*MARKERS.values(), "VmapAxis"}

UNFIT_STATIC = {
    "Donate": "has no buffers to donate",
    "Diff": "can't be differentiated",
    "VmapAxis": "has no axis to map over",
}


def _is_axis(arg: Type) -> bool:
    if isinstance(arg, RawExpressionType):
        return arg.base_type_name == "builtins.int"
    if isinstance(arg, UnboundType):
        return arg.name == "None" or (arg.name.rpartition(".")[2] == "Literal" and len(arg.args) == 1)
    return isinstance(arg, (NoneType, LiteralType))


def split_axis(args: tuple[Type, ...]) -> tuple[Type | None, str]:
    """The type in `VmapAxis[...]` or `ScanAxis[...]`, if there is one, and what is wrong with it."""
    axes = [arg for arg in args if _is_axis(arg)]
    if not 1 <= len(args) <= 2:
        return None, "takes an axis, or an axis and a type"
    if not axes:
        return None, "needs an axis: an int literal or None"
    if len(args) == 1:
        return None, ""
    if len(axes) == 2 and not isinstance(axes[1], (UnboundType, NoneType)):
        return None, "takes one axis"
    axis = axes[0]
    (other,) = [arg for arg in args if arg is not axis]
    return other, ""


def axis_name(name: str, args: tuple[Type, ...]) -> str:
    """`VmapAxis`, or `VmapAxis[None]`, which maps over nothing; likewise of `ScanAxis`."""
    axis = next((arg for arg in args if _is_axis(arg)), None)
    none = isinstance(axis, NoneType) or (isinstance(axis, UnboundType) and axis.name == "None")
    return f"{name}[None]" if none else name


def _node(ctx: AnalyzeTypeContext, typ: UnboundType) -> SymbolNode | None:
    symbol = ctx.api.lookup_qualified(typ.name, typ, suppress_errors=True)  # type: ignore[attr-defined]  # not in the interface
    return symbol.node if symbol else None


def _fullname(ctx: AnalyzeTypeContext, typ: UnboundType) -> str:
    node = _node(ctx, typ)
    return node.fullname if node else ""


def written_marks(ctx: AnalyzeTypeContext, typ: Type) -> Iterator[str]:
    """The markers around a type, from the outermost inwards, as it is written."""
    if isinstance(typ, UnionType):
        for item in typ.items:
            yield from written_marks(ctx, item)
    if not isinstance(typ, UnboundType):
        return
    node = _node(ctx, typ)
    name = node.fullname if node else ""
    if name in AXES:
        yield axis_name(AXES[name], typ.args)
        other, _ = split_axis(typ.args)
        if other is not None:
            yield from written_marks(ctx, other)
    elif name in MARKERS and typ.args:
        yield MARKERS[name]
        yield from written_marks(ctx, typ.args[0])
    elif name in ANNOTATED and typ.args:
        for part in reversed(typ.args):
            yield from written_marks(ctx, part)
    elif isinstance(node, AliasNode):
        yield from marks(node.target)


def marks(typ: Type) -> Iterator[str]:
    """The markers around an analyzed type: markers are generic aliases, which types keep by name."""
    while isinstance(typ, TypeAliasType) and typ.alias is not None:
        name = MARKERS.get(typ.alias.fullname)
        if name:
            yield name
        typ = typ.args[0] if name and typ.args else typ.alias.target
    if isinstance(typ, UnionType):
        for item in typ.items:
            yield from marks(item)


def array_type(ctx: AnalyzeTypeContext) -> Type:
    """`jax.Array`; `Any` where mypy is told not to follow imports of JAX."""
    symbol = ctx.api.api.lookup_fully_qualified_or_none("jax.Array")  # type: ignore[attr-defined]  # not in the interface
    node = symbol.node if symbol else None
    return Instance(node, []) if isinstance(node, TypeInfo) else AnyType(TypeOfAny.unannotated)


def is_text(part: Type) -> bool:
    """Whether metadata of `Annotated` is a string, as the dimensions of a jaxtyping annotation are."""
    if isinstance(part, UnboundType):
        return part.original_str_expr is not None
    return isinstance(part, RawExpressionType) and part.base_type_name == "builtins.str"


def fail(ctx: AnalyzeTypeContext, message: str) -> None:
    ctx.api.fail(message, ctx.context, code=CODE)


def check_nesting(ctx: AnalyzeTypeContext, outer: str, inner: Iterable[str]) -> None:
    for name in dict.fromkeys(inner):
        why = CONTRADICTIONS.get(frozenset({outer, name}))
        if why:
            fail(ctx, f"{outer} contradicts {name}: {why}" if outer != name else f"{outer} twice: {why}")


def check_type(ctx: AnalyzeTypeContext, marker: str, inner: list[str], typ: Type) -> None:
    why = _unfit(marker, inner, get_proper_type(typ))
    if why:
        fail(ctx, f"{marker}[...]: {why}")


def _unfit(marker: str, inner: list[str], typ: ProperType) -> str:
    """Why a marker can't be honoured for the type that it stands around; empty where it can."""
    if marker == "Static":
        if _is_arrays(typ) or _has_array(typ):
            return "an array can't be static: it is not hashable"
        unhashable = isinstance(typ, Instance) and typ.type.fullname in UNHASHABLE
        return f"a {_shown(typ)} can't be static: it is not hashable" if unhashable else ""
    if marker == "Traced":
        return f"{_shown(typ)} can't become an array" if _is_untraceable(typ) else ""
    if marker == "Diff" and "Traced" in inner and _is_instance(typ, INTEGERS):
        return f"{_shown(typ)} can't be differentiated"
    if marker not in UNFIT_STATIC or not _is_static(typ) or "Traced" in inner or "Static" in inner:
        return ""
    return f"{_shown(typ)} is static and {UNFIT_STATIC[marker]}"


def _shown(typ: ProperType) -> str:
    return typ.type.name if isinstance(typ, Instance) else str(typ)


def _is_instance(typ: ProperType, names: Container[str]) -> bool:
    return isinstance(typ, Instance) and typ.type.fullname in names


def _solid(typ: UnionType) -> list[ProperType]:
    """The members besides `None`: `T | None` is treated as `T`."""
    members = list(map(get_proper_type, typ.items))
    return [member for member in members if not isinstance(member, NoneType)]


def _is_static(typ: ProperType) -> bool:
    """Whether an argument of this type is static without a marker."""
    if isinstance(typ, UnionType):
        return all(map(_is_static, _solid(typ)))
    if isinstance(typ, Instance):
        return typ.type.is_enum or _is_instance(typ, SCALARS | TEXTS | {"builtins.type"})
    return isinstance(typ, (NoneType, LiteralType, TypeType))


def _is_untraceable(typ: ProperType) -> bool:
    """Whether no value of this type can become an array."""
    if isinstance(typ, UnionType):
        return all(map(_is_untraceable, _solid(typ)))
    if isinstance(typ, LiteralType):
        return _is_untraceable(typ.fallback)
    if isinstance(typ, Instance):
        return typ.type.is_enum or _is_instance(typ, TEXTS | {"builtins.type"})
    return isinstance(typ, NoneType)


def _is_arrays(typ: ProperType) -> bool:
    """Whether every value of this type is an array, or a tuple of arrays only."""
    if isinstance(typ, UnionType):
        return bool(_solid(typ)) and all(map(_is_arrays, _solid(typ)))
    if isinstance(typ, TupleType):
        return bool(typ.items) and all(_is_arrays(get_proper_type(item)) for item in typ.items)
    if not isinstance(typ, Instance):
        return False
    if typ.type.fullname == "builtins.tuple" and typ.args:
        return _is_arrays(get_proper_type(typ.args[0]))
    jax_array = typ.type.name == "Array" and typ.type.fullname.startswith("jax.")
    return jax_array or typ.type.fullname == "numpy.ndarray"


def _has_array(typ: ProperType) -> bool:
    """Whether every value of this type is a tuple with an array in it."""
    if not isinstance(typ, TupleType) or typ.partial_fallback.type.is_named_tuple:
        return False
    return any(_is_arrays(get_proper_type(item)) for item in typ.items)


# Integers, of which there is no derivative, and which are the same type as other arrays to mypy. -----------


def is_integral(ctx: AnalyzeTypeContext, typ: Type) -> bool:
    """Whether what is written is an array of integers, booleans or keys, by its name in jaxtyping."""
    if isinstance(typ, UnionType):
        solid = [item for item in typ.items if not (isinstance(item, UnboundType) and item.name == "None")]
        return bool(solid) and all(is_integral(ctx, item) for item in solid)
    if not isinstance(typ, UnboundType) or not typ.args:
        return False
    name = _fullname(ctx, typ)
    if name in MARKERS:
        return is_integral(ctx, typ.args[0])
    if name not in ANNOTATED:
        return False
    if typ.name.endswith("Annotated"):
        return is_integral(ctx, typ.args[0])
    return INTEGRAL.fullmatch(typ.name.rpartition(".")[2]) is not None


# Markers where they are lost. ------------------------------------------------------------------------------


def check_inside(ctx: AnalyzeTypeContext) -> None:
    """Report markers inside of a container."""
    for part in ctx.type.args:
        if isinstance(part, UnboundType) and part.name.rpartition(".")[2] in NAMES:
            for mark in list(written_marks(ctx, part))[:1]:
                name = ctx.type.name
                fail(ctx, f"{mark} inside {name}[...] is not seen: put it around the whole annotation")
