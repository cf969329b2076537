"""The whole text of what goes wrong at a call of `filter_jit`, `filter_grad`, `filter_vmap`; what stays."""

from __future__ import annotations

import dataclasses
import functools
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, PyTree

import typedfilter as tf
from typedfilter import (
    Diff,
    Donate,
    Static,
    Traced,
    VmapAxis,
    filter_grad,
    filter_jit,
    filter_value_and_grad,
    filter_vmap,
    pytree_dataclass,
)
from typedfilter._compiling.results import PackedResult, unpack_result
from typedfilter._compiling.tokens import Kept, Token

X = jnp.arange(3.0)
Y = jnp.ones(4)
M = jnp.ones((3, 4))


def check(error: type[Exception], call: Callable[[], Any], *lines: str) -> Any:
    """The whole text, which is the same when the call is made again."""
    with pytest.raises(error) as first:
        call()
    assert str(first.value) == "\n".join(lines)
    with pytest.raises(error) as again:
        call()
    assert str(again.value) == str(first.value)
    assert type(first.value) is error
    return first.value


# -------------------------------------------------------------------------- static values that can't be one

HASHABLE = (
    "  expected: a hashable value",
    "  fix: pass a hashable value: a tuple for a list, a frozen dataclass for a mutable one",
)


@filter_jit
def free(x, n=1, *args, **kwargs):
    return x


@filter_jit
def marked(
    x: Float[Array, "n"], n: Static[Any] = 1, *args: Static[Any], k: Static[Any] = 1, **kw: Static[Any]
):
    return x


@filter_jit
def plain(x: Float[Array, "n"], n: int = 1):
    return x


class RaisingEq:
    def __eq__(self, other):
        raise ValueError("no truth here")

    def __hash__(self):
        return 1

    def __repr__(self):
        return "RaisingEq()"


class ArrayEq:
    def __eq__(self, other) -> Any:
        return np.array([True, False])

    def __hash__(self):
        return 1

    def __repr__(self):
        return "ArrayEq()"


class RaisingHash:
    def __hash__(self):
        raise RuntimeError("no hash today")

    def __repr__(self):
        return "RaisingHash()"


@dataclasses.dataclass
class Mutable:
    x: int = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any


def static_lines(subject: str, problem: str, found: str) -> tuple[str, ...]:
    return (f"{subject} {problem}", HASHABLE[0], f"  found: {found}", HASHABLE[1])


@pytest.mark.parametrize(
    ("call", "subject", "problem", "found"),
    [
        (lambda: free(X, {1, 2}), "free(): argument `n`", "set", "set {1, 2}"),
        (lambda: free(n={1}, x=X), "free(): argument `n`", "set", "set {1}"),
        (lambda: free(bytearray(b"s")), "free(): argument `x`", "bytearray", "bytearray bytearray(b's')"),
        (lambda: free([X, {"a": (1, {2})}]), "free(): argument `x[1]['a'][1]`", "set", "set {2}"),
        (lambda: free(X, 1, 2, {3}), "free(): argument `args[1]`", "set", "set {3}"),
        (lambda: free(X, k={3}), "free(): argument `k`", "set", "set {3}"),
        (lambda: free(X, tree={"a": [{3}]}), "free(): argument `tree['a'][0]`", "set", "set {3}"),
        (lambda: free(X, Mutable()), "free(): argument `n`", "Mutable", "Mutable Mutable(x=1)"),
    ],
)
def test_a_leaf_that_is_unhashable(call, subject, problem, found):
    problem = f"is static, since it is no array but is unhashable: {problem}"
    check(tf.StaticArgumentError, call, *static_lines(subject, problem, found))


@pytest.mark.parametrize(
    ("call", "subject", "problem", "found"),
    [
        (lambda: marked(X, [1]), "`n`", "list", "list [1]"),
        (lambda: marked(X, {"a": 1}), "`n`", "dict", "dict {'a': 1}"),
        (lambda: marked(X, 1, [2]), "`args[0]`", "list", "list [2]"),
        (lambda: marked(X, k=[1]), "`k`", "list", "list [1]"),
        (lambda: marked(X, z={1}), "`z`", "set", "set {1}"),
        (lambda: marked(X, (1, [2])), "`n`", "tuple with a list inside", "tuple (1, [2])"),
        (lambda: marked(X, Frozen([2])), "`n`", "Frozen with a list inside", "Frozen Frozen(x=[2])"),
        (lambda: marked(X, (1, (X,))), "`n`", "tuple with an array inside", "tuple (1, (f32[3],))"),
    ],
)
def test_a_static_argument_that_is_unhashable(call, subject, problem, found):
    problem = f"is static (annotated Static[Any]) but is unhashable: {problem}"
    check(tf.StaticArgumentError, call, *static_lines(f"marked(): argument {subject}", problem, found))


