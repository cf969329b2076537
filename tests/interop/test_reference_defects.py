"""What Equinox 0.13 gets wrong with jit, grad, vmap and wrappers: for each a test that it is right here.

More about each is in the tests of the module concerned; here is the program that shows it.
"""

from __future__ import annotations

import copy
import enum
import gc
import inspect
import operator
import pickle
import threading
import warnings
import weakref
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import jaxtyping
import ml_dtypes
import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintParamViolation
from jax import Array
from jaxtyping import Float

import typedfilter as tf
from typedfilter import Static, filter_grad, filter_jit, filter_value_and_grad, filter_vmap
from typedfilter.pytree import pytree_dataclass

X = jnp.arange(3.0)
S = jax.ShapeDtypeStruct((3,), jnp.float32)
N = jnp.arange(3)


class One(enum.IntEnum):
    ONE = 1


class Text(str): ...


@filter_jit
def module_level(x, n=2):
    return x * n


@pytree_dataclass
class Model:
    weight: Any

    @filter_jit
    def method(self, x):
        return self.weight * x


# ------------------------------------------------------------------------------------- silent wrong results


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, True],
        [True, 1, 1.0],
        [2, 2.0, 2 + 0j],
        [2 + 0j, 2.0, 2],
        [1, One.ONE],
        ["s", Text("s")],
        [0.0, -0.0],
        [-0.0, 0.0],
        [(1,), (1.0,), (True,)],
    ],
)
def test_values_that_compare_equal_do_not_share_a_compilation(values):
    f = filter_jit(lambda value: (type(value), repr(value)))
    g = filter_jit(lambda tree: repr(tree["value"]))
    for value in [*values, *reversed(values)]:
        assert f(value) == (type(value), repr(value))
        assert g({"value": value, "x": None}) == repr(value)


def test_the_dtype_of_a_result_is_that_of_the_value_that_was_passed():
    f = filter_jit(lambda x, n: x * n)
    assert [f(N, n).dtype.name for n in (1, 1.0, True, 1 + 0j)] == ["int32", "float32", "int32", "complex64"]


def test_the_sign_of_infinity_is_that_of_the_zero_that_was_passed():
    f = filter_jit(lambda x, zero: x / zero)
    assert [float(f(X[1], zero)) for zero in (0.0, -0.0, 0.0)] == [np.inf, -np.inf, np.inf]


def test_the_branch_that_is_taken_is_that_of_the_value_that_was_passed():
    f = filter_jit(lambda x, flag: "bool" if flag is True else "int")
    assert [f(X, flag) for flag in (1, True, 1)] == ["int", "bool", "int"]


def test_keys_of_dictionaries_that_compare_equal_do_not_share_a_compilation():
    f = filter_jit(lambda tree: [repr(key) for key in tree])
    assert [f({key: X}) for key in (1, 1.0, True, 1)] == [["1"], ["1.0"], ["True"], ["1"]]


def test_a_nan_does_not_compile_again_on_every_call():
    runs = []

    @filter_jit
    def f(x, value):
        runs.append(0)
        return x

    for _ in range(3):
        f(X, float("inf") - float("inf"))
    assert len(runs) == 1


def test_compiled_ahead_a_static_value_is_not_ignored():
    program = filter_jit(lambda x, n: x * n).lower(X, 2).compile()
    np.testing.assert_allclose(program(X, 2), X * 2)
    with pytest.raises(tf.StaticArgumentError):
        program(X, 5)
    strings = filter_jit(lambda x, s: s).lower(X, "s").compile()
    assert strings(X, "s") == "s"
    with pytest.raises(tf.StaticArgumentError):
        strings(X, "t")


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_numpy_arrays_of_small_floats_are_differentiated(dtype):
    x = np.ones(3, dtype)
    for grad in (
        filter_grad(lambda tree: tree["x"].astype("float32").sum())({"x": x, "n": 1})["x"],
        filter_jit(filter_grad(lambda x: x.astype("float32").sum()))(x),
        filter_value_and_grad(lambda x: x.astype("float32").sum())(x)[1],
    ):
        assert grad.dtype == dtype
        np.testing.assert_array_equal(grad.astype("float32"), np.ones(3))


