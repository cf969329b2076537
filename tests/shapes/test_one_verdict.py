"""One walk, two binders: what the check at run time and a proof say of the same values is the same."""

from __future__ import annotations

import collections
import dataclasses
import enum
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Concatenate,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
)

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import typing_extensions
from arrays import f32, i32
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Key, Num, PRNGKeyArray, PyTree, Shaped

from typedfilter import (
    Donate,
    ShapeError,
    Static,
    Traced,
    VmapAxis,
    check_shapes,
    filter_eval_shape,
    filter_jit,
    pytree_dataclass,
)
from typedfilter._reading.dims import Bindings
from typedfilter._reading.hints import parse
from typedfilter._reading.names import Scope
from typedfilter._shapes.bindings import RunTime
from typedfilter._shapes.walk import walk
from typedfilter.check.trials import compare

T = TypeVar("T")
Numbers = TypeVar("Numbers", Float[Array, "n"], Int[Array, "n"])
Bounded = TypeVar("Bounded", bound=Float[Array, "n"])
Quoted = TypeVar("Quoted", bound="Later")
Compared = TypeVar("Compared", bound="Sequence[Compared]")


Item = typing_extensions.TypeVar("Item")
Other = typing_extensions.TypeVar("Other", default=int)
Arguments = typing_extensions.ParamSpec("Arguments")
Items = typing_extensions.TypeVarTuple("Items")
Number = TypeVar("Number", bound=int)
Same = typing_extensions.TypeAliasType("Same", Item, type_params=(Item,))
Twice = typing_extensions.TypeAliasType("Twice", tuple[Item, Item], type_params=(Item,))
Swapped = typing_extensions.TypeAliasType("Swapped", dict[Other, Item], type_params=(Item, Other))
Several = typing_extensions.TypeAliasType("Several", tuple[*Items], type_params=(Items,))
Applied = typing_extensions.TypeAliasType("Applied", Callable[Arguments, Item], type_params=(Arguments, Item))
Nested = typing_extensions.TypeAliasType("Nested", "list[Nested] | Float[Array, 'n']")
Grown = typing_extensions.TypeAliasType("Grown", "Grown[list[Item]] | Item", type_params=(Item,))
Weights = NewType("Weights", Float[Array, "n"])


class Later:
    """What a bound in quotes names, since it comes after it."""


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Pair(NamedTuple):
    left: Float[Array, "n"]
    right: Float[Array, "n"]


class Options(TypedDict):
    rate: Float[Array, ""]
    name: typing.NotRequired[str]


class Base: ...


class Derived(Base): ...


class Level(enum.IntEnum):
    LOW = 1


class Late(TypedDict):
    rate: Annotated[typing_extensions.ReadOnly[typing_extensions.NotRequired[int]], "a note"]
    size: typing_extensions.Required[int]


class Boxed(typing_extensions.TypedDict, Generic[Item]):
    value: Item


class Closing(Protocol):
    def close(self) -> None: ...


@dataclasses.dataclass
class Box(Generic[T]):
    value: T


@pytree_dataclass
class Linear:
    weight: Float[Array, "out in"]
    bias: Float[Array, "out"]


@pytree_dataclass
class Net:
    first: Linear
    scale: Float[Array, ""]
    steps: Int[Array, ""]


@pytree_dataclass
class Named(Generic[T]):
    value: T
    own: Float[Array, "n"]


@pytree_dataclass
class Vector(Named[Float[Array, "n"]]): ...


@pytree_dataclass
class Wide:
    width: Static[int]
    weight: Float[Array, "{width} n"]
    padded: Float[Array, "n+1"]


@pytree_dataclass(check=False)
class Free:
    weight: Float[Array, "n n"]


@dataclasses.dataclass
class Unregistered:
    weight: Float[Array, "n n"]


def rebuilt(cls: Any, **values: Any) -> Any:
    """An instance as JAX puts one together: of anything."""
    instance = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(instance, name, value)
    return instance


def linear(weight: Any, bias: Any) -> Any:
    return rebuilt(Linear, weight=weight, bias=bias)


def net(first: Any, scale: Any, steps: Any) -> Any:
    return rebuilt(Net, first=first, scale=scale, steps=steps)


