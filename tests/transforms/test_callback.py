"""`filter_pure_callback`: Python on the host, anything in and out, exact results, readable errors."""

from __future__ import annotations

import dataclasses
import functools
import gc
import pickle
import threading
import weakref
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import typedfilter
from typedfilter import (
    AnnotationError,
    ShapeError,
    StaticArgumentError,
    filter_checkpoint,
    filter_closure_convert,
    filter_cond,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_fori_loop,
    filter_grad,
    filter_jit,
    filter_map,
    filter_pmap,
    filter_pure_callback,
    filter_scan,
    filter_vmap,
    filter_while_loop,
)
from typedfilter._wrapping import host_errors as _raised

F32 = jax.ShapeDtypeStruct((), jnp.float32)
VECTOR = jax.ShapeDtypeStruct((3,), jnp.float32)
X = jnp.arange(3.0)
NAN = float("nan")


pytestmark = pytest.mark.usefixtures("quiet")


def returning(value, declared):
    return filter_pure_callback(lambda: value, result_shape_dtypes=declared)


# What goes in and out -------------------------------------------------------------------------------


def shortly(value):
    """The id of a case, the same in every process: functions by their names."""
    return getattr(value, "__name__", None) or str(value)


@pytest.mark.parametrize("around", [lambda f: f, filter_jit, jax.jit], ids=["eager", "filter_jit", "jax.jit"])
def test_arguments_and_results_may_hold_anything(around):
    seen = []

    def callback(model, name, *, flag):
        seen.append((type(model["act"]), name, flag))
        return {"y": np.asarray(model["w"]) * 2, "name": name, "none": None}

    def f(w):
        model = {"w": w, "act": np.tanh}
        declared = {"y": VECTOR, "name": "n", "none": None}
        out = filter_pure_callback(callback, model, "n", flag={1}, result_shape_dtypes=declared)
        assert out["name"] == "n"
        assert out["none"] is None
        return out["y"]

    assert jnp.array_equal(around(f)(X), 2 * X)
    assert seen == [(np.ufunc, "n", {1})]


def test_python_numbers_reach_the_callback_as_they_are():
    seen = []
    filter_pure_callback(lambda *args: seen.extend(args), 1, True, 2.0, "s", result_shape_dtypes=None)
    assert [(type(value), value) for value in seen] == [(int, 1), (bool, True), (float, 2.0), (str, "s")]


def test_arrays_reach_the_callback_as_arrays():
    def callback(x):
        assert isinstance(x, (jax.Array, np.ndarray))
        return np.asarray(x)

    assert jnp.array_equal(
        filter_jit(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=VECTOR))(X), X
    )


def test_an_array_may_stand_for_its_own_shape():
    assert jnp.array_equal(filter_pure_callback(lambda x: x, X, result_shape_dtypes=X), X)


def test_annotations_of_the_callback_do_not_keep_arrays_out():
    def callback(x: float) -> float:
        return float(x) * 2

    assert (
        filter_jit(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=F32))(jnp.array(2.0))
        == 4.0
    )


def test_an_eager_call_is_compiled_once():
    compiled = []

    def listen(event: str, *_args, **_kwargs):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        f = lambda s: filter_pure_callback(_twice, X, s, result_shape_dtypes=(VECTOR, s))
        f(1), f(1)
        once = len(compiled)
        f(1), f(1)
        assert len(compiled) == once
        assert [f(1)[1], f(True)[1], f(1.0)[1]] == [1, True, 1.0]
    finally:
        jax.monitoring.clear_event_listeners()


def _twice(x, s):
    return np.asarray(x) * 2, s


