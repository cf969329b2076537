"""Places go to `jax.jit` itself: memory, layouts, abstract results, refusals, donation; on eight devices."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import textwrap
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.experimental.layout import Format, Layout
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, PyTree
from meshes import AUTO, EXPLICIT, has_host_memory, set_mesh

from typedfilter import (
    AnnotationError,
    Donate,
    DonationError,
    ShapeError,
    explain,
    filter_checkpoint,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_shard,
    filter_vmap,
    pytree_dataclass,
)

P = PartitionSpec
MIXED = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Explicit, AxisType.Auto))
ROWS = NamedSharding(AUTO, P("data"))
X = jnp.arange(32.0).reshape(8, 4)
Rows = Annotated[Float[Array, "b n"], P("data")]
has_unreduced = pytest.mark.skipif(jax.__version_info__ < (0, 8), reason="needs another partitioner")


def doubled(x: Rows) -> Rows:
    return x * 2


def host():
    return NamedSharding(AUTO, P("data"), memory_kind="pinned_host")


# Memory, layouts, what is left to the compiler --------------------------------------------------------------


@has_host_memory
def test_a_result_goes_to_host_memory():
    assert filter_jit(lambda x: x * 2, out_shardings=host())(X).sharding.memory_kind == "pinned_host"
    mixed = filter_jit(lambda x: (x * 2, {"x": x, "name": "n"}), out_shardings=(ROWS, host()))(X)
    assert [mixed[0].sharding.memory_kind, mixed[1]["x"].sharding.memory_kind] == ["device", "pinned_host"]
    assert mixed[1]["name"] == "n"


@has_host_memory
def test_an_argument_comes_from_host_memory():
    f = filter_jit(lambda x: filter_shard(x, ROWS) * 2, in_shardings=host())
    assert np.array_equal(f(jax.device_put(X, host())), 2 * X)
    with pytest.raises(ShapeError, match=r"argument `x` is placed otherwise than its in_shardings says"):
        f(jax.device_put(X, ROWS))


@has_host_memory
def test_filter_shard_moves_between_memories_inside_of_a_program():
    out = filter_jit(lambda x: filter_shard({"x": x * 2, "n": 1}, host()))(X)
    assert out["x"].sharding.memory_kind == "pinned_host"


def test_dimensions_may_be_left_to_the_compiler_on_a_mesh_of_both_kinds():
    with set_mesh(MIXED):
        x = jax.device_put(X, NamedSharding(MIXED, P("a")))
        inside = filter_jit(lambda x: filter_shard(x * 1, P(P.UNCONSTRAINED, "b")))(x)
        result = filter_jit(lambda x: x * 1, out_shardings=P(P.UNCONSTRAINED, "b"))(x)
    assert inside.sharding.spec == result.sharding.spec == P("a", "b")


@has_host_memory
@pytest.mark.parametrize("mesh", [AUTO, MIXED], ids=["auto", "mixed"])
def test_dimensions_may_be_left_to_the_compiler_on_the_way_to_host_memory(mesh):
    first, second = mesh.axis_names
    place = NamedSharding(mesh, P(P.UNCONSTRAINED, second), memory_kind="pinned_host")
    with set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, P(first)))
        for out in (
            filter_jit(lambda x: filter_shard(x * 1, place))(x),
            filter_jit(lambda x: x * 1, out_shardings=place)(x),
        ):
            assert np.array_equal(out, X)
            assert out.sharding == NamedSharding(mesh, P(first, second), memory_kind="pinned_host")


def test_a_layout_of_the_compiler_s_choice_is_one_of_whole_arguments():
    free = Format(Layout.AUTO, ROWS)
    struct = jax.ShapeDtypeStruct(X.shape, X.dtype)
    wanted = jax.jit(lambda x: x * 2, in_shardings=free, out_shardings=free).lower(struct).compile()
    f = filter_jit(lambda tree: tree["x"] * 2, in_shardings=free, out_shardings=free)
    program = f.lower({"x": struct, "n": "name"}).compile()
    assert jax.tree.leaves(program.input_formats) == jax.tree.leaves(wanted.input_formats)
    assert program.output_formats == wanted.output_formats
    x = jax.device_put(X, jax.tree.leaves(program.input_formats)[0])
    assert np.array_equal(program({"x": x, "n": "name"}), 2 * X)

    def doubled(tree: Any) -> Any:
        return tree["x"] * 2

    doubled.__qualname__ = "doubled"
    with pytest.raises(ShapeError) as caught:
        filter_jit(doubled, in_shardings={"tree": {"x": free, "n": None}}).lower({"x": struct, "n": "name"})
    assert str(caught.value) == (
        "doubled(): argument `tree['x']` is to have a layout that the compiler chooses, which it does for "
        "whole arguments of filter_jit\n"
        "  expected: a Layout\n"
        "  found: Layout.AUTO\n"
        "  fix: name one; or give one Format for all of an argument, or annotate it as arrays alone: "
        "PyTree[Array]"
    )

    def of_arrays(tree: PyTree[Array]) -> Array:
        return tree["x"] * 2

    by_leaf = filter_jit(of_arrays, in_shardings={"tree": {"x": free}}).lower({"x": struct}).compile()
    assert jax.tree.leaves(by_leaf.input_formats) == jax.tree.leaves(wanted.input_formats)


def test_layouts_are_places():
    rows = Format(Layout(major_to_minor=(1, 0)), ROWS)
    f = filter_jit(lambda x: x * 2, in_shardings=rows, out_shardings=rows)
    assert f(X).format.layout.major_to_minor == (1, 0)
    assert filter_shard(X, rows).format.layout.major_to_minor == (1, 0)
    assert filter_jit(lambda x: filter_shard(x, rows))(X).sharding.is_equivalent_to(ROWS, 2)


@has_unreduced
def test_partial_sums_may_stay_on_their_devices():
    unreduced = P(None, unreduced={"model"})

    def f(a: Array, b: Array) -> Annotated[Float[Array, "..."], unreduced]:
        return jnp.einsum("ij,jk->ik", a, b, out_sharding=unreduced)

    f.__annotations__ = {"return": Annotated[Float[Array, "..."], unreduced]}
    with set_mesh(EXPLICIT):
        a, b = jax.device_put(X, P(None, "model")), jax.device_put(X.T, P("model"))
        out = filter_jit(f)(a, b)
        assert out.sharding.spec.unreduced == {"model"}
        whole = filter_jit(lambda a, b: filter_shard(f(a, b), P()))(a, b)
        np.testing.assert_allclose(filter_shard(out, P()), X @ X.T)
    np.testing.assert_allclose(whole, X @ X.T)
    assert "PartitionSpec(None, unreduced={'model'})" in str(explain(filter_jit(f)))


@has_unreduced
def test_partial_sums_need_an_axis_that_is_explicit():
    unreduced = P(None, unreduced={"model"})
    auto = jax.make_mesh((1, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)

    def f(a: Array) -> Array:
        return a

    f.__qualname__ = "f"
    f.__annotations__ = {"a": Array, "return": Annotated[Array, unreduced]}
    with set_mesh(auto), pytest.raises(AnnotationError) as caught:
        filter_jit(f)(X)
    assert str(caught.value) == (
        "f(): the return value is to be unreduced along 'model', whose partial sums the compiler keeps to "
        "itself\n"
        "  expected: axes that are Explicit\n"
        "  found: PartitionSpec(None, unreduced={'model'}), and 'model' is Auto\n"
        "  fix: make it an Explicit axis: jax.make_mesh(..., axis_types=...)"
    )


# Ahead of time ------------------------------------------------------------------------------------------


def test_abstract_results_say_where_they_will_be():
    f = filter_jit(lambda x: x * 2, in_shardings=ROWS, out_shardings=ROWS)
    assert f.eval_shape(X).sharding == ROWS
    assert f.lower(X).out_info.sharding == ROWS
    assert f.lower(X).compile().input_shardings == ((ROWS,), {})
    tree = filter_jit(lambda x: {"x": x * 2, "n": 2}, out_shardings={"x": ROWS, "n": None}).eval_shape(X)
    assert (tree["x"].sharding, tree["n"]) == (ROWS, 2)


def rows_by_rule(leaf):
    return P("data") if leaf.ndim == 2 else P()


@pytest.mark.parametrize("given", [X, jax.ShapeDtypeStruct(X.shape, X.dtype)], ids=["arrays", "structs"])
def test_compiled_programs_say_by_name_where_their_arguments_are(given):
    def step(layer: Layer, x: Rows, unused: Array):
        return layer.weight * 2, layer.activation, x, layer.bias

    bias = given[0] if isinstance(given, jax.Array) else jax.ShapeDtypeStruct((4,), given.dtype)
    layer = Layer(given, bias)
    columns, whole = NamedSharding(AUTO, P(None, "model")), NamedSharding(AUTO, P())
    ruled = filter_jit(lambda tree: (tree["x"] * 2, tree["b"]), in_shardings=rows_by_rule)
    with set_mesh(AUTO):
        program = filter_jit(step).lower(layer, given, given).compile()
        by_rule = ruled.lower({"x": given, "b": bias, "name": "n"}).compile()
    (parts, rows, _), _ = program.input_shardings
    assert (parts[0], rows) == (columns, ROWS)
    (tree,), _ = by_rule.input_shardings
    assert set(tree) == {ROWS, whole}


def test_no_constraint_is_left_in_the_program_for_jit_to_trace():
    f = filter_jit(lambda x: x * 2, in_shardings=ROWS, out_shardings=ROWS)
    assert "sharding_constraint" not in str(f.trace(X).jaxpr)
    with set_mesh(AUTO):
        assert "sharding_constraint" not in str(filter_jit(doubled).trace(X).jaxpr)


# Arrays that are elsewhere -------------------------------------------------------------------------------


def test_devices_in_another_order_are_no_other_devices():
    other = Mesh(np.array(jax.devices())[::-1].reshape(4, 2), ("data", "model"))
    x = jax.device_put(X, NamedSharding(other, P("data")))
    with set_mesh(AUTO):
        for f in (filter_jit(lambda x: x * 2, in_shardings=ROWS), filter_jit(doubled)):
            out = f(x)  # once: at a second call of this kind JAX 0.10 itself ends the process
            assert np.array_equal(out, X * 2)
            assert out.sharding.is_equivalent_to(ROWS, 2)


@pytest.mark.parametrize("run", [lambda f, x: f(x), lambda f, x: f.lower(x)], ids=["call", "lower"])
def test_an_argument_that_is_split_otherwise_is_not_moved_in_secret(run):
    with set_mesh(AUTO), pytest.raises(ShapeError) as caught:
        run(filter_jit(doubled), jax.device_put(X, NamedSharding(AUTO, P(None, "model"))))
    assert str(caught.value) == (
        """doubled(): argument `x` is placed otherwise than its annotation says, and isn't moved in secret
  expected: PartitionSpec('data')
  found: an array f32[8,4] on PartitionSpec(None, 'model') of data=4, model=2
  fix: move it before the call: filter_shard; or leave the place of this argument open"""
    )


@pytest.mark.parametrize("mesh", [None, AUTO, EXPLICIT], ids=["none", "its own", "another"])
def test_a_compiled_program_names_what_is_split_otherwise_wherever_it_is_called(mesh):
    with set_mesh(AUTO):
        program = filter_jit(doubled).lower(X).compile()
    with contextlib.nullcontext() if mesh is None else set_mesh(mesh), pytest.raises(ShapeError) as caught:
        program(jax.device_put(X, NamedSharding(AUTO, P(None, "model"))))
    assert caught.value.parameter == "x"
    assert caught.value.actual == "an array f32[8,4] on PartitionSpec(None, 'model') of data=4, model=2"
    with pytest.raises(TypeError, match="Cannot apply JAX transformations"):
        jax.jit(lambda x: program(x))(X)


def test_an_annotated_argument_on_another_device_is_named():
    with set_mesh(AUTO), pytest.raises(ShapeError, match=r"argument `x` is committed to device 3, but its"):
        filter_jit(doubled)(jax.device_put(X, jax.devices()[3]))


def test_what_is_whole_on_each_device_is_split_without_a_word():
    with set_mesh(AUTO):
        out = filter_jit(doubled)(jnp.ones((8, 4)))
    assert out.sharding.is_equivalent_to(ROWS, 2)


@pytest.mark.parametrize("spec", [P("data", "data"), P("rows")], ids=["twice", "unknown"])
def test_a_spec_that_no_mesh_has_is_refused_by_name(spec):
    with set_mesh(AUTO):
        with pytest.raises(ShapeError, match="argument `x` is to be split along"):
            filter_jit(lambda x: x, in_shardings=spec)(X)
        with pytest.raises(ShapeError, match="the return value is to be split along"):
            filter_jit(lambda x: x, out_shardings=spec)(X)


# Donation -----------------------------------------------------------------------------------------------

AGAIN = """
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from typedfilter import Donate, DonationError, filter_jit

