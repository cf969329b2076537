"""Results that callers could change or use up: every call of a compiled function gives its own."""

from __future__ import annotations

import array
import collections
import dataclasses
import io
import operator
import random
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from typedfilter import (
    StaticArgumentError,
    filter_closure_convert,
    filter_cond,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_eval_shape,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_make_jaxpr,
    filter_map,
    filter_pmap,
    filter_scan,
    filter_shard_map,
    filter_vjp,
    filter_vmap,
)

X = jnp.arange(3.0)
P = jax.sharding.PartitionSpec
MESH = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])


@dataclasses.dataclass
class Record:
    a: Any
    b: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: Any
    b: Any = None


# What a function returns, what a caller does to it, and how it is compared.
CHANGED = {
    "set": (lambda: {"a"}, lambda value: value.add("b")),
    "bytearray": (lambda: bytearray(b"a"), lambda value: value.append(1)),
    "array": (lambda: array.array("i", [1]), lambda value: value.append(2)),
    "Counter": (lambda: collections.Counter("aab"), lambda value: value.update("b")),
    "UserDict": (lambda: collections.UserDict(a=[1]), lambda value: value["a"].append(2)),
    "UserList": (lambda: collections.UserList([[1]]), lambda value: value[0].append(2)),
    "deque": (lambda: collections.deque([1], maxlen=2), lambda value: value.append(2)),
    "deque of lists": (lambda: collections.deque([[1]]), lambda value: value[0].append(2)),
    "strings": (lambda: np.array(["a", "b"]), lambda value: value.__setitem__(0, "c")),
    "objects": (lambda: np.array([1, None], object), lambda value: value.__setitem__(0, "c")),
    "namespace": (lambda: types.SimpleNamespace(a=[1]), lambda value: value.a.append(2)),
    "record": (lambda: Record(1, [1]), lambda value: value.__setattr__("a", 2)),
    "inside a record": (lambda: Record(1, [1]), lambda value: value.b.append(2)),
    "inside a frozen record": (lambda: Frozen(({"k": {1}},)), lambda value: value.a[0]["k"].add(2)),
    "by default": (lambda: Frozen(collections.defaultdict(list)), lambda value: value.a["k"].append(1)),
    "in order": (lambda: Frozen(collections.OrderedDict(k=[1])), lambda value: value.a["k"].append(1)),
    "list": (lambda: [1, "a"], lambda value: value.append(2)),
    "dict": (lambda: {"a": 1}, lambda value: value.__setitem__("b", 2)),
}


def same(one, two):
    if isinstance(one, np.ndarray):
        return bool(np.all(one == two))
    return type(one) is type(two) and one == two and getattr(one, "maxlen", 0) == getattr(two, "maxlen", 0)


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("by", ["filter_jit", "filter_pmap", "filter_closure_convert", "ahead of time"])
def test_a_result_that_is_changed_is_that_of_one_call_only(name, by):
    make, change = CHANGED[name]

    def f(x):
        return x * 2, {"inside": make()}

    x = jnp.ones((1, 3)) if by == "filter_pmap" else X
    g = {
        "filter_jit": lambda: filter_jit(f),
        "filter_pmap": lambda: filter_pmap(f),
        "filter_closure_convert": lambda: filter_closure_convert(f, x),
        "ahead of time": lambda: filter_jit(f).lower(x).compile(),
    }[by]()
    for _ in range(3):
        out, rest = g(x)
        assert jnp.array_equal(out, 2 * x)
        assert same(rest["inside"], make())
        change(rest["inside"])


@pytest.mark.parametrize(
    ("make", "use"),
    [
        (lambda: random.Random(0), lambda draws: draws.random()),
        (lambda: np.random.default_rng(0), lambda draws: draws.random()),
        (lambda: np.random.RandomState(0), lambda draws: draws.random_sample()),
        (lambda: io.StringIO("text"), lambda buffer: buffer.read()),
        (lambda: io.BytesIO(b"text"), lambda buffer: buffer.read()),
    ],
)
def test_what_is_used_up_bit_by_bit_starts_anew_in_each_result(make, use):
    f = filter_jit(lambda x: (x, make(), Frozen(make())))
    for _ in range(2):
        _, one, record = f(X)
        assert use(one) == use(record.a) == use(make())


def test_records_that_nobody_can_change_and_those_known_by_what_they_are_stay_the_same_object():
    @dataclasses.dataclass(eq=False)
    class Known:
        a: list[int]

    kept = (Frozen((1, "a")), Known([1]))
    f = filter_jit(lambda x: (x, *kept))
    assert all(map(operator.is_, f(X)[1:], kept))


