"""`filter_shard_map`: one block of each array on each device, by annotations.

Which block a device sees is decided in `_placing.blocks`; `jax.shard_map` runs the function of arrays alone.
Everything else travels around it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, overload

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from typing_extensions import Unpack

from typedfilter._compat import says_unlike_in_specs
from typedfilter._declarations import Check, Kept, Mixed, P, R, SameDecorator, ShardMapKeywords
from typedfilter._mapping.blocks import MapsBlocks
from typedfilter._placing.blocks import BY_ANNOTATION, Blocks, SaysSpecs, check_blocks
from typedfilter._placing.bodies import as_blocks
from typedfilter._placing.meshes import check_mesh
from typedfilter._placing.moving import is_staging
from typedfilter._reading.outside import Holds
from typedfilter._reading.plan import Plan
from typedfilter._shapes.check import checked
from typedfilter._shapes.switch import checking
from typedfilter._values.fresh import refuse_late
from typedfilter._values.leaves import as_array, is_passed
from typedfilter._values.split import Rest, split_where
from typedfilter._wrapping.call import take_arrays
from typedfilter._wrapping.effects import Effects
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.wrapper import Transform, Wrapper
from typedfilter.errors import AnnotationError, ShapeError


@dataclasses.dataclass(frozen=True, eq=False)
class ShardMap(SaysSpecs, Transform):
    """The options of `filter_shard_map`."""

    name: ClassVar[str] = "filter_shard_map"
    holds: ClassVar[Holds] = Holds.ALL
    places_outside: ClassVar[bool] = True
    mesh: Any = None
    in_specs: Any = BY_ANNOTATION
    out_specs: Any = BY_ANNOTATION
    axis_names: frozenset[str] = frozenset()
    check_vma: bool = True

    @property
    def specs(self) -> Any:
        return None if self.in_specs == BY_ANNOTATION else self.in_specs

    @property
    def has_mesh(self) -> bool:
        return self.mesh is not None

    def check_plan(self, plan: Plan) -> None:
        check_mesh(plan, self.mesh, (Mesh, AbstractMesh))
        check_blocks(plan, self.in_specs, self.out_specs, self.axis_names)

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return MapsBlocks(self.name, plan, self.in_specs, self.out_specs)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        fn = wrapper.__wrapped__
        donates = any(param.hint.donate for param in plan.params)

        def call(*args: Any, **kwargs: Any) -> Any:
            if donates and not is_staging():
                raise _not_compiled(plan)
            blocks = Blocks.of(plan, self.in_specs, self.out_specs, self.mesh, self.axis_names)
            try:
                return _Call(self, blocks, fn, args, kwargs).run()
            except ValueError as error:
                better = self._refused(error, blocks, fn, args, kwargs)
                if better is None:
                    raise
                raise better from None

        return call

    def _refused(self, error: ValueError, blocks: Blocks, fn: Any, *call: Any) -> ShapeError | None:
        """What names the array, where JAX has refused to split one that is whole."""
        if says_unlike_in_specs(error):
            try:
                _Call(self, dataclasses.replace(blocks, splits_whole=False), fn, *call)
            except ShapeError as better:
                return better
        return None


class _Call:
    """One call as a function of its arrays: of the arguments, and of the callable if it is a pytree."""

    def __init__(
        self, options: ShardMap, blocks: Blocks, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.options = options
        self.blocks = blocks
        self.taken = take_arrays(blocks.plan, args, kwargs)
        is_tree = not jax.tree_util.all_leaves([fn])
        own, self.own = split_where(fn, lambda leaf: is_tree and is_passed(leaf))
        specs = blocks.of_call(args, kwargs, self.taken.masks)
        mine = blocks.of_callable(fn) if own else []
        self.specs = [[mine[i] for i in self.own.taken_at] if own else [], specs]
        self.arrays = [own, list(map(as_array, self.taken.arrays))]
        self.out: Rest | None = None
        self.out_specs: list[Any] = []

    def run(self) -> Any:
        plain = self.blocks.one_out_spec
        if plain is None:  # what the leaves of the result are, only the function knows
            jax.eval_shape(self._mapped(PartitionSpec(), check_vma=False), *self.arrays)
            plain = self.out_specs
        found = self._mapped(plain, check_vma=self.options.check_vma)(*self.arrays)
        assert self.out is not None
        return self.out.join(found)

    def _mapped(self, out_specs: Any, check_vma: bool) -> Callable[..., Any]:
        def one_block(own: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
            out = self._body(self.own.join(own), arrays)
            specs = self.blocks.of_result(out)
            self.blocks.check_ranks(out, specs)
            found, self.out = split_where(out, is_passed)
            refuse_late(self.out.others, self.blocks.plan.function)
            self.out_specs = [specs[i] for i in self.out.taken_at]
            if check_vma:
                self.blocks.check_replicated(out, specs)
            return found

        mapped: Callable[..., Any] = jax.shard_map(
            one_block,
            mesh=self.options.mesh,
            in_specs=tuple(self.specs),
            out_specs=out_specs,
            axis_names=set(self.options.axis_names),
            check_vma=check_vma,
        )
        return mapped

    def _body(self, fn: Any, arrays: Sequence[Any]) -> Any:
        plan = self.blocks.plan
        args, kwargs = self.taken.join(arrays)
        body = checked(fn, plan) if self.options.check else fn
        try:
            with checking(self.options.check), as_blocks(plan):
                return body(*args, **kwargs)
        except ShapeError as error:
            if error.function == plan.function and error.actual and "block" not in error.actual:
                error.actual += ", in one block"
            raise


def _not_compiled(plan: Plan) -> AnnotationError:
    name = next(param.name for param in plan.params if param.hint.donate)
    return AnnotationError(
        "is annotated Donate[...], and nothing is compiled here that could use its memory again",
        function=plan.function,
        parameter=name,
        fix="call it by way of filter_jit: filter_jit(filter_shard_map(...))",
    )


@overload
def filter_shard_map(fun: Kept, /, **options: Unpack[ShardMapKeywords]) -> Kept: ...
@overload
def filter_shard_map(  # pyright: ignore[reportOverlappingOverload]  # see `Kept`
    fun: Callable[P, R], /, **options: Unpack[ShardMapKeywords]
) -> Callable[P, R]: ...
@overload
def filter_shard_map(fun: Mixed, /, **options: Unpack[ShardMapKeywords]) -> Mixed: ...
@overload
def filter_shard_map(**options: Unpack[ShardMapKeywords]) -> SameDecorator: ...
@ends_at_caller
def filter_shard_map(
    fun: Any = None,
    *,
    mesh: Mesh | AbstractMesh | None = None,
    in_specs: Any = BY_ANNOTATION,
    out_specs: Any = BY_ANNOTATION,
    axis_names: AbstractSet[str] = frozenset(),
    check_vma: bool = True,
    check: Check = True,
) -> Any:
    """Map a function over the blocks of arrays that devices hold, with `jax.shard_map`, by annotations.

    An argument whose annotation holds a `PartitionSpec` is taken apart by it: the function sees one block,
    and that is what its shapes are about. A field of a model says the same of its arrays. Where nothing is
    said, an array is copied to every device, or split as its type says on a mesh whose axes are all
    Explicit. What is no array is static, and results may hold anything. `jax.lax.psum` and its like reach
    the other devices by the names of the axes.

    Args:
        fun: a pure function, method or callable pytree (whose arrays stay inputs) of one block of each array.
        mesh: over which devices; the ambient one (`jax.set_mesh`) if there is none.
        in_specs: overrides annotations: one spec for all arguments, a tuple by position, a dictionary by
            name, of `PartitionSpec`s, prefix pytrees of these, and callables `leaf -> PartitionSpec`.
        out_specs: likewise, a prefix of the result. It, or a return annotation, must be there.
        axis_names: the axes of the mesh to map; all of them if it is empty. The compiler keeps the others.
        check_vma: whether to see to it that results are the same where their specs say so.
        check: check shapes, dtypes and types of what the body receives: one block.

    Returns:
        A function with the arguments and results of `fun`, of whole arrays. Without `fun`, a decorator.

    Raises:
        AnnotationError: nothing is said of the result, or a spec names what `axis_names` does not (when the
            decorator runs); there is no mesh, or it lacks an axis (at the call).
        ShapeError: an array can't be taken apart evenly, or has too few dimensions; a result differs along
            an axis that its spec does not name (at the call).
    """
    names = frozenset(axis_names)
    transform = ShardMap(mesh, in_specs, out_specs, names, check_vma, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
