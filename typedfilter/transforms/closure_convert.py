"""`filter_closure_convert`: a function with all arrays that it closes over as data.

The function is traced once, for example arguments; what it closed over are the constants of its
jaxpr. Each later call has to fit the examples, and evaluates that jaxpr.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from typing import Any, overload

import jax
import numpy as np

from typedfilter._compiling.known import Body, traced_once
from typedfilter._declarations import Converted, P, R
from typedfilter._reading.hidden import refuse_hidden
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._reading.text import WrittenSignature
from typedfilter._shapes.check import checked
from typedfilter._shapes.switch import check_mode
from typedfilter._values.fresh import fresh, refuse_late, refuse_used_up
from typedfilter._values.leaves import stands_for_array
from typedfilter._values.template import Template
from typedfilter._wrapping.blame import naming_deleted
from typedfilter._wrapping.call import Call, take_arrays
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.host_errors import asking
from typedfilter._wrapping.interface import Interface


class ClosureConverted:
    """What `filter_closure_convert` returns: a function, and a pytree of its program and its constants.

    Attributes:
        jaxpr: the program, a `jax.extend.core.Jaxpr`: the one leaf that is no array.
        consts: the arrays that the function closed over; the very objects, tracers included.
    """

    def __init__(self, jaxpr: Any, consts: Any, interface: Interface) -> None:
        self.jaxpr = jaxpr
        self.consts = consts  # a list; but JAX unflattens with anything in the place of a child
        self.interface = interface
        self.__name__: str = interface.plan.function.rpartition(".")[2]
        self.__qualname__ = interface.plan.function
        self.__signature__: inspect.Signature = WrittenSignature.of(interface.plan.signature)

    @property
    def in_struct(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The example arguments `(args, kwargs)`, with a `jax.ShapeDtypeStruct` for each array."""
        args, kwargs = self.interface.given
        return args.join(args.structs), kwargs.join(kwargs.structs)

    @property
    def out_struct(self) -> Any:
        """What a call returns, with a `jax.ShapeDtypeStruct` for each array."""
        return self.interface.out.join(self.interface.out.structs)

    @ends_at_caller
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        from jax.extend.core import ClosedJaxpr, jaxpr_as_fun  # here: it loads all of Pallas

        arrays = self.interface.arrays_of(args, kwargs)
        run = jaxpr_as_fun(ClosedJaxpr(self.jaxpr, self.consts))
        with naming_deleted(self.interface.plan, args, kwargs, self.consts), asking:
            out = run(*arrays)
        return self.interface.out.join(out, copied=fresh)

    def __typedfilter_plan__(self) -> Plan:
        """The plan of the function that was converted."""
        return self.interface.plan

    def __deepcopy__(self, memo: Any) -> ClosureConverted:
        return ClosureConverted(self.jaxpr, copy.deepcopy(self.consts, memo), self.interface)

    def __repr__(self) -> str:
        return f"filter_closure_convert({self.__qualname__}, consts={self.consts!r})"


_KEYS = jax.tree_util.GetAttrKey("jaxpr"), jax.tree_util.GetAttrKey("consts")


def _children(converted: ClosureConverted) -> tuple[Any, Any]:
    return converted.jaxpr, converted.consts


def _unflatten(interface: Interface, children: Iterable[Any]) -> ClosureConverted:
    jaxpr, consts = children
    return ClosureConverted(jaxpr, consts, interface)


jax.tree_util.register_pytree_with_keys(
    ClosureConverted,
    lambda converted: (tuple(zip(_KEYS, _children(converted), strict=True)), converted.interface),
    _unflatten,
    lambda converted: (_children(converted), converted.interface),
)


@overload
def filter_closure_convert(fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Converted[P, R]: ...
@overload
def filter_closure_convert(fn: Callable[P, R], /, *args: Any, **kwargs: Any) -> Converted[P, R]: ...
@ends_at_caller
def filter_closure_convert(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Hoist every array that `fn` closes over: tracers, concrete arrays, those of a callable module.

    `fn` is traced for the example arguments, and not evaluated. Arrays among them may be
    `jax.ShapeDtypeStruct`s; everything else (Python numbers, too) is passed to `fn` as it is.

    Args:
        fn: a pure function of anything that returns anything.
        args, kwargs: example arguments.

    Returns:
        A function that is called in the same way, with arguments like the examples. It is a pytree of its
        program (`jaxpr`: one leaf, which is no array) and of what `fn` closed over (`consts`: the very
        objects, in the order in which `fn` uses them). Its attributes `in_struct` and `out_struct` are the
        example arguments `(args, kwargs)` and the result, with a `jax.ShapeDtypeStruct` for each array.
        Constants inside of functions that `jax.jit` has compiled on their own stay there.

    Raises:
        ShapeError: a later call differs from the examples in a structure, shape or dtype.
        StaticArgumentError: a later call differs from them in something that is no array.
    """
    refuse_hidden(fn, "filter_closure_convert", ())
    plan = plan_of(fn, final=True)
    call = Call(args, kwargs).filled(plan)
    arguments = take_arrays(plan, call.args, call.kwargs, stands_for_array)
    templates = tuple(map(Template, call.values, arguments.masks))
    names = tuple(plan.bind_names(arguments.count, arguments.names))
    key = names, tuple([template.key for template in templates]), check_mode()
    closed, result = traced_once(
        fn,
        key,
        lambda: Body(checked(fn, plan, eager=True), arguments),
        lambda body: jax.make_jaxpr(body, return_shape=True)(arguments.arrays),
    )
    refuse_late(result.rest.others, plan.function)
    for leaf in result.rest.others:  # at each call it is that of this trace
        refuse_used_up(leaf, plan.function)
    out = Template(result.join(), [i in result.rest.taken_at for i in range(result.rest.treedef.num_leaves)])
    interface = Interface(plan, names, templates, (_example(args), _example(kwargs)), out)
    return ClosureConverted(closed.jaxpr, [_itself(const) for const in closed.consts], interface)


def _example(tree: Any) -> Template:
    return Template(tree, list(map(stands_for_array, jax.tree_util.tree_leaves(tree))))


def _itself(const: Any) -> Any:
    """A constant as the function closed over it; NumPy arrays, which JAX may put into a class of its own."""
    if isinstance(const, jax.Array) or not hasattr(const, "__array__"):
        return const
    return np.asarray(const, jax.dtypes.canonicalize_dtype(const.dtype))
