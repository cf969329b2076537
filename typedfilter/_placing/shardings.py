"""Where the arguments and the result of a compiled function live, by option or by annotation.

Annotations say it with a place (mostly a `PartitionSpec` of the ambient mesh) about what the user's function
receives and returns; `in_shardings` and `out_shardings` say it about the compiled function, whatever other
transforms it is made of. `jax.jit` gets what can be said before a call; `bodies` does the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.sharding import NamedSharding

from typedfilter._placing.places import (
    NoPrefixError,
    for_jax,
    has_rules,
    is_free,
    is_place,
    no_place,
    places_text,
    prefix_problem,
    spread_places,
)
from typedfilter._placing.specs import Problem
from typedfilter._reading.fields import LeafMark, has_places, leaf_marks
from typedfilter._reading.hints import UNANNOTATED, Hint
from typedfilter._reading.options import PerArgument
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.text import show
from typedfilter._reading.within import NoPartsError, is_structure
from typedfilter._reading.wrappers import is_method
from typedfilter._values.text import describe
from typedfilter._values.trees import Treedef
from typedfilter.errors import AnnotationError, ShapeError


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


@dataclasses.dataclass(frozen=True)
class Said:
    """What is said of one argument, or of the result."""

    places: Any = None  # a pytree of places and rules; `None` where nothing is said
    option: str = ""  # which option says it; empty for an annotation
    fields: bool = False  # whether fields may say otherwise of their own arrays: not of an option
    written: Any = None  # the annotation, for messages

    def spread(self, value: Any, refuse: Callable[[str, Problem], Exception] | None = None) -> list[Any]:
        """The place of each leaf of a value: as the option says; else the innermost field, or the annotation.

        Raises:
            NoPrefixError: what is said has another structure.
        """
        if self.option:
            return spread_places(self.places, value, refuse)
        if isinstance(value, jax.Array) and not is_structure(self.places):
            return [self.places]
        try:
            return [mark.place for mark in leaf_marks(value, LeafMark(place=self.places))]
        except NoPartsError:
            raise NoPrefixError from None

    def of_leaves(
        self, plan: Plan, name: str, value: Any, refuse: Callable[[str, Problem], Exception] | None = None
    ) -> list[Any]:
        """As `spread`, of an argument or the result of a function.

        Raises:
            ShapeError: what is said has another structure.
        """
        try:
            return self.spread(value, refuse)
        except NoPrefixError:
            raise self._misfit(plan, name, value) from None

    def _misfit(self, plan: Plan, name: str, value: Any) -> ShapeError:
        """The error for a value whose structure is another one than `spread` needs."""
        if self.option:
            problem = f"has a structure that its entry in {self.option} is no prefix of"
            wrong = prefix_problem(problem, self.places, value, "give one for all of it")
            return wrong.error(ShapeError, plan.function, name)
        return ShapeError(
            f"is {describe(value)}, but its annotation says of the parts of another type where they are",
            function=plan.function,
            parameter=name,
            expected=show(self.written),
            actual=describe(value),
            fix=f"{'return' if name == 'return' else 'pass'} a value of this type, or correct the annotation",
        )

    @property
    def for_jit(self) -> bool:
        """Whether it can be said to `jax.jit`, which knows neither rules nor what is unconstrained."""
        if self.places is None or self.fields or has_rules(self.places):
            return False
        leaves = jax.tree_util.tree_leaves(self.places, is_leaf=is_place)
        return not any(map(is_free, leaves))

    @property
    def is_for_parts(self) -> bool:
        """Whether that needs the structure of a value."""
        return self.for_jit and not is_place(self.places)


def by_annotation(hint: Hint) -> Said:
    """What an annotation says, and the fields of what is annotated."""
    fields = hint.sharding is not None and has_places(hint.kind)
    return Said(hint.sharding, fields=fields, written=hint.annotation)


@dataclasses.dataclass(frozen=True)
class ForJit:
    """What `jax.jit` is told about one pattern of calls."""

    # for each argument that is not static; `None` where nothing is said of any
    inputs: tuple[Any, ...] | None = None
    output: Any = None  # for the result
    placed: frozenset[str] = frozenset()  # the names of the arguments that `jax.jit` places


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the arguments and the result of one function live."""

    plan: Plan  # of the function with all its arguments
    # whether its annotations count. They don't where it is a transform of another function: they are
    # about what the user's function receives, whatever axes the transforms around it add
    annotated: bool
    bound: int = 0  # how many arguments come before those that the options speak of
    options: Shardings | None = None  # the options
    mesh: Any = None  # the ambient one while it is called, where an option says so
    says_something: bool = dataclasses.field(init=False)  # whether anything is said at all

    @classmethod
    def of(cls, fn: Any, plan: Plan, bound: int = 0, options: Shardings | None = None) -> Placement:
        """The placement of a function, by its plan and the options."""
        return cls(plan, bool(plan.placing) and not is_wrapped(fn), bound, options)

    def __post_init__(self) -> None:
        object.__setattr__(self, "says_something", self.annotated or self.options is not None)

    def of_arguments(self, count: int, names: Sequence[str]) -> list[Said]:
        """What is said of each argument of a call: of `count` by position, then of those by name."""
        return self.of_params([param for _, param in self.plan.layout(count, tuple(names))], names)

    def of_params(self, params: Sequence[Param | None], names: Sequence[str]) -> list[Said]:
        """What is said of each argument of a call, by the parameter that takes it; last of those by name."""
        hints = [param.hint if param is not None and self.annotated else UNANNOTATED for param in params]
        given: list[Any] = [None] * len(params)
        if self.options is not None:
            given[self.bound :] = self.options.of_arguments(
                self.plan, self.bound, len(params) - len(names), names
            )
        return [
            by_annotation(hint) if places is None else Said(places, "in_shardings")
            for places, hint in zip(given, hints, strict=True)
        ]

    def of_result(self) -> Said:
        """What is said of the result."""
        places = None if self.options is None else self.options.of_result()
        if places is not None:
            return Said(places, "out_shardings")
        return by_annotation(self.plan.returns) if self.annotated else Said()

    def for_jit(
        self, count: int, names: Sequence[str], whole: Sequence[bool], traced: Sequence[bool]
    ) -> ForJit:
        """What to tell `jax.jit`.

        Args:
            count: how many arguments are passed by position.
            names: those that are passed by name.
            whole: of which arguments all leaves are arrays, so that they travel as they are.
            traced: which arguments are not static.
        """
        said = self.of_arguments(count, names)
        result = self.of_result()
        # Of two meshes, JAX does not know about which one the result is, once it is compiled into another.
        apart = len(_meshes([*(one.places for one in said), result.places])) > 1 and is_place(result.places)
        placed = tuple(
            not apart and one.for_jit and moves and (is_place(one.places) or all_arrays)
            for one, all_arrays, moves in zip(said, whole, traced, strict=True)
        )
        inputs = [_for_jit(one.places) if yes else None for one, yes in zip(said, placed, strict=True)]
        return ForJit(
            tuple(one for one, moves in zip(inputs, traced, strict=True) if moves) if any(placed) else None,
            _for_jit(result.places) if result.for_jit else None,
            frozenset(itertools.compress(self.plan.bind_names(count, names), placed)),
        )


