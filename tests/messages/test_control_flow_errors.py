"""The whole text of every error of loops and branches."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float
from refusals import check

from typedfilter import (
    AnnotationError,
    ScanAxis,
    ShapeError,
    Static,
    TypedFilterError,
    filter_associative_scan,
    filter_cond,
    filter_fori_loop,
    filter_linearize,
    filter_map,
    filter_scan,
    filter_switch,
    filter_while_loop,
    pytree_dataclass,
)

X = jnp.arange(6.0).reshape(3, 2)
SHAPE = "keep the shape in the body, or start with the one that it returns"
DTYPE = "cast what the body returns to the dtype that went in, or start with the one that it returns"
STRUCTURE = "return the structure that went in"
STATIC = "keep what is static as it is: what changes must be an array or a number at the start"


# -------------------------------------------------------------------------------------------------- carries


def returning(make: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        return make(carry), None

    step.__qualname__ = "step"
    return step


@pytree_dataclass
class Fixed:
    """A number that is static."""

    n: Static[Any]


CASES: dict[str, tuple[Any, Any, list[str], list[str]]] = {
    "shape": (
        X,
        lambda c: c[:2],
        ["carry: f32[3,2] went in, f32[2,2] came out (shape)"],
        [SHAPE],
    ),
    "dtype": (
        jnp.int32(1),
        lambda c: c * 0.5,
        ["carry: i32[] went in, f32[] (weakly typed) came out (dtype)"],
        [DTYPE],
    ),
    "shape and dtype": (
        [jnp.int32(1)],
        lambda c: [jnp.ones(2)],
        ["carry[0]: i32[] went in, f32[2] came out (shape and dtype)"],
        [SHAPE, DTYPE],
    ),
    "a number that gets a shape": (
        {"total": 0.0},
        lambda c: {"total": c["total"] + jnp.ones(2)},
        ["carry['total']: f32[] went in, f32[2] came out (shape)"],
        [SHAPE],
    ),
    "a static value": (
        {"x": 1.0, "name": "a"},
        lambda c: {**c, "name": "b"},
        ["carry['name']: static str 'a' went in, static str 'b' came out (static value)"],
        [STATIC],
    ),
    "a static value that is equal": (
        {"f": frozenset({1}), "x": 1.0},
        lambda c: {**c, "f": frozenset({True})},
        [
            (
                "carry['f']: static frozenset frozenset({1}) went in, "
                "static frozenset frozenset({True}) came out (static value)"
            )
        ],
        [STATIC],
    ),
    "an array that was static": (
        {"best": "none", "x": 1.0},
        lambda c: {**c, "best": c["x"]},
        ["carry['best']: static str 'none' went in, f32[] (weakly typed) came out (static value)"],
        [STATIC],
    ),
    "an array that was nothing": (
        {"best": None, "x": 1.0},
        lambda c: {**c, "best": c["x"]},
        ["carry['best']: nothing went in, f32[] (weakly typed) came out (structure)"],
        [STRUCTURE],
    ),
    "another container": (
        (1.0, 2.0),
        list,
        ["carry: (*, *) went in, [*, *] came out (structure)"],
        [STRUCTURE],
    ),
    "a static field": (
        (Fixed(1), 0.0),
        lambda c: (Fixed(True), c[1]),
        [
            (
                "carry: (CustomNode(Fixed[(n=1,)], []), *) went in, "
                "(CustomNode(Fixed[(n=True,)], []), *) came out (structure)"
            )
        ],
        [STRUCTURE],
    ),
    "keys that are equal": (
        {1: 1.0},
        lambda c: {True: c[1]},
        [
            "carry[1]: f32[] (weakly typed) went in, nothing came out (structure)",
            "carry[True]: nothing went in, f32[] (weakly typed) came out (structure)",
        ],
        [STRUCTURE],
    ),
    "everything at once": (
        {"n": jnp.int32(0), "x": X, "name": "a", "gone": 1},
        lambda c: {"n": c["n"] + 0.5, "x": c["x"][0], "name": "b", "new": 1},
        [
            "carry['gone']: i32[] (weakly typed) went in, nothing came out (structure)",
            "carry['n']: i32[] went in, f32[] (weakly typed) came out (dtype)",
            "carry['name']: static str 'a' went in, static str 'b' came out (static value)",
            "carry['x']: f32[3,2] went in, f32[2] came out (shape)",
            "carry['new']: nothing went in, i32[] (weakly typed) came out (structure)",
        ],
        [STRUCTURE, DTYPE, STATIC, SHAPE],
    ),
}


def expected(rows: list[str], fixes: list[str], function: str = "step") -> list[str]:
    head = f"{function}(): returns another carry than it was given:"
    return [head, *(f"    {row}" for row in rows), f"  fix: {'; '.join(fixes)}"]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_carry_that_does_not_come_back_is_listed_by_path(name):
    start, make, rows, fixes = CASES[name]
    check(lambda: filter_scan(returning(make), start, length=2), *expected(rows, fixes))


def test_the_other_loops_say_the_same():
    rows, fixes = ["carry: f32[3,2] went in, f32[2,2] came out (shape)"], [SHAPE]

    def body(c: Any) -> Any:
        return c[:2]

    body.__qualname__ = "step"
    check(lambda: filter_while_loop(lambda c: True, body, X), *expected(rows, fixes))

    def counted(i: Any, c: Any) -> Any:
        return c[:2]

    counted.__qualname__ = "step"
    check(lambda: filter_fori_loop(0, 2, counted, X), *expected(rows, fixes))
    check(lambda: jax.jit(lambda n: filter_fori_loop(0, n, counted, X))(2), *expected(rows, fixes))


def test_without_a_trace_it_is_said_as_well():
    with jax.disable_jit():
        check(
            lambda: filter_scan(returning(lambda c: c[:2]), X, length=2),
            *expected(["carry: f32[3,2] went in, f32[2,2] came out (shape)"], [SHAPE]),
        )


def test_an_error_of_the_body_is_the_body_s_own():
    def fails(c: Any, x: Any) -> Any:
        return jnp.add(c, "text"), None

    with pytest.raises(TypeError, match="add") as e:
        filter_scan(fails, 1, length=2)
    assert not isinstance(e.value, TypedFilterError)


def test_a_step_that_returns_no_pair_is_told_so():
    def step(carry: Any, x: Any) -> Any:
        return carry

    step.__qualname__ = "step"
    check(
        lambda: filter_scan(step, X, length=2),
        "step(): the return value is not a pair of the new carry and the result of the step",
        "  expected: a tuple (carry, y)",
        "  found: an array f32[3,2]",
        "  fix: return carry, y; where a step has no result, return carry, None",
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(jnp.array([True]), "an array bool[1]"), (1, "int 1"), ("yes", "str 'yes'")]
)
def test_a_condition_is_a_boolean_scalar(value, shown):
    def goes_on(carry: Any) -> Any:
        return value

    goes_on.__qualname__ = "goes_on"
    check(
        lambda: filter_while_loop(goes_on, lambda c: c, X),
        "goes_on(): the return value does not say whether to go on",
        "  expected: a boolean scalar",
        f"  found: {shown}",
        "  fix: return a comparison of scalars; of several, jnp.any or jnp.all",
    )


def test_elements_that_do_not_come_back_are_listed_by_path():
    def combine(a: Any, b: Any) -> Any:
        return {"x": a["x"] @ b["x"].T, "s": "b"}

    combine.__qualname__ = "combine"
    check(
        lambda: filter_associative_scan(combine, {"x": X[:2], "s": "a"}),
        "combine(): returns another element than it was given:",
        "    element['s']: static str 'a' went in, static str 'b' came out (static value)",
        "    element['x']: f32[1,2] went in, f32[1,1] came out (shape)",
        f"  fix: {STATIC}; {SHAPE}",
    )


# ------------------------------------------------------------------------------------------------- branches


def left(x: Any, s: Any) -> Any:
    return {"x": x, "s": s}


def right(x: Any, s: Any) -> Any:
    return {"x": x[0], "s": "right"}


def test_branches_that_differ_are_listed_by_path():
    check(
        lambda: filter_cond(True, left, right, X, "left"),
        "right(): returns another result than the branch `left`:",
        "    result['s']: static str 'left' from true_fun, static str 'right' from false_fun (static value)",
        "    result['x']: f32[3,2] from true_fun, f32[2] from false_fun (shape)",
        "  fix: return one static value from all branches; what differs must be an array or a number; "
        "return one shape from all branches",
    )
    check(
        lambda: filter_cond(True, left, right, X, "right"),
        "right(): returns another result than the branch `left`:",
        "    result['x']: f32[3,2] from true_fun, f32[2] from false_fun (shape)",
        "  fix: return one shape from all branches",
    )
    check(
        lambda: filter_switch(0, [left, left, right], X, "right"),
        "right(): returns another result than the branch `left`:",
        "    result['x']: f32[3,2] from branches[0], f32[2] from branches[2] (shape)",
        "  fix: return one shape from all branches",
    )


def nothing(x: Any, s: Any) -> Any:
    return {"x": x, "s": None}


def integers(x: Any, s: Any) -> Any:
    return {"x": x.astype(jnp.int32), "s": s}


def test_branches_of_another_structure_or_dtype():
    check(
        lambda: filter_cond(True, left, nothing, X, "s"),
        "nothing(): returns another result than the branch `left`:",
        "    result['s']: static str 's' from true_fun, nothing from false_fun (structure)",
        "  fix: return one structure from all branches",
    )
    check(
        lambda: filter_cond(True, left, integers, X, "s"),
        "integers(): returns another result than the branch `left`:",
        "    result['x']: f32[3,2] from true_fun, i32[3,2] from false_fun (dtype)",
        "  fix: cast to one dtype in all branches",
    )


def test_no_branches():
    check(
        lambda: filter_switch(0, []),
        "filter_switch(): argument `branches` is empty: there is nothing to call",
        "  expected: at least one function",
        "  found: []",
        "  fix: pass the functions to choose from",
    )


# ----------------------------------------------------------------------------------------------------- axes


def along_two(c: Any, x: Annotated[Any, ScanAxis[2]]) -> Any:
    return c, None


def stacked_far(c: Any, x: Any) -> tuple[Any, Annotated[Any, ScanAxis[3]]]:
    return c, {"y": x}


def stacked_not(c: Any, x: Any) -> Annotated[tuple[Any, Any], ScanAxis[None]]:
    return c, x * 2


def plain(c: Any, x: Any) -> Any:
    return c, None


def test_axes_that_are_not_there():
    check(
        lambda: filter_scan(along_two, 0.0, {"a": X}),
        "along_two(): argument `xs['a']` has no axis 2 to step through: it is an array f32[3,2]",
        "  expected: at least 3 dimensions",
        "  found: an array f32[3,2]",
        "  fix: scan along another axis, or let every step see all of it: ScanAxis[None]",
    )
    check(
        lambda: filter_scan(stacked_far, 0.0, X),
        "stacked_far(): the return value has no place for an axis 3 of steps: "
        "of one step it is an array f32[2]",
        "  expected: an axis from -2 to 1",
        "  found: 3 at ['y']",
        "  fix: give another axis in ScanAxis",
    )
    check(
        lambda: filter_scan(stacked_not, 0.0, X),
        "stacked_not(): the return value is ScanAxis[None], but computed in each step",
        "  expected: what every step sees whole, returned as it is",
        "  found: an array f32[2]",
        "  fix: give it an axis: ScanAxis[0]; or put it into the carry, for its last value",
    )
    check(
        lambda: filter_map(lambda x: x, jnp.float32(1)),
        "<lambda>(): argument `xs` has no axis 0 to step through: it is an array f32[]",
        "  expected: at least 1 dimension",
        "  found: an array f32[]",
        "  fix: scan along another axis, or let every step see all of it: ScanAxis[None]",
    )


def test_lengths_that_disagree():
    fix = "  fix: scan along axes of one length; what every step is to see whole is ScanAxis[None]"
    check(
        lambda: filter_scan(plain, 0.0, {"a": X, "b": jnp.ones(2)}),
        "plain(): argument `xs['b']` has length 2 along axis 0, but axis 0 of `xs['a']` has length 3",
        "  expected: length 3 along axis 0",
        "  found: an array f32[2]",
        fix,
    )
    check(
        lambda: filter_scan(plain, 0.0, np.ones(2), length=5),
        "plain(): argument `xs` has length 2 along axis 0, but length is 5",
        "  expected: length 5 along axis 0",
        "  found: an array f32[2]",
        fix,
    )


def test_nothing_to_step_through():
    check(
        lambda: filter_scan(plain, 0.0),
        "plain(): argument `xs` is given nothing to step through: "
        "filter_scan finds no array with an axis to scan",
        "  expected: an array with an axis to scan",
        "  found: NoneType None",
        "  fix: pass length=, or an array with an axis, one that is not ScanAxis[None]",
    )
    check(
        lambda: filter_map(left, "s"),
        "left(): argument `xs` is given nothing to step through: "
        "filter_map finds no array with an axis to scan",
        "  expected: an array with an axis to scan",
        "  found: str 's'",
        "  fix: pass an array with an axis, one that is not ScanAxis[None]",
    )


# ---------------------------------------------------------------------------------------------- annotations


def refused(annotation: Any, *lines: str) -> None:
    def f(c: Any, x: Any) -> Any:
        return c, None

    f.__qualname__ = "f"
    f.__annotations__["x"] = annotation
    with pytest.raises(AnnotationError) as e:
        filter_scan(f, 0.0, X)
    assert str(e.value).splitlines() == list(lines)


WRITE = "write ScanAxis[1], ScanAxis[None], ScanAxis[1, T] or Annotated[T, ScanAxis[1]]"


def test_annotations_that_contradict_themselves():
    refused(
        "Annotated[Array, ScanAxis[0], ScanAxis[1]]",
        "f(): argument `x` is annotated Annotated[Array, ScanAxis[0], ScanAxis[1]], "
        "but it scans axes 0 and 1 at once",
        "  fix: keep one ScanAxis",
    )
    refused(
        "Static[ScanAxis[0, int]]",
        "f(): argument `x` is annotated Static[ScanAxis[0, int]], but what is static has no axis to scan",
        "  fix: drop ScanAxis, or write ScanAxis[None]",
    )
    refused(
        "ScanAxis",
        "f(): argument `x` is annotated ScanAxis, but `ScanAxis` alone says neither axis nor type",
        f"  fix: {WRITE}",
    )
    refused(
        "list[ScanAxis[1, Array]]",
        "f(): argument `x` is annotated list[ScanAxis[1, Array]], "
        "but a marker inside of another type can't be honoured",
        "  fix: put the marker around the whole annotation, as in Donate[list[Array]]; "
        "or make it an argument of its own",
    )


def test_what_is_no_axis():
    check(
        lambda: ScanAxis["x"],
        "ScanAxis['x'] has no axis that is an int or None",
        "  found: 'x'",
        f"  fix: {WRITE}",
    )
    check(ScanAxis, "ScanAxis(): is an annotation and has no instances", f"  fix: {WRITE}")


def test_the_first_of_a_pair_that_is_returned_is_the_carry_and_has_no_axis():
    def f(c: Any, x: Any) -> tuple[Annotated[Array, ScanAxis[1]], Any]:
        return c, x

    f.__qualname__ = "f"
    check(
        lambda: filter_scan(f, 0.0, X),
        "f(): the return value is annotated tuple[Annotated[Array, ScanAxis[1]], Any], "
        "but a marker inside of another type can't be honoured",
        "  fix: put the marker around the whole annotation, as in Donate[list[Array]]; "
        "or make it an argument of its own",
    )


def annotated(c: Float[Array, "n"], x: Float[Array, "n"]) -> tuple[Float[Array, "n"], Float[Array, ""]]:
    return c, x


def test_what_a_step_receives_and_returns_is_checked():
    check(
        lambda: filter_scan(annotated, jnp.zeros(3), X),
        "annotated(): argument `x` is f32[2], but Float[Array, 'n'] needs n=3, bound by `c`",
        "  expected: Float[Array, 'n'] with n=3",
        "  found: f32[2]",
        "  fix: make axis 0 of `x` 3 long, or rename the dimension in one of the annotations",
    )


def test_linearize_needs_a_pair_with_auxiliary_data():
    def f(x: Any) -> Any:
        return x

    f.__qualname__ = "f"
    with pytest.raises(ShapeError, match=r"f\(\): the return value"):
        filter_linearize(f, X, has_aux=True)
