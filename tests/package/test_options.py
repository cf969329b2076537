"""Every option of JAX's own transforms: ours has it under the same name, or the table says why not.

The table is compared with the signatures of the JAX that runs: a release that adds an option fails here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

import typedfilter
from typedfilter import (
    AnnotationError,
    NoDiff,
    ShapeError,
    VmapAxisError,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_make_jaxpr,
    filter_pmap,
    filter_pure_callback,
    filter_shard_map,
    filter_value_and_grad,
    filter_vmap,
)

BY_ANNOTATION = "annotations say which arguments: Static[...], Donate[...], Diff[...]"
BY_KIND = "what is differentiated is told apart leaf by leaf: everything else is not"
AS_PYTREE = "whatever the function returns is returned, so there is nothing to set apart"
GONE = "it has no effect in JAX any more"
PRIVATE = "JAX does not document it"
FIRST = {"fun", "f", "fn", "callback", "x", "args", "kwargs", "primals", "example_args", "operands"}
LOOPS = {"cond_fun", "body_fun", "init_val", "init", "xs", "lower", "upper", "pred", "true_fun", "false_fun"}
POSITIONAL = FIRST | LOOPS | {"index", "branches", "elems", "tangents"}

# For each of ours: its counterpart, and the options of that which it has not, with the reason.
INNER = "tells JAX which tangents are zero, or what to save: here `None` and stop_gradient say the first"
COUNTERPARTS: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "filter_jit": (
        jax.jit,
        dict.fromkeys(
            ("static_argnums", "static_argnames", "donate_argnums", "donate_argnames"), BY_ANNOTATION
        )
        | {"abstracted_axes": "it was never implemented"},
    ),
    "filter_make_jaxpr": (
        jax.make_jaxpr,
        {
            "static_argnums": BY_ANNOTATION,
            "abstracted_axes": "it was never implemented",
            "return_shape": "the structure of the result is always returned",
        },
    ),
    "filter_eval_shape": (jax.eval_shape, {}),
    "filter_shard": (
        jax.device_put,
        {
            "device": "device_or_shardings says it",
            "src": "it is about arrays that no program holds, and filter_shard stands in programs",
            "donate": "it is about arrays that no program holds, and filter_shard stands in programs",
            "may_alias": "it is about arrays that no program holds, and filter_shard stands in programs",
        },
    ),
    "filter_grad": (jax.grad, {"argnums": BY_ANNOTATION, "reduce_axes": GONE}),
    "filter_value_and_grad": (jax.value_and_grad, {"argnums": BY_ANNOTATION, "reduce_axes": GONE}),
    "filter_jacfwd": (jax.jacfwd, {"argnums": BY_ANNOTATION}),
    "filter_jacrev": (jax.jacrev, {"argnums": BY_ANNOTATION}),
    "filter_hessian": (jax.hessian, {"argnums": BY_ANNOTATION}),
    "filter_jvp": (jax.jvp, {"has_aux": AS_PYTREE}),
    "filter_vjp": (jax.vjp, {"reduce_axes": GONE, "in_nzs": INNER, "saveable_args": INNER}),
    "filter_linearize": (jax.linearize, {"in_nzs": INNER}),
    "filter_custom_jvp": (
        jax.custom_jvp,
        {"nondiff_argnums": BY_KIND, "nondiff_argnames": BY_KIND},
    ),
    "filter_custom_vjp": (
        jax.custom_vjp,
        {"nondiff_argnums": BY_KIND, "nondiff_argnames": BY_KIND},
    ),
    "filter_checkpoint": (
        jax.checkpoint,
        {"static_argnums": BY_ANNOTATION, "static_argnames": BY_ANNOTATION, "concrete": GONE},
    ),
    "filter_closure_convert": (jax.closure_convert, {}),
    "filter_vmap": (jax.vmap, {"sum_match": PRIVATE}),
    "filter_pmap": (
        jax.pmap,
        {
            "static_broadcasted_argnums": BY_ANNOTATION,
            "donate_argnums": "donate says it, or Donate[...] of single arguments",
            "global_arg_shapes": GONE,
        },
    ),
    "filter_pure_callback": (jax.pure_callback, {"vectorized": "beside vmap_method, as in the reference"}),
    "filter_shard_map": (jax.shard_map, {}),
    "filter_scan": (jax.lax.scan, {"_split_transpose": PRIVATE}),
    "filter_while_loop": (jax.lax.while_loop, {}),
    "filter_fori_loop": (jax.lax.fori_loop, {}),
    "filter_cond": (jax.lax.cond, {"operand": "the older way to pass operands", "linear": GONE}),
    "filter_switch": (jax.lax.switch, {"operand": "the older way to pass operands", "linear": GONE}),
    "filter_map": (jax.lax.map, {}),
    "filter_associative_scan": (jax.lax.associative_scan, {}),
}
PAIRS = [name for name in COUNTERPARTS if hasattr(typedfilter, name)]


def options_of(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - POSITIONAL


@pytest.mark.parametrize("name", PAIRS)
def test_every_option_of_jax_is_ours_or_is_refused_with_a_reason(name):
    counterpart, refused = COUNTERPARTS[name]
    ours = options_of(getattr(typedfilter, name))
    unknown = options_of(counterpart) - ours - set(refused)
    assert unknown == set(), f"jax.{counterpart.__name__} has options that {name} has not: {sorted(unknown)}"
    assert all(refused.values())


@pytest.mark.parametrize("name", PAIRS)
def test_no_option_of_ours_is_hidden_behind_kwargs(name):
    takes_arguments = name in (
        "filter_vjp",
        "filter_eval_shape",
        "filter_jvp",
        "filter_closure_convert",
        "filter_pure_callback",
    )
    kinds = [p.kind for p in inspect.signature(getattr(typedfilter, name)).parameters.values()]
    assert inspect.Parameter.VAR_KEYWORD not in kinds or takes_arguments


def test_every_transform_stands_in_the_table():
    assert [name for name in typedfilter.__all__ if name.startswith("filter_") and name not in PAIRS] == []


def test_each_option_is_documented():
    for name in PAIRS:
        doc = inspect.getdoc(getattr(typedfilter, name)) or ""
        parameters = inspect.signature(getattr(typedfilter, name)).parameters.values()
        missing = [p.name for p in parameters if f"{p.name}:" not in doc and p.name not in POSITIONAL]
        referred = "arguments and" in doc or "arguments and the errors" in doc or "As `jax.eval_shape`" in doc
        assert missing == [] or referred, (name, missing)


# What the options do --------------------------------------------------------------------------------------

X = jnp.arange(3.0)
LAST = jax.devices()[-1]


@pytest.mark.parametrize("options", [{"device": LAST}, {"backend": "cpu"}])
def test_jit_runs_on_a_device(options):
    expected = options.get("device", jax.local_devices(backend="cpu")[0])
    f = filter_jit(lambda x, k: (x * k, k), **options)
    for out, k in (f(X, 2), f.lower(X, 2).compile()(X, 2)):
        assert (out.devices(), k) == ({expected}, 2)
        assert jnp.array_equal(out, 2 * X)
    assert filter_jit(lambda: jnp.ones(2), **options)().devices() == {expected}


def test_jit_refuses_two_places():
    with pytest.raises(AnnotationError, match="is given two places: in_shardings and device"):
        filter_jit(lambda x: x, in_shardings=LAST, device=LAST)
    with pytest.raises(AnnotationError, match="is given two places: device and backend"):
        filter_jit(lambda x: x, device=LAST, backend="cpu")


def test_jit_passes_options_to_the_compiler():
    f = filter_jit(lambda x: x + 1, compiler_options={"xla_embed_ir_in_executable": True})
    assert jnp.array_equal(f(X), X + 1)
    with pytest.raises(Exception, match="no_such_option"):
        filter_jit(lambda x: x + 1, compiler_options={"no_such_option": 1})(X)


def test_pmap_runs_on_the_devices_that_are_given():
    devices = jax.devices()[-2:]
    f = filter_pmap(lambda x, k: (x * 2, k), devices=devices)
    out, k = f(jnp.ones((2, 3)), 1)
    assert (out.devices(), k) == (set(devices), 1)
    assert filter_pmap(lambda x: x, backend="cpu")(jnp.ones((2, 3))).shape == (2, 3)


def test_pmap_refuses_more_examples_than_devices_that_are_given():
    with pytest.raises(VmapAxisError, match="is mapped over 2 devices, and there are 1"):
        filter_pmap(lambda x: x, devices=[LAST])(jnp.ones((2, 3)))
    with pytest.raises(AnnotationError, match="is given two choices of devices"):
        filter_pmap(lambda x: x, devices=[LAST], backend="cpu")


Z = jnp.array([1 + 2j, 3 - 1j])


def test_derivatives_of_holomorphic_functions_are_those_of_jax():
    def f(tree):
        return jnp.sum(tree["z"] ** 3)

    tree = {"z": Z, "name": "n"}
    expected = 3 * Z**2
    assert jnp.allclose(filter_grad(f, holomorphic=True)(tree)["z"], expected)
    value, grad = filter_value_and_grad(f, holomorphic=True)(tree)
    assert jnp.allclose(value, jnp.sum(Z**3))
    assert grad["name"] is None
    for jacobian in (filter_jacfwd, filter_jacrev):
        assert jnp.allclose(jacobian(f, holomorphic=True)(tree)["z"], expected)
    hessian = filter_hessian(f, holomorphic=True)(tree)["z"]["z"]
    assert jnp.allclose(hessian, jnp.diag(6 * Z))


@pytest.mark.parametrize("transform", [filter_grad, filter_jacfwd, filter_jacrev, filter_hessian])
def test_a_real_argument_of_a_holomorphic_function_is_refused(transform):
    with pytest.raises(
        ShapeError, match=r"argument `x` can't be differentiated by \w+: it is an array f32\[3\]"
    ):
        transform(lambda x: jnp.sum(x), holomorphic=True)(X)


def test_a_real_result_of_a_holomorphic_function_is_refused():
    with pytest.raises(ShapeError, match="as a holomorphic function: it is an array f32"):
        filter_grad(lambda z: jnp.abs(jnp.sum(z)), holomorphic=True)(Z)


def test_integers_have_the_gradient_that_jax_gives_them():
    tree = {"x": X, "n": jnp.arange(3), "name": "n", "k": 2}
    grad = filter_grad(lambda t: jnp.sum(t["x"] * t["n"]), allow_int=True)(tree)
    assert jnp.array_equal(grad["x"], tree["n"])
    assert grad["n"].dtype == jax.dtypes.float0
    assert (grad["name"], grad["k"]) == (None, None)
    assert filter_grad(lambda n: n * 2.0, allow_int=True)(jnp.array(3)).dtype == jax.dtypes.float0
    row = filter_jacrev(lambda t: t["x"] * t["n"], allow_int=True)(tree)
    assert jnp.array_equal(row["x"], jnp.diag(1.0 * tree["n"]))
    assert not jnp.any(row["n"])


def test_frozen_integers_have_no_gradient_even_so():
    def f(n: NoDiff[Any], x: Any) -> Any:
        return jnp.sum(n * x)

    with pytest.raises(ShapeError):
        filter_grad(f, allow_int=True)(jnp.arange(3), X)


def test_spmd_axis_name_and_axis_env_reach_jax():
    f = filter_vmap(lambda x: x * 2, spmd_axis_name="batch")
    assert jnp.array_equal(f(X), 2 * X)
    assert f.transform.spmd_axis_name == "batch"
    jaxpr, struct, _ = filter_make_jaxpr(lambda x: jax.lax.psum(x, "i"), axis_env=[("i", 4)])(X)
    assert "psum" in str(jaxpr)
    assert struct.shape == (3,)


@pytest.mark.parametrize("places", [{}, {"spmd_axis_name": "data"}], ids=["without", "with"])
def test_a_map_around_blocks_leaves_the_batch_split_where_it_has_the_name_of_its_axis(places):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    specs: dict[str, Any] = {"mesh": mesh, "in_specs": PartitionSpec("model")}
    specs["out_specs"] = PartitionSpec("model")
    both = NamedSharding(mesh, PartitionSpec("data", "model"))
    x = jax.device_put(jnp.arange(32.0).reshape(8, 4), both)
    ours = filter_jit(filter_vmap(filter_shard_map(lambda x: x + x, **specs), **places))
    theirs = jax.jit(jax.vmap(jax.shard_map(lambda x: x + x, **specs), **places))
    out, expected = ours(x), theirs(x)
    assert jnp.array_equal(out, 2 * x)
    assert out.sharding.is_equivalent_to(expected.sharding, 2)
    assert out.sharding.is_equivalent_to(both, 2) == bool(places)
    gathers = [f.lower(x).compile().as_text().count("all-gather(") for f in (ours, theirs)]
    assert gathers[0] == gathers[1]


def test_a_callback_is_called_from_the_device_that_is_given():
    sharding = SingleDeviceSharding(jax.devices()[0])
    like = jax.ShapeDtypeStruct((3,), jnp.float32)
    f = filter_jit(
        lambda x: filter_pure_callback(lambda y: y + 1, x, result_shape_dtypes=like, sharding=sharding)
    )
    assert jnp.array_equal(f(X), X + 1)
