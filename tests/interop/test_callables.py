"""Every kind of callable and container that JAX and the standard library have, through every transform."""

from __future__ import annotations

import dataclasses
import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jax import Array
from jaxtyping import Float, TypeCheckError, jaxtyped

from typedfilter import (
    NoDiff,
    Static,
    filter_checkpoint,
    filter_closure_convert,
    filter_eval_shape,
    filter_grad,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_make_jaxpr,
    filter_pmap,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
    pytree_dataclass,
    tree_equal,
)

W, X = jnp.arange(1.0, 4.0), jnp.linspace(-1.0, 1.0, 3)


def energy(w, x):
    return jnp.sum(jnp.tanh(w * x))


@functools.wraps(energy)
def wrapped(*args, **kwargs):
    return energy(*args, **kwargs)


@functools.wraps(lambda w, x, scale: scale * energy(w, x))
def giving_one(w, x):
    return energy(w, x)


@functools.wraps(lambda x: energy(W, x))
def taking_one_more(w, x):
    return energy(w, x)


class Around:
    def __init__(self, fn):
        self.fn = fn
        functools.update_wrapper(self, fn)

    def __call__(self, w, x):
        return self.fn(w, x, 1.0)


@jaxtyped(typechecker=beartype)
def typed(w: Float[Array, "n"], x: Float[Array, "n"]) -> Float[Array, ""]:
    return energy(w, x)


class Callable_:
    def __call__(self, w, x):
        return energy(w, x)

    def method(self, w, x):
        return energy(w, x)

    @classmethod
    def of_class(cls, w, x):
        return energy(w, x)

    @staticmethod
    def static(w, x):
        return energy(w, x)


CALLABLES: dict[str, Any] = {
    "function": energy,
    "lambda": lambda w, x: energy(w, x),
    "jax.jit": jax.jit(energy),
    "functools.wraps": wrapped,
    "a wrapper that gives an argument": giving_one,
    "a wrapper that takes one more": taking_one_more,
    "a wrapper that is an object": Around(lambda w, x, scale: scale * energy(w, x)),
    "functools.partial": functools.partial(lambda scale, w, x: energy(w, x), 1.0),
    "partial by keyword": functools.partial(lambda w, x, *, scale: energy(w, x), scale=1.0),
    "jax.tree_util.Partial": jax.tree_util.Partial(lambda scale, w, x: energy(scale * w, x), jnp.array(1.0)),
    "jaxtyped": typed,
    "callable object": Callable_(),
    "method": Callable_().method,
    "class method": Callable_.of_class,
    "static method": Callable_.static,
    "jax.checkpoint": jax.checkpoint(energy),
    "jax.custom_jvp": jax.custom_jvp(energy),
    "filter_jit": filter_jit(energy),
    "filter_checkpoint": filter_checkpoint(energy),
    "lru_cache": functools.lru_cache(lambda: energy)(),
}
CALLABLES["jax.custom_jvp"].defjvp(lambda primals, tangents: jax.jvp(energy, primals, tangents))
callables = pytest.mark.parametrize("fn", CALLABLES.values(), ids=list(CALLABLES))
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


class TestCallables:
    @callables
    def test_jit(self, fn):
        close(filter_jit(fn)(W, X), energy(W, X))
        close(filter_jit(fn).lower(W, X).compile()(W, X), energy(W, X))

    @callables
    def test_grad(self, fn):
        close(filter_grad(fn)(W, X), jax.grad(energy)(W, X))
        close(filter_jit(filter_value_and_grad(fn))(W, X)[1], jax.grad(energy)(W, X))

    @callables
    def test_vmap_and_pmap(self, fn):
        batch = jnp.stack([X, -X])
        expected = jax.vmap(energy, in_axes=(None, 0))(W, batch)
        close(filter_vmap(fn, in_axes=(None, 0))(W, batch), expected)
        close(filter_pmap(fn, in_axes=(None, 0))(W, batch), expected)

    @callables
    def test_jacobians(self, fn):
        close(filter_jacfwd(fn)(W, X), jax.grad(energy)(W, X))
        close(filter_jacrev(fn)(W, X), jax.grad(energy)(W, X))

    @callables
    def test_jvp_and_vjp(self, fn):
        close(filter_jvp(fn, (W, X), (X, None))[1], jnp.vdot(jax.grad(energy)(W, X), X))
        close(filter_vjp(fn, W, X)[1](jnp.array(1.0))[0], jax.grad(energy)(W, X))

    @callables
    def test_the_others(self, fn):
        close(filter_checkpoint(fn)(W, X), energy(W, X))
        close(filter_closure_convert(fn, W, X)(W, X), energy(W, X))
        assert filter_eval_shape(fn, W, X).shape == ()
        assert filter_make_jaxpr(fn)(W, X)[1].shape == ()

    @pytest.mark.parametrize(
        "fn", [max, operator.itemgetter(0), operator.add], ids=["max", "itemgetter", "add"]
    )
    def test_builtins(self, fn):
        args = (
            (jnp.array(1.0), jnp.array(2.0))
            if fn is not CALLABLES and not isinstance(fn, operator.itemgetter)
            else (W,)
        )
        if fn is max:  # asks which is larger, which a tracer can't tell
            args = (1, 2)
        assert filter_jit(fn)(*args) == fn(*args)

    def test_a_class_is_called_like_a_function(self):
        assert tree_equal(filter_jit(Pair)(X, 1), Pair(X, 1))
        assert tree_equal(filter_vmap(Pair)(X, 1), Pair(X, 1))