# Results are compared with the declaration -----------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (1.5, F32),
        (np.float64(1.5), F32),
        (np.asarray(1.5), F32),
        (2, jax.ShapeDtypeStruct((), jnp.int8)),
        (True, jax.ShapeDtypeStruct((), jnp.bool_)),
        (1 + 2j, jax.ShapeDtypeStruct((), jnp.complex64)),
        (1.5, jax.ShapeDtypeStruct((), jnp.bfloat16)),
    ],
    ids=str,
)
def test_a_number_fits_where_a_scalar_array_of_its_kind_is_declared(value, declared):
    out = returning(value, declared)
    assert out.dtype == declared.dtype
    assert out == value


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (1, F32),
        (True, F32),
        (True, jax.ShapeDtypeStruct((), jnp.int32)),
        (300, jax.ShapeDtypeStruct((), jnp.int8)),
        (1j, F32),
        (None, F32),
        ("s", F32),
        (np.ones(2, np.float32), F32),
        (np.ones((), np.int32), F32),
        ([1.0], F32),
        ((1.0, 2.0), (F32,)),
        ({"a": 1.0}, {"b": F32}),
    ],
    ids=str,
)
def test_another_structure_shape_or_dtype_is_refused(value, declared):
    with pytest.raises(ShapeError):
        returning(value, declared)


@pytest.mark.parametrize("declared", [1, 1.0, True, 1 + 0j], ids=repr)
@pytest.mark.parametrize("value", [1, 1.0, True, 1 + 0j], ids=repr)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside an array"])
def test_static_results_are_told_apart_exactly(value, declared, beside):
    f = lambda: returning((value, 2.0) if beside else value, (declared, F32) if beside else declared)
    if type(value) is type(declared):
        f()
    else:
        with pytest.raises(StaticArgumentError):
            f()


@pytest.mark.parametrize(
    "value", [NAN, complex(0, NAN), (1, "s"), {1, 2}, jnp.sin, None, object], ids=shortly
)
def test_static_results_that_are_the_same_pass(value):
    declared = float("nan") if value is NAN else value
    out = returning((value, 1.0), (declared, F32))
    assert out[0] is declared or out[0] == declared


@pytest.mark.parametrize(
    ("value", "declared"),
    [(0.0, -0.0), ("a", "b"), ({1}, {2}), (jnp.sin, jnp.cos), ({1: "a"}, {True: "a"}), ([1], [2])],
    ids=shortly,
)
def test_static_results_that_differ_are_refused(value, declared):
    with pytest.raises((StaticArgumentError, ShapeError)):
        returning((value, 1.0), (declared, F32))


def test_a_wrong_result_is_refused_under_jit_too():
    f = filter_jit(lambda x: filter_pure_callback(lambda x: (x, True), x, result_shape_dtypes=(VECTOR, 1)))
    with pytest.raises(StaticArgumentError):
        f(X)


# vmap ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, [((2,), ())] * 3),
        ({"vectorized": False}, [((2,), ())] * 3),
        ({"vmap_method": "sequential"}, [((2,), ())] * 3),
        ({"vmap_method": "sequential_unrolled"}, [((2,), ())] * 3),
        ({"vectorized": True}, [((3, 2), (1,))]),
        ({"vmap_method": "expand_dims"}, [((3, 2), (1,))]),
        ({"vmap_method": "broadcast_all"}, [((3, 2), (3,))]),
    ],
    ids=str,
)
@pytest.mark.parametrize("vmap", [filter_vmap, jax.vmap])
def test_vmap_calls_it_as_asked_for(vmap, options, shapes):
    seen = []

    def callback(x, y, s):
        assert s == "s"
        seen.append((x.shape, y.shape))
        return np.asarray(x) + np.asarray(y)[..., None]

    declared = jax.ShapeDtypeStruct((2,), jnp.float32)
    f = lambda x, y: filter_pure_callback(callback, x, y, "s", result_shape_dtypes=declared, **options)
    out = vmap(f, in_axes=(0, None))(jnp.ones((3, 2)), jnp.array(1.0))
    assert jnp.array_equal(out, jnp.full((3, 2), 2.0))
    assert seen == shapes


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("around", [lambda f: f, filter_jit], ids=["eager", "filter_jit"])
def test_typed_random_keys_reach_the_callback_as_their_data(around, impl):
    seen = []

    def total(key):
        seen.append(np.asarray(key))
        return np.sum(seen[-1], axis=-1, dtype=np.float32)

    def f(key, method=None, shape=()):
        declared = jax.ShapeDtypeStruct(shape, jnp.float32)
        return filter_pure_callback(total, key, result_shape_dtypes=declared, vmap_method=method)

    keys = jax.random.split(jax.random.key(3, impl=impl), 2)
    data = np.asarray(jax.random.key_data(keys))
    sums = data.sum(-1, dtype=np.float32)
    assert around(f)(keys[1]) == sums[1]
    assert np.array_equal(seen.pop(), data[1])
    assert np.array_equal(around(lambda keys: f(keys, shape=(2,)))(keys), sums)
    assert np.array_equal(around(filter_vmap(f))(keys), sums)
    for method in ("expand_dims", "broadcast_all"):
        seen.clear()
        assert np.array_equal(around(filter_vmap(lambda key, method=method: f(key, method)))(keys), sums)
        assert [one.shape for one in seen] == [data.shape]


