"""What a transform does to each parameter and leaf of a call, and to the result: values with their causes.

Every transform has its `Effects`, which ask what the transform itself asks. `explain` prints them, and
`typedfilter check` follows a stack of transforms by them. Nothing is run, and nothing is said twice.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar

import jax

from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Param, Plan
from typedfilter._values.leaves import is_struct
from typedfilter._values.trees import flatten
from typedfilter._wrapping.call import Call

T = TypeVar("T")


class Act(enum.Enum):
    """What happens to one leaf; to a whole parameter, `BY_LEAF` where its leaves fare differently."""

    TRACED = "traced"
    STATIC = "static"
    MAPPED = "axis"
    BROADCAST = "broadcast"
    DIFFERENTIATED = "differentiated"
    CONSTANT = "constant"
    PASSED_ON = "passed on"
    BY_LEAF = "by leaf"
    MADE = "made"  # of a result: by the transform; the effect says of what


@dataclasses.dataclass(frozen=True)
class Reason:
    """A cause in words: an option or a rule of the transform, or what the annotation says to every one."""

    text: str
    of_annotation: bool = False

    @classmethod
    def of(cls, hint: Hint) -> Reason:
        """The annotation as the cause, or that there is none."""
        return cls(hint.why, of_annotation=True)


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one transform does to a parameter, a leaf or the result, and why."""

    transform: str  # its name
    act: Act  # what it does
    reasons: tuple[Reason, ...] = ()  # the causes
    axis: int | None = None  # along which axis it maps
    placed: bool = False  # whether it puts arrays where an option or an annotation says
    moved: bool = False  # whether an array is elsewhere, and is moved at each call
    donated: bool = False  # whether it gives the buffers of arrays to the computation
    first_kept: bool = False  # whether the first of several arguments (`*args`) is not donated
    made_of: str = ""  # what a result consists of that the transform makes

    @property
    def what(self) -> str:
        """The effect in a few words, without its causes."""
        text = {Act.MAPPED: f"axis {self.axis}", Act.MADE: self.made_of}.get(self.act, self.act.value)
        donated = ", donated except the first" if self.first_kept else ", donated"
        placed = ", placed" if self.placed else ""
        moved = ", moved at each call" if self.moved else ""
        return text + placed + moved + (donated if self.donated else "")

    @property
    def why(self) -> tuple[str, ...]:
        """The causes in words."""
        return tuple(reason.text for reason in self.reasons)


class Given(Call):
    """The arguments of a call, or those that are bound."""

    __slots__ = ()

    @property
    def places(self) -> list[int | str]:
        """The position or the name of each value."""
        return [*range(len(self.args)), *self.kwargs]

    def params(self, plan: Plan) -> list[Param | None]:
        """The parameter that takes each value."""
        return [param for _, param, _ in plan.arguments(self.args, self.kwargs)]

    def bind(self, bound: Given) -> Given:
        """This call of something that has arguments bound, as a call of what it is made of."""
        return Given((*bound.args, *self.args), {**bound.kwargs, **self.kwargs})

    def with_values(self, values: Iterable[Any]) -> Given:
        rest = list(values)
        count = len(self.args)
        return Given(tuple(rest[:count]), dict(zip(self.kwargs, rest[count:], strict=True)))

    def map(self, change: Callable[[int, Any], Any]) -> Given:
        """With each leaf changed; `change` also gets how many leaves are before it.

        As it is, where a class in it does not take what stands for its arrays.
        """
        leaves, treedef = flatten(self.values)
        changed = [change(i, leaf) for i, leaf in enumerate(leaves)]
        if all(map(operator.is_, leaves, changed)):
            return self
        try:
            return self.with_values(treedef.unflatten(changed))
        except Exception:  # of somebody's constructor, which looks at its fields
            return self


def answered(call: Given, ask: Callable[[Given], T]) -> T:
    """The answer of `ask`, to which what stands for an array is a tracer."""
    leaves = jax.tree.leaves(call.values)
    structs = {i: leaf for i, leaf in enumerate(leaves) if is_struct(leaf)}
    if not structs:
        return ask(call)
    answers: list[T] = []

    def look(tracers: dict[int, Any]) -> None:
        answers.append(ask(call.map(tracers.get)))

    jax.eval_shape(look, structs)
    return answers[0]


class Result(enum.Enum):
    """How the result of a transformed function relates to what the function itself returns."""

    SAME = enum.auto()
    MAPPED = enum.auto()  # arrays have one more axis
    GRADIENT = enum.auto()  # of a scalar, beside its value perhaps
    DERIVATIVE = enum.auto()  # the function's own result is not handed out
    ELSEWHERE = enum.auto()  # the function runs where it can't be followed, or not at all


@dataclasses.dataclass(eq=False)
class Effects(abc.ABC):
    """What one transform does to the arguments and the result of a callable with this plan."""

    rule: ClassVar[str] = ""  # what `by leaf` stands for
    result: ClassVar[Result]  # what becomes of the result
    transform: str
    plan: Plan

    @abc.abstractmethod
    def parameter(self, param: Param) -> Effect:
        """What happens to whatever is passed for a parameter of the plan."""

    @abc.abstractmethod
    def returned(self) -> Effect:
        """What happens to the result."""

    @abc.abstractmethod
    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        """What happens to each leaf of each argument, and the call that the function inside receives."""

    @abc.abstractmethod
    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        """What happens to each leaf of a default value; in an `innermost` one the function fills it in."""

    def effect(self, act: Act, *reasons: Reason, **facts: Any) -> Effect:
        """An effect of this transform."""
        return Effect(self.transform, act, reasons, **facts)

    def along(self, axis: int | None, *reasons: Reason) -> Effect:
        """What becomes of an array along an axis: it is mapped, or stepped through; of None, given whole."""
        return self.effect(Act.BROADCAST if axis is None else Act.MAPPED, *reasons, axis=axis)

    def each(self, act: Act, value: Any) -> list[Effect]:
        """One effect for every leaf of a value."""
        return [self.effect(act)] * len(jax.tree.leaves(value))


class PassesOn(Effects):
    """Of transforms that hand every argument and the result on as they are."""

    result = Result.SAME

    def parameter(self, param: Param) -> Effect:
        return self.effect(Act.PASSED_ON)

    def returned(self) -> Effect:
        return self.effect(Act.PASSED_ON)

    def given(self, call: Given) -> tuple[list[list[Effect]], Given]:
        return [self.each(Act.PASSED_ON, value) for value in call.values], call

    def default(self, param: Param, value: Any, innermost: bool) -> list[Effect]:
        return self.each(Act.PASSED_ON, value)


def reasons_of(hint: Hint) -> Sequence[Reason]:
    """The annotation of a result as a cause; what another transform returns has none, its plan says Any."""
    return (Reason.of(hint),) if hint.annotated and hint.type is not Any else ()