# Each row: a type, values that are of it, and values that are not.
TABLE: list[tuple[Any, list[Any], list[Any]]] = [
    (Float[Array, "n"], [f32(3)], [f32(), i32(3), np.float32([1]), [1.0], None]),
    (Float[Array, "n n"], [f32(2, 2)], [f32(2, 3)]),
    (Float[Array, "n n+1"], [f32(2, 3)], [f32(2, 2)]),
    (Float[Array, "n #n"], [f32(3, 1), f32(3, 3)], [f32(3, 2)]),
    (Float[Array, "*b n"], [f32(3), f32(2, 3)], [f32()]),
    (Float[Array, "... 3"], [f32(3), f32(2, 3)], [f32(), f32(2)]),
    (Float[Array, "rows=3 _"], [f32(3, 1)], [f32(2, 1), f32(3)]),
    (Num[Array, ""], [f32(), i32()], [jnp.zeros((), bool), 1.0]),
    (Bool[Array, "n"], [jnp.zeros(2, bool)], [i32(2)]),
    (Key[Array, ""], [jax.random.key(0)], [jax.random.PRNGKey(0)]),
    (PRNGKeyArray, [jax.random.key(0), jax.random.PRNGKey(0)], [f32(2)]),
    (Shaped[Any, "n"], [f32(3), np.zeros(3)], [f32(), "abc"]),
    (Float[np.ndarray, "n"], [np.zeros(3)], [f32(3), np.zeros(()), "abc"]),
    (Float[ArrayLike, ""], [f32(), np.zeros(()), 1.0], [f32(1), "abc"]),
    (Array, [f32(), i32(2)], [np.zeros(3), "abc", None]),
    (np.ndarray, [np.zeros(3)], [f32(3), "abc", [1.0]]),
    (np.ndarray[Any, np.dtype[np.float32]], [np.float32([1])], [np.zeros(3), f32(3), 1.0]),
    (ArrayLike, [np.zeros(3), f32(3), 1, 2.0, True], ["abc", None]),
    (np.float32, [np.float32(1)], [np.float64(1), 1.0, "abc"]),
    (jnp.float32, [f32(), np.float32(1)], [f32(1), i32()]),
    (int, [1, True], [1.0, "a", None, f32(), i32(), np.int64(1)]),
    (float, [1.0, 1, True], [1j, "a", None, f32(), i32()]),
    (complex, [1j, 1.0, 1], ["a", f32()]),
    (bool, [True], [1, np.bool_(True), jnp.zeros((), bool)]),
    (str, ["a"], [b"a", 1, None]),
    (None, [None], [0]),
    (Literal[1, "a"], [1, "a"], [True, 1.0, 2, "b"]),
    (Literal[True], [True], [1]),
    (Literal[Color.RED], [Color.RED], [Color.BLUE, 1]),
    (Color, [Color.RED], [1, "RED"]),
    (type[int], [int, bool], [str, 1]),
    (typing.Type[int], [int, bool], [str, 1]),
    (type, [int, str], [1]),
    (Callable[[int], int], [len, lambda x: x], [3]),
    (Float[Array, "n"] | None, [None, f32(3)], [f32(), 1.0]),
    (Float[Array, "n"] | Int[Array, "n m"], [f32(3), i32(3, 3)], [i32(3), f32(3, 3)]),
    (int | str, [1, "a"], [1.0, None]),
    (Any, [1, None, f32()], []),
    (object, [1, None, f32()], []),
    (T, [1, None, f32()], []),
    (Numbers, [f32(2), i32(2)], [f32(), "a"]),
    (Bounded, [f32(2)], [f32(), i32(2)]),
    (Quoted, [Later()], [f32(), 1]),
    (Compared, [[1], f32()], []),
    (Weights, [f32(3)], [f32()]),
    (NewType("Sums", Weights), [f32(3)], [f32()]),
    (Annotated[int, "note"], [1], ["a"]),
    (list[Annotated[Annotated[Float[Array, "n"], 1], 2]], [[f32(2), f32(2)]], [[f32(2), f32(3)]]),
    (Donate[Annotated[Annotated[Float[Array, "n"], "note"] | None, VmapAxis[1]]], [f32(2), None], [f32()]),
    (Annotated[Donate[Float[Array, "n"]], "note"] | None, [f32(2), None], [f32(), 1]),
    (Static[Twice[int]], [(1, 2)], [(1, "a"), (1,)]),
    (Same[Float[Array, "n"]], [f32(2)], [f32(), 1]),
    (Twice[Twice[int]], [((1, 2), (3, 4))], [((1, 2), (3, "a")), ((1, 2), 3)]),
    (Twice[Float[Array, "n"]], [(f32(2), f32(2))], [(f32(2), f32(3))]),
    (Swapped[int, str], [{"a": 1}], [{1: "a"}]),
    (Several[int, str], [(1, "a")], [(1, 2), (1,), ("a", 1)]),
    (Applied[[int], str], [len], [3]),
    (Nested, [f32(2), [f32(2), [f32(2)]]], ["a", (f32(2),)]),  # further down, whatever comes
    (Grown[int], [1, [1], [[[1]]]], []),
    (tuple[int, Unpack[tuple[str, ...]], float],  # noqa: UP044 (another form)
     [(1, 2.0), (1, "a", 2.0)], [(1,), (1, 2, 3.0)]),
    (tuple[int, *Items], [(1,), (1, "a")], [(), ("a",)]),
    (tuple[tuple[Float[Array, "n"], ...], ...], [((f32(2),), (f32(2),)), ()], [((f32(2),), (f32(3),))]),
    (Other, [1, "a"], []),
    (Number, [1, True], ["a", 1.0]),
    (typing.Self, [1, "a"], []),
    (Callable[Concatenate[int, Arguments], str], [len], [3]),
    (Literal[b"a", None, -1], [b"a", None, -1], ["a", 1, 0]),
    (Literal[Level.LOW, 2], [Level.LOW, 2], [1, True]),
    (type[int | str], [int, bool, str], [float, 1]),
    (type[Color], [Color], [int, Color.RED]),
    (Late, [{"size": 1}, {"size": 1, "rate": 2}], [{}, {"rate": 2}, {"size": 1, "rate": "a"}]),
    (Boxed[Float[Array, "n"]], [{"value": f32(2)}], [{"value": f32()}, {}]),
    (dict[Literal["a", "b"], Float[Array, "n"]], [{"a": f32(2), "b": f32(2)}], [{"c": f32(2)}]),
    (tuple[int, str], [(1, "a")], [(1,), ("a", 1), [1, "a"], (1, "a", 2)]),
    (tuple[Float[Array, "n"], Float[Array, "n"]], [(f32(2), f32(2))], [(f32(2), f32(3)), None]),
    (tuple[Float[Array, "n"], ...], [(), (f32(3), f32(3))], [(f32(3), f32(4)), [f32(3)]]),
    (tuple[int, *tuple[str, ...]], [(1,), (1, "a", "b")], [(), ("a",), (1, 2)]),
    (tuple[()], [()], [(1,)]),
    (tuple, [(), (1,)], [[]]),
    (list[Float[Array, "n"]], [[], [f32(3)] * 3], [[f32(3), f32(4)], (f32(3),)]),
    (list, [[], [1]], [()]),
    (Sequence[int], [[1], (1, 2)], [["a"], 1, {1}, "abc"]),
    (Sequence[str], [["a"], "abc"], [[1]]),
    (Iterable[Float[Array, "n"]], [[f32(2), f32(2)], (), iter([1])], [[f32(2), f32(2, 1)], 1, {"a": f32(2)}]),
    (Collection[int], [[1], {1}, {1: "a"}], [["a"], 1]),
    (set[int], [{1, 2}], [{1, "a"}, [1]]),
    (frozenset[str], [frozenset("a"), frozenset()], [frozenset({1}), {"a"}]),
    (collections.deque[int], [collections.deque([1])], [collections.deque(["a"]), [1]]),
    (dict[str, Float[Array, "n"]], [{}, {"a": f32(3)}], [{1: f32(3)}, {"a": f32(2), "b": f32()}]),
    (Mapping[str, int], [{"a": 1}, collections.OrderedDict(a=1)], [{"a": "b"}, [("a", 1)]]),
    (collections.Counter[str], [collections.Counter("a")], [collections.Counter([1]), {"a": 1}]),
    (Options, [{"rate": f32()}, {"rate": f32(), "name": "a"}],
     [{}, {"rate": f32(1)}, {"rate": f32(), "name": 1}, {"rate": f32(), "other": 1}, [("rate", f32())]]),
    (Pair, [Pair(f32(2), f32(2))], [Pair(f32(2), f32(3)), (f32(2), f32(2)), Pair(f32(2), None)]),
    (PyTree[Float[Array, "n"]], [f32(3), {"a": [f32(3)]}, None], [{"a": [f32(3), f32(2)]}, [1.0], ["b"]]),
    (PyTree[Float[Array, "?n"], "T"], [[f32(3), f32(2)]], [[f32(3), f32(2, 2)]]),
    (PyTree[Float[Array, "..."]], [[f32(3), {"a": f32()}]], [[f32(3), "a"], [i32()]]),
    (tuple[PyTree[Any, "S"], PyTree[Any, "S"]], [([1], [2])], [([1], [1, 2]), ([1], (1,))]),
    (PyTree[int], [[1, {"a": 2}]], [["a"], [1.0]]),
    (PyTree[tuple[int, int]], [[(1, 2)]], [[(1, "a")]]),
    (PyTree, [1, [f32()], None], []),
    (Base, [Base(), Derived()], [1, None, Base]),
    (Base | dict[str, int], [Base(), {"a": 1}], [{"a": "b"}, 3]),
    (Closing, [1, None], []),  # it is no runtime_checkable protocol: nobody can be asked
    (jaxtyping.Scalar, [f32(), i32()], [f32(1)]),
    (Box[Float[Array, "n"]], [Box(f32(2))], [Box(f32()), Box(1.0), 1]),
    (tuple[Box[Float[Array, "n"]], Float[Array, "n"]], [(Box(f32(2)), f32(2))], [(Box(f32(2)), f32(3))]),
    (Linear, [linear(f32(3, 2), f32(3)), linear(np.zeros((3, 2)), np.zeros(3))],
     [linear(f32(3, 2), f32(4)), linear(f32(3, 2), i32(3)), linear(f32(3), f32(3)), linear(f32(3, 2), [1.])]),
    (Linear, [linear(None, f32(3)), linear(None, None), linear("a", "b"), linear(True, False)],
     [linear(None, f32(3, 3)), linear("a", f32(3))]),
    (Linear, [linear(f32(5, 3, 2), f32(5, 3)), linear(f32(5, 4, 3, 2), f32(5, 4, 3))],  # stacks
     [linear(f32(5, 3, 2), f32(3)), linear(f32(5, 3, 2), f32(4, 3)), linear(f32(5, 3, 2), None)]),
    (list[Linear], [[linear(f32(3, 2), f32(3))] * 2, []], [[linear(f32(3, 2), f32(2))], [f32(3)]]),
    (dict[str, Linear] | None, [None, {"a": linear(f32(3, 2), f32(3))}], [{"a": linear(f32(3, 2), f32(2))}]),
    (PyTree[Linear], [(linear(f32(3, 2), f32(3)),)], [(linear(f32(3, 2), f32(2)),)]),
    (Net, [net(linear(f32(3, 2), f32(3)), 1.0, 2), net(linear(f32(3, 2), f32(3)), f32(), None),
           net(linear(f32(5, 3, 2), f32(5, 3)), f32(), i32()),
           net(linear(f32(3, 2), f32(3)), f32(), np.zeros((), jax.dtypes.float0))],
     [net(linear(f32(3, 2), f32(2)), f32(), i32()), net(linear(f32(3, 2), f32(3)), f32(1), i32()),
      net(linear(f32(3, 2), f32(3)), 1.0, 2.0), net(3, f32(), i32())]),
    (Named[Float[Array, "k"]], [rebuilt(Named, value=f32(2), own=f32(3))],
     [rebuilt(Named, value=f32(2, 2), own=f32(3)), rebuilt(Named, value=f32(2), own=f32())]),
    (tuple[Named[Float[Array, "k"]], Float[Array, "k"]], [(rebuilt(Named, value=f32(2), own=f32(3)), f32(2))],
     [(rebuilt(Named, value=f32(2), own=f32(3)), f32(3))]),
    (Vector, [rebuilt(Vector, value=f32(2), own=f32(2))], [rebuilt(Vector, value=f32(2), own=f32(3))]),
    (Wide, [rebuilt(Wide, width=3, padded=f32(3), weight=f32(3, 2))],
     [rebuilt(Wide, width=4, padded=f32(3), weight=f32(3, 2)),
      rebuilt(Wide, width=3, padded=f32(2), weight=f32(3, 2))]),
    (Free, [rebuilt(Free, weight=f32(3, 2))], [1]),
    (Unregistered, [Unregistered(f32(2, 2))], [Unregistered(f32(3, 2))]),
]  # fmt: skip


