"""The fields of models: checked where somebody makes one, and where one is passed to a checked body."""

from __future__ import annotations

import collections
import copy
import dataclasses
import pickle
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, Int, Key, PyTree
from refusals import lines

from typedfilter import (
    AnnotationError,
    NoDiff,
    ShapeError,
    Static,
    Traced,
    VmapAxis,
    combine,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_vmap,
    is_inexact_array,
    partition,
    pytree_dataclass,
)
from typedfilter.errors import CheckWarning

T = TypeVar("T")


@pytree_dataclass
class Linear:
    weight: Float[Array, "out in"]
    bias: Float[Array, "out"]

    def __call__(self, x: Float[Array, "in"]) -> Float[Array, "out"]:
        return self.weight @ x + self.bias


@pytree_dataclass
class Net:
    hidden: Linear
    readout: Linear
    scale: NoDiff[Float[Array, ""]] = 1.0


@pytree_dataclass
class Counter:
    weight: Float[Array, "n"]
    steps: Int[Array, ""]
    key: Key[Array, ""]


W, B = jnp.ones((3, 2)), jnp.ones(3)
LINEAR = Linear(W, B)
WRONG = jax.tree.unflatten(jax.tree.structure(LINEAR), [W, jnp.ones(4)])
COUNTER = Counter(B, jnp.array(1), jax.random.key(0))


def text(call: Callable[[], Any], kind: type[Exception] = ShapeError) -> str:
    with pytest.raises(kind) as e:
        call()
    return str(e.value)


def first_line(call: Callable[[], Any]) -> str:
    return text(call).splitlines()[0]


# ------------------------------------------------------------------------------------ constructed by a user


def test_a_field_that_disagrees_with_another_names_both():
    assert text(lambda: Linear(W, jnp.ones(4))) == lines(
        "Linear(): argument `bias` is f32[4], but Float[Array, 'out'] needs out=3, bound by `weight`",
        "expected: Float[Array, 'out'] with out=3",
        "found: f32[4]",
        "fix: make axis 0 of `bias` 3 long, or rename the dimension in one of the annotations",
    )


def test_the_error_ends_at_the_line_that_constructs():
    with pytest.raises(ShapeError) as e:
        Linear(W, jnp.ones(4))
    frames = traceback.extract_tb(e.value.__traceback__)
    assert [frame.line for frame in frames] == ["Linear(W, jnp.ones(4))"]


@pytest.mark.parametrize(
    ("weight", "bias", "problem"),
    [
        (W, None, "argument `bias` is None, but Float[Array, 'out'] needs an array"),
        ([[1.0]], B, "argument `weight` is a list of 1, but Float[Array, 'out in'] needs an array"),
        (W, jnp.ones(3, int), "argument `bias` is i32[3], but Float[Array, 'out'] needs dtype Float"),
        (W, "b", "argument `bias` is a str, but Float[Array, 'out'] needs an array"),
        (W[0], B, "argument `weight` is f32[2], but Float[Array, 'out in'] needs 2 axes"),
        (W, np.ones(4), "argument `bias` is f32[4], but Float[Array, 'out'] needs out=3, bound by `weight`"),
        (
            jax.ShapeDtypeStruct((3, 2), jnp.float32),
            jax.ShapeDtypeStruct((4,), jnp.float32),
            "argument `bias` is f32[4], but Float[Array, 'out'] needs out=3, bound by `weight`",
        ),
    ],
    ids=["none", "list", "dtype", "string", "rank", "numpy", "struct"],
)
def test_what_no_parameter_would_take_no_field_takes(weight: Any, bias: Any, problem: str):
    assert first_line(lambda: Linear(weight, bias)) == f"Linear(): {problem}"


def test_what_becomes_an_array_may_wait_in_a_field():
    assert Linear(np.ones((3, 2)), np.ones(3)).bias.dtype == np.float64  # a field keeps what it is given
    assert Net(LINEAR, LINEAR, 2.0).scale == 2.0
    struct = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert Linear(jax.ShapeDtypeStruct((3, 2), jnp.float32), struct).bias is struct


def test_tracers_are_checked_by_their_shapes():
    def make(w: Array, b: Array) -> Linear:
        return Linear(w, b)

    assert filter_eval_shape(make, W, B).bias.shape == (3,)
    assert first_line(lambda: filter_eval_shape(make, W, jnp.ones(4))).startswith("Linear(): argument `bias`")


