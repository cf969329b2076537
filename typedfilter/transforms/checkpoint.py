"""`filter_checkpoint`: recompute on the backward pass instead of keeping intermediate values.

`jax.checkpoint` of the function from the arrays of a call to those of its result.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import types
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, TypeAlias, overload

import jax
from typing_extensions import Unpack

from typedfilter._compiling.known import call_key
from typedfilter._declarations import Check, CheckpointKeywords, Kept, Mixed, P, R, SameDecorator
from typedfilter._reading.outside import Holds
from typedfilter._reading.plan import Plan
from typedfilter._values.fresh import fresh_rest, refuse_used_up
from typedfilter._values.leaves import is_passed
from typedfilter._values.memory import Attached
from typedfilter._values.split import Taken
from typedfilter._values.text import brief
from typedfilter._wrapping.body import body_of
from typedfilter._wrapping.call import Lifted, take_arrays
from typedfilter._wrapping.effects import Effects, PassesOn
from typedfilter._wrapping.frames import ends_at_caller, located, place_of
from typedfilter._wrapping.host_errors import asking
from typedfilter._wrapping.wrapper import Transform, Wrapper
from typedfilter.errors import AnnotationError


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint(Transform):
    """The options of `filter_checkpoint`."""

    name: ClassVar[str] = "filter_checkpoint"
    holds: ClassVar[Holds] = Holds.ALL
    prevent_cse: bool = True
    policy: Callable[..., bool] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy is not None and not callable(self.policy):
            raise AnnotationError(
                f"has no policy={self.policy!r}",
                function=self.name,
                expected="a function, or None",
                actual=brief(self.policy),
                fix="pass an attribute of jax.checkpoint_policies: jax.checkpoint_policies.dots_saveable",
            )

    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        return PassesOn(self.name, plan)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        body = body_of(wrapper, plan)
        programs = self._programs_of(wrapper.__wrapped__)

        def new(taken: Taken) -> tuple[Lifted, Callable[..., Any]]:
            lifted = Lifted(body, taken.without_arrays())  # it is kept for later calls
            traced = located(lifted, place_of(wrapper.__wrapped__), plan.function)
            return lifted, jax.checkpoint(traced, prevent_cse=self.prevent_cse, policy=self.policy)

        def call(*args: Any, **kwargs: Any) -> Any:
            taken = take_arrays(plan, args, kwargs)
            key = _key(taken)
            found = programs.get(key)
            if found is None:
                found = new(taken)
                if key is not None:
                    if len(programs) >= _MOST:
                        programs.clear()
                    found = programs.setdefault(key, found)
            lifted, run = found
            with asking:
                out = run(taken.arrays)
            for leaf in lifted.out.others:
                refuse_used_up(leaf, plan.function)
            return fresh_rest(lifted.out).join(out)

        return call

    def _programs_of(self, fn: Callable[..., Any]) -> _Programs:
        """Those of all wrappers of one function with these options: it may be wrapped anew for each layer.

        As long as it closes over the same: of arrays, which may be those of a trace, nothing is kept.
        """
        captured = _Captured.of(fn)
        if captured is None or any(map(is_passed, captured.values)):
            return {}
        programs = _shared.of(fn)
        if len(programs) >= _MOST:
            programs.clear()
        try:
            return programs.setdefault((self.prevent_cse, self.policy, self.check, captured), {})
        except TypeError:  # a policy without a hash
            return {}


_Programs: TypeAlias = "dict[Hashable, tuple[Lifted, Callable[..., Any]]]"
_shared: Attached[dict[Hashable, _Programs]] = Attached("__typedfilter_checkpoints__", dict)


class _Captured:
    """What a function closes over: equal where these are the same objects."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values
        self._ids = tuple(map(id, values))

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> _Captured | None:
        """Of a plain function; `None` for anything else, and where it closes over what is not there yet."""
        if type(fn) is not types.FunctionType:
            return None
        cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
        written = _written(fn.__code__)
        try:
            return cls(tuple(cell.cell_contents for name, cell in cells if name not in written))
        except ValueError:
            return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Captured) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)


@functools.lru_cache(maxsize=1024)
def _written(code: types.CodeType) -> frozenset[str]:
    """The variables around a function that it sets itself, as a counter of its runs: no inputs of it."""
    return frozenset(one.argval for one in dis.get_instructions(code) if one.opname == "STORE_DEREF")


_MOST = 64  # different calls of one function; then they are traced again


def _key(taken: Taken) -> Hashable | None:
    """What tells a call from others, so that equal layers are traced once; `None` where nothing does."""
    key = call_key(taken)
    return None if key is None else (key, tuple(map(jax.typeof, taken.arrays)))


@overload
def filter_checkpoint(fun: Kept, /, **options: Unpack[CheckpointKeywords]) -> Kept: ...
@overload
def filter_checkpoint(  # pyright: ignore[reportOverlappingOverload]  # see `Kept`
    fun: Callable[P, R], /, **options: Unpack[CheckpointKeywords]
) -> Callable[P, R]: ...
@overload
def filter_checkpoint(fun: Mixed, /, **options: Unpack[CheckpointKeywords]) -> Mixed: ...
@overload
def filter_checkpoint(**options: Unpack[CheckpointKeywords]) -> SameDecorator: ...
@ends_at_caller
def filter_checkpoint(
    fun: Any = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    check: Check = True,
) -> Any:
    """Checkpoint a function with `jax.checkpoint`: the backward pass computes its intermediate values again.

    Args:
        fun: a pure function of anything that returns anything.
        prevent_cse: keep XLA from merging the two computations, which would undo the checkpoint. `False`
            is safe, and faster, under `jax.lax.scan`.
        policy: which intermediate values to keep nevertheless, an attribute of `jax.checkpoint_policies`.
        check: check shapes, dtypes and types of what the body receives and returns.

    Returns:
        A function with the arguments and results of `fun`. Without `fun`, a decorator.

    Raises:
        AnnotationError: annotations contradict each other (when the decorator runs).
        ShapeError: an argument or the result is not what its annotation says (at the call).
    """
    transform = Checkpoint(prevent_cse, policy, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
