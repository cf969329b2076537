"""How the cost of a compiled call grows with the number of leaves of its argument."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from typedfilter import filter_jit
from typedfilter.bench._models import as_nodes, mixed_tree
from typedfilter.bench._rows import OURS, Case, Lab, Row, compare
from typedfilter.bench._timing import Call

_SIZES = (16, 64, 256, 1024, 4096, 16384)
_JAX = "jax.jit"
_GROWTH = f"growth from {_SIZES[0]} to {_SIZES[-1]} leaves: 1 is linear, 2 would be quadratic"


def _contenders(leaves: int) -> dict[str, Call]:
    def fn(tree: Any, x: Any) -> Any:
        return x + 1

    tree, x = mixed_tree(leaves), jnp.ones(2)
    nodes = as_nodes(tree)
    ours, by_hand = filter_jit(fn), jax.jit(fn)
    return {OURS: lambda: ours(tree, x), _JAX: lambda: by_hand(nodes, x)}


def _scale(lab: Lab) -> list[Row]:
    rows = [
        row
        for leaves in _SIZES
        for row in compare(
            "leaves",
            f"compiled call with a mixed pytree of {leaves} leaves",
            lab.timer.calls(_contenders(leaves), lab.rounds(30)),
            {},
        )
    ]
    ours, theirs = (
        exponent(_SIZES, seconds) for seconds in zip(*[(r.ours, r.theirs) for r in rows], strict=True)
    )
    return [*rows, Row("leaves", _GROWTH, ours, target=1.1), Row("leaves", _GROWTH, theirs, against=_JAX)]


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The `k` for which `seconds` grow most nearly as `sizes ** k`."""
    slope, _ = statistics.linear_regression(list(map(math.log, sizes)), list(map(math.log, seconds)))
    return slope


CASES = (Case("leaves", "compiled call with a mixed pytree, by the number of its leaves", _scale),)
