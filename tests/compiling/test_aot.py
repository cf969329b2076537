"""Ahead of time: `lower`, `trace`, `eval_shape`, `compile`, `clear_cache`, and export."""

from __future__ import annotations

import dataclasses
import functools
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.experimental.serialize_executable import serialize
from jax.export import deserialize, export
from jaxtyping import Float
from numpy.testing import assert_allclose

import typedfilter as tf
from typedfilter import Donate, Static, Traced, filter_grad, filter_jit, filter_value_and_grad, filter_vmap
from typedfilter._compiling import again
from typedfilter._compiling.ahead import Ahead
from typedfilter._compiling.stages import site_of
from typedfilter.pytree import pytree_dataclass

if TYPE_CHECKING:  # else, tests define them late
    State = Array
    Rate = float

X = jnp.arange(3.0)
S = jax.ShapeDtypeStruct((3,), jnp.float32)


class Pair(NamedTuple):
    x: Any
    label: Any


@pytree_dataclass
class Model:
    weight: Any
    activation: Any = jnp.sin
    power: Static[Any] = 2

    def __call__(self, x, n=1):
        return self.activation(self.weight * x) ** self.power * n

    @filter_jit
    def apply(self, x, n=1):
        return self(x, n)


class Plain:
    scale = 2.0
    runs = 0

    @filter_jit
    def times(self, x, n: Static[int] = 1):
        type(self).runs += 1
        return x * self.scale * n, n

    @filter_jit
    @classmethod
    def named(cls, x):
        return cls.__name__, x

    @staticmethod
    @filter_jit
    def static(x, n):
        return x * n


@dataclasses.dataclass(frozen=True)
class Config:
    value: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class One:
    value: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Two:
    value: Any


def same(one: Any, two: Any) -> bool:
    ones, one_def = jax.tree.flatten(one)
    twos, two_def = jax.tree.flatten(two)
    return one_def == two_def and all(
        np.allclose(a, b) if tf.is_array(a) else type(a) is type(b) and a == b
        for a, b in zip(ones, twos, strict=True)
    )


def direct(x: Float[Array, "n"], n: Static[int] = 2) -> Float[Array, "n"]:
    return x * n


def by_type(x, n=2):
    return x * n, "static"


def split(tree, n=2):
    return tree["fn"](tree["x"]) * n, tree


def many(a, /, *args, k: Traced[float], **kwargs):
    return a, args, k * 2, kwargs


TREE = {"x": X, "fn": jnp.cos, "name": "t", "pair": Pair(X, 1.5), "none": None}
CALLS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "direct": (direct, (X, 3), {}),
    "direct, by name": (direct, (), {"n": 3, "x": X}),
    "direct, with a default": (direct, (X,), {}),
    "by type": (by_type, (X, 3), {}),
    "by type, by name": (by_type, (), {"n": 3, "x": X}),
    "split": (split, (TREE,), {"n": 3}),
    "split, with a default": (split, (TREE,), {}),
    "numpy": (by_type, (np.arange(3.0, dtype="float32"), 2), {}),
    "many": (many, (X, 2, X, "s"), {"k": 0.5, "z": X, "y": [X, 1]}),
    "nothing traced": (by_type, (2, 3), {}),
    "a model": (Model(X), (X,), {"n": 2}),
    "a partial": (functools.partial(by_type, X), (3,), {}),
    "a method": (Model(X).__call__, (X, 2), {}),
    "a gradient": (filter_value_and_grad(lambda m, x: m(x).sum()), (Model(X), X), {}),
    "a map": (filter_vmap(Model(jnp.float32(2))), (X, 3), {}),
}


def compiled(call: str) -> Any:
    fn, args, kwargs = CALLS[call]
    return filter_jit(fn).lower(*args, **kwargs).compile()