HERE = Scope.of_function(net)


def at_run_time(annotation: Any, value: Any, *, returned: bool = False) -> bool:
    with jaxtyping.jaxtyped("context"):
        return (
            walk(parse(annotation, HERE).kind, value, ("x",), RunTime(returned, numpy=not returned)) is None
        )


def in_a_proof(annotation: Any, value: Any, *, returned: bool = False) -> bool:
    try:
        compare.check(value, parse(annotation, HERE).kind, Bindings(returned=returned, numpy=not returned))
    except compare.MismatchError:
        return False
    return True


def test_the_table_has_sixty_forms_and_more():
    assert len(TABLE) >= 100


@pytest.mark.parametrize("returned", [False, True], ids=["argument", "result"])
@pytest.mark.parametrize(("annotation", "good", "bad"), TABLE, ids=range(len(TABLE)))
def test_the_check_at_run_time_and_a_proof_give_one_verdict(
    annotation: Any, good: list[Any], bad: list[Any], returned: bool
):
    for says in (at_run_time, in_a_proof):
        assert [value for value in good if not says(annotation, value, returned=returned)] == []
        assert [value for value in bad if says(annotation, value, returned=returned)] == []


@pytest.mark.parametrize(
    ("annotation", "traced", "fits"),
    [
        (float, f32(), True),
        (int, f32(), False),
        (int, i32(), True),
        (bool, i32(), False),
        (np.ndarray, f32(2), True),
        (np.float32, f32(), True),
        (Float[np.ndarray, "n"], f32(2), True),
        (Float[np.ndarray, "n"], f32(), False),
    ],
    ids=str,
)
def test_a_tracer_stands_for_the_value_that_was_traced(annotation: Any, traced: Array, fits: bool):
    said: list[bool] = []

    def body(x: Array) -> Array:
        said.extend(says(annotation, x) for says in (at_run_time, in_a_proof))
        # What a function makes is no NumPy array and no number, unless it was given some.
        said.extend(says(annotation, x, returned=True) for says in (at_run_time, in_a_proof))
        return x

    jax.eval_shape(body, traced)
    assert said == [fits, fits, False, False]