@filter_jit
def step(tree: Donate[dict], *rest: Donate[jax.Array], k: Donate[jax.Array]):
    return tree["x"] + 1, rest, k

def beside(state: Donate[jax.Array], batch):
    return state + batch[0]

mesh = jax.make_mesh((4,), ("d",))
new = lambda: jax.device_put(jnp.arange(8.0), NamedSharding(mesh, PartitionSpec("d")))
for place in ("x", "rest", "k"):
    kept = new()
    one = {"x": new(), "rest": new(), "k": new(), place: kept}
    call = lambda one: step({"x": one["x"], "name": "n"}, one["rest"], k=one["k"])
    call(one)
    try:
        call({"x": new(), "rest": new(), "k": new(), place: kept})
    except DonationError as error:
        print(error.parameter)
plain = filter_jit(lambda x: x + 1, donate="all")
x = new()
plain(x)
for again in (plain, plain):
    try:
        again(x)
    except DonationError as error:
        print(error.parameter)

# What does not donate: arrays, models, static arguments beside, a program compiled ahead of time.
y = new()
keeps = {
    "array": (filter_jit(lambda a: a * 2), lambda a: (a,)),
    "model": (filter_jit(lambda tree: tree["a"] * 2), lambda a: ({"a": a, "name": "n"},)),
    "static": (filter_jit(lambda a, n: a * n), lambda a: (a, 2)),
    "variadic": (filter_jit(lambda *more: more[0] * 2), lambda a: ([a], a)),
    "ahead": (filter_jit(lambda a: a * 2).lower(y).compile(), lambda a: (a,)),
    "beside": (filter_jit(beside), lambda a: (new(), [a])),
}
for name, (call, given) in keeps.items():
    call(*given(y))
    for again in range(2):
        try:
            call(*given(x))
        except DonationError as error:
            print(name, error.parameter)
