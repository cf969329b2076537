"""From an error that JAX raised about the arguments of a call to one that names the argument.

Runs only when something was raised, and looks at the arguments alone: an error that they don't
explain is the user's own, and passes unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.core
import numpy as np

from typedfilter._compat import says_unsorted, tells_of_deleted, tells_of_donated_twice
from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Argument, Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.text import show
from typedfilter._reading.whole import is_array_only
from typedfilter._values.keys import static_problem
from typedfilter._values.leaves import is_array, is_array_like, is_struct
from typedfilter._values.text import array_annotation, array_text, brief, model_cure
from typedfilter._wrapping import host_errors as _raised
from typedfilter._wrapping.call import OMITTED
from typedfilter._wrapping.frames import hidden, outside, raised_at
from typedfilter._wrapping.gone import crashes_with_gone, gone_error
from typedfilter._wrapping.notes import note
from typedfilter.errors import DonationError, ShapeError, StaticArgumentError, TypedFilterError

__tracebackhide__ = hidden  # asked by pytest

Finder = Callable[[Plan, str, Hint, Any], TypedFilterError | None]


def better_error(
    plan: Plan,
    error: Exception,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    place: tuple[str, int] | None = None,
) -> BaseException | None:
    """An error that says which argument is to blame for `error`; `None` where none is.

    For JAX's report of what a callback on the host raised, the exception of that callback. An argument that
    has reached the body, which is written at `place`, was none that can't be passed.
    """
    original = _raised.original(error)
    if original is not None:
        return original
    if isinstance(error, TypedFilterError) or not isinstance(error, (TypeError, ValueError, RuntimeError)):
        return None
    if tells_of_deleted(error):
        return donation_error(plan, args, kwargs)
    if tells_of_donated_twice(error):
        return _twice_error(plan, args, kwargs)
    if says_unsorted(error) or raised_at(error, place):  # no argument can be taken apart, or none is to blame
        return None
    return _first_fault((_static_fault, _leaf_fault, _traced_fault), plan, args, kwargs)


def entered(
    call: Callable[..., Any], plan: Plan, transform: str, beside: Any = None, *, runs: bool = True
) -> Callable[..., Any]:
    """What a wrapper calls: `call`, whose errors name arguments and end at the line of the caller.

    Args:
        call: what the transform does.
        plan: of the function that is transformed,
        transform: and by what.
        beside: what may hold arrays, too.
        runs: whether anything is run with these arrays.
    """

    def enter(*args: Any, **kwargs: Any) -> Any:
        try:
            try:
                if runs:
                    refuse_gone(plan, args, kwargs, beside)
                return call(*args, **kwargs)
            except Exception as error:
                explain_deleted(plan, error, args, kwargs)
                note(error, plan, transform, args, kwargs)
                raise
        except BaseException as error:
            outside(error)
            raise

    # Whoever decorates a wrapper takes the names of what it calls.
    enter.__name__, enter.__qualname__ = plan.function.rpartition(".")[2], plan.function
    return enter


def refuse_gone(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any], beside: Any) -> None:
    """Refuse an array whose memory is gone before JAX sees it, where that would end the process.

    Raises:
        DonationError: there is one among the arguments.
        RuntimeError: there is one in what is beside them.
    """
    if crashes_with_gone((args, kwargs, beside)):
        raise donation_error(plan, args, kwargs) or gone_error()


def explain_deleted(plan: Plan, error: Exception, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise an error that names the argument, if JAX's is about an array that was deleted."""
    if isinstance(error, TypedFilterError):  # it names what is wrong
        return
    if isinstance(error, RuntimeError | ValueError) and tells_of_deleted(error):
        better = donation_error(plan, args, kwargs)
        if better is not None:
            raise better from None


class naming_deleted:
    """Inside, JAX's error about a deleted array becomes one that names the argument it was passed as.

    A class and no generator, which costs more: it is entered in every call that is not compiled.
    """

    __slots__ = ("_args", "_beside", "_kwargs", "_plan")

    def __init__(
        self, plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any], beside: Any = None
    ) -> None:
        self._plan, self._args, self._kwargs, self._beside = plan, args, kwargs, beside

    def __enter__(self) -> None:
        refuse_gone(self._plan, self._args, self._kwargs, self._beside)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception):
            explain_deleted(self._plan, error, self._args, self._kwargs)
            note(error, self._plan, "", self._args, self._kwargs)


