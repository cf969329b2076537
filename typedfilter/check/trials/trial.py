"""One trial: a case of a signature, traced at one choice of sizes, and what went wrong if anything did.

Everything runs inside `jax.eval_shape`: nothing is compiled, and no array is made. Knows how errors
of a trace tell where they come from; knows nothing of verdicts.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from typedfilter._reading import dims
from typedfilter._reading.dims import Bindings, Size
from typedfilter._reading.kinds import Callable as CallableKind
from typedfilter._reading.kinds import Kind, Scalar
from typedfilter._shapes.construction import deferred
from typedfilter._shapes.switch import checking
from typedfilter.check.inputs import build, trees, types
from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs.layout import Layout
from typedfilter.check.inputs.nodes import Leaf, Maker, StubNode
from typedfilter.check.inputs.signature import AS_WRITTEN, Signature
from typedfilter.check.inputs.unmade import RefusedError, UnbuildableError
from typedfilter.check.inputs.watch import watching
from typedfilter.check.trials import compare, stack
from typedfilter.check.trials.compare import MismatchError, StubError
from typedfilter.check.trials.driven import driven
from typedfilter.check.trials.meshes import check_places, entered, with_places, within
from typedfilter.check.trials.owners import check_turned
from typedfilter.check.trials.raised import passes_users, problem_of
from typedfilter.check.trials.stack import Level
from typedfilter.check.trials.subject import Subject

_EMPTY = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class Plan:
    """A case ready to be traced: its arrays, and the transforms that they go through.

    `read` are the fields that somebody has read in its trials, as `Class.field`; `trials` the sizes of these.
    """

    signature: Signature
    layout: Layout
    levels: tuple[Level, ...]
    read: set[str] = dataclasses.field(default_factory=set[str])
    trials: list[Mapping[str, Size]] = dataclasses.field(default_factory=list[Mapping[str, Size]])

    @property
    def key(self) -> Hashable:
        """What a trial of this signature depends on beside the sizes: the case, and what a reading makes."""
        letter = self.signature.letter or AS_WRITTEN
        return frozenset(self.layout.used.items()), letter.makes


def planned(signature: Signature, layout: Layout) -> Plan:
    """Resolve which axes the transforms of the stack map.

    Raises:
        Exception: the transforms refuse the arguments.
    """
    sizes = dict.fromkeys(layout.names.free, 2) | dict(layout.names.fixed)
    arrays = [(leaf.shape(_whole(leaf, sizes)), leaf.dtype) for leaf in layout.leaves]

    def arguments(leaves: Sequence[Any]) -> stack.Arguments:
        return _as_call(signature, _arguments(signature, layout, iter(leaves), Bindings()))

    levels = stack.levels_of(signature.subject.layers, arrays, arguments, layout.names.free)
    return Plan(signature, layout, levels)


def _whole(leaf: Leaf, sizes: Mapping[str, int]) -> Mapping[str, int]:
    """`sizes`, with a size for each axis that is an expression: only ranks matter here."""
    return {**sizes, **{axis: 2 for axis in leaf.axes if isinstance(axis, str) and axis not in sizes}}


Around: TypeAlias = Callable[[Bindings], AbstractContextManager[object]]
"""Called with what the names stand for; what it returns is entered while the function runs."""


def nothing(bindings: Bindings) -> AbstractContextManager[object]:
    """Enter nothing."""
    return nullcontext()


def run(
    plan: Plan,
    sizes: Mapping[str, Size],
    how: Callable[..., Any] = jax.eval_shape,
    around: Around = nothing,
) -> None:
    """Trace at these sizes, which the names of the mapped axes are among.

    Args:
        plan: what is traced.
        sizes: by name.
        how: traces a function, given structs for its arguments.
        around: what is entered while the function runs.

    Raises:
        MismatchError: the result is not what the return annotation says.
        Exception: whatever the trace raises.
    """
    if stack.keeps_result(plan.levels):
        run(on_its_own(plan), sizes, how)
    subject, leaves = plan.signature.subject, plan.layout.leaves
    shapes = [leaf.shape(sizes) for leaf in leaves]
    lifted = [stack.lifted(shape, i, plan.levels, sizes) for i, shape in enumerate(shapes)]
    structs = [_standing_for(leaf, shape) for leaf, shape in zip(leaves, lifted, strict=True)]
    traced = [struct for struct in structs if isinstance(struct, jax.ShapeDtypeStruct)]

    def body(*given: Any) -> None:
        rest = iter(given)
        tracers = [next(rest) if isinstance(one, jax.ShapeDtypeStruct) else one for one in structs]
        bindings = _bindings(plan, sizes, shapes)
        arguments = constructed(plan, tracers, bindings)
        args, kwargs = _as_call(plan.signature, arguments)
        with around(dataclasses.replace(bindings.copy(), arguments=arguments)), deferred() as wrong_models:
            out = _called(subject, args, kwargs)

        def primals(number: int) -> Mapping[str, Any]:
            inside = plan.levels[:number]
            level_shapes = [stack.lifted(shape, i, inside, sizes) for i, shape in enumerate(shapes)]
            values = [
                jax.ShapeDtypeStruct(s, leaf.dtype) for s, leaf in zip(level_shapes, leaves, strict=True)
            ]
            return _arguments(plan.signature, plan.layout, iter(values), bindings, construct=False)

        inner = stack.inner_result(out, plan.levels, sizes, primals)
        bindings.arguments = arguments
        own = (letter := plan.signature.letter) is not None and letter.own_results
        said = stack.check_result(inner, plan.signature.returns, bindings, own)
        check_turned(plan.signature, sizes, said.sizes)
        _raise_first(wrong_models)

    with watching(subject.file, plan.read), entered(subject.mesh):
        how(within(subject.mesh, body), *traced)


def _raise_first(errors: Sequence[Exception]) -> None:
    for error in errors:
        raise error


def _called(subject: Subject, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a call, of which it is seen that it is split as is annotated where nobody else splits it.

    Raises:
        MismatchError: it is not.
        Exception: whatever the call raises.
    """
    if subject.layers or subject.kind == "constructor":
        return driven(subject.call(*args, **kwargs))
    args, kwargs = with_places(subject.mesh, subject.root, args, kwargs)
    out = driven(subject.call(*args, **kwargs))
    check_places(subject.mesh, subject.root, out)
    return out