def test_what_can_name_no_dimension_is_left_to_type_checkers():
    @pytree_dataclass
    class Config:
        width: Static[int]
        rate: Traced[float]
        weight: Float[Array, "n"]
        name: str = ""

    Config("3", "fast", B, 1)
    assert "`weight` is f32[]" in first_line(lambda: Config("3", "fast", B[0]))


def test_an_instance_of_another_class_is_no_layer():
    assert text(lambda: Net(LINEAR, COUNTER, jnp.ones(()))) == lines(
        "Net(): argument `readout` is a Counter, but Linear is expected",
        "expected: Linear",
        "found: a Counter",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_a_default_is_right_whatever_it_is():
    @pytree_dataclass
    class Layer:
        weight: Float[Array, "n"]
        bias: Float[Array, "n"] = None
        extra: Float[Array, "n"] | None = None

    Layer(B)
    assert "`bias` is f32[2]" in first_line(lambda: Layer(B, jnp.ones(2)))
    assert "`extra` is f32[2]" in first_line(lambda: Layer(B, B, jnp.ones(2)))


def test_what_a_post_init_or_a_factory_makes_is_checked_when_it_is_made():
    @pytree_dataclass
    class Layer:
        n: dataclasses.InitVar[int]
        kind: ClassVar[int] = 3
        weight: Float[Array, "n"] = dataclasses.field(init=False)
        rest: list[Float[Array, "n"]] = dataclasses.field(default_factory=list)

        def __post_init__(self, n: int) -> None:
            object.__setattr__(self, "weight", jnp.ones(() if n > 5 else n))

    assert Layer(3, rest=[B]).weight.shape == (3,)
    assert "`weight` is f32[]" in first_line(lambda: Layer(7))
    assert "`rest[1]` is f32[2]" in first_line(lambda: Layer(3, rest=[B, jnp.ones(2)]))


def test_a_constructor_of_the_user_s_own_is_checked_once_it_is_done():
    @pytree_dataclass
    class Base:
        weight: Float[Array, "n m"]

        def __init__(self, n: int) -> None:
            object.__setattr__(self, "weight", jnp.ones((n, 2)))

    @pytree_dataclass
    class Derived(Base):
        bias: Float[Array, "m"]

        def __init__(self, n: int) -> None:
            super().__init__(n)  # its instance has no bias yet
            object.__setattr__(self, "bias", jnp.ones(n))

    Derived(2)
    assert "Derived(): argument `bias` is f32[3]" in first_line(lambda: Derived(3))


def test_a_generic_base_says_what_its_fields_are():
    @pytree_dataclass
    class Box(Generic[T]):
        value: T

    @pytree_dataclass
    class Vector(Box[Float[Array, "n"]]):
        other: Float[Array, "n"]

    @pytree_dataclass
    class Labelled(Vector, Generic[T]):  # with a type variable of the same name that is not that of the base
        label: T

    @filter_jit
    def body(labelled: Labelled[Float[Array, "k"]], x: Float[Array, "k"]) -> None: ...

    Box("anything")
    Vector(B, B)
    body(Labelled(B, B, W[0]), W[0])
    assert first_line(lambda: body(Labelled(B, B, B), W[0])).endswith("needs k=3, bound by `labelled.label`")
    assert first_line(lambda: Vector(B, jnp.ones(2))).endswith("needs n=3, bound by `value`")
    assert first_line(lambda: Vector(W, B)).startswith("Vector(): argument `value` is f32[3,2]")


def test_dimensions_may_be_computed_from_fields_and_from_other_dimensions():
    @pytree_dataclass
    class Padded:
        padded: Float[Array, "n+1"]
        width: Static[int]
        weight: Float[Array, "{width} n"]

    Padded(B, 3, W)
    assert "needs 4 on axis 0" in first_line(lambda: Padded(B, 4, W))
    assert "needs n+1 = 3 on axis 0, with n=2, bound by `weight`" in first_line(lambda: Padded(W[0], 3, W))

    @pytree_dataclass
    class Unbound:
        width: Static[int]
        weight: Float[Array, "width+1"]

    assert text(lambda: Unbound(2, B), AnnotationError) == lines(
        "Unbound(): argument `weight` is annotated Float[Array, 'width+1'], but no field binds `width`",
        "fix: use `width` alone in another field, or write the size out",
    )


def test_a_name_that_is_defined_later_is_found_at_the_first_construction():
    namespace: dict[str, Any] = {"pytree_dataclass": pytree_dataclass, "__name__": __name__}
    exec("@pytree_dataclass\nclass Layer:\n    weight: 'Weight'", namespace)
    Layer = namespace["Layer"]
    globals()["Weight"] = Float[Array, "n"]
    try:
        Layer(B)
        assert first_line(lambda: Layer(B[0])).startswith("Layer(): argument `weight` is f32[], but")
    finally:
        del globals()["Weight"]


def test_what_nobody_constructs_is_not_checked():
    tree = jax.tree.structure(LINEAR)
    for leaves in ([None, None], [object(), "b"], [B, W], [B, None]):
        made = jax.tree.unflatten(tree, leaves)
        assert [made.weight, made.bias] == leaves
    assert jax.tree.map(jnp.linalg.norm, LINEAR).weight.shape == ()
    assert copy.copy(WRONG).bias.shape == copy.deepcopy(WRONG).bias.shape == (4,)
    assert pickle.loads(pickle.dumps(WRONG)).bias.shape == (4,)
    assert "`bias` is f32[4]" in first_line(lambda: dataclasses.replace(WRONG, weight=W))


def test_a_tree_of_no_arrays_is_one_of_axes_masks_or_shardings():
    spec = jax.sharding.PartitionSpec("x")
    for weight, bias in ((0, None), (None, 0), (True, False), (spec, spec), ("adam", "sgd")):
        assert Linear(weight, bias).weight is weight
    Net(spec, None, 0)
    axes = Linear(None, 0)
    mapped = filter_vmap(lambda m: m.bias, in_axes=(axes,))(jax.tree.map(lambda x: x, Linear(W, B)))
    assert mapped.shape == (3,)
    assert "`bias` is a str" in first_line(lambda: Linear(W, "sgd"))


def test_gradients_can_be_replaced_field_by_field():
    gradient = filter_grad(lambda model: (model.weight**2).sum())(COUNTER)
    assert (gradient.steps, gradient.key) == (None, None)
    clipped = dataclasses.replace(gradient, weight=jnp.clip(gradient.weight, -1, 1))
    assert jnp.array_equal(clipped.weight, jnp.ones(3))


def test_a_model_of_a_stack_may_be_made_by_hand():
    stacked = Linear(jnp.stack([W, W]), jnp.stack([B, B]))
    assert filter_vmap(lambda layer: layer(jnp.ones(2)))(stacked).shape == (2, 3)
    assert "`weight` is f32[2,3,2]" in first_line(lambda: Linear(jnp.stack([W, W]), B))

    @pytree_dataclass
    class Scale:
        factor: Float[Array, "n"]

    assert filter_vmap(lambda scale: scale.factor.sum())(Scale(W)).shape == (3,)  # to be mapped over
    assert "`factor` is f32[]" in first_line(lambda: Scale(B[0]))


# ------------------------------------------------------------------------------------------------- switches


@pytest.mark.parametrize("where", ["class", "variable", "transform"])
def test_checks_of_fields_can_be_turned_off(where: str, monkeypatch: pytest.MonkeyPatch):
    if where == "variable":
        monkeypatch.setenv("TYPEDFILTER_CHECK", "off")

    @pytree_dataclass(check=where != "class")
    class Square:
        weight: Float[Array, "n n"]

    @filter_jit(check=where != "transform")
    def make(square: Square) -> Array:
        return Square(W).weight + square.weight

    wrong = jax.tree.unflatten(jax.tree.structure(Square(jnp.ones((2, 2)))), [W])
    assert make(wrong).shape == (3, 2)


@pytest.mark.parametrize("where", ["class", "variable", "transform"])
def test_checks_of_fields_can_warn_once_for_each_field(where: str, monkeypatch: pytest.MonkeyPatch):
    if where == "variable":
        monkeypatch.setenv("TYPEDFILTER_CHECK", "warn")

    @pytree_dataclass(check="warn" if where == "class" else True)
    class Square:
        weight: Float[Array, "n n"]

    @filter_vmap(check="warn" if where == "transform" else True, in_axes=None, axis_size=1)
    def make(square: Square) -> Array:
        return Square(W).weight + square.weight

    wrong = jax.tree.unflatten(jax.tree.structure(Square(jnp.ones((2, 2)))), [W])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):
            assert make(wrong).shape == (1, 3, 2)
    assert [one.category for one in found] == [CheckWarning] * 2
    assert [str(one.message).split(" is ")[0].rpartition(".<locals>.")[2] for one in found] == [
        "make(): argument `square.weight`",
        "Square(): argument `weight`",
    ]
    assert {one.filename for one in found} == {__file__}


