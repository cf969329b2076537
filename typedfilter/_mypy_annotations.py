"""The mypy plugin's reading of annotations: markers around a type, axes, and what contradicts what.

Floor 0. Knows mypy and the names of the package; knows nothing of transforms or their calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mypy.errorcodes import ErrorCode
from mypy.nodes import TypeAlias as AliasNode
from mypy.nodes import TypeInfo
from mypy.plugin import AnalyzeTypeContext
from mypy.types import (
    AnyType,
    Instance,
    LiteralType,
    NoneType,
    RawExpressionType,
    Type,
    TypeAliasType,
    TypeOfAny,
    UnboundType,
    UnionType,
    get_proper_type,
)

__all__ = [
    "ANNOTATED",
    "AXIS",
    "MARKERS",
    "array_type",
    "axis_name",
    "check_nesting",
    "check_type",
    "fail",
    "is_text",
    "marks",
    "split_axis",
    "written_marks",
]

CODE = ErrorCode("typedfilter", "Annotations of typedfilter that contradict each other", "Plugin")

AXIS = "typedfilter.vmap_axis.VmapAxis"  # the defining module: re-exports resolve to it
MARKERS = {
    f"typedfilter.annotations.{name}": name for name in ("Static", "Traced", "Donate", "Diff", "NoDiff")
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
}

# Types that are static without a marker, and those of them that can't become arrays.
SCALARS = {f"builtins.{name}" for name in ("int", "float", "complex", "bool")}
TEXTS = {"builtins.str", "builtins.bytes"}
UNHASHABLE = {f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")}


def _is_axis(arg: Type) -> bool:
    if isinstance(arg, RawExpressionType):
        return arg.base_type_name == "builtins.int"
    if isinstance(arg, UnboundType):
        return arg.name == "None" or (arg.name.rpartition(".")[2] == "Literal" and len(arg.args) == 1)
    return isinstance(arg, (NoneType, LiteralType))


def split_axis(args: tuple[Type, ...]) -> tuple[Type | None, str]:
    """The type in `VmapAxis[...]`, if one is written, and what is wrong with it (or an empty text)."""
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


def axis_name(args: tuple[Type, ...]) -> str:
    """`VmapAxis`, or `VmapAxis[None]`, which maps over nothing."""
    axis = next((arg for arg in args if _is_axis(arg)), None)
    none = isinstance(axis, NoneType) or (isinstance(axis, UnboundType) and axis.name == "None")
    return "VmapAxis[None]" if none else "VmapAxis"


def written_marks(ctx: AnalyzeTypeContext, typ: Type) -> Iterator[str]:
    """The markers around a type, from the outermost inwards, as it is written."""
    if isinstance(typ, UnionType):
        for item in typ.items:
            yield from written_marks(ctx, item)
    if not isinstance(typ, UnboundType):
        return
    symbol = ctx.api.lookup_qualified(typ.name, typ, suppress_errors=True)  # type: ignore[attr-defined]  # not in the interface
    node = symbol.node if symbol else None
    name = node.fullname if node else ""
    if name == AXIS:
        yield axis_name(typ.args)
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


def _unfit(marker: str, inner: list[str], typ: Type) -> str:
    """Why a marker can't be honoured for the type that it stands around; empty where it can."""
    if not isinstance(typ, Instance):
        return ""
    name = typ.type.fullname
    short = typ.type.name
    if marker == "Static":
        if name == "numpy.ndarray" or (short == "Array" and name.startswith("jax.")):
            return "an array can't be static: it is not hashable"
        return f"a {short} can't be static: it is not hashable" if name in UNHASHABLE else ""
    if marker == "Traced":
        return f"{short} can't become an array" if name in TEXTS or typ.type.is_enum else ""
    implied = name in SCALARS or name in TEXTS or typ.type.is_enum
    if not implied or "Traced" in inner or "Static" in inner:
        return ""
    reasons = {
        "Donate": "has no buffers to donate",
        "Diff": "can't be differentiated",
        "VmapAxis": "has no axis to map over",
    }
    return f"{short} is static and {reasons[marker]}" if marker in reasons else ""