def test_nested_maps_add_an_axis_each():
    declared = jax.ShapeDtypeStruct((), jnp.float32)
    callback = lambda x, y: np.asarray(x) + np.asarray(y)
    f = lambda x, y: filter_pure_callback(callback, x, y, result_shape_dtypes=declared, vectorized=True)
    out = filter_vmap(filter_vmap(f, in_axes=(None, 0)), in_axes=(0, None))(jnp.arange(2.0), jnp.arange(3.0))
    assert jnp.array_equal(out, jnp.arange(2.0)[:, None] + jnp.arange(3.0))


def test_a_vectorized_result_without_the_batch_is_refused():
    f = lambda x: filter_pure_callback(lambda x: np.float32(1.0), x, result_shape_dtypes=F32, vectorized=True)
    with pytest.raises(ShapeError):
        filter_vmap(f)(X)


@pytest.mark.parametrize(
    "options", [{"vmap_method": "fast"}, {"vmap_method": "sequential", "vectorized": True}], ids=str
)
def test_unknown_or_contradicting_options_are_refused(options):
    with pytest.raises(AnnotationError):
        filter_pure_callback(lambda: 1.0, result_shape_dtypes=F32, **options)


# Derivatives, devices --------------------------------------------------------------------------------


def test_it_has_a_derivative_by_a_custom_jvp():
    @filter_custom_jvp
    def sine(x):
        return filter_pure_callback(lambda x: np.sin(x), x, result_shape_dtypes=F32)

    @sine.def_jvp
    def _(primals, tangents):
        (x,), (t,) = primals, tangents
        return sine(x), jnp.cos(x) * t

    for grad in (filter_grad(sine), filter_jit(filter_grad(sine))):
        np.testing.assert_allclose(grad(jnp.array(1.0)), np.cos(1.0), rtol=1e-6)


def test_it_has_a_derivative_by_a_custom_vjp():
    @filter_custom_vjp
    def sine(x):
        return filter_pure_callback(lambda x: np.sin(x), x, result_shape_dtypes=F32)

    @sine.def_fwd
    def _(perturbed, x):
        return sine(x), None

    @sine.def_bwd
    def _(residuals, g, perturbed, x):
        return g * jnp.cos(x)

    np.testing.assert_allclose(filter_jit(filter_grad(sine))(jnp.array(1.0)), np.cos(1.0), rtol=1e-6)


def test_without_a_rule_jax_says_that_one_is_needed():
    with pytest.raises(ValueError, match="custom_jvp"):
        filter_grad(lambda x: filter_pure_callback(lambda x: x, x, result_shape_dtypes=F32))(jnp.array(1.0))


def test_it_runs_on_every_device():
    f = filter_pmap(lambda x: filter_pure_callback(lambda x: np.asarray(x) * 2, x, result_shape_dtypes=F32))
    assert jnp.array_equal(f(jnp.arange(4.0)), 2 * jnp.arange(4.0))


# Errors of the callback ------------------------------------------------------------------------------


class Broken(Exception):
    pass


