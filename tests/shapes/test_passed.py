"""What was checked and has passed is not checked again, and nothing wrong passes because of that."""

from __future__ import annotations

import dataclasses
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, Int, PyTree

from typedfilter import ShapeError, Traced, filter_grad, filter_jvp, filter_vmap
from typedfilter._reading.plan import plan_of
from typedfilter._shapes import check
from typedfilter._shapes.check import checked
from typedfilter._shapes.passed import Memory


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first step of the path of each value that was walked."""
    found: list[str] = []

    def counted(kind: Any, value: Any, path: Any, binder: Any) -> Any:
        found.append(path[0])
        return walk(kind, value, path, binder)

    walk = check.walk
    monkeypatch.setattr(check, "walk", counted)
    return found


def body(fn: Callable[..., Any]) -> Callable[..., Any]:
    return checked(fn, plan_of(fn), eager=True)


def shape(*sizes: int) -> Array:
    return jnp.zeros(sizes)


class Batch(NamedTuple):
    x: Float[Array, "n"]
    y: Int[Array, "n"]


class Model:
    pass


def one(x: Float[Array, "n"], y: Float[Array, "n m"]) -> Float[Array, "m"]:
    return x @ y


def nested(
    tree: dict[str, list[Float[Array, "n"]]], more: PyTree[Float[Array, "..."]], n: int = 3
) -> Float[Array, "n"]:
    return tree["a"][0]


def batched(batch: Batch, *rest: Float[Array, "n"], flag: bool = False) -> tuple[Float[Array, "n"], bool]:
    return batch.x, flag


def modelled(model: Model, f: Callable[[Array], Array], x: Float[Array, "n"] | None) -> Any:
    return None


PASSING = {
    "arrays": (one, (shape(2), shape(2, 3)), {}),
    "containers": (nested, ({"a": [shape(2), shape(2)]}, (shape(1), [shape(2, 2)])), {"n": 4}),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_has_passed_is_not_looked_at_again(name: str, walks: list[str]):
    fn, args, kwargs = PASSING[name]
    call = body(fn)
    expected = fn(*args, **kwargs)
    call(*args, **kwargs)
    assert walks
    call(*args, **kwargs)  # what the result of a known call is, is known from here on
    walks.clear()
    result = call(*args, **kwargs)
    assert walks == []
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), result, expected))


def test_transforms_check_one_combination_of_shapes_once(walks: list[str]):
    def loss(w: Float[Array, "n"], x: Float[Array, "n"]) -> Float[Array, ""]:
        return w @ x

    w, xs = jnp.arange(3.0), jnp.arange(6.0).reshape(2, 3)
    mapped, derived = filter_vmap(loss, in_axes=(None, 0)), filter_grad(loss)
    calls = {
        "vmap": lambda: mapped(w, xs),
        "grad": lambda: derived(w, xs[0]),
        "jvp": lambda: filter_jvp(loss, (w, xs[0]), (w, None))[1],
    }
    for call in calls.values():
        call()
        call()
    walks.clear()
    found = {name: np.asarray(call()) for name, call in calls.items()}
    assert walks == []
    np.testing.assert_array_equal(found["vmap"], xs @ w)
    np.testing.assert_array_equal(found["grad"], xs[0])
    np.testing.assert_array_equal(found["jvp"], w @ xs[0])
    mapped(w[:2], xs[:, :2])
    assert walks[:2] == ["w", "x"]


# --------------------------------------------------------------------------------- what is wrong is refused


def text_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ShapeError) as caught:
        call()
    return str(caught.value)


WRONG: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = {
    "shape": (one, (shape(2), shape(2, 3)), (shape(2), shape(3, 3))),
    "dtype": (one, (shape(2), shape(2, 3)), (jnp.zeros(2, int), shape(2, 3))),
    "rank": (one, (shape(2), shape(2, 3)), (shape(2, 1), shape(2, 3))),
    "length": (nested, ({"a": [shape(2)]}, ()), ({"a": [shape(2), shape(3)]}, ())),
    "leaf": (nested, ({"a": [shape(2)]}, shape(2)), ({"a": [shape(2)]}, "text")),
    "class": (modelled, (Model(), jnp.sin, None), (3, jnp.sin, None)),
    "number": (nested, ({"a": [shape(2)]}, (), 3), ({"a": [shape(2)]}, (), 3.5)),
    "record": (
        batched,
        (Batch(shape(2), jnp.zeros(2, int)),),
        (Batch(shape(2), jnp.zeros(3, int)),),
    ),
    "tuple": (batched, (Batch(shape(2), jnp.zeros(2, int)),), ((shape(2), jnp.zeros(2, int)),)),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_after_what_was_right(name: str):
    fn, right, wrong = WRONG[name]
    expected = text_of(lambda: body(fn)(*wrong))
    call = body(fn)
    for _ in range(3):
        call(*right)
        assert text_of(lambda: call(*wrong)) == expected


def test_a_list_that_grows_is_looked_at_again():
    def total(xs: list[Float[Array, "n"]]) -> Float[Array, "n"]:
        return sum(xs[1:], xs[0])

    call, xs = body(total), [shape(2)]
    call(xs)
    call(xs)
    xs.append(shape(3))
    assert "bound by `xs[0]`" in text_of(lambda: call(xs))


@pytest.mark.parametrize(("right", "wrong"), [("a", "b"), (1, True), (1, 2), (None, 0)])
def test_a_value_is_compared_at_each_call(right: Any, wrong: Any):
    def mode(x: Float[Array, "n"], mode: Any) -> Float[Array, "n"]:
        return x

    mode.__annotations__["mode"] = Literal[right]
    call = body(mode)
    for _ in range(3):
        call(shape(2), right)
    assert "mode" in text_of(lambda: call(shape(2), wrong))


def test_keys_are_compared_exactly():
    def keyed(named: dict[int, Float[Array, "n"]]) -> Any:
        return None

    call = body(keyed)
    for _ in range(3):
        call({1: shape(2)})
    text_of(lambda: call({1.0: shape(2)}))


@runtime_checkable
class Named(Protocol):
    name: str


def test_what_a_protocol_asks_for_is_looked_for_at_each_call():
    def greet(named: Named) -> Any:
        return named.name

    class Person:
        pass

    person = Person()
    person.name = "a"
    call = body(greet)
    for _ in range(3):
        call(person)
    del person.name
    text_of(lambda: call(person))


def test_elements_of_what_is_no_container_to_jax_are_looked_at_each_time():
    def look(numbers: set[int], names: list[str]) -> Any:
        return None

    call = body(look)
    for _ in range(3):
        call({1}, ["a"])
    text_of(lambda: call({"a"}, ["a"]))
    text_of(lambda: call({1}, [1]))


def test_a_default_is_not_checked_and_what_is_passed_in_its_place_is():
    def defaulted(x: Float[Array, "n"], y: Float[Array, "n"] = None) -> Any:
        return y

    call = body(defaulted)
    for _ in range(3):
        call(shape(2))
        call(shape(2), None)
        call(shape(2), shape(2))
    text_of(lambda: call(shape(2), shape(3)))


def test_numbers_become_arrays_at_each_call():
    def scale(x: Float[Array, "n"], by: Traced[float]) -> Float[Array, "n"]:
        assert isinstance(by, jax.Array)
        return x * by

    call = body(scale)
    for by in (2.0, np.float32(2), jnp.asarray(2.0), 2.0):
        np.testing.assert_array_equal(call(jnp.ones(2), by), 2 * np.ones(2))


# -------------------------------------------------------------------------------------- what a body may ask


def test_a_body_sees_what_its_arguments_have_bound_at_each_call():
    seen: list[tuple[bool, ...]] = []

    def look(x: Float[Array, "n k"], *rest: Float[Array, "*batch n"], y: Float[Array, "#k"]) -> Any:
        seen.append(
            (
                isinstance(shape(3), Float[Array, "n"]),  # would bind it, were it not bound
                isinstance(shape(2), Float[Array, "n"]),
                isinstance(shape(5), Float[Array, "*batch"]),
                isinstance(shape(5, 6), Float[Array, "*batch"]),
                isinstance(shape(4), Float[Array, "k"]),
                isinstance(shape(9), Float[Array, "other"]),
                isinstance(shape(8), Float[Array, "other"]),
            )
        )

    call = body(look)
    for _ in range(3):
        call(shape(2, 4), shape(5, 6, 2), y=shape(1))
    assert seen == [(False, True, False, True, True, True, False)] * 3


def test_a_result_is_compared_with_what_the_body_has_bound():
    sizes = iter([2, 2, 2, 3])

    def grown(x: Float[Array, "n"]) -> Float[Array, "m"]:
        assert isinstance(shape(next(sizes)), Float[Array, "m"])
        return shape(2)

    call = body(grown)
    for _ in range(3):
        call(shape(4))
    assert "as the body bound it" in text_of(lambda: call(shape(4)))


def test_a_wrong_result_after_right_ones_names_who_bound_the_size():
    results = iter([shape(2), shape(2), shape(3)])

    def same(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return next(results)

    call = body(same)
    call(shape(2))
    call(shape(2))
    assert "needs n=2, bound by `x`" in text_of(lambda: call(shape(2)))


def test_each_call_has_names_of_its_own_inside_of_a_checked_function():
    def inner(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * 2

    call = body(inner)

    def outer(x: Float[Array, "n"]) -> Float[Array, "n"]:
        call(jnp.ones(5))
        return x

    for _ in range(3):
        body(outer)(shape(3))
        body(outer)(shape(4))


# ------------------------------------------------------------------------------------- lifetimes and bounds


def memory_of(call: Any) -> Memory:
    return call._reading.memory


def test_nothing_of_a_call_is_kept():
    @dataclasses.dataclass
    class Local:
        w: Array

    def use(x: Float[Array, "n"], local: Any, model: Model | Any) -> Any:
        return None

    call = body(use)
    x, local = jnp.ones(3), Local(jnp.ones(2))
    call(x, local, local)
    call(x, local, local)
    refs = [weakref.ref(x), weakref.ref(local), weakref.ref(local.w), weakref.ref(Local)]
    del x, local, Local
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


def test_a_local_class_is_not_kept_by_what_has_passed():
    class Local(Model):
        pass

    def use(model: Model, x: Float[Array, "n"]) -> Any:
        return None

    call = body(use)
    call(Local(), shape(2))
    ref = weakref.ref(Local)
    del Local
    gc.collect()
    assert ref() is None
    assert len(memory_of(call)._passed) == 0


def test_calls_of_ever_new_shapes_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Memory, "limit", 4)
    call = body(one)
    for n in range(1, 12):
        call(shape(n), shape(n, 2))
        assert len(memory_of(call)._passed) <= 4


def test_a_body_whose_calls_can_not_be_known_stops_to_look_them_up():
    class Node:
        pass

    flattened: list[Any] = []

    def flatten(node: Any) -> tuple[tuple[Any, ...], None]:
        flattened.append(node)
        return (), None

    jax.tree_util.register_pytree_node(Node, flatten, lambda *_: Node())

    def use(tree: PyTree[Float[Array, "..."]]) -> Any:
        return None

    call, node = body(use), Node()
    for _ in range(Memory.patience + 1):
        call(node)
    flattened.clear()
    call(node)
    assert len(flattened) == 2  # by the check, and where arrays are looked for


def test_tracers_end_with_their_trace():
    mapped = filter_vmap(one, in_axes=(None, 0))
    with jax.checking_leaks():
        for _ in range(3):
            np.testing.assert_array_equal(
                jax.jit(mapped)(jnp.ones(2), jnp.ones((4, 2, 3))), np.full((4, 3), 2)
            )


@pytest.mark.usefixtures("compiled_anew")
def test_threads_pass_what_is_right_and_refuse_what_is_wrong():
    call = body(one)
    verdicts: list[tuple[bool, bool]] = []

    def work(number: int) -> None:
        for i in range(60):
            n = 1 + (number + i) % 3
            wrong = i % 4 == 0
            try:
                call(shape(n), shape(n + wrong, 2))
            except ShapeError:
                verdicts.append((wrong, False))
            else:
                verdicts.append((wrong, True))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(verdicts) == 360
    assert all(wrong is not passed for wrong, passed in verdicts)


def test_checks_that_are_off_teach_nothing(monkeypatch: pytest.MonkeyPatch):
    call = body(one)
    monkeypatch.setenv("TYPEDFILTER_CHECK", "off")
    with pytest.raises(TypeError, match=r"dot_general|matmul"):
        call(shape(2), shape(3, 3))
    monkeypatch.setenv("TYPEDFILTER_CHECK", "on")
    text_of(lambda: call(shape(2), shape(3, 3)))


def test_a_warning_is_no_verdict(monkeypatch: pytest.MonkeyPatch):
    def anything(x: Float[Array, "n"], y: Float[Array, "n"]) -> Any:
        return None

    call = body(anything)
    monkeypatch.setenv("TYPEDFILTER_CHECK", "warn")
    with pytest.warns(match="bound by `x`"):
        call(shape(2), shape(3))
    call(shape(2), shape(3))
    monkeypatch.setenv("TYPEDFILTER_CHECK", "on")
    text_of(lambda: call(shape(2), shape(3)))
