"""Many threads at once: first calls, static values made anew, caches cleared, warning filters left alone."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import Static, filter_grad, filter_jit, filter_vmap
from typedfilter._compiling import donation as _donation
from typedfilter.pytree import pytree_dataclass

pytestmark = pytest.mark.usefixtures("compiled_anew")  # by several threads at once
X = jnp.arange(3.0)
THREADS = 16


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(task: Callable[[int], Any]) -> list[Any]:
    """What `task(i)` returns in each of many threads that start together; raises what one of them raised."""
    barrier = threading.Barrier(THREADS)

    def run(i: int) -> Any:
        barrier.wait()
        return task(i)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytree_dataclass
class Model:
    weight: Any
    power: Static[Any] = 2

    def __call__(self, x):
        return (self.weight * x) ** self.power


def test_first_calls_of_one_function_give_each_thread_its_own_result():
    runs = []

    @filter_jit
    def f(x, n, tree):
        runs.append(n)
        return x * n, tree["name"], tree["x"] + n

    def task(i):
        return [f(X + i, n, {"x": X, "name": f"{n}"}) for n in range(4)]

    for i, outs in enumerate(at_once(task)):
        for n, (product, name, total) in enumerate(outs):
            assert name == f"{n}"
            np.testing.assert_allclose(product, (X + i) * n)
            np.testing.assert_allclose(total, X + n)
    traced = len(runs)
    at_once(task)
    assert len(runs) == traced
    assert set(runs) == set(range(4))


def test_first_calls_of_new_wrappers_of_one_function():
    runs = []

    def loss(w, x, n):
        runs.append(n)
        return (w["w"] * x * n).sum()

    def task(i):
        grad = filter_jit(filter_grad(loss))({"w": X, "s": "s"}, X + i, 2)
        value = filter_jit(loss)({"w": X, "s": "s"}, X + i, 2)
        mapped = filter_jit(filter_vmap(loss, in_axes=(None, None, None), axis_size=2))({"w": X}, X + i, 2)
        return grad["w"], value, mapped

    for i, (grad, value, mapped) in enumerate(at_once(task)):
        np.testing.assert_allclose(grad, (X + i) * 2)
        np.testing.assert_allclose(value, (X * (X + i) * 2).sum())
        np.testing.assert_allclose(mapped, [value, value])
    traced = len(runs)
    at_once(task)
    assert len(runs) == traced


def test_static_values_that_are_made_anew_in_every_thread_are_recognised():
    runs = []

    @filter_jit
    def f(model, key: Static[Any], *rest):
        runs.append(0)
        return model(X)

    def task(i):
        for _ in range(50):
            f(Model(X + i, (2, float("nan"))[0]), (1, float("nan"), "".join(["a", "b"])), [1.5, ("s",)])
        return len(runs)

    at_once(task)
    traced = len(runs)
    assert traced <= THREADS
    at_once(task)
    assert len(runs) == traced


def test_a_call_that_comes_between_the_look_and_the_answer_of_another_does_no_harm():
    """What another thread can do at any moment, done by the hash of a class: at each moment in turn."""

    class Meddling(type):
        before = 0

        def __hash__(cls):
            Meddling.before -= 1
            if Meddling.before == 0:
                f(cls())
            return 7

    for moment in range(1, 9):
        Meddling.before = moment
        f = filter_jit(lambda value: 1)
        assert f(Meddling("Value", (), {})()) == 1


def test_threads_that_pass_different_values_of_one_type_get_their_own():
    f = filter_jit(lambda x, n, tree: (x * n, n, tree["f"]))

    def task(i):
        value = [1, 1.0, True, -0.0, 0.0, 0, False, 2][i % 8]
        return all(repr(f(X, value, {"x": X, "f": value})[1:]) == repr((value, value)) for _ in range(50))

    assert at_once(task) == [True] * THREADS


def test_forward_references_are_resolved_by_whichever_thread_comes_first():
    @filter_jit
    def f(x: Float[Array, "n"], n: Static[Late]):
        return x * n

    class Late(int): ...

    for i, out in enumerate(at_once(lambda i: f(X, Late(i)))):
        np.testing.assert_allclose(out, X * i)


def test_caches_may_be_cleared_while_others_call():
    f = filter_jit(lambda x, n, tree: (x * n, tree["name"]))

    def task(i):
        for n in range(10):
            out, name = f(X, n % 3, {"x": X, "name": "n"})
            np.testing.assert_allclose(out, X * (n % 3))
            assert name == "n"
            if i == 0:
                f.clear_cache()

    at_once(task)


def test_what_a_cleared_cache_drops_may_call_and_add_to_it():
    called = []

    class Dropped:
        def __del__(self):
            called.append(f(X, [len(called)]))

    f = filter_jit(lambda x, tree: x)
    f(X, Dropped())
    f(X, ("a", Dropped()))
    f(X, 1.5)
    f.clear_cache()
    gc.collect()
    assert len(called) == 2
    np.testing.assert_array_equal(f(X, [7]), X)


def test_functions_are_made_jitted_and_dropped_in_every_thread():
    def task(i):
        for n in range(5):
            f = filter_jit(lambda x, tree, n=n: (x * i + n, tree))
            out, tree = f(X, {"i": i, "x": X})
            np.testing.assert_allclose(out, X * i + n)
            assert tree["i"] == i

    at_once(task)


def test_donated_arguments_of_every_thread_are_its_own():
    @filter_jit(donate="all")
    def f(state, n):
        return {"x": state["x"] * n, "name": state["name"]}

    def task(i):
        state = {"x": X + i, "name": f"{i % 2}"}
        for _ in range(20):
            state = f(state, 1)
        return state

    for i, state in enumerate(at_once(task)):
        np.testing.assert_allclose(state["x"], X + i)
        assert state["name"] == f"{i % 2}"


# ------------------------------------------------------------------------------------------- warning filters


def unused(x):
    """Its result has no use for the buffer of its argument."""
    return x[:2], "s"


def test_filters_are_as_before_after_quiet_donations_in_many_threads():
    before = list(warnings.filters)

    def task(i):
        for _ in range(3):
            filter_jit(lambda x: unused(x), donate="all")(X + i)  # a new function: each call compiles

    at_once(task)
    assert list(warnings.filters) == before


def test_filters_that_others_add_or_remove_meanwhile_stay_added_or_removed():
    added = threading.Event()

    def f(x):
        warnings.filterwarnings("ignore", message="added while tracing")
        added.set()
        return unused(x)

    before = list(warnings.filters)
    with warnings.catch_warnings():
        filter_jit(f, donate="all")(X + 0)
        assert added.is_set()
        (new,) = [entry for entry in warnings.filters if entry not in before]
        assert "added while tracing" in str(new)
    assert list(warnings.filters) == before


def test_what_is_done_ahead_of_time_is_quiet_and_leaves_the_filters_as_before():
    before = list(warnings.filters)
    for stage in ("lower", "trace", "eval_shape"):
        f = filter_jit(lambda x: unused(x), donate="all")
        done = getattr(f, stage)(X)
        assert list(warnings.filters) == before
        if stage == "trace":
            done = done.lower()
        if stage != "eval_shape":
            done.compile()(X + 0)  # warnings are errors here
        f(X + 0)
        assert list(warnings.filters) == before


def test_a_function_that_was_traced_inside_of_another_is_quiet_when_it_is_called_itself():
    before = list(warnings.filters)
    for outer in (jax.make_jaxpr, jax.jit, filter_jit, lambda f: lambda x: jax.eval_shape(f, x)):
        f = filter_jit(lambda x: unused(x)[0], donate="all")
        outer(lambda x, f=f: f(x))(X)
        f(X + 0)  # warnings are errors here
        assert list(warnings.filters) == before


def test_a_quiet_function_inside_of_another_leaves_that_quiet():
    before = list(warnings.filters)
    inner = filter_jit(lambda x: unused(x), donate="all")
    outer = filter_jit(lambda x, y: (inner(y)[0], x[:2], inner.eval_shape(y)[1]), donate="all")
    outer(X + 0, X + 0)  # warnings are errors here
    assert list(warnings.filters) == before


def test_an_exception_while_tracing_leaves_the_filters_as_before():
    before = list(warnings.filters)

    def f(x):
        raise KeyError

    with pytest.raises(KeyError):
        filter_jit(f, donate="all")(X + 0)
    assert list(warnings.filters) == before


def test_a_compiled_call_does_nothing_about_warnings(monkeypatch):
    f = filter_jit(unused, donate="all")
    f(X + 0)

    def forbidden(*args, **kwargs):
        raise AssertionError("a compiled call touched the filters")

    for name in ("filterwarnings", "simplefilter", "catch_warnings", "warn"):
        monkeypatch.setattr(warnings, name, forbidden)
    f(X + 0)


AHEAD: dict[str, Callable[[Any], Any]] = {
    "lower": lambda f: f.lower(X),
    "lower and compile": lambda f: f.lower(X).compile(),
    "trace": lambda f: f.trace(X),
    "trace and lower": lambda f: f.trace(X).lower(),
    "eval_shape": lambda f: [f.eval_shape(X), f.eval_shape(X)],
    "inside of another": lambda f: jax.make_jaxpr(f)(X),
    "forgotten": lambda f: [f.eval_shape(X), f.eval_shape(X[1:]), f.clear_cache()],
    "for other shapes": lambda f: [f.eval_shape(X), f.lower(X[1:]), f(X[1:] + 0), f(jnp.ones(7))],
}


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_compiled_call_does_nothing_about_warnings_whatever_was_done_ahead_of_time(ahead, monkeypatch):
    f = filter_jit(lambda x: (jnp.arange(2) * 2.0, unused(x)[0]), donate="all")
    AHEAD[ahead](f)
    f(X + 0)  # warnings are errors here
    monkeypatch.setattr(_donation, "_silence", None)
    f(X + 0)


def test_what_was_traced_ahead_of_time_is_quiet_at_each_of_its_first_calls():
    def body(x):
        with jax.ensure_compile_time_eval():
            jax.jit(lambda: jnp.ones(2))()  # compiled and run while `body` is traced
        return unused(x)

    f = filter_jit(body, donate="all")
    f.eval_shape(X)
    f.eval_shape(X[1:])
    for x in (X, X[1:], X[2:], X):
        f(x + 0)  # warnings are errors here


def test_a_filter_of_the_users_own_stays_in_place():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
        warnings.simplefilter("error", DeprecationWarning)
        before = list(warnings.filters)
        filter_jit(lambda x: unused(x), donate="all")(X + 0)
        assert list(warnings.filters) == before


def test_filters_that_others_replace_meanwhile_are_as_before():
    inner = filter_jit(lambda x: unused(x), donate="all")

    def f(x):
        with warnings.catch_warnings(), jax.ensure_compile_time_eval():
            warnings.simplefilter("error")
            inner(X + 0)  # quiet, under filters that are newer than ours
        return unused(x)

    before = list(warnings.filters)
    filter_jit(f, donate="all")(X + 0)
    assert list(warnings.filters) == before


def test_filters_that_others_put_back_later_are_as_before():
    other = warnings.catch_warnings()
    before = list(warnings.filters)
    filter_jit(lambda x: (other.__enter__(), unused(x))[1], donate="all")(X + 0)
    other.__exit__(None, None, None)
    assert list(warnings.filters) == before


def test_a_thread_that_is_to_be_warned_is_warned():
    """Quiet calls that have compiled keep no other function quiet."""
    quiet = filter_jit(unused, donate="all")
    quiet(X + 0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filter_jit(lambda x: unused(x), donate="warn")(X + 0)
    assert any("donated buffers were not usable" in str(warning.message) for warning in caught)


def test_nothing_is_left_to_be_computed_wrongly():
    """Whatever the threads did: the functions still work."""
    jax.block_until_ready([filter_jit(unused, donate="all")(X + 0)[0], filter_vmap(lambda x: x)(X)])