def test_a_subclass_has_an_option_of_its_own():
    @pytree_dataclass(check=False)
    class Base:
        weight: Float[Array, "n n"]

    @pytree_dataclass
    class Derived(Base): ...

    Base(W)
    assert "Derived(): argument `weight`" in first_line(lambda: Derived(W))


# ---------------------------------------------------------------------------------------------- across a body


@filter_jit
def apply(m: Linear, x: Float[Array, "in"]) -> Float[Array, "out"]:
    return m.weight @ x


def test_a_field_of_an_argument_is_named_with_the_argument():
    assert text(lambda: apply(WRONG, jnp.ones(2))) == lines(
        "apply(): argument `m.bias` is f32[4], but Float[Array, 'out'] needs out=3, bound by `m.weight`",
        "expected: Float[Array, 'out'] with out=3",
        "found: f32[4]",
        "fix: make axis 0 of `m.bias` 3 long, or rename the dimension in one of the annotations",
    )


def test_a_compiled_call_does_not_look():
    seen: list[int] = []

    @filter_jit
    def body(model: Linear) -> Array:
        seen.append(1)
        return model.bias

    for _ in range(3):
        body(LINEAR)
    assert seen == [1]


def test_models_inside_of_models_and_containers_are_looked_into():
    @filter_jit
    def body(nets: dict[str, list[Net]], tree: PyTree[Linear]) -> None: ...

    body({"a": [Net(LINEAR, LINEAR)]}, (LINEAR,))
    wrong = Net(LINEAR, WRONG)
    assert 'argument `nets["a"][0].readout.bias`' in first_line(lambda: body({"a": [wrong]}, LINEAR))
    assert "argument `tree[1].bias`" in first_line(lambda: body({}, (LINEAR, WRONG)))


