"""`check_shapes`, `example` and the report."""

from __future__ import annotations

import dataclasses
import types

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, Int

import typedfilter
from typedfilter import filter_grad, filter_jit, filter_vmap
from typedfilter.check import Report, Result, Unreadable, check_shapes, example
from typedfilter.pytree import pytree_dataclass


@pytree_dataclass
class Linear:
    weight: Float[Array, "i o"]

    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return x @ self.weight

    def wrong(self, x: Float[Array, "i"]) -> Float[Array, "i"]:
        return x @ self.weight

    @filter_jit
    def jitted(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return x @ self.weight


def sound(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return 2 * x


def wrong(x: Float[Array, "n"]) -> Float[Array, ""]:
    return 2 * x


def test_a_function_is_judged_by_its_status():
    assert check_shapes(sound).status == "proved"
    assert check_shapes(sound).ok
    assert check_shapes(wrong).status == "failed"
    assert not check_shapes(wrong).ok


def test_a_local_function_is_judged():
    def local(x: Float[Array, "n"]) -> Float[Array, "n+1"]:
        return jnp.append(x, 0)

    assert check_shapes(local).status == "proved"


def test_transformed_functions_are_judged():
    assert check_shapes(filter_jit(filter_vmap(sound))).status == "proved"
    assert check_shapes(filter_jit(filter_vmap(wrong))).status == "failed"
    assert check_shapes(filter_jit(filter_vmap(in_axes=None)(sound))).status == "failed"


def test_a_class_is_its_methods():
    report = check_shapes(Linear)
    assert [(r.function, r.status) for r in report] == [
        ("Linear.__call__", "proved"),
        ("Linear.wrong", "failed"),
        ("Linear.jitted", "proved"),
    ]
    assert report.status == "failed"


def test_a_method_of_a_class_gets_a_self_of_its_fields():
    assert check_shapes(Linear.__call__).status == "proved"
    assert check_shapes(Linear.wrong).status == "failed"


def test_a_bound_method_and_a_callable_object_keep_the_self_that_they_have():
    model = Linear(jnp.zeros((3, 4)))
    for target in (model, model.__call__, model.jitted):
        (result,) = check_shapes(target)
        assert (result.status, result.message) == ("proved", "its sizes are fixed")
    assert check_shapes(model.wrong).status == "failed"
    assert check_shapes(Linear(jnp.zeros((3, 3))).wrong).status == "proved"


def test_a_module_is_all_functions_in_it():
    module = types.ModuleType("made_up")
    module.sound = sound
    sound_here = types.FunctionType(sound.__code__, sound.__globals__, "sound")
    sound_here.__annotations__ = dict(sound.__annotations__)
    sound_here.__module__ = "made_up"
    module.here = sound_here
    assert [result.status for result in check_shapes(module)] == ["proved"]


def test_what_is_no_function_is_a_type_error():
    with pytest.raises(TypeError, match="is not a function that is written in Python"):
        check_shapes(len)
    with pytest.raises(TypeError, match="is not a function that is written in Python"):
        check_shapes(types.ModuleType("empty"))


def test_it_is_exported_by_the_package():
    assert typedfilter.check_shapes is check_shapes
    assert typedfilter.check.example is example


def test_an_example_changes_nothing_about_the_function():
    marked = example(k=3)(sound)
    assert marked is sound
    assert sound(jnp.ones(2)).shape == (2,)
    del vars(sound)["__typedfilter_examples__"]


def test_an_example_works_above_and_below_a_transform():
    @example(k=2)
    @filter_jit
    def above(x: Float[Array, "n"], k: int) -> Float[Array, "n*{k}"]:
        return jnp.tile(x, k)

    @filter_jit
    @example(k=2)
    def below(x: Float[Array, "n"], k: int) -> Float[Array, "n*{k}"]:
        return jnp.tile(x, k)

    assert check_shapes(above).status == check_shapes(below).status == "proved"


def test_an_example_may_hold_arrays_by_their_shapes_only():
    @example(x=jax.ShapeDtypeStruct((3, 4), jnp.float32))
    def transposed(x: Array, y: Float[Array, "n"]) -> Float[Array, "4 3"]:
        return x.T

    assert check_shapes(transposed).status == "proved"


def test_the_shapes_of_an_example_bind_names():
    @example(x=jax.ShapeDtypeStruct((3,), jnp.float32))
    def added(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "3"]:
        return x + y

    assert check_shapes(added).status == "proved"


def test_an_example_that_names_nothing_is_said_so():
    @example(typo="x")
    def fn(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x

    (result,) = check_shapes(fn)
    assert result.status == "skipped"
    assert "the example names `typo`" in result.message


@pytest.mark.parametrize("status", ["proved", "checked", "failed", "skipped"])
def test_a_report_counts(status):
    results = (Result("f", "f.py", 1, status, ""), Result("g", "f.py", 2, status, ""))
    assert Report(results).count(status) == 2
    assert Report(results).status == status
    assert len(Report(results)) == 2


@pytest.mark.parametrize(
    ("statuses", "unreadable", "exit_status"),
    [
        (["proved", "checked", "skipped"], 0, 0),
        (["proved", "failed"], 0, 1),
        (["skipped"], 0, 2),
        ([], 0, 2),
        (["proved"], 1, 2),
        (["failed"], 1, 2),
    ],
)
def test_the_exit_status_is_never_0_where_nothing_was_judged(statuses, unreadable, exit_status):
    results = tuple(Result("f", "f.py", 1, status, "") for status in statuses)
    report = Report(results, (Unreadable("x", "y"),) * unreadable)
    assert report.exit_status == exit_status
    assert report.ok == (exit_status == 0)


def test_integers_to_differentiate_are_the_annotation_error_of_the_decorator():
    with pytest.raises(typedfilter.AnnotationError):

        @filter_grad
        def integers(k: Int[Array, "n"]):
            return k.sum()


def test_results_are_values():
    first, second = check_shapes(sound).results[0], check_shapes(sound).results[0]
    assert first == second
    assert dataclasses.replace(first, status="failed") != second


def test_a_prompt_shows_the_report():
    def doubled(x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * 2

    report = check_shapes(doubled)
    assert repr(report) == str(report)
    assert "proved" in repr(report)


@pytest.mark.skipif(jax.__version_info__ < (0, 8), reason="this release's symbols don't divide a product")
def test_a_number_that_divides_a_dimension_is_tried_with_its_multiples():
    def by_heads(x: Float[Array, "b d"], n_heads: int) -> Float[Array, "b d"]:
        b, d = x.shape
        return x.reshape(b, n_heads, d // n_heads).reshape(b, d)

    assert "where d is a multiple of 3; for all sizes; with n_heads=3" in str(check_shapes(by_heads))
