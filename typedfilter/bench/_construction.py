"""What it costs to make a model: its fields are checked, where those of a plain dataclass are not.

A checked class remembers the shapes that it has seen to fit, so that there are two rows: of a model whose
shapes are new at each construction, and of one like those before.
"""

from __future__ import annotations

import itertools
import statistics

import jax.numpy as jnp
import numpy as np
from jax import Array

from typedfilter.bench._models import DataclassLayer, Layer
from typedfilter.bench._rows import OURS, Case, Lab, Row
from typedfilter.bench._timing import Call

_PLAIN = "a registered dataclass"
_FIELDS = 4
_SHAPES = 128  # more than a class remembers
_TARGET = 30.0  # microseconds a field
_WHAT = f"construct a model of {_FIELDS} fields, two of them arrays"


def _making(cls: type[Layer] | type[DataclassLayer], arrays: list[tuple[Array, Array]]) -> Call:
    given = itertools.cycle(arrays)

    def make() -> Layer | DataclassLayer:
        weight, bias = next(given)
        return cls(weight, bias, jnp.tanh, 4)

    return make


def _construct(lab: Lab) -> list[Row]:
    made = [np.ones((n, 3), np.float32) for n in range(1, _SHAPES + 1)]  # JAX would compile for each of them
    new = [(jnp.asarray(both[:, :2]), jnp.asarray(both[:, 2])) for both in made]
    return [
        _row(lab, f"{_WHAT}, of new shapes", new),
        _row(lab, f"{_WHAT}, of shapes seen before", new[:1]),
    ]


def _row(lab: Lab, what: str, arrays: list[tuple[Array, Array]]) -> Row:
    contenders = {OURS: _making(Layer, arrays), _PLAIN: _making(DataclassLayer, arrays)}
    times = lab.timer.calls(contenders, lab.rounds(100))
    more = statistics.median(ours - plain for ours, plain in zip(times[OURS], times[_PLAIN], strict=True))
    return Row(
        "construct",
        what,
        more / _FIELDS * 1e6,
        unit="us a field more",
        against=_PLAIN,
        target=_TARGET,
        ours=statistics.median(times[OURS]),
        theirs=statistics.median(times[_PLAIN]),
    )


CASES = (Case("construct", _WHAT, _construct),)
