"""`filter_scan`: what is stepped through, carried and stacked; which programs are shared; what is freed."""

from __future__ import annotations

import functools
import gc
import weakref
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from typedfilter import (
    ScanAxis,
    ShapeError,
    Static,
    VmapAxis,
    VmapAxisError,
    filter_checkpoint,
    filter_grad,
    filter_jit,
    filter_make_jaxpr,
    filter_scan,
    filter_vmap,
    pytree_dataclass,
)

X = jnp.arange(6.0).reshape(3, 2)


class Counted:
    """How often a function was traced."""

    def __init__(self) -> None:
        self.traces = 0


def counting(counted: Counted, name: str = "step") -> Any:
    def step(carry: Any, x: Any) -> Any:
        counted.traces += 1
        return {**carry, "sum": carry["sum"] + x}, None

    return step


@pytree_dataclass
class Layer:
    """One layer, or a stack of them."""

    w: Float[Array, "*layers n n"]
    b: Float[Array, "*layers n"]
    name: str = "layer"
    scale: float = 0.5

    def __call__(self, x: Any) -> Any:
        assert isinstance(self.scale, float)
        return jnp.tanh(x @ self.w + self.b) * self.scale


def make(key: Any) -> Layer:
    return Layer(jax.random.normal(key, (2, 2)), jax.random.normal(key, (2,)))


STACKED = filter_vmap(make)(jax.random.split(jax.random.key(0), 4))


def forward(layers: Any, x: Any) -> Any:
    return filter_scan(lambda x, layer: (layer(x), None), x, layers)[0]


def unrolled(layers: Any, x: Any) -> Any:
    for i in range(4):
        x = Layer(layers.w[i], layers.b[i])(x)
    return x


# ---------------------------------------------------------------------------------- what is stepped through


def test_a_model_that_is_stacked_is_scanned_layer_by_layer():
    x = jnp.array([0.5, -1.0])
    np.testing.assert_allclose(forward(STACKED, x), unrolled(STACKED, x), rtol=1e-6)
    grads = filter_grad(lambda layers: forward(layers, x).sum())(STACKED)
    wanted = filter_grad(lambda layers: unrolled(layers, x).sum())(STACKED)
    np.testing.assert_allclose(grads.w, wanted.w, rtol=1e-5, atol=1e-7)
    assert grads.name is None or grads.name == "layer"


def test_a_stacked_model_is_scanned_within_jit_vmap_and_checkpoint():
    xs = jnp.array([[0.5, -1.0], [1.0, 2.0]])
    wanted = jnp.stack([unrolled(STACKED, x) for x in xs])
    np.testing.assert_allclose(filter_jit(forward)(STACKED, xs[0]), wanted[0], rtol=1e-6)
    mapped = filter_vmap(forward, in_axes=(None, 0))(STACKED, xs)
    np.testing.assert_allclose(mapped, wanted, rtol=1e-6)
    loss = filter_checkpoint(lambda layers, x: forward(layers, x).sum())
    plain = filter_grad(lambda layers: unrolled(layers, xs[0]).sum())(STACKED)
    np.testing.assert_allclose(filter_grad(loss)(STACKED, xs[0]).b, plain.b, rtol=1e-5, atol=1e-7)


def test_a_layer_may_be_checkpointed_inside_of_the_scan():
    x = jnp.array([0.5, -1.0])
    body = filter_checkpoint(lambda x, layer: (layer(x), None))
    grads = filter_grad(lambda layers: filter_scan(body, x, layers)[0].sum())(STACKED)
    wanted = filter_grad(lambda layers: unrolled(layers, x).sum())(STACKED)
    np.testing.assert_allclose(grads.w, wanted.w, rtol=1e-5, atol=1e-7)


def test_the_parameter_says_the_axis_to_scan():
    def step(carry: Any, x: Annotated[Float[Array, "3"], ScanAxis[1]]) -> Any:
        return carry + x.sum(), x

    total, ys = filter_scan(step, 0.0, X)
    assert float(total) == 15.0
    np.testing.assert_array_equal(ys, X.T)


@pytest.mark.parametrize("spec", ["ScanAxis[-1, Array]", "Static[int]", "ScanAxis[None, Array]"])
def test_the_parameter_may_say_that_every_step_sees_all(spec):
    def step(carry: Any, x: Any) -> Any:
        assert jnp.shape(x) == shape
        return carry + jnp.sum(x), None

    shape = {"ScanAxis[-1, Array]": (3,), "Static[int]": (), "ScanAxis[None, Array]": (3, 2)}[spec]
    step.__annotations__["x"] = spec
    given = 7 if spec == "Static[int]" else X
    times = None if spec == "ScanAxis[-1, Array]" else 2
    wanted = {"ScanAxis[-1, Array]": 15.0, "Static[int]": 14.0, "ScanAxis[None, Array]": 30.0}[spec]
    assert float(filter_scan(step, 0.0, given, times)[0]) == wanted


