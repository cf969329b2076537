"""Marks on the fields of pytree classes, and which classes hold arrays only."""

from __future__ import annotations

import abc
import dataclasses
import functools
import gc
import weakref
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, final

import equinox
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import AnnotationError, filter_grad, filter_jit
from typedfilter._reading.fields import NO_MARK, LeafMark, field_hints, has_marks, leaf_marks
from typedfilter._reading.whole import is_array_only
from typedfilter.annotations import AxisSpec, Diff, Donate, NoDiff, Static, Traced
from typedfilter.pytree import pytree_dataclass
from typedfilter.vmap_axis import VmapAxis

if TYPE_CHECKING:
    Absent = int

X = jnp.ones(2)
FROZEN = LeafMark(diff=False)


def marks_by_path(tree: Any) -> dict[str, LeafMark]:
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    return dict(zip(paths, leaf_marks(tree), strict=True))


@pytree_dataclass
class Layer:
    weight: Float[Array, "n"]
    size: Static[int] = 3
    scale: NoDiff[Float[Array, "n"]] | None = None
    stacked: Annotated[Float[Array, "n"], VmapAxis[1]] | None = None


@pytree_dataclass
class Net:
    layers: list[Layer]
    frozen: NoDiff[Layer]
    thawed: NoDiff[dict[str, Any]]
    name: Static[str] = "net"


@pytree_dataclass
class Thawed:
    inner: Diff[Any]
    outer: Any


def test_every_leaf_has_the_mark_of_its_field():
    layer = Layer(X, scale=X, stacked=X)
    assert marks_by_path(layer) == {
        ".weight": NO_MARK,
        ".scale": FROZEN,
        ".stacked": LeafMark(axis=AxisSpec(1)),
    }


def test_a_mark_holds_for_everything_below_and_the_inner_one_wins():
    net = Net([Layer(X)], Layer(X, scale=X), {"a": Thawed([X, X], X), "b": (X, None, X)})
    assert marks_by_path(net) == {
        ".layers[0].weight": NO_MARK,
        ".frozen.weight": FROZEN,
        ".frozen.scale": FROZEN,
        ".thawed['a'].inner[0]": LeafMark(diff=True),
        ".thawed['a'].inner[1]": LeafMark(diff=True),
        ".thawed['a'].outer": FROZEN,
        ".thawed['b'][0]": FROZEN,
        ".thawed['b'][2]": FROZEN,
    }


def test_a_tree_without_marks_has_none():
    assert leaf_marks({"a": [X, 1, None, "s"], "b": (X,)}) == [NO_MARK] * 4
    assert leaf_marks(X) == [NO_MARK]
    assert leaf_marks(None) == []


@functools.partial(jax.tree_util.register_dataclass, data_fields=["w", "n"], meta_fields=["k"])
@dataclasses.dataclass
class Registered:
    w: NoDiff[Float[Array, "n"]]
    n: Static[int]  # data to JAX, static to us
    k: int = 1


@flax.struct.dataclass
class Flaxen:
    w: NoDiff[Array]
    lr: Traced[float]
    n: int = flax.struct.field(pytree_node=False, default=1)


class Module(equinox.Module):
    w: NoDiff[Array]
    v: Annotated[Array, VmapAxis[None]]
    f: Any = equinox.field(static=True, default=1)


class Named(NamedTuple):
    w: NoDiff[Array]
    v: Array


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass
class Keyless:
    w: Array
    v: NoDiff[Array]

    def tree_flatten(self) -> Any:
        return (self.v, self.w), None

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Keyless:
        return cls(children[1], children[0])