def test_an_unhashable_value_where_a_plain_type_is_annotated():
    check(
        tf.StaticArgumentError,
        lambda: plain(X, [1]),
        "plain(): argument `n` is static (annotated int) but is unhashable: list",
        HASHABLE[0],
        "  found: list [1]",
        HASHABLE[1],
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (RaisingHash(), "has a __hash__ that raised RuntimeError: no hash today"),
        (RaisingEq(), "has an __eq__ that raised ValueError: no truth here"),
        (ArrayEq(), "has an __eq__ that returned an array"),
    ],
)
def test_a_static_value_whose_own_methods_fail(value, problem):
    def call_twice():  # some are found out only when they are compared
        marked(X, value)
        marked(X, type(value)())

    marked.clear_cache()
    check(
        tf.StaticArgumentError,
        call_twice,
        f"marked(): argument `n` is static (annotated Static[Any]) but {problem}",
        HASHABLE[0],
        f"  found: {type(value).__name__} {value!r}",
        HASHABLE[1],
    )


def test_an_array_where_a_static_value_must_be():
    lines = [
        "  expected: a hashable value",
        "  found: an array f32[3]",
        '  fix: annotate it as an array (Float[Array, "..."]) or Traced[...], or pass a Python value',
    ]
    first = "argument `n` is static (annotated {}) but is an array"
    check(tf.StaticArgumentError, lambda: marked(X, X), "marked(): " + first.format("Static[Any]"), *lines)
    check(tf.StaticArgumentError, lambda: plain(X, X), "plain(): " + first.format("int"), *lines)
    check(
        tf.StaticArgumentError,
        lambda: plain(X, np.arange(3.0, dtype="float32")),
        f"plain(): {first.format('int')}",
        *lines,
    )


def test_a_tracer_where_a_static_value_must_be():
    @jax.jit
    def outer(x):
        return marked(x, x[0])

    with pytest.raises(tf.StaticArgumentError) as e:
        outer(X)
    assert str(e.value) == "\n".join(
        [
            "marked(): argument `n` is static (annotated Static[Any]) but is an array",
            "  expected: a hashable value",
            "  found: an array f32[]",
            '  fix: annotate it as an array (Float[Array, ""]) or Traced[...], or pass a Python value',
        ]
    )


@pytest.mark.parametrize(
    ("array", "dtype", "found"),
    [
        (np.array(["a"]), "<U1", "ndarray array(['a'], dtype='<U1')"),
        (np.array([None]), "object", "ndarray array([None], dtype=object)"),
        (np.array([b"a"]), "|S1", "ndarray array([b'a'], dtype='|S1')"),
        (
            np.array(0, "M8[s]"),
            "datetime64[s]",
            "ndarray array('1970-01-01T00:00:00', dtype='datetime64[s]')",
        ),
        (np.zeros(1, [("a", "i4")]), "[('a', '<i4')]", "ndarray array([(0,)], dtype=[('a', '<i4')])"),
    ],
)
def test_a_numpy_array_that_jax_cannot_trace(array, dtype, found):
    lines = [
        "  expected: an array of numbers or booleans",
        f"  found: {found}",
        "  fix: convert it to numbers, or pass it as a tuple under Static[...]",
    ]
    problem = f"is a NumPy array of dtype {dtype}, which JAX can't trace"
    check(tf.StaticArgumentError, lambda: free(array), f"free(): argument `x` {problem}", *lines)
    check(tf.StaticArgumentError, lambda: free([1, array]), f"free(): argument `x[1]` {problem}", *lines)


# ----------------------------------------------------------------- what is no array, where one is annotated


@filter_jit
def arrays(x: Float[Array, "n"], xs: list[Float[Array, "n"]] | None = None, *, k: Traced[float] = 1.0):
    return x


@pytest.mark.parametrize(
    ("call", "argument", "expected", "found"),
    [
        (lambda: arrays("s"), "x", "Float[Array, 'n']", "str 's'"),
        (
            lambda: arrays(X, [X, "s"]),
            "xs[1]",
            "list[Float[Array, 'n']] | None",
            "str 's'",
        ),
        (lambda: arrays(X, k="s"), "k", "Traced[float]", "str 's'"),
        (lambda: arrays(X, k=jnp.sin), "k", "Traced[float]", f"{type(jnp.sin).__name__} {jnp.sin!r}"[:80]),
    ],
    ids=["text", "inside", "by name", "function"],
)
def test_something_else_where_an_array_is_annotated(call, argument, expected, found):
    value = check(
        tf.ShapeError,
        call,
        f"arrays(): argument `{argument}` is not an array",
        f"  expected: {expected}",
        f"  found: {found}",
        "  fix: pass an array; or mark what can't be one as Static[...]",
    )
    assert isinstance(value, TypeError)