def _standing_for(leaf: Leaf, shape: Sequence[Size]) -> Any:
    """What stands for an array: a struct to be traced, or a small array of NumPy's, which can't be.

    Raises:
        UnbuildableError: NumPy has no arrays of symbolic sizes.
    """
    if not leaf.host:
        return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)
    if not all(isinstance(size, int) for size in shape):
        raise UnbuildableError(f"`{leaf.label}` is an array of NumPy's, which has no symbolic sizes", "")
    values = np.arange(math.prod(shape)).reshape(tuple(shape)) + 1
    return np.asarray(values % 7 if leaf.dtype != np.dtype(bool) else values % 2, leaf.dtype)


def on_its_own(plan: Plan) -> Plan:
    """The function without the transforms around it."""
    subject = dataclasses.replace(plan.signature.subject, call=plan.signature.subject.root, layers=())
    return dataclasses.replace(
        plan, signature=dataclasses.replace(plan.signature, subject=subject), levels=()
    )


def _bindings(plan: Plan, sizes: Mapping[str, Size], shapes: Sequence[Sequence[Size]]) -> Bindings:
    """What the names stand for before the function runs: the axes of `*name` are known by its arguments."""
    bindings = Bindings(
        sizes=dict(sizes),
        arguments=plan.layout.arguments,
        apart=plan.signature.classes_apart,
        numbers=plan.signature.computes.numbers,
        numpy=plan.signature.computes.numpy,
        call=functools.partial(_call, plan.layout),
    )
    for leaf, shape in zip(plan.layout.leaves, shapes, strict=True):
        if any(dim.variadic for dim in leaf.dims):
            dims.match(leaf.dims, shape, bindings, leaf.number)
    for key, chosen in plan.layout.used.items():
        if key.startswith("type "):
            bindings.members[key.removeprefix("type ")] = chosen
        name = key.removeprefix("structure ")
        if name != key and name.isidentifier():
            bindings.structures[name] = trees.structure(chosen)
    return bindings


def _arguments(
    signature: Signature, layout: Layout, leaves: Iterator[Any], bindings: Bindings, construct: bool = True
) -> dict[str, Any]:
    def stub(node: StubNode) -> Any:
        return _stand_in(node, layout, bindings, alike)

    alike = signature.letter is not None and signature.letter.alike
    maker = Maker(
        layout.case,
        lambda leaf: next(leaves),
        stub,
        construct,
        layout.arguments,
        numbers=signature.numbers,
        shared=signature.shared,
    )
    maker.size = lambda name: bindings.sizes.get(name, 2)
    return _layout.make_arguments(signature, maker)


def constructed(plan: Plan, tracers: Sequence[Any], bindings: Bindings) -> dict[str, Any]:
    """The arguments, made by the constructors of their classes; some fields hold what can't be made.

    Raises:
        UnbuildableError: a constructor fails that is not under test, so that the function is not to blame.
    """
    try:
        with checking(False):
            return _arguments(plan.signature, plan.layout, iter(tracers), bindings)
    except Exception as error:
        if isinstance(error, UnbuildableError) or _refuses(error, plan.signature.subject):
            raise
        reason = f"its arguments can't be made: {type(error).__name__}: {error}"
        raise RefusedError(reason, "add @typedfilter.check.example with what it takes") from error


def _refuses(error: Exception, subject: Subject) -> bool:
    """Whether code of the user's says in so many words that it does not take an argument."""
    return passes_users(error, subject.file) and problem_of(error, subject.root).refuses


