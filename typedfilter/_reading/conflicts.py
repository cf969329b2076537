"""Contradictions between a plan and a transform, refused when the decorator runs.

What one annotation alone contradicts is refused where it is read (`hints`); here is what only the
transform makes wrong: nothing to differentiate, a loss that is no scalar.
"""

from __future__ import annotations

import builtins
import enum
import inspect
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.hints import Hint
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Plan
from typedfilter._reading.roles import Differentiable, Role
from typedfilter._reading.text import show
from typedfilter._values.text import among, safe_repr
from typedfilter.errors import AnnotationError

_CONTAINERS = (tuple, list, dict, set, frozenset)
_NO_NUMBERS = (str, bytes, type(None), type, enum.Enum, *_CONTAINERS)
_NOT_PAIRS = (str, bytes, type(None), type, enum.Enum, dict, set, frozenset)


def check_jit(plan: Plan, donate: str = "none") -> None:
    """Refuse what contradicts `filter_jit`: an argument to donate by option that there isn't.

    Raises:
        AnnotationError: `donate` says to donate arguments, and all of them are static.
    """
    if donate == "none" or not plan.params:
        return
    first = 1 if donate.endswith("except-first") else 0
    rest = plan.params[first:] if not plan.params[0].variadic else plan.params
    if rest and all(param.hint.role is Role.STATIC for param in rest):
        names = ", ".join(f"`{param.name}`" for param in rest)
        raise AnnotationError(
            f"has nothing to donate: {names} {'are' if len(rest) > 1 else 'is'} static",
            function=plan.function,
            actual=f"donate={donate!r}",
            fix="leave donate out",
        )


def check_donate(plan: Plan, donate: str, ways: Sequence[str], name: str) -> None:
    """Refuse a way to donate that is none of those that a transform has.

    Raises:
        AnnotationError: when the decorator runs.
    """
    if donate not in ways:
        raise AnnotationError(
            f"{name} has no donate={donate!r}",
            function=plan.function,
            expected=" or ".join(map(repr, ways)),
            actual=repr(donate),
            fix=among(donate, ways) + ", or annotate single arguments as Donate[...]",
        )


def check_vmap(plan: Plan, *, in_axes: bool = False, axis_size: int | None = None) -> None:
    """Refuse what contradicts `filter_vmap`: a function without an argument to map.

    Args:
        plan: of the function to map.
        in_axes: whether axes are given by option, which then decide.
        axis_size: the option; with it, there may be nothing to map.

    Raises:
        AnnotationError: every argument is static or annotated `VmapAxis[None]`.
    """
    if in_axes or axis_size is not None or not plan.has_signature:
        return
    if all(_is_broadcast(param.hint) for param in plan.params):
        raise AnnotationError(
            "has no argument to map" + (": each is static or VmapAxis[None]" if plan.params else ""),
            function=plan.function,
            fix="annotate an argument as an array, or pass axis_size",
        )


def _is_broadcast(hint: Hint) -> bool:
    return hint.axis.axis is None if hint.axis is not None else hint.role is Role.STATIC


def check_grad(plan: Plan, *, has_aux: bool, name: str, scalar: bool = True, integers: bool = False) -> None:
    """Refuse what contradicts a differentiating transform.

    Args:
        plan: of the function to differentiate.
        has_aux: the option of the transform.
        name: of the transform, for the message.
        scalar: whether the function must return a scalar (Jacobians need none).
        integers: whether integers have a gradient, too.

    Raises:
        AnnotationError: there is nothing to differentiate; `has_aux` is no flag; or the return annotation
            says that the result is no scalar, or no pair with `has_aux`.
    """
    # An argument number by position, mostly, as JAX takes it.
    if not isinstance(has_aux, bool | np.bool_):  # pyright: ignore[reportUnnecessaryIsInstance] # who has no types
        raise AnnotationError(
            f"has no has_aux={safe_repr(has_aux, 40)}",
            function=name,
            expected="True or False",
            actual=safe_repr(has_aux, 40),
            fix="pass one of these; which argument is differentiated, Diff[...] in an annotation says",
        )
    if not plan.diff_params and not integers:
        _check_first(plan, name)
    if plan.returns.annotated:
        _check_return(plan, has_aux, name, scalar)