def _meshes(places: Any) -> set[Any]:
    leaves = jax.tree_util.tree_leaves(places, is_leaf=is_place)
    return {leaf.mesh for leaf in leaves if isinstance(leaf, NamedSharding)}


def _for_jit(places: Any) -> Any:
    return jax.tree_util.tree_map(for_jax, places, is_leaf=is_place)


def is_wrapped(fn: Any) -> bool:
    """Whether a callable is one of our wrappers, bound or not."""
    while not isinstance(fn, types.FunctionType) and (isinstance(fn, functools.partial) or is_method(fn)):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__func__
    return hasattr(type(fn), "__typedfilter_plan__")


# ------------------------------------------------------------------------------------------------ options


def in_shardings(plan: Plan, given: Any) -> PerArgument:
    """The option of that name, as it speaks of the arguments of a function."""
    return PerArgument(plan, "in_shardings", given, None, AnnotationError, places_text)


def check_shardings(plan: Plan, inputs: Any, output: Any) -> None:
    """Refuse what is no place for an array, and what is said of arguments that there are not.

    Raises:
        AnnotationError: when the decorator runs.
    """
    if inputs is None and output is None:
        return
    for option, places in (("in_shardings", inputs), ("out_shardings", output)):
        wrong = no_place(places)
        if wrong is not None:
            path, problem = wrong
            said = f"is given {option}{path}, but that {problem.problem}"
            raise dataclasses.replace(problem, problem=said).error(AnnotationError, plan.function)
    given = in_shardings(plan, inputs)
    given.check()
    if is_place(inputs) or has_rules([inputs]):  # one for all: what of them is static stays as it is
        return
    for param in plan.params:
        if param.hint.role is Role.STATIC and given.of(param) is not None:
            raise AnnotationError(
                f"is {param.hint.why}, so that in_shardings has nothing to place",
                function=plan.function,
                parameter=param.name,
                fix="drop its entry, or make it None",
            )