def structs(tree: Any) -> Any:
    def struct(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if tf.is_array(leaf) else leaf

    return jax.tree.map(struct, tree)


@pytest.mark.parametrize("call", CALLS)
def test_a_compiled_program_is_called_with_the_original_arguments(call):
    fn, args, kwargs = CALLS[call]
    program = compiled(call)
    for _ in range(2):
        assert same(program(*args, **kwargs), filter_jit(fn)(*args, **kwargs))


@pytest.mark.parametrize("call", CALLS)
def test_structs_of_shape_and_dtype_may_stand_for_arrays(call):
    fn, args, kwargs = CALLS[call]
    s_args, s_kwargs = structs((args, kwargs))
    f = filter_jit(fn)
    expected = f(*args, **kwargs)
    assert same(f.lower(*s_args, **s_kwargs).compile()(*args, **kwargs), expected)
    assert same(f.trace(*s_args, **s_kwargs).lower().compile()(*args, **kwargs), expected)
    shapes = f.eval_shape(*s_args, **s_kwargs)
    assert jax.tree.structure(shapes) == jax.tree.structure(expected)
    for shape, leaf in zip(jax.tree.leaves(shapes), jax.tree.leaves(expected), strict=True):
        if tf.is_array(leaf):
            assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)
        else:
            assert shape == leaf


def test_nothing_is_computed_ahead_of_time():
    runs = []

    def body(x):
        jax.debug.callback(lambda: runs.append(0))
        return x

    f = filter_jit(body)
    f.eval_shape(X)
    f.trace(X)
    program = f.lower(X).compile()
    jax.effects_barrier()
    assert runs == []
    program(X)
    jax.effects_barrier()
    assert runs == [0]


def test_a_function_is_traced_once_for_all_stages_and_calls():
    runs = []

    @filter_jit
    def f(x, n, tree):
        runs.append(0)
        return x * n

    tree = {"x": X, "s": "s"}
    f.lower(X, 2, tree).compile()(X, 2, tree)
    f.trace(X, 2, tree)
    f.eval_shape(X, 2, tree)
    f(X, 2, tree)
    f.lower(S, 2, structs(tree))
    assert len(runs) == 1


def test_a_struct_is_an_input_in_every_kind_of_argument():
    f = filter_jit(lambda x, *args, **kwargs: (x, args, kwargs))
    shapes = f.eval_shape(S, [S, "s"], k={"s": S, "n": 1})
    assert [leaf for leaf in jax.tree.leaves(shapes) if leaf not in ("s", 1)] == [S, S, S]


# --------------------------------------------------------------------------- another static value is refused