@pytree_dataclass
class Rated:
    weight: Float[Array, "n"]
    rate: Traced[float]


class Foreign:
    def __init__(self, w, n):
        self.w = w
        self.n = n

    n: Static[int]


jax.tree_util.register_pytree_with_keys(
    Foreign,
    lambda node: (((jax.tree_util.GetAttrKey("w"), node.w), (jax.tree_util.GetAttrKey("n"), node.n)), None),
    lambda _, children: Foreign(*children),
)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda v: Rated(X, v), ".rate"),
        (lambda v: Rated(v, 0.5), ".weight"),
        (lambda v: [Rated(X, v), 1], "[0].rate"),
    ],
)
@pytest.mark.parametrize("stage", ["__call__", "lower"])
def test_something_else_where_a_field_is_traced(make, path, stage):
    check(
        tf.ShapeError,
        lambda: getattr(free, stage)(make("a")),
        f"free(): argument `x{path}` is not an array",
        "  expected: an array, as its field says",
        "  found: str 'a'",
        "  fix: pass an array; or mark what can't be one as Static[...]",
    )


@pytest.mark.parametrize("stage", ["__call__", "lower"])
def test_an_array_where_a_field_of_anothers_class_is_static(stage):
    check(
        tf.StaticArgumentError,
        lambda: getattr(free, stage)({"f": Foreign(X, X)}),
        "free(): argument `x['f'].n` is static, as its field says, but is an array",
        "  expected: a hashable value",
        "  found: an array f32[3]",
        '  fix: annotate it as an array (Float[Array, "..."]) or Traced[...], or pass a Python value',
    )
    assert free(Foreign(X, 2)).n == 2


def test_none_where_an_array_is_annotated():
    check(
        tf.ShapeError,
        lambda: arrays(None),
        "arrays(): argument `x` is None, but Float[Array, 'n'] needs an array",
        "  expected: Float[Array, 'n']",
        "  found: None",
        "  fix: pass an array, or add `| None` to the annotation",
    )


# ------------------------------------------------------------------------------------------------- donation


@filter_jit
def step(state: Donate[PyTree[Float[Array, "..."]]], x):
    return jax.tree.map(lambda s: s + 1, state), x


DONATED = "  fix: use the result of that call in its place, or pass a copy (jax.numpy.copy) to it"


@pytest.mark.usefixtures("quiet")
def test_a_donated_array_that_is_passed_again():
    state = {"w": X + 0, "b": Y + 0}
    step(state, X)
    value = check(
        tf.DonationError,
        lambda: step(state, X),
        "step(): argument `state['b']` was donated to an earlier call, and its memory is gone",
        "  found: a deleted array f32[4]",
        DONATED,
    )
    assert isinstance(value, RuntimeError)
    check(
        tf.DonationError,
        lambda: step({"w": X + 0, "b": Y + 0}, state["w"]),
        "step(): argument `x` was donated to an earlier call, and its memory is gone",
        "  found: a deleted array f32[3]",
        DONATED,
    )


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("donate", ["all", "all-except-first", "warn", "warn-except-first"])
def test_an_array_that_was_donated_by_option_and_is_passed_again(donate):
    def add(first, second, tree):
        return second + 1, tree["x"] + 1

    f = filter_jit(add, donate=donate)
    first, second, x = jnp.ones(()), X + 0, Y + 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `first` can't be used
        f(first, second, {"x": x, "n": 1})
    check(
        tf.DonationError,
        lambda: f(jnp.ones(()), X + 0, {"x": x, "n": 1}),
        "add(): argument `tree['x']` was donated to an earlier call, and its memory is gone",
        "  found: a deleted array f32[4]",
        DONATED,
    )


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "call",
    [
        lambda f, p, x: tf.filter_grad(f)(p, x),
        lambda f, p, x: tf.filter_value_and_grad(f)(p, x),
        lambda f, p, x: tf.filter_jacfwd(f)(p, x),
        lambda f, p, x: tf.filter_jacrev(f)(p, x),
        lambda f, p, x: tf.filter_hessian(f)(p, x),
        lambda f, p, x: tf.filter_jvp(f, (p, x), ({"a": X}, None)),
        lambda f, p, x: tf.filter_vjp(f, p, x),
        lambda f, p, x: tf.filter_vmap(f)(p, x=x),
        lambda f, p, x: tf.filter_checkpoint(f)(p, x),
        lambda f, p, x: with_jvp_rule(f)(p, x),
        lambda f, p, x: with_vjp_rules(f)(p, x),
    ],
)
@pytest.mark.parametrize("place", ["p['a']", "x"])
def test_a_donated_array_that_is_passed_to_a_transform_without_jit(call, place):
    def f(p, x):
        return jnp.sum(p["a"] ** 2 * x)

    gone = X + 0
    gone.delete()
    p, x = ({"a": gone}, X) if place == "p['a']" else ({"a": X}, gone)
    check(
        tf.DonationError,
        lambda: call(f, p, x),
        f"f(): argument `{place}` was donated to an earlier call, and its memory is gone",
        "  found: a deleted array f32[3]",
        DONATED,
    )


