"""What an error of JAX's gains: a note that says which function, its arguments as JAX saw them, and the cure.

Type and text of the error stay as they are. An error of the user's own and one of this package get none.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.core

from typedfilter._compat import (
    arguments_blamed,
    axis_unbound,
    raised_on_host,
    says_formatted,
    says_forward_through_vjp,
    says_out_of_memory,
    says_unhashable,
    says_unsorted,
)
from typedfilter._reading import dims, kinds
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.text import show
from typedfilter._values.leaves import is_array_like, is_passed
from typedfilter._values.text import describe, safe_repr
from typedfilter._wrapping.frames import raised_in_jax
from typedfilter._wrapping.keywords import note_slip
from typedfilter.errors import TypedFilterError

_START = "typedfilter: "
_SHOWN = 12  # arguments
_DECISIONS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def note(
    error: BaseException, plan: Plan, transform: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Write a note on an error that JAX raised about this call; on any other, and a second time, nothing."""
    if type(error) is TypeError and kwargs:  # Python's own refusal is of no other class
        note_slip(error, kwargs, [param.name for param in plan.params])
    if not _is_jaxs(error) or any(str(one).startswith(_START) for one in getattr(error, "__notes__", ())):
        return
    params: list[Param | None] = [plan.positional(i) for i in range(len(args))]
    params += [plan.keyword(name) for name in kwargs]
    names = plan.bind_names(len(args), tuple(kwargs))
    rows = [
        (name, None if param is None else param.hint, value)
        for name, param, value in zip(names, params, (*args, *kwargs.values()), strict=True)
    ]
    lines = [f"{_START}raised by JAX in {plan.function}()" + (f", under {transform}" if transform else "")]
    lines += [f"  {name}: {_seen(hint, value, transform)}" for name, hint, value in rows[:_SHOWN]]
    bound = _dimensions(rows)
    if bound:
        lines.append(f"  dimensions: {', '.join(bound)}")
    cures = _one_type(rows) if says_unsorted(error) else _cures(error, plan, rows)
    lines += [f"  fix: {cure}" for cure in cures]
    error.add_note("\n".join(lines))


def _is_jaxs(error: BaseException) -> bool:
    if isinstance(error, TypedFilterError):
        return False
    if isinstance(error, (*_DECISIONS, jax.errors.UnexpectedTracerError)) or says_out_of_memory(error):
        return True
    if raised_on_host(error) is not None or says_formatted(error) or says_unhashable(error):
        return True
    if axis_unbound(error) is not None:
        return True
    return isinstance(error, TypeError | ValueError | IndexError) and raised_in_jax(error)


Row = tuple[str, Hint | None, Any]


def _dimensions(rows: Iterable[Row]) -> list[str]:
    """What the arguments bind dimension names to, as far as they agree."""
    bindings = dims.Bindings()
    for _, hint, value in rows:
        kind = None if hint is None else hint.kind
        if isinstance(kind, kinds.Array) and is_passed(value):
            with contextlib.suppress(dims.DisagreementError, NameError):
                dims.match(kind.dims, value.shape, bindings)
    return [f"{name}={size}" for name, size in bindings.sizes.items()]


def _seen(hint: Hint | None, value: Any, transform: str) -> str:
    """An argument as JAX saw it, and what says that it is so."""
    unsorted = _unsorted(value)
    leaves = [] if unsorted else jax.tree_util.tree_leaves(value)
    if unsorted:
        text = f"{describe(value)} with keys that can't be sorted"
    elif len(leaves) == 1 and leaves[0] is value:
        traced = ", traced" if transform == "filter_jit" or isinstance(value, jax.core.Tracer) else ""
        text = f"{describe(value)}{traced}" if is_passed(value) else f"{safe_repr(value, 40)}, static"
    else:
        count = sum(map(is_passed, leaves))
        others = f", {len(leaves) - count} static" if count < len(leaves) else ""
        text = f"{describe(value)} with {count} array{'' if count == 1 else 's'}{others}"
    donated = ", donated" if hint is not None and hint.donate else ""
    annotated = f" ({show(hint.annotation)})" if hint is not None and hint.annotated else ""
    return text + donated + annotated


def _unsorted(value: Any) -> list[str]:
    """A key of each type, of the first dictionary in a tree whose keys can't be sorted."""
    if not isinstance(value, dict | list | tuple):
        return []
    inside: Iterable[Any] = value
    if isinstance(value, dict):
        try:
            sorted(value)
        except TypeError:
            keys = {type(key).__name__: safe_repr(key, 40) for key in value}
            return [f"{shown} ({name})" for name, shown in keys.items()]
        inside = value.values()
    return next(filter(None, map(_unsorted, inside)), [])


