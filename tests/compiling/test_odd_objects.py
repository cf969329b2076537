"""Objects of users that answer wrongly, or not at all, when they are asked: every transform lets them be."""

from __future__ import annotations

import unittest.mock
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter as tf
from typedfilter import Static

X = jnp.arange(1.0, 4.0)


class AnswersAll:
    """A null object: it has whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return self


class AnswersText:
    def __getattr__(self, name: str) -> Any:
        return name


class Strict:
    """A configuration that calls a missing name a missing key."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


class Broken:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"nobody should have asked for {name}")


class AnyClass(type):
    """A class that calls all classes equal."""

    def __eq__(cls, other: object) -> bool:
        return isinstance(other, type)

    def __hash__(cls) -> int:
        return 1


def refuse(self: Any) -> Any:
    raise RuntimeError("nobody should have asked")


# What this library, JAX, NumPy or jaxtyping have on their own objects.
NAMES = """shape dtype aval weak_type sharding size ndim nbytes itemsize val at T devices memory_kind mesh
func __func__ __self__ __wrapped__ __name__ __qualname__ __doc__ __signature__ __jax_array__ __array__
lower trace dim_str leaftype structure init update _fields partitions object __code__ __globals__ __closure__
__annotations__ __no_type_check__ __isabstractmethod__ __typedfilter_plan__ __origin__ __args__""".split()
LOOKED_FOR_ON_CLASSES = ("__jax_array__", "__typedfilter_plan__", "__doc__", "__qualname__")
HAVING = {name: property(refuse) for name in NAMES if name not in LOOKED_FOR_ON_CLASSES}
AsksRaise: Any = type("AsksRaise", (), HAVING)


def claiming(cls: type) -> Any:
    """An object that says to be of another class, as a mock with a specification does."""
    return type(f"Claims{cls.__name__}", (), {"__class__": property(lambda self: cls)})()


class NoTruth:
    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


class NoLength:
    def __len__(self) -> int:
        raise RuntimeError("no length")


class False_:
    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__


class ShownAsNothing:
    def __repr__(self) -> str:
        return None  # type: ignore[return-value]


class Agrees:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Disagrees:
    """Not even equal to itself."""

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 1


class Iterates:
    def __iter__(self) -> Any:
        raise RuntimeError("not to be walked through")

    def __getitem__(self, at: Any) -> Any:
        raise RuntimeError("not to be looked into")


ODD: dict[str, Callable[[], Any]] = {
    "has every attribute": AnswersAll,
    "has every attribute, as text": AnswersText,
    "is a mock": unittest.mock.Mock,
    "is a mock with magic": unittest.mock.MagicMock,
    "is a mock of an array": lambda: unittest.mock.MagicMock(spec=np.ndarray),
    "is a mock of a float": lambda: unittest.mock.Mock(spec=float),
    "raises KeyError for a missing attribute": Strict,
    "raises RuntimeError for a missing attribute": Broken,
    "raises when asked for what it has": AsksRaise,
    "is of a class that equals all classes": AnyClass("One", (), {}),
    "claims to be a NumPy array": lambda: claiming(np.ndarray),
    "claims to be a NumPy scalar": lambda: claiming(np.float32),
    "claims to be an array": lambda: claiming(type(X)),
    "claims to be a number": lambda: claiming(float),
    "claims to be an int": lambda: claiming(int),
    "claims to be a tuple": lambda: claiming(tuple),
    "claims to be a string": lambda: claiming(str),
    "claims to be a function": lambda: claiming(type(refuse)),
    "claims to be a struct": lambda: claiming(jax.ShapeDtypeStruct),
    "has no truth": NoTruth,
    "has no length": NoLength,
    "is false": False_,
    "can't be shown": Unshown,
    "is shown as nothing": ShownAsNothing,
    "is equal to everything": Agrees,
    "is equal to nothing": Disagrees,
    "can't be walked through": Iterates,
}


def loss(x: Any, odd: Any) -> Any:
    return (x * x).sum()