def test_a_body_that_is_checked_with_beartype_refuses_a_wrong_type_after_an_equal_one():
    @filter_jit(check=False)
    @beartype
    def f(x, flag: Static[bool]):
        return x

    f(X, True)
    with pytest.raises(BeartypeCallHintParamViolation):
        f(X, 1)

    @filter_jit
    def ours(x, flag: Static[bool]):
        return x

    ours(X, True)
    with pytest.raises(tf.ShapeError):
        ours(X, 1)


# ----------------------------------------------------------------------------------------------------- cost


def test_a_call_does_not_wait_for_its_result_unless_jaxs_own_does():
    def f(x, n):
        return jax.lax.fori_loop(0, 700, lambda _, y: y @ x, x), n

    x = jax.block_until_ready(jnp.eye(300))
    ours, theirs = filter_jit(f), jax.jit(lambda x: f(x, None))
    waits = []
    for jitted, args in ((theirs, (x,)), (ours, (x, "static"))):
        jax.block_until_ready(jitted(*args))
        out, _ = jitted(*args)
        waits.append(out.is_ready())
        jax.block_until_ready(out)
    assert waits[1] <= waits[0]


@pytest.mark.parametrize("donate", ["none", "all"])
def test_a_function_that_was_jitted_and_called_is_freed(donate):
    class Big: ...

    refs = []
    for _ in range(3):
        big = Big()
        refs.append(weakref.ref(big))

        def f(x, tree, big=big):
            return x + 1, tree, big

        out = filter_jit(f, donate=donate)(X + 0, [X + 0, "s", 1.5])
        jax.block_until_ready(out[0])
        del f, big, out
    for _ in range(3):
        gc.collect()
    assert [ref() for ref in refs] == [None] * 3


@pytest.mark.usefixtures("compiled_anew")
def test_threads_that_donate_leave_the_warning_filters_as_they_were():
    before = list(warnings.filters)

    def run():
        for _ in range(3):
            filter_jit(lambda x: (x[:2], "s"), donate="all")(X + 0)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


# ------------------------------------------------------------------------------ errors, and what is missing


class RaisingEq:
    def __eq__(self, other):
        raise ValueError("no truth here")

    def __hash__(self):
        return 1


class ArrayEq:
    def __eq__(self, other) -> Any:
        return np.array([True, False])

    def __hash__(self):
        return 1


def test_an_unhashable_static_value_is_named():
    f = filter_jit(lambda x, options: x)
    with pytest.raises(tf.StaticArgumentError, match=r"argument `options\['sizes'\]` .* unhashable: set"):
        f(X, {"sizes": {1, 2}})


@pytest.mark.parametrize(
    ("cls", "what"),
    [(RaisingEq, "__eq__ that raised ValueError"), (ArrayEq, "__eq__ that returned an array")],
)
def test_a_static_value_whose_comparison_fails_is_named(cls, what):
    f = filter_jit(lambda x, value: x)
    with pytest.raises(tf.StaticArgumentError, match=f"argument `value` is static, .* {what}"):
        for _ in range(2):
            f(X, cls())


@pytest.mark.parametrize(
    "array", [np.array([None]), np.array(["s"]), np.zeros(1, [("a", "i4")]), np.array(0, "datetime64[s]")]
)
def test_numpy_arrays_that_are_no_numbers_are_no_arrays_and_named(array):
    assert not tf.is_array(array)
    for call in (lambda: filter_jit(lambda x, a: x)(X, array), lambda: filter_jit(lambda a: a)([X, array])):
        with pytest.raises(tf.StaticArgumentError, match="is a NumPy array of dtype"):
            call()
    out = filter_vmap(lambda x, a: (x, a))(X, array)
    assert out[1] is array


def test_vmap_takes_keyword_arguments():
    out = filter_vmap(lambda x, *, y, n: x * y * n)(X, y=X, n=2)
    np.testing.assert_allclose(out, X * X * 2)


