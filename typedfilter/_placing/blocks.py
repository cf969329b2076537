"""Which block of each array a device sees under `filter_shard_map`: by option, field, annotation or rule.

The rule: an array is copied to every device; on a mesh whose axes are all Explicit, it is split as its type
says. Knows places and plans; maps nothing itself.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from typedfilter._compat import SET_MESH, spec_entries, varying_axes
from typedfilter._placing.places import is_place, numpy_problem, places_text
from typedfilter._placing.shardings import Said, by_annotation
from typedfilter._placing.specs import Problem, axes_of, spec_fit_problem, spec_problem
from typedfilter._reading.fields import has_places, leaf_marks
from typedfilter._reading.hints import UNANNOTATED, Hint
from typedfilter._reading.options import PerArgument
from typedfilter._reading.plan import Plan
from typedfilter._reading.roles import Role
from typedfilter._reading.text import spec_text
from typedfilter._reading.within import every_place, is_structure
from typedfilter._values.leaves import is_passed
from typedfilter._values.text import array_text, brief
from typedfilter.errors import AnnotationError, ShapeError


@dataclasses.dataclass(frozen=True)
class ByAnnotation:
    """The class of `BY_ANNOTATION`."""

    def __repr__(self) -> str:
        return "BY_ANNOTATION"


BY_ANNOTATION = ByAnnotation()
"""The specs are what annotations say, else the rule."""


def in_specs(plan: Plan, given: Any) -> PerArgument:
    """The option of that name, as it speaks of the arguments of a function."""
    if given == BY_ANNOTATION:
        given = None
    return PerArgument(plan, "in_specs", given, None, AnnotationError, places_text)


def spec_words(spec: Any) -> str:
    """What a spec does to an array, in a few words."""
    if not isinstance(spec, PartitionSpec):
        return "by rule"
    split = [(axis, entry) for axis, entry in enumerate(spec_entries(spec)) if entry is not None]
    if not split:
        return "copied"
    words = [f"axis {axis} along {_entry_text(entry)}" for axis, entry in split]
    return "blocks of " + ", ".join(words)


def _entry_text(entry: Any) -> str:
    return " and ".join(map(str, entry)) if isinstance(entry, tuple) else str(entry)


def check_blocks(plan: Plan, inputs: Any, outputs: Any, axis_names: frozenset[str]) -> None:
    """Refuse what is no spec, what is said of arguments that there are not, and a result without any.

    Raises:
        AnnotationError: when the decorator runs.
    """
    for option, specs in (("in_specs", inputs), ("out_specs", outputs)):
        for leaf in [] if specs == BY_ANNOTATION else jax.tree_util.tree_leaves(specs, is_leaf=is_place):
            if leaf is not None and not isinstance(leaf, PartitionSpec) and not callable(leaf):
                raise AnnotationError(
                    f"is given {option} with {brief(leaf)}, which is no PartitionSpec",
                    function=plan.function,
                    expected="a PartitionSpec, or a pytree of these",
                    actual=brief(leaf),
                    fix="write jax.sharding.PartitionSpec(...); pass the mesh as mesh=",
                )
    if inputs != BY_ANNOTATION:
        in_specs(plan, inputs).check()
    if outputs == BY_ANNOTATION and not plan.returns.annotated:
        raise AnnotationError(
            "is told of by no annotation, and how blocks are put together is not guessed",
            function=plan.function,
            parameter="return",
            fix="annotate the result, Annotated[T, PartitionSpec('data')], or pass out_specs",
        )
    hints = [*((param.name, param.hint.sharding) for param in plan.params), ("return", plan.returns.sharding)]
    for name, spec in [(name, spec) for name, places in hints for spec in every_place(places)]:
        if not isinstance(spec, PartitionSpec):
            raise AnnotationError(
                f"has the place {places_text(spec)}, and filter_shard_map takes specs",
                function=plan.function,
                parameter=name,
                fix="write a PartitionSpec, and pass the mesh as mesh=",
            )
        left = [] if not axis_names else sorted(set(axes_of(spec)) - axis_names)
        if left:
            raise _left_to_compiler(plan, name, spec, left[0], axis_names)


def _left_to_compiler(
    plan: Plan, name: str, spec: Any, axis: str, axis_names: frozenset[str]
) -> AnnotationError:
    return AnnotationError(
        f"is to be split along {axis!r}, which is not in axis_names",
        function=plan.function,
        parameter=name,
        expected="axes among: " + ", ".join(sorted(axis_names)),
        actual=spec_text(spec),
        fix=f"add {axis!r} to axis_names, or place the array with filter_shard, inside",
    )


class SaysSpecs(abc.ABC):
    """A transform whose options may say how arguments are split, in the place of annotations."""

    @property
    @abc.abstractmethod
    def specs(self) -> Any:
        """What they say; `None` where it is the annotations."""

    @property
    @abc.abstractmethod
    def has_mesh(self) -> bool:
        """Whether they are about a mesh of its own, and not the ambient one."""


@dataclasses.dataclass(frozen=True)
class Blocks:
    """How the arguments and the result of one function are taken apart, on one mesh."""

    plan: Plan  # of the function
    inputs: Any  # the option `in_specs`
    outputs: Any  # the option `out_specs`
    mesh: Any  # over which devices, or abstract ones
    axis_names: frozenset[str]  # the axes that are mapped; all of the mesh if there are none
    # whether JAX splits, on an Explicit mesh, what is whole in its type: the oldest does
    splits_whole: bool = True

    @classmethod
    def of(cls, plan: Plan, inputs: Any, outputs: Any, mesh: Any, axis_names: frozenset[str]) -> Blocks:
        """On `mesh`, or the ambient one.

        Raises:
            AnnotationError: there is none, or it lacks an axis of `axis_names`.
        """
        found = jax.sharding.get_abstract_mesh() if mesh is None else mesh
        if found.empty:
            raise AnnotationError(
                "needs a mesh, and none is set",
                function=plan.function,
                expected="mesh=, or an ambient mesh",
                fix=f"call it inside `with {SET_MESH}(mesh):`, or pass mesh=",
            )
        missing = sorted(axis_names - set(found.axis_names))
        if missing:
            raise AnnotationError(
                f"maps {missing[0]!r}, which is no axis of the mesh",
                function=plan.function,
                expected="axes among: " + ", ".join(map(str, found.axis_names)),
                actual="axis_names of " + ", ".join(sorted(axis_names)),
                fix="name axes of the mesh",
            )
        return cls(plan, inputs, outputs, found, axis_names)

    @property
    def mapped(self) -> frozenset[str]:
        """The axes along which the body sees one block."""
        return self.axis_names or frozenset(map(str, self.mesh.axis_names))

    def of_call(self, args: Sequence[Any], kwargs: dict[str, Any], masks: list[list[bool]]) -> list[Any]:
        """The spec of each array of a call, flat; `masks` say which leaves are arrays."""
        options = in_specs(self.plan, self.inputs).of_call(len(args), tuple(kwargs))
        specs: list[Any] = []
        for argument, option, mask in zip(self.plan.arguments(args, kwargs), options, masks, strict=True):
            hint = UNANNOTATED if argument.param is None else argument.param.hint
            targets = self.of_value(argument.name, argument.value, option, hint, "in_specs")
            leaves = jax.tree_util.tree_leaves_with_path(argument.value)
            for (path, leaf), target, taken in zip(leaves, targets, mask, strict=True):
                if taken:
                    name = argument.name + jax.tree_util.keystr(path)
                    specs.append(self.checked(name, leaf, self.by_rule(leaf) if target is None else target))
        return specs

    def of_callable(self, fn: Any) -> list[Any]:
        """The spec of each leaf of the function itself, where it is a pytree: what its fields say."""
        found = jax.tree_util.tree_leaves_with_path(fn)
        marks = leaf_marks(fn)
        return [
            self.checked(
                self.plan.function + jax.tree_util.keystr(path),
                leaf,
                self.by_rule(leaf) if mark.place is None else mark.place,
            )
            for (path, leaf), mark in zip(found, marks, strict=True)
        ]

    def of_value(self, name: str, value: Any, option: Any, hint: Hint, called: str) -> list[Any]:
        """The spec of each leaf of an argument or result; `None` where nothing is said."""
        said = by_annotation(hint) if option is None else Said(option, called)
        return said.of_leaves(self.plan, name, value, self._refuse(name))

    def of_result(self, out: Any) -> list[Any]:
        """The spec of each leaf of a result."""
        option = None if self.outputs == BY_ANNOTATION else self.outputs
        found = self.of_value("return", out, option, self.plan.returns, "out_specs")
        return [PartitionSpec() if spec is None else self.on_mesh("return", spec) for spec in found]

    def by_rule(self, leaf: Any) -> PartitionSpec:
        """The spec of an array of which nothing is said."""
        return self._typed(leaf) if self._is_explicit else PartitionSpec()

    @property
    def _is_explicit(self) -> bool:
        return set(self.mesh.axis_types) == {AxisType.Explicit}

    def _typed(self, leaf: Any) -> PartitionSpec:
        """How an array is split along the axes that are mapped, as its type says."""
        sharding = getattr(jax.typeof(leaf), "sharding", None) if is_passed(leaf) else None
        if not isinstance(sharding, NamedSharding):
            return PartitionSpec()
        entries = [self._kept(entry) for entry in spec_entries(sharding.spec)]
        return PartitionSpec(*entries)

    def _kept(self, entry: Any) -> Any:
        names = entry if isinstance(entry, tuple) else (entry,)
        kept = tuple(name for name in names if name in self.mapped)
        return kept if len(kept) > 1 else next(iter(kept), None)

    def checked(self, name: str, leaf: Any, spec: Any) -> Any:
        """`spec`, where it can be about this array.

        Raises:
            AnnotationError: it names an axis that the mesh lacks, or that is not mapped.
            ShapeError: the array has too few dimensions, or can't be taken apart evenly.
        """
        if not isinstance(spec, PartitionSpec):
            raise self._refuse("")(name, Problem(f"is given {brief(spec)}, which is no PartitionSpec"))
        self.on_mesh(name, spec)
        problem = spec_fit_problem(spec, self.mesh.shape, _Sized.of(leaf)) or self._typed_problem(leaf, spec)
        if problem is None and jax.process_count() > 1:
            problem = numpy_problem(spec, leaf)
        if problem is not None:
            raise problem.error(ShapeError, self.plan.function, name)
        return spec

    def on_mesh(self, name: str, spec: PartitionSpec) -> PartitionSpec:
        """`spec`, where it is about axes that are mapped.

        Raises:
            AnnotationError: it names an axis that the mesh lacks, or that is not mapped.
        """
        problem = spec_problem(spec, self.mesh)
        if problem is not None:
            raise problem.error(AnnotationError, self.plan.function, name)
        left = sorted(set(axes_of(spec)) - self.mapped)
        if left:
            raise _left_to_compiler(self.plan, name, spec, left[0], self.mapped)
        return spec

    def _typed_problem(self, leaf: Any, spec: PartitionSpec) -> Problem | None:
        """Why an array that says in its type how it is split can't be taken apart otherwise."""
        own = self._typed(leaf)
        # Of a mesh of both kinds of axes, some releases of JAX mind, others don't.
        minds = self._is_explicit or not self.splits_whole
        if not minds or _normal(own) == _normal(spec):
            return None
        if not _normal(own):
            return None if self.splits_whole else self._whole_problem(leaf, spec)
        return Problem(
            problem=f"is split otherwise in its type than {spec_text(spec)} says",
            expected=spec_text(spec),
            actual=f"{array_text(leaf.dtype, leaf.shape)} split by {spec_text(own)}",
            fix="move it before the call: filter_shard"
            + ("; or leave its spec open" if self._is_explicit else ""),
        )

    def _whole_problem(self, leaf: Any, spec: PartitionSpec) -> Problem:
        place = spec_text(spec)
        if isinstance(self.mesh, Mesh):  # that was passed, and need not be the ambient one
            place = f"NamedSharding(mesh, {place})"
        return Problem(
            problem="is whole, and on a mesh whose axes are Explicit JAX splits nothing by itself",
            expected=f"an array split by {spec_text(spec)}",
            actual=f"{array_text(leaf.dtype, leaf.shape)}, whole",
            fix=f"split it before the call: filter_shard(array, {place})",
        )

    def _refuse(self, name: str) -> Callable[[str, Problem], ShapeError]:
        def refuse(path: str, problem: Problem) -> ShapeError:
            # A rule may return what is a place elsewhere; here it is a spec that is wanted.
            fix = "return a PartitionSpec from the rule"
            problem = dataclasses.replace(problem, expected="a PartitionSpec", fix=fix)
            return problem.error(ShapeError, self.plan.function, name + path)

        return refuse

    @property
    def one_out_spec(self) -> Any:
        """The spec of all of a result; `None` where its leaves have specs of their own, or may have."""
        if self.outputs == BY_ANNOTATION:
            hint = self.plan.returns
            if hint.sharding is None and hint.role is not Role.ARRAYS:
                return None
            open_parts = is_structure(hint.sharding) or has_places(hint.kind)
            spec = None if open_parts else PartitionSpec() if hint.sharding is None else hint.sharding
        else:
            spec = self.outputs if isinstance(self.outputs, PartitionSpec) else None
        return spec if spec is None else self.on_mesh("return", spec)

    def check_ranks(self, out: Any, specs: Sequence[Any]) -> None:
        """Refuse a result with fewer dimensions than its spec is for.

        Raises:
            ShapeError: it has; the first such array is named.
        """
        for (path, leaf), spec in zip(jax.tree_util.tree_leaves_with_path(out), specs, strict=True):
            problem = spec_fit_problem(spec, None, leaf) if is_passed(leaf) else None
            if problem is not None:
                raise problem.error(ShapeError, self.plan.function, "return" + jax.tree_util.keystr(path))

    def check_replicated(self, out: Any, specs: Sequence[Any]) -> None:
        """Refuse a result that differs between devices that are to agree on it.

        Raises:
            ShapeError: it does; the first such array is named.
        """
        for (path, leaf), spec in zip(jax.tree_util.tree_leaves_with_path(out), specs, strict=True):
            left = sorted(varying_axes(leaf) - set(axes_of(spec))) if is_passed(leaf) else []
            if left:
                raise ShapeError(
                    f"differs along {left[0]!r}: psum or pmean it, or put {left[0]!r} in its spec",
                    function=self.plan.function,
                    parameter="return" + jax.tree_util.keystr(path),
                    expected=f"one value for all of {left[0]!r}, as {spec_text(spec)} says",
                    actual=str(jax.typeof(leaf)),
                    fix=f"jax.lax.psum or jax.lax.pmean over {left[0]!r}, or {left[0]!r} in its spec",
                )


def _normal(spec: PartitionSpec) -> tuple[Any, ...]:
    entries = list(spec_entries(spec))
    while entries and entries[-1] in (None, ()):
        entries.pop()
    return tuple(entries)


@dataclasses.dataclass(frozen=True)
class _Sized:
    """What of an array, or of a number that becomes one, is asked: its shape and dtype."""

    shape: tuple[Any, ...]
    dtype: Any

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @classmethod
    def of(cls, leaf: Any) -> _Sized:
        aval = jax.typeof(leaf)
        return cls(aval.shape, aval.dtype)
