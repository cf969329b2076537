"""How one argument travels into `jax.jit`, by its annotation and its class.

Decided when a class is met for the first time, never on later calls. Knows roles and the marks on
fields; knows nothing of how what is decided here is done.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np

from typedfilter._compat import NAMED_STATICS_ARE_EXACT
from typedfilter._compiling.packing import IsArrayType, every_type
from typedfilter._compiling.tokens import is_raw
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Binding, Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.whole import is_array_only, may_hold_static
from typedfilter._values.keys import static_problem
from typedfilter._values.leaves import (
    is_array,
    is_array_like,
    is_struct,
    leaf_is_array_type,
)
from typedfilter._wrapping.call import OMITTED


class Mode(enum.Enum):
    """How one argument travels into `jax.jit`."""

    TRACED = "traced"
    STATIC = "static"
    KEYED = "keyed"
    PACKED = "packed"


STATIC_MODES = (Mode.STATIC, Mode.KEYED)


Place: TypeAlias = int | str
"""Where an argument is passed: by position, or by name."""


@dataclasses.dataclass(frozen=True)
class Pattern:
    """How the arguments of one call travel, by position and by name."""

    positional: tuple[Mode, ...]
    keyword: tuple[tuple[str, Mode], ...] = ()

    @property
    def by_place(self) -> dict[Place, Mode]:
        """How each argument travels, by its position or its name."""
        return dict(zip(self.places, self.modes, strict=True))

    @property
    def places(self) -> tuple[Place, ...]:
        return (*range(len(self.positional)), *self.names)

    @property
    def modes(self) -> tuple[Mode, ...]:
        return (*self.positional, *(mode for _, mode in self.keyword))

    def at(self, *modes: Mode) -> tuple[int, ...]:
        return tuple(i for i, mode in enumerate(self.positional) if mode in modes)

    def named(self, *modes: Mode) -> tuple[str, ...]:
        return tuple(name for name, mode in self.keyword if mode in modes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.keyword)

    def by_position(self) -> Pattern:
        """The same arguments, with those that are passed by name behind the others."""
        return Pattern(self.modes)


def struct_or_array_type(cls: type) -> bool | None:
    """As `leaf_is_array_type`, for calls that need no data: `jax.ShapeDtypeStruct` counts too."""
    return True if issubclass(cls, jax.ShapeDtypeStruct) else leaf_is_array_type(cls)


def array_types(param: Param | None, structs: bool = False) -> IsArrayType:
    """Which classes of leaves of a packed argument are arrays."""
    if param is not None and param.hint.role is Role.TRACED:
        return every_type
    return struct_or_array_type if structs else leaf_is_array_type


def mode_of(param: Param | None, value: Any, structs: bool) -> Mode:
    """How an argument travels, and with it all those of its class.

    Args:
        param: which takes it.
        value: the argument.
        structs: whether `jax.ShapeDtypeStruct`s stand for arrays.
    """
    if value is OMITTED:
        return Mode.STATIC
    role = Role.AUTO if param is None else param.hint.role
    cls = type(value)
    if param is not None and role is Role.TRACED and _may_hold_static(param.hint, value):
        return Mode.PACKED
    if role in (Role.ARRAYS, Role.TRACED):
        return Mode.TRACED
    if is_beside_type(param, value):
        return Mode.TRACED
    if role is Role.AUTO:
        is_array_type = struct_or_array_type if structs else leaf_is_array_type
        if value is None or is_array_type(cls) is not False or is_array_only(value):
            return Mode.TRACED
        if not jax.tree_util.all_leaves([value]):
            return Mode.PACKED
    return Mode.STATIC if is_raw(cls) else Mode.KEYED


def is_beside_type(param: Param | None, value: Any) -> bool:
    """Whether this is an array where a type is annotated whose values are static, such as `float`.

    It is not of the type. That is for the check of the body to say: where none does, it is an array as any
    other.
    """
    if param is None or param.hint.role is not Role.STATIC or param.hint.static_marker:
        return False
    number = isinstance(value, np.generic)  # as static as a Python number is
    return not number and (is_array(value) or is_struct(value))


class Models:
    """Which classes of models travel whole, as far as one function has seen.

    A class that is annotated to hold arrays and other models travels whole from the first of its instances
    on that holds arrays only. Should one come that does not, since it has an instance of a subclass in it,
    its class is split from then on. What is traced is looked at, so that none is taken for the other.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._whole: dict[type, bool] = {}

    def mode_of(self, param: Param | None, value: Any, structs: bool) -> Mode:
        """As the function of this name says, for models by what this function has seen."""
        mode = mode_of(param, value, structs)
        if mode is not Mode.TRACED or not _is_open_node(param, value):
            return mode
        return Mode.TRACED if self._whole.setdefault(type(value), True) else Mode.PACKED

    def misjudged(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the class of one of these travelled whole, wrongly; it does not any more."""
        wrong = [type(value) for value in self._misplaced(args, kwargs) if self._whole.get(type(value))]
        self._whole |= dict.fromkeys(wrong, False)
        return bool(wrong)

    def refuse_misplaced(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Let nothing be traced that only seemed to be made of arrays.

        Args:
            args: as they came to be traced,
            kwargs: by name.

        Raises:
            MisjudgedError: there is such an argument.
        """
        if any(True for _ in self._misplaced(args, kwargs)):
            raise MisjudgedError

    def _misplaced(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
        """The arguments that could not travel whole, whose annotations leave that open."""
        if self._whole:  # else there is none
            for _, param, value in self._plan.arguments(args, kwargs):
                if type(value) in self._whole and _is_open_node(param, value) and not is_array_only(value):
                    yield value


class MisjudgedError(Exception):
    """An argument was to travel whole that is not made of arrays only: never seen by anybody who calls."""


def _is_open_node(param: Param | None, value: Any) -> bool:
    if value is None or (param is not None and param.hint.role is not Role.AUTO):
        return False
    return not jax.tree_util.all_leaves([value])


def is_left_out(plan: Plan, param: Param, donated: bool) -> bool:
    """Whether a parameter that the caller leaves out is left to the function, which has the default itself.

    Else the default travels like an argument. It does not to what is no plain function, nor where it could
    not: what is unhashable, or an array that would be donated although nobody passed it.

    Args:
        plan: of the function.
        param: one of its parameters, with a default.
        donated: whether the arrays of such an argument are donated.
    """
    if plan.binding is not Binding.FILLED:
        return True
    if param.hint.role is Role.STATIC:
        return static_problem(param.default) is not None
    numbers = param.hint.role is not Role.AUTO
    return any(_stays(leaf, donated, numbers) for leaf in jax.tree_util.tree_leaves(param.default))


def _stays(leaf: Any, donated: bool, numbers: bool) -> bool:
    """Whether a leaf of a default can't travel; where everything is traced, `numbers` can."""
    if is_array(leaf):
        return donated
    return not is_array_like(leaf) if numbers else static_problem(leaf) is not None


def _may_hold_static(hint: Hint, value: Any) -> bool:
    """Whether arguments of this class may hold what a field keeps static, although they are `Traced`."""
    if jax.tree_util.all_leaves([value]) or not hint.is_open:
        return False
    return may_hold_static(hint.kind, value)


def passed_by_name(mode: Mode) -> Mode:
    """How an argument travels that is passed by name, where by position it would as `mode` says."""
    return Mode.KEYED if mode is Mode.STATIC and not NAMED_STATICS_ARE_EXACT else mode
