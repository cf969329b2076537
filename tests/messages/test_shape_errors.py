"""The whole text of every `ShapeError` that the check at the body can raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import f32, i32
from jax import Array
from jaxtyping import Bool, Complex64, Float, Float32, Float64, Int, Key, PyTree, Shaped
from refusals import lines

from typedfilter._reading.plan import plan_of
from typedfilter._shapes.check import checked
from typedfilter.annotations import Donate, Traced
from typedfilter.errors import AnnotationError, ShapeError


def text(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ShapeError) as e:
        checked(fn, plan_of(fn))(*args, **kwargs)
    return str(e.value)


def predict(w: Float[Array, "n m"], x: Float[Array, "b n"]) -> Float[Array, "b m"]:
    return x @ w


def test_a_dimension_that_disagrees_names_who_bound_it():
    assert text(predict, f32(4, 2), f32(8, 5)) == lines(
        "predict(): argument `x` is f32[8,5], but Float[Array, 'b n'] needs n=4, bound by `w`",
        "expected: Float[Array, 'b n'] with n=4",
        "found: f32[8,5]",
        "fix: make axis 1 of `x` 4 long, or rename the dimension in one of the annotations",
    )


def test_a_tracer_is_named_like_an_array():
    def traced(w: Array, x: Array) -> str:
        return text(predict, w, x)

    seen: list[str] = []
    jax.eval_shape(lambda w, x: seen.append(traced(w, x)), f32(4, 2), f32(8, 5))
    assert seen == [text(predict, f32(4, 2), f32(8, 5))]


def test_the_fields_hold_the_facts():
    with pytest.raises(ShapeError) as e:
        checked(predict, plan_of(predict))(f32(4, 2), f32(8, 5))
    assert e.value.problem == "is f32[8,5], but Float[Array, 'b n'] needs n=4, bound by `w`"
    assert e.value.fields == {
        "function": "predict",
        "parameter": "x",
        "expected": "Float[Array, 'b n'] with n=4",
        "actual": "f32[8,5]",
        "fix": "make axis 1 of `x` 4 long, or rename the dimension in one of the annotations",
    }


def square(x: Float[Array, "n n"]) -> Float[Array, ""]:
    return x


def test_a_dimension_may_disagree_within_one_argument():
    assert text(square, f32(2, 3)) == lines(
        "square(): argument `x` is f32[2,3], but Float[Array, 'n n'] needs n=2, bound by its own axis 0",
        "expected: Float[Array, 'n n'] with n=2",
        "found: f32[2,3]",
        "fix: make axis 1 of `x` 2 long, or rename the dimension in one of the annotations",
    )


def test_a_wrong_rank_says_how_many_axes():
    assert text(predict, f32(4, 2), f32(4)) == lines(
        "predict(): argument `x` is f32[4], but Float[Array, 'b n'] needs 2 axes",
        "expected: Float[Array, 'b n']",
        "found: f32[4]",
        "fix: pass an array with 2 axes; under filter_vmap, annotate one example, without the mapped axis",
    )


def test_a_return_that_is_no_scalar():
    assert text(square, f32(3, 3)) == lines(
        "square(): the return value is f32[3,3], but Float[Array, ''] needs a scalar",
        "expected: Float[Array, '']",
        "found: f32[3,3]",
        "fix: return a scalar",
    )


def test_a_wrong_dtype_says_which_and_how_to_convert():
    assert text(predict, f32(4, 2), i32(8, 4)) == lines(
        "predict(): argument `x` is i32[8,4], but Float[Array, 'b n'] needs dtype Float",
        "expected: Float[Array, 'b n'], of dtype bfloat16 or float16 or float32 or float64",
        "found: i32[8,4]",
        "fix: convert it: x.astype(jnp.float32)",
    )


def test_a_dtype_of_one_width():
    def fn(x: Float32[Array, "n"]) -> None: ...

    fn.__qualname__ = "fn"
    assert text(fn, jnp.zeros(3, jnp.bfloat16)) == lines(
        "fn(): argument `x` is bf16[3], but Float32[Array, 'n'] needs dtype Float32",
        "expected: Float32[Array, 'n']",
        "found: bf16[3]",
        "fix: convert it: x.astype(jnp.float32)",
    )


def test_a_dtype_that_needs_64_bits():
    def fn(x: Float64[Array, "n"]) -> None: ...

    fn.__qualname__ = "fn"
    assert text(fn, f32(3)) == lines(
        "fn(): argument `x` is f32[3], but Float64[Array, 'n'] needs dtype Float64",
        "expected: Float64[Array, 'n']",
        "found: f32[3]",
        "fix: 64-bit types need jax.config.update('jax_enable_x64', True), or annotate a 32-bit type",
    )


def test_a_dtype_of_complex_numbers():
    def fn(x: Complex64[Array, ""], mask: Bool[Array, ""] | None = None) -> None: ...

    fn.__qualname__ = "fn"
    assert text(fn, f32()) == lines(
        "fn(): argument `x` is f32[], but Complex64[Array, ''] needs dtype Complex64",
        "expected: Complex64[Array, '']",
        "found: f32[]",
        "fix: convert it: x.astype(jnp.complex64)",
    )
    assert text(fn, jnp.complex64(0), jnp.uint8(0)) == lines(
        "fn(): argument `mask` is u8[], but Bool[Array, ''] | None needs dtype Bool",
        "expected: Bool[Array, ''] | None",
        "found: u8[]",
        "fix: convert it: mask.astype(jnp.bool_)",
    )


def test_a_key_that_is_none():
    def fn(key: Key[Array, ""]) -> None: ...

    fn.__qualname__ = "fn"
    assert text(fn, f32()) == lines(
        "fn(): argument `key` is f32[], but Key[Array, ''] needs dtype Key",
        "expected: Key[Array, '']",
        "found: f32[]",
        "fix: pass a key made by jax.random.key",
    )


def test_a_string_where_an_array_is_annotated():
    assert text(predict, f32(4, 2), "abc") == lines(
        "predict(): argument `x` is a str, but Float[Array, 'b n'] needs an array",
        "expected: Float[Array, 'b n']",
        "found: 'abc'",
        "fix: pass an array",
    )


def test_none_where_an_array_is_annotated():
    assert text(predict, f32(4, 2), None) == lines(
        "predict(): argument `x` is None, but Float[Array, 'b n'] needs an array",
        "expected: Float[Array, 'b n']",
        "found: None",
        "fix: pass an array, or add `| None` to the annotation",
    )


def test_a_list_where_an_array_is_annotated():
    assert text(predict, f32(4, 2), [1.0, 2.0]) == lines(
        "predict(): argument `x` is a list of 2, but Float[Array, 'b n'] needs an array",
        "expected: Float[Array, 'b n']",
        "found: a list of 2",
        "fix: convert it: jnp.asarray(x)",
    )


def test_something_else_where_any_array_is_annotated():
    def fn(x: Array) -> Array:
        return None  # type: ignore[return-value]  # that is the point

    fn.__qualname__ = "fn"
    assert text(fn, len) == lines(
        "fn(): argument `x` is a builtin_function_or_method, but Array needs an array",
        "expected: Array",
        "found: a builtin_function_or_method",
        "fix: pass an array",
    )
    assert text(fn, f32()) == lines(
        "fn(): the return value is None, but Array needs an array",
        "expected: Array",
        "found: None",
        "fix: return an array, or add `| None` to the annotation",
    )


def test_a_numpy_array_that_is_returned():
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return np.zeros(3, np.float32)  # type: ignore[return-value]  # that is the point

    fn.__qualname__ = "fn"
    assert text(fn, f32(3)) == lines(
        "fn(): the return value is numpy f32[3], but Float[Array, 'n'] needs a jax.Array",
        "expected: Float[Array, 'n']",
        "found: numpy f32[3]",
        "fix: convert it: jnp.asarray(result)",
    )


def configure(
    n: int,
    mode: Literal["a", "b"] = "a",
    act: Callable[[Array], Array] = jnp.tanh,
    *sizes: int,
    **options: str,
) -> int:
    return "many"  # type: ignore[return-value]  # that is the point


def test_a_wrong_plain_type():
    assert text(configure, "abc") == lines(
        "configure(): argument `n` is a str, but int is expected",
        "expected: int",
        "found: 'abc'",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_a_numpy_number_is_no_int():
    assert text(configure, np.int64(3)) == lines(
        "configure(): argument `n` is a numpy int64, but int is expected",
        "expected: int",
        "found: np.int64(3)",
        "fix: pass int(n), or annotate Traced[int] if it may be traced",
    )


def test_an_array_where_a_number_is_annotated():
    assert text(configure, i32()) == lines(
        "configure(): argument `n` is i32[], but int is expected",
        "expected: int",
        "found: i32[]",
        "fix: pass int(n), or annotate Traced[int] if it may be traced",
    )


def test_a_wrong_literal():
    assert text(configure, 3, "c") == lines(
        "configure(): argument `mode` is a str, but Literal['a', 'b'] is expected",
        "expected: 'a' or 'b'",
        "found: 'c'",
        "fix: pass one of these, or correct the annotation",
    )


def test_a_number_where_a_function_is_annotated():
    assert text(configure, 3, "a", 1.5) == lines(
        "configure(): argument `act` is a float, but Callable[[Array], Array] is expected",
        "expected: Callable[[Array], Array]",
        "found: 1.5",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_one_of_many_positional_arguments():
    assert text(configure, 3, "a", jnp.tanh, 1, 2.5) == lines(
        "configure(): argument `sizes[1]` is a float, but int is expected",
        "expected: int",
        "found: 2.5",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_one_of_many_keyword_arguments():
    assert text(configure, 3, good="a", bad=b"x" * 100) == lines(
        "configure(): argument `bad` is a bytes, but str is expected",
        "expected: str",
        "found: b'" + "x" * 58 + "...",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_a_wrong_plain_return():
    assert text(configure, 3) == lines(
        "configure(): the return value is a str, but int is expected",
        "expected: int",
        "found: 'many'",
        "fix: return a value of this type, or correct the annotation",
    )


def train(xs: dict[str, Float[Array, "n"]], batch: tuple[Float[Array, "b n"], Int[Array, "b"]]) -> list[Any]:
    return [(xs, {"loss": xs})]


def test_an_element_of_a_dictionary():
    assert text(train, {"a": f32(2), "b": f32(3)}, (f32(8, 2), i32(8))) == lines(
        'train(): argument `xs["b"]` is f32[3], but Float[Array, \'n\'] needs n=2, bound by `xs["a"]`',
        "expected: Float[Array, 'n'] with n=2",
        "found: f32[3]",
        'fix: make axis 0 of `xs["b"]` 2 long, or rename the dimension in one of the annotations',
    )


def test_an_element_of_a_tuple():
    assert text(train, {}, (f32(8, 2), i32(7))) == lines(
        "train(): argument `batch[1]` is i32[7], but Int[Array, 'b'] needs b=8, bound by `batch[0]`",
        "expected: Int[Array, 'b'] with b=8",
        "found: i32[7]",
        "fix: make axis 0 of `batch[1]` 8 long, or rename the dimension in one of the annotations",
    )


def test_a_key_of_a_dictionary():
    assert text(train, {3: f32(2)}, (f32(8, 2), i32(8))) == lines(
        "train(): argument `xs.keys()` is an int, but str is expected",
        "expected: str",
        "found: 3",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_a_tuple_of_another_length():
    assert text(train, {}, (f32(8, 2),)) == lines(
        "train(): argument `batch` is a tuple of 1, but tuple[Float[Array, 'b n'], Int[Array, 'b']] "
        "needs 2 elements",
        "expected: tuple[Float[Array, 'b n'], Int[Array, 'b']]",
        "found: a tuple of 1",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_another_container():
    assert text(train, [f32(2)], (f32(8, 2), i32(8))) == lines(
        "train(): argument `xs` is a list of 1, but dict[str, Float[Array, 'n']] is expected",
        "expected: dict[str, Float[Array, 'n']]",
        "found: a list of 1",
        "fix: pass a value of this type, or correct the annotation",
    )


def evaluate(x: Float[Array, "n"]) -> tuple[Float[Array, ""], dict[str, Int[Array, "n"]]]:
    return x.sum(), {"hits": x}


def test_an_element_of_the_return():
    assert text(evaluate, f32(3)) == lines(
        "evaluate(): the return value is f32[3] at `[1][\"hits\"]`, but Int[Array, 'n'] needs dtype Int",
        "expected: Int[Array, 'n'], of dtype int8 or int16 or int32 or int64",
        "found: f32[3]",
        "fix: convert it: result.astype(jnp.int32)",
    )


class Batch(NamedTuple):
    x: Float[Array, "b n"]
    y: Int[Array, "b"]


class Options(TypedDict):
    rate: Float[Array, ""]


def step(batch: Batch, options: Options) -> None: ...


def test_a_field_of_a_named_tuple():
    assert text(step, Batch(f32(8, 2), i32(7)), {}) == lines(
        "step(): argument `batch.y` is i32[7], but Int[Array, 'b'] needs b=8, bound by `batch.x`",
        "expected: Int[Array, 'b'] with b=8",
        "found: i32[7]",
        "fix: make axis 0 of `batch.y` 8 long, or rename the dimension in one of the annotations",
    )


def test_another_class():
    assert text(step, (f32(8, 2), i32(8)), {}) == lines(
        "step(): argument `batch` is a tuple of 2, but Batch is expected",
        "expected: Batch",
        "found: a tuple of 2",
        "fix: pass a value of this type, or correct the annotation",
    )


def test_a_key_of_a_typed_dictionary():
    assert text(step, Batch(f32(8, 2), i32(8)), {"rate": f32(1)}) == lines(
        "step(): argument `options[\"rate\"]` is f32[1], but Float[Array, ''] needs a scalar",
        "expected: Float[Array, '']",
        "found: f32[1]",
        "fix: pass a scalar; under filter_vmap, annotate one example, without the mapped axis",
    )


def grow(x: Float[Array, "n"]) -> Float[Array, "2*n+1"]:
    return x


def test_a_computed_dimension():
    assert text(grow, f32(3)) == lines(
        "grow(): the return value is f32[3], but Float[Array, '2*n+1'] needs 2*n+1 = 7 on axis 0, "
        "with n=3, bound by `x`",
        "expected: Float[Array, '2*n+1'] with n=3",
        "found: f32[3]",
        "fix: make axis 0 of the result 7 long, or write another size than `2*n+1` in the annotation",
    )


def eye(n: int) -> Float[Array, "{n} n=4"]:
    return f32(3, 5)


def test_a_dimension_that_is_the_value_of_an_argument():
    assert text(eye, 2) == lines(
        "eye(): the return value is f32[3,5], but Float[Array, '{n} n=4'] needs {n} = 2 on axis 0",
        "expected: Float[Array, '{n} n=4'] with {n}=2",
        "found: f32[3,5]",
        "fix: make axis 0 of the result 2 long, or write another size than `{n}` in the annotation",
    )


def test_a_fixed_dimension():
    assert text(eye, 3) == lines(
        "eye(): the return value is f32[3,5], but Float[Array, '{n} n=4'] needs n=4 on axis 1",
        "expected: Float[Array, '{n} n=4']",
        "found: f32[3,5]",
        "fix: make axis 1 of the result 4 long, or write another size than `n=4` in the annotation",
    )


def scale(x: Float[Array, "*batch n"], y: Float[Array, "*batch m"], z: Float[Array, "#n 3"]) -> None: ...


def test_a_variadic_dimension():
    assert text(scale, f32(5, 2, 4), f32(5, 3, 4), f32(4, 3)) == lines(
        "scale(): argument `y` is f32[5,3,4], but Float[Array, '*batch m'] needs *batch=(5,2), bound by `x`",
        "expected: Float[Array, '*batch m'] with batch=(5,2)",
        "found: f32[5,3,4]",
        "fix: correct the axes from 0 of `y`, or rename the dimension in one of the annotations",
    )


def test_too_few_axes_for_a_variadic_dimension():
    assert text(scale, f32(), f32(3), f32(4, 3)) == lines(
        "scale(): argument `x` is f32[], but Float[Array, '*batch n'] needs at least 1 axis",
        "expected: Float[Array, '*batch n']",
        "found: f32[]",
        "fix: pass an array with at least 1 axis; under filter_vmap, annotate one example, "
        "without the mapped axis",
    )


def test_a_dimension_that_may_broadcast():
    assert text(scale, f32(5, 4), f32(5, 2), f32(3, 3)) == lines(
        "scale(): argument `z` is f32[3,3], but Float[Array, '#n 3'] needs n=4 (or 1), bound by `x`",
        "expected: Float[Array, '#n 3'] with n=4",
        "found: f32[3,3]",
        "fix: make axis 0 of `z` 4 long, or rename the dimension in one of the annotations",
    )


def spread(x: Float[Array, "#n"], y: Float[Array, "n"], z: Float[Array, "n"]) -> None: ...


def test_an_axis_that_broadcasts_has_bound_nothing():
    assert text(spread, f32(1), f32(4), f32(5)) == lines(
        "spread(): argument `z` is f32[5], but Float[Array, 'n'] needs n=4, bound by `y`",
        "expected: Float[Array, 'n'] with n=4",
        "found: f32[5]",
        "fix: make axis 0 of `z` 4 long, or rename the dimension in one of the annotations",
    )


def bound_in_body(x: Float[Array, "n"]) -> Float[Array, "k"]:
    assert isinstance(f32(5), Float[Array, "k"])
    return x


def test_a_dimension_that_the_body_bound():
    assert text(bound_in_body, f32(3)) == lines(
        "bound_in_body(): the return value is f32[3], but Float[Array, 'k'] needs k as the body bound it",
        "expected: Float[Array, 'k']",
        "found: f32[3]",
        "fix: correct axis 0 of the result, or write another size than `k` in the annotation",
    )


def either(x: Float[Array, "n"] | Int[Array, "a b"] | list[int]) -> None: ...


def test_a_union_lists_its_alternatives():
    assert text(either, f32(2, 3)) == lines(
        "either(): argument `x` is f32[2,3], but Float[Array, 'n'] | Int[Array, 'a b'] | list[int] "
        "takes no such value",
        "expected: Float[Array, 'n'] (needs 1 axis) or Int[Array, 'a b'] (needs dtype Int) "
        "or list[int] (is expected)",
        "found: f32[2,3]",
        "fix: pass a value that fits one of them",
    )


def test_a_union_blames_the_alternative_that_was_meant():
    assert text(either, [1, "a"]) == lines(
        "either(): argument `x[1]` is a str, but int is expected",
        "expected: int",
        "found: 'a'",
        "fix: pass a value of this type, or correct the annotation",
    )


def maybe(x: Donate[Float[Array, "n"] | None]) -> None: ...


def test_an_optional_is_about_its_type_and_shown_as_written():
    assert text(maybe, f32(2, 3)) == lines(
        "maybe(): argument `x` is f32[2,3], but Donate[Float[Array, 'n'] | None] needs 1 axis",
        "expected: Donate[Float[Array, 'n'] | None]",
        "found: f32[2,3]",
        "fix: pass an array with 1 axis; under filter_vmap, annotate one example, without the mapped axis",
    )


T = TypeVar("T")  # for type checkers, to which the name of a tree structure is a forward reference


def walk(x: PyTree[Float[Array, "n"], "T"], y: PyTree[Shaped[Array, "n"], "T"]) -> None: ...


def test_a_leaf_of_a_pytree():
    assert text(walk, {"a": [f32(3), f32(4)]}, None) == lines(
        'walk(): argument `x["a"][1]` is f32[4], but Float[Array, \'n\'] needs n=3, bound by `x["a"][0]`',
        "expected: Float[Array, 'n'] with n=3",
        "found: f32[4]",
        'fix: make axis 0 of `x["a"][1]` 3 long, or rename the dimension in one of the annotations',
    )


def test_a_pytree_of_another_structure():
    assert text(walk, {"a": f32(3)}, [f32(3)]) == lines(
        "walk(): argument `y` is a list of 1, but PyTree[Shaped[Array, 'n'], 'T'] "
        "needs the tree structure T={'a': *}, bound by `x`; its own is [*]",
        "expected: PyTree[Shaped[Array, 'n'], 'T'] with T={'a': *}",
        "found: a list of 1",
        "fix: pass a tree of that structure, or rename it in one of the annotations",
    )


def learn(rate: Traced[float], count: Traced[int] = 0) -> float:
    return rate * jnp.ones(3)  # type: ignore[return-value]  # that is the point


def test_an_array_where_a_traced_number_is_annotated():
    assert text(learn, f32(3)) == lines(
        "learn(): argument `rate` is f32[3], but Traced[float] needs a scalar",
        "expected: Traced[float]",
        "found: f32[3]",
        "fix: pass one number, or annotate an array",
    )


def test_a_traced_number_of_another_kind():
    assert text(learn, 1.0, 2.5) == lines(
        "learn(): argument `count` is f32[], but Traced[int] needs a scalar of type int",
        "expected: Traced[int]",
        "found: f32[]",
        "fix: convert it to int, or correct the annotation",
    )


def test_a_returned_number_that_is_an_array():
    assert text(learn, 1.0) == lines(
        "learn(): the return value is f32[3], but float needs a scalar",
        "expected: float",
        "found: f32[3]",
        "fix: return one number, or annotate an array",
    )


def unbound(x: Float[Array, "n+k"], n: Float[Array, "n"]) -> None: ...


def test_a_name_that_nobody_binds():
    with pytest.raises(AnnotationError) as e:
        checked(unbound, plan_of(unbound))(f32(3), f32(3))
    assert str(e.value) == lines(
        "unbound(): argument `x` is annotated Float[Array, 'n+k'], but no argument binds `k`",
        "fix: use `k` alone in another argument, or write the size out",
    )


def lost(x: Float[Array, "?n"]) -> None: ...


def test_a_dimension_that_jaxtyping_cannot_evaluate():
    with pytest.raises(AnnotationError) as e:
        checked(lost, plan_of(lost))(f32(3))
    assert str(e.value) == lines(
        "lost(): argument `x` is annotated Float[Array, '?n'], but jaxtyping can't evaluate it",
        "found: Cannot use `?` annotations, e.g. `Shaped[Array, '?foo']`, except when contained with "
        "structured `PyTree` annotations, e.g. `PyTree[Shaped[Array, '?foo'], 'T']`.",
        "fix: correct the annotation",
    )
