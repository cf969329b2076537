"""What is dropped is freed, and what is called again and again does not grow. Counts of live objects."""

from __future__ import annotations

import dataclasses
import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter as tf
from typedfilter import (
    Diff,
    Donate,
    Static,
    Traced,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_grad,
    filter_jit,
    filter_value_and_grad,
    filter_vmap,
)
from typedfilter._compiling import engine as _engine
from typedfilter._compiling.stages import site_of
from typedfilter._compiling.tokens import Kept
from typedfilter.pytree import pytree_dataclass

X = jnp.arange(3.0)
M = jnp.ones((2, 3))


class Thing:
    """Something that can be watched; compared by identity, callable, hashable."""

    def __call__(self, x=0):
        return x

    def method(self, x):
        return x * 2


@dataclasses.dataclass(frozen=True)
class Config:
    value: Any


class ByValue(Thing):
    def __eq__(self, other):
        return isinstance(other, ByValue)

    def __hash__(self):
        return 1


@pytree_dataclass
class Node:
    x: Any
    tag: Static[Any] = None
    leaf: Any = None

    def __call__(self, x):
        return self.x * x


def collect() -> None:
    jax.block_until_ready(jax.live_arrays())  # what is still being computed is still in use
    for _ in range(3):  # what JAX keeps as long as a function lives is garbage only when that is gone
        gc.collect()


def alive(refs: list[weakref.ref[Any]]) -> int:
    collect()
    return sum(ref() is not None for ref in refs)