def test_each_instance_binds_for_itself_alone():
    @filter_jit
    def body(first: Linear, second: Linear, x: Float[Array, "in"], b: Float[Array, "out"]) -> None: ...

    body(LINEAR, Linear(jnp.ones((5, 4)), jnp.ones(5)), jnp.ones(7), jnp.ones(8))


def test_type_arguments_bind_where_they_are_written():
    @pytree_dataclass
    class Box(Generic[T]):
        value: T
        own: Float[Array, "n"]

    @filter_jit
    def body(box: Box[Float[Array, "n"]], x: Float[Array, "n"]) -> None: ...

    body(Box(B, W[0]), B)
    assert first_line(lambda: body(Box(B, B), W[0])).endswith("needs n=3, bound by `box.value`")
    assert "argument `box.value` is f32[3,2]" in first_line(lambda: body(Box(W, B), B))


def test_what_a_function_returns_is_looked_into():
    @filter_jit
    def body(x: Float[Array, "n"]) -> Linear:
        return jax.tree.unflatten(jax.tree.structure(LINEAR), [x, x])

    assert first_line(lambda: body(B)).endswith(
        "is f32[3] at `.weight`, but Float[Array, 'out in'] needs 2 axes"
    )


def test_the_receiver_of_a_method_needs_no_annotation():
    @pytree_dataclass
    class Layer:
        left: Float[Array, "n"]
        right: Float[Array, "n"]

        @filter_jit
        def add(self, x: Float[Array, "k"]) -> Float[Array, "k"]:
            return x + self.left.sum()

        def __call__(self, x: Float[Array, "k"]) -> Float[Array, "k"]:
            return x

    layer = Layer(B, B)
    wrong = jax.tree.unflatten(jax.tree.structure(layer), [B, jnp.ones(4)])
    assert layer.add(W[0]).shape == (2,)
    for call in (
        wrong.add,
        filter_jit(wrong),
        filter_vmap(wrong, in_axes=None, axis_size=1),
        filter_jit(wrong.__call__),
    ):
        assert "argument `self.right` is f32[4]" in first_line(lambda call=call: call(B))


