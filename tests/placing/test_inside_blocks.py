"""Every transform inside of a map over blocks, and on axes that types name, beside those of JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from meshes import AUTO, EXPLICIT, MIXED, assert_same, set_mesh

import typedfilter as tf

P = PartitionSpec
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)
MODEL = {"act": jnp.tanh, "times": 1}
Run = Callable[[Any], Any]


def total(x: Any) -> Any:
    return (jnp.tanh(x) ** 2).sum()


def cubes(x: Any) -> Any:
    return (x**3).sum()


def by_row(x: Any) -> Any:
    return x.sum(1) ** 2


def sines(x: Any, _: Any = None) -> Any:
    return jnp.sin(x), None


forward = tf.filter_custom_jvp(jnp.sin)
forward.def_jvp(lambda primals, tangents: (jnp.sin(primals[0]), jnp.cos(primals[0]) * tangents[0]))
backward = tf.filter_custom_vjp(jnp.sin)
backward.def_fwd(lambda perturbed, x: (jnp.sin(x), x))
backward.def_bwd(lambda residual, g, perturbed, x: jnp.cos(residual) * g)

# Ours, and what JAX calculates in the same way.
PROGRAMS: dict[str, tuple[Run, Run]] = {
    "jit": (lambda x: tf.filter_jit(lambda m, x: m["act"](x) * m["times"])(MODEL, x), jnp.tanh),
    "grad": (lambda x: tf.filter_grad(lambda x: (MODEL["act"](x) ** 2).sum())(x), jax.grad(total)),
    "value_and_grad": (lambda x: tf.filter_value_and_grad(total)(x)[1], jax.grad(total)),
    "vmap": (lambda x: tf.filter_vmap(lambda row: jnp.tanh(row))(x), jnp.tanh),
    "jvp": (
        lambda x: tf.filter_jvp(jnp.tanh, (x,), (x,))[1],
        lambda x: jax.jvp(jnp.tanh, (x,), (x,))[1],
    ),
    "vjp": (lambda x: tf.filter_vjp(jnp.tanh, x)[1](x)[0], lambda x: jax.vjp(jnp.tanh, x)[1](x)[0]),
    "linearize": (
        lambda x: tf.filter_linearize(jnp.tanh, x)[1](x),
        lambda x: jax.linearize(jnp.tanh, x)[1](x),
    ),
    "checkpoint": (lambda x: tf.filter_grad(tf.filter_checkpoint(total))(x), jax.grad(total)),
    "closure_convert": (lambda x: tf.filter_closure_convert(jnp.tanh, x)(x), jnp.tanh),
    "custom_jvp": (lambda x: tf.filter_grad(lambda x: forward(x).sum())(x), jnp.cos),
    "custom_vjp": (lambda x: tf.filter_grad(lambda x: backward(x).sum())(x), jnp.cos),
    "jacfwd": (lambda x: tf.filter_jacfwd(by_row)(x).sum(0), lambda x: jax.jacfwd(by_row)(x).sum(0)),
    "jacrev": (lambda x: tf.filter_jacrev(by_row)(x).sum(0), lambda x: jax.jacrev(by_row)(x).sum(0)),
    "hessian": (
        lambda x: tf.filter_hessian(cubes)(x).sum((0, 1)),
        lambda x: jax.hessian(cubes)(x).sum((0, 1)),
    ),
    "scan": (
        lambda x: tf.filter_scan(sines, x, None, length=3)[0],
        lambda x: lax.scan(sines, x, None, length=3)[0],
    ),
    "while": (
        lambda x: tf.filter_while_loop(lambda s: s[1] < 3, lambda s: (jnp.sin(s[0]), s[1] + 1), (x, 0))[0],
        lambda x: lax.while_loop(lambda s: s[1] < 3, lambda s: (jnp.sin(s[0]), s[1] + 1), (x, 0))[0],
    ),
    "fori": (
        lambda x: tf.filter_fori_loop(0, 3, lambda i, s: jnp.sin(s), x),
        lambda x: lax.fori_loop(0, 3, lambda i, s: jnp.sin(s), x),
    ),
    "cond": (lambda x: tf.filter_cond(True, jnp.sin, jnp.cos, x), jnp.sin),
    "switch": (lambda x: tf.filter_switch(1, [jnp.sin, jnp.cos], x), jnp.cos),
    "map": (lambda x: tf.filter_map(jnp.sin, x), jnp.sin),
    "associative_scan": (
        lambda x: tf.filter_associative_scan(jnp.add, x),
        lambda x: lax.associative_scan(jnp.add, x),
    ),
}
# What JAX itself refuses of arrays whose rows are split in their types.
ALONG_ROWS = ("map", "associative_scan", "jacfwd", "jacrev", "hessian")


@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_inside_of_a_map_over_blocks_it_is_what_jax_calculates(name, mesh):
    ours, theirs = PROGRAMS[name]
    with set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, P("data")))
        compared = 0
        for options in ({}, {"check_vma": False}, {"axis_names": {"data"}}):
            places: Any = {"in_specs": P("data"), "out_specs": P("data"), **options}
            try:
                expected = jax.jit(jax.shard_map(theirs, **places))(x)
            except Exception:  # what JAX's own does not do with these options, ours need not
                continue
            assert_same(jax.jit(jax.shard_map(ours, **places))(x), expected)
            assert_same(tf.filter_jit(tf.filter_shard_map(ours, **places))(x), expected)
            compared += 1
    assert compared > 0


@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT, MIXED], ids=["auto", "explicit", "mixed"])
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in ALONG_ROWS])
def test_of_an_array_that_is_split_it_is_what_jax_calculates_eager_and_compiled(name, mesh):
    ours, theirs = PROGRAMS[name]
    with set_mesh(mesh):
        x = jax.device_put(X, NamedSharding(mesh, P("data")))
        assert_same(tf.filter_jit(ours)(x), jax.jit(theirs)(x))
        assert_same(ours(x), theirs(x))


@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT, MIXED], ids=["auto", "explicit", "mixed"])
def test_shapes_and_programs_that_are_only_traced_keep_the_types_that_say_where(mesh):
    def doubled(tree: Any) -> Any:
        return {**tree, "x": tree["x"] * 2}

    plain = lambda x: x * 2
    rows = NamedSharding(mesh, P("data"))
    with set_mesh(mesh):
        for x in (jax.device_put(X, rows), jax.ShapeDtypeStruct(X.shape, X.dtype, sharding=rows)):
            tree = {"x": x, "name": "n"}
            shape, expected = tf.filter_eval_shape(doubled, tree)["x"], jax.eval_shape(plain, x)
            assert (shape, shape.sharding) == (expected, expected.sharding)
            jaxpr, shapes, _ = tf.filter_make_jaxpr(doubled)(tree)
            wanted, shape = jax.make_jaxpr(plain, return_shape=True)(x)
            assert list(map(str, jaxpr.out_avals)) == list(map(str, wanted.out_avals))
            assert shapes["x"].sharding == shape.sharding
            program = tf.filter_jit(doubled).lower(tree).compile()
            out = program({"x": jax.device_put(X, rows), "name": "n"})["x"]
            assert_same(out, jax.jit(plain)(jax.device_put(X, rows)))


def test_maps_gradients_and_checkpoints_go_around_a_map_over_blocks_of_jaxs():
    def body(w: Any, x: Any) -> Any:
        return jnp.tanh(x @ w)

    w = jnp.eye(4) * 0.3
    with set_mesh(AUTO):
        mapped = jax.shard_map(body, in_specs=(P(), P("data")), out_specs=P("data"))
        stack = jnp.stack([w, w + 0.1])
        for ours, theirs, given in (
            (tf.filter_vmap(mapped, in_axes=(0, None)), jax.vmap(mapped, in_axes=(0, None)), stack),
            (tf.filter_grad(lambda *a: mapped(*a).sum()), jax.grad(lambda *a: mapped(*a).sum()), w),
            (tf.filter_checkpoint(mapped), jax.checkpoint(mapped), w),
        ):
            assert_same(tf.filter_jit(ours)(given, X), jax.jit(theirs)(given, X))