def with_jvp_rule(f):
    ruled = tf.filter_custom_jvp(f)
    ruled.def_jvp(lambda primals, tangents: (f(*primals), None))
    return ruled


def with_vjp_rules(f):
    ruled = tf.filter_custom_vjp(f)
    ruled.def_fwd(lambda perturbed, p, x: (f(p, x), None))
    ruled.def_bwd(lambda residuals, grad, perturbed, p, x: None)
    return ruled


def test_what_the_body_says_of_something_deleted_passes_without_jit():
    error = RuntimeError("the file was deleted")
    error.__cause__ = OSError("why")

    def f(x):
        raise error

    for call in (tf.filter_grad(f), tf.filter_vmap(f), tf.filter_jacfwd(f)):
        with pytest.raises(RuntimeError) as e:
            call(X)
        assert e.value is error
        assert type(error.__cause__) is OSError


def test_a_donated_array_that_is_passed_to_a_method_or_a_partial():
    class Trainer:
        @filter_jit
        def step(self, state: Donate[Array]):
            return state + 1

    x = X + 0
    Trainer().step(x)
    with pytest.raises(tf.DonationError, match=r"argument `state` was donated"):
        Trainer().step(x)
    with pytest.raises(tf.DonationError, match=r"argument `state` was donated"):
        filter_jit(functools.partial(step.__wrapped__, x=X))(x)


@pytest.mark.usefixtures("quiet")
def test_an_array_that_is_passed_twice_and_donated():
    @filter_jit
    def use(x: Donate[Any], y: Any):
        return x["w"] + 1, y

    @filter_jit(donate="all")
    def add(first, *rest):
        return first + 1, rest[0] * 2

    fix = "  fix: pass a copy (jax.numpy.copy) in one of the two places"
    x = X + 0
    check(
        tf.DonationError,
        lambda: use({"w": x, "n": 1}, (Y, x)),
        "use(): argument `y[1]` is the same array as `x['w']`, and is donated in one of the two places",
        "  found: one array f32[3]",
        fix,
    )
    check(
        tf.DonationError,
        lambda: add(x, jax.device_put(x, x.sharding, may_alias=True)),
        "add(): argument `rest[0]` is the same array as `first`, and is donated in one of the two places",
        "  found: one array f32[3]",
        fix,
    )


@pytest.mark.usefixtures("quiet")
def test_an_error_that_speaks_of_deleting_is_not_taken_for_one_about_donation():
    def fails(x):
        raise FileNotFoundError("can't delete the file")

    @filter_jit
    def call(x: Donate[Array]):
        return jax.pure_callback(fails, jax.ShapeDtypeStruct((3,), jnp.float32), x)

    @filter_jit
    def body(x: Donate[Array]):
        raise ValueError("nothing to delete")

    x = X + 0
    with pytest.raises(jax.errors.JaxRuntimeError, match="can't delete the file"):
        jax.block_until_ready(call(x))
    assert x.is_deleted()
    with pytest.raises(ValueError, match="nothing to delete") as raised:
        body(x)
    assert type(raised.value) is ValueError


# ---------------------------------------------------------------------------------- programs and their parts


def test_more_static_values_than_can_be_kept(monkeypatch):
    monkeypatch.setattr(Kept, "limit", 4)
    f = filter_jit(lambda x, *values: values)
    with pytest.raises(tf.TypedFilterError) as raised:
        f(X, *(0.123 + i for i in range(6)))  # which no other test keeps alive
    assert str(raised.value) == "\n".join(
        (
            "a static value was forgotten before the function was traced with it",
            "  expected: at most 4 static arguments in one call",
            "  fix: put many static values into one tuple or frozen dataclass",
        )
    )


def test_a_result_of_a_function_that_is_gone():
    check(
        tf.TypedFilterError,
        lambda: unpack_result(PackedResult(Token(RaisingEq()), [])),
        "a program returned what belongs to a function that is gone",
        "  expected: the function, or its jitted wrapper, to live as long as what was compiled from it",
        "  fix: keep a reference to the jitted function",
    )