def test_inside_of_a_vmap_a_model_is_one_example_and_outside_a_stack():
    ensemble = filter_vmap(lambda key: Linear(jax.random.normal(key, (3, 2)), B))(
        jax.random.split(jax.random.key(0))
    )
    assert filter_vmap(Linear.__call__, in_axes=(0, None))(ensemble, jnp.ones(2)).shape == (2, 3)

    @filter_jit
    def predict(models: Linear, x: Float[Array, "in"]) -> Float[Array, "k out"]:
        return filter_vmap(lambda model, x: model(x), in_axes=(0, None))(models, x)

    assert predict(ensemble, jnp.ones(2)).shape == (2, 3)
    torn = jax.tree.unflatten(jax.tree.structure(LINEAR), [ensemble.weight, B])
    assert "argument `models.weight` is f32[2,3,2]" in first_line(lambda: predict(torn, jnp.ones(2)))

    @pytree_dataclass
    class Scale:
        factor: Float[Array, "n"]

    @filter_jit
    def scaled(scale: Scale) -> Array:
        return scale.factor

    stacked = jax.tree.map(lambda x: x[None], Scale(B))  # one array alone is no evidence of a stack
    assert "argument `scale.factor` is f32[1,3]" in first_line(lambda: scaled(stacked))
    assert filter_jit(lambda scale: scale.factor)(stacked).shape == (1, 3)


def test_a_field_that_chooses_its_axis_has_it_or_not():
    @pytree_dataclass
    class Layer:
        weight: Annotated[Float[Array, "n"], VmapAxis[1]]
        bias: Float[Array, "n"]

    @filter_vmap
    def body(layer: Layer) -> Float[Array, "n"]:
        return layer.weight + layer.bias

    assert body(Layer(jnp.ones((3, 4)), jnp.ones((4, 3)))).shape == (4, 3)
    Layer(B, B)


def test_filtered_models_may_lack_what_was_filtered():
    @filter_jit
    def update(model: Counter, gradient: Counter) -> Counter:
        return jax.tree.map(
            lambda p, g: p if g is None else p - g, model, gradient, is_leaf=lambda x: x is None
        )

    @filter_jit
    def joined(params: Counter, rest: Counter) -> Counter:
        return combine(params, rest)

    gradient = filter_grad(lambda model: (model.weight**2).sum() / 2)(COUNTER)
    assert jnp.array_equal(update(COUNTER, gradient).weight, jnp.zeros(3))
    assert jnp.array_equal(joined(*partition(COUNTER, is_inexact_array)).weight, B)
    short = jax.tree.map(lambda g: g[None], gradient)
    assert "argument `gradient.weight` is f32[1,3]" in first_line(lambda: update(COUNTER, short))


def test_models_of_other_libraries_are_looked_into():
    equinox = pytest.importorskip("equinox")

    class Layer(equinox.Module):
        left: Float[Array, "n"]
        right: Float[Array, "n"]

    @filter_jit
    def body(layer: Layer) -> None: ...

    body(Layer(B, B))
    assert "argument `layer.right` is f32[2]" in first_line(lambda: body(Layer(B, W[0])))


class Frozen(collections.UserDict[str, Any]):
    """As the `FrozenDict` by which Flax annotates what is a dictionary most of the time."""


@pytest.mark.parametrize("held", ["itself", "optional", "in a list", "in a dictionary"])
def test_a_field_of_somebody_else_may_hold_another_class_than_it_says(held: str):
    said, given = {
        "itself": (Frozen, {"a": B}),
        "optional": (Frozen | None, {"a": B}),
        "in a list": (list[Frozen], [{"a": B}]),
        "in a dictionary": (dict[str, Frozen], {"b": {"a": B}}),
    }[held]

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class State:
        params: said
        left: Float[Array, "n"]
        right: Float[Array, "n"]

    @filter_jit
    def body(state: State) -> None: ...

    body(State(given, B, B))
    assert "argument `state.right` is f32[2]" in first_line(lambda: body(State(given, B, W[0])))


def test_what_jax_does_not_look_into_is_no_model():
    class Plain:
        weight: Float[Array, "n"]

    @filter_jit
    def body(plain: Plain) -> None: ...

    plain = Plain()
    plain.weight = W
    body(plain)


def test_what_was_seen_to_fit_is_not_asked_of_jaxtyping_again(monkeypatch: pytest.MonkeyPatch):
    asked: collections.Counter[str] = collections.Counter()
    meta: Any = type(Float[Array, "n"])
    before = meta.__instancecheck__

    def counted(cls: Any, value: Any) -> bool:
        asked["once"] += 1
        return bool(before(cls, value))

    @pytree_dataclass
    class Layer:
        left: Float[Array, "n"]
        right: Float[Array, "n"]

    monkeypatch.setattr(meta, "__instancecheck__", counted)
    Layer(B, B)
    assert asked["once"] == 2
    for _ in range(5):
        Layer(2 * B, B)
    assert asked["once"] == 2
    assert "`right` is f32[2]" in first_line(lambda: Layer(B, W[0]))