def _check_first(plan: Plan, name: str) -> None:
    first = plan.params[0] if plan.params else None
    if first is None or first.kind is inspect.Parameter.VAR_KEYWORD:
        fix = "make what is to be differentiated its first parameter"
        raise AnnotationError(
            f"has no argument that {name} could differentiate", function=plan.function, fix=fix
        )
    hint = first.hint
    shown = show(hint.annotation)
    if hint.diff is False:
        reason = f"is annotated {shown}, but {name} differentiates the first argument"
    elif hint.differentiable is Differentiable.NEVER:
        reason = f"is annotated {shown} and can't be differentiated, and {name} has nothing else"
    else:
        return
    fix = "put a floating-point argument first, or mark one as Diff[...]"
    raise AnnotationError(reason, function=plan.function, parameter=first.name, fix=fix)


def _check_return(plan: Plan, has_aux: bool, name: str, scalar: bool) -> None:
    kind = plan.returns.kind
    shown = show(plan.returns.annotation)
    if has_aux and _is_no_pair(kind):
        problem = f"is annotated {shown}, but has_aux=True needs a pair of value and auxiliary data"
        fix = "return such a pair, annotated tuple[Float[Array, ''], Any]; or leave has_aux out"
        raise AnnotationError(problem, function=plan.function, parameter="return", fix=fix)
    value = _first_of_pair(kind) if has_aux else kind
    if not scalar or not _is_no_scalar(value):
        return
    what = "a floating-point scalar as the first of the pair" if has_aux else "a floating-point scalar"
    fix = "return a scalar, annotated Float[Array, '']; for the derivative of an array use filter_jacrev"
    if not has_aux and not _is_no_pair(kind, lists=False) and not _is_no_scalar(_first_of_pair(kind)):
        fix = "pass has_aux=True, so that only the first of the pair is differentiated"
    problem = f"is annotated {shown}, but {name} needs {what}"
    raise AnnotationError(problem, function=plan.function, parameter="return", fix=fix)


def _is_no_scalar(kind: Kind) -> bool:
    """Whether no value of this kind is a real floating-point scalar, for certain."""
    match kind:
        case kinds.Union(_, members):
            return all(map(_is_no_scalar, members))
        case kinds.Array(cls):
            has_axes = any(not dim.variadic for dim in kind.dims)
            return has_axes or not any(str(name).startswith(("float", "bfloat")) for name in _dtypes(cls))
        case kinds.Scalar(cls):
            return cls is not float
        case kinds.NumpyScalar(cls):
            return issubclass(cls, complex)
        case kinds.Class(_, cls):
            return issubclass(cls, _NO_NUMBERS)
        case kinds.Each(_, cls) | kinds.Mapping(_, cls):
            return issubclass(cls, _CONTAINERS)
        case _:
            return isinstance(kind, kinds.Literal | kinds.Tuple)


def _dtypes(cls: Any) -> tuple[Any, ...]:
    return cls.dtypes if isinstance(cls.dtypes, tuple) else ("float32",)  # Shaped: any dtype


def _is_no_pair(kind: Kind, *, lists: bool = True) -> bool:
    """Whether no value of this kind is a pair, for certain; one that is a list counts with `lists`."""
    match kind:
        case kinds.Union(_, members):
            return all(_is_no_pair(member, lists=lists) for member in members)
        case kinds.Tuple(_, items):
            return len(items) != 2
        case kinds.Record() if not kind.keyed:
            return len(kind.cls._fields) != 2  # type: ignore[attr-defined]  # of a NamedTuple
        case kinds.Class(_, cls) if issubclass(cls, tuple):
            return False
        case kinds.Each(_, cls) | kinds.Mapping(_, cls) | kinds.Class(_, cls):
            return issubclass(cls, (*_NOT_PAIRS, jax.Array)) or (issubclass(cls, list) and not lists)
        case _:
            return isinstance(
                kind, kinds.Array | kinds.NumpyArray | kinds.NumpyScalar | kinds.Scalar | kinds.Literal
            )


def _first_of_pair(kind: Kind) -> Kind:
    match kind:
        case kinds.Tuple(_, (first, *_)) | kinds.Each(_, builtins.tuple, first):
            return first
        case _:
            return kinds.ANYTHING
