"""The state that a loop carries: flat leaves for `jax.lax`, and what must come back as it went in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax.tree_util import tree_flatten

from typedfilter._looping.mismatch import Difference, Found, differences, mismatch, types_of
from typedfilter._looping.pieces import exact_keys_of_dicts, is_traced
from typedfilter._reading.plan import Plan
from typedfilter._values.split import Rest
from typedfilter._values.template import same_static
from typedfilter._values.trees import same_structure
from typedfilter.errors import ShapeError

T = TypeVar("T")
_config: Any = jax.config  # whose flags no type checker sees


class Carry:
    """What a loop carries from step to step, and what a step last made of it."""

    def __init__(self, plan: Plan, rest: Rest, name: str = "carry") -> None:
        self.plan = plan
        self.rest = rest
        self.name = name
        self.taken = frozenset(rest.taken_at)
        self.seen: tuple[Sequence[Any], Sequence[Any]] | None = None

    def open(self, leaves: Sequence[Any]) -> Any:
        """The carry, from its arrays. From here until `close`, an error is the body's own."""
        self.seen = None
        return self.rest.join(leaves)

    def close(self, leaves: Sequence[Any], new: Any, *, strict: bool = False) -> list[Any]:
        """The arrays of a new carry, whose structure and static part are those of the one before.

        With `strict` also its shapes and dtypes; else that is left to JAX, where JAX traces.

        Raises:
            ShapeError: they are not.
        """
        found, treedef = tree_flatten(new)
        old = self.rest.leaves(leaves)
        same = same_structure(treedef, self.rest.treedef) and all(
            map(self._fits, range(len(old)), old, found)
        )
        same = same and exact_keys_of_dicts(new) == exact_keys_of_dicts(self.rest.join(leaves))
        out = [leaf for at, leaf in enumerate(found) if at in self.taken] if same else []
        if not same or ((strict or _config.jax_disable_jit) and self._differ(leaves, out)):
            raise self._mismatch(self._between(leaves, new))
        self.seen = types_of(leaves), types_of(out)
        return out

    def _fits(self, at: int, old: Any, new: Any) -> bool:
        return is_traced(new) if at in self.taken else same_static(old, new)

    def _between(self, leaves: Sequence[Any], new: Any) -> list[Difference]:
        old = Found.of(self.rest, leaves)
        found = differences(old, Found.beside(old, new))
        return [one for one in found if not one.weak or one.what == "structure"] or found

    def _differ(self, leaves: Sequence[Any], out: Sequence[Any]) -> list[Difference]:
        """What JAX would refuse while it traces. Without a trace, weak types are those of the moment."""
        return [one for one in self._types(leaves, out) if not one.weak]

    def _types(self, leaves: Sequence[Any], out: Sequence[Any]) -> list[Difference]:
        return differences(Found.of(self.rest, leaves), Found.of(self.rest, out))

    def _mismatch(self, found: Sequence[Difference]) -> ShapeError:
        problem = f"returns another {self.name} than it was given"
        return mismatch(found, problem, self.plan.function, self.name, ("went in", "came out"))

    def run(self, loop: Callable[[], T]) -> T:
        """What `loop()` returns; JAX's complaint about types that changed as one that says where."""
        try:
            return loop()
        except TypeError:
            found = [] if self.seen is None else self._types(*self.seen)
            if not found:
                raise
        raise self._mismatch(found)