def test_objects_of_users_are_the_very_objects():
    class Own:
        pass

    own = Own()
    f = filter_jit(lambda x: (x, own, collections.deque([own])))
    for _ in range(2):
        _, one, (two,) = f(X)
        assert one is own
        assert two is own


async def awaited(x):
    return x


def yields(x):
    yield x


ONCE = {
    "a generator": yields,
    "a coroutine (of an async def)": awaited,
    "an iterator (map)": lambda x: map(abs, [1]),
    "an iterator (list_iterator)": lambda x: {"a": iter([1])},
    "an iterator (count)": lambda x: (x, __import__("itertools").count()),
}


@pytest.mark.filterwarnings("ignore:Python iterable type:DeprecationWarning")  # by JAX, from 0.10 on
@pytest.mark.parametrize("what", ONCE)
@pytest.mark.parametrize("disabled", [False, True])
def test_what_can_be_used_once_is_refused_by_its_kind(what, disabled):
    def f(x):
        return ONCE[what](x)

    with jax.disable_jit(disabled), pytest.raises(StaticArgumentError) as raised:
        filter_jit(f)(X)
    assert (
        str(raised.value)
        == f"""\
f(): the return value is {what}, which can be used once, and a program returns it at every call
  expected: arrays, and values that stay what they are
  found: {what}
  fix: return a list or a tuple of what it yields, and await outside of compiled functions"""
    )


def with_rule(fn):
    custom = filter_custom_jvp(fn)
    custom.def_jvp(lambda primals, tangents: (fn(*primals), tangents[0]))
    return custom


def with_reverse_rule(fn):
    custom = filter_custom_vjp(fn)
    custom.def_fwd(lambda perturbed, x: (fn(x), None))
    custom.def_bwd(lambda residuals, cotangent, perturbed, x: cotangent)
    return custom


# What gives back, as it is, what the function returned beside arrays.
AS_IT_IS = {
    "filter_make_jaxpr": lambda f: filter_make_jaxpr(f)(X),
    "filter_eval_shape": lambda f: filter_eval_shape(f, X),
    "filter_closure_convert": lambda f: filter_closure_convert(f, X),
    "filter_vmap": lambda f: filter_vmap(f)(X),
    "filter_grad": lambda f: filter_grad(lambda x: (x.sum(), f(x)), has_aux=True)(X),
    "filter_jacfwd": lambda f: filter_jacfwd(f)(X),
    "filter_hessian": lambda f: filter_hessian(lambda x: (x.sum(), f(x)), has_aux=True)(X),
    "filter_jvp": lambda f: filter_jvp(f, (X,), (X,)),
    "filter_jvp along nothing": lambda f: filter_jvp(f, (X,), (None,)),
    "filter_vjp": lambda f: filter_vjp(f, X),
    "filter_linearize": lambda f: filter_linearize(f, X),
    "filter_custom_jvp": lambda f: with_rule(f)(X),
    "filter_custom_vjp": lambda f: with_reverse_rule(f)(X),
    "filter_shard_map": lambda f: filter_shard_map(f, mesh=MESH, in_specs=P(), out_specs=P())(X),
    "filter_scan": lambda f: filter_scan(lambda carry, x: (carry, f(x)), X, X),
    "filter_map": lambda f: filter_map(f, X),
    "filter_cond": lambda f: filter_cond(True, f, f, X),
}


@pytest.mark.filterwarnings("ignore:Python iterable type:DeprecationWarning")  # by JAX, from 0.10 on
@pytest.mark.parametrize("what", [awaited, yields])
@pytest.mark.parametrize("by", AS_IT_IS)
def test_what_would_run_after_the_trace_is_refused_by_every_transform(by, what):
    with pytest.raises(StaticArgumentError, match="which runs when the arrays that it was given are gone"):
        AS_IT_IS[by](what)


@pytest.mark.filterwarnings("ignore:Python iterable type:DeprecationWarning")
def test_an_iterator_is_refused_where_each_call_of_what_is_converted_would_return_it():
    def f(x):
        return x, {"a": iter([1])}

    f.__qualname__ = "f"
    with pytest.raises(StaticArgumentError) as raised:
        filter_closure_convert(f, X)
    kind = "an iterator (list_iterator)"
    assert str(raised.value).splitlines()[0] == (
        f"f(): the return value is {kind}, which can be used once, and a program returns it at every call"
    )


@pytest.mark.filterwarnings("ignore:Python iterable type:DeprecationWarning")
def test_an_iterator_over_values_outlives_a_map():
    numbers, value = filter_vmap(lambda x: (iter([1]), x))(X)
    assert (list(numbers), value.shape) == ([1], (3,))