def _one_type(rows: Sequence[Row]) -> Iterator[str]:
    for name, _, value in rows:
        keys = _unsorted(value)
        if keys:
            yield f"use keys of one type in the dictionaries of `{name}`, not {' beside '.join(keys)}"


def _cures(error: BaseException, plan: Plan, rows: Sequence[Row]) -> Iterator[str]:
    if isinstance(error, (*_DECISIONS, TypeError)) and arguments_blamed(error):
        hints = {name: (hint, value) for name, hint, value in rows}
        blamed = dict.fromkeys(re.split(r"[.\[]", name)[0] for name in arguments_blamed(error))
        for name in blamed:
            if name in hints:
                yield from _constant(name, *hints[name])
    if isinstance(error, _DECISIONS):
        yield _traced_way(error)
    elif isinstance(error, jax.errors.UnexpectedTracerError):
        yield (
            "an array that was made while a function was traced was kept outside of it (in a global, an "
            "attribute, a list); return it instead. typedfilter.testing.assert_no_tracer_leaks shows where"
        )
    elif says_formatted(error):
        yield (
            "the value is not known while tracing: print it with "
            'jax.debug.print("loss {loss:.2f}", loss=loss), or return it and print it outside'
        )
    elif says_unhashable(error):
        yield (
            "the value is not known while tracing, so it is no key of a dictionary nor in a set: keep it an "
            "array, or pass it as Static[...]"
        )
    elif (axis := axis_unbound(error)) is not None:
        yield f"name the axis where it is mapped: filter_vmap(..., axis_name={axis!r})"
    elif says_forward_through_vjp(error):
        yield (
            "filter_custom_vjp has a rule for reverse mode only: take derivatives of derivatives with "
            "filter_jacrev(filter_jacrev(...)), or give the function its rule with filter_custom_jvp"
        )
    elif says_out_of_memory(error):
        yield from _memory(rows)
    elif (raised := raised_on_host(error)) is not None:
        yield (
            f"{raised}; filter_pure_callback in the place of jax.pure_callback lets that exception "
            "arrive as it was raised"
        )


def _constant(name: str, hint: Hint | None, value: Any) -> Iterator[str]:
    """How an argument becomes a constant of the compilation, where it can be one."""
    leaves = jax.tree_util.tree_leaves(value)
    if hint is None or len(leaves) != 1 or getattr(leaves[0], "shape", None) != ():
        return
    static = f"Static[{_python_type(leaves[0])}]"
    if hint.role is Role.AUTO:
        yield f"`{name}` is traced since it is an array: pass a Python value, or annotate {static}"
    else:
        yield (
            f"`{name}` is traced by its annotation {show(hint.annotation)}; "
            f"{static} makes it a constant, with one compilation for each value"
        )


def _python_type(array: Any) -> str:
    kind = {"b": "bool", "i": "int", "u": "int", "c": "complex"}
    return kind.get(getattr(array.dtype, "kind", "f"), "float")


def _traced_way(error: BaseException) -> str:
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return "to branch on a traced value, use filter_cond or jax.numpy.where; to loop, filter_while_loop"
    if isinstance(error, jax.errors.TracerIntegerConversionError):
        return "to loop up to a traced number, use filter_fori_loop; to index by one, a jax.numpy array"
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return "compute with jax.numpy in the place of NumPy, or call the host with filter_pure_callback"
    if isinstance(error, jax.errors.NonConcreteBooleanIndexError):
        return "select with the three arguments of jax.numpy.where: the size of a result can't be traced"
    return (
        "keep the value an array (jax.numpy instead of int(), float(), math or NumPy), print it with "
        "jax.debug.print, or make it static"
    )


def _memory(rows: Iterable[Row]) -> Iterator[str]:
    kept = []
    for name, hint, value in rows:
        arrays = [leaf for leaf in jax.tree_util.tree_leaves(value) if is_array_like(leaf)]
        size = sum(getattr(leaf, "nbytes", 0) for leaf in arrays)
        if size and not (hint is not None and hint.donate):
            kept.append((size, name))
    if kept:
        listed = ", ".join(f"`{name}` ({size / 2**20:.1f} MiB)" for size, name in sorted(kept, reverse=True))
        yield f"not donated: {listed}; annotate as Donate[...] what the result takes the place of"