@pytest.mark.parametrize(
    ("make", "call", "path", "expected", "found"),
    [
        (lambda f: f.lower(X, 2), lambda f: f(X, 3), "n", "2", "3"),
        (lambda f: f.lower({"a": X, "n": 1}), lambda f: f({"a": X, "n": 2}), "x['n']", "1", "2"),
        (lambda f: f.lower((X, 1)), lambda f: f([X, 1]), "x", "PyTreeDef((*, *))", "PyTreeDef([*, *])"),
    ],
)
def test_a_program_is_called_with_another_static_value(make, call, path, expected, found):
    program = make(free).compile()
    check(
        tf.StaticArgumentError,
        lambda: call(program),
        f"free(): argument `{path}` is static, and is not what the program was compiled for",
        f"  expected: {expected}",
        f"  found: {found}",
        "  fix: lower and compile for this value too, or call the jitted function itself",
    )


def test_an_unknown_donation():
    check(
        tf.AnnotationError,
        lambda: filter_jit(free.__wrapped__, donate="some"),
        "free(): filter_jit has no donate='some'",
        "  expected: 'all' or 'all-except-first' or 'warn' or 'warn-except-first' or 'none'",
        "  found: 'some'",
        "  fix: pass one of these, or annotate single arguments as Donate[...]",
    )


def test_an_axis_annotation_that_is_none():
    fix = "  fix: write VmapAxis[1], VmapAxis[None], VmapAxis[1, T] or Annotated[T, VmapAxis[1]]"
    make: Any = VmapAxis
    check(tf.AnnotationError, lambda: make(), "VmapAxis(): is an annotation and has no instances", fix)
    for item, shown in (("x", "'x'"), (True, "True"), ((Array, int), f"{Array.__qualname__}, int")):
        check(
            tf.AnnotationError,
            lambda item=item: VmapAxis[item],
            f"VmapAxis[{shown}] has no axis that is an int or None",
            f"  found: {shown}",
            fix,
        )


# ----------------------------------------------------------------------------------------------------- vmap


@filter_vmap
def mapped(x, y=None, *args, **kwargs):
    return x


@filter_vmap
def placed(x: VmapAxis[2], y: VmapAxis[-2] = None) -> Any:
    return x


SIZES = "  fix: map axes of one size, or broadcast one of the two (VmapAxis[None], or None in in_axes)"
RANGE = "  fix: map another axis, or broadcast it: VmapAxis[None], or None in in_axes"


def test_sizes_that_disagree_name_both_arguments_with_axes_and_sizes():
    check(
        tf.VmapAxisError,
        lambda: mapped(X, Y),
        "mapped(): argument `y` has size 4 along axis 0, but axis 0 of `x` has size 3",
        "  expected: size 3 along axis 0",
        "  found: an array f32[4]",
        SIZES,
    )
    check(
        tf.VmapAxisError,
        lambda: mapped({"a": [1, X]}, 1, X, k=(None, {"b": M.T})),
        "mapped(): argument `k[1]['b']` has size 4 along axis 0, but axis 0 of `x['a'][1]` has size 3",
        "  expected: size 3 along axis 0",
        "  found: an array f32[4,3]",
        SIZES,
    )
    check(
        tf.VmapAxisError,
        lambda: filter_vmap(mapped.__wrapped__, in_axes={"x": 1, "y": -2})(M, M),
        "mapped(): argument `y` has size 3 along axis -2, but axis 1 of `x` has size 4",
        "  expected: size 4 along axis -2",
        "  found: an array f32[3,4]",
        SIZES,
    )
    check(
        tf.VmapAxisError,
        lambda: mapped(X, X, X, Y),
        "mapped(): argument `args[1]` has size 4 along axis 0, but axis 0 of `x` has size 3",
        "  expected: size 3 along axis 0",
        "  found: an array f32[4]",
        SIZES,
    )


def test_a_size_that_disagrees_with_axis_size():
    check(
        tf.VmapAxisError,
        lambda: filter_vmap(mapped.__wrapped__, axis_size=5)(X),
        "mapped(): argument `x` has size 3 along axis 0, but axis_size is 5",
        "  expected: size 5 along axis 0",
        "  found: an array f32[3]",
        SIZES,
    )


@pytest.mark.parametrize("transform", [filter_vmap, tf.filter_pmap])
@pytest.mark.parametrize(
    ("size", "found"), [(-1, "int -1"), ("2", "str '2'"), (2.0, "float 2.0"), (True, "bool True")]
)
def test_a_size_that_is_none(transform, size, found):
    name = "filter_vmap" if transform is filter_vmap else "filter_pmap"
    check(
        tf.VmapAxisError,
        lambda: transform(mapped.__wrapped__, axis_size=size),
        f"mapped(): is given axis_size={size!r}, which is no size",
        "  expected: an int that is not negative, or None",
        f"  found: {found}",
        f"  fix: pass {name} the number of examples, or leave axis_size out where an argument is mapped",
    )


def test_sizes_of_other_kinds_than_int():
    assert filter_vmap(lambda: X, axis_size=np.int64(2))().shape == (2, 3)
    assert filter_vmap(lambda: X, axis_size=0)().shape == (0, 3)


