"""Branches: what each of them returns, and that they agree in what is static."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from typedfilter._looping.mismatch import Found, differences, mismatch, types_of
from typedfilter._looping.pieces import Piece, take_traced
from typedfilter._reading.plan import Plan
from typedfilter._values.fresh import refuse_late
from typedfilter._values.split import Rest
from typedfilter._values.trees import same_structure
from typedfilter.errors import ShapeError


class Branches:
    """Several functions of the same operands, of which one runs."""

    def __init__(
        self,
        functions: Sequence[Callable[..., Any]],
        bodies: Sequence[tuple[Callable[..., Any], Plan]],
        names: Sequence[str],
        operands: Piece,
    ) -> None:
        self.bodies = bodies  # what is called for each of the functions
        self.names = names  # what the public function calls them
        self.operands = operands
        self.same = list(map(id, functions))  # one function for one body, which JAX traces once
        self.found: dict[int, Piece] = {}

    def functions(self) -> list[Callable[[list[Any]], list[Any]]]:
        """The branches, from the arrays of the operands to those of their results."""
        made = {self.same[number]: self._function(number) for number in reversed(range(len(self.bodies)))}
        return [made[same] for same in self.same]

    def _function(self, number: int) -> Callable[[list[Any]], list[Any]]:
        body, plan = self.bodies[number]

        def branch(leaves: list[Any]) -> list[Any]:
            piece = take_traced(body(*self.operands.rest.join(leaves)))
            refuse_late(piece.rest.others, plan.function)
            self.found[number] = dataclasses.replace(piece, leaves=types_of(piece.leaves))
            return piece.leaves

        return branch

    def run(self, choose: Callable[[], list[Any]]) -> Any:
        """The result of the branch that `choose()` runs.

        Raises:
            ShapeError: the branches differ in structure, shape, dtype or a static value.
        """
        try:
            leaves = choose()
        except TypeError:
            error = self._mismatch(types=True)
            if error is None:
                raise
            raise error from None
        error = self._mismatch(types=False)
        if error is not None:
            raise error
        return self._rest().join(leaves)

    def _rest(self) -> Rest:
        return next(iter(self.found.values())).rest  # without a trace, that is of the one that ran

    def _mismatch(self, *, types: bool) -> ShapeError | None:
        """The error for the first branch that differs from the first; of types, JAX knows what fits."""
        numbers = sorted(self.found)
        for number in numbers[1:]:
            first, other = (self.found[n] for n in (numbers[0], number))
            if not types and _is_same(first, other):
                continue
            found = differences(*(Found.of(piece.rest, piece.leaves) for piece in (first, other)))
            kept = [one for one in found if types or one.what in ("structure", "static value")]
            if kept:
                function, before = (self.bodies[n][1].function for n in (number, numbers[0]))
                verbs = f"from {self.names[numbers[0]]}", f"from {self.names[number]}"
                return mismatch(
                    kept, f"returns another result than the branch `{before}`", function, "result", verbs
                )
        return None


def _is_same(first: Piece, second: Piece) -> bool:
    return same_structure(first.rest.treedef, second.rest.treedef) and first.key == second.key