def a_scalar(x: Float[Array, "n"]) -> float:
    return x.sum()  # type: ignore[return-value]  # on purpose, as in all of these


def a_traced_scalar(x: Traced[float]) -> float:
    return 2 * x


def an_int(x: Float[Array, "n"]) -> int:
    return x.size


def a_numpy_scalar(x: Float[Array, "n"]) -> np.float32:
    return x.sum()  # type: ignore[return-value]


def a_numpy_array(x: Float[Array, "n"]) -> np.ndarray:
    return x  # type: ignore[return-value]


def a_typed_numpy_array(x: Float[Array, "n"]) -> Float[np.ndarray, "n"]:
    return x  # type: ignore[return-value]


def a_set_of_ints(x: Float[Array, "n"]) -> frozenset[str]:
    return frozenset({1})  # pyright: ignore[reportReturnType]  # that is the point


def another_class(x: Float[Array, "n"]) -> type[int]:
    return str  # type: ignore[return-value]


def unequal(x: Float[Array, "n"]) -> Iterable[Float[Array, "n"]]:
    return [x, x[None]]


def without_its_key(x: Float[Array, "n"]) -> Options:
    return {}  # type: ignore[typeddict-item]


def with_another_key(x: Float[Array, "n"]) -> Options:
    return {"rate": x.sum(), "other": 1}  # type: ignore[typeddict-unknown-key]