def fails(x):
    raise Broken(f"at {float(np.sum(x))}")


@pytest.mark.parametrize("around", [lambda f: f, filter_jit, filter_vmap], ids=["eager", "jit", "vmap"])
def test_what_the_callback_raised_is_raised(around):
    f = around(lambda x: filter_pure_callback(fails, x, result_shape_dtypes=F32))
    with pytest.raises(Broken) as caught:
        f(jnp.zeros(()) if around is not filter_vmap else jnp.zeros(2))
    assert str(caught.value) == "at 0.0"
    assert caught.value.__cause__ is None


def hosted(x):
    return filter_pure_callback(fails, x, result_shape_dtypes=F32)


EAGER = {
    "scan": lambda x: filter_scan(lambda c, _: (hosted(c), None), x, jnp.arange(2.0)),
    "map": lambda x: filter_map(hosted, x[None]),
    "while": lambda x: filter_while_loop(lambda c: c < 3, hosted, x),
    "fori": lambda x: filter_fori_loop(0, 2, lambda i, c: hosted(c), x),
    "cond": lambda x: filter_cond(x < 1, hosted, lambda c: c, x),
    "checkpoint": filter_checkpoint(hosted),
    "closure": lambda x: filter_closure_convert(hosted, x)(x),
}


@pytest.mark.parametrize("program", EAGER)
def test_what_the_callback_raised_is_raised_by_programs_that_nobody_compiled(program):
    for _ in range(2):  # the second time, the program is there
        with pytest.raises(Broken, match=r"^at 0.0$") as caught:
            jax.block_until_ready(EAGER[program](jnp.zeros(())))
        assert caught.value.__cause__ is None


def test_its_traceback_ends_in_the_callback():
    with pytest.raises(Broken) as caught:
        filter_jit(lambda x: filter_pure_callback(fails, x, result_shape_dtypes=F32))(jnp.array(1.0))
    assert caught.traceback[-1].name == "fails"


def test_it_keeps_its_cause_its_context_and_its_notes():
    def caused(x):
        try:
            {}["key"]
        except KeyError as cause:
            error = ValueError("mine")
            error.add_note("a note")
            raise error from cause

    def in_context(x):
        try:
            {}["key"]
        except KeyError:
            raise ValueError("mine")  # noqa: B904 (in the context of the other)

    def run(host):
        return lambda x: filter_pure_callback(host, x, result_shape_dtypes=x)

    for host in (caused, in_context):
        for call in (run(host), filter_jit(run(host)), filter_jit(run(host)).lower(X).compile()):
            with pytest.raises(ValueError, match="mine") as caught:
                jax.block_until_ready(call(X))
            error = caught.value
            assert isinstance(error.__cause__ if host is caused else error.__context__, KeyError)
            assert error.__suppress_context__ is (host is caused)
            assert getattr(error, "__notes__", [])[:1] == (["a note"] if host is caused else [])


def test_under_plain_jit_the_report_ends_with_it():
    with pytest.raises(RuntimeError) as caught:
        jax.jit(lambda x: filter_pure_callback(fails, x, result_shape_dtypes=F32))(1.0).block_until_ready()
    assert str(caught.value).rstrip().endswith("Broken: at 1.0")


def test_an_error_is_not_taken_for_a_later_one():
    for text in ("first", "second"):

        def callback(x, text=text):
            raise ValueError(text)

        with pytest.raises(ValueError, match=f"^{text}$"):
            filter_pure_callback(callback, X, result_shape_dtypes=VECTOR)


def test_it_is_exported():
    assert typedfilter.filter_pure_callback is filter_pure_callback


def test_nothing_is_kept_of_what_was_raised_below_a_compiled_function_of_jaxs_own():
    def fails(x):
        raise MineError("mine")

    class MineError(Exception): ...

    call = jax.jit(lambda x: filter_pure_callback(fails, x, result_shape_dtypes=x))
    with pytest.raises(jax.errors.JaxRuntimeError, match="mine"):
        jax.block_until_ready(call(X))
    freed = weakref.ref(MineError)
    del fails, call, MineError
    jax.clear_caches()
    gc.collect()
    assert freed() is None