def _stand_in(node: StubNode, layout: Layout, outer: Bindings, alike: bool = False) -> Callable[..., Any]:
    """A callable that checks its arguments and returns what its annotation says.

    Where `alike`, axes of the result that have no name are as long as those of the first array it is given.
    """

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        bindings = Bindings(arguments=outer.arguments) if node.own_names else outer.copy()
        kinds = node.parameters or ()
        for i, value in () if node.parameters is None else _by_parameter(node, args, kwargs):
            kind = kinds[i]
            if _is_number_for(value, kind):
                continue
            try:
                compare.check(value, kind, bindings)
            except MismatchError as error:
                raise StubError(_stub_text(node, i, error)) from error

        given = _first_shape((args, kwargs)) if alike else ()

        def place(leaf: Leaf) -> Any:
            shape = leaf.shape({**outer.sizes, **bindings.sizes})
            unsaid = [i for i, axis in enumerate(leaf.axes[: len(given)]) if str(axis).startswith("_")]
            return _blank([given[i] if i in unsaid else size for i, size in enumerate(shape)], leaf.dtype)

        def stub(inner: StubNode) -> Any:
            return _stand_in(inner, layout, bindings, alike)

        axes = {name: shape for name, (_, shape) in (outer.ranks | bindings.ranks).items()}
        maker = Maker(layout.case, place, stub, True, layout.arguments, ranks=axes)
        return node.result.make(maker)

    stand_in.__name__ = stand_in.__qualname__ = node.label if node.label.isidentifier() else "stand_in"
    return stand_in


def _first_shape(arguments: Any) -> Sequence[Size]:
    shapes = (leaf.shape for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array))
    return next(shapes, ())


_NUMBERS: Mapping[Any, Any] = {int: jnp.integer, float: jnp.number, complex: jnp.number, bool: jnp.bool_}


def _is_number_for(value: Any, kind: Kind) -> bool:
    """Whether it is an array without axes where a number is annotated: a counter of a scan, say."""
    dtype = _NUMBERS.get(kind.hint) if isinstance(kind, Scalar) else None
    return (
        dtype is not None
        and isinstance(value, jax.Array)
        and value.ndim == 0
        and jnp.issubdtype(value.dtype, dtype)
    )


def _call(layout: Layout, value: Any, kind: CallableKind, bindings: Bindings, path: str) -> None:
    """Call what is annotated `Callable[[A], B]` with an A, if there is one, and see that a B comes out.

    Raises:
        MismatchError: none does.
        Exception: whatever it raises.
    """
    if kind.parameters is None or kind.result is None:
        return
    shapes = {name: shape for name, (_, shape) in bindings.ranks.items()}

    def place(leaf: Leaf) -> Any:
        return _blank(leaf.shape(bindings.sizes), leaf.dtype)

    def stub(inner: StubNode) -> Any:
        return _stand_in(inner, layout, bindings)

    maker = Maker(layout.case, place, stub, True, layout.arguments, ranks=shapes)
    try:
        nodes = [build.parameter_node(f"argument_{i}", p, _EMPTY) for i, p in enumerate(kind.parameters)]
        arguments = [node.make(maker) for node in nodes]
    except (UnbuildableError, KeyError, NameError):  # a type that says too little, a size that nobody knows
        return
    compare.check(value(*arguments), kind.result, bindings.copy(), f"{path}()")


def _by_parameter(
    node: StubNode, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[int, Any]]:
    """The arguments of a stand-in, each with the number of its parameter."""
    if node.signature is None:
        count = len(node.parameters or ())
        if len(args) != count or kwargs:
            plural = "" if count == 1 else "s"
            raise StubError(f"`{node.label}` takes {count} argument{plural}, got {len(args) + len(kwargs)}")
        yield from enumerate(args)
        return
    try:
        bound = node.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise StubError(f"`{node.label}`, which is {node.signature}: {error}") from error
    numbers = {name: i for i, name in enumerate(node.signature.parameters)}
    for name, value in bound.arguments.items():
        kind = node.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((numbers[name], one) for one in value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            yield from ((numbers[name], one) for one in value.values())
        else:
            yield numbers[name], value


def _stub_text(node: StubNode, number: int, error: MismatchError) -> str:
    why = f" ({error.why})" if error.why else ""
    return f"argument {number} of `{node.label}`{error.path} is {error.found}, not {error.expected}{why}"


def _blank(shape: Sequence[Size], dtype: Any) -> Any:
    if dtype == types.key_dtype():
        key = jax.random.key(0)
        return jax.random.split(key, tuple(shape)) if shape else key
    return jnp.zeros(shape, dtype)


def _as_call(signature: Signature, arguments: Mapping[str, Any]) -> stack.Arguments:
    positional: list[Any] = []
    keyword: dict[str, Any] = {}
    by_name = False  # after one that is left out
    for parameter in signature.parameters:
        kind = parameter.kind
        if parameter.name not in arguments:
            by_name = by_name or kind is not inspect.Parameter.VAR_POSITIONAL
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            positional.extend(arguments[parameter.name])
        elif kind is inspect.Parameter.VAR_KEYWORD:
            keyword.update(arguments[parameter.name])
        elif kind is inspect.Parameter.KEYWORD_ONLY or by_name:
            keyword[parameter.name] = arguments[parameter.name]
        else:
            positional.append(arguments[parameter.name])
    return tuple(positional), keyword