def donation_error(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception | None:
    """An error that names the first array among these arguments whose memory is gone."""
    return _first_fault((_donated_fault,), plan, args, kwargs)


def _first_fault(
    finders: Sequence[Finder], plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Exception | None:
    for name, hint, value in _arguments(plan, args, kwargs):
        for find in finders:
            better = find(plan, name, hint, value)
            if better is not None:
                return better
    return None


def _arguments(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Hint, Any]]:
    for name, param, value in plan.arguments(args, kwargs):
        if param is not None and value is not OMITTED:
            yield name, param.hint, value


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
        yield name + jax.tree_util.keystr(path), leaf


def _static_fault(plan: Plan, name: str, hint: Hint, value: Any) -> TypedFilterError | None:
    if hint.role is Role.STATIC:
        return _static_error(plan, name, value, f"static ({hint.why})")
    return None


def _leaf_fault(plan: Plan, name: str, hint: Hint, value: Any) -> TypedFilterError | None:
    """What is wrong with a leaf of an argument where the annotation leaves leaves open."""
    if hint.role is not Role.AUTO:
        return None
    only_arrays = is_array_only(value)
    for (path, leaf), mark in zip(_leaves(name, value), leaf_marks(value), strict=True):
        if mark.static:
            found: TypedFilterError | None = _field_error(plan, path, leaf)
        elif only_arrays or mark.traced:
            found = _array_error(plan, path, leaf, "an array, as its field says")
        elif issubclass(type(leaf), (np.ndarray, np.generic)) and not is_array(leaf):
            found = StaticArgumentError(
                f"is a NumPy array of dtype {leaf.dtype}, which JAX can't trace",
                function=plan.function,
                parameter=path,
                expected="an array of numbers or booleans",
                actual=brief(leaf),
                fix="convert it to numbers, or pass it as a tuple under Static[...]",
            )
        else:
            found = (
                None if is_array(leaf) else _static_error(plan, path, leaf, "static, since it is no array")
            )
        if found is not None:
            return found
    return None


def static_array(plan: Plan, argument: Argument) -> StaticArgumentError:
    """An array where the annotation says what is static."""
    why = "" if argument.param is None else argument.param.hint.why
    return _static_problem(plan, argument.name, argument.value, f"static ({why})", "is an array")


def _static_error(plan: Plan, name: str, value: Any, why: str) -> StaticArgumentError | None:
    problem = static_problem(value)
    return None if problem is None else _static_problem(plan, name, value, why, problem)


def _static_problem(plan: Plan, name: str, value: Any, why: str, problem: str) -> StaticArgumentError:
    fix = (
        model_cure(value) or "pass a hashable value: a tuple for a list, a frozen dataclass for a mutable one"
    )
    if is_array(value) or is_struct(value):
        fix = f"annotate it as an array ({array_annotation(value)}) or Traced[...], or pass a Python value"
        if value.shape == () and not isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
            fix += f": {name}.item()"
    return StaticArgumentError(
        f"is {why} but {problem}",
        function=plan.function,
        parameter=name,
        expected="a hashable value",
        actual=brief(value),
        fix=fix,
    )


def _traced_fault(plan: Plan, name: str, hint: Hint, value: Any) -> TypedFilterError | None:
    if hint.role not in (Role.ARRAYS, Role.TRACED):
        return None
    for (path, leaf), mark in zip(_leaves(name, value), leaf_marks(value), strict=True):
        found = (
            _field_error(plan, path, leaf)
            if mark.static
            else _array_error(plan, path, leaf, show(hint.annotation))
        )
        if found is not None:
            return found
    return None


def _field_error(plan: Plan, path: str, leaf: Any) -> StaticArgumentError | None:
    return _static_error(plan, path, leaf, "static, as its field says,")


def _array_error(plan: Plan, path: str, leaf: Any, expected: str) -> ShapeError | None:
    if is_array_like(leaf) or isinstance(leaf, jax.ShapeDtypeStruct):
        return None
    return ShapeError(
        "is not an array",
        function=plan.function,
        parameter=path,
        expected=expected,
        actual=brief(leaf),
        fix="pass an array; or mark what can't be one as Static[...]",
    )


def _donated_fault(plan: Plan, name: str, hint: Hint, value: Any) -> TypedFilterError | None:
    for path, leaf in _leaves(name, value):
        if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and leaf.is_deleted():
            return DonationError(
                "was donated to an earlier call, and its memory is gone",
                function=plan.function,
                parameter=path,
                actual=f"a deleted array {array_text(leaf.dtype, leaf.shape)}",
                fix="use the result of that call in its place, or pass a copy (jax.numpy.copy) to it",
            )
    return None


def _twice_error(plan: Plan, args: Sequence[Any], kwargs: Mapping[str, Any]) -> DonationError | None:
    """The first two leaves that are one buffer."""
    seen: dict[int, str] = {}
    for name, _, value in _arguments(plan, args, kwargs):
        for path, leaf in _leaves(name, value):
            for buffer in _buffers(leaf):
                if seen.setdefault(buffer, path) != path:
                    return DonationError(
                        f"is the same array as `{seen[buffer]}`, and is donated in one of the two places",
                        function=plan.function,
                        parameter=path,
                        actual=f"one array {array_text(leaf.dtype, leaf.shape)}",
                        fix="pass a copy (jax.numpy.copy) in one of the two places",
                    )
    return None


def _buffers(leaf: Any) -> list[int]:
    if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
        return []
    return [shard.data.unsafe_buffer_pointer() for shard in leaf.addressable_shards]
