"""The check at the body: what passes, what is refused, and that it leaves nothing behind."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import pickle
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from arrays import f32, i32
from beartype import beartype
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import (
    Bool,
    Float,
    Float32,
    Inexact,
    Int,
    Key,
    Num,
    PRNGKeyArray,
    PyTree,
    Scalar,
    Shaped,
    jaxtyped,
)

from typedfilter._reading.kinds import kind_of
from typedfilter._reading.plan import plan_of
from typedfilter._shapes.bindings import RunTime
from typedfilter._shapes.check import checked
from typedfilter._shapes.switch import Mode, check_mode, checking
from typedfilter._shapes.walk import walk
from typedfilter.annotations import Static, Traced
from typedfilter.errors import AnnotationError, ShapeError
from typedfilter.transforms.checkpoint import filter_checkpoint
from typedfilter.transforms.closure_convert import filter_closure_convert
from typedfilter.transforms.vjp import filter_vjp
from typedfilter.transforms.vmap import filter_vmap

if TYPE_CHECKING:
    NotHere = int

T = TypeVar("T")


def body(fn: Callable[..., Any]) -> Callable[..., Any]:
    return checked(fn, plan_of(fn))


def accepts(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    try:
        body(fn)(*args, **kwargs)
    except ShapeError:
        return False
    return True


def predict(w: Float[Array, "n m"], x: Float[Array, "b n"]) -> Float[Array, "b m"]:
    return x @ w


class Model:
    """A model class, of which nothing but the class is asked."""

    weight: Float[Array, "n"]


# ------------------------------------------------------------------------------------- what is checked


def test_a_fitting_call_returns_what_the_function_returns():
    assert body(predict)(f32(4, 2), f32(8, 4)).shape == (8, 2)


def test_dimensions_bind_across_arguments():
    with pytest.raises(ShapeError, match=r"argument `x` is f32\[8,5\]"):
        body(predict)(f32(4, 2), f32(8, 5))


def test_dimensions_bind_across_positional_and_keyword_arguments():
    with pytest.raises(ShapeError, match=r"argument `x` .* bound by `w`"):
        body(predict)(x=f32(8, 5), w=f32(4, 2))


def test_dimensions_bind_from_arguments_to_the_return():
    def transposed(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
        return x.T

    assert accepts(transposed, f32(3, 3))
    with pytest.raises(ShapeError, match="the return value"):
        body(transposed)(f32(3, 4))


def test_dimensions_do_not_bind_from_one_call_to_the_next():
    fn = body(predict)
    fn(f32(4, 2), f32(8, 4))
    fn(f32(5, 3), f32(7, 5))


def test_a_failed_call_binds_nothing_for_the_next_one():
    fn = body(predict)
    with pytest.raises(ShapeError):
        fn(f32(4, 2), f32(8, 5))
    assert fn(f32(5, 3), f32(8, 5)).shape == (8, 3)


def test_a_failed_call_leaves_the_callers_bindings_as_they_were():
    with jaxtyped("context"):
        assert isinstance(f32(7), Float[Array, "n"])
        with pytest.raises(ShapeError):
            body(predict)(f32(4, 2), f32(8, 5))
        assert isinstance(f32(7), Float[Array, "n"])
        assert not isinstance(f32(4), Float[Array, "n"])


def test_a_call_inside_a_body_has_bindings_of_its_own():
    inner = body(predict)

    def outer(n: Float[Array, "n"]) -> Float[Array, "n"]:
        inner(f32(4, 2), f32(8, 4))
        return n

    assert body(outer)(f32(3)).shape == (3,)


def test_isinstance_in_the_body_shares_the_bindings():
    def fn(x: Float[Array, "n"]) -> Float[Array, "k"]:
        assert not isinstance(f32(4), Float[Array, "n"])
        assert isinstance(f32(5), Float[Array, "k"])
        return x

    assert accepts(fn, f32(5))
    assert not accepts(fn, f32(3))


def test_tracers_are_checked_like_arrays():
    fn = jax.jit(body(predict))
    assert fn(f32(4, 2), f32(8, 4)).shape == (8, 2)
    with pytest.raises(ShapeError, match="needs n=4, bound by `w`"):
        fn(f32(4, 2), f32(8, 5))


def test_under_vmap_the_body_is_checked_on_one_example():
    def one(x: Float[Array, "n"]) -> Float[Array, ""]:
        return x.sum()

    assert jax.vmap(body(one))(f32(8, 3)).shape == (8,)
    with pytest.raises(ShapeError):
        jax.vmap(body(one))(f32(8))


def test_under_grad_the_body_is_checked_on_the_primal():
    def loss(x: Float[Array, "n"]) -> Float[Array, ""]:
        return (x**2).sum()

    assert jax.grad(body(loss))(f32(3)).shape == (3,)


def test_every_element_of_a_long_list_is_checked():
    def fn(xs: list[int]) -> None: ...

    assert accepts(fn, [1] * 1000)
    for place in (0, 499, 999):
        values: list[Any] = [1] * 1000
        values[place] = "x"
        assert not accepts(fn, values)


TABLE: list[tuple[Any, list[Any], list[Any]]] = [
    (Float[Array, "n"], [f32(3)], [f32(), f32(3, 3), i32(3), "abc", None, [1.0], 3.0, np.float32([1])]),
    (Float[Array, ""], [f32()], [f32(1), 1.0]),
    (Float32[Array, "2 n"], [f32(2, 9)], [f32(3, 9), jnp.zeros((2, 9), jnp.bfloat16)]),
    (Inexact[Array, "..."], [f32(), jnp.zeros((3, 2), jnp.complex64)], [i32()]),
    (Num[Array, "rows=3 _"], [f32(3, 1), i32(3, 2)], [f32(2, 3), jnp.zeros((3, 1), bool)]),
    (Bool[Array, "n n"], [jnp.zeros((2, 2), bool)], [jnp.zeros((2, 3), bool)]),
    (Shaped[Array, "n 2*n"], [f32(2, 4)], [f32(2, 5)]),
    (Key[Array, ""], [jax.random.key(0)], [jax.random.PRNGKey(0)]),
    (PRNGKeyArray, [jax.random.key(0), jax.random.PRNGKey(0)], [f32(2)]),
    (Scalar, [f32(), i32()], [f32(1)]),
    (Float[np.ndarray, "n"], [np.zeros(3)], [f32(3), np.zeros(3, int), np.zeros(()), "abc"]),
    (Float[ArrayLike, ""], [f32(), np.zeros(()), 1.0], [f32(1), "abc", np.zeros(1)]),
    (Array, [f32(), i32(2, 2)], ["abc", None, [f32()]]),
    (np.ndarray, [np.zeros(3)], [f32(3), "abc", [1.0]]),
    (ArrayLike, [np.zeros(3), f32(3), 1, 2.0, True], ["abc", None, [1.0]]),
    (np.ndarray[Any, np.dtype[np.float32]], [np.float32([1])], [f32(3), np.zeros(3), 1.0]),
    (int, [1, True], [1.0, "a", None, f32(), np.int64(1)]),
    (float, [1.0, 1, True, np.float64(1.0)], [1j, "a", None, f32()]),
    (complex, [1j, 1.0, 1], ["a"]),
    (bool, [True], [1, np.bool_(True)]),
    (str, ["a"], [b"a", 1, None]),
    (None, [None], [0]),
    (Literal["a", 3], ["a", 3], ["b", 4, 3.0]),
    (Literal[1], [1], [True, 1.0]),
    (tuple[int, *tuple[str, ...]], [(1,), (1, "a", "b")], [(), ("a",), (1, "a", 2), [1]]),
    (frozenset[str], [frozenset("a")], [frozenset({1}), {"a"}]),
    (collections.Counter[str], [collections.Counter("a")], [collections.Counter([1]), {"a": 1}]),
    (type[int], [int, bool], [str, 1]),
    (Callable[[int], int], [len, lambda x: x], [3]),
    (Float[Array, "n"] | None, [None, f32(3)], [f32(), 1.0]),
    (Optional[Float[Array, "n"]], [None, f32(3)], [f32(), 1.0]),
    (Union[int, Float[Array, "n"]], [3, f32(3)], [3.0, "a", i32(3)]),
    (Float[Array, "n"] | Int[Array, "n m"], [f32(3), i32(3, 3)], [i32(3), f32(3, 3)]),
    (tuple[int, str], [(1, "a")], [(1,), ("a", 1), [1, "a"], (1, "a", 2)]),
    (tuple[Float[Array, "n"], ...], [(), (f32(3), f32(3))], [(f32(3), f32(4)), (f32(3), 1), [f32(3)]]),
    (tuple[()], [()], [(1,)]),
    (tuple, [(), (1,)], [[]]),
    (list[Float[Array, "n"]], [[], [f32(3)] * 3], [[f32(3), f32(4)], (f32(3),)]),
    (Sequence[int], [[1], (1, 2)], [["a"], 1, {1}, "abc"]),
    (Sequence[str], [["a"], "abc"], [["a", 1], 1]),
    (set[int], [{1, 2}], [{1, "a"}, [1]]),
    (dict[str, Float[Array, "n"]], [{}, {"a": f32(3)}], [{1: f32(3)}, {"a": f32(2), "b": f32()}]),
    (Mapping[str, int], [{"a": 1}, collections.OrderedDict(a=1)], [{"a": "b"}, [("a", 1)]]),
    (PyTree[Float[Array, "n"]], [f32(3), {"a": [f32(3)]}, None], [{"a": [f32(3), f32(2)]}, [1.0], ["b"]]),
    (PyTree[Float[Array, "?n"], "T"], [[f32(3), f32(2)]], [[f32(3), f32(2, 2)]]),
    (PyTree[int], [[1, {"a": 2}]], [["a"]]),
    (PyTree[tuple[int, int]], [[(1, 2)]], [[(1, "a")]]),
    (Shaped[Any, "n"], [f32(3), np.zeros(3)], [f32(), "abc", [1.0]]),
    (np.float32, [np.float32(1), f32()], [f32(1), i32(), 1.0]),
    (jnp.float32, [np.float32(1), f32()], [f32(1), i32(), 1.0]),
    (typing.Type[int], [int, bool], [str, 1]),
    (typing.Callable[[int], int], [len], [3]),
    (typing.Iterable[int], [[1], (1,), {}], [1, None, ["a"], {"a": 1}]),
    (Model, [Model()], [f32(3), None, "abc"]),
    (NewType("Weights", Float[Array, "n"]), [f32(3)], [f32()]),
    (Model | dict[str, int], [Model(), {"a": 1}], [{"a": "b"}, 3]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    TABLE,
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_a_type_accepts_its_values_and_refuses_others(annotation: Any, good: list[Any], bad: list[Any]):
    def fn(x: Any) -> None: ...

    fn.__annotations__["x"] = annotation
    fn.__annotations__["return"] = None
    # Static arguments would say what they are by their role; here each value is looked at as it is.
    plan = plan_of(fn)
    assert [value for value in good if not _fits(fn, plan, value)] == []
    assert [value for value in bad if _fits(fn, plan, value)] == []


def _fits(fn: Any, plan: Any, value: Any) -> bool:
    (param,) = plan.params
    hint = dataclasses.replace(param.hint, role=type(param.hint.role).AUTO)  # values as they are
    plan = dataclasses.replace(plan, params=(dataclasses.replace(param, hint=hint),))
    try:
        checked(fn, plan)(value)
    except ShapeError:
        return False
    return True


def test_a_tuple_of_unknown_length_is_a_tuple():
    kind = kind_of(tuple[int, *tuple[str, ...]])
    assert walk(kind, (1, "a", "b"), ("x",), RunTime()) is None
    assert walk(kind, [1, "a", "b"], ("x",), RunTime()) is not None


class Batch(NamedTuple):
    x: Float[Array, "b n"]
    y: Int[Array, "b"]
    name: str = ""


class Options(TypedDict, total=False):
    rate: Float[Array, ""]
    steps: int


def test_the_arrays_of_a_named_tuple_are_checked_and_bind():
    def fn(batch: Batch, w: Float[Array, "n"]) -> None: ...

    assert accepts(fn, Batch(f32(8, 3), i32(8)), f32(3))
    assert not accepts(fn, Batch(f32(8, 3), i32(7)), f32(3))
    assert not accepts(fn, Batch(f32(8, 3), i32(8)), f32(4))
    assert not accepts(fn, (f32(8, 3), i32(8)), f32(3))


def test_a_field_of_a_named_tuple_that_is_none_is_not_its_array():
    def fn(batch: Batch) -> None: ...

    assert not accepts(fn, Batch(f32(8, 3), None))


def test_the_arrays_of_a_typed_dict_are_checked_by_key():
    def fn(options: Options) -> None: ...

    assert accepts(fn, {"rate": f32()})
    assert accepts(fn, {})
    assert not accepts(fn, {"rate": f32(1)})
    assert not accepts(fn, [("rate", f32())])


def test_fields_of_model_classes_are_not_checked():
    def fn(model: Model) -> Model:
        return model

    ensemble = Model()
    ensemble.weight = f32(10, 3)
    assert accepts(fn, ensemble)


def test_structure_names_bind_across_arguments():
    def fn(x: PyTree[Float[Array, "..."], "T"], y: PyTree[Any, "T"]) -> None: ...

    assert accepts(fn, {"a": f32(3)}, {"a": "b"})
    assert not accepts(fn, {"a": f32(3)}, ["b"])


def test_variadic_dimensions_bind_and_broadcast():
    def fn(x: Float[Array, "*batch n"], y: Float[Array, "*#batch n"]) -> Float[Array, "*batch"]:
        return (x * y).sum(-1)

    assert accepts(fn, f32(5, 2, 3), f32(1, 2, 3))
    assert accepts(fn, f32(3), f32(3))
    assert not accepts(fn, f32(5, 2, 3), f32(4, 2, 3))
    assert not accepts(fn, f32(5, 2, 3), f32(5, 2, 4))


def test_a_computed_dimension_may_come_before_the_names_it_uses():
    def fn(x: Float[Array, "n+1"], y: Float[Array, "n"]) -> Float[Array, "2*n"]:
        return jnp.concatenate([y, y])

    assert accepts(fn, f32(4), f32(3))
    assert not accepts(fn, f32(3), f32(3))


def test_a_dimension_can_be_the_value_of_an_argument():
    def eye(n: int) -> Float[Array, "{n} {n}+1"]:
        return f32(n, n + 1)

    def wrong(n: int) -> Float[Array, "{n}"]:
        return f32(n + 1)

    assert accepts(eye, 3)
    assert not accepts(wrong, 3)


def test_half_a_failed_alternative_leaves_no_dimension_bound():
    def fn(
        pair: tuple[Float[Array, "a"], Float[Array, "a"]] | tuple[Float[Array, "c"], Float[Array, "a"]],
        x: Float[Array, "a"],
    ) -> None: ...

    assert accepts(fn, (f32(2), f32(3)), f32(3))
    assert accepts(fn, (f32(2), f32(2)), f32(2))
    assert not accepts(fn, (f32(2), f32(3)), f32(2))


def test_an_alternative_must_agree_with_what_is_bound():
    def fn(n: Float[Array, "n"], x: list[Float[Array, "n"]] | list[Float[Array, "n+1"]]) -> None: ...

    assert accepts(fn, f32(3), [f32(4), f32(4)])
    assert not accepts(fn, f32(3), [f32(3), f32(4)])


def test_half_an_alternative_that_disagrees_with_what_is_bound_leaves_nothing_bound():
    def fn(
        n: Float[Array, "n"],
        pair: tuple[Float[Array, "a"], Float[Array, "n"]] | tuple[Float[Array, "b"], Float[Array, "c"]],
        x: Float[Array, "a"],
    ) -> None: ...

    assert accepts(fn, f32(5), (f32(2), f32(3)), f32(7))
    assert not accepts(fn, f32(5), (f32(2), f32(5)), f32(7))


def test_variadic_arguments_are_checked_one_by_one():
    def fn(*xs: Float[Array, "n"], **scales: float) -> None: ...

    assert accepts(fn, f32(3), f32(3), a=1.0, b=2)
    assert not accepts(fn, f32(3), f32(4))
    assert not accepts(fn, f32(3), a="x")


def test_positional_only_and_keyword_only_arguments_are_checked():
    def fn(x: Float[Array, "n"], /, *, y: Float[Array, "n"]) -> None: ...

    assert accepts(fn, f32(3), y=f32(3))
    assert not accepts(fn, f32(3), y=f32(4))


def test_a_name_that_is_positional_only_may_be_a_keyword_of_the_rest():
    def fn(x: Float[Array, "n"], /, **rest: int) -> None: ...

    assert accepts(fn, f32(3), x=3)
    assert not accepts(fn, f32(3), x="a")


def test_a_default_is_not_checked():
    def fn(x: Float[Array, "n"] = None) -> None: ...  # as many people write it

    assert accepts(fn)
    assert accepts(fn, None)
    assert not accepts(fn, "a")


def test_a_wrong_number_of_arguments_is_pythons_own_error():
    with pytest.raises(TypeError, match="positional argument") as e:
        body(predict)(f32(4, 2), f32(8, 4), f32(1))
    assert not isinstance(e.value, ShapeError)


def test_methods_and_partials_are_checked():
    class Layer:
        def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x

        def half(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x[: len(x) // 2]

    layer = Layer()
    assert body(layer.__call__)(f32(3)).shape == (3,)
    assert body(layer)(f32(3)).shape == (3,)
    for fn, x in ((layer, f32(2, 2)), (layer.half, f32(4)), (functools.partial(layer.half), f32(4))):
        with pytest.raises(ShapeError):
            body(fn)(x)


# ------------------------------------------------------------------------------------------- scalars


def test_a_traced_float_is_a_number_or_a_scalar_array():
    def fn(x: Traced[float]) -> None: ...

    for good in (1.0, 1, True, f32(), i32(), jnp.bfloat16(1), np.float32(1.0), np.zeros(())):
        assert accepts(fn, good), good
    for bad in (f32(1), jnp.complex64(1), "a", None, [1.0]):
        assert not accepts(fn, bad), bad
    jax.jit(body(fn))(0.1)


def test_a_traced_number_has_a_fitting_dtype():
    def i(x: Traced[int]) -> None: ...
    def b(x: Traced[bool]) -> None: ...
    def c(x: Traced[complex]) -> None: ...

    assert accepts(i, 3)
    assert accepts(i, i32())
    assert not accepts(i, f32())
    assert not accepts(i, 1.0)
    assert accepts(b, True)
    assert not accepts(b, i32())
    assert accepts(c, 1j)
    assert accepts(c, f32())


def test_traced_reaches_into_containers():
    def fn(x: Traced[dict[str, float]], y: Traced[float | None] = None) -> None: ...

    assert accepts(fn, {"a": 1.0, "b": f32()}, 2.0)
    assert not accepts(fn, {"a": f32(1)})
    assert not accepts(fn, {}, "a")


def test_a_traced_number_is_an_array_with_and_without_jit():
    def fn(x: Traced[float]) -> Float[Array, ""]:
        return x.astype(jnp.float32)

    assert jax.jit(body(fn))(1.0) == body(fn)(1.0) == 1.0


def test_a_number_for_an_array_is_an_array_with_and_without_jit():
    def fn(x: Float[Array, ""], y: tuple[Float[Array, "n"], Array]) -> Float[Array, "n"]:
        assert isinstance(x, Array)
        assert isinstance(y[0], Array)
        return x * y[0]

    args: Any = (2.0, (np.ones(3), 1))
    np.testing.assert_array_equal(jax.jit(body(fn))(*args), body(fn)(*args))


def test_a_number_keeps_its_weak_type():
    def fn(x: Traced[float]) -> Array:
        return x * jnp.ones(2, jnp.bfloat16)

    assert body(fn)(2.0).dtype == jax.jit(body(fn))(2.0).dtype == jnp.bfloat16


def test_canonical_arguments_do_not_depend_on_the_checks():
    def fn(x: Float[Array, ""]) -> Float[Array, ""]:
        return x.astype(jnp.float32)

    with checking(False):
        assert body(fn)(1.0) == 1.0


def test_a_numpy_array_stays_one_where_numpy_is_annotated():
    def fn(x: Float[np.ndarray, "n"]) -> None:
        assert isinstance(x, np.ndarray)

    assert accepts(fn, np.zeros(3))


@pytest.mark.parametrize("number", [2.0, np.float32(2), f32() + 2])
def test_a_static_number_may_be_an_array_wherever_a_tracer_may(number):
    def fn(x: float, n: Static[int] = 1) -> float:
        return x * 2

    for transform in (
        filter_checkpoint(fn),
        filter_vmap(fn, axis_size=3, out_axes=None),
        lambda x: filter_closure_convert(fn, x)(x),
        lambda x: filter_vjp(fn, x)[0],
    ):
        assert transform(number) == jax.jit(transform)(number) == 4.0
        with jax.disable_jit():
            assert jax.jit(transform)(number) == 4.0
        for wrong in (f32(3, 2), jnp.complex64(1)):
            with pytest.raises(ShapeError):
                transform(wrong)
            with pytest.raises(ShapeError):
                jax.jit(transform)(wrong)


def test_a_static_number_is_not_an_array_unless_somebody_traced_it():
    def fn(x: float) -> None: ...

    assert not accepts(fn, f32())
    jax.jit(body(fn))(1.0)
    with pytest.raises(ShapeError):
        jax.jit(body(fn))(f32(2))


def test_a_returned_number_may_be_a_scalar_array():
    def fn(x: Traced[float]) -> float:
        return x * 2

    def wrong(x: Traced[float]) -> float:
        return x * jnp.ones(2)  # type: ignore[return-value]  # that is the point

    assert jax.jit(body(fn))(1.0) == body(fn)(1.0) == 2.0
    assert not accepts(wrong, 1.0)


# ---------------------------------------------------------------------------- where nothing is checked


class Runnable(Protocol):
    def run(self) -> None: ...


def _nothing(a, b: Any, c: object, d: T, e: PyTree, f: Runnable, g: NotHere, *h: Any, **i: Any) -> T:
    return d


def test_a_function_of_which_nothing_can_be_asked_is_not_wrapped():
    def unannotated(x, y=3): ...

    assert body(unannotated) is unannotated
    assert body(_nothing) is _nothing
    assert body(len) is len


def test_what_jaxtyped_has_wrapped_is_not_wrapped_again():
    @jaxtyped(typechecker=beartype)
    def new(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x

    with pytest.warns(UserWarning, match="old double-decorator"):
        old = jaxtyped(beartype(lambda x: x))

    @functools.wraps(new)
    def logged(*args: Any) -> Any:
        return new(*args)

    class Layer:
        @jaxtyped(typechecker=beartype)
        def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x

    layer = Layer()
    for fn in (new, old, logged, functools.partial(new), layer, layer.__call__, functools.partial(layer)):
        assert body(fn) is fn


def test_what_no_type_check_marks_is_not_wrapped():
    @typing.no_type_check
    def fn(x: Float[Array, "n"]) -> None: ...

    assert checked(fn, plan_of(predict)) is fn


@pytest.mark.parametrize("transform", [jax.vmap, jax.grad, jax.jit, jax.checkpoint])
def test_what_jax_has_wrapped_is_not_wrapped(transform: Any):
    # The annotations that are seen through jax.vmap(f) are those of f; the arguments are batches.
    fn = transform(predict)
    assert body(fn) is fn


def test_of_what_a_decorator_of_the_users_is_given_its_function_says_nothing():
    @functools.wraps(predict)
    def batched(*args: Any, **kwargs: Any) -> Any:
        return jax.vmap(predict)(*args, **kwargs)

    assert body(batched) is batched


def test_a_checked_function_is_not_wrapped_again():
    fn = body(predict)
    assert body(fn) is fn


def test_an_alternative_that_takes_anything_makes_the_union_take_anything():
    def fn(x: int | Any) -> None: ...

    assert accepts(fn, "a")


# ------------------------------------------------------------------------------------- switching it off


@pytest.mark.parametrize("value", ["off", "OFF", "0", "false", " False ", "no"])
def test_the_environment_variable_turns_checks_off(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("TYPEDFILTER_CHECK", value)
    assert check_mode() is Mode.OFF
    assert accepts(lambda x: x, "a")

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x

    assert body(fn)(f32(2, 2)).shape == (2, 2)


@pytest.mark.parametrize("value", ["on", "1", "true", ""])
def test_other_values_of_the_environment_variable_leave_them_on(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("TYPEDFILTER_CHECK", value)
    assert check_mode() is Mode.RAISE
    assert not accepts(predict, f32(4, 2), f32(8, 5))


def test_checks_off_covers_what_is_called_inside_and_ends():
    fn = body(predict)
    assert check_mode() is Mode.RAISE
    with checking(False):
        assert check_mode() is Mode.OFF
        with checking(False):
            pass
        assert check_mode() is Mode.OFF
        with pytest.raises(TypeError, match="dot_general"):
            fn(f32(4, 2), f32(8, 5))
    with pytest.raises(ShapeError):
        fn(f32(4, 2), f32(8, 5))


def test_checks_leave_no_trace_in_the_program():
    def fn(
        w: Float[Array, "n m"], batch: tuple[Float[Array, "b n"], Int[Array, "b"]], lr: Traced[float]
    ) -> Any:
        return lr * (batch[0] @ w).sum() + batch[1].sum()

    args: Any = (f32(4, 2), (f32(8, 4), i32(8)), 0.1)
    assert str(jax.make_jaxpr(body(fn))(*args)) == str(jax.make_jaxpr(fn)(*args))
    assert jax.jit(body(fn)).lower(*args).as_text() == jax.jit(fn).lower(*args).as_text()


# ------------------------------------------------------------------------------------------ exceptions


def test_the_users_exception_passes_unchanged():
    error = ValueError("mine")

    def fn(x: Float[Array, "n"]) -> None:
        raise error

    with pytest.raises(ValueError, match="mine") as e:
        body(fn)(f32(3))
    assert e.value is error
    assert not hasattr(error, "__notes__")
    assert error.__context__ is None


def test_the_users_exception_passes_unchanged_where_a_dimension_is_an_argument():
    error = ValueError("mine")

    def fn(n: int) -> Float[Array, "{n}"]:
        raise error

    with pytest.raises(ValueError, match="mine") as e:
        body(fn)(3)
    assert e.value is error
    assert not hasattr(error, "__notes__")


def test_a_type_error_of_an_inner_jaxtyped_function_passes_unchanged():
    @jaxtyped(typechecker=beartype)
    def inner(x: Int[Array, "n"]) -> None: ...

    def fn(x: Float[Array, "n"]) -> None:
        inner(x)

    with pytest.raises(jaxtyping.TypeCheckError):
        body(fn)(f32(3))


def test_a_dimension_that_nobody_binds_is_an_annotation_error():
    def fn(x: Float[Array, "n+k"], y: Float[Array, "n"]) -> None: ...

    with pytest.raises(AnnotationError, match="argument `x`"):
        body(fn)(f32(3), f32(3))
    assert accepts(predict, f32(4, 2), f32(8, 4))


# ---------------------------------------------------------------------------------------- the callable


def test_the_callable_looks_like_the_function():
    fn: Any = body(predict)
    assert fn.__name__ == "predict"
    assert fn.__wrapped__ is predict


def test_two_of_the_same_function_are_traced_once():
    traces = []

    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        traces.append(1)
        return x

    first, second = body(fn), body(fn)
    assert first == second
    assert hash(first) == hash(second)
    assert first != body(predict)
    jax.jit(first)(f32(3))
    jax.jit(second)(f32(3))
    assert len(traces) == 1


def test_two_of_the_same_method_are_equal():
    class Layer:
        def __call__(self, x: Float[Array, "n"]) -> None: ...

    one, other = Layer(), Layer()
    assert body(one.__call__) == body(one.__call__)
    assert hash(body(one.__call__)) == hash(body(one.__call__))
    assert body(one.__call__) != body(other.__call__)


def test_the_callable_pickles_and_copies():
    for again in (pickle.loads(pickle.dumps(body(predict))), copy.deepcopy(body(predict))):
        assert again == body(predict)
        with pytest.raises(ShapeError):
            again(f32(4, 2), f32(8, 5))


def test_static_arguments_are_checked_as_what_they_are():
    def fn(n: Static[int], names: Static[tuple[str, ...]] = ()) -> None: ...

    assert accepts(fn, 3, ("a", "b"))
    assert not accepts(fn, "3")
    assert not accepts(fn, 3, ("a", 1))


@pytest.mark.parametrize("module", ["jax.api", "equinox._jit", "flax.nnx.transforms", "mine"])
def test_a_function_that_a_library_has_wrapped_is_not_taken_for_a_body(module):
    def body(x: Float[Array, "n"]): ...

    library: dict[str, Any] = {"__name__": module, "body": body}
    exec("def wrapper(x):\n    return body(x)", library)
    wrapper = functools.update_wrapper(library["wrapper"], body)
    assert checked(wrapper, plan_of(wrapper)) is wrapper