def test_an_axis_that_a_callable_makes_up():
    for option, where in (("in_axes", "argument `x`"), ("out_axes", "the return value")):
        for found in ("a", 1.0, True):
            options: Any = {option: lambda leaf, found=found: found}
            check(
                tf.VmapAxisError,
                lambda options=options: filter_vmap(mapped.__wrapped__, **options)(X),
                f"mapped(): {where} can't be mapped over {found!r}, which a callable in {option} returned",
                "  expected: an int or None",
                f"  found: {type(found).__name__} {found!r}",
                f"  fix: return an axis from the callable in {option}, or None to broadcast",
            )


def test_an_axis_that_is_out_of_range():
    check(
        tf.VmapAxisError,
        lambda: placed(M),
        "placed(): argument `x` has no axis 2 to map over: it is an array f32[3,4]",
        "  expected: at least 3 dimensions",
        "  found: an array f32[3,4]",
        RANGE,
    )
    check(
        tf.VmapAxisError,
        lambda: placed(jnp.ones((1, 1, 3)), {"a": X}),
        "placed(): argument `y['a']` has no axis -2 to map over: it is an array f32[3]",
        "  expected: at least 2 dimensions",
        "  found: an array f32[3]",
        RANGE,
    )
    check(
        tf.VmapAxisError,
        lambda: mapped(X[0]),
        "mapped(): argument `x` has no axis 0 to map over: it is an array f32[]",
        "  expected: at least 1 dimension",
        "  found: an array f32[]",
        RANGE,
    )


def test_an_axis_of_what_is_no_array():
    check(
        tf.VmapAxisError,
        lambda: filter_vmap(mapped.__wrapped__, in_axes=(0, 1))(X, "s"),
        "mapped(): argument `y` can't be mapped over axis 1: it is str 's'",
        "  expected: an array, or a pytree with one",
        "  found: str 's'",
        "  fix: broadcast it (None or VmapAxis[None]), or pass an array",
    )


def test_nothing_to_map():
    for call in (lambda: mapped(1, "s"), lambda: mapped(None), lambda: filter_vmap(mapped, in_axes=None)(X)):
        check(
            tf.VmapAxisError,
            call,
            "mapped(): got no array to map over",
            "  expected: at least one array with a mapped axis, or axis_size",
            "  fix: pass an array, map an axis of one, or give axis_size=",
        )


def test_axes_that_are_too_few_or_too_many():
    def two(x, y):
        return x

    check(
        tf.VmapAxisError,
        lambda: filter_vmap(two, in_axes=(0,))(X, X),
        "two(): got 2 positional arguments, but in_axes has only 1",
        "  expected: one entry of in_axes for each of 2 arguments",
        "  found: in_axes=(0,)",
        "  fix: add the missing entries, or give in_axes as a dictionary by name",
    )
    check(
        tf.VmapAxisError,
        lambda: filter_vmap(two, in_axes=(0, None, 1)),
        "two(): takes 2 positional arguments, but in_axes has 3 entries",
        "  expected: no more entries than positional arguments",
        "  found: in_axes=(0, None, 1)",
        "  fix: drop the entries that are too many, or give in_axes as a dictionary by name",
    )


def test_axes_that_are_no_prefix():
    with pytest.raises(tf.VmapAxisError) as e:
        filter_vmap(mapped.__wrapped__, in_axes=({"a": 0},))({"b": X})
    assert str(e.value).splitlines() == [
        "mapped(): argument `x` does not fit in_axes={'a': 0}",
        "  expected: axes in a structure like {'b': *}, or its upper levels",
        "  found: {'a': 0}",
        "  fix: give one axis for all of it, or axes in its structure, in in_axes",
    ]


def test_what_is_no_axis():
    check(
        tf.VmapAxisError,
        lambda: filter_vmap(mapped.__wrapped__, in_axes=(0, "1")),
        "mapped(): has in_axes=(0, '1'), of which '1' is no axis",
        "  expected: an int, None, a callable leaf -> int | None, or a pytree of these",
        "  found: str '1'",
        "  fix: pass in_axes=0 to filter_vmap, or an entry for each argument: in_axes=(0, None)",
    )


def test_a_name_that_is_no_parameter():
    check(
        tf.VmapAxisError,
        lambda: filter_vmap(placed.__wrapped__, in_axes={"z": 1}),
        "placed(): has no parameter 'z', which in_axes names",
        "  expected: names among: x, y",
        "  found: 'z'",
        "  fix: correct the name in in_axes",
    )


def test_a_result_without_an_axis_that_differs_between_examples():
    check(
        tf.VmapAxisError,
        lambda: filter_vmap(mapped.__wrapped__, out_axes=None)(X),
        "mapped(): the return value has no axis (None), but differs between the mapped examples",
        "  expected: a value that does not depend on mapped arguments",
        "  fix: give it an axis: VmapAxis[0], or 0 in out_axes",
    )