def annotated(x: Float[Array, "n"], odd: Any) -> Float[Array, ""]:
    return (x * x).sum()


def marked(x: Any, odd: Static[Any]) -> Any:
    return (x * x).sum()


def other(x: Any, odd: Any) -> Any:
    return x.sum()


def with_rules(make: Any) -> Any:
    if make is tf.filter_custom_jvp:
        made: Any = tf.filter_custom_jvp(loss)
        made.def_jvp(lambda primals, tangents: (loss(*primals), (2 * primals[0] * tangents[0]).sum()))
        return made
    made = tf.filter_custom_vjp(loss)
    made.def_fwd(lambda perturbed, x, odd: (loss(x, odd), x))
    made.def_bwd(lambda residuals, grad, perturbed, x, odd: 2 * residuals * grad)
    return made


def twice(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Called twice: what is remembered of the first call meets the object again."""
    return lambda *args: (fn(*args), fn(*args))[1]


S = 14.0  # the sum of the squares
TRANSFORMS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "filter_jit": (lambda odd: twice(tf.filter_jit(loss))(X, odd), S),
    "filter_jit, in a tree": (lambda odd: twice(tf.filter_jit(loss))(X, [X, {"odd": odd}]), S),
    "filter_jit, in a tuple": (lambda odd: twice(tf.filter_jit(marked))(X, (1, (odd,))), S),
    "filter_jit, annotated": (lambda odd: twice(tf.filter_jit(annotated))(X, odd), S),
    "filter_jit, marked": (lambda odd: twice(tf.filter_jit(marked))(X, odd), S),
    "filter_jit, by name": (lambda odd: twice(lambda x, odd: tf.filter_jit(loss)(x, odd=odd))(X, odd), S),
    "filter_jit, returned": (
        lambda odd: twice(tf.filter_jit(lambda x, odd: (x, odd, [odd])))(X, odd)[0].sum(),
        6,
    ),
    "filter_jit, made inside": (lambda odd: twice(tf.filter_jit(lambda x: (x, odd)))(X)[0].sum(), 6),
    "filter_jit, donating": (
        lambda odd: tf.filter_jit(lambda x, odd: x * 2, donate="all")(X + 0, [odd]).sum(),
        12,
    ),
    "filter_jit, ahead": (lambda odd: tf.filter_jit(loss).lower(X, odd).compile()(X, odd), S),
    "filter_jit, without jit": (lambda odd: without_jit(odd), S),
    "filter_grad": (lambda odd: tf.filter_grad(loss)(X, odd).sum(), 12),
    "filter_grad, of a tree": (
        lambda odd: tf.filter_grad(lambda t: (t[0] ** 2).sum())([X, odd])[0].sum(),
        12,
    ),
    "filter_grad, with aux": (
        lambda odd: tf.filter_grad(lambda x: (loss(x, odd), odd), has_aux=True)(X)[0].sum(),
        12,
    ),
    "filter_value_and_grad": (lambda odd: tf.filter_value_and_grad(loss)(X, odd)[0], S),
    "filter_vmap": (lambda odd: tf.filter_vmap(loss)(jnp.stack([X, X]), odd).sum(), 2 * S),
    "filter_vmap, returned": (lambda odd: tf.filter_vmap(lambda x, odd: (x, odd))(X, odd)[0].sum(), 6),
    "filter_jvp": (lambda odd: tf.filter_jvp(loss, (X, odd), (X, None))[0], S),
    "filter_vjp": (lambda odd: tf.filter_vjp(loss, X, odd)[0], S),
    "filter_jacfwd": (lambda odd: tf.filter_jacfwd(loss)(X, odd).sum(), 12),
    "filter_jacrev": (lambda odd: tf.filter_jacrev(loss)(X, odd).sum(), 12),
    "filter_hessian": (lambda odd: tf.filter_hessian(loss)(X, odd).sum(), 6),
    "filter_linearize": (lambda odd: tf.filter_linearize(loss, X, odd)[0], S),
    "filter_checkpoint": (lambda odd: tf.filter_checkpoint(loss)(X, odd), S),
    "filter_closure_convert": (lambda odd: tf.filter_closure_convert(lambda x: loss(x, odd), X)(X), S),
    "filter_eval_shape": (lambda odd: float(tf.filter_eval_shape(loss, X, odd).size), 1),
    "filter_eval_shape, returned": (lambda odd: tf.filter_eval_shape(lambda x: (x, odd), X)[0].size, 3),
    "filter_make_jaxpr": (lambda odd: len(tf.filter_make_jaxpr(loss)(X, odd)[0].out_avals), 1),
    "filter_scan": (lambda odd: tf.filter_scan(lambda c, x: (c, x * x), odd, X)[1].sum(), S),
    "filter_fori_loop": (
        lambda odd: tf.filter_fori_loop(0, 2, lambda i, c: (c[0] + 1, c[1]), (X, odd))[0].sum(),
        12,
    ),
    "filter_cond": (lambda odd: tf.filter_cond(jnp.array(True), loss, other, X, odd), S),
    "filter_map": (lambda odd: tf.filter_map(lambda x: x * x, X).sum(), S),
    "filter_custom_jvp": (lambda odd: tf.filter_grad(with_rules(tf.filter_custom_jvp))(X, odd).sum(), 12),
    "filter_custom_vjp": (lambda odd: tf.filter_grad(with_rules(tf.filter_custom_vjp))(X, odd).sum(), 12),
    "filter_pure_callback": (lambda odd: tf.filter_pure_callback(loss, X, odd, result_shape_dtypes=X[0]), S),
    "filter_shard": (lambda odd: tf.filter_shard((X, odd), jax.devices()[0])[0].sum(), 6),
    "partition and combine": (lambda odd: tf.combine(*tf.partition([X, odd], tf.is_array))[0].sum(), 6),
    "partition, like": (
        lambda odd: tf.combine(*tf.partition([X, odd], tf.is_inexact_array_like))[0].sum(),
        6,
    ),
    "filter": (lambda odd: tf.filter([X, odd], tf.is_inexact_array)[0].sum(), 6),
    "apply_updates": (lambda odd: tf.apply_updates([X, odd], [X, None])[0].sum(), 12),
    "explain": (lambda odd: len(str(tf.explain(tf.filter_jit(loss), X, odd))) > 0, True),
    "explain, of a tree": (lambda odd: len(str(tf.explain(tf.filter_grad(loss), X, [odd]))) > 0, True),
}


def without_jit(odd: Any) -> Any:
    with jax.disable_jit():
        return tf.filter_jit(loss)(X, [odd])


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_an_object_that_answers_oddly_is_let_be(transform: str):
    call, right = TRANSFORMS[transform]
    failed: dict[str, str] = {}
    for name, make in ODD.items():
        try:
            np.testing.assert_allclose(call(make()), right)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {tf_text(error)}"
    assert failed == {}


def tf_text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return "an error that can't be shown"


class EqIsArray:
    """As tensors of other libraries are, and columns: hashable, and compared element by element."""

    def __eq__(self, other: object) -> Any:
        return jnp.ones(3) == 1

    __hash__ = object.__hash__


class EqRaises:
    def __eq__(self, other: object) -> bool:
        raise TypeError("nobody compares these")

    __hash__ = object.__hash__


@pytest.mark.parametrize("odd", [EqIsArray, EqRaises])
@pytest.mark.parametrize(
    "around", [lambda value: value, lambda value: [X, value]], ids=["alone", "in a tree"]
)
def test_an_error_of_the_body_arrives_as_itself_whatever_was_passed(odd: Any, around: Any):
    class Called:
        def __call__(self, x: Any, odd: Any) -> Any:
            raise ValueError("of the body")

        method = __call__

    def body(x: Any, odd: Any) -> Any:
        raise ValueError("of the body")

    for fn in (body, lambda x, odd: body(x, odd), Called(), Called().method):
        with pytest.raises(ValueError, match=r"^of the body") as caught:
            tf.filter_jit(fn)(X, around(odd()))
        assert type(caught.value) is ValueError