def letters(x: Float[Array, "n"]) -> Sequence[int]:
    return "abc"  # type: ignore[return-value]


def true(x: Float[Array, "n"]) -> Literal[1]:
    return True  # type: ignore[return-value]


def none_in_a_field(x: Float[Array, "n"]) -> Pair:
    return Pair(x, None)


FUNCTIONS = [
    (a_scalar, False),
    (a_traced_scalar, True),
    (an_int, True),
    (a_numpy_scalar, False),
    (a_numpy_array, False),
    (a_typed_numpy_array, False),
    (a_set_of_ints, False),
    (another_class, False),
    (unequal, False),
    (without_its_key, False),
    (with_another_key, False),
    (letters, False),
    (true, False),
    (none_in_a_field, False),
]


@pytest.mark.parametrize(("fn", "good"), FUNCTIONS, ids=[fn.__name__ for fn, _ in FUNCTIONS])
def test_a_function_that_runs_is_proved_and_one_that_is_refused_fails(fn: Callable[..., Any], good: bool):
    assert check_shapes(fn).status == ("proved" if good else "failed")
    argument = 2.0 if fn is a_traced_scalar else f32(3)
    if good:
        filter_jit(fn)(argument)
        return
    with pytest.raises(ShapeError, match="the return value"):
        filter_jit(fn)(argument)


