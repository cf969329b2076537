"""Calls share a compilation only where no program can tell their static parts apart. Counts traces."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import enum
import fractions
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter as tf
from typedfilter import Static, filter_grad, filter_jit, filter_value_and_grad, filter_vmap
from typedfilter.pytree import pytree_dataclass

X = jnp.ones(2)


class One(enum.IntEnum):
    ONE = 1


class Text(str): ...


class Int(int): ...


class Pair(NamedTuple):
    a: Any
    b: Any


class Other(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass(frozen=True)
class Config:
    """Not registered: a leaf."""

    value: Any
    name: str = "c"


@dataclasses.dataclass(frozen=True)
class OtherConfig:
    value: Any
    name: str = "c"


class Own:
    """Of which its own `__eq__` decides."""

    def __init__(self, key, seen):
        self.key, self.seen = key, seen

    def __eq__(self, other):
        return isinstance(other, Own) and self.key == other.key

    def __hash__(self):
        return hash(self.key)


@pytree_dataclass
class Node:
    x: Any
    tag: Static[Any]


@pytree_dataclass(slots=True)
class Slotted:
    x: Any
    tag: Static[Any]


@pytree_dataclass
class Typed:
    x: Float[Array, "n"]
    tag: Static[Any]


class Holder:
    def __init__(self, n):
        self.n = n

    def __call__(self):
        return self.n


@dataclasses.dataclass(frozen=True)
class HashableConfig:
    """Vouches for what it holds."""

    value: Any

    def __hash__(self):
        return 1


def describe(value: Any) -> str:
    """All that a program can tell: types at every depth, and what `repr` shows. Of arrays, that they are."""
    if isinstance(value, (jax.Array, np.ndarray)):
        return "array"
    if isinstance(value, (Node, Slotted)):
        return f"{type(value).__name__}({describe(value.x)}, {describe(value.tag)})"
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}({describe(value.value)})"
    if isinstance(value, dict):
        return f"{type(value).__name__}({', '.join(sorted(map(describe, value.items())))})"
    if isinstance(value, (tuple, list, frozenset)):
        return f"{type(value).__name__}({', '.join(map(describe, value))})"
    return f"{type(value).__name__} {value!r}"


# Each group compares equal, in parts at least, and no two of it are the same to a program.
GROUPS: dict[str, list[Any]] = {
    "ones": [1, 1.0, True, 1 + 0j, One.ONE, Int(1), fractions.Fraction(1), decimal.Decimal(1)],
    "zeros": [0, 0.0, -0.0, False, 0j, complex(-0.0, 0.0), complex(0.0, -0.0), complex(-0.0, -0.0)],
    "twos": [2, 2.0, 2 + 0j, fractions.Fraction(2), Int(2)],
    "strings": ["s", Text("s"), b"s"],
    "tuples": [(1, 2), (1.0, 2), (1, 2.0), (True, 2), Pair(1, 2), Other(1, 2), Pair(1.0, 2), Pair(True, 2)],
    "nested tuples": [
        (1, (2, (1,))),
        (1, (2, (1.0,))),
        (1, (2, (True,))),
        (1, Pair(2, (1,))),
        (1.0, (2, (1,))),
    ],
    "zeros in tuples": [(0.0,), (-0.0,), ((0.0,),), ((-0.0,),), Pair(0.0, 0), Pair(-0.0, 0), (0j,)],
    "frozensets": [frozenset(s) for s in ({1}, {1.0}, {True}, {(1, 2)}, {(1.0, 2)}, {0.0}, {-0.0})],
    "ranges": [range(3), range(0), range(1, 1), range(0, 3, 2), range(0, 4, 2)],
    "dataclasses": [Config(1), Config(1.0), Config(True), OtherConfig(1), Config((1,)), Config((1.0,))],
    "functions": [functools.partial(max, 1), functools.partial(max, 1.0), max, min, lambda: 1, lambda: 1],
    "classes": [int, float, bool, Pair, Other, type, np.float32, np.dtype("float32")],
}
# In a `Static` argument or field only: as leaves these are arrays, containers, or unhashable.
STATIC_GROUPS = GROUPS | {
    "numpy scalars": [np.int32(1), np.int64(1), np.float32(1), np.float64(1), np.bool_(True), 1, 1.0, True],
    "numpy scalars in tuples": [(np.int32(1),), (np.int64(1),), (np.float64(1),), (1,), (1.0,)],
    "numpy zeros": [np.float32(0), np.float32(-0.0), np.float64(0), np.float64(-0.0), 0.0, -0.0],
    "none": [None, (), (None,), 0, False, ""],
}


class Recorder:
    """A jitted function of one value, which says what it saw, and how often it was traced."""

    def __init__(self, make: Callable[[Callable[[Any], Any]], Callable[[Any], Any]]) -> None:
        self.runs = 0

        def body(value):
            self.runs += 1
            return describe(value), value

        self.call = make(body)

    def check(self, values: list[Any]) -> None:
        """Each value is seen as it is and traced once, whatever was compiled before."""
        for value in [*values, *reversed(values)]:
            for _ in range(8):  # what is called again and again may take a shorter way
                said, back = self.call(value)
                assert said == describe(value)
                assert describe(back) == describe(value) or "np." in said  # NumPy's come back as arrays
        assert self.runs == len(values)


def cases(groups: dict[str, list[Any]], *names: str) -> list[Any]:
    return [pytest.param(groups[name], id=name) for name in names or groups]


# ------------------------------------------------------------------------------------------ leaves and trees

CARRIERS: dict[str, Callable[[Any], Any]] = {
    "an argument": lambda value: value,
    "beside an array": lambda value: Pair(X, value),
    "deep in a tree": lambda value: {"a": [X, (Pair({"b": [value]}, X),)], "c": value},
    "in an ordered dictionary": lambda value: collections.OrderedDict(b=value, a=X),
}


@pytest.mark.parametrize("values", cases(GROUPS))
@pytest.mark.parametrize("carrier", CARRIERS)
def test_leaves_are_told_apart(carrier, values):
    carry = CARRIERS[carrier]
    Recorder(lambda body: filter_jit(lambda tree: body(tree))).check([carry(value) for value in values])


# ------------------------------------------------------------------------------------------- static arguments


def by_position(body):
    @filter_jit
    def f(value: Static[Any], x):
        return body(value)

    return lambda value: f(value, X)


def by_name(body):
    @filter_jit
    def f(x, *, value: Static[Any]):
        return body(value)

    return lambda value: f(X, value=value)


def among_many(body):
    @filter_jit
    def f(x, *args: Static[Any]):
        return body(args[1])

    return lambda value: f(X, "first", value)


def among_many_named(body):
    @filter_jit
    def f(x, **kwargs: Static[Any]):
        return body(kwargs["value"])

    return lambda value: f(X, other="other", value=value)


def bound_by_a_partial(body):
    def f(x, value: Static[Any]):
        return body(value)

    return lambda value: filter_jit(functools.partial(f, value=value))(X)


def of_a_method(body):
    class Plain:
        @filter_jit
        def f(self, value: Static[Any]):
            return body(value)

    return Plain().f


def below_a_gradient(body):
    def f(x, value: Static[Any]):
        return x.sum(), body(value)

    slope = filter_jit(filter_grad(f, has_aux=True))
    return lambda value: slope(X, value)[1]


def below_a_map(body):
    def f(x, value: Static[Any]):
        return body(value)

    mapped = filter_jit(filter_vmap(f))
    return lambda value: mapped(X, value)


def below_a_map_of_a_gradient_of_a_jit(body):
    def f(x, value: Static[Any]):
        return x, body(value)

    mapped = filter_vmap(filter_value_and_grad(filter_jit(f), has_aux=True))
    return lambda value: mapped(X, value)[0][1]


PLACES = [
    by_name,
    among_many,
    among_many_named,
    bound_by_a_partial,
    of_a_method,
    below_a_gradient,
    below_a_map,
]


@pytest.mark.parametrize("values", cases(STATIC_GROUPS))
def test_static_arguments_are_told_apart(values):
    Recorder(by_position).check(values)


@pytest.mark.parametrize("values", cases(STATIC_GROUPS, "ones", "zeros in tuples", "numpy scalars", "none"))
@pytest.mark.parametrize("place", PLACES)
def test_static_arguments_are_told_apart_in_every_place(place, values):
    Recorder(place).check(values)


@pytest.mark.parametrize(
    "values", cases({"ones": GROUPS["ones"], "zeros in tuples": GROUPS["zeros in tuples"]})
)
def test_static_arguments_are_told_apart_by_a_jit_deep_in_a_stack(values):
    recorder = Recorder(below_a_map_of_a_gradient_of_a_jit)
    for value in [*values, *reversed(values)]:
        said, back = recorder.call(value)
        assert said == describe(value)
        assert describe(back) == describe(value)


@pytest.mark.parametrize("values", cases(GROUPS, "ones", "zeros"))
def test_values_of_plain_annotations_are_told_apart(values):
    def make(body):
        @filter_jit(check=False)
        def f(value: float, x: Float[Array, "n"]):
            return body(value)

        return lambda value: f(value, X)

    Recorder(make).check(values)


# --------------------------------------------------------------------------------------------- static fields


@pytest.mark.parametrize("values", cases(STATIC_GROUPS))
def test_static_fields_are_told_apart(values):
    Recorder(filter_jit).check([Node(X, value) for value in values])


@pytest.mark.parametrize("values", cases(STATIC_GROUPS, "ones", "zeros in tuples"))
def test_static_fields_with_slots_are_told_apart(values):
    Recorder(filter_jit).check([Slotted(X, value) for value in values])


@pytest.mark.parametrize("values", cases(GROUPS, "ones", "tuples"))
def test_static_fields_are_told_apart_at_every_depth(values):
    for carry in (
        lambda value: [Node(Node(X, "inner"), value)],
        lambda value: {"a": (X, Node(Node(X, value), "outer"))},
        lambda value: Node([Node(X, value), Node(X, "s")], "outer"),
        lambda value: Pair(Node(None, value), "s"),
    ):
        Recorder(filter_jit).check([carry(value) for value in values])


@pytest.mark.parametrize("values", cases(GROUPS, "ones", "tuples"))
def test_static_fields_are_told_apart_where_the_annotation_says_arrays_only(values):
    def make(body):
        @filter_jit
        def f(node: Typed, x: Float[Array, "n"]):
            return body(Node(node.x, node.tag))

        return lambda node: f(Typed(node.x, node.tag), X)

    Recorder(make).check([Node(X, value) for value in values])


# ------------------------------------------------------------------------------------------------ dict keys

KEYS: dict[str, list[Any]] = {
    "ones": [1, 1.0, True, One.ONE, Int(1)],
    "zeros": [0, 0.0, -0.0, False],
    "strings": ["s", Text("s")],
    "tuples": [(1, 2), (1.0, 2), (True, 2), Pair(1, 2), (1, 2.0)],
    "ones in frozensets": [frozenset({1}), frozenset({1.0}), frozenset({True})],
}
DICTS: dict[str, Callable[[Any], Any]] = {
    "of arrays": lambda key: {key: X},
    "of static leaves": lambda key: {key: "s"},
    "of both": lambda key: {key: (X, "s")},
    "in a list": lambda key: [{"a": {key: X}}, "s"],
    "in a list of arrays": lambda key: [X, {key: X}],
    "ordered": lambda key: collections.OrderedDict([(key, X), ("s", "s")]),
    "with defaults": lambda key: collections.defaultdict(list, {key: X}),
    "in a field": lambda key: Node({key: X}, "s"),
    "in a dictionary of such keys": lambda key: {key: {key: X}},
    "empty below": lambda key: {key: {}},
}


@pytest.mark.parametrize("keys", cases(KEYS))
@pytest.mark.parametrize("kind", DICTS)
def test_the_keys_of_dictionaries_are_told_apart(kind, keys):
    Recorder(filter_jit).check([DICTS[kind](key) for key in keys])


@pytest.mark.parametrize("keys", cases(KEYS))
def test_the_keys_of_dictionaries_are_told_apart_where_the_annotation_says_arrays_only(keys):
    def make(body):
        @filter_jit(check=False)
        def f(tree: dict[Any, Float[Array, "n"]]):
            return body(tree)

        return f

    Recorder(make).check([{key: X} for key in keys])


@pytest.mark.parametrize("keys", cases(KEYS))
def test_the_keys_of_static_dictionaries_in_dataclasses_are_told_apart(keys):
    Recorder(by_position).check([HashableConfig({key: 1}) for key in keys])


# ---------------------------------------------------------------------------------- what is the same, and NaN


def nan() -> float:
    return float("inf") - float("inf")


@pytest.mark.parametrize(
    "make",
    [
        lambda: nan(),
        lambda: (1, (nan(), "s")),
        lambda: complex(nan(), 0.0),
        lambda: frozenset({nan()}),
        lambda: Config(nan()),
        lambda: [X, {"a": nan()}],
        lambda: Node(X, nan()),
        lambda: Node(X, (nan(),)),
    ],
)
def test_a_nan_is_traced_once(make):
    recorder = Recorder(filter_jit)
    for _ in range(3):
        recorder.call(make())
    assert recorder.runs == 1


@pytest.mark.parametrize("place", [by_position, *PLACES])
def test_a_nan_in_a_static_argument_is_traced_once(place):
    for make in (nan, lambda: (nan(),), lambda: np.float32("nan"), lambda: Config((nan(),))):
        recorder = Recorder(place)
        for _ in range(3):
            recorder.call(make())
        assert recorder.runs == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: 10**20,
        lambda: "".join(["s", "t"]),
        lambda: (1, (2.5, "s", frozenset({1, 2}))),
        lambda: Config((1, Config(2.0))),
        lambda: [X, {"a": Pair(1.5, b"s")}],
        lambda: {1: X, 2: "s"},
        lambda: Node(X, (1, Config(2.0))),
        lambda: decimal.Decimal("1.5"),
        lambda: range(10**20),
        lambda: np.dtype([("a", "i4")]),
    ],
)
def test_equal_values_that_were_made_anew_are_traced_once(make):
    recorder = Recorder(filter_jit)
    for _ in range(3):
        recorder.call(make())
    assert recorder.runs == 1


def test_of_other_classes_their_own_equality_and_their_exact_type_decide():
    class SubOwn(Own): ...

    values = [Own("a", 1), Own("a", 2), Own("b", 3), SubOwn("a", 4), Own("a", 5), SubOwn("a", 6)]
    for place in (filter_jit, by_position, lambda body: filter_jit(lambda t: body(t)), of_a_method):
        recorder = Recorder(place)
        seen = [recorder.call(value)[1].seen for value in values]
        assert seen == [1, 1, 3, 4, 1, 4]
        assert recorder.runs == 3


def test_instances_without_an_equality_of_their_own_are_themselves():
    class Plain: ...

    one, two = Plain(), Plain()
    recorder = Recorder(filter_jit)
    for value in (one, two, one, two):
        assert recorder.call(value)[1] is value
    assert recorder.runs == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda n: lambda: n,
        lambda n: functools.partial(lambda m: m, n),
        lambda n: Holder(n),
        lambda n: Holder(n).__call__,
        lambda n: type("Local", (), {"__new__": lambda cls: n}),
    ],
    ids=["function", "partial", "instance", "bound method", "class"],
)
@pytest.mark.parametrize(
    "carry",
    [lambda value: value, lambda value: [value, X], lambda value: Node(X, value), lambda value: (value,)],
)
def test_an_object_in_the_place_of_one_that_is_gone_is_not_taken_for_it(make, carry):
    def call(carried):
        return jax.tree.leaves(carried)[0] if not isinstance(carried, Node) else carried.tag

    static = filter_jit(lambda carried: call(carried)())

    @filter_jit
    def argument(value: Static[Any]):
        return value()

    for n in range(20):  # each is freed before the next is made, likely where it was
        assert static(carry(make(n))) == n
        assert argument(make(n)) == n


def test_a_field_that_is_not_compared_does_not_tell_dataclasses_apart():
    @dataclasses.dataclass(frozen=True)
    class Named:
        value: Any
        comment: str = dataclasses.field(compare=False, default="")

    recorder = Recorder(by_position)
    for value in (Named(1, "a"), Named(1, "b"), Named(1.0, "c")):
        recorder.call(value)
    assert recorder.runs == 2


def test_nodes_of_other_classes_are_told_apart():
    def registered(name):
        cls = dataclasses.make_dataclass(name, ["value", "tag"])
        return jax.tree_util.register_dataclass(cls, ["value"], ["tag"])

    one, two = registered("First"), registered("Second")
    trees = [cls(value, "t") for cls in (one, two) for value in (X, "s", (X, 1))]
    trees += [
        one(X, "u"),
        (X, "s"),
        [X, "s"],
        Pair(X, "s"),
        Other(X, "s"),
        {0: X, 1: "s"},
        {"a": X, "b": "s"},
    ]
    trees += [collections.OrderedDict(a=X, b="s"), collections.OrderedDict(b="s", a=X)]
    trees += [collections.defaultdict(int, a=X, b="s"), collections.defaultdict(list, a=X, b="s")]
    trees += [(X, ("s",)), ((X,), "s"), (X, "s", None), (X, "s", ()), X, "s", None, ()]
    runs = []

    @filter_jit
    def f(trees):
        runs.append(0)
        return jax.tree.map(lambda leaf: isinstance(leaf, jax.Array), trees)

    for order in (trees, trees[::-1], trees):
        for tree in order:
            for _ in range(8):
                (kinds,) = f([tree])
                assert type(kinds) is type(tree) or jax.tree_util.all_leaves([tree])
                assert jax.tree.leaves(kinds) == [tf.is_array(leaf) for leaf in jax.tree.leaves(tree)]
                assert list(kinds) == list(tree) if isinstance(tree, dict) else True
    assert len(runs) == len(trees)


def test_leaves_are_told_apart_from_one_another_by_their_places():
    recorder = Recorder(lambda body: filter_jit(lambda tree: body(tree)))
    recorder.check(
        [(1, 2.0), (1.0, 2), (2.0, 1), ((1, 2.0),), [1, 2.0], {"a": 1, "b": 2.0}, {"a": 2.0, "b": 1}]
    )


def test_what_is_static_once_and_traced_once_is_told_apart():
    runs = []

    @filter_jit
    def f(tree):
        runs.append(0)
        return jax.tree.map(lambda leaf: isinstance(leaf, jax.Array), tree)

    trees = [[1, X], [X, 1], [1, 1], [X, X], [None, X], [X, None]]
    for tree in [*trees, *reversed(trees)]:
        assert f(tree) == jax.tree.map(lambda leaf: isinstance(leaf, jax.Array), tree)
    assert len(runs) == len(trees)


# ------------------------------------------------------------------------------------ what it does to results


def test_the_dtype_the_branch_and_the_sign_are_those_of_the_value_that_is_passed():
    f = filter_jit(lambda x, n: x * n)
    n = jnp.arange(3)
    for value, dtype in itertools.chain.from_iterable(
        itertools.permutations([(2, "int32"), (2.0, "float32"), (2 + 0j, "complex64")])
    ):
        assert f(n, value).dtype == dtype

    @filter_jit
    def inverse(x, zero):
        return x / zero

    with np.errstate(divide="ignore"):
        for zero, expected in [(0.0, np.inf), (-0.0, -np.inf), (0.0, np.inf), (-0.0, -np.inf)]:
            assert inverse(X, zero)[0] == expected


@pytree_dataclass
class Settings:
    """Nothing of it is an array."""

    size: Static[Any]
    name: Static[str] = "a"


@pytree_dataclass
class Configured:
    w: Any
    settings: Static[Settings]


@pytest.mark.parametrize(
    "call",
    [
        lambda f, settings: f(jnp.ones(2), settings),
        lambda f, settings: f(jnp.ones(2), settings=settings),
        lambda f, settings: f(jnp.ones(2), (settings, 1)),
        lambda f, settings: f(Configured(jnp.ones(2), settings), 1),
    ],
    ids=["static", "by name", "inside", "in a field"],
)
@pytest.mark.parametrize("annotated", [False, True])
def test_equal_structures_without_arrays_are_one_program(call, annotated):
    traces = []

    def plain(x, settings):
        traces.append(settings)
        return x

    def static(x, settings: Static[Any]):
        traces.append(settings)
        return x

    f = filter_jit(static if annotated else plain)
    for _ in range(3):
        call(f, Settings(2))
    assert len(traces) == 1
    for other in (Settings(True), Settings(1), Settings(1.0), Settings(2, "b")):
        call(f, other)
    assert len(traces) == 5
