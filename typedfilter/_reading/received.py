"""What the body of a function may receive and return, by what its parameters are annotated with.

Read once for each function, in one go: the run-time check has only to walk values afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.checkers import is_unchecked, own_body
from typedfilter._reading.dims import names_in
from typedfilter._reading.fields import dims_of, has_models, is_computed
from typedfilter._reading.hints import UNANNOTATED, Hint
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.slips import Slip, slips


@dataclasses.dataclass(frozen=True)
class Received:
    """What may arrive at one parameter."""

    name: str
    hint: Hint
    default: Any
    kind: Kind
    refuses: bool  # there are values that the annotation refuses
    numbers: bool  # a Python number may arrive as a scalar array
    canonical: bool  # its leaves become JAX arrays
    flat: bool  # it is one array or number
    computed: bool  # an annotation such as "n+1", which has to wait until n is bound
    models: bool  # there may be instances whose fields are looked at

    @property
    def useful(self) -> bool:
        """Whether to look at what arrives is worth a check of its own."""
        return self.canonical or (self.refuses and self.kind is not RECEIVER)


RECEIVER = kinds.Class(object, object, ())
"""The kind of `self`, which nobody annotates: an instance, of which class it will say itself."""


class Returned(NamedTuple):
    """Which arrays stand for other values in a result."""

    numbers: bool  # a scalar array for a number: the function computes with numbers that are traced
    numpy: bool  # a tracer for a NumPy array: the function computes with NumPy arrays that are traced


NOTHING = Returned(numbers=False, numpy=False)


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the body of a function may receive and return."""

    arguments: dict[str, Received]
    returns: Kind
    returned: Returned
    refuses: bool  # there are results that the annotation refuses
    returns_models: bool  # there may be instances in a result whose fields are looked at
    slips: tuple[Slip, ...]  # dimension names that are surely typed wrong
    formatted: bool  # a dimension is named by a value of the call: "{n}"
    tied: frozenset[str]  # names that a result has, and of the arguments at most the fields of an instance

    @property
    def useful(self) -> bool:
        """Whether there is anything to check."""
        return self.refuses or any(arg.useful for arg in self.arguments.values())

    @classmethod
    def of(cls, plan: Plan, eager: bool) -> Expected:
        """What a function with this plan may receive and return: read once, kept as long as the plan.

        Args:
            plan: of the function.
            eager: a scalar array may stand for a number although nothing is traced.
        """
        key = cls, eager
        found: Expected | None = plan.notes.get(key)
        return plan.notes.setdefault(key, cls._read(plan, eager)) if found is None else found

    @classmethod
    def _read(cls, plan: Plan, eager: bool) -> Expected:
        arguments = {param.name: _received(param, eager) for param in plan.params}
        returns = plan.returns.kind
        taken = [dim for arg in arguments.values() for dim in dims_of(arg.kind)]
        formatted = any("{" in dim.text for dim in (*dims_of(returns), *taken))
        returned = returned_by(plan.params, plan.returns)
        sure = tuple(slip for slip in slips(plan) if slip.sure)
        tied = _names_of(returns) - {dim.text for dim in taken}
        refuses, models = returns.refuses, has_models(returns)
        return cls(arguments, returns, returned, refuses, models, sure, formatted, tied)


class Called(NamedTuple):
    """The function that a transform calls, without what others check of it."""

    fn: Callable[..., Any]
    plan: Plan
    eager: bool
    expected: Expected | None  # what it may receive; `None` where nothing is to be checked, or is already

    @classmethod
    def of(cls, fn: Callable[..., Any], plan: Plan, eager: bool) -> Called:
        """The one of `fn`, whose plan this is; `eager` as for `Expected`."""
        fn = own_body(fn, plan)
        expected = Expected.of(plan, eager) if is_unchecked(fn) else None
        return cls(fn, plan, eager, expected if expected is not None and expected.useful else None)


def _names_of(kind: Kind) -> frozenset[str]:
    """The names of single axes that a kind has, alone or in an expression."""
    found = dims_of(kind)
    computed = (dim.text for dim in found if dim.kind == "expression" and "{" not in dim.text)
    return frozenset(dim.text for dim in found if dim.is_one_axis).union(*map(names_in, computed))


def _received(param: Param, eager: bool) -> Received:
    traced = param.hint.role in (Role.ARRAYS, Role.TRACED)
    kind: Kind = param.hint.kind
    if param.name == "self" and not param.hint.annotated:
        kind = RECEIVER
    return Received(
        param.name,
        param.hint,
        param.default,
        kind,
        refuses=kind.refuses,
        numbers=traced or eager,
        canonical=traced and not _numpy_only(kind),
        flat=_is_flat(kind),
        computed=is_computed(kind),
        models=kind is RECEIVER or has_models(kind),
    )


def _is_flat(kind: Kind) -> bool:
    alternatives = kind.members if isinstance(kind, kinds.Union) else (kind,)
    whole = (type(None), jax.Array)
    return all(
        isinstance(one, kinds.Array | kinds.Scalar | kinds.NumpyArray) or one.hint in whole
        for one in alternatives
    )


def _numpy_only(kind: Kind) -> bool:
    """Whether what is annotated is NumPy's arrays: those stay what they are."""
    found = kind.every
    classes = [one.array_type if isinstance(one, kinds.Array) else one.hint for one in found]
    numpy = np.ndarray in classes or any(isinstance(one, kinds.NumpyArray) for one in found)
    return numpy and jax.Array not in classes


def returned_by(params: Iterable[Param], returns: Hint = UNANNOTATED) -> Returned:
    """What stands for what in the result of a function with these parameters.

    Its own hint has a role only where a transform gives it one: loops trace all numbers, results too.
    """
    hints = [param.hint for param in params]
    traced = any(hint.role is Role.TRACED or hint.diff is True for hint in hints)
    numbers = traced or returns.role is Role.TRACED
    return Returned(numbers, any(_takes_numpy(hint.kind) for hint in hints))


def _takes_numpy(kind: Kind) -> bool:
    return any(
        isinstance(one, kinds.NumpyArray | kinds.NumpyScalar)
        or (isinstance(one, kinds.Array) and one.array_type is not jax.Array)
        for one in kind.every
    )