@pytree_dataclass
class Layer:
    weight: Float[Array, "out in"]

    def transposed(self, x: Float[Array, "in"]) -> Float[Array, "out"]:
        return x * 2

    def applied(self, x: Float[Array, "in"]) -> Float[Array, "out"]:
        return self.weight @ x

    def of_another(self, other: Layer) -> Float[Array, "out"]:
        return other.weight[:, 0]

    def own(self, other: Layer) -> Float[Array, "out"]:
        return self.weight[:, 0] * other.weight.sum()

    def doubled(self, x: Float[Array, "in"]) -> Float[Array, "2*out"]:
        return jnp.concatenate([x, x])


@pytree_dataclass
class Deep:
    layer: Layer
    scale: Float[Array, ""]


def of_one_in_another(deep: Deep, x: Float[Array, "in"]) -> tuple[Float[Array, "out"], Float[Array, ""]]:
    return x, deep.scale


def in_a_list(layers: list[Layer], x: Float[Array, "in"]) -> Float[Array, "out"]:
    return x


def of_an_argument(layer: Layer, x: Float[Array, "out"]) -> Float[Array, "out"]:
    return layer.weight[:, 0]


WIDE = Layer(f32(3, 2))
OWNED: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (Layer.transposed, (WIDE, f32(2)), "out=3, bound by `self.weight`"),
    (Layer.applied, (WIDE, f32(2)), ""),
    (Layer.own, (WIDE, Layer(f32(4, 2))), ""),
    (Layer.doubled, (WIDE, f32(2)), "needs 2*out = 6 on axis 0, with out=3, bound by `self.weight`"),
    (of_one_in_another, (Deep(WIDE, f32()), f32(2)), "out=3, bound by `deep.layer.weight`"),
    (in_a_list, ([WIDE, WIDE], f32(2)), ""),  # of several none says what the name is
]


@pytest.mark.parametrize(("fn", "arguments", "said"), OWNED, ids=[fn.__name__ for fn, *_ in OWNED])
def test_a_name_that_only_the_result_has_is_that_of_the_one_instance(
    fn: Callable[..., Any], arguments: tuple[Any, ...], said: str
):
    assert check_shapes(fn).status == ("failed" if said else "proved")
    for _ in range(2):  # the second call is one that is known
        if not said:
            filter_eval_shape(fn, *arguments)
            continue
        with pytest.raises(ShapeError) as raised:
            filter_eval_shape(fn, *arguments)
        assert said in str(raised.value)


BESIDE = "where out of `{}` is that of the arguments beside it; for all sizes"


@pytest.mark.parametrize(
    ("fn", "other", "proof", "said"),
    [
        (of_an_argument, f32, BESIDE.format("layer"),
         "needs out=4, bound by `x`"),
        (Layer.of_another, lambda n: Layer(f32(n, 2)), BESIDE.format("other"),
         "needs out=3, bound by `self.weight`"),
    ],
    ids=["an argument", "self"],
)  # fmt: skip
def test_a_proof_says_which_names_it_takes_for_one_where_instances_bind_them_apart(
    fn: Callable[..., Any], other: Callable[[int], Any], proof: str, said: str
):
    (result,) = check_shapes(fn)
    assert result.message == proof
    filter_eval_shape(fn, WIDE, other(3))
    with pytest.raises(ShapeError, match=said):
        filter_eval_shape(fn, WIDE, other(4))


def turned(layer: Layer) -> Layer:
    return Layer(layer.weight.T)


def grown(layer: Layer) -> Layer:
    return Layer(jnp.concatenate([layer.weight, layer.weight]))


@pytest.mark.parametrize(("fn", "by_letter"), [(turned, True), (grown, False)], ids=["turned", "grown"])
def test_a_returned_instance_has_sizes_of_its_own_in_both(fn: Callable[..., Any], by_letter: bool):
    (result,) = check_shapes(fn)
    assert (result.status, result.by_letter) == ("proved", by_letter)
    assert result.message.startswith("with sizes of its own in the instance that it returns")
    filter_eval_shape(fn, WIDE)


def test_a_returned_instance_lacks_no_axis_in_either():
    def flat(layer: Layer) -> Layer:
        return Layer(layer.weight.reshape(-1))

    (result,) = check_shapes(flat)
    assert result.status == "failed"
    with pytest.raises(ShapeError):
        filter_eval_shape(flat, WIDE)