del x, again
step({"x": new(), "name": "n"}, k=new())
for call, given in keeps.values():
    call(*given(y))
print("runs")

# What plain `jax.jit` has donated is refused where it is passed to anything that runs.
import typedfilter as tf
from jax.sharding import AxisType
from typing import Any

@tf.pytree_dataclass
class Frozen:
    w: jax.Array
    act: Any = jnp.tanh

    def step(self, carry, x):
        return carry, x * self.w.sum()

    def __call__(self, x):
        return x * self.w.sum()

def total(tree):
    return (tree["a"] * 2).sum()

def twice(tree):
    return {"a": tree["a"] * 2}

def whole(model):
    return model.w * 2

def scanned(carry, x):
    return carry, x * 2

ruled = tf.filter_custom_vjp(lambda tree: (tree["a"] * 2).sum())
ruled.def_fwd(lambda perturbed, tree: (total(tree), tree))
ruled.def_bwd(lambda residuals, g, perturbed, tree: tree)
one, two = jnp.ones(()), jnp.ones(2)
donating = jax.jit(lambda a: a + 1, donate_argnums=0)
mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
new = lambda: jax.device_put(jnp.arange(4.0) + 1, NamedSharding(mesh, PartitionSpec("d")))
tree, model, passed = lambda a: {"a": a}, lambda a: Frozen(a), lambda a: a
keeps = {
    "jit": (tf.filter_jit(twice), tree),
    "jit, first one device": (tf.filter_jit(twice), tree),
    "jit, mixed": (tf.filter_jit(whole), model),
    "jit, nested": (tf.filter_jit(lambda models: models[0].w * 2), lambda a: [Frozen(a), 1]),
    "jit of a map": (tf.filter_jit(tf.filter_vmap(lambda t: t["a"] * 2)), tree),
    "ahead": (tf.filter_jit(whole).lower(model(new())).compile(), model),
    "vmap": (tf.filter_vmap(twice), tree),
    "vmap of a model": (lambda model: tf.filter_vmap(model)(two), model),
    "grad": (tf.filter_grad(total), tree),
    "jvp": (lambda t: tf.filter_jvp(total, (t,), (tree(new()),)), tree),
    "jvp of a model": (lambda model: tf.filter_jvp(model, (one,), (one,)), model),
    "vjp": (lambda t: tf.filter_vjp(total, t), tree),
    "jacrev": (tf.filter_jacrev(total), tree),
    "checkpoint": (tf.filter_checkpoint(twice), tree),
    "custom_vjp": (ruled, tree),
    "scan": (lambda a: tf.filter_scan(scanned, 0.0, a), passed),
    "scan of a method": (lambda model: tf.filter_scan(model.step, 0.0, two), model),
    "while": (lambda t: tf.filter_while_loop(lambda t: t["a"][0] < 0, twice, t), tree),
    "cond": (lambda t: tf.filter_cond(True, twice, twice, t), tree),
    "map": (lambda t: tf.filter_map(twice, t), tree),
    "associative": (lambda a: tf.filter_associative_scan(jnp.add, a), passed),
    "converted": (tf.filter_closure_convert(twice, tree(new())), tree),
    "shard": (lambda t: tf.filter_shard(t, jax.devices()[1]), tree),
}
keeps["jit, first one device"][0](tree(jnp.arange(4.0)))
for name, (call, given) in keeps.items():
    array = new()
    call(given(new()))
    for model_of in (given(array), given(array)):
        call(model_of)
    donating(array)
    for again in (model_of, given(array)):
        try:
            call(again)
        except RuntimeError as error:
            print(name, getattr(error, "parameter", "deleted" in str(error)))
    call(given(new()))
