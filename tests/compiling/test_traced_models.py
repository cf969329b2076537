"""`Traced[Model]` of classes whose `Static` fields are leaves: everything else in the model is traced."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox
import flax.struct
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float

from typedfilter import (
    ShapeError,
    Static,
    StaticArgumentError,
    Traced,
    explain,
    filter_checkpoint,
    filter_closure_convert,
    filter_eval_shape,
    filter_jit,
    filter_make_jaxpr,
    filter_vmap,
    pytree_dataclass,
)
from typedfilter._reading.kinds import kind_of
from typedfilter._reading.whole import may_hold_static


class Module(equinox.Module):
    w: Float[Array, "n"]
    rate: float
    s: Static[Any]


@flax.struct.dataclass
class Struct:
    w: Float[Array, "n"]
    rate: float
    s: Static[Any]


class Record(NamedTuple):
    w: Float[Array, "n"]
    rate: float
    s: Static[Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    w: Float[Array, "n"]
    rate: float
    s: Static[Any]


@pytree_dataclass
class Own:
    w: Float[Array, "n"]
    rate: float
    s: Static[Any]


MODELS = pytest.mark.parametrize("model", [Module, Struct, Record, Registered, Own])
W = jnp.ones(2)


def kinds(p: Traced[Any]):
    """What the body sees, without the array."""
    return isinstance(p.w, jax.Array), isinstance(p.rate, jax.Array), p.s


def nested(p: Traced[Any]):
    return kinds(p["inner"][0])


TRANSFORMS: dict[str, Any] = {
    "jit": lambda f, p: filter_jit(f)(p),
    "compiled": lambda f, p: filter_jit(f).lower(p).compile()(p),
    "vmap": lambda f, p: filter_vmap(f)(p),
    "vmap in jit": lambda f, p: filter_jit(filter_vmap(f))(p),
    "checkpoint": lambda f, p: filter_checkpoint(f)(p),
    "closure": lambda f, p: filter_closure_convert(f, p)(p),
    "shape": filter_eval_shape,
    "jaxpr": lambda f, p: filter_make_jaxpr(f)(p)[2],
}


@MODELS
@pytest.mark.parametrize("static", [3, "tanh", None])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_static_field_stays_what_it_is_and_all_else_is_traced(model, static, transform):
    p = model(W, 2.0, static)
    assert transform(kinds, p) == (True, True, static)
    assert transform(nested, {"inner": [p]}) == (True, True, static)


@MODELS
def test_another_number_is_the_same_program_and_another_static_value_is_not(model):
    traces = []

    @filter_jit
    def f(p: Traced[model]):
        traces.append(p)
        return p.w * p.rate * len(p.s)

    assert f(model(W, 2.0, "a")).tolist() == [2.0, 2.0]
    assert f(model(W, 3.0, "a")).tolist() == [3.0, 3.0]
    assert len(traces) == 1
    assert f(model(W, 3.0, "ab")).tolist() == [6.0, 6.0]
    assert len(traces) == 2


def test_what_came_first_does_not_matter():
    @filter_jit
    def f(p: Traced[Any]):
        return kinds(p) if isinstance(p, Module) else kinds(p[0]) if p else None

    assert f(None) is None
    assert f([]) is None
    for args in ([Module(W, 1.0, 2)], Module(W, 1.0, 2), [Own(W, 1.0, 2)]):
        assert f(args) == (True, True, 2)


@pytest.mark.parametrize(
    ("static", "expected"),
    [
        (
            W,
            """f(): argument `p.s` is static, as its field says, but is an array
  expected: a hashable value
  found: an array f32[2]
  fix: annotate it as an array (Float[Array, "..."]) or Traced[...], or pass a Python value""",
        ),
        (
            {1},
            """f(): argument `p.s` is static, as its field says, but is unhashable: set
  expected: a hashable value
  found: set {1}
  fix: pass a hashable value: a tuple for a list, a frozen dataclass for a mutable one""",
        ),
    ],
    ids=["array", "set"],
)
@pytest.mark.parametrize("run", [lambda f, p: f(p), lambda f, p: f.lower(p)], ids=["call", "lower"])
def test_what_can_be_neither_is_named(static, expected, run):
    def f(p: Traced[Any]):
        return p.w

    f.__qualname__ = "f"
    with pytest.raises(StaticArgumentError) as caught:
        run(filter_jit(f), Module(W, 1.0, static))
    assert str(caught.value) == expected


def test_the_error_for_what_can_not_be_traced_passes_static_fields_over():
    def f(p: Traced[Any]):
        return p.w

    with pytest.raises(ShapeError) as caught:
        filter_jit(f)(Module(W, "no number", "static"))
    assert caught.value.parameter == "p.rate"


def test_explain_tells_it_apart():
    def f(p: Traced[Any]):
        return p.w

    shown = explain(filter_jit(f), Module(W, 1.0, 2))
    assert [row.effects for row in shown.leaves or ()] == [("traced",), ("traced",), ("static",)]


# ------------------------------------------------------------------------- what need not be taken apart


@pytree_dataclass
class Chain:
    w: Any
    rest: Chain | None
    bias: list[Float[Array, "n"]]
    scale: tuple[float, int]


@pytree_dataclass
class Closed:
    w: Float[Array, "n"]
    bias: dict[str, list[float]]
    n: Static[int]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (list[float], [], False),
        (dict[str, tuple[int, ...]], {}, False),
        (Closed, Closed(W, {}, 1), False),
        (Closed | None, Closed(W, {}, 1), False),
        (list[Closed], [], True),  # a subclass of it may have more fields
        (Any, [], True),
        (list, [], True),
        (Chain, Chain(W, None, [], (1.0, 2)), True),
        (Module, Module(W, 1.0, 2), True),
        (dict[str, Module], {}, True),
    ],
    ids=str,
)
def test_a_type_tells_whether_there_may_be_a_static_field(kind, value, expected):
    assert may_hold_static(kind_of(kind), value) is expected