# Containers ---------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    array: Any
    label: Any


@functools.partial(jax.tree_util.register_dataclass, data_fields=["array"], meta_fields=["label"])
@dataclasses.dataclass
class Registered:
    array: Any
    label: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WithMarkers:
    array: Float[Array, "n"]
    frozen: NoDiff[Float[Array, "n"]]
    label: Static[int] = dataclasses.field(metadata={"static": True})


@pytree_dataclass
class Ours:
    array: Any
    label: Static[Any]


@jax.tree_util.register_pytree_node_class
class Registrar:
    def __init__(self, array, label):
        self.array, self.label = array, label

    def tree_flatten(self):
        return (self.array,), self.label

    @classmethod
    def tree_unflatten(cls, label, children):
        return cls(*children, label)

    def __repr__(self):
        return f"Registrar({self.label})"


class Attributes(dict):
    pass


jax.tree_util.register_pytree_node(
    Attributes,
    lambda d: (list(d.values()), tuple(d)),
    lambda keys, values: Attributes(zip(keys, values, strict=True)),
)

CONTAINERS = {
    "tuple": lambda a, s: (a, s),
    "list": lambda a, s: [a, s],
    "dict": lambda a, s: {"array": a, "label": s},
    "named tuple": Pair,
    "registered dataclass": Registered,
    "pytree_dataclass": Ours,
    "registered class": Registrar,
    "registered dict": lambda a, s: Attributes(array=a, label=s),
    "Partial": lambda a, s: jax.tree_util.Partial(energy, a),
    "nested": lambda a, s: {"x": [(a, s), None], "y": Pair(Registered(a, s), ())},
    "None": lambda a, s: (None, a),
}
containers = pytest.mark.parametrize("make", CONTAINERS.values(), ids=list(CONTAINERS))


def arrays_of(tree):
    return [leaf for leaf in jax.tree_util.tree_leaves(tree) if isinstance(leaf, jax.Array)]


def double(tree):
    return jax.tree_util.tree_map(lambda leaf: 2 * leaf if isinstance(leaf, jax.Array) else leaf, tree)


class TestContainers:
    @containers
    @pytest.mark.parametrize("transform", [filter_jit, filter_vmap, filter_pmap, filter_checkpoint])
    def test_it_goes_in_and_comes_out(self, make, transform):
        out = transform(double)(make(X, "s"))
        assert tree_equal(out, make(2 * X, "s"))

    @containers
    def test_its_gradient_has_its_structure(self, make):
        grad = filter_grad(lambda tree: sum(jnp.sum(a**2) for a in arrays_of(tree)))(make(X, 1))
        expected = make(2 * X, 1)
        assert len(arrays_of(grad)) == len(arrays_of(expected))
        assert all(map(jnp.array_equal, arrays_of(grad), arrays_of(expected)))
        assert type(grad) is type(expected)

    @containers
    def test_its_static_part_decides_the_compilation(self, make):
        traces = []

        @filter_jit
        def f(tree):
            traces.append(tree)
            return double(tree)

        f(make(X, "a")), f(make(-X, "a"))
        assert len(traces) == 1

    @containers
    def test_it_is_a_callback_argument_and_result(self, make):
        assert tree_equal(filter_closure_convert(double, make(X, "s"))(make(X, "s")), make(2 * X, "s"))
        assert jax.tree_util.tree_structure(
            filter_eval_shape(double, make(X, "s"))
        ) == jax.tree_util.tree_structure(make(X, "s"))

    def test_markers_on_the_fields_of_a_registered_dataclass_are_honoured(self):
        grad = filter_grad(lambda tree: jnp.sum(tree.array * tree.frozen) * tree.label)(WithMarkers(X, W, 2))
        assert jnp.array_equal(grad.array, 2 * W)
        assert grad.frozen is None


# jaxtyped around a stack ----------------------------------------------------------------------------------


STACKS = {
    "jit of grad": lambda f: filter_jit(filter_grad(f)),
    "jit of vmap": lambda f: filter_jit(filter_vmap(f)),
    "vmap of grad": lambda f: filter_vmap(filter_grad(f)),
    "jit of vmap of grad of checkpoint": lambda f: filter_jit(filter_vmap(filter_grad(filter_checkpoint(f)))),
    "pmap of grad": lambda f: filter_pmap(filter_grad(f)),
}


@pytest.mark.parametrize("stack", STACKS.values(), ids=list(STACKS))
@pytest.mark.parametrize("order", ["inside", "outside", "both"])
def test_jaxtyped_goes_into_and_around_every_stack(stack, order):
    def f(w: Float[Array, "n"], x: Float[Array, "n"]) -> Float[Array, ""]:
        return energy(w, x)

    around = jaxtyped(typechecker=beartype)
    g = stack(f if order == "outside" else around(f))
    g = g if order == "inside" else around(g)
    args = (W, X) if stack is STACKS["jit of grad"] else (jnp.stack([W, W]), jnp.stack([X, X]))
    assert jax.tree_util.tree_leaves(g(*args))[0].shape in ((3,), (2,), (2, 3))


@pytest.mark.parametrize("order", ["inside", "outside"])
def test_jaxtyped_finds_what_is_wrong(order):
    def f(w: Float[Array, "n"], x: Float[Array, "n"]) -> Float[Array, ""]:
        return energy(w, x)

    around = jaxtyped(typechecker=beartype)
    g = filter_jit(around(f)) if order == "inside" else around(filter_jit(f))
    with pytest.raises(TypeCheckError):
        g(W, jnp.ones(4))