OTHERS: dict[str, tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = {
    "a number": (by_type, (X, 2), (X, 5)),
    "another type": (by_type, (X, 1), (X, 1.0)),
    "a bool": (by_type, (X, 1), (X, True)),
    "the sign of zero": (by_type, (X, 0.0), (X, -0.0)),
    "below": (lambda x, t: x, (X, (1, 2)), (X, (1, 2.0))),
    "a string": (lambda x, s: s, (X, "s"), (X, "t")),
    "a leaf": (lambda tree: tree, ([X, "s"],), ([X, "t"],)),
    "a leaf of another type": (lambda tree: tree, ({"a": 1, "x": X},), ({"a": True, "x": X},)),
    "a structure": (lambda tree: tree, ([X, "s"],), ((X, "s"),)),
    "a key": (lambda tree: tree, ({1: X, 2: "s"},), ({1.0: X, 2: "s"},)),
    "an array where a static value was": (lambda x, y: x, (X, 2), (X, X)),
    "a static value where an array was": (lambda x, y: x, (X, X), (X, 2)),
    "an annotated value": (direct, (X, 2), (X, 3)),
    "a default": (direct, (X,), (X, 3)),
    "a field": (lambda m: m.power, (Model(X, power=2),), (Model(X, power=2.0),)),
    "a function": (lambda x, f: f(x), (X, jnp.sin), (X, jnp.cos)),
    "a dataclass": (lambda x, c: x, (X, Config((1,))), (X, Config((True,)))),
    "none": (lambda x, y: x, (X, None), (X, 0)),
    "a number where an array with axes was": (
        lambda tree: tree,
        ({"a": X, "s": "s"},),
        ({"a": 1.0, "s": "s"},),
    ),
    "an equal number in a list": (lambda tree: tree, ([X, 1],), ([X, True],)),
    "a class with equal fields": (lambda tree: tree, ([One(X), "s"],), ([Two(X), "s"],)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_program_is_not_called_with_other_static_values(kind):
    fn, args, others = OTHERS[kind]
    f = filter_jit(fn)
    program = f.lower(*args).compile()
    first, *_ = [program(*args) for _ in range(3)]  # what a call asks is learned from those before
    with pytest.raises(tf.StaticArgumentError):
        program(*others)
    assert same(program(*args), first)
    assert same(f(*others), filter_jit(fn)(*others))


def test_equal_static_values_that_were_made_anew_are_accepted():
    program = filter_jit(lambda x, t, tree: x * t[0]).lower(X, (2, Config("c")), [X, float("nan")]).compile()
    assert same(program(X, (2, Config("c")), [X + 1, float("nan")]), X * 2)


def test_what_is_left_to_a_default_may_be_given_and_the_other_way_round():
    program = filter_jit(direct).lower(X, 2).compile()
    for out in (program(X), program(X, 2), program(x=X), program(n=2, x=X)):
        assert same(out, X * 2)


def test_other_shapes_are_refused():
    program = filter_jit(by_type).lower(X, 2).compile()
    with pytest.raises(TypeError):
        program(jnp.zeros(4), 2)
    assert same(program(X, 2)[0], X * 2)


def test_a_call_that_does_not_bind_is_refused():
    f = filter_jit(by_type)
    program = f.lower(X, 2).compile()
    for call in (f.lower, f.trace, f.eval_shape, program):
        with pytest.raises(TypeError):
            call()
        with pytest.raises(TypeError):
            call(X, 2, 3)
        with pytest.raises(TypeError):
            call(X, m=3)


def test_an_unhashable_static_value_is_refused_by_name():
    f = filter_jit(lambda x, n: x)
    program = f.lower(X, 1).compile()
    for call in (f.lower, f.trace, f.eval_shape, program):
        with pytest.raises(tf.StaticArgumentError, match="`n`"):
            call(X, {1, 2})


# -------------------------------------------------------------------------------------- the objects of stages


def test_stages_know_what_those_of_jax_know():
    traced = filter_jit(split).trace(TREE)
    assert isinstance(traced.jaxpr, jax.extend.core.ClosedJaxpr)
    lowered = traced.lower()
    assert "cosine" in lowered.as_text() or "cos" in lowered.as_text()
    assert isinstance(lowered.cost_analysis(), (dict, list))
    program = lowered.compile()
    assert "cosine" in program.as_text()
    assert isinstance(program.cost_analysis(), (dict, list))
    assert program.memory_analysis() is None or hasattr(program.memory_analysis(), "temp_size_in_bytes")
    for stage in (traced, lowered, program):
        assert "split" in repr(stage)


def test_analyses_are_those_of_jax():
    ours = filter_jit(direct).lower(X, 2)
    theirs = jax.jit(direct, static_argnums=1).lower(X, 2)
    assert ours.cost_analysis() == theirs.cost_analysis()
    assert ours.compile().cost_analysis() == theirs.compile().cost_analysis()


def test_programs_have_the_name_of_the_function():
    assert "jit_direct" in filter_jit(direct).lower(X, 2).as_text()
    assert "jit_split" in filter_jit(split).lower(TREE).as_text()


def test_options_of_the_compiler_are_passed_on():
    program = filter_jit(by_type).lower(X, 2).compile(compiler_options={"xla_cpu_enable_fast_math": True})
    assert same(program(X, 2)[0], X * 2)


# ------------------------------------------------------------------------------------------------- methods


def test_methods_lower_trace_and_evaluate_shapes():
    plain, model = Plain(), Model(X)
    assert same(plain.times.lower(X, 3).compile()(X, 3), plain.times(X, 3))
    assert same(plain.times.trace(X, n=3).lower().compile()(X, n=3), plain.times(X, 3))
    assert plain.times.eval_shape(S, 3) == (S, 3)
    assert same(model.apply.lower(S, 2).compile()(X, 2), model.apply(X, 2))
    assert Model(S).apply.eval_shape(S) == S
    assert same(Plain.static.lower(X, 2).compile()(X, 2), X * 2)
    assert same(plain.static.lower(X, 2).compile()(X, 2), X * 2)
    for owner in (plain, Plain):
        assert owner.named.eval_shape(S) == ("Plain", S)
        assert same(owner.named.lower(X).compile()(X), ("Plain", X))


def test_a_method_is_compiled_for_its_instance():
    program = Model(X).apply.lower(X).compile()
    assert same(program(X), Model(X)(X))
    with pytest.raises((tf.StaticArgumentError, TypeError)):
        program(X, 3)


def test_clear_cache_of_a_method_is_that_of_the_function():
    plain = Plain()
    Plain.runs = 0
    plain.times(X)
    plain.times(X)
    plain.times.clear_cache()
    plain.times(X)
    assert Plain.runs == 2


# ------------------------------------------------------------------------------------------------ clear_cache


def test_after_clear_cache_every_program_is_traced_again_and_no_other_function_is():
    runs, others = [], []

    @filter_jit
    def f(x, n, tree):
        runs.append(n)
        return x * n, tree

    @filter_jit
    def other(x):
        others.append(0)
        return x

    def call_all():
        for n in (1, 2, (3,)):
            assert same(
                f(X, n if isinstance(n, int) else 3, [X, "s"])[0], X * (n if isinstance(n, int) else 3)
            )
        f(X, 1, None)
        other(X)

    call_all()
    call_all()
    assert runs == [1, 2, 3, 1]
    f.clear_cache()
    call_all()
    assert runs == [1, 2, 3, 1] * 2
    assert others == [0]


def test_clear_cache_holds_for_every_wrapper_of_the_function():
    runs = []

    def f(x):
        runs.append(0)
        return x

    one, two = filter_jit(f), filter_jit(f)
    one(X)
    two.clear_cache()
    one(X)
    assert len(runs) == 2


def test_clear_cache_works_before_any_call_and_on_stacks():
    runs = []

    def f(x):
        runs.append(0)
        return x.sum()

    slope = filter_jit(filter_grad(f))
    slope.clear_cache()
    slope(X)
    slope.clear_cache()
    slope(X)
    assert len(runs) == 2


def test_a_compiled_program_outlives_clear_cache():
    def f(x, rate, tree, fn: Static[Any] = jnp.sin):
        return fn(x) * rate, tree, "s"

    args = (X, 2.5, TREE, jnp.cos)
    jitted = filter_jit(f)
    program = jitted.lower(*args).compile()
    expected = jitted(*args)
    jitted.clear_cache()
    assert same(program(*args), expected)
    with pytest.raises(tf.StaticArgumentError):
        program(X, 3.5, TREE, jnp.cos)
    assert same(jitted(*args), expected)
    assert same(program(*args), expected)


# ---------------------------------------------------------------------------------------- donation and checks


def test_donation_holds_ahead_of_time():
    @filter_jit
    def f(a: Donate[Any], b):
        return a["x"] + b, a["s"]

    a, b = X + 1, X + 2
    program = f.lower({"x": S, "s": "s"}, S).compile()
    out = program({"x": a, "s": "s"}, b)
    assert (a.is_deleted(), b.is_deleted()) == (True, False)
    assert same(out, (2 * X + 3, "s"))


def test_lowering_does_not_donate():
    @filter_jit
    def f(a: Donate[Any]):
        return a + 1

    a = X + 1
    f.lower(a).compile()
    f.eval_shape(a)
    assert not a.is_deleted()


def test_shapes_are_checked_ahead_of_time():
    f = filter_jit(direct)
    for stage in (f.lower, f.trace, f.eval_shape):
        with pytest.raises(tf.ShapeError):
            stage(jax.ShapeDtypeStruct((3, 3), jnp.float32), 2)


# ---------------------------------------------------------------------------------- names defined later


EARLY: dict[str, Any] = {
    "explain": lambda f, x: tf.explain(f),
    "explain with arguments": lambda f, x: tf.explain(f, x, 1.0),
    "lower": lambda f, x: f.lower(x, 1.0),
    "eval_shape": lambda f, x: f.eval_shape(x, 1.0),
    "clear_cache": lambda f, x: f.clear_cache(),
}


@pytest.mark.parametrize("early", EARLY)
def test_a_look_before_a_name_is_defined_does_not_lose_the_marker_in_it(early, monkeypatch):
    @filter_jit
    def step(state: State, rate: Rate):
        runs.append(1)
        return state * rate

    runs: list[int] = []
    state = jnp.ones(3)
    EARLY[early](step, state)
    monkeypatch.setitem(globals(), "State", Donate[Array])
    monkeypatch.setitem(globals(), "Rate", Traced[float])
    runs.clear()
    assert_allclose(step(state, 2.0), 2 * X**0)
    assert state.is_deleted()
    assert [step(jnp.ones(3), rate)[0] for rate in (3.0, 4.0)] == [3, 4]
    assert runs == [1]


@pytest.mark.parametrize("stage", ["lower", "trace", "eval_shape", "__call__"])
def test_a_marker_that_is_not_imported_is_refused_and_honoured_once_it_is(stage, monkeypatch):
    def double(x, n):
        return x * n

    double.__annotations__ = {"n": "late.Traced[int]"}
    f = filter_jit(double)
    with pytest.raises(tf.AnnotationError) as raised:
        getattr(f, stage)(X, 2)
    assert str(raised.value) == (
        "double(): argument `n` has an annotation in which `late.Traced` is not found, "
        "and a marker may hide in it\n"
        "  fix: import it also at run time, not only under `if TYPE_CHECKING`"
    )
    monkeypatch.setitem(globals(), "late", tf)
    getattr(f, stage)(X, 2)


def test_clear_cache_also_forgets_what_was_traced_before_a_name_was_defined(monkeypatch):
    @filter_jit
    def step(state: State):
        return state

    step.lower(S)
    monkeypatch.setitem(globals(), "State", Array)
    step.lower(S)
    engines = site_of(step)[0].engines()
    assert [len(engine.jits) for engine in engines] == [1, 1]
    step.clear_cache()
    assert [len(engine.jits) for engine in engines] == [0, 0]


# --------------------------------------------------------------------------------------------------- export


EXPORTED = {
    "direct": filter_jit(direct),
    "by type": filter_jit(lambda x: jnp.sin(x)),
    "a stack": filter_jit(filter_grad(lambda x: x.sum())),
    "a default": filter_jit(lambda x, n=2: x * n),
    "a static value of a partial": filter_jit(functools.partial(direct, n=3)),
}


@pytest.mark.parametrize("kind", EXPORTED)
def test_export_accepts_a_jitted_wrapper(kind):
    f = EXPORTED[kind]
    assert same(export(f)(S).call(X), f(X))
    assert same(export(f)(X).call(X + 1), f(X + 1))


def test_what_was_exported_can_be_saved_and_loaded():
    again = deserialize(export(filter_jit(direct))(S).serialize())
    assert same(again.call(X), direct(X))


@pytree_dataclass
class Annotated:
    weight: Float[Array, "n"]
    power: Static[int] = 2

    def __call__(self, x):
        return (self.weight * x) ** self.power


def test_a_model_that_is_exported_is_the_first_argument_of_the_program():
    # One that is annotated: mixed leaves travel in a node that only a jitted call can make.
    assert same(export(filter_jit(Annotated(X)))(S).call(Annotated(X + 1), X), Annotated(X + 1)(X))


PLAIN_TREES = {"dict": {"x": X, "y": {"z": X}}, "list": [X, (X, None)], "none": None}


@pytest.mark.parametrize("kind", PLAIN_TREES)
def test_plain_containers_of_arrays_alone_are_exported_as_they_are(kind):
    tree = PLAIN_TREES[kind]
    f = filter_jit(lambda tree, x: jax.tree.map(lambda leaf: leaf * x, tree))
    exported = deserialize(export(f)(tree, X).serialize())
    assert exported.in_tree == f.lower(tree, X).in_tree == jax.tree.structure(((tree, X), {}))
    for one, other in zip(jax.tree.leaves(exported.call(tree, X)), jax.tree.leaves(f(tree, X)), strict=True):
        assert_allclose(one, other)


def test_export_accepts_symbolic_shapes():
    (n,) = jax.export.symbolic_shape("n")
    exported = export(filter_jit(lambda x: x * 2))(jax.ShapeDtypeStruct((n,), jnp.float32))
    assert same(exported.call(jnp.ones(5)), jnp.full(5, 2.0))


def test_jaxs_own_transforms_accept_a_jitted_wrapper():
    f = filter_jit(lambda x, n=2: x * n)
    assert jax.eval_shape(f, X) == S
    assert jax.make_jaxpr(f)(X).out_avals[0].shape == (3,)
    assert_allclose(jax.jit(f)(X), X * 2)
    assert_allclose(jax.vmap(f)(X), X * 2)


# ------------------------------------------------------------------------- stages that are JAX's, and pickled


def test_stages_are_those_of_jax():
    f = filter_jit(split)
    lowered = f.lower(TREE)
    assert isinstance(f.trace(TREE), jax.stages.Traced)
    assert isinstance(lowered, jax.stages.Lowered)
    assert isinstance(lowered.compile(), jax.stages.Compiled)


def test_what_a_program_of_a_mixed_tree_takes_and_returns_is_pickled():
    f = filter_jit(lambda tree, x: (tree["fn"](tree["x"]) * x, "name"))
    program = f.lower({"x": X, "fn": jnp.cos}, X).compile()
    in_tree, out_tree = pickle.loads(pickle.dumps((program.in_tree, program.out_tree)))
    assert in_tree == jax.tree.structure((([X], X), {}))
    assert out_tree == jax.tree.structure([X])
    ((infos, info), _) = program.args_info
    assert [infos[0].shape, info.shape] == [(3,), (3,)]
    serialized, in_tree, out_tree = serialize(program)
    assert pickle.loads(pickle.dumps(serialized)) == serialized
    assert (in_tree, out_tree) == (program.in_tree, program.out_tree)


def test_a_compiled_call_of_arrays_enters_the_program_and_nothing_else():
    program = filter_jit(lambda x, y: x + y).lower(X, X).compile()
    assert_allclose(program(X, X), 2 * X)
    assert program.__call__.__globals__["_tf_table"][type(X), type(X)] is program._stage


def test_arguments_by_name_reach_a_program_with_places():
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    f = filter_jit(lambda x, *, k, n: x * k * n, in_shardings=place)
    program = f.lower(X, k=X, n=2).compile()
    for _ in range(2):
        assert_allclose(program(X, k=X, n=2), 2 * X * X)
    with pytest.raises(tf.StaticArgumentError):
        program(X, k=X, n=3)


def test_a_donated_array_on_several_devices_is_refused_by_a_compiled_program():
    mesh = jax.make_mesh((8,), ("d",))
    new = lambda: jax.device_put(
        jnp.arange(8.0), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    )
    x = new()
    program = filter_jit(lambda x: x + 1, donate="all").lower(x).compile()
    program(x)
    for _ in range(2):
        with pytest.raises(tf.DonationError, match="argument `x`"):
            program(x)
        program(new())


# ------------------------------------------------------------- what a call of a compiled program looks at


def test_a_compiled_call_asks_for_the_structure_of_a_tree_and_its_static_leaves_alone(monkeypatch):
    looks: list[Any] = []
    monkeypatch.setattr(again, "exact_dict_keys", lambda *args: looks.append(args))
    layers = [{"weight": X, "bias": X} for _ in range(3)]
    for tree in (layers, {"layers": layers, "act": jnp.tanh, "power": 2, "rate": 0.5}):
        program = filter_jit(lambda tree, x: x).lower(tree, X).compile()
        seen = [python_calls(lambda: program(tree, X)) for _ in range(4)]  # noqa: B023  (called at once)
        assert seen[-1] == seen[-2] == ["<lambda>", "_typedfilter_call", "again", *JAX_CALLS]
    assert not looks


JAX_CALLS = ["__init__", "__call__", "<lambda>"]  # our node is made, and JAX takes it apart


def python_calls(call: Any) -> list[str]:
    """The Python functions that a call runs, in order."""
    names: list[str] = []
    sys.setprofile(lambda frame, event, _: names.append(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names


@pytest.fixture
def compared(monkeypatch):
    """How often the arguments of a call were bound and compared one by one."""
    calls: list[int] = []
    dynamic = Ahead.dynamic

    def counted(*args, **kwargs):
        calls.append(1)
        return dynamic(*args, **kwargs)

    monkeypatch.setattr(Ahead, "dynamic", counted)
    return calls


def names(x, *args, mode: Static[str] = "a", **kwargs):
    return x * kwargs["scale"], args, mode


AGAIN: dict[str, tuple[Any, list[tuple[tuple[Any, ...], dict[str, Any]]]]] = {
    "a number": (by_type, [((X, 200 + 57), {}), ((X, int("257")), {}), ((X,), {"n": 257})]),
    "a float": (by_type, [((X, 0.5), {}), ((X, float("0.5")), {})]),
    "not a number": (by_type, [((X, float("nan")), {}), ((X, float("nan")), {})]),
    "a tuple of numbers": (lambda x, t: x * t[1], [((X, (1, 2.0)), {}), ((X, (1, float("2"))), {})]),
    "variadic": (names, [((X, 1, X), {"scale": X}), ((X, 1, X + 1), {"scale": X + 1, "mode": "a"})]),
    "a frozen model": (lambda m, x: m(x), [((Model(X), X), {}), ((Model(X + 1), X), {})]),
    "a dictionary": (split, [((TREE,), {}), ((dict(TREE),), {}), (({**TREE, "x": X + 1},), {})]),
    "keys of other classes": (lambda t: t[1], [(({1: X, 2: "s"},), {}), (({1: X + 1, 2: "s"},), {})]),
    "a stack": (filter_value_and_grad(lambda m, x: m(x).sum()), [((Model(X), X), {})]),
}


@pytest.mark.parametrize("kind", AGAIN)
def test_arguments_that_are_static_as_before_are_not_bound_again(kind, compared):
    fn, calls = AGAIN[kind]
    args, kwargs = calls[0]
    program = filter_jit(fn).lower(*args, **kwargs).compile()
    program(*args, **kwargs)
    compared.clear()  # of the first call it is learned of which classes the arguments are
    for args, kwargs in calls:
        assert same(program(*args, **kwargs), filter_jit(fn)(*args, **kwargs)) or kind == "not a number"
    assert not compared


def test_other_classes_of_arrays_are_taken_too():
    f = filter_jit(lambda tree, x: (tree["x"] * x, tree["name"]))
    program = f.lower({"x": S, "name": "n"}, S).compile()
    host = np.arange(3.0, dtype="float32")
    for x in (X, host, X, host):
        for leaf in (X, host):
            assert same(program({"x": leaf, "name": "n"}, x), (X * X, "n"))


def test_a_number_in_the_place_of_an_array_is_refused_each_time():
    one = jnp.float32(1)
    program = filter_jit(lambda tree, x: tree["x"] * x).lower({"x": one, "name": "n"}, one).compile()
    for _ in range(2):
        assert program({"x": one, "name": "n"}, one) == 1
        with pytest.raises(tf.StaticArgumentError, match="`x`"):
            program({"x": one, "name": "n"}, 1.0)
        with pytest.raises(tf.StaticArgumentError) as raised:
            program({"x": 1.0, "name": "n"}, one)
        assert str(raised.value) == (
            "<lambda>(): argument `tree['x']` is static, and is not what the program was compiled for\n"
            "  expected: an array f32[]\n"
            "  found: 1.0\n"
            "  fix: lower and compile for this value too, or call the jitted function itself"
        )


@dataclasses.dataclass
class Mutable:
    value: int

    def __hash__(self) -> int:
        return hash(self.value)


def test_an_object_that_was_changed_is_another_static_value():
    value = Mutable(1)
    program = filter_jit(lambda x, tree: x * tree["m"].value).lower(X, {"m": value, "x": X}).compile()
    for _ in range(2):
        assert same(program(X, {"m": value, "x": X}), X)
    value.value = 2
    with pytest.raises(tf.StaticArgumentError):
        program(X, {"m": value, "x": X})


# --------------------------------------------------------------------- programs that leave this process


def models(w, act, scale):
    def forward(model, x, n: Static[int] = 1):
        return {"y": model["act"](model["w"] * x) * model["scale"] * n, "act": model["act"]}

    return forward, {"w": w, "act": act, "scale": scale}


LOADED = """
import sys
import jax, numpy as np
from jax import export
exported = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
arrays = np.load(sys.argv[2])
out = exported.call([arrays["scale"], arrays["w"]], arrays["x"])
np.save(sys.argv[3], out[0] if isinstance(out, list) else out["y"])
assert "typedfilter" not in sys.modules and "equinox" not in sys.modules
"""


def test_a_function_of_a_model_with_an_activation_is_exported_and_loaded_without_the_library(tmp_path):
    forward, model = models(X + 1, jnp.tanh, jnp.float32(3))
    f = filter_jit(forward)
    (n,) = jax.export.symbolic_shape("n")
    any_size = jax.ShapeDtypeStruct((n,), jnp.float32)
    exported = export(f, platforms=["cpu", "tpu"])({**model, "w": any_size}, any_size, 2)
    assert exported.in_tree == jax.tree.structure((([0, 0], 0), {}))
    (tmp_path / "program").write_bytes(exported.serialize(vjp_order=1))
    x = np.linspace(-1, 1, 5, dtype="float32")
    w = np.arange(5, dtype="float32")
    np.savez(tmp_path / "arrays.npz", w=w, scale=np.float32(3), x=x)
    command = [sys.executable, "-c", LOADED, "program", "arrays.npz", "out.npy"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    assert_allclose(np.load(tmp_path / "out.npy"), np.tanh(w * x) * 6, rtol=1e-6)


MIXED: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "a model": (filter_jit(lambda m, x: (m(x), m)), (Model(X), X), ([X], X)),
    "an equinox model": (
        filter_jit(lambda m, x: m(x)),
        (eqx.nn.MLP(3, 3, 4, 1, key=jax.random.key(0)), X),
        None,
    ),
    "a model that is the function": (filter_jit(Model(X)), (X,), ([X], X)),
    "its method": (Model(X).apply, (X,), None),
    "a partial of it": (filter_jit(functools.partial(Model.__call__, Model(X))), (X,), ([X], X)),
    "a gradient": (filter_jit(filter_grad(lambda m, x: m(x).sum())), (Model(X), X), ([X], X)),
    "a map": (filter_jit(filter_vmap(lambda m, x: m(x), in_axes=(None, 0))), (Model(X), X), ([X], X)),
    "donated": (filter_jit(lambda m, x: m(x), donate="all-except-first"), (Model(X), X), ([X], X)),
}


@pytest.mark.parametrize("kind", MIXED)
def test_what_is_exported_takes_the_arrays_of_a_mixed_tree_as_a_list(kind):
    f, args, given = MIXED[kind]
    if kind == "its method":
        f, args, given = filter_jit(Model.__call__), (Model(X), *args), ([X], X)
    if given is None:
        given = (jax.tree.leaves(tf.filter(args[0], tf.is_array)), X)
    exported = deserialize(export(f)(*args).serialize())
    expected = f(*jax.tree.map(lambda leaf: leaf + 0 if tf.is_array(leaf) else leaf, args))
    out = exported.call(*jax.tree.map(jnp.array, given))
    arrays = [leaf for leaf in jax.tree.leaves(expected) if tf.is_array(leaf)]
    for one, other in zip(jax.tree.leaves(out), arrays, strict=True):
        assert_allclose(one, other, rtol=1e-6)