print(tf.filter_make_jaxpr(twice)(tree(array))[1]["a"].shape)
"""
BESIDE = ("vmap of a model", "jvp of a model", "scan of a method")  # no argument is to blame
NAMES = {
    "jit, mixed": "model.w",
    "ahead": "model.w",
    "jit, nested": "models[0].w",
    "shard": "x['a']",
    "scan": "x",
    "associative": "args[0]",
    "jit of a map": "t['a']",
    **dict.fromkeys(BESIDE, "True"),
}


def test_a_donated_array_on_several_devices_that_is_used_again_is_an_error_and_not_the_end():
    program = 'import os; os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"\n' + AGAIN
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    donated, kept = done.stdout.splitlines()[:5], done.stdout.splitlines()[5:18]
    assert donated == ["tree['x']", "rest[0]", "k", "x", "x"], done.stderr
    names = ["array a", "model tree['a']", "static a", "variadic more[0][0]", "ahead a", "beside batch[0]"]
    assert kept == [*(name for name in names for _ in range(2)), "runs"], done.stderr
    calls = done.stdout.splitlines()[18:]
    refused = [re.match(r"(.*) (\S+)", line).groups() for line in calls[:-1]]
    assert refused == [(name, NAMES.get(name, "tree['a']")) for name, _ in refused], done.stderr
    assert len(refused) == 2 * 23
    assert calls[-1] == "(4,)"


def test_donated_state_that_is_placed_is_given_away():
    x = jax.device_put(X, ROWS)

    @filter_jit
    def step(x: Donate[Rows]) -> Rows:
        return x + 1

    with set_mesh(AUTO):
        before = [shard.data.unsafe_buffer_pointer() for shard in x.addressable_shards]
        out = step(x)
        after = [shard.data.unsafe_buffer_pointer() for shard in out.addressable_shards]
        with pytest.raises(DonationError):
            step(x)
    assert sorted(before) == sorted(after)


# Where markers may stand --------------------------------------------------------------------------------


class Pair(NamedTuple):
    x: Annotated[Float[Array, "b n"], P("data")]
    y: Array


@pytree_dataclass
class Layer:
    weight: Annotated[Float[Array, "b n"], P(None, "model")]
    bias: Float[Array, "n"]
    activation: Any = jnp.tanh

    def __call__(self, x):
        return self.weight


def test_fields_say_where_their_arrays_are():
    with set_mesh(AUTO):
        pair = filter_jit(lambda pair: pair)(Pair(X, X))
        made = filter_jit(lambda: Layer(X, X[0]))()
        called = filter_jit(Layer(X, X[0]))(1)
        grads = filter_jit(filter_grad(lambda layer: layer.weight.sum()))(Layer(X, X[0]))
    assert (pair.x.sharding.spec, made.weight.sharding.spec) == (P("data"), P(None, "model"))
    assert called.sharding.spec == P(None, "model")
    assert made.activation is jnp.tanh
    assert np.array_equal(grads.weight, jnp.ones((8, 4)))


def test_shardings_and_devices_are_annotations_too():
    def rows(x: Annotated[Float[Array, "b n"], ROWS]) -> Annotated[Float[Array, "b n"], ROWS]:
        return x * 2

    def third(x: Annotated[Float[Array, "b n"], jax.devices()[3]]):
        return x * 2

    rows.__annotations__ = dict.fromkeys(["x", "return"], Annotated[Float[Array, "b n"], ROWS])
    third.__annotations__ = {"x": Annotated[Float[Array, "b n"], jax.devices()[3]]}
    assert filter_jit(rows)(X).sharding == ROWS
    assert filter_jit(third)(X).devices() == {jax.devices()[3]}


def test_a_spec_in_the_place_of_a_type_is_refused():
    def f(x):
        return x

    f.__annotations__ = {"return": P("data")}
    with pytest.raises(AnnotationError) as caught:
        filter_jit(f)
    assert str(caught.value) == (
        """f(): the return value is annotated PartitionSpec('data'), but a place alone says nothing of a type
  fix: write Annotated[T, PartitionSpec('data')]"""
    )


def test_under_plain_jit_other_wrappers_place_too():
    with set_mesh(AUTO):
        assert jax.jit(filter_checkpoint(doubled))(X).sharding.spec == P("data")
        assert jax.jit(filter_vmap(doubled))(jnp.stack([X, X])).sharding.spec == P(None, "data")


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_inside_of_shard_map_a_manual_axis_is_refused(jit):
    for body, name in (
        (filter_jit(doubled), "doubled"),
        (lambda x: filter_shard(x, P("data")), "filter_shard"),
    ):
        with set_mesh(AUTO), pytest.raises((AnnotationError, ShapeError)) as caught:
            jit(jax.shard_map(body, in_specs=P("data"), out_specs=P("data")))(X)
        assert str(caught.value).splitlines()[0] == (
            f"{name}(): argument `x` is to be split along 'data', and 'data' is manual here"
        )


def test_inside_of_shard_map_other_axes_are_placed():
    inner = filter_jit(lambda x: x * 2, in_shardings=P(None, "model"))
    with set_mesh(AUTO):
        mapped = jax.shard_map(inner, in_specs=P("data"), out_specs=P("data"), axis_names={"data"})
        assert np.array_equal(jax.jit(mapped)(X), 2 * X)


def test_rules_say_where_each_array_goes():
    def rule(leaf):
        return P("data") if leaf.ndim else P()

    tree = {"x": X, "count": jnp.float32(1), "name": "n"}
    with set_mesh(AUTO):
        out = filter_jit(lambda tree: tree, in_shardings=rule, out_shardings=rule)(tree)
        assert (out["x"].sharding.spec, out["name"]) == (P("data"), "n")
        assert filter_shard(tree, rule)["x"].sharding.spec == P("data")
        with pytest.raises(ShapeError, match=r"argument `x\['x'\]` is int 3, which is no place"):
            filter_shard({"x": X}, lambda leaf: 3)


def test_filter_shard_is_allowed_where_nothing_may_be_sent_from_the_host():
    x = jax.device_put(X, ROWS)
    with jax.transfer_guard("disallow"):
        assert filter_shard({"x": x}, ROWS)["x"].sharding == ROWS


# What is known before a call --------------------------------------------------------------------------------


@pytree_dataclass
class Sharded:
    weight: Annotated[Float[Array, "b n"], P("data")]
    bias: Float[Array, "n"]
    activation: Any = jnp.tanh


def create():
    return Sharded(jnp.ones((8, 4)), jnp.zeros(4))


def annotated() -> Rows:
    return jnp.ones((8, 4))


@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
def test_shapes_have_the_shardings_that_the_arrays_will_have(mesh):
    with set_mesh(mesh):
        by_option = filter_jit(lambda: jnp.ones((8, 4)), out_shardings=P("data"))
        for f in (filter_jit(create), filter_jit(annotated), by_option):
            arrays = f()
            for shapes in (f.eval_shape(), filter_eval_shape(f), f.lower().out_info, f.trace().out_info):
                told = jax.tree.leaves(shapes)
                for struct, array in zip(told, jax.tree.leaves(arrays), strict=True):
                    if not isinstance(array, jax.Array):
                        assert struct is array
                    elif struct.sharding is not None:
                        assert struct.sharding.is_equivalent_to(array.sharding, array.ndim)
                assert told[0].sharding.mesh == mesh
                assert told[0].sharding.spec[0] == "data"
    assert filter_eval_shape(create).weight.sharding is None  # nobody places what is not compiled


def test_explain_says_which_fields_are_placed_and_which_are_moved_at_each_call():
    columns = jax.device_put(X, NamedSharding(AUTO, P(None, "model")))
    with set_mesh(AUTO):
        f = filter_jit(lambda m: m)
        there = str(explain(f, f(Sharded(X, jnp.zeros(4)))))
        moved = str(explain(f, Sharded(columns, jnp.zeros(4))))
    lines = [line for text in (there, moved) for line in text.splitlines() if "m.weight" in line]
    assert [line.split("  ")[-1] for line in lines] == [
        "traced, placed",
        "traced, placed, moved at each call",
    ]
