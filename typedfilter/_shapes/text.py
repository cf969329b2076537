"""One `Failure` in, one `ShapeError` out: what was found, what the annotation needs, and who said so.

Knows kinds and how to name arrays shortly; knows nothing of calls. It runs
once something is wrong, inside the same jaxtyping context as the check: which axis is to blame it learns by
asking jaxtyping about one axis at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import enum
import re
from typing import Any, ClassVar

import jax
import jaxtyping
import numpy as np

from typedfilter._reading import dims, kinds
from typedfilter._reading.dims import Dim, aligned
from typedfilter._reading.kinds import Kind
from typedfilter._reading.text import show
from typedfilter._shapes.bindings import RunTime, Seen, again, bindings_of
from typedfilter._shapes.standing import Standing
from typedfilter._shapes.walk import Failure, Missing, Path
from typedfilter._values.text import annotation_of, count_text, describe, evidence, structure_text
from typedfilter.errors import ShapeError

_NAME = re.compile(r"[A-Za-z_]\w*")
_EXOTIC = re.compile(r"float[48]_|u?int[24]$|bool_")  # allowed too; not worth a place in a message
_MAX_CHOICES = 20
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


def explain(failure: Failure, binder: RunTime, function: str, written: Any) -> ShapeError:
    """The error for `failure`.

    Args:
        failure: what the walk answered.
        binder: knows what has bound dimensions before, in order.
        function: the user's function.
        written: the annotation of the parameter (or of the return) as the user wrote it.
    """
    whole = len(failure.path) == 1 and not isinstance(failure.kind, kinds.Tree)
    shown = show(written if whole else failure.kind.hint)
    need = _need(failure, binder, shown)
    found = "nothing" if failure.value is Missing else describe(failure.value)
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
        actual=evidence(failure.value, found),
        fix=need.fix,
    )


def _need(failure: Failure, binder: RunTime, shown: str) -> _Need:
    """In the names of the instance that has bound them, where the failure is in one."""
    if not isinstance(failure.scope, RunTime) or failure.scope is binder:
        return _need_here(failure, binder, shown)
    with again(failure.scope):
        return _need_here(failure, failure.scope, shown)


def _need_here(failure: Failure, binder: RunTime, shown: str) -> _Need:
    value, name = failure.value, _name(failure.path)
    plain = _Need("is expected", shown, f"{_verb(name)} a value of this type, or correct the annotation")
    if failure.why:
        return dataclasses.replace(plain, needs=f"is expected, and {failure.why}")
    choices = _choices(failure.kind)
    if choices:
        fix = _choice_fix(choices, value, name)
        return _Need("is expected", " or ".join(choices), fix)
    match failure.kind:
        case kinds.Array() as kind:
            return _array_need(kind, failure, binder, shown)
        case kinds.Union() | kinds.Variable():
            return _union_need(failure, binder, shown)
        case kinds.Scalar() as kind if isinstance(value, jax.Array | np.ndarray | np.generic):
            return _scalar_need(kind, value, name, shown, binder)
        case kinds.Tuple(_, items) if isinstance(value, tuple) and not any(
            isinstance(item, kinds.Rest) for item in items
        ):
            return dataclasses.replace(plain, needs=f"needs {count_text(len(items), 'element')}")
        case kinds.Tree(_, _, str() as structure):
            return _structure_need(structure, failure, binder.seen, shown)
        case kinds.Class(_, cls) if type(value) is not cls and _full_name(type(value)) == _full_name(cls):
            fix = f"make it again: `{cls.__name__}` was defined anew since, as when a cell is run twice"
            return _Need("is expected as it is defined now", shown, fix)
        case kinds.Class(jax.Array) | kinds.NumpyArray(np.ndarray):
            return _Need("needs an array", shown, _array_fix(value, name))
        case _:
            return plain


def _choices(kind: Kind) -> dict[str, Any]:
    """What a `Literal` or an enumeration has to choose from: how each is written, and the value of each."""
    if isinstance(kind, kinds.Literal):
        return {repr(value): value for value in kind.values}
    cls: Any = kind.cls if isinstance(kind, kinds.Class) else None
    if isinstance(cls, type) and issubclass(cls, enum.Enum) and len(cls) <= _MAX_CHOICES:
        return {f"{cls.__name__}.{name}": member.value for name, member in cls.__members__.items()}
    return {}


def _choice_fix(choices: dict[str, Any], value: Any, name: str) -> str:
    equal = [text for text, one in choices.items() if type(one) is type(value) and one == value]
    if equal:  # the value of a member, in the place of the member
        return f"{_verb(name)} {equal[0]}"
    names = {text.rpartition(".")[2].strip("'\""): text for text in choices}
    close = difflib.get_close_matches(str(value), names, 1) or difflib.get_close_matches(
        str(value).upper(), names, 1
    )
    slip = f" (did you mean {names[close[0]]}?)" if close and isinstance(value, str) else ""
    return f"{_verb(name)} one of these{slip}, or correct the annotation"


def _full_name(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _array_need(kind: kinds.Array, failure: Failure, binder: RunTime, shown: str) -> _Need:
    cls: Any = kind.hint
    value, name = failure.value, _name(failure.path)
    classes: Any = object if cls.array_type is Any else kind.with_tracers.array_type
    if not isinstance(value, (classes, Standing)) or not hasattr(value, "dtype"):
        module = "jnp" if cls.array_type is jax.Array else "np"
        what = "a jax.Array" if isinstance(value, np.ndarray) else "an array"
        return _Need(f"needs {what}", shown, _array_fix(value, name, module))
    if not kind.takes_dtype(value.dtype):
        return _dtype_need(cls, value, name, shown)
    return _rank_need(kind.dims, value, name, shown) or _axis_need(kind.dims, failure, binder, shown)


def _dtype_need(cls: Any, value: Any, name: str, shown: str) -> _Need:
    kind = cls.dtype.__name__
    wanted = _CONVERT.get(kind, kind.lower())
    fix = f"convert it: {_expression(name)}.astype(jnp.{wanted})"
    if getattr(value, "weak_type", False) and value.shape == ():  # a Python number has no `astype`
        other = f"{annotation_of(value.dtype)}[{show(cls.array_type)}, {cls.dim_str!r}]"
        fix = f"convert it: jnp.asarray({_expression(name)}, jnp.{wanted}), or annotate {other}"
    if kind == "Key":
        fix = f"{_verb(name)} a key made by jax.random.key"
    elif kind.endswith(("64", "128")) and kind != "Complex64" and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # a flag
        fix = "64-bit types need jax.config.update('jax_enable_x64', True), or annotate a 32-bit type"
    listed = [str(dtype) for dtype in cls.dtypes if not _EXOTIC.match(str(dtype))]
    expected = f"{shown}, of dtype {' or '.join(listed)}" if len(listed) > 1 else shown
    return _Need(f"needs dtype {kind}", expected, fix)


def _rank_need(dims: tuple[Dim, ...], value: Any, name: str, shown: str) -> _Need | None:
    variadic = any(dim.variadic for dim in dims)
    least = len(dims) - variadic
    if value.ndim == least or (variadic and value.ndim > least):
        return None
    fix = f"{_verb(name)} {'an array with ' if dims else ''}"
    what = f"{'at least ' * variadic}{count_text(least, 'axis')}" if dims else "a scalar"
    fix += what
    if abs(value.ndim - least) == 1:
        fix += "; under filter_vmap, annotate one example, without the mapped axis"
    return _Need(f"needs {what}", shown, fix)


def _axis_need(dims: tuple[Dim, ...], failure: Failure, binder: RunTime, shown: str) -> _Need:
    """The first axis that jaxtyping refuses, and who bound what it should have been."""
    name, shape = _name(failure.path), failure.value.shape
    bound = bindings_of(binder.seen)
    for dim, axis, part in aligned(dims, shape):
        one: Any = jaxtyping.Shaped[_Probe, dim.word]
        if isinstance(_Probe(part), one):
            own = bindings_of([(("",), one, _Probe(part))])
            bound = {key: (size, f"its own axis {axis}") for key, (size, _) in own.items()} | bound
            continue
        filled = _filled(dim, binder)
        known = {key: bound[key] for key in _NAME.findall(filled) if key in bound}
        size = _size(dim, filled, known)
        where = f"the axes from {axis}" if dim.variadic else f"axis {axis}"
        needs = _axis_text(dim, known, axis, size)
        values = ", ".join(f"{key}={size}" for key, (size, _) in known.items())
        values = f"{dim.text}={size}" if "{" in dim.text and size else values
        expected = f"{shown} with {values}" if values else shown
        return _Need(needs, expected, _axis_fix(dim, size, where, _subject(name)))
    return _Need("does not hold", shown, f"correct {_subject(name)} or the annotation")


def _filled(dim: Dim, binder: RunTime) -> str:
    """An expression with its `{...}` filled in from the arguments of the call."""
    with contextlib.suppress(Exception):  # the user's own code may stand in the braces
        return dims.interpolate(dim.text, binder.arguments)
    return dim.text


def _size(dim: Dim, filled: str, known: dict[str, tuple[str, str]]) -> str:
    """How long the axis should be, where that can be told; all axes of one that is variadic."""
    if dim.kind == "named":
        return next((size for size, _ in known.values()), "")
    with contextlib.suppress(Exception):
        return str(dims.evaluate(filled, {key: int(size) for key, (size, _) in known.items()}))
    return ""


def _axis_text(dim: Dim, known: dict[str, tuple[str, str]], axis: int, size: str) -> str:
    or_one = " (or 1)" if dim.broadcast else ""
    if dim.kind == "fixed":
        return f"needs {dim.word.lstrip('#')}{or_one} on axis {axis}"
    origins = ", ".join(f"{key}={size}, bound by {who}" for key, (size, who) in known.items())
    if dim.kind == "expression":
        value = f" = {size}" if size else ""
        return f"needs {dim.text}{value}{or_one} on axis {axis}" + (f", with {origins}" if origins else "")
    star = "*" if dim.variadic else ""
    if not known:
        return f"needs {star}{dim.text} as the body bound it"
    size, who = next(iter(known.values()))
    return f"needs {star}{dim.text}={size}{or_one}, bound by {who}"


def _axis_fix(dim: Dim, size: str, where: str, subject: str) -> str:
    mend = f"make {where} of {subject} {size} long" if size.isdigit() else f"correct {where} of {subject}"
    if dim.kind == "named" and size:
        return f"{mend}, or rename the dimension in one of the annotations"
    return f"{mend}, or write another size than `{dim.word}` in the annotation"


def _union_need(failure: Failure, binder: RunTime, shown: str) -> _Need:
    parts: list[str] = []
    fix = f"{_verb(_name(failure.path))} a value that fits one of them"
    for cause in failure.causes:
        hint = show(cause.kind.hint)
        need = _need(cause, binder, hint)
        parts.append(f"{hint} ({need.needs})")
        if _choices(cause.kind) and isinstance(failure.value, str):
            fix = need.fix
    return _Need("takes no such value", " or ".join(parts), fix)


def _scalar_need(kind: kinds.Scalar, value: Any, name: str, shown: str, binder: RunTime) -> _Need:
    type_name = kind.hint.__name__
    if binder.numbers:
        if value.shape != ():
            return _Need("needs a scalar", shown, f"{_verb(name)} one number, or annotate an array")
        fix = f"convert it to {type_name}, or correct the annotation"
        return _Need(f"needs a scalar of type {type_name}", shown, fix)
    if binder.returned:
        fix = f"return a Python {type_name}, or annotate the array that it is, as in Float[Array, '']"
    else:
        fix = f"pass {type_name}({name}), or annotate Traced[{type_name}] if it may be traced"
    return _Need("is expected", shown, fix)


def _structure_need(structure: str, failure: Failure, seen: Seen, shown: str) -> _Need:
    name = _name(failure.path)
    binders = [(path, value) for path, cls, value in seen if getattr(cls, "structure", None) == structure]
    bound, expected = "", shown
    if binders:
        path, value = binders[0]
        own = _structure_of(failure.value)
        bound = f"={_structure_of(value)}, bound by {_quoted(path)}; its own is {own}"
        expected = f"{shown} with {structure}={_structure_of(value)}"
    return _Need(
        f"needs the tree structure {structure}{bound}",
        expected,
        f"{_verb(name)} a tree of that structure, or rename it in one of the annotations",
    )


def _structure_of(tree: Any) -> str:
    return structure_text(jax.tree_util.tree_structure(tree))


def _name(path: Path) -> str:
    return "".join(path)


def _is_return(name: str) -> bool:
    return name.startswith("return") and name[6:7] in ("", ".", "[")


def _verb(name: str) -> str:
    return "return" if _is_return(name) else "pass"


def _subject(name: str) -> str:
    return "the result" if _is_return(name) else f"`{name}`"


def _expression(name: str) -> str:
    return "result" if _is_return(name) else name


def _quoted(path: Path) -> str:
    return f"`{_name(path)}`"


def _array_fix(value: Any, name: str, module: str = "jnp") -> str:
    if isinstance(value, tuple) and _is_return(name):
        return "return one array, or annotate all that is returned: tuple[..., ...]"
    if isinstance(value, list | tuple | int | float | complex | np.ndarray):
        return f"convert it: {module}.asarray({_expression(name)})"
    if value is None:
        return f"{_verb(name)} an array, or add `| None` to the annotation"
    return f"{_verb(name)} an array"
