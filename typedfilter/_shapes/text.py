"""One `Failure` in, one `ShapeError` out: what was found, what the annotation needs, and who said so.

Knows the nodes of `nodes` and how to name arrays shortly; knows nothing of calls. It runs
once something is wrong, inside the same jaxtyping context as the check: which axis is to blame it learns by
asking jaxtyping about one axis at a time.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar

import jax
import jaxtyping
import numpy as np

from typedfilter._reading.text import show
from typedfilter._shapes.nodes import (
    ArrayNode,
    Failure,
    Path,
    ScalarNode,
    Seen,
    TreeNode,
    TupleNode,
    UnionNode,
)
from typedfilter._values.text import _count, describe
from typedfilter.errors import AnnotationError, ShapeError

_NAME = re.compile(r"[A-Za-z_]\w*")
_VARIADIC = re.compile(r"\.\.\.|[#?_]*\*")
_EXOTIC = re.compile(r"float[48]_|u?int[24]$|bool_")  # allowed too; not worth a place in a message
_REPR_LIMIT = 60
_CONVERT = {
    "Float": "float32",
    "Inexact": "float32",
    "Real": "float32",
    "Num": "float32",
    "Int": "int32",
    "Integer": "int32",
    "UInt": "uint32",
    "Bool": "bool_",
    "Complex": "complex64",
}


@dataclasses.dataclass(frozen=True)
class _Need:
    """What an annotation asks of a value: the end of the first line, what would be right, what to do."""

    needs: str
    expected: str
    fix: str


@dataclasses.dataclass(frozen=True)
class _Probe:
    """Stands for some axes of an array, so that jaxtyping can be asked about these axes alone."""

    shape: tuple[int, ...]
    dtype: ClassVar[Any] = np.dtype(np.float32)


def explain(failure: Failure, seen: Seen, function: str, written: Any) -> ShapeError:
    """The error for `failure`.

    Args:
        failure: what a node answered.
        seen: what has bound dimensions before, in order.
        function: the user's function.
        written: the annotation of the parameter (or of the return) as the user wrote it.
    """
    whole = len(failure.path) == 1 and not isinstance(failure.node, TreeNode)
    shown = show(written if whole else failure.node.hint)
    need = _need(failure, seen, shown)
    found = describe(failure.value)
    parameter, *steps = failure.path
    place = ""
    if parameter == "return":
        place = f" at `{''.join(steps)}`" if steps else ""
    else:
        parameter += "".join(steps)
    return ShapeError(
        f"is {found}{place}, but {shown} {need.needs}",
        function=function,
        parameter=parameter,
        expected=need.expected,
        actual=_evidence(failure.value, found),
        fix=need.fix,
    )


def explain_unbound(problem: Exception, function: str, parameter: str, written: Any) -> AnnotationError:
    """The error for an annotation that jaxtyping could not evaluate: a name that nothing binds, mostly."""
    cause = problem.__cause__
    reason, found, fix = "jaxtyping can't evaluate it", str(problem), "correct the annotation"
    if isinstance(cause, NameError):
        reason, found = f"no argument binds `{cause.name}`", ""
        fix = f"use `{cause.name}` alone in another argument, or write the size out"
    return AnnotationError(
        f"is annotated {show(written)}, but {reason}",
        function=function,
        parameter=parameter,
        actual=found,
        fix=fix,
    )


def _need(failure: Failure, seen: Seen, shown: str) -> _Need:
    node, value, name = failure.node, failure.value, _name(failure.path)
    plain = _Need("is expected", shown, f"{_verb(name)} a value of this type, or correct the annotation")
    if isinstance(node, ArrayNode):
        return _array_need(failure, seen, shown)
    if isinstance(node, UnionNode):
        return _union_need(failure, seen, shown)
    if isinstance(node, ScalarNode) and isinstance(value, jax.Array | np.ndarray | np.generic):
        return _scalar_need(node, value, name, shown)
    if isinstance(node, TupleNode) and isinstance(value, tuple):
        return dataclasses.replace(plain, needs=f"needs {_count(len(node.items), 'element')}")
    if isinstance(node, TreeNode) and node.whole is not None and getattr(node.whole, "structure", None):
        return _structure_need(node, seen, name, shown)
    if node.hint in (jax.Array, np.ndarray):
        return _Need("needs an array", shown, _array_fix(value, name))
    return plain


def _array_need(failure: Failure, seen: Seen, shown: str) -> _Need:
    cls: Any = failure.node.cls  # type: ignore[attr-defined]  # only called for an ArrayNode
    value, name = failure.value, _name(failure.path)
    kinds = object if cls.array_type is Any else cls.array_type
    if not isinstance(value, kinds) or not hasattr(value, "dtype"):
        module = "jnp" if cls.array_type is jax.Array else "np"
        kind = "a jax.Array" if isinstance(value, np.ndarray) else "an array"
        return _Need(f"needs {kind}", shown, _array_fix(value, name, module))
    if not isinstance(value, cls.dtype[Any, "..."]):
        return _dtype_need(cls, value, name, shown)
    tokens = cls.dim_str.split()
    return _rank_need(cls, tokens, value, name, shown) or _axis_need(failure, tokens, seen, shown)


def _dtype_need(cls: Any, value: Any, name: str, shown: str) -> _Need:
    kind = cls.dtype.__name__
    wanted = _CONVERT.get(kind, kind.lower())
    fix = f"convert it: {_expression(name)}.astype(jnp.{wanted})"
    if kind == "Key":
        fix = f"{_verb(name)} a key made by jax.random.key"
    elif kind.endswith(("64", "128")) and kind != "Complex64" and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # a flag
        fix = "64-bit types need jax.config.update('jax_enable_x64', True), or annotate a 32-bit type"
    listed = [str(dtype) for dtype in cls.dtypes if not _EXOTIC.match(str(dtype))]
    expected = f"{shown}, of dtype {' or '.join(listed)}" if len(listed) > 1 else shown
    return _Need(f"needs dtype {kind}", expected, fix)


def _rank_need(cls: Any, tokens: list[str], value: Any, name: str, shown: str) -> _Need | None:
    variadic = cls.index_variadic is not None
    least = len(tokens) - variadic
    if value.ndim == least or (variadic and value.ndim > least):
        return None
    needs = "needs a scalar" if not tokens else f"needs {'at least ' * variadic}{_count(least, 'axis')}"
    fix = f"{_verb(name)} an array with {'at least ' * variadic}{_count(least, 'axis')}"
    if abs(value.ndim - least) == 1:
        fix += "; under filter_vmap, annotate one example, without the mapped axis"
    return _Need(needs, shown, fix)


def _axis_need(failure: Failure, tokens: list[str], seen: Seen, shown: str) -> _Need:
    """The first axis that jaxtyping refuses, and who bound what it should have been."""
    name, shape = _name(failure.path), failure.value.shape
    bound = _bindings(seen)
    for token, axis, part in _aligned(tokens, shape):
        one: Any = jaxtyping.Shaped[_Probe, token]
        if isinstance(_Probe(part), one):
            own = _bindings([(("",), one, _Probe(part))])
            bound = {key: (size, f"its own axis {axis}") for key, (size, _) in own.items()} | bound
            continue
        known = {key: bound[key] for key in _NAME.findall(_dimension(token)) if key in bound}
        where = f"the axes from {axis}" if _VARIADIC.match(token) else f"axis {axis}"
        needs = _axis_text(token, known, axis)
        values = ", ".join(f"{key}={size}" for key, (size, _) in known.items())
        expected = f"{shown} with {values}" if values else shown
        return _Need(needs, expected, _axis_fix(token, known, where, _subject(name)))
    return _Need("does not hold", shown, f"correct {_subject(name)} or the annotation")


def _axis_text(token: str, known: dict[str, tuple[str, str]], axis: int) -> str:
    dimension = _dimension(token)
    or_one = " (or 1)" if "#" in token else ""
    if dimension.isdigit():
        return f"needs {token.lstrip('#')}{or_one} on axis {axis}"
    origins = ", ".join(f"{key}={size}, bound by {who}" for key, (size, who) in known.items())
    if not dimension.isidentifier():
        return f"needs {dimension}{or_one} on axis {axis}" + (f", with {origins}" if origins else "")
    star = "*" if _VARIADIC.match(token) else ""
    if not known:
        return f"needs {star}{dimension} as the body bound it"
    size, who = next(iter(known.values()))
    return f"needs {star}{dimension}={size}{or_one}, bound by {who}"


def _axis_fix(token: str, known: dict[str, tuple[str, str]], where: str, subject: str) -> str:
    size = next((size for size, _ in known.values()), "")
    if not known:
        return f"correct {where} of {subject}, or `{token}` in the annotation"
    if _dimension(token).isidentifier() and size.isdigit():
        mend = f"make {where} of {subject} {size} long"
    else:
        mend = f"correct {where} of {subject}"
    return f"{mend}, or rename the dimension in one of the annotations"


def _union_need(failure: Failure, seen: Seen, shown: str) -> _Need:
    parts: list[str] = []
    for cause in failure.causes:
        hint = show(cause.node.hint)
        parts.append(f"{hint} ({_need(cause, seen, hint).needs})")
    fix = f"{_verb(_name(failure.path))} a value that fits one of them"
    return _Need("takes no such value", " or ".join(parts), fix)


def _scalar_need(node: ScalarNode, value: Any, name: str, shown: str) -> _Need:
    kind = node.hint.__name__
    if not node.arrays:
        fix = f"{_verb(name)} {kind}({_expression(name)}), or annotate Traced[{kind}] if it may be traced"
        return _Need("is expected", shown, fix)
    if value.shape != ():
        return _Need("needs a scalar", shown, f"{_verb(name)} one number, or annotate an array")
    return _Need(f"needs a scalar of type {kind}", shown, f"convert it to {kind}, or correct the annotation")


def _structure_need(node: TreeNode, seen: Seen, name: str, shown: str) -> _Need:
    structure = node.whole.structure
    who = [_quoted(path) for path, cls, _ in seen if getattr(cls, "structure", None) == structure]
    bound = f", bound by {who[0]}" if who else ""
    return _Need(
        f"needs the tree structure {structure}{bound}",
        shown,
        f"{_verb(name)} a tree of that structure, or rename it in one of the annotations",
    )


def _bindings(seen: Seen) -> dict[str, tuple[str, str]]:
    """Each dimension name that has been bound: its size, as text, and the argument that bound it."""
    bound: dict[str, tuple[str, str]] = {}
    for path, cls, value in seen:
        if not hasattr(cls, "dim_str"):
            continue
        for token, _, part in _aligned(cls.dim_str.split(), value.shape):
            dimension = _dimension(token)
            if "..." in token or token.lstrip("#*?").startswith("_") or not dimension.isidentifier():
                continue
            if "#" in token and not _VARIADIC.match(token) and part == (1,):  # fits, and binds nothing
                continue
            size = _shape(part) if _VARIADIC.match(token) else str(part[0])
            bound.setdefault(dimension, (size, _quoted(path)))
    return bound


def _aligned(tokens: list[str], shape: tuple[int, ...]) -> list[tuple[str, int, tuple[int, ...]]]:
    """Each dimension of an annotation with the first axis that it stands for, and the sizes there."""
    extra = len(shape) - len(tokens) + 1
    rows: list[tuple[str, int, tuple[int, ...]]] = []
    axis = 0
    for token in tokens:
        width = extra if _VARIADIC.match(token) else 1
        rows.append((token, axis, tuple(shape[axis : axis + width])))
        axis += width
    return rows


def _dimension(token: str) -> str:
    """`n` for `#n`, `*n`, `?n`; `3` for `rows=3`; `n+1` for itself."""
    return token.rpartition("=")[2].lstrip("#*?")


def _evidence(value: Any, found: str) -> str:
    if not isinstance(value, str | bytes | int | float | complex | np.generic):
        return found
    text = repr(value)
    return text if len(text) <= _REPR_LIMIT else f"{text[:_REPR_LIMIT]}..."


def _shape(shape: tuple[int, ...]) -> str:
    return f"({','.join(map(str, shape))})"


def _name(path: Path) -> str:
    return "".join(path)


def _is_return(name: str) -> bool:
    return name.startswith("return") and name[6:7] in ("", ".", "[")


def _verb(name: str) -> str:
    return "return" if _is_return(name) else "pass"


def _subject(name: str) -> str:
    return "the result" if _is_return(name) else f"`{name}`"


def _expression(name: str) -> str:
    return "x" if _is_return(name) else name


def _quoted(path: Path) -> str:
    return f"`{_name(path)}`"


def _array_fix(value: Any, name: str, module: str = "jnp") -> str:
    if isinstance(value, list | tuple | int | float | complex | np.ndarray):
        return f"convert it: {module}.asarray({_expression(name)})"
    if value is None:
        return f"{_verb(name)} an array, or add `| None` to the annotation"
    return f"{_verb(name)} an array"