@pytest.mark.parametrize(
    ("tree", "marks"),
    [
        (Registered(X, 1), [FROZEN, LeafMark(static=True)]),
        (Flaxen(X, 0.1), [FROZEN, LeafMark(traced=True)]),
        (Module(X, X), [FROZEN, LeafMark(axis=AxisSpec(None))]),
        (Named(X, X), [FROZEN, NO_MARK]),
        (Keyless(X, jnp.zeros(2)), [FROZEN, NO_MARK]),  # its own order of children
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_peoples_pytree_classes_carry_marks_too(tree: Any, marks: list[LeafMark]):
    assert leaf_marks([tree, tree]) == marks * 2
    assert has_marks(type(tree))


def test_tracers_and_placeholders_are_leaves_like_any():
    seen: list[list[LeafMark]] = []
    jax.eval_shape(lambda net: seen.append(leaf_marks(net)), Layer(X, scale=X))
    seen.append(leaf_marks(Layer(object(), scale=object())))
    assert seen == [[NO_MARK, FROZEN]] * 2


def test_only_fields_count():
    hints = field_hints(Registered)
    assert list(hints) == ["w", "n", "k"]
    assert field_hints(int) == {}
    assert not has_marks(int)
    assert list(field_hints(Named)) == ["w", "v"]


def test_what_is_no_field_of_a_dataclass_is_left_out():
    @dataclasses.dataclass
    class Config:
        n: Static[int]
        start: dataclasses.InitVar[Donate[Array]]

    assert list(field_hints(Config)) == ["n"]


# --- classes of arrays only -----------------------------------------------------------------------------


@pytree_dataclass
class Holder:
    layer: Layer
    layers: list[Layer]
    pairs: tuple[Layer, Array] | None
    table: dict[str, Layer]
    rate: Traced[float]
    n: Static[int] = 1


@pytree_dataclass
class ByNumber:
    table: dict[int, Array]


@pytree_dataclass
class Loose:
    anything: Any


@pytree_dataclass
class HoldsLoose:
    loose: Loose


@pytree_dataclass
class Counted:
    n: int


@pytree_dataclass
class Chain:
    head: Array
    tail: Chain | None


@pytree_dataclass
class Open:
    w: Array


@pytree_dataclass
class Wider(Open):
    n: int = 1


@pytree_dataclass
class HoldsOpen:
    open: Open


@dataclasses.dataclass
class Unregistered:
    w: Array


@final
@pytree_dataclass
class Sealed:
    w: Array


@pytree_dataclass
class HoldsSealed:
    sealed: Sealed
    rate: Traced[float]


class OfRecords(dict[str, Any]):
    """A dataclass and a dictionary, as results of models are in some libraries."""


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass
class Output(OfRecords):
    w: Array

    def tree_flatten(self) -> Any:
        return (self.w,), None

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Output:
        return cls(*children)


class Solver(equinox.Module):
    rate: equinox.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def step(self) -> Any: ...


class Solved(equinox.Module):
    solver: Solver


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Layer(X), True),
        (Holder(Layer(X), [], None, {}, 1.0), True),
        (Holder(Layer(X), [Layer(X)], None, {"a": Layer(X)}, 1.0), True),
        (HoldsSealed(Sealed(X), 1.0), True),
        (ByNumber({1: X}), False),
        (equinox.nn.Linear(1, 1, key=jax.random.key(0)), True),
        (Loose(X), False),
        (Loose({"a": Open(X)}), True),
        (Loose({1: Open(X)}), False),  # which JAX takes for {True: Open(X)}
        (HoldsLoose(Loose(X)), False),
        (Counted(1), False),
        (Chain(X, Chain(X, None)), True),
        (Open(X), True),
        (Wider(X), False),
        (HoldsOpen(Open(X)), True),
        (HoldsOpen(Wider(X)), False),
        (Unregistered(X), False),
        (Output(X), False),
        (Solved(X), False),  # asked of the instance: nobody makes a Solver to learn about it
        (3, False),
        ([], False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_class_is_array_only_by_the_annotations_of_its_data(value: Any, expected: bool):
    assert is_array_only(value) is expected
    assert is_array_only(value) is expected  # from the cache


def test_a_subclass_that_comes_later_keeps_its_static_field():
    @pytree_dataclass
    class Base:
        w: Float[Array, "n"]

    @pytree_dataclass
    class Model:
        layer: Base

    seen: list[Any] = []

    @filter_jit
    def f(model: Model) -> Array:
        seen.append(model)
        return model.layer.w

    f(Model(Base(X)))

    @pytree_dataclass
    class Later(Base):
        mode: Any = "sum"
        n: Any = 3

    f(Model(Later(X)))
    assert (seen[1].layer.mode, type(seen[1].layer.n)) == ("sum", int)


def keyless(cls: Any) -> Any:
    """Register a dataclass by hand, without keys, and its fields in the opposite order."""
    names = [field.name for field in dataclasses.fields(cls)][::-1]
    jax.tree_util.register_pytree_node(
        cls,
        lambda node: ([getattr(node, name) for name in names], None),
        lambda _, children: cls(**dict(zip(names, children, strict=True))),
    )
    return cls


def test_tied_weights_keep_the_marks_of_their_fields_apart():
    @keyless
    @dataclasses.dataclass
    class Tied:
        a: NoDiff[Array]
        b: Array

    @keyless
    @dataclasses.dataclass
    class Rates:
        a: Traced[float]
        b: Any

    assert leaf_marks(Tied(X, X)) == [NO_MARK, FROZEN] == leaf_marks(Tied(X, X + 1))
    assert leaf_marks(Rates(1.0, 1.0)) == [NO_MARK, LeafMark(traced=True)]
    gradient = filter_grad(lambda tied: (tied.a * tied.b).sum())(Tied(X, X))
    assert gradient.a is None
    np.testing.assert_array_equal(gradient.b, X)


def test_a_class_that_can_not_tell_its_tied_fields_apart_is_refused():
    @dataclasses.dataclass
    class Curious:
        a: NoDiff[Array]
        b: Array

    jax.tree_util.register_pytree_node(
        Curious, lambda node: ((node.a, node.b, *node.a.shape[:0]), None), lambda _, pair: Curious(*pair)
    )
    with pytest.raises(AnnotationError, match="has one value in `a` and `b`, and marks that tell them apart"):
        leaf_marks(Curious(X, X))


def test_nobody_s_class_is_built_around_placeholders_to_name_its_leaves():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Picky:
        w: Array
        n: Any

        def __post_init__(self) -> None:
            assert self.w.ndim == 1

    picky = Picky(jnp.ones(3), "static")
    assert filter_jit(lambda p, s: p.w.sum())(picky, {"a": 1, "b": "c"}) == 3.0


def test_a_flatten_function_that_wants_values_is_no_error():
    @jax.tree_util.register_pytree_node_class
    @dataclasses.dataclass
    class Picky:
        w: Array

        def tree_flatten(self) -> Any:
            return (self.w.T,), None

        @classmethod
        def tree_unflatten(cls, aux: Any, children: Any) -> Picky:
            return cls(*children)

    assert not is_array_only(Picky(X))
    assert leaf_marks(Picky(X)) == [NO_MARK]


def test_a_field_with_an_unknown_name_is_not_known_to_be_an_array():
    @pytree_dataclass
    class Vague:
        w: Float[Array, "n"]
        x: Absent

    assert not is_array_only(Vague(X, X))
    assert leaf_marks(Vague(X, X)) == [NO_MARK] * 2


def test_nothing_keeps_a_dropped_class_alive():
    def make() -> weakref.ref[type]:
        @dataclasses.dataclass
        class Dropped:
            w: NoDiff[Array]

        assert has_marks(Dropped)
        assert not is_array_only(Dropped(X))  # not registered: JAX would keep it
        return weakref.ref(Dropped)

    ref = make()
    gc.collect()
    assert ref() is None


class Wrapped(NamedTuple):
    """Of somebody else, with a field that is static and has leaves."""

    inner: Static[Any]
    free: Any


@pytree_dataclass
class Halted:
    weight: NoDiff[Array]
    other: Any


def test_what_is_inside_of_a_static_field_is_static_whatever_marks_it_has():
    marks = leaf_marks(Wrapped(Halted(jnp.ones(1), jnp.ones(1)), jnp.ones(1)))
    assert [mark.static for mark in marks] == [True, True, False]
    assert [mark.diff for mark in marks] == [False, None, None]
