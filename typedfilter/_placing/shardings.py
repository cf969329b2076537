"""Where the arguments and the result of a compiled function live, by annotation or by option.

Annotations say it with a `PartitionSpec` of the ambient mesh, about what the user's function
receives and returns; `in_shardings` and `out_shardings` say it about the compiled function, whatever other
transforms it is made of. How one array is placed is decided in `places`.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import types
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.core
from jax.sharding import NamedSharding

from typedfilter._compat import says_incompatible_devices, says_incompatible_mesh
from typedfilter._placing.places import (
    NoPrefixError,
    devices_of,
    devices_text,
    is_place,
    mesh_problem,
    no_place,
    place_tree,
    places_text,
    prefix_texts,
    spread_places,
)
from typedfilter._reading.hints import UNANNOTATED, Hint
from typedfilter._reading.options import PerArgument
from typedfilter._reading.plan import Plan
from typedfilter._reading.roles import Role
from typedfilter._values.context import setting
from typedfilter._values.text import array_text
from typedfilter._values.trees import Treedef
from typedfilter.errors import AnnotationError, ShapeError

__all__ = ["Shardings", "check_shardings", "in_shardings", "is_placing", "no_placement", "placed", "placing"]

_active: contextvars.ContextVar[bool | None] = contextvars.ContextVar("typedfilter_placing", default=None)


def is_placing() -> bool:
    """Whether bodies honour their `PartitionSpec`s now."""
    return bool(_active.get())


@contextlib.contextmanager
def placing() -> Generator[None]:
    """Bodies inside honour their `PartitionSpec`s: they are being compiled."""
    with setting(_active, True if _active.get() is None else _active.get()):
        yield


@contextlib.contextmanager
def no_placement() -> Generator[None]:
    """No body inside honours its `PartitionSpec`s: for traces that ask for shapes only, on no device."""
    with setting(_active, False):
        yield


def placed(
    fn: Callable[..., Any],
    plan: Plan,
    body: Callable[..., Any],
    shardings: Shardings | None = None,
    bound: int = 0,
) -> Callable[..., Any]:
    """`body`, with arguments and result placed as the options say, else as the annotations of `fn` do.

    Only while it is compiled. `body` itself where nothing says anything. Annotations do not where `fn` is
    one of our wrappers: a `PartitionSpec` is about what the user's function receives, whatever axes the
    transforms around it add.

    Args:
        fn: the function.
        plan: of it.
        body: what to call.
        shardings: the options.
        bound: how many arguments come before those that the options speak of.
    """
    annotated = any(hint.sharding is not None for hint in (plan.returns, *(p.hint for p in plan.params)))
    annotated = annotated and not _is_wrapped(fn)
    if not annotated and shardings is None:
        return body
    options = shardings or Shardings.of(None, None)

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _active.get():
            return body(*args, **kwargs)
        places = [None] * bound + options.of_arguments(plan, bound, len(args), kwargs)
        values = []
        for (name, param, value), place in zip(plan.arguments(args, kwargs), places, strict=True):
            hint = param.hint if param is not None and annotated else UNANNOTATED
            values.append(_placed(plan, "in_shardings", name, value, place, hint))
        out = body(*values[: len(args)], **dict(zip(kwargs, values[len(args) :], strict=True)))
        returns = plan.returns if annotated else UNANNOTATED
        return _placed(plan, "out_shardings", "return", out, options.of_result(), returns)

    return call


def _is_wrapped(fn: Any) -> bool:
    while isinstance(fn, functools.partial | types.MethodType):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__func__
    return hasattr(type(fn), "__typedfilter_plan__")


def _placed(plan: Plan, option: str, name: str, value: Any, places: Any, hint: Hint) -> Any:
    """One argument, or the result, where the option says, else the annotation."""

    def refuse(path: str, problem: dict[str, str]) -> ShapeError:
        return ShapeError(function=plan.function, parameter=name + path, **problem)

    if places is not None:
        try:
            return place_tree(value, places, refuse, even=True)
        except NoPrefixError:
            raise ShapeError(
                f"has a structure that its entry in {option} is no prefix of",
                function=plan.function,
                parameter=name,
                **prefix_texts(places, value),
                fix="give one for all of it, or a pytree like its upper levels; None leaves a subtree alone",
            ) from None
    if hint.sharding is None:
        return value
    problem = mesh_problem(hint.sharding)
    if problem is not None:
        raise AnnotationError(function=plan.function, parameter=name, **problem)
    return place_tree(value, hint.sharding, refuse, even=True)


def _is_elsewhere(leaf: Any, devices: frozenset[Any]) -> bool:
    concrete = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
    return concrete and leaf.committed and leaf.sharding.device_set != devices


def _elsewhere_error(plan: Plan, where: str, array: Any, devices: frozenset[Any], option: str) -> ShapeError:
    found, wanted = devices_text(array.sharding.device_set), devices_text(devices)
    return ShapeError(
        f"is committed to {found}, but {option} names {wanted}, and a program runs in one place",
        function=plan.function,
        parameter=where,
        expected=f"an array on {wanted}, or one that is not committed",
        actual=f"an array {array_text(array.dtype, array.shape)} on {found}",
        fix="move it there before the call: filter_shard",
    )


# ------------------------------------------------------------------------------------------------ options


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A pytree of places, compared and hashed by value, whatever containers it is made of."""

    leaves: tuple[Any, ...]
    treedef: Treedef

    @classmethod
    def of(cls, places: Any) -> _Frozen:
        leaves, treedef = jax.tree_util.tree_flatten(places, is_leaf=is_place)
        return cls(tuple(leaves), treedef)

    def tree(self) -> Any:
        return self.treedef.unflatten(self.leaves)