@pytree_dataclass
class Mixed:
    """Fields with axes of their own."""

    rows: Float[Array, "*r n"]
    columns: Annotated[Float[Array, "n *c"], ScanAxis[1]]
    shared: Annotated[Float[Array, " m"], ScanAxis[None]]
    both: Annotated[Float[Array, "*k"], VmapAxis[None], ScanAxis[-1]]
    flag: bool = True


MIXED = Mixed(X, X.T, jnp.ones(5), jnp.arange(12.0).reshape(2, 2, 3))


def test_fields_say_their_axes_and_results_are_stacked_along_them():
    def step(carry: Any, x: Mixed) -> Any:
        assert (x.rows.shape, x.columns.shape, x.shared.shape, x.both.shape) == ((2,), (2,), (5,), (2, 2))
        assert x.flag is True
        return carry + 1, Mixed(x.rows, x.columns, x.shared, x.both * 2, flag=None)

    count, out = filter_scan(step, 0, MIXED)
    assert int(count) == 3
    np.testing.assert_array_equal(out.rows, X)
    np.testing.assert_array_equal(out.columns, X.T)
    np.testing.assert_array_equal(out.shared, jnp.ones(5))
    np.testing.assert_array_equal(out.both, MIXED.both * 2)


def test_what_a_field_shares_is_stacked_where_it_was_computed():
    def step(carry: Any, x: Mixed) -> Any:
        return carry, Mixed(x.rows, x.columns, x.shared * carry, x.both, flag=None)

    assert filter_scan(step, 2.0, MIXED)[1].shared.shape == (3, 5)


def test_the_return_annotation_says_where_results_are_stacked():
    def inside(c: Any, x: Any) -> tuple[Any, Annotated[Float[Array, "2"], ScanAxis[1]]]:
        return c, x

    def around(c: Any, x: Any) -> Annotated[tuple[Any, Any], ScanAxis[-1]]:
        return c, {"x": x, "s": "static"}

    np.testing.assert_array_equal(filter_scan(inside, 0.0, X)[1], X.T)
    np.testing.assert_array_equal(filter_scan(around, 0.0, X)[1]["x"], X.T)


def test_numbers_in_what_is_scanned_stay_numbers_also_where_an_outer_transform_has_traced_them():
    def step(carry: Any, x: Any) -> Any:
        return carry + x["rate"] * x["x"], None

    xs = {"x": jnp.ones(3), "rate": 2.0}
    assert float(filter_scan(step, 0.0, xs)[0]) == 6.0

    def outer(carry: Any, _: Any) -> Any:
        return carry, filter_scan(step, 0.0, carry)[0]

    np.testing.assert_array_equal(filter_scan(outer, xs, length=2)[1], [6.0, 6.0])


# ------------------------------------------------------------------------------------ carries and results


def test_numbers_are_carried_and_everything_else_stays_what_it_is():
    def step(carry: Any, x: Any) -> Any:
        assert carry["name"] == "n"
        assert carry["fn"] is jnp.tanh
        return {**carry, "n": carry["n"] + 1, "sum": carry["sum"] + x}, None

    out, none = filter_scan(step, {"n": 0, "sum": 0.0, "name": "n", "fn": jnp.tanh}, jnp.ones(3))
    assert (int(out["n"]), float(out["sum"]), out["name"], out["fn"]) == (3, 3.0, "n", jnp.tanh)
    assert none is None


def test_a_static_result_is_returned_once_as_it_is():
    marker = object()

    def step(carry: Any, x: Any) -> Any:
        return carry, (x, marker, "s", 2)

    for _ in range(2):
        x, found, text, number = filter_scan(step, None, X)[1]
        assert found is marker
        assert text == "s"
        np.testing.assert_array_equal(number, [2, 2, 2])
        np.testing.assert_array_equal(x, X)


def test_a_static_parameter_and_a_static_field_hold_numbers_as_they_are():
    @pytree_dataclass
    class State:
        n: Static[int]
        x: Float[Array, ""]

    def step(carry: State, k: Static[int]) -> Any:
        assert type(carry.n) is int
        assert type(k) is int
        return State(carry.n, carry.x * carry.n * k), None

    out = filter_scan(step, State(2, jnp.ones(())), 3, length=2)[0]
    assert (out.n, float(out.x)) == (2, 36.0)