def test_an_error_of_somebody_else_with_the_same_text_is_not_taken_for_that_of_a_callback():
    def fails(x):
        raise ValueError("mine")

    @filter_jit
    def call(x):
        return filter_pure_callback(fails, x, result_shape_dtypes=x)

    with pytest.raises(ValueError):
        _raised.kept(raises_elsewhere)
    with pytest.raises(jax.errors.JaxRuntimeError, match="mine"):
        jax.block_until_ready(filter_jit(lambda x: jax.pure_callback(fails, x, x))(X))
    with pytest.raises(ValueError, match="mine"):
        jax.block_until_ready(call(X))


# What the callback itself holds ---------------------------------------------------------------------------


class Solver(eqx.Module):
    matrix: Array
    times: int = eqx.field(static=True)

    def on_host(self, x):
        return np.asarray(self.matrix) * np.asarray(x) * self.times

    def __call__(self, x):
        return self.on_host(x)


@dataclasses.dataclass
class Unknown:
    """JAX knows nothing of it, and it can't be hashed."""

    matrix: Any
    inner: Any = None

    def __call__(self, x):
        factor = 1.0 if self.inner is None else np.asarray(self.inner.matrix)
        return np.asarray(self.matrix) * np.asarray(x) * 2 * factor


@dataclasses.dataclass(frozen=True)
class Frozen:
    matrix: Any

    def __call__(self, x):
        return np.asarray(self.matrix) * np.asarray(x) * 2


def twice_on_host(matrix, x):
    return np.asarray(matrix) * np.asarray(x) * 2


M = jnp.arange(3.0)
HOLDERS = {
    "method": lambda m: Solver(m, 2).on_host,
    "module": lambda m: Solver(m, 2),
    "partial": lambda m: functools.partial(twice_on_host, m),
    "partial of a method": lambda m: functools.partial(Solver.on_host, Solver(m, 2)),
    "dataclass": lambda m: Unknown(m),
    "method of a dataclass": lambda m: Unknown(m).__call__,
    "frozen dataclass": lambda m: Frozen(m),
    "nested dataclass": lambda m: Unknown(jnp.ones(3), Frozen(m)),
    "closure": lambda m: lambda x: twice_on_host(m, x),
}


def on_host(holder, x):
    return filter_pure_callback(holder, x, result_shape_dtypes=jax.ShapeDtypeStruct((3,), jnp.float32))


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=list(HOLDERS))
def test_a_callback_may_hold_arrays(hold):
    x = jnp.ones(3)
    assert jnp.array_equal(on_host(hold(M), x), 2 * M)
    holder = hold(M)
    assert jnp.array_equal(filter_jit(lambda x: on_host(holder, x))(x), 2 * M)


@pytest.mark.parametrize("hold", [HOLDERS[name] for name in HOLDERS if name != "closure"])
def test_the_arrays_of_a_callback_may_be_traced_and_mapped(hold):
    x = jnp.ones(3)
    traces = []

    @filter_jit
    def program(m):
        traces.append(m)
        return on_host(hold(m), x)

    for m in (M, 3 * M):
        assert jnp.array_equal(program(m), 2 * m)
    assert len(traces) == 1
    both = jnp.stack([M, 3 * M])
    assert jnp.array_equal(filter_vmap(lambda m: on_host(hold(m), x))(both), 2 * both)


def test_a_mismatch_is_a_runtime_error_as_those_of_jax_are():
    struct = jax.ShapeDtypeStruct((3,), jnp.float32)
    for declared, error in (((struct, 1), StaticArgumentError), ((struct, struct), ShapeError)):
        for call in (filter_pure_callback, filter_jit(filter_pure_callback)):
            with pytest.raises(RuntimeError) as raised:
                call(lambda x: (x, 2), M, result_shape_dtypes=declared)
            assert isinstance(raised.value, error)
            assert pickle.loads(pickle.dumps(raised.value)).fields == raised.value.fields