class OutAxesError(ValueError): ...


def test_an_error_of_the_body_that_speaks_of_out_axes_passes_unchanged():
    def body(x):
        raise OutAxesError("out_axes must not be None")

    def maps(x):
        return jax.vmap(lambda y: y * x, out_axes=None)(jnp.arange(2.0))

    with pytest.raises(OutAxesError):
        filter_vmap(body)(X)
    with pytest.raises(ValueError, match="out_axes") as theirs:
        jax.vmap(maps)(X)
    with pytest.raises(ValueError, match="out_axes") as ours:
        filter_vmap(maps)(X)
    assert type(ours.value) is type(theirs.value)
    assert str(ours.value) == str(theirs.value)


def test_an_error_of_a_callable_axis_passes_unchanged():
    def axis(leaf):
        raise OutAxesError("mine")

    for options in ({"in_axes": axis}, {"out_axes": axis}, {"in_axes": {"x": [axis]}}):
        with pytest.raises(OutAxesError):
            filter_vmap(lambda x: x, **options)([X])


def test_a_result_that_has_no_such_axis():
    def f(x) -> VmapAxis[3]:
        return x

    for call in (lambda: filter_vmap(f)(M), lambda: filter_vmap(f, out_axes=3)(M)):
        check(
            tf.VmapAxisError,
            call,
            "f(): the return value has no place for a mapped axis 3: of one example it is an array f32[4]",
            "  expected: an axis from -2 to 1",
            "  found: 3",
            "  fix: give another axis in out_axes, or in VmapAxis on the return annotation",
        )


def test_out_axes_that_are_no_prefix():
    with pytest.raises(tf.VmapAxisError) as e:
        filter_vmap(mapped.__wrapped__, out_axes={"a": 0})(X)
    assert str(e.value).startswith("mapped(): the return value does not fit out_axes={'a': 0}\n")


# ----------------------------------------------------------------------------------------------------- grad

SCALAR = "  expected: a real floating-point scalar"
REDUCE = "  fix: reduce it to a scalar: jax.numpy.sum or mean; for a derivative of an array use filter_jacrev"
FLOAT = "  fix: return a floating-point number: result.astype(jax.numpy.float32)"
REAL = "  fix: return a real number: result.real, or jax.numpy.abs(result)"


def loss(x, y=2.0):
    return x * y


@pytest.mark.parametrize("transform", [filter_grad, filter_value_and_grad])
def test_a_loss_that_is_no_real_scalar(transform):
    name = transform.__name__
    for body, found, fix in [
        (lambda x: x * 2, "an array f32[3]", REDUCE),
        (lambda x: x.sum() * 1j, "an array c64[]", REAL),
        (lambda x: x.sum().astype(int), "an array i32[]", FLOAT),
        (lambda x: 1, "int 1", FLOAT),
        (lambda x: "s", "str 's'", REDUCE),
        (lambda x: None, "NoneType None", "  fix: end the function with a return of its scalar"),
    ]:
        check(
            tf.ShapeError,
            lambda body=body: transform(body)(X),
            f"<lambda>(): the return value can't be differentiated by {name}: it is {found}",
            SCALAR,
            f"  found: {found}",
            fix,
        )


def test_a_pair_where_a_scalar_must_be():
    with pytest.raises(tf.ShapeError) as e:
        filter_grad(lambda x: (x.sum(), 1))(X)  # type: ignore[return-value]  # that is the point
    lines = str(e.value).splitlines()
    assert "the return value can't be differentiated by filter_grad: it is tuple (" in lines[0]
    assert lines[-1] == "  fix: pass has_aux=True, so that only the first of the pair is differentiated"


@pytest.mark.parametrize("transform", [filter_grad, filter_value_and_grad])
def test_no_pair_where_one_must_be(transform):
    for value, found in [(1.0, "float 1.0"), ([1.0, 2, 3], "list [1.0, 2, 3]"), ((1.0,), "tuple (1.0,)")]:

        def body(x, value=value):
            return value

        check(
            tf.ShapeError,
            lambda body=body: transform(body, has_aux=True)(X),
            f"body(): the return value is not a pair, which {transform.__name__}(has_aux=True) needs",
            "  expected: (value, auxiliary data)",
            f"  found: {found}",
            "  fix: return such a pair, or leave has_aux out",
        )


def test_nothing_to_differentiate():
    for value, found in [
        (1, "int 1"),
        ("s", "str 's'"),
        (jnp.arange(3), "an array i32[3]"),
        (2.0, "float 2.0"),
    ]:
        check(
            tf.ShapeError,
            lambda value=value: filter_grad(loss)(value),
            f"loss(): argument `x` can't be differentiated: it is {found}",
            "  expected: an array of a floating-point or complex dtype, or a pytree with one",
            f"  found: {found}",
            "  fix: pass a floating-point array (jax.numpy.asarray), or mark another argument as Diff[...]",
        )