def test_annotations_of_numbers_are_those_of_the_arrays_that_they_become():
    def step(carry: tuple[int, float], x: float) -> tuple[tuple[int, float], float]:
        return (carry[0] + 1, carry[1] + x), x

    def run() -> list[float]:
        return [float(number) for number in filter_scan(step, (0, 0.0), jnp.ones(3))[0]]

    assert run() == [3.0, 3.0]
    with jax.disable_jit():
        assert run() == [3.0, 3.0]


def test_a_body_is_checked_while_it_is_traced_and_not_with_check_off():
    def step(carry: Float[Array, "n"], x: Float[Array, "n"]) -> Any:
        return carry, None

    with pytest.raises(ShapeError, match="argument `x`"):
        filter_scan(step, jnp.zeros(3), X)
    assert filter_scan(step, jnp.zeros(3), X, check=False)[1] is None
    with pytest.raises(ShapeError, match="argument `x`"):  # what was compiled without checks is not taken
        filter_scan(step, jnp.zeros(3), X)


def test_no_steps_and_steps_of_nothing():
    def step(carry: Any, x: Any) -> Any:
        return carry + 1, x

    count, ys = filter_scan(step, 0, jnp.zeros((0, 2)))
    assert int(count) == 0
    assert ys.shape == (0, 2)
    assert int(filter_scan(step, 0, length=4)[0]) == 4


# -------------------------------------------------------------------------------------- programs and traces


def test_a_loop_that_is_called_again_is_not_traced_again():
    counted = Counted()
    step = counting(counted)
    for start in (0.0, 1.0, 2.0):
        out = filter_scan(step, {"sum": start, "name": "a"}, jnp.ones(3))[0]
        assert (float(out["sum"]), out["name"]) == (start + 3, "a")
    assert counted.traces == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [("a", "b"), (("x", 1.0), ("x", 1)), (frozenset({1}), frozenset({True})), (Static, VmapAxis)],
)
def test_another_static_part_is_another_program(one, two):
    @pytree_dataclass
    class Box:
        value: Static[Any]

    def step(carry: Any, x: Any) -> Any:
        traces.append(carry["s"].value)
        return {**carry, "sum": carry["sum"] + x}, carry["s"]

    traces: list[Any] = []
    for _ in range(2):
        for value in (one, two):
            out = filter_scan(step, {"sum": 0.0, "s": Box(value)}, jnp.ones(2))
            assert repr(out[1].value) == repr(value)
            assert repr(out[0]["s"].value) == repr(value)
    assert len(traces) == 2


def test_another_static_leaf_is_another_program():
    def step(carry: Any, x: Any) -> Any:
        return {**carry, "sum": carry["sum"] + x}, carry["leaf"]

    for leaf in ("a", "b", frozenset({1}), frozenset({True}), frozenset({1.0}), range(0), range(1, 1)):
        last, result = filter_scan(step, {"sum": 0.0, "leaf": leaf}, jnp.ones(2))
        assert repr(last["leaf"]) == repr(result) == repr(leaf)


def test_keys_of_dictionaries_are_told_apart_as_no_comparison_does():
    def step(carry: Any, x: Any) -> Any:
        return carry, None

    for key in (1, True, 1.0, 1):
        (found,) = filter_scan(step, {key: 0.0}, length=1)[0]
        assert type(found) is type(key)


def test_options_shapes_and_dtypes_are_told_apart():
    counted = Counted()
    step = counting(counted)
    for options in ({}, {"reverse": True}, {"unroll": 2}, {"unroll": True}, {}):
        filter_scan(step, {"sum": 0.0}, jnp.ones(2), **options)
    assert counted.traces == 4
    filter_scan(step, {"sum": 0.0}, jnp.ones(3))
    assert counted.traces == 5


def test_an_unhashable_static_part_is_traced_anew():
    class Odd:
        __hash__ = None

    counted = Counted()
    step = counting(counted)
    odd = Odd()
    for _ in range(2):
        assert filter_scan(step, {"sum": 0.0, "odd": odd}, jnp.ones(2))[0]["odd"] is odd
    assert counted.traces == 2


def test_arrays_of_the_body_are_inputs_and_not_constants():
    @pytree_dataclass
    class Model:
        w: Float[Array, ""]

        def step(self, carry: Any, x: Any) -> Any:
            traces.append(0)
            return carry + self.w * x, None

    def run(w: Any) -> Any:
        return filter_scan(Model(w).step, 0.0, jnp.ones(3))[0]

    def free(w: Any, carry: Any, x: Any) -> Any:
        traces.append(0)
        return carry + w * x, None

    traces: list[int] = []
    assert [float(run(jnp.asarray(w))) for w in (1.0, 2.0)] == [3.0, 6.0]
    assert float(jax.grad(run)(jnp.asarray(2.0))) == 3.0
    assert len(traces) == 1
    bound = [functools.partial(free, jnp.asarray(w)) for w in (1.0, 2.0)]
    assert [float(filter_scan(one, 0.0, jnp.ones(3))[0]) for one in bound] == [3.0, 6.0]
    assert len(traces) == 2