def raises_elsewhere() -> None:
    exec(compile("raise ValueError('mine')", "elsewhere.py", "exec"))


class Silent(Exception): ...


@pytest.mark.parametrize("kind", [Silent, AssertionError, KeyboardInterrupt, SystemExit])
def test_an_error_without_a_text_arrives_as_itself_and_is_not_kept(kind):
    error = kind()

    def callback(x):
        raise error

    call = filter_jit(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=x))
    with pytest.raises(kind) as caught:
        jax.block_until_ready(call(X))
    assert caught.value is error
    assert error not in _raised._kept.values()


def test_an_error_that_can_not_be_told_arrives_as_itself():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")  # where XLA asks for it, it ends the process

    def callback(x):
        raise Mute

    with pytest.raises(Mute):
        filter_jit(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=x))(X)


def test_an_error_in_a_program_that_a_callback_calls_arrives_in_that_callback():
    inner = filter_jit(lambda x: filter_pure_callback(fails, x, result_shape_dtypes=F32))
    met = []

    def callback(x):
        try:
            inner(x)
        except Broken as error:
            met.append(str(error))
        return x

    filter_jit(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=F32))(jnp.float32(2))
    assert met == ["at 2.0"]


@pytest.mark.usefixtures("compiled_anew")
def test_every_thread_gets_the_error_of_its_own_callback():
    raised: dict[int, Exception] = {}
    caught: dict[int, BaseException] = {}

    def callback(x):
        error = raised[int(x)] = Silent()
        raise error

    call = filter_jit(lambda x: filter_pure_callback(callback, x, result_shape_dtypes=x))

    def run(n):
        try:
            jax.block_until_ready(call(jnp.int32(n)))
        except Exception as error:
            caught[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: error is raised[n] for n, error in caught.items()} == dict.fromkeys(range(4), True)


def test_an_error_of_equinox_arrives_as_equinox_itself_would_raise_it():
    @filter_jit
    def call(x):
        return eqx.error_if(x, x.sum() > 0, "too big:\nreally")

    with pytest.raises(eqx.EquinoxRuntimeError) as caught:
        jax.block_until_ready(call(X))
    assert str(caught.value) == "too big:\nreally"


class TooBig(Exception): ...


def small(x):
    if x.sum() > 5:
        raise TooBig("seen on the host")
    return np.asarray(x)


REFUSING = {
    "ours": (lambda x: filter_pure_callback(small, x, result_shape_dtypes=x), TooBig, "seen on the host"),
    "equinox": (lambda x: eqx.error_if(x, x.sum() > 5, "too big"), eqx.EquinoxRuntimeError, "too big"),
}


@pytest.mark.parametrize("program", ["arrays", "pytree", "stages"])
@pytest.mark.parametrize(("refuse", "error", "text"), REFUSING.values(), ids=list(REFUSING))
def test_an_error_arrives_as_itself_from_a_program_that_has_run_before(refuse, error, text, program):
    if program == "arrays":
        call = filter_jit(lambda x: refuse(x))
    elif program == "pytree":
        jitted = filter_jit(lambda pair: refuse(pair[0]))
        call = lambda x: jitted((x, "static"))
    else:
        call = filter_jit(lambda x: refuse(x)).lower(X).compile()
    for _ in range(2):
        assert jnp.array_equal(call(X), X)
        with pytest.raises(error) as caught:
            jax.block_until_ready(call(X + 5))
        assert str(caught.value) == text


def test_what_another_callback_raises_is_told_from_a_program_that_has_run_before():
    call = filter_jit(lambda x: jax.pure_callback(small, x, x))
    jax.block_until_ready(call(X))
    with pytest.raises((RuntimeError, ValueError)) as caught:
        jax.block_until_ready(call(X + 5))
    line = small.__code__.co_firstlineno + 2
    assert f"`small` at {__file__}:{line} raised" in str(getattr(caught.value, "__notes__", "")), vars(
        caught.value
    )
