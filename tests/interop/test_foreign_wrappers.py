"""Wrappers that are not ours, between a transform and a function: they get what was passed, and no more.

To `jax.vmap(f)`, a passed argument is not one that is left out, and a keyword is not a position. The right
values are what plain JAX gives.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Annotated, Any
from unittest import mock

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float
from numpy.testing import assert_allclose

from typedfilter import (
    AnnotationError,
    Diff,
    Donate,
    NoDiff,
    ShapeError,
    Static,
    StaticArgumentError,
    Traced,
    VmapAxis,
    VmapAxisError,
    explain,
    filter_checkpoint,
    filter_closure_convert,
    filter_custom_jvp,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_vjp,
    filter_vmap,
)

W = jnp.array([1.0, 2.0, 3.0])
X = jnp.arange(9.0).reshape(3, 3)


def weighted(x, w=W):
    return (x * w).sum()


def flagged(x, flag=False, *, factor=2.0):
    return x * factor if flag else -x


# ------------------------------------------------------------------------------------- what is left out


def test_a_default_is_not_mapped():
    expected = jax.vmap(weighted)(X)
    assert_allclose(filter_jit(jax.vmap(weighted))(X), expected)
    assert_allclose(filter_jit(jax.vmap(weighted)).lower(X).compile()(X), expected)
    assert_allclose(filter_closure_convert(filter_vmap(weighted), X)(X), expected)
    assert_allclose(filter_closure_convert(jax.vmap(weighted), X)(X), expected)
    assert_allclose(filter_closure_convert(filter_jit(filter_vmap(weighted)), X)(X), expected)
    assert_allclose(filter_jit(jax.vmap(weighted))(X, X), jax.vmap(weighted)(X, X))


@pytest.mark.parametrize("fn", [weighted, flagged])
def test_a_default_is_not_passed_to_a_function_whose_signature_is_said_by_hand(fn):
    def batched(*args, **kwargs):
        return jax.vmap(fn)(*args, **kwargs)

    batched.__signature__ = inspect.signature(fn)
    expected = jax.vmap(fn)(X)
    assert_allclose(filter_jit(batched)(X), expected)
    assert_allclose(filter_closure_convert(batched, X)(X), expected)
    assert_allclose(filter_checkpoint(filter_jit(batched))(X), expected)


@pytest.mark.parametrize("fn", [jnp.sum, jnp.mean, jnp.argsort, jax.nn.log_softmax, jnp.linalg.norm])
def test_a_default_that_is_no_array_stays_out(fn):
    assert_allclose(filter_jit(jax.vmap(fn))(X), jax.vmap(fn)(X), rtol=1e-6)


@pytest.mark.parametrize("around", [jax.checkpoint, jax.vmap, jnp.vectorize, jax.named_call, jax.jit])
def test_a_flag_that_is_left_out_is_not_traced(around):
    if around is not jax.jit:
        assert_allclose(filter_jit(around(flagged))(X), -X)
        assert_allclose(filter_closure_convert(around(flagged), X)(X), -X)
    static = jax.jit(flagged, static_argnames=("flag",))
    assert_allclose(filter_jit(static)(X, flag=True, factor=3.0), 3 * X)
    assert_allclose(filter_jit(static)(X, True), 2 * X)


@dataclasses.dataclass
class Config:
    gain: float = 2.0


CONFIG, ONE = Config(), Config(1.0)


def configured(x, config=CONFIG, n=1, *, other=(ONE,), **rest):
    return x * config.gain * n * other[0].gain


def test_a_default_that_can_not_be_static_is_left_to_the_function():
    jitted = filter_jit(configured)
    assert_allclose(jitted(W), 2 * W)
    assert_allclose(jitted(W, n=3), 6 * W)
    assert_allclose(jitted(W, n=3, unknown=1), 6 * W)
    assert_allclose(jitted.lower(W, n=3).compile()(W, n=3), 6 * W)
    assert_allclose(jitted.eval_shape(W, n=3).shape, (3,))
    with pytest.raises(StaticArgumentError, match="argument `config` is static, since it is no array"):
        jitted(W, Config())


def test_what_has_no_name_for_jax_is_left_to_the_function():
    def f(x: Array, how: Any = "sum", by: Float[Array, ""] = "none"):
        return x * (2 if by == "none" else by)

    assert_allclose(filter_jit(f)(W), 2 * W)
    assert_allclose(filter_jit(f)(W, by=3.0), 3 * W)


def test_a_default_is_not_donated():
    weight = jnp.array([1.0, 2.0, 3.0])

    def f(x, w=weight, tree=(weight, "static")):
        return x * w * tree[0]

    def annotated(x, w: Donate[Array] = weight):
        return x * w

    donating = filter_jit(f, donate="all")
    for _ in range(2):
        x = W + 0
        assert_allclose(donating(x), W**3)
        assert x.is_deleted()
        assert_allclose(filter_jit(annotated)(W), W**2)
    assert not weight.is_deleted()
    passed = weight + 0
    filter_jit(annotated)(W, passed)
    assert passed.is_deleted()
    rows = {row.path: row.donated for row in explain(donating, W).leaves or ()}
    assert rows == {"x": True, "w": False, "tree[0]": False, "tree[1]": False}


def test_defaults_that_travel_are_one_program_with_the_same_passed():
    traced = []

    def f(x, n=2, w=W):
        traced.append(n)
        return x * n * w

    for args in ((W,), (W, 2), (W, 2, W)):
        assert_allclose(filter_jit(f)(*args), 2 * W**2)
    assert len(traced) == 1


# ---------------------------------------------------------------------------------------------- keywords


def test_a_keyword_stays_a_keyword():
    def scaled(x, w):
        return x * w

    mapped = jax.vmap(scaled, in_axes=1)  # keywords are mapped along axis 0, whatever it says
    assert_allclose(filter_jit(mapped)(X, w=W), mapped(X, w=W))
    assert_allclose(filter_closure_convert(mapped, X, w=W)(X, w=W), mapped(X, w=W))
    assert_allclose(filter_eval_shape(mapped, X, w=W).shape, (3, 3))

    ruled = filter_custom_jvp(scaled)  # whose keyword arguments have no derivative
    ruled.def_jvp(lambda primals, tangents, **named: (scaled(*primals, **named), tangents[0] * 0 + 7.0))
    converted = filter_closure_convert(ruled, W, w=W)
    assert_allclose(jax.jvp(lambda x: converted(x, w=W), (W,), (W,))[1], [7.0, 7.0, 7.0])
    assert_allclose(converted(w=W, x=W), W * W)  # it is evaluated, not called again: names say it all


def test_a_name_may_be_that_of_a_positional_parameter():
    def f(x, /, **rest):
        return x, rest

    for transform in (filter_jit, filter_checkpoint, filter_vmap):
        x, rest = transform(f)(W, x=2 * W, n=1)
        assert_allclose([x, rest["x"]], [W, 2 * W])
        assert rest["n"] == 1
    assert filter_jit(f)(1, x=2) == (1, {"x": 2})
    assert filter_jit(f).lower(1, x=2).compile()(1, x=2) == (1, {"x": 2})
    assert filter_closure_convert(f, 1, x=2)(1, x=2) == (1, {"x": 2})
    with pytest.raises(ShapeError, match=r"argument `rest\['x'\]` differs in shape"):
        filter_closure_convert(f, W, x=W)(W, x=X)


@pytest.mark.parametrize(
    "name", ["Exception", "type", "_tf_table", "__tf_type", "self", "args", "call", "fn"]
)
def test_parameters_may_have_any_name(name):
    scope: dict[str, Any] = {}
    exec(f"def f({name}, _tf_default_table=3, *, _tf_out=2): return {name} * 3 * _tf_out", scope)
    f = scope["f"]
    for args, kwargs in (((W,), {}), ((), {name: W})):
        assert_allclose(filter_jit(f)(*args, **kwargs), 6 * W)
        assert_allclose(filter_jit(f).lower(*args, **kwargs).compile()(*args, **kwargs), 6 * W)
        assert_allclose(filter_vmap(f)(*args, **kwargs), 6 * W)
        assert_allclose(filter_checkpoint(f)(*args, **kwargs), 6 * W)
        assert_allclose(filter_closure_convert(f, *args, **kwargs)(*args, **kwargs), 6 * W)
        grad = filter_grad(lambda *args, **kwargs: f(*args, **kwargs).sum() if args else jnp.zeros(()))
        assert_allclose(filter_jit(grad)(W), [6, 6, 6])
    with pytest.raises(TypeError, match=f"missing 1 required positional argument: '{name}'"):
        filter_jit(f)()


def test_an_option_that_names_what_is_not_passed_by_name_is_refused():
    def scaled(x, w):
        return x * w

    device = jax.devices()[0]
    assert_allclose(filter_vmap(jax.jit(scaled), in_axes={"x": 1})(x=X, w=X), X.T * X)
    assert_allclose(filter_jit(jax.vmap(scaled), in_shardings={"x": device})(x=X, w=X), X * X)
    for call in (
        lambda: filter_vmap(jax.jit(scaled), in_axes={"x": 1})(X, X),
        lambda: filter_jit(jax.vmap(scaled), in_shardings={"x": device})(X, X),
    ):
        with pytest.raises((AnnotationError, VmapAxisError), match=r"scaled\(\): argument `x` is not passed"):
            call()


@pytest.mark.parametrize("around", [jax.vmap, lambda f: jax.jit(jax.vmap(f))], ids=["vmap", "jit"])
def test_below_a_map_of_jaxs_an_argument_that_is_passed_by_name_has_its_own_axis(around):
    def total(*, a: Annotated[Float[Array, "n"], VmapAxis[1]], b: Float[Array, ""]):
        return a.sum() * b

    pair = jnp.stack([X, X + 1])
    out = around(filter_vmap(total))(a=pair, b=jnp.stack([W, W]))
    assert_allclose(out, pair.sum(1) * W)


# ----------------------------------------------------------- annotations are those of a callable itself


def batching(fn):
    @functools.wraps(fn)
    def batched(*args, **kwargs):
        return jax.vmap(fn)(*args, **kwargs)

    return batched


def with_time(fn):
    @functools.wraps(fn)
    def timed(*args, **kwargs):
        return fn(*args, **kwargs), "1 s"

    return timed


def giving_scale(fn):
    @functools.wraps(fn)
    def given(x, *, times=1):
        return times * fn(x, 2.0)

    return given


def test_the_annotations_of_a_function_are_not_those_of_its_decorator():
    def scalars(x: float, y: float) -> float:
        return x * y

    def row(x: Float[Array, ""], y: Float[Array, ""]) -> Float[Array, ""]:
        return x * y

    def count(n: Static[int], x: Float[Array, "n"]) -> Float[Array, "n"]:
        return n * x

    for fn in (scalars, row):
        assert_allclose(filter_jit(jax.vmap(fn))(W, W), W * W)
        assert_allclose(filter_jit(batching(fn))(W, y=W), W * W)
        assert_allclose(filter_vmap(batching(fn))(X, X), X * X)
    for transform in (filter_jit, filter_checkpoint, lambda fn: filter_jit(filter_vmap(fn))):
        value, time = transform(with_time(row))(W, W)
        assert_allclose(value, W * W)
        assert time == "1 s"
    assert_allclose(filter_jit(with_time(count))(2, W)[0], 2 * W)
    assert_allclose(filter_jit(giving_scale(row))(W[1], times=3), 12.0)
    assert_allclose(filter_grad(giving_scale(row))(W[1]), 2.0)


def test_a_decorator_with_annotations_of_its_own_is_read():
    class Logged:
        def __init__(self, fn):
            functools.update_wrapper(self, fn)

        def __call__(self, x: Float[Array, "n n"], lr: Traced[float] = 1.0):
            return x * lr

    traced = filter_jit(Logged(weighted))
    assert [traced(X, lr).shape for lr in (1.0, 2.0)] == [(3, 3)] * 2
    with pytest.raises(ShapeError):
        traced(jnp.ones((2, 3)))


class Counting:
    """A decorator that says it is what it wraps, as those of `wrapt`: it shows its class, too."""

    def __init__(self, fn: Any) -> None:
        object.__setattr__(self, "__wrapped__", fn)

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # read only, as that of wrapt
        return type(self.__wrapped__)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "__wrapped__"), name)

    def __get__(self, instance: Any, owner: Any) -> Any:
        return Counting(self.__wrapped__.__get__(instance, owner))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs) + 1000 * len(args) + 100 * len(kwargs)


class Scales:
    @Counting
    def scale(self, x: Float[Array, ""], times: float = 2.0):
        return x * times


PROXIES: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "a function": (Counting(weighted), (), {"x": X}),
    "a function with a default left out": (Counting(jax.vmap(weighted)), (X,), {}),
    "a method": (Scales().scale, (X,), {}),  # no scalar: of what a proxy takes, nothing is known
    "a transform of ours": (Counting(filter_jit(weighted)), (X,), {"w": W}),
    "a map of ours": (Counting(filter_vmap(weighted)), (X,), {"w": X}),
    "a partial": (Counting(functools.partial(weighted, w=W)), (), {"x": X}),
    "two": (Counting(Counting(weighted)), (), {"x": X}),
    "a mock": (mock.Mock(spec=weighted, side_effect=weighted), (X,), {"w": W}),
}


@pytest.mark.parametrize("name", PROXIES)
def test_what_says_that_it_is_what_it_wraps_is_called_as_the_caller_has_called(name: str):
    fn, args, kwargs = PROXIES[name]
    expected = fn(*args, **kwargs)
    for transform in (filter_jit, filter_checkpoint, lambda fn: filter_jit(jax.named_call(filter_jit(fn)))):
        assert_allclose(transform(fn)(*args, **kwargs), expected)
    converted = filter_closure_convert(fn, *args, **kwargs)
    assert_allclose(converted(*args, **kwargs), expected)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), (args, kwargs))
    assert_allclose(filter_vmap(fn)(*stacked[0], **stacked[1]), [expected, expected])


def test_what_hands_on_takes_what_is_inside_takes():
    """`jax.named_call` and context managers do; what our transforms show to people is not what they take."""

    def scalar(x: Float[Array, ""], w: Float[Array, ""] = W[1]) -> Float[Array, ""]:
        return x * w

    mapped = filter_jit(jax.vmap(scalar, in_axes=(0,)))
    assert_allclose(filter_jit(jax.named_call(mapped))(W), W * W[1])
    with pytest.raises(ValueError, match="in_axes"):
        filter_jit(jax.named_call(mapped))(x=W, w=W)
    for inner in (jax.jit(weighted), filter_jit(jax.jit(weighted))):  # whose signature is a new one each time
        named = with_time(inner)
        named.__signature__ = inspect.signature(weighted)
        assert_allclose(filter_jit(named)(X)[0], weighted(X))
        assert_allclose(filter_jit(jax.named_call(inner))(x=X), weighted(X))


def test_people_see_the_parameters_of_the_function_inside():
    assert str(inspect.signature(filter_jit(batching(weighted)))) == str(inspect.signature(weighted))
    assert list(inspect.signature(filter_vmap(jax.vmap(weighted))).parameters) == ["x", "w"]


# --------------------------------------------------------------------------- markers that nobody would honour


def pair(x: Float[Array, ""], y: Diff[Float[Array, ""]]) -> Float[Array, ""]:
    return x * y


def frozen(x: Float[Array, ""], y: NoDiff[Float[Array, ""]]) -> Float[Array, ""]:
    return x * y


def columns(x: Annotated[Float[Array, "n"], VmapAxis[1]]):
    return x


def donating(x: Donate[Array]):
    return x


def traced_rate(x: Array, lr: Traced[float]):
    return x * lr


DIFF = "pair(): argument `y` is annotated Diff[Float[Array, '']]"
AXIS = "columns(): argument `x` is annotated Annotated[Float[Array, 'n'], VmapAxis[1]]"
REFUSED: dict[str, tuple[Any, str, str, str]] = {
    "jax.grad passes over Diff": (
        lambda: filter_jit(jax.grad(pair)),
        DIFF,
        "jax.grad reads no annotations",
        "use filter_grad in its place",
    ),
    "below another wrapper": (
        lambda: filter_checkpoint(jax.jit(with_time(jax.value_and_grad(pair)))),
        DIFF,
        "jax.value_and_grad reads no annotations",
        "use filter_value_and_grad in its place",
    ),
    "jax.vmap passes over VmapAxis": (
        lambda: filter_jit(jax.vmap(columns)),
        AXIS,
        "jax.vmap reads no annotations",
        "use filter_vmap in its place",
    ),
    "a decorator hides Diff": (
        lambda: filter_grad(functools.partial(with_time(pair), W[0])),
        DIFF,
        "filter_grad is given a wrapper of pair, and of that it knows nothing",
        "apply filter_grad to the function itself, and the wrapper to the result",
    ),
    "jax.jit hides VmapAxis": (
        lambda: filter_vmap(jax.jit(columns)),
        AXIS,
        "filter_vmap is given a wrapper of columns, and of that it knows nothing",
        "apply filter_vmap to the function itself, and the wrapper to the result",
    ),
}


@pytest.mark.parametrize(("make", "what", "why", "fix"), REFUSED.values(), ids=REFUSED)
def test_a_marker_that_nobody_would_honour_is_refused(make, what, why, fix):
    with pytest.raises(AnnotationError) as refused:
        make()
    assert str(refused.value).splitlines() == [f"{what}, but {why}", f"  fix: {fix}"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: filter_jit(batching(donating)),
        lambda: filter_jit(jax.jit(traced_rate)),
        lambda: filter_jit(jax.hessian(pair)),
        lambda: filter_grad(jax.checkpoint(frozen)),
        lambda: filter_vjp(jax.jit(pair), W[0], W[0]),
        lambda: filter_jvp(jax.jit(pair), (W[0], W[0]), (None, W[0])),
        lambda: filter_linearize(jax.jit(pair), W[0], W[0]),
        lambda: filter_eval_shape(jax.grad(pair), W[0], W[0]),
        lambda: filter_closure_convert(jax.jacrev(frozen), W[0], W[0]),
    ],
)
def test_every_transform_refuses_such_a_marker(make):
    with pytest.raises(AnnotationError):
        make()


def test_a_marker_that_is_honoured_or_that_nobody_asks_for_is_not_refused():
    batch = jnp.ones((2, 3, 4))
    assert filter_jit(jax.vmap(filter_vmap(columns)))(batch).shape == (2, 4, 3)
    assert jax.vmap(filter_vmap(columns))(batch).shape == (2, 4, 3)
    assert_allclose(filter_jit(with_time(pair))(W[1], W[1])[0], 4.0)
    assert_allclose(filter_grad(functools.partial(jax.named_scope("pair")(pair)))(W[1], W[2]), 2.0)


class Bound:
    def loss(self: Diff[Any], x):
        return x * 2

    def rows(self: Annotated[Any, VmapAxis[1]], x):
        return x

    def whole(self: Annotated[Any, VmapAxis[None]], x):
        return x


@pytest.mark.parametrize(
    ("transform", "method", "marker"), [(filter_grad, "loss", "Diff"), (filter_vmap, "rows", "VmapAxis")]
)
def test_a_marker_of_what_is_bound_is_refused(transform, method, marker):
    function = getattr(Bound, method)
    for bound in (getattr(Bound(), method), functools.partial(function, Bound())):
        with pytest.raises(AnnotationError, match=rf"`self` is annotated .*{marker}.* that has it already"):
            transform(bound)
        with pytest.raises(AnnotationError, match="that has it already"):
            transform(functools.partial(bound))
    assert transform(Bound().whole) is not None