def test_methods_of_plain_objects_read_what_these_hold_now():
    class Plain:
        w = 1.0

        def step(self, carry: Any, x: Any) -> Any:
            return carry + self.w * x, None

    plain = Plain()
    assert float(filter_scan(plain.step, 0.0, jnp.ones(3))[0]) == 3.0
    plain.w = 2.0
    assert float(filter_scan(plain.step, 0.0, jnp.ones(3))[0]) == 6.0


def test_a_body_may_close_over_what_is_differentiated_and_mapped():
    def run(w: Any) -> Any:
        return filter_scan(lambda carry, x: (carry * w + x, w), 1.0, jnp.ones(3))[0]

    assert float(jax.grad(run)(2.0)) == 17.0
    np.testing.assert_allclose(jax.vmap(jax.grad(run))(jnp.array([2.0, 1.0])), [17.0, 6.0])


def test_inside_of_another_trace_there_is_the_loop_of_jax_and_no_call_of_it():
    jaxpr = filter_make_jaxpr(lambda xs: filter_scan(lambda c, x: (c + x, None), 0.0, xs)[0])(jnp.ones(3))[0]
    outer = [equation.primitive.name for equation in jaxpr.eqns]
    inlines = jax.__version_info__ < (0, 11)  # later ones keep the call, although it is to be inlined
    assert outer == (["scan"] if inlines else ["jit"])
    assert str(jaxpr).count("scan[") == 1


def test_a_body_and_its_programs_are_freed_together():
    refs = []
    for _ in range(3):
        step = counting(Counted())
        filter_scan(step, {"sum": 0.0, "fn": step}, jnp.ones(2))
        refs.append(weakref.ref(step))
        del step
    gc.collect()
    assert [ref() for ref in refs] == [None, None, None]


def test_a_body_keeps_few_programs():
    step = counting(Counted())
    refs = []
    with jax.disable_jit():
        for _ in range(70):
            fn = eval("lambda: None")
            refs.append(weakref.ref(fn))
            filter_scan(step, {"sum": 0.0, "fn": fn}, jnp.ones(1))
            del fn
    gc.collect()
    assert sum(ref() is not None for ref in refs) <= 64


def test_lengths_that_disagree_are_refused_before_anything_is_traced():
    with pytest.raises(VmapAxisError, match=r"`xs\['b'\]` has length 2 along axis 0"):
        filter_scan(lambda c, x: 1 / 0, 0.0, {"a": jnp.ones(3), "b": jnp.ones(2)})  # type: ignore[return-value]  # never called


def test_what_was_traced_without_checks_is_not_taken_where_there_are_checks(monkeypatch: pytest.MonkeyPatch):
    def step(carry: Float[Array, "n"], x: Float[Array, "n"]) -> Any:
        return carry, None

    monkeypatch.setenv("TYPEDFILTER_CHECK", "off")
    assert filter_scan(step, jnp.zeros(3), X)[1] is None
    monkeypatch.delenv("TYPEDFILTER_CHECK")
    with pytest.raises(ShapeError, match="argument `x`"):
        filter_scan(step, jnp.zeros(3), X)


def test_keys_are_scanned_and_carried():
    keys = jax.random.split(jax.random.key(0), 3)
    total, back = filter_scan(lambda c, key: (c + jax.random.normal(key), key), 0.0, keys)
    np.testing.assert_allclose(total, sum(jax.random.normal(key) for key in keys), rtol=1e-4)
    assert back.shape == (3,)
    assert filter_scan(lambda key, _: tuple(jax.random.split(key)), keys[0], length=2)[1].shape == (2,)


def test_a_body_may_use_the_axis_of_a_map_around_the_loop():
    def step(carry: Any, x: Any) -> Any:
        return carry + jax.lax.psum(carry, "i"), None

    for size in (2, 3):  # the program for one size is not taken for another
        run = jax.vmap(lambda x: filter_scan(step, x, length=1)[0], axis_name="i")
        np.testing.assert_array_equal(run(jnp.ones(size)), [1.0 + size] * size)


def test_each_call_gets_its_own_of_what_could_be_changed():
    def step(carry: Any, x: Any) -> Any:
        return carry, {"a"}

    first = filter_scan(step, 0.0, jnp.ones(2))[1]
    first.add("b")
    assert filter_scan(step, 0.0, jnp.ones(2))[1] == {"a"}