def test_sizes_that_disagree_under_vmap_are_named():
    with pytest.raises(tf.VmapAxisError, match=r"`y` has size 4 along axis 0, but axis 0 of `x` has size 3"):
        filter_vmap(lambda x, y: x)(X, jnp.ones(4))


def test_unknown_options_fail_at_decoration():
    for transform in (filter_jit, filter_grad, filter_value_and_grad, filter_vmap):
        with pytest.raises(TypeError):
            transform(lambda x: x, unknown=1)
        with pytest.raises(TypeError):
            transform(unknown=1)


def test_a_jitted_function_traces_evaluates_shapes_and_clears_its_cache():
    runs = []

    @filter_jit
    def f(x, n):
        runs.append(0)
        return x * n, "s"

    assert f.eval_shape(S, 2) == (S, "s")
    assert f.trace(S, 2).jaxpr.out_avals[0].shape == (3,)
    f(X, 2)
    f.clear_cache()
    f(X, 2)
    assert len(runs) == 2


def test_a_method_lowers():
    np.testing.assert_allclose(Model(X).method.lower(X).compile()(X), X * X)


def test_structs_lower():
    np.testing.assert_allclose(module_level.lower(S, 3).compile()(X, 3), X * 3)


def test_costs_and_memory_are_analysed():
    lowered = module_level.lower(X)
    assert lowered.cost_analysis() is not None
    compiled = lowered.compile()
    assert compiled.cost_analysis() is not None
    assert compiled.memory_analysis() is None or compiled.memory_analysis().argument_size_in_bytes == 12


def test_export_accepts_a_wrapper():
    np.testing.assert_allclose(jax.export.export(module_level)(S).call(X), X * 2)


def test_builtins_without_a_signature_are_wrapped():
    assert filter_jit(max)(1, 2) == 2
    np.testing.assert_allclose(filter_jit(operator.itemgetter(0))((X, "s")), X)
    np.testing.assert_allclose(filter_vmap(operator.itemgetter(0))((X, "s")), X)
    np.testing.assert_allclose(filter_grad(operator.itemgetter("x"))({"x": X[1], "n": 1})["x"], 1.0)


# ------------------------------------------------------------------------------------------------- wrappers

TRANSFORMS = [filter_jit, filter_grad, filter_value_and_grad, filter_vmap]


def scalar(x):
    return (x * 2).sum()


def test_jitted_functions_pickle():
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    again = pickle.loads(pickle.dumps(filter_jit(scalar, donate="all")))
    np.testing.assert_allclose(again(X + 0), 6.0)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_wrapper_pickles_copies_and_hashes(transform):
    wrapper = transform(scalar)
    for again in (pickle.loads(pickle.dumps(wrapper)), copy.deepcopy(wrapper)):
        assert again == wrapper
        assert hash(again) == hash(wrapper)
        jax.tree.map(np.testing.assert_allclose, again(X), wrapper(X))
    assert {wrapper: 1}[transform(scalar)] == 1


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_jaxtyped_may_go_around_every_wrapper(transform):
    def f(x: Float[Array, "..."]):
        return x.sum()

    checked = jaxtyping.jaxtyped(typechecker=beartype)(transform(f))
    jax.tree.map(np.testing.assert_allclose, checked(X), transform(f)(X))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_wrapper_is_a_method_and_keeps_signature_and_name(transform):
    class Holder:
        factor = 2.0

        @transform
        def method(self, x: tf.Diff[Any], n=1):
            """Doc."""
            return (x * self.factor * n).sum()

    wrapper = Holder.method
    assert (wrapper.__name__, wrapper.__doc__) == ("method", "Doc.")
    assert list(inspect.signature(wrapper).parameters) == ["self", "x", "n"]
    assert list(inspect.signature(Holder().method).parameters) == ["x", "n"]
    expected = transform(lambda x, n=1: (x * 2.0 * n).sum())
    jax.tree.map(np.testing.assert_allclose, Holder().method(X, n=3), expected(X, n=3))
    assert callable(wrapper.__wrapped__)