@dataclasses.dataclass(frozen=True)
class Shardings:
    """What `in_shardings` and `out_shardings` say, by value."""

    inputs: _Frozen
    output: _Frozen

    @classmethod
    def of(cls, in_shardings: Any, out_shardings: Any) -> Shardings:
        return cls(_Frozen.of(in_shardings), _Frozen.of(out_shardings))

    def of_arguments(self, plan: Plan, bound: int, count: int, names: Iterable[str]) -> list[Any]:
        """Where the arguments of a call go, less the first `bound`: a pytree of places for each."""
        for _ in range(bound):
            plan = plan.without_first()
        return in_shardings(plan, self.inputs.tree()).of_call(count - bound, tuple(names))

    def of_result(self) -> Any:
        return self.output.tree()

    def for_jit(self) -> Any:
        """Where `jax.jit` itself has to put the result; `None` where a constraint inside will do.

        With constraints of two meshes inside, JAX does not know to which one a result belongs.
        """
        result = self.of_result()
        return result if isinstance(result, NamedSharding) and len(self._meshes) > 1 else None

    @property
    def _meshes(self) -> set[Any]:
        leaves = (*self.inputs.leaves, *self.output.leaves)
        return {leaf.mesh for leaf in leaves if isinstance(leaf, NamedSharding)}

    def better_error(
        self, plan: Plan, bound: int, error: ValueError, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> ShapeError | None:
        """What these places have to do with an error of JAX; `None` if that is of something else."""
        if says_incompatible_devices(error):
            return self._elsewhere(plan, bound, args, kwargs)
        if says_incompatible_mesh(error) and len(self._meshes) > 1:
            return ShapeError(
                "is to be split over one mesh, and something else over another",
                function=plan.function,
                parameter="return",
                expected="one mesh for in_shardings and out_shardings, or one place for all of the result",
                actual=f"out_shardings={places_text(self.of_result())}",
                fix="use one mesh, or place the result with filter_shard, outside of the function",
            )
        return None

    def _elsewhere(
        self, plan: Plan, bound: int, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> ShapeError | None:
        """The error for the first array that is bound to other devices than a place names."""
        places = [None] * bound + self.of_arguments(plan, bound, len(args), kwargs)
        everywhere = [devices_of(leaf) for leaf in (*self.inputs.leaves, *self.output.leaves)]
        for (name, _, value), place in zip(plan.arguments(args, kwargs), places, strict=True):
            found = jax.tree_util.tree_flatten_with_path(value)[0]
            for (path, leaf), target in zip(found, spread_places(place, value), strict=True):
                wanted = [devices_of(target)] if target is not None else everywhere
                for devices in wanted:
                    if devices is not None and _is_elsewhere(leaf, devices):
                        where = name + jax.tree_util.keystr(path)
                        option = "out_shardings" if target is None else "in_shardings"
                        return _elsewhere_error(plan, where, leaf, devices, option)
        texts = sorted({devices_text(devices) for devices in everywhere if devices is not None})
        if len(texts) < 2:
            return None
        return ShapeError(
            f"is placed on {' and on '.join(texts)}, and a program runs in one place",
            function=plan.function,
            expected="in_shardings and out_shardings that all name the same devices",
            actual=", ".join(texts),
            fix="name the same devices, or move the result with filter_shard, outside of the function",
        )


def in_shardings(plan: Plan, given: Any) -> PerArgument:
    """The option of that name, as it speaks of the arguments of a function."""
    return PerArgument(plan, "in_shardings", given, None, AnnotationError, places_text)


def check_shardings(plan: Plan, inputs: Any, output: Any) -> None:
    """Refuse what is no place for an array, and what is said of arguments that there are not.

    Raises:
        AnnotationError: when the decorator runs.
    """
    for option, places in (("in_shardings", inputs), ("out_shardings", output)):
        wrong = no_place(places)
        if wrong is not None:
            path, fields = wrong
            problem = f"is given {option}{path}, but that {fields.pop('problem')}"
            raise AnnotationError(problem, function=plan.function, **fields)
    given = in_shardings(plan, inputs)
    given.check()
    if is_place(inputs):  # one for all: what of them is static stays as it is
        return
    for param in plan.params:
        if param.hint.role is Role.STATIC and given.of(param) is not None:
            raise AnnotationError(
                f"is {param.hint.why}, so that in_shardings has nothing to place",
                function=plan.function,
                parameter=param.name,
                fix="drop its entry, or make it None",
            )