def test_a_differentiated_argument_that_is_missing():
    def marked(x, *, y: Diff[Any]):
        return x

    for fn, name in ((loss, "x"), (marked, "y")):
        check(
            tf.ShapeError,
            lambda fn=fn: filter_grad(fn)(*([X] if fn is marked else [])),
            f"{fn.__name__}(): argument `{name}` is missing, and is what would be differentiated",
            "  fix: pass it; filter_grad differentiates its first argument, or those marked Diff[...]",
        )


def test_no_argument_to_differentiate_at_all():
    def nothing(): ...

    check(
        tf.AnnotationError,
        lambda: filter_grad(nothing),
        "nothing(): has no argument that filter_grad could differentiate",
        "  fix: make what is to be differentiated its first parameter",
    )


# ----------------------------------------------------------------------------------- below other transforms


def test_errors_are_the_same_in_every_stack():
    for stack in (
        lambda f: f,
        filter_jit,
        lambda f: filter_jit(filter_jit(f)),
        lambda f: jax.jit(lambda *args: f(*args)),
    ):
        check(
            tf.VmapAxisError,
            lambda stack=stack: stack(filter_vmap(mapped.__wrapped__))(X, Y),
            "mapped(): argument `y` has size 4 along axis 0, but axis 0 of `x` has size 3",
            "  expected: size 3 along axis 0",
            "  found: an array f32[4]",
            SIZES,
        )
        check(
            tf.ShapeError,
            lambda stack=stack: stack(filter_grad(loss))(X, 2.0),
            "loss(): the return value can't be differentiated by filter_grad: it is an array f32[3]",
            SCALAR,
            "  found: an array f32[3]",
            REDUCE,
        )


def test_the_function_is_named_as_it_was_written_in_a_stack():
    def f(x: Float[Array, "n"], n: Static[Any]) -> Float[Array, ""]:
        return x.sum()

    check(
        tf.StaticArgumentError,
        lambda: filter_jit(filter_vmap(filter_grad(f)))(M, [1]),
        "f(): argument `n` is static (annotated Static[Any]) but is unhashable: list",
        HASHABLE[0],
        "  found: list [1]",
        HASHABLE[1],
    )


# ---------------------------------------------------------------------------- an error changes nothing else

WRONG: dict[str, Callable[[Any], Any]] = {
    "unhashable": lambda f: f(X, {1}, {"x": X}),
    "unhashable in a tree": lambda f: f(X, 1, {"x": X, "s": {1}}),
    "an object array": lambda f: f(np.array([None]), 1, {"x": X}),
    "a shape": lambda f: f(M, 1, {"x": X}),
    "no array": lambda f: f("s", 1, {"x": X}),
    "none": lambda f: f(None, 1, {"x": X}),
    "unbound": lambda f: f(X),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_leaves_caches_and_arguments_as_they_were(wrong):
    runs = []

    @filter_jit
    def f(x: Float[Array, "n"], n, tree: Donate[Any]):
        runs.append(n)
        return tree["x"] * n, tree.get("s")

    def call():
        return f(X, 1, {"x": X + 0, "s": "s"})

    call()
    leaves = jax.live_arrays()
    for _ in range(2):
        with pytest.raises((tf.TypedFilterError, TypeError)):
            WRONG[wrong](f)
    assert runs == [1]
    assert call()[1] == "s"
    assert runs == [1]
    assert not X.is_deleted()
    assert not any(leaf.is_deleted() for leaf in leaves)


@pytest.mark.usefixtures("quiet")
def test_an_error_about_a_donated_array_donates_no_other():
    fresh, gone = {"w": X + 0, "b": Y + 0}, X + 0
    step(gone, 1)
    with pytest.raises(tf.DonationError):
        step((fresh, gone), 1)
    assert not fresh["w"].is_deleted()
    assert not fresh["b"].is_deleted()


def test_errors_pickle_with_their_facts():
    with pytest.raises(tf.VmapAxisError) as e:
        mapped(X, Y)
    again = pickle.loads(pickle.dumps(e.value))
    assert str(again) == str(e.value)
    assert again.fields == e.value.fields
    assert (again.function, again.parameter) == ("mapped", "y")


def test_each_error_is_also_the_builtin_that_users_catch():
    for error, builtin in [
        (tf.StaticArgumentError, TypeError),
        (tf.ShapeError, TypeError),
        (tf.AnnotationError, TypeError),
        (tf.VmapAxisError, ValueError),
        (tf.DonationError, RuntimeError),
    ]:
        assert issubclass(error, builtin)
        assert issubclass(error, tf.TypedFilterError)
