"""Transforms on top of each other: in any order, in themselves, without jit, and wrapped again and again."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float
from numpy.testing import assert_allclose

import typedfilter as tf
from typedfilter import (
    NoDiff,
    Static,
    Traced,
    VmapAxis,
    filter_grad,
    filter_jit,
    filter_value_and_grad,
    filter_vmap,
)
from typedfilter.pytree import pytree_dataclass

X = jnp.arange(1.0, 4.0)
M = jnp.arange(12.0).reshape(3, 4)


@pytree_dataclass
class Model:
    scale: Any
    activation: Any = jnp.sin
    power: Static[int] = 2


def value(x, model, n, name="name"):
    """Of one number, with arrays and static values in all places."""
    assert name == "name"
    return model.activation(x * model.scale) ** model.power * n


# ----------------------------------------------------------------------------------- every order of nesting


def total(fn: Callable[..., Any]) -> Callable[..., Any]:
    """As `fn`, but a scalar, for what differentiates something that is mapped already."""

    def scalar(x, *args):
        return jnp.sum(fn(x, *args))

    return scalar


def stack(
    word: tuple[str, ...], fn: Callable[..., Any], **transforms: Callable[..., Any]
) -> Callable[..., Any]:
    mapped = False
    for name in reversed(word):
        fn = transforms[name](total(fn) if name == "grad" and mapped else fn)
        mapped = mapped or name == "vmap"
    return fn


def ours(word: tuple[str, ...], fn: Callable[..., Any] = value) -> Callable[..., Any]:
    mapping = functools.partial(filter_vmap, in_axes=(0, None, None))
    return stack(word, fn, jit=filter_jit, grad=filter_grad, vmap=mapping)


def by_hand(word: tuple[str, ...], model: Model, n: int) -> Callable[..., Any]:
    """The same by JAX itself, which sees nothing but `x`."""
    return stack(word, lambda x: value(x, model, n), jit=jax.jit, grad=jax.grad, vmap=jax.vmap)


def batch(word: tuple[str, ...]) -> Array:
    count = word.count("vmap")
    return jnp.linspace(0.1, 1.0, 2**count).reshape((2,) * count)


WORDS = [word for length in (1, 2, 3) for word in itertools.product(("jit", "grad", "vmap"), repeat=length)]
# Where a derivative is taken of what is mapped, a function stands in between, which is new each time.
REMADE = [word for word in WORDS if word[0] == "jit" and word[1:] != ("grad", "vmap")]


@pytest.mark.parametrize("word", WORDS, ids=".".join)
def test_every_stack_does_what_jaxs_own_does(word):
    model, x = Model(jnp.float32(0.5)), batch(word)
    expected = by_hand(word, model, 3)(x)
    fn = ours(word)
    assert_allclose(fn(x, model, 3), expected, rtol=1e-5)
    with jax.disable_jit():
        assert_allclose(fn(x, model, 3), expected, rtol=1e-5)
        assert_allclose(ours(word)(x, model, 3), expected, rtol=1e-5)


@pytest.mark.parametrize("word", REMADE, ids=".".join)
def test_a_stack_that_is_made_again_does_not_trace_again(word):
    runs = []

    def counted(x, model, n):
        runs.append(n)
        return value(x, model, n)

    x, half, whole = batch(word), Model(jnp.float32(0.5)), Model(jnp.float32(1))
    ours(word, counted)(x, half, 2)
    ours(word, counted)(x, whole, 2)
    ours(word, counted)(x + 1, half, 2)
    assert runs == [2]
    ours(word, counted)(x, half, 3)
    ours(word, counted)(x, Model(jnp.float32(1), jnp.cos), 3)
    ours(word, counted)(x, half, 2)
    assert runs == [2, 3, 3]


# ------------------------------------------------------------------------------- made again, in other ways


class Counting:
    """No pytree."""

    def __init__(self):
        self.runs = 0

    def loss(self, x, n=2):
        self.runs += 1
        return (x**n).sum()

    @filter_jit
    def jitted(self, x, n=2):
        return self.loss(x, n)

    @filter_grad
    def slope(self: NoDiff[Any], x: tf.Diff[Any], n=2):
        return self.loss(x, n)


MADE: dict[str, Callable[[Counting], Callable[..., Any]]] = {
    "a function": lambda c: filter_jit(functools.partial(Counting.loss, c)),
    "a method": lambda c: filter_jit(c.loss),
    "a method that is jitted already": lambda c: filter_jit(c.jitted),
    "a jitted method": lambda c: c.jitted,
    "a differentiated method": lambda c: filter_jit(c.slope),
    "a gradient": lambda c: filter_jit(filter_grad(c.loss)),
    "a gradient and its value": lambda c: filter_jit(filter_value_and_grad(c.loss)),
    "a map": lambda c: filter_jit(filter_vmap(c.loss, in_axes={"x": 0, "n": None})),
    "a map of a gradient": lambda c: filter_jit(filter_vmap(filter_grad(c.loss), in_axes=[0])),
    "a partial": lambda c: filter_jit(functools.partial(filter_grad(c.loss), n=3)),
    "a partial of a map of a jitted method": lambda c: filter_jit(
        functools.partial(filter_vmap(c.jitted), n=3)
    ),
    "options": lambda c: filter_jit(c.loss, inline=True, keep_unused=True, check=False),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_made_on_every_call_traces_once(kind):
    counting = Counting()
    first = MADE[kind](counting)(X)
    runs = counting.runs
    assert runs == 1
    for _ in range(3):
        jax.tree.map(assert_allclose, MADE[kind](counting)(X), first)
    MADE[kind](counting)(X + 1)
    assert counting.runs == 1
    MADE[kind](Counting())(X)
    assert counting.runs == 1


def test_other_options_are_other_programs():
    runs = []

    def f(x):
        runs.append(0)
        return x.sum()

    made = [
        lambda: filter_jit(f),
        lambda: filter_jit(f, inline=True),
        lambda: filter_jit(f, donate="all-except-first"),
        lambda: filter_jit(filter_vmap(f)),
        lambda: filter_jit(filter_vmap(f, in_axes=1)),
        lambda: filter_jit(filter_vmap(f, axis_name="i")),
        lambda: filter_jit(filter_vmap(f, axis_name=1)),
        lambda: filter_jit(filter_vmap(f, axis_name=True)),
        lambda: filter_jit(filter_grad(f)),
        lambda: filter_jit(filter_value_and_grad(f)),
    ]
    for _ in range(2):
        for make in made:
            make()(jnp.ones(3) if "jit(f" in repr(make) else M if "vmap" in repr(make()) else X)
    assert len(runs) == len(made)


def test_a_new_function_is_traced_even_if_its_code_is_not_new():
    runs = []

    def make(n):
        def f(x):
            runs.append(n)
            return x * n

        return filter_jit(f)

    for n in (1, 2, 3):
        assert_allclose(make(n)(X), X * n)
    assert runs == [1, 2, 3]


def test_a_model_that_is_remade_stays_an_input_of_every_stack():
    def new_class(runs):
        @pytree_dataclass
        class Scale:
            factor: Any
            name: Static[str] = "s"

            def __call__(self, x):
                runs.append(isinstance(self.factor, jax.core.Tracer))
                return (self.factor * x).sum()

        return Scale

    for make in (
        lambda scale: filter_jit(scale),
        lambda scale: filter_jit(scale.__call__),
        lambda scale: filter_jit(filter_grad(scale)),
        lambda scale: filter_jit(filter_vmap(scale)),
        lambda scale: filter_jit(filter_jit(scale.__call__)),
        lambda scale: filter_jit(functools.partial(filter_grad(scale.__call__))),
    ):
        runs: list[bool] = []
        cls = new_class(runs)
        outs = [jnp.sum(make(cls(jnp.float32(factor)))(X)) for factor in (1.0, 2.0, 3.0)]
        assert_allclose(outs, outs[0] * jnp.arange(1, 4), rtol=1e-6)
        assert runs == [True]
        make(cls(jnp.float32(1), "other"))(X)
        assert runs == [True, True]


# ------------------------------------------------------------------------- annotations, seen from everywhere


def test_every_transform_of_a_stack_reads_the_annotations_of_the_function():
    runs = []

    def loss(
        w: Float[Array, "n"],
        x: VmapAxis[1, Float[Array, "n"]],
        rate: Traced[float],
        n: Static[int],
        fn: Static[Any],
    ) -> Float[Array, ""]:
        runs.append((w.shape, x.shape, n))
        return (fn(w * x) * rate * jnp.ones(n)[0]).sum()

    slope = filter_jit(filter_vmap(filter_grad(loss), in_axes={"w": None}))
    x = jnp.ones((3, 5))
    for rate in (0.1, 0.2, 0.3):
        out = slope(X, x, rate, 2, jnp.sin)
        assert out.shape == (5, 3)
        assert_allclose(out, rate * jnp.cos(X)[None] * jnp.ones((5, 1)), rtol=1e-5)
    assert runs == [((3,), (3,), 2)]
    slope(X, x, rate=0.1, n=3, fn=jnp.sin)
    assert len(runs) == 2


def test_what_is_donated_by_annotation_is_donated_by_the_outermost_jit():
    def loss(w, batch: tf.Donate[Float[Array, "n"]]):
        return (w * batch).sum()

    for transform in (filter_grad, filter_value_and_grad):
        w, batch = X + 0, X + 1
        filter_jit(transform(loss))(w, batch)
        assert (w.is_deleted(), batch.is_deleted()) == (False, True)
    w, batch = M + 0, M + 1
    filter_jit(filter_vmap(filter_grad(loss)))(w, batch)
    assert (w.is_deleted(), batch.is_deleted()) == (False, True)


def test_shapes_are_checked_once_at_the_body():
    def checks(transform, *args):
        seen = []

        class Spy(type):
            def __instancecheck__(cls, value):
                if isinstance(value, jax.core.Tracer):
                    seen.append(np.shape(value))
                return True

        class Spied(metaclass=Spy): ...

        def f(x: Float[Array, "n"], y: Spied) -> Float[Array, ""]:
            return x.sum()

        transform(f)(*args)
        return seen

    assert checks(filter_jit, X, X[0]) == [()]
    assert checks(lambda f: filter_jit(filter_vmap(filter_grad(f))), M, X) == [()]


def test_checks_that_are_off_are_off_for_the_whole_stack_below():
    def f(x: Float[Array, "2"]) -> Float[Array, ""]:
        return x.sum()

    for make in (
        lambda: filter_jit(filter_grad(f, check=False)),
        lambda: filter_jit(filter_grad(f), check=False),
        lambda: filter_grad(filter_jit(f), check=False),
        lambda: filter_jit(filter_grad(filter_jit(f, check=False))),
    ):
        make()(X)
    with pytest.raises(tf.ShapeError):
        filter_jit(filter_grad(f))(X)


def test_static_results_pass_through_maps_and_jits():
    def f(x, n):
        return x * n, f"n={n}", jnp.sin

    for make in (
        lambda: filter_jit(filter_vmap(f)),
        lambda: filter_vmap(filter_jit(f)),
        lambda: filter_jit(filter_vmap(filter_jit(filter_vmap(f)))),
        lambda: filter_jit(filter_jit(f)),
    ):
        out = make()(M, 2)
        assert_allclose(out[0], M * 2)
        assert out[1:] == ("n=2", jnp.sin)


def test_auxiliary_data_passes_through_stacks():
    def loss(x, n):
        return (x**n).sum(), {"n": n, "x": x, "fn": jnp.sin}

    for make in (
        lambda: filter_jit(filter_value_and_grad(loss, has_aux=True)),
        lambda: filter_value_and_grad(filter_jit(loss), has_aux=True),
        lambda: filter_jit(filter_value_and_grad(filter_jit(loss), has_aux=True)),
    ):
        (value, aux), grad = make()(X, 2)
        assert_allclose(value, (X**2).sum())
        assert_allclose(grad, 2 * X)
        assert (aux["n"], aux["fn"]) == (2, jnp.sin)
        assert_allclose(aux["x"], X)
    (value, aux), grad = filter_jit(filter_vmap(filter_value_and_grad(loss, has_aux=True)))(M, 2)
    assert_allclose(value, (M**2).sum(1))
    assert_allclose(aux["x"], M)
    assert aux["n"] == 2


# ----------------------------------------------------------------------------------------- classes and calls


class Trainer:
    """A class whose methods are stacks."""

    def __init__(self, scale):
        self.scale = scale
        self.runs = 0

    @filter_jit
    @filter_value_and_grad
    def loss(self, model: tf.Diff[Any], x):
        self.runs += 1
        return (model["w"] * x * self.scale).sum()

    @filter_jit
    @filter_vmap
    def predict(self, x, model: VmapAxis[None]):
        self.runs += 1
        return model["w"] * x * self.scale

    @staticmethod
    @filter_jit
    @filter_grad
    def static(x, n):
        return (x**n).sum()

    @filter_jit
    @filter_vmap
    @classmethod
    def named(cls, x):
        return cls.__name__, x


def test_methods_may_be_stacks():
    trainer, model = Trainer(2.0), {"w": X, "name": "m"}
    for _ in range(2):
        value, grad = trainer.loss(model, X)
        assert_allclose(value, (X * X * 2).sum())
        assert_allclose(grad["w"], 2 * X)
        assert grad["name"] is None
        assert_allclose(trainer.predict(jnp.ones((2, 3)), model), jnp.stack([X, X]) * 2)
        assert_allclose(Trainer.static(X, 2), 2 * X)
        name, out = trainer.named(X)
        assert name == "Trainer"
        assert_allclose(out, X)
    assert trainer.runs == 2
    with jax.disable_jit():
        assert_allclose(trainer.loss(model, X)[0], (X * X * 2).sum())
        assert_allclose(trainer.predict(jnp.ones((2, 3)), model), jnp.stack([X, X]) * 2)


def test_a_jitted_function_may_call_itself():
    runs = []

    @filter_jit
    def power(x, n):
        runs.append(n)
        return x if n == 1 else x * power(x, n - 1)

    assert_allclose(power(X, 4), X**4)
    assert_allclose(power(X, 3), X**3)
    assert runs == [4, 3, 2, 1] or runs == [4, 3, 2, 1, 3]


def test_a_jitted_function_is_traced_once_inside_of_others():
    runs = []

    @filter_jit
    def inner(x, tree):
        runs.append(tree["n"])
        return x * tree["n"]

    @filter_jit
    def outer(x):
        return inner(x, {"n": 2}) + inner(x, {"n": 2}) + inner(x, {"n": 3})

    assert_allclose(outer(X), 7 * X)
    assert_allclose(outer(jnp.ones(3)), 7)
    assert runs == [2, 3]


def test_jaxs_own_transforms_may_stand_anywhere_in_a_stack():
    f = lambda x, n: (x**n).sum()
    assert_allclose(filter_jit(jax.grad(filter_jit(f)))(X, 2), 2 * X)
    assert_allclose(jax.jit(filter_grad(f), static_argnums=1)(X, 2), 2 * X)
    assert_allclose(filter_vmap(jax.vmap(jnp.sin))(M), jnp.sin(M), rtol=1e-6)
    assert_allclose(jax.vmap(filter_vmap(jnp.sin))(M), jnp.sin(M), rtol=1e-6)
    assert_allclose(filter_grad(jax.checkpoint(lambda x: jnp.sin(x).sum()))(X), jnp.cos(X), rtol=1e-6)
    assert_allclose(filter_jit(jax.value_and_grad(f))(X, 2)[1], 2 * X)


def test_an_exception_passes_through_every_stack_unchanged():
    raised = LookupError("mine")

    def f(x):
        raise raised

    for word in WORDS:
        with pytest.raises(LookupError) as caught:
            ours(word, lambda x, model, n: f(x))(batch(word), None, 1)
        assert caught.value is raised


# ------------------------------------------------------------------- the same with jit around it, and without

Y5 = jnp.ones(5)
SAME: dict[str, tuple[Callable[..., Any], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = {
    "a default is not mapped": (lambda x, w=X: x * w, {}, (Y5,), {}),
    "a default of the mapped size is not mapped": (lambda x, w=X: x * w, {}, (X,), {}),
    "a default between arguments": (lambda x, w=X, n=2, *, k=X: x * w * n * k, {}, (Y5,), {"n": 3}),
    "axes for fewer arguments than there are": (lambda x, w=X: x * w, {"in_axes": (0,)}, (Y5,), {}),
    "an axis by position, an argument by name": (lambda x, y: x * y, {"in_axes": (0, None)}, (Y5,), {"y": X}),
    "one axis for all, an argument by name": (lambda x, y: x * y, {"in_axes": 1}, (M,), {"y": M}),
}


@pytest.mark.parametrize("case", SAME)
def test_a_map_means_the_same_with_jit_around_it(case):
    fn, options, args, kwargs = SAME[case]
    mapped = filter_vmap(fn, **options)
    assert_allclose(filter_jit(mapped)(*args, **kwargs), mapped(*args, **kwargs))
    with jax.disable_jit():
        assert_allclose(filter_jit(mapped)(*args, **kwargs), mapped(*args, **kwargs))


def test_a_number_is_broadcast_where_it_becomes_an_array():
    def annotated(x, rate: Float[Array, ""]):
        return x * rate

    def traced(x, rate: Traced[float]):
        return x * rate

    for fn, rates in ((annotated, (2.0,)), (traced, (2.0, jnp.float32(2), np.float32(2)))):
        for rate in rates:
            assert_allclose(filter_vmap(fn)(X, rate), X * 2)
            assert_allclose(filter_jit(filter_vmap(fn))(X, rate), X * 2)
            assert_allclose(filter_vmap(filter_jit(fn))(X, rate), X * 2)


def test_defaults_of_a_gradient_mean_the_same_with_jit_around_it():
    def loss(x=X, y=X, *, n=2):
        return (x * y).sum() * n

    for args, kwargs in [((), {}), ((Y5[:3],), {}), ((), {"y": Y5[:3]}), ((X,), {"n": 3})]:
        slope = filter_grad(loss)
        assert_allclose(filter_jit(slope)(*args, **kwargs), slope(*args, **kwargs))
