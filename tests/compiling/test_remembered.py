"""Frozen models are taken apart once, counted by their own flatten function, and stay right."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import typedfilter as tf
from typedfilter import filter_grad, filter_jit, filter_vmap
from typedfilter._compiling import remembered

FLATTENED: list[type] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    remembered.forget_all()
    FLATTENED.clear()


def counted(cls: Any) -> Any:
    """A class registered with a flatten function in Python, which says when it runs."""
    names = [field.name for field in dataclasses.fields(cls)]

    def flatten(node: Any) -> tuple[list[Any], None]:
        FLATTENED.append(cls)
        return [getattr(node, name) for name in names], None

    def unflatten(_: Any, children: Any) -> Any:
        made = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(made, name, child)
        return made

    jax.tree_util.register_pytree_node(cls, flatten, unflatten)
    return cls


@counted
@dataclasses.dataclass(frozen=True)
class Frozen:
    w: Any
    inner: Any = ()
    activation: Any = jnp.sin


@counted
@dataclasses.dataclass
class Changeable:
    w: Any
    inner: Any = ()
    activation: Any = jnp.sin


@filter_jit
def apply(model, x):
    return model.activation(model.w * x)


@filter_jit
def grown(model, x):
    return dataclasses.replace(model, w=model.w + x), x


def flattenings(call: Callable[[], Any]) -> int:
    FLATTENED.clear()
    call()
    return len(FLATTENED)


X = jnp.arange(3.0)


# --------------------------------------------------------------------------------------- what is remembered


@pytest.mark.parametrize(
    "inner",
    [(), (1, "a", None), (Frozen(X), jnp.cos), Frozen(np.ones(2), (X,))],
    ids=["alone", "numbers", "model", "numpy"],
)
def test_a_frozen_model_is_taken_apart_once(inner):
    model = Frozen(X, inner)
    expected = jnp.sin(X * X)
    for _ in range(3):
        np.testing.assert_allclose(apply(model, X), expected, rtol=1e-6)
    assert flattenings(lambda: apply(model, X)) == 0


def test_a_model_that_comes_back_is_known_when_it_is_passed_again():
    model, _ = grown(Frozen(X), 1.0)
    model, _ = grown(model, X)
    for step in range(3):
        FLATTENED.clear()
        model, _ = grown(model, X)
        assert FLATTENED == []
        np.testing.assert_allclose(model.w, X + 1 + X * (step + 2))


def test_a_model_bound_to_a_jitted_function_is_taken_apart_once():
    class Caller:
        pass

    model = eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0))
    call = filter_jit(model)
    x = jnp.ones(2)
    call(x)
    call(x)
    before = remembered.seen(id(model))
    np.testing.assert_allclose(call(x), model(x), rtol=1e-6)
    assert before is not None
    assert remembered.seen(id(model)) is before


@pytest.mark.parametrize(
    "inner",
    [[], {}, ([X],), {"a": X}, Changeable(X)],
    ids=["list", "dict", "list in a tuple", "array in a dict", "node"],
)
def test_a_model_with_something_that_may_change_is_never_remembered(inner):
    model = Frozen(X, inner)
    apply(model, X)
    assert remembered.seen(id(model)) is None
    assert flattenings(lambda: apply(model, X)) > 0


def test_a_list_that_grows_and_a_dictionary_that_changes_are_seen():
    @filter_jit
    def total(model):
        return sum(jax.tree.leaves((model.w, model.inner)), jnp.zeros(()))

    model = Frozen(jnp.ones(()), [jnp.ones(())])
    assert total(model) == 2
    model.inner.append(jnp.ones(()))
    assert total(model) == 3
    named = Frozen(jnp.ones(()), {"a": jnp.ones(())})
    assert total(named) == 2
    named.inner["a"] = jnp.full((), 5.0)
    assert total(named) == 6


def test_a_model_that_may_be_changed_is_read_at_every_call():
    model = Changeable(X)
    apply(model, X)
    model.w = X + 1
    np.testing.assert_allclose(apply(model, X), jnp.sin((X + 1) * X), rtol=1e-6)


class Config:
    """Hashable by a value that can be changed."""

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and other.gain == self.gain

    def __hash__(self) -> int:
        return hash(self.gain)


def test_a_static_value_that_may_be_changed_keeps_a_model_from_being_remembered():
    model = Frozen(X, Config(1.0))
    scaled = filter_jit(lambda model: model.w * model.inner.gain)
    scaled(model)
    model.inner.gain = 3.0
    np.testing.assert_allclose(scaled(model), X * 3)


def test_what_stands_in_a_numpy_array_is_read_at_the_call():
    model = Frozen(np.ones(3, np.float32))
    apply(model, X)
    model.w[:] = 2
    np.testing.assert_allclose(apply(model, X), jnp.sin(2 * X), rtol=1e-6)
    assert flattenings(lambda: apply(model, X)) == 0


def test_what_is_forced_upon_a_frozen_model_is_not_seen():
    model = Frozen(X)
    apply(model, X)
    object.__setattr__(model, "w", X + 1)
    np.testing.assert_allclose(apply(model, X), jnp.sin(X * X), rtol=1e-6)
    np.testing.assert_allclose(apply(copy.copy(model), X), jnp.sin((X + 1) * X), rtol=1e-6)


def test_one_model_passed_to_two_functions_is_taken_apart_once():
    doubled = filter_jit(lambda model, x: 2 * model.activation(model.w * x))
    model = Frozen(X)
    apply(model, X)
    doubled(model, X)
    assert flattenings(lambda: (apply(model, X), doubled(model, X))) == 0
    np.testing.assert_allclose(doubled(model, X), 2 * jnp.sin(X * X), rtol=1e-6)


# --------------------------------------------------------------------------------- copies and other classes


def test_copies_pickles_and_replacements_are_models_of_their_own():
    model = Frozen(X)
    apply(model, X)
    for other in (copy.copy(model), copy.deepcopy(model)):
        np.testing.assert_array_equal(apply(other, X), apply(model, X))
    plain = Frozen(X, activation=abs)
    np.testing.assert_array_equal(apply(pickle.loads(pickle.dumps(plain)), X), apply(plain, X))
    changed = dataclasses.replace(model, w=X + 1, activation=jnp.cos)
    np.testing.assert_allclose(apply(changed, X), jnp.cos((X + 1) * X), rtol=1e-6)


def test_a_subclass_with_another_flatten_function_is_asked_by_its_own():
    @dataclasses.dataclass(frozen=True)
    class Doubled(Frozen):
        pass

    jax.tree_util.register_pytree_node(
        Doubled, lambda node: ([node.w * 2], node.activation), lambda aux, c: Doubled(c[0], (), aux)
    )
    model = Doubled(X)
    for _ in range(3):
        np.testing.assert_allclose(apply(model, X), jnp.sin(2 * X * X), rtol=1e-6)


def test_a_class_without_weak_references_is_not_remembered():
    @counted
    @dataclasses.dataclass(frozen=True, slots=True)
    class Slotted:
        w: Any
        activation: Any = jnp.sin

    model = Slotted(X)
    for _ in range(3):
        np.testing.assert_allclose(apply(model, X), jnp.sin(X * X), rtol=1e-6)
    assert flattenings(lambda: apply(model, X)) > 0


@dataclasses.dataclass(frozen=True)
class Raising:
    w: Any
    activation: Any = jnp.sin

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    def __hash__(self) -> int:
        raise RuntimeError("not to be hashed")


jax.tree_util.register_pytree_node(
    Raising, lambda r: ((r.w, r.activation), None), lambda _, children: Raising(*children)
)


def test_a_model_that_can_not_be_compared_or_hashed_is_remembered_by_its_identity():
    model = Raising(X)
    for _ in range(3):
        np.testing.assert_allclose(apply(model, X), jnp.sin(X * X), rtol=1e-6)
    assert remembered.seen(id(model)) is not None


def test_models_of_flax_and_of_typedfilter_are_remembered():
    class Struct(flax.struct.PyTreeNode):
        w: Any
        activation: Any = flax.struct.field(pytree_node=False, default=jnp.sin)

    @tf.pytree_dataclass
    class Ours:
        w: Any
        activation: Any = jnp.sin

    for model in (Struct(w=X), Ours(X)):
        for _ in range(2):
            np.testing.assert_allclose(apply(model, X), jnp.sin(X * X), rtol=1e-6)
        assert remembered.seen(id(model)) is not None


def test_a_static_list_in_a_model_is_the_error_that_it_was():
    model = Frozen(X, ({1},))
    for _ in range(2):
        with pytest.raises(tf.StaticArgumentError, match=r"inner|unhashable"):
            apply(model, X)


# ------------------------------------------------------------------------------------------------ lifetimes


def test_nothing_lives_longer_than_the_model():
    model = Frozen(jnp.ones(3), (jnp.ones(2),))
    apply(model, X)
    refs = [weakref.ref(model), weakref.ref(model.w), weakref.ref(model.inner[0])]
    del model
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


def test_a_model_that_its_own_static_part_refers_to_is_freed():
    class Owner:
        pass

    owner = Owner()
    model = Frozen(jnp.ones(3), activation=lambda x: (owner, jnp.sin(x))[1])
    owner.model = model
    apply(model, X)
    apply(model, X)
    ref = weakref.ref(model)
    del model, owner
    gc.collect()
    assert ref() is None


def test_ten_thousand_models_leave_nothing_behind():
    def one(i: int) -> None:
        apply(Frozen(X), X)

    one(0)
    gc.collect()
    before = len(gc.get_objects())
    for i in range(2_000):
        one(i)
    gc.collect()
    assert len(gc.get_objects()) - before < 50


def test_more_models_than_are_remembered_are_all_right(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remembered, "_LIMIT", 4)
    models = [Frozen(X + i) for i in range(10)]
    for _ in range(2):
        for i, model in enumerate(models):
            np.testing.assert_allclose(apply(model, X), jnp.sin((X + i) * X), rtol=1e-5)


def test_a_donated_model_says_so_when_it_is_passed_again():
    step = filter_jit(lambda model, x: dataclasses.replace(model, w=model.w + x), donate="all-except-first")
    given = filter_jit(lambda model, x: dataclasses.replace(model, w=model.w + x), donate="all")
    model = Frozen(jnp.ones(3))
    step(model, 1.0)
    again = given(model, 1.0)
    assert model.w.is_deleted()
    with pytest.raises(tf.DonationError):
        given(model, 1.0)
    for _ in range(3):
        again = given(again, 1.0)
    np.testing.assert_allclose(again.w, 5.0)


# ------------------------------------------------------------------------- caches, threads and other traces


def test_clearing_caches_in_between_changes_nothing():
    model = Frozen(X)
    expected = apply(model, X)
    for clear in (jax.clear_caches, apply.clear_cache):
        clear()
        np.testing.assert_array_equal(apply(model, X), expected)


def test_one_model_passes_through_many_transforms():
    def loss(model, x):
        return (model.activation(model.w) * x).sum()

    model = Frozen(X)
    expected = jnp.cos(X) * X
    for _ in range(2):
        np.testing.assert_allclose(filter_jit(filter_grad(loss))(model, X).w, expected, rtol=1e-5)
        np.testing.assert_allclose(filter_grad(filter_jit(loss))(model, X).w, expected, rtol=1e-5)
        batch = filter_vmap(apply, in_axes=(None, 0))(model, jnp.stack([X, X]))
        np.testing.assert_allclose(batch[1], jnp.sin(X * X), rtol=1e-6)


def test_tracers_are_never_remembered():
    @jax.jit
    def outer(w, x):
        model, y = grown(Frozen(w), x)
        assert remembered.seen(id(model)) is None
        return apply(model, x) + y

    with jax.checking_leaks():
        for shift in range(2):
            np.testing.assert_allclose(
                outer(X + shift, X), jnp.sin((X + shift + X) * X) + X, rtol=1e-5, atol=1e-6
            )
    assert len(remembered._seen) == 0


@pytest.mark.usefixtures("compiled_anew")
def test_threads_share_a_new_model_while_others_drop_theirs():
    results: list[Array] = []
    errors: list[BaseException] = []
    shared = Frozen(X)
    apply(Frozen(X), X)
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            barrier.wait()
            for i in range(30):
                model = shared if number % 2 else Frozen(X)
                results.append(apply(model, X))
                del model
                if number == 0 and i % 10 == 0:
                    gc.collect()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(results) == 240
    np.testing.assert_allclose(jnp.stack(results), jnp.broadcast_to(jnp.sin(X * X), (240, 3)), rtol=1e-6)