@pytest.fixture(autouse=True, scope="module")
def _only_what_is_made_here() -> Iterator[None]:
    """Leave what other modules have made out of every collection."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


COUNT = 3


def watched(use: Callable[[Any], None]) -> list[weakref.ref[Any]]:
    """Let `use` run several times, with a new object each, and watch these objects."""
    refs = []
    for _ in range(COUNT):
        thing = Thing()
        refs.append(weakref.ref(thing))
        use(thing)
        del thing
    return refs


# -------------------------------------------------------------------------------------------------- functions


def holding(thing: Any) -> Callable[..., Any]:
    """A new function whose closure holds `thing`."""
    return lambda *args, **kwargs: thing and args[0]


def annotated(thing):
    def f(x: Float[Array, "n"], n: Static[int]) -> Float[Array, "n"]:
        return x * n if thing else x

    filter_jit(f)(X, 2)


def donated_by_annotation(thing):
    def f(x: Donate[Any], n: Static[int]):
        return x * n if thing else x

    filter_jit(f)(X + 1, 2)


def raising(thing):
    def f(x):
        raise KeyError(thing)

    with pytest.raises(KeyError):
        filter_jit(f)(X)


def traced_number(thing):
    def f(x, rate: Traced[float]):
        return x * rate if thing else x

    filter_jit(f)(X, 0.5)


def differentiated(thing):
    def f(x, y: Diff[Any]):
        return (x * y).sum() if thing else x

    filter_value_and_grad(f)(X, X)
    filter_jit(filter_grad(f))(X, X)


def auxiliary(thing):
    filter_jit(filter_grad(lambda x: (x.sum(), {"thing": thing}), has_aux=True))(X)
    filter_grad(lambda x: (x.sum(), {"thing": thing}), has_aux=True)(X)


def decorated_method(thing):
    class Model:
        held = thing

        @filter_jit
        def f(self, x):
            return x

        @filter_vmap
        def g(self, x):
            return x

    Model().f(X)
    Model().g(X)


def ahead(thing):
    f = filter_jit(holding(thing))
    f.trace(X)
    f.eval_shape(X)
    f.lower(X, "s").compile()(X, "s")


def escaping(thing):
    f = filter_jit(holding(thing))
    jax.make_jaxpr(f)(X)
    jax.jit(f)(X)
    jax.vmap(f)(X)
    jax.grad(lambda x: f(x).sum())(X)


def under_rules(thing):
    forward = filter_custom_jvp(holding(thing))
    forward.def_jvp(lambda primals, tangents: (primals[0], thing and tangents[0]))
    reverse = filter_custom_vjp(holding(thing))
    reverse.def_fwd(lambda perturbed, x: (x, thing))
    reverse.def_bwd(lambda residuals, grad, perturbed, x: residuals and grad)
    for f in (forward, reverse):
        filter_jit(f)(X)
        filter_jit(filter_vmap(f))(X)
        filter_jit(filter_grad(f))(X[0])
    # Not for the reverse rules: JAX 0.7 keeps its own custom_vjp alive after this.
    for jitted in (filter_jit(forward), filter_jit(filter_vmap(forward))):
        filter_jit(filter_grad(lambda x, jitted=jitted: jitted(x).sum()))(X)


def without_jit(thing):
    with jax.disable_jit():
        filter_jit(holding(thing))(X, [X, "s"])


def wrong(thing):
    with pytest.raises(tf.StaticArgumentError):
        filter_jit(holding(thing))(X, {1})
    with pytest.raises(tf.VmapAxisError):
        filter_vmap(holding(thing))(X, M)
    with pytest.raises(tf.ShapeError):
        filter_grad(holding(thing))(X)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "direct": annotated,
    "by type": lambda thing: filter_jit(holding(thing))(X, 1, 2.5, "s", k=True),
    "split": lambda thing: filter_jit(holding(thing))({"x": X, "n": 1.5, "s": "s"}),
    "donated": lambda thing: filter_jit(holding(thing), donate="all")(X + 1, M + 1, [X + 1, "s"]),
    "donated but for the first": lambda thing: filter_jit(holding(thing), donate="all-except-first")(
        X, X + 0
    ),
    "donated by annotation": donated_by_annotation,
    "with a number traced": traced_number,
    "static result": lambda thing: filter_jit(lambda x: (thing, x, "s"))(X),
    "static result alone": lambda thing: filter_jit(lambda x: thing)(X),
    "keyword arguments": lambda thing: filter_jit(lambda **kw: thing)(a=X, b=1, c=[X, "s"]),
    "nested": lambda thing: filter_jit(lambda x: filter_jit(holding(thing))(x, [x, 1]))(X),
    "a gradient": differentiated,
    "auxiliary data": auxiliary,
    "a map": lambda thing: filter_vmap(holding(thing))(X, 1),
    "a jitted map": lambda thing: filter_jit(filter_vmap(holding(thing)))(X, 1),
    "a method": lambda thing: filter_jit(thing.method)(X),
    "an instance": lambda thing: filter_jit(thing)(X),
    "a decorated method": decorated_method,
    "a partial": lambda thing: filter_jit(functools.partial(holding(thing), X))(1),
    "a module": lambda thing: filter_jit(Node(X, leaf=thing))(X),
    "several": lambda thing: [filter_jit(fn)(X, n) for fn in [holding(thing)] * 3 for n in (1, 2)],
    "ahead of time": ahead,
    "inside of JAX": escaping,
    "under rules": under_rules,
    "without jit": without_jit,
    "raising": raising,
    "called wrongly": wrong,
    "never called": lambda thing: filter_jit(holding(thing)),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_that_was_transformed_called_and_dropped_is_freed(kind):
    assert alive(watched(FUNCTIONS[kind])) == 0


def test_a_function_is_freed_with_whatever_it_computed_with():
    arrays = len(jax.live_arrays())
    for _ in range(COUNT):
        big = jnp.ones(1000) + 1
        f = filter_jit(lambda x, y=big, big=big: x + big.sum() + y.sum())
        jax.block_until_ready([f(X), filter_jit(f, donate="all-except-first")(X), filter_grad(f)])
        del big, f
    collect()
    assert len(jax.live_arrays()) <= arrays


def test_what_a_function_drops_is_freed_though_it_has_made_transforms():
    first = Thing()
    ref = weakref.ref(first)

    def f(x: Float[Array, "n"]):
        return x

    made = [filter_jit(f), filter_vmap(f), filter_grad(lambda x: x.sum())]
    pytree_dataclass(type("Local", (), {}))
    del first
    made[0](X)
    assert alive([ref]) == 0


def test_what_locals_has_said_stays_said():
    x = 1
    names = locals()
    filter_jit(lambda x: x)
    assert names["x"] == x


def test_the_last_reference_to_a_function_is_the_one_that_counts():
    thing = Thing()
    f = filter_jit(holding(thing))
    ref = weakref.ref(thing)
    del thing
    f(X)
    assert alive([ref]) == 1
    assert f(X) is not None
    del f
    assert alive([ref]) == 0


# ---------------------------------------------------------------------------------------------- static values


@filter_jit
def anything(*args, **kwargs):
    return X


@filter_jit
def marked(value: Static[Any], x: Any = X, *, key: Static[Any] = None):
    return x


def local_class(thing):
    return type("Local", (), {"held": thing})


STATICS: dict[str, Callable[[Any], Any]] = {
    "an object": lambda thing: anything(thing),
    "a function": lambda thing: anything(holding(thing)),
    "a function in a tree": lambda thing: anything({"x": X, "fn": [holding(thing), 1]}),
    "a function by name": lambda thing: anything(fn=holding(thing)),
    "an object in a tree by name": lambda thing: anything(tree=(X, thing)),
    "a partial": lambda thing: anything(functools.partial(holding(thing), thing)),
    "a class": lambda thing: anything(local_class(thing)),
    "static": lambda thing: marked(thing),
    "a static function": lambda thing: marked(holding(thing), key=holding(thing)),
    "a leaf of a model": lambda thing: anything(Node(X, leaf=holding(thing))),
    "a wrapper": lambda thing: anything(filter_jit(holding(thing)), filter_vmap(holding(thing))),
}
BY_VALUE: dict[str, Callable[[Any], Any]] = {
    "a bound method": lambda thing: anything(thing.method),
    "a tuple": lambda thing: marked((thing, 1)),
    "a dataclass": lambda thing: anything(Config(thing)),
    "a dataclass in a tree": lambda thing: anything([X, Config((thing,))]),
    "a frozenset": lambda thing: marked(frozenset({thing}), key=(holding(thing),)),
    "a key": lambda thing: anything({Config(thing): X}),
    "a static field": lambda thing: anything(Node(X, thing)),
    "a static field with a function": lambda thing: anything([Node(X, (holding(thing),)), "s"]),
}


@pytest.mark.parametrize("kind", STATICS)
def test_a_static_object_is_freed_while_the_function_lives(kind):
    assert alive(watched(STATICS[kind])) == 0


@pytest.mark.parametrize("kind", STATICS | BY_VALUE)
def test_a_static_value_is_freed_by_clear_cache(kind):
    refs = watched((STATICS | BY_VALUE)[kind])
    anything.clear_cache()
    marked.clear_cache()
    assert alive(refs) == 0


def test_what_a_model_holds_is_freed_by_clear_cache():
    refs = []
    jitted: Any = None
    for _ in range(3):
        thing = Thing()
        refs.append(weakref.ref(thing))
        jitted = filter_jit(Node(X, thing))
        jitted(X)
        del thing
    jitted.clear_cache()
    del jitted
    assert alive(refs) == 0


def test_objects_with_an_equality_of_their_own_are_freed_by_clear_cache():
    things = [ByValue() for _ in range(3)]
    refs = [weakref.ref(thing) for thing in things]
    while things:
        thing = things.pop()
        anything(thing)
        anything([X, thing])
        marked(thing, key=(thing,))
        del thing
    anything.clear_cache()
    marked.clear_cache()
    assert alive(refs) == 0


@pytest.mark.parametrize("carry", [lambda t: t, lambda t: [X, t], Config, lambda t: Node(X, t)])
@pytest.mark.parametrize("donate", ["none", "all"])
def test_a_static_value_is_freed_with_the_function(carry, donate):
    def use(thing):
        f = filter_jit(lambda x, value: x * 2, donate=donate)
        f(X + 0, carry(thing))
        jax.block_until_ready(f(X + 0, carry(thing)))

    assert alive(watched(use)) == 0


def test_of_very_many_static_values_those_seen_first_are_forgotten_and_traced_again(monkeypatch):
    monkeypatch.setattr(Kept, "limit", 4)
    runs = []

    @filter_jit
    def f(x, rate):
        runs.append(rate)
        return x * rate

    rates = [0.5000001, 1.5000001, 2.5000001, 3.5000001, 4.5000001]  # nobody else keeps these
    for rate in (*rates, rates[4], rates[3], rates[0], rates[4]):
        assert f(X, rate)[1] == rate
    assert runs == [*rates, rates[0]]


def test_a_call_with_more_static_values_than_can_be_kept_says_so(monkeypatch):
    monkeypatch.setattr(Kept, "limit", 4)
    f = filter_jit(lambda x, *values: values)
    assert f(X, 0.5, 1.5, 2.5) == (0.5, 1.5, 2.5)
    with pytest.raises(tf.TypedFilterError, match="a static value was forgotten"):
        f(X, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5)


def test_a_static_result_is_freed_by_clear_cache():
    refs: list[weakref.ref[Any]] = []

    @filter_jit
    def f(x, n):
        thing = Thing()
        refs.append(weakref.ref(thing))
        return x, thing

    for n in range(3):
        assert isinstance(f(X, n)[1], Thing)
    assert alive(refs) == 3
    f.clear_cache()
    assert alive(refs) == 0


def test_what_a_program_returns_is_freed_with_the_program():
    refs: list[weakref.ref[Any]] = []

    @filter_jit
    def f(x):
        thing = Thing()
        refs.append(weakref.ref(thing))
        return x, thing

    for n in range(3):
        assert isinstance(f(X)[1], Thing)
        jax.clear_caches()
        assert len(refs) == n + 1
    assert isinstance(f(X)[1], Thing)
    assert alive(refs) == 1


def test_a_static_part_is_forgotten_with_a_function_in_it():
    f = filter_jit(lambda tree: tree[0])
    kept = site_of(f)[0].engine().kept

    def call() -> None:
        f((X, lambda: None))

    call()
    gc.collect()
    assert len(kept.contents) == 0


def test_a_static_part_does_not_count_those_that_no_longer_keep_it():
    f, g = filter_jit(lambda tree: tree[0]), filter_jit(lambda tree: tree[0])
    tree = (X, "a", 2.5)
    g(tree)
    (content,) = site_of(g)[0].engine().kept.contents
    for _ in range(5):
        f(tree)
        f.clear_cache()
        gc.collect()
    f(tree)
    assert len(content.keepers) == 2


def test_a_function_of_ever_new_classes_keeps_so_many_programs(monkeypatch):
    monkeypatch.setattr(_engine, "_MAX_TABLE", 4)
    f = filter_jit(lambda *xs: len(xs))
    engine = site_of(f)[0].engine()
    for n in range(1, 12):
        assert f(*[X] * n) == n
        assert len(engine.table) <= 4
        assert len(engine.jits) <= 4
    for n in range(1, 12):
        f.lower(*[X] * n)
        assert len(engine.jits) <= 4


def test_a_program_that_was_compiled_ahead_is_freed_when_it_is_dropped():
    refs = []
    for _ in range(3):
        thing = Thing()
        refs.append(weakref.ref(thing))
        f = filter_jit(lambda x, tree, thing=None: x)
        program = f.lower(X, [X, thing], Config(thing)).compile()
        program(X, [X, thing], Config(thing))
        del program, f, thing
    assert alive(refs) == 0


def test_the_instance_of_a_method_is_freed_while_the_class_lives():
    class Model:
        @filter_jit
        def f(self, x):
            return x

        @filter_grad
        def g(self, x: Diff[Any]):
            return x.sum()

        @filter_vmap
        def h(self, x):
            return x

    refs = []
    for _ in range(3):
        model = Model()
        refs.append(weakref.ref(model))
        for call in (model.f, model.g, model.h, filter_jit(model.g), filter_jit(model.h)):
            call(X)
        del model, call
    assert alive(refs) == 0


# ---------------------------------------------------------------------------------------------------- growth


def growth(step: Callable[[], Any], count: int) -> int:
    """By how many objects the process is larger after `count` steps than after a few."""
    for _ in range(10):
        step()
    collect()
    before = len(gc.get_objects())
    for _ in range(count):
        step()
    collect()
    return len(gc.get_objects()) - before


def model() -> dict[str, Any]:
    return {"w": [X, X], "fn": jnp.sin, "n": 1.5, "name": "".join(["m", "n"]), "sub": (X, (1, "s"))}


@filter_jit
def direct(x: Float[Array, "n"], n: Static[int]) -> Float[Array, "n"]:
    return x * n


@filter_jit
def by_type(x, n, name="s"):
    return x * n


@filter_jit
def split(tree, config):
    return tree["w"], tree["name"], config


CALLS: dict[str, Callable[[], Any]] = {
    "direct": lambda: direct(X, 2),
    "by type": lambda: by_type(X, 2, name="".join(["s", "t"])),
    "split": lambda: split(model(), (1, float("nan"))),
    "static values made anew": lambda: marked((1, float("nan"), Config((1, "s"))), key=frozenset({1, 2})),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_hundred_thousand_calls_leave_nothing_behind(kind):
    assert growth(CALLS[kind], 100_000 if kind in ("direct", "by type") else 20_000) < 50


def test_ten_thousand_wrappers_leave_nothing_behind():
    def step():
        fn = holding(None)
        filter_jit(fn)
        filter_vmap(fn, in_axes=({"a": 0},))
        filter_grad(filter_value_and_grad(fn))
        filter_jit(filter_jit(functools.partial(fn, 1), donate="all"))  # with the first three, six

    assert growth(step, 2000) < 50


def test_wrappers_of_one_function_leave_nothing_behind():
    def fn(x, n: Static[int] = 2):
        return x * n

    def step():
        filter_jit(fn)(X)
        filter_jit(filter_vmap(fn))(X)
        filter_jit(Thing.method)(None, X)
        filter_jit(functools.partial(fn, X))()
        filter_jit(Node(X))(X)

    assert growth(step, 500) < 50


def test_functions_that_are_jitted_called_and_dropped_leave_no_more_behind_than_jaxs_own():
    def ours():
        filter_jit(lambda x, tree: x)(X, [X, "s"])

    def theirs():
        jax.jit(lambda x, tree: x)(X, [X, X])

    assert growth(ours, 60) < growth(theirs, 60) + 60


def test_eager_maps_and_gradients_leave_nothing_behind():
    def step():
        filter_vmap(lambda x, y: x)(X, "s")
        filter_grad(lambda x, y: x.sum())(X, "s")

    assert growth(step, 100) < 50


def test_calls_without_jit_leave_nothing_behind():
    def step():
        with jax.disable_jit():
            split(model(), 1.5)
            by_type(X, 2)

    assert growth(step, 100) < 50


def test_errors_leave_nothing_behind():
    def step():
        for call in (lambda: by_type(X, {1}), lambda: direct("s", 1), lambda: split([X, {1}], 1)):
            with pytest.raises(tf.TypedFilterError):
                call()

    assert growth(step, 100) < 50


def test_calls_keep_no_arrays():
    before = len(jax.live_arrays())
    for _ in range(50):
        split({"w": [X + 1, X + 2], "name": "n"}, X + 1)
        by_type(X + 1, 2)
        filter_grad(lambda x, y: (x * y).sum())(X + 1, X + 1)
    collect()
    assert len(jax.live_arrays()) <= before + 1


# ----------------------------------------------------------------- functions that live on, and what they took


def total(x):
    return jnp.sum(x * x)


def more(x):
    return x + 1


def both(carry, x):
    return carry, x


def itself(x):
    return x


OF_X = jax.ShapeDtypeStruct((3,), jnp.float32)
TAKE_AN_ARRAY: dict[str, Callable[[Any], Any]] = {
    "jit": lambda x: filter_jit(total)(x),
    "jit of a tree": lambda x: filter_jit(itself)([x, "a"]),
    "grad": lambda x: filter_grad(total)(x),
    "vmap": lambda x: filter_vmap(more)(x),
    "jvp": lambda x: tf.filter_jvp(total, (x,), (x,)),
    "vjp": lambda x: tf.filter_vjp(total, x)[0],
    "linearize": lambda x: tf.filter_linearize(total, x)[0],
    "jacfwd": lambda x: tf.filter_jacfwd(total)(x),
    "jacrev": lambda x: tf.filter_jacrev(total)(x),
    "checkpoint": lambda x: tf.filter_checkpoint(total)(x),
    "closure_convert": lambda x: tf.filter_closure_convert(total, x),
    "eval_shape": lambda x: tf.filter_eval_shape(total, x),
    "make_jaxpr": lambda x: tf.filter_make_jaxpr(total)(x),
    "scan": lambda x: tf.filter_scan(both, 0, x),
    "cond": lambda x: tf.filter_cond(True, more, more, x),
    "map": lambda x: tf.filter_map(more, x),
    "pure_callback": lambda x: tf.filter_pure_callback(itself, x, result_shape_dtypes=OF_X),
}


@pytest.mark.parametrize("name", TAKE_AN_ARRAY)
def test_a_function_that_lives_on_keeps_no_array_of_its_first_call(name):
    x = X + 1
    kept = weakref.ref(x)
    TAKE_AN_ARRAY[name](x)
    del x
    gc.collect()
    assert kept() is None
