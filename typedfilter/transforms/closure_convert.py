"""`filter_closure_convert`: a function with all arrays that it closes over as data.

The function is traced once, for example arguments; what it closed over are the constants of its
jaxpr. Each later call has to fit the examples, and evaluates that jaxpr.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, overload

import jax
import numpy as np

from typedfilter._declarations import Converted, P, R
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._shapes.check import checked
from typedfilter._values.leaves import stands_for_array
from typedfilter._values.split import Rest
from typedfilter._values.template import Difference, Template
from typedfilter._wrapping.call import Lifted, take_arrays
from typedfilter.errors import ShapeError, StaticArgumentError, TypedFilterError

__all__ = ["filter_closure_convert"]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A traced function without its constants. Compared by identity."""

    plan: Plan
    jaxpr: Any
    names: tuple[str, ...]
    templates: tuple[Template, ...]
    out: Rest

    def arrays_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arrays of a call that fits the examples.

        Raises:
            ShapeError: a structure, shape or dtype is another one.
            StaticArgumentError: something that is no array is another value.
        """
        bound = _bind(self.plan, args, kwargs)
        names = _names(self.plan, bound)
        if names != self.names:
            raise ShapeError(
                "is called with other arguments than it was converted for",
                function=self.plan.function,
                expected=", ".join(self.names) or "no arguments",
                actual=", ".join(names) or "no arguments",
                fix=_FIX,
            )
        arrays: list[Any] = []
        for name, template, value in zip(names, self.templates, _values(bound), strict=True):
            found = template.fit(value)
            if isinstance(found, Difference):
                raise self._error(name, found)
            arrays += found
        return arrays

    def _error(self, name: str, difference: Difference) -> TypedFilterError:
        error = StaticArgumentError if difference.static else ShapeError
        return error(
            f"differs in {difference.what} from the example that the function was converted for",
            function=self.plan.function,
            parameter=name + difference.where,
            expected=difference.expected,
            actual=difference.actual,
            fix=_FIX,
        )


_FIX = "call filter_closure_convert again with arguments like these"


class ClosureConverted:
    """What `filter_closure_convert` returns: a function, and a pytree whose leaves are `consts`.

    Attributes:
        consts: the arrays that the function closed over; the very objects, tracers included.
    """

    def __init__(self, consts: Any, program: Program) -> None:
        self.consts = consts  # a list; but JAX unflattens with anything in the place of a child
        self.program = program
        self.__name__: str = program.plan.function.rpartition(".")[2]
        self.__qualname__ = program.plan.function
        self.__signature__: inspect.Signature = program.plan.signature

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        from jax.extend.core import ClosedJaxpr, jaxpr_as_fun  # here: it loads all of Pallas

        arrays = self.program.arrays_of(args, kwargs)
        run = jaxpr_as_fun(ClosedJaxpr(self.program.jaxpr, self.consts))
        return self.program.out.join(run(*arrays))

    def __typedfilter_plan__(self) -> Plan:
        """The plan of the function that was converted."""
        return self.program.plan

    def __deepcopy__(self, memo: Any) -> ClosureConverted:
        return ClosureConverted(copy.deepcopy(self.consts, memo), self.program)

    def __repr__(self) -> str:
        return f"filter_closure_convert({self.__qualname__}, consts={self.consts!r})"


jax.tree_util.register_pytree_with_keys(
    ClosureConverted,
    lambda converted: (((jax.tree_util.GetAttrKey("consts"), converted.consts),), converted.program),
    lambda program, children: ClosureConverted(next(iter(children)), program),
    lambda converted: ((converted.consts,), converted.program),
)


@overload
def filter_closure_convert(fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Converted[P, R]: ...
@overload
def filter_closure_convert(fn: Callable[P, R], /, *args: Any, **kwargs: Any) -> Converted[P, R]: ...
def filter_closure_convert(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Hoist every array that `fn` closes over: tracers, concrete arrays, those of a callable module.

    `fn` is traced for the example arguments, and not evaluated. Arrays among them may be
    `jax.ShapeDtypeStruct`s; everything else (Python numbers, too) is passed to `fn` as it is.

    Args:
        fn: a pure function of anything that returns anything.
        args, kwargs: example arguments.

    Returns:
        A function that is called in the same way, with arguments like the examples. It is a pytree of what
        `fn` closed over, which is also its attribute `consts`: the very objects, in the order in which `fn`
        uses them. Constants inside of functions that `jax.jit` has compiled on their own stay there.

    Raises:
        ShapeError: a later call differs from the examples in a structure, shape or dtype.
        StaticArgumentError: a later call differs from them in something that is no array.
    """
    plan = plan_of(fn, final=True)
    bound = _bind(plan, args, kwargs)
    arrays, arguments = take_arrays(plan, bound.args, bound.kwargs, stands_for_array)
    lifted = Lifted(checked(fn, plan), arguments)
    closed: Any = jax.make_jaxpr(lifted)(arrays)
    templates = tuple(map(Template, _values(bound), arguments.masks))
    program = Program(plan, closed.jaxpr, _names(plan, bound), templates, lifted.out)
    return ClosureConverted([_itself(const) for const in closed.consts], program)


def _bind(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """One form for calls that pass the same by position, by keyword or by default."""
    bound = plan.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


def _names(plan: Plan, bound: inspect.BoundArguments) -> tuple[str, ...]:
    return tuple(plan.bind_names(len(bound.args), tuple(bound.kwargs)))


def _values(bound: inspect.BoundArguments) -> list[Any]:
    return [*bound.args, *bound.kwargs.values()]


def _itself(const: Any) -> Any:
    """A constant as the function closed over it; NumPy arrays, which JAX may put into a class of its own."""
    if isinstance(const, jax.Array) or not hasattr(const, "__array__"):
        return const
    return np.asarray(const, jax.dtypes.canonicalize_dtype(const.dtype))
