"""The whole text of every `AnnotationError` that an annotation, or a plan under a transform, can raise."""

# Signatures are all that matters here.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import enum
import functools
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict, TypeVar

import jax.numpy as jnp
import pytest
from jax import Array
from jax.sharding import PartitionSpec
from jaxtyping import Bool, Float, Int, PyTree
from refusals import lines
from typing_extensions import TypeAliasType, Unpack

import typedfilter as tf
from typedfilter._reading.conflicts import check_grad, check_jit, check_vmap
from typedfilter._reading.fields import field_hints, leaf_marks
from typedfilter._reading.plan import plan_of
from typedfilter.annotations import Diff, Donate, NoDiff, Static, Traced
from typedfilter.errors import AnnotationError
from typedfilter.vmap_axis import VmapAxis

if TYPE_CHECKING:
    # Neither exists when this runs, or not yet.
    Hidden = WaitsForIt = int

AXIS: Any = VmapAxis
X = jnp.ones(2)


class Colour(enum.Enum):
    RED = 1


def text(make: Callable[[], Any]) -> str:
    with pytest.raises(AnnotationError) as e:
        make()
    return str(e.value)


def of_parameter(annotation: Any) -> str:
    def f(x: Any) -> Any: ...

    f.__annotations__ = {"x": annotation}
    return text(lambda: plan_of(f))


# --- one annotation -------------------------------------------------------------------------------------

OUTERMOST = (
    "put the marker around the whole annotation, as in Donate[list[Array]]; or make it an argument of its own"
)
INSIDE = "a marker inside of another type can't be honoured"
Mapped = TypeVar("Mapped", bound=Static[int])

CONTRADICTIONS: list[tuple[Any, str, str, str]] = [
    # Static
    (
        Static[Float[Array, ""]],
        "Static[Float[Array, '']]",
        "arrays can't be static: they are not hashable",
        "drop Static, and it is traced; or annotate a hashable type",
    ),
    (
        Static[list[Array]],
        "Static[list[Array]]",
        "arrays can't be static: they are not hashable",
        "drop Static, and it is traced; or annotate a hashable type",
    ),
    (
        Static[tuple[Array, int]],
        "Static[tuple[Array, int]]",
        "arrays can't be static: they are not hashable",
        "drop Static, and it is traced; or annotate a hashable type",
    ),
    (
        Static[Array] | None,
        "Static[Array] | None",
        "arrays can't be static: they are not hashable",
        "drop Static, and it is traced; or annotate a hashable type",
    ),
    (
        Traced[Static[int]],
        "Traced[Static[int]]",
        "what is static is not traced",
        "keep one of Static and Traced",
    ),
    (
        Static[Traced[int]],
        "Static[Traced[int]]",
        "what is static is not traced",
        "keep one of Static and Traced",
    ),
    # Traced
    (Traced[str], "Traced[str]", "`str` can't become an array", "write Static[str], or str alone"),
    (Traced[None], "Traced[None]", "`None` can't become an array", "write Static[None], or None alone"),
    (
        Traced[Colour],
        "Traced[Colour]",
        "`Colour` can't become an array",
        "write Static[Colour], or Colour alone",
    ),
    (
        Traced[Literal["a"]],
        "Traced[Literal['a']]",
        "`Literal['a']` can't become an array",
        "write Static[Literal['a']], or Literal['a'] alone",
    ),
    # Donate
    (Donate[Static[int]], "Donate[Static[int]]", "what is static holds no arrays to donate", "drop Donate"),
    (Donate[int], "Donate[int]", "`int`, which is static, holds no arrays to donate", "drop Donate"),
    (
        Annotated[Static[Any], Donate],
        "Annotated[Static[Any], Donate]",
        "what is static holds no arrays to donate",
        "drop Donate",
    ),
    # VmapAxis
    (
        AXIS[1, Static[int]],
        "VmapAxis[1, Static[int]]",
        "what is static has no axis to map",
        "drop VmapAxis, or write VmapAxis[None]",
    ),
    (
        Annotated[int, VmapAxis[0]],
        "Annotated[int, VmapAxis[0]]",
        "`int`, which is static, has no axis to map",
        "drop VmapAxis, or write VmapAxis[None]",
    ),
    (
        Annotated[AXIS[1, Array], VmapAxis[0]],
        "Annotated[VmapAxis[1, Array], VmapAxis[0]]",
        "it maps axes 1 and 0 at once",
        "keep one VmapAxis",
    ),
    (
        Annotated[Array, VmapAxis[0], VmapAxis[None]],
        "Annotated[Array, VmapAxis[0], VmapAxis[None]]",
        "it maps axes 0 and None at once",
        "keep one VmapAxis",
    ),
    # Diff and NoDiff
    (
        Diff[NoDiff[Array]],
        "Diff[NoDiff[Array]]",
        "it can't be differentiated and not be",
        "keep one of Diff and NoDiff",
    ),
    (Diff[Static[Any]], "Diff[Static[Any]]", "what is static can't be differentiated", "drop Diff"),
    (Diff[int], "Diff[int]", "`int`, which is static, can't be differentiated", "drop Diff"),
    (
        Diff[Int[Array, ""]],
        "Diff[Int[Array, '']]",
        "`Int[Array, '']` has no floating-point dtype to differentiate",
        "drop Diff, or annotate a floating dtype",
    ),
    (
        Diff[Traced[int]],
        "Diff[Traced[int]]",
        "`int` has no floating-point dtype to differentiate",
        "drop Diff, or annotate a floating dtype",
    ),
    # shardings
    (
        Annotated[int, PartitionSpec("x")],
        "Annotated[int, PartitionSpec('x')]",
        "`int`, which is static, is not on any device",
        "drop the PartitionSpec",
    ),
    (
        Annotated[Array, PartitionSpec("x"), PartitionSpec()],
        "Annotated[Array, PartitionSpec('x'), PartitionSpec()]",
        "it has two shardings",
        "keep one PartitionSpec",
    ),
    # markers without a type, or without a value
    (Static, "Static", "`Static` alone has no type", "write Static[T]"),
    ("Donate", "Donate", "`Donate` alone has no type", "write Donate[T]"),
    (Static | None, "Static | None", "`Static` alone has no type", "write Static[T]"),
    (
        VmapAxis,
        "VmapAxis",
        "`VmapAxis` alone says neither axis nor type",
        "write VmapAxis[1], VmapAxis[None], VmapAxis[1, T] or Annotated[T, VmapAxis[1]]",
    ),
    (
        Annotated[Array, VmapAxis],
        "Annotated[Array, VmapAxis]",
        "`VmapAxis` is the class and not a value",
        "write VmapAxis[1], VmapAxis[None], VmapAxis[1, T] or Annotated[T, VmapAxis[1]]",
    ),
    (
        Annotated[Array, PartitionSpec],
        "Annotated[Array, PartitionSpec]",
        "`PartitionSpec` is the class and not a value",
        "write Annotated[T, PartitionSpec('x')]",
    ),
    # markers where they can't be honoured
    (list[Donate[Array]], "list[Donate[Array]]", INSIDE, OUTERMOST),
    (dict[str, Static[int]], "dict[str, Static[int]]", INSIDE, OUTERMOST),
    (tuple[AXIS[1, Array], int], "tuple[VmapAxis[1, Array], int]", INSIDE, OUTERMOST),
    (Donate[list[NoDiff[Array]]], "Donate[list[NoDiff[Array]]]", INSIDE, OUTERMOST),
    (PyTree[Donate[Array]], "PyTree[Donate[Array]]", INSIDE, OUTERMOST),
    (type[Static[int]], "type[Static[int]]", INSIDE, OUTERMOST),
    (Callable[[Static[int]], Array], "Callable[[Static[int]], Array]", INSIDE, OUTERMOST),
    ("Hidden[Static[int]]", "Hidden[Static[int]]", INSIDE, OUTERMOST),
    ("list['Donate[Array]']", "list[Donate[Array]]", INSIDE, OUTERMOST),
    (list[TypeAliasType("Given", Donate[Array])], "list[Given]", INSIDE, OUTERMOST),
    (Mapped, "Mapped", INSIDE, OUTERMOST),
    (
        typing.Union[Static[int], Array],
        "Static[int] | Array",
        "a marker on one member of a union can't be honoured",
        "put the marker around the whole union, as in Donate[A | B]",
    ),
]


@pytest.mark.parametrize(
    ("annotation", "shown", "reason", "fix"), CONTRADICTIONS, ids=[r[1] for r in CONTRADICTIONS]
)
def test_every_contradiction_in_one_annotation_is_refused(annotation: Any, shown: str, reason: str, fix: str):
    assert of_parameter(annotation) == lines(
        f"f(): argument `x` is annotated {shown}, but {reason}",
        f"fix: {fix}",
    )


@pytest.mark.parametrize(
    "annotation", ["Static[Array]", "Optional[Static[Array]]", "Annotated[Static[Array], 'doc']", "Steps"]
)
def test_a_contradiction_is_found_in_strings_and_aliases(annotation: str):
    def f(x: Any) -> Any: ...

    f.__annotations__ = {"x": annotation}
    f.__globals__.setdefault("Steps", Static[Array])
    f.__globals__.setdefault("Optional", typing.Optional)
    assert "but arrays can't be static: they are not hashable" in text(lambda: plan_of(f))


def test_a_marker_inside_of_a_jaxtyping_annotation_is_refused():
    try:
        inside: Any = Float[Donate[Array], "n"]
    except TypeError:  # Python 3.13: jaxtyping refuses it; written as a string it gets here
        assert of_parameter("Float[Donate[Array], 'n']") == lines(
            "f(): argument `x` has an annotation that can't be read: \"Float[Donate[Array], 'n']\"",
            "found: TypeError: issubclass() arg 1 must be a class",
            "fix: correct the annotation; a marker goes around all of it, as in Donate[Float[Array, 'n']]",
        )
    else:
        assert of_parameter(inside) == lines(
            "f(): argument `x` is annotated Float[Annotated, 'n'], "
            "but a marker inside of a jaxtyping annotation is lost",
            "fix: put the marker around the whole annotation, as in Donate[Float[Array, 'n']]",
        )


@pytest.mark.parametrize(
    ("annotation", "right"),
    [
        ("Array['n']", "Float[Array, 'n']"),
        ("Float[Array, 'b', 'n']", "Float[Array, 'b n']"),
        ("Float[Array]", "Float[Array, '...']"),
        ("list[Float[Array, (2, 3)]]", "Float[Array, '2 3']"),
    ],
)
def test_dimensions_that_are_no_single_text_are_told_how_to_be_written(annotation: str, right: str):
    first, *_, last = of_parameter(annotation).split("\n")
    assert first == f"f(): argument `x` has an annotation that can't be read: {annotation!r}"
    assert last == f"  fix: write {right}: all dimensions in one text, with spaces between"


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        ("the input, of any size", "SyntaxError: invalid syntax"),
        ("Hidden(3)", "NameError: name 'Hidden' is not defined"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_an_annotation_that_cannot_be_read_is_refused(annotation: str, found: str):
    first, second, third = of_parameter(annotation).split("\n")
    assert first == f"f(): argument `x` has an annotation that can't be read: {annotation!r}"
    assert second.startswith(f"  found: {found}")
    called = "; names that exist only for type checkers may be used, but not called"
    assert third == "  fix: correct the annotation" + (
        ": it is no expression of Python's" if found.startswith("SyntaxError") else called
    )


def test_a_bad_axis_in_a_string_is_refused():
    assert of_parameter("VmapAxis['x']") == lines(
        "f(): argument `x` has an annotation that can't be read: \"VmapAxis['x']\"",
        "found: VmapAxis['x'] has no axis that is an int or None",
        "fix: write VmapAxis[1], VmapAxis[None], VmapAxis[1, T] or Annotated[T, VmapAxis[1]]",
    )


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ((0, 1), "VmapAxis[0, 1] has no type"),
        ((1.5, None), "VmapAxis[1.5, None] has no type"),
        ((0, "int", "str"), "VmapAxis[0, 'int', 'str'] has more than one type"),
        ("x", "VmapAxis['x'] has no axis that is an int or None"),
    ],
)
def test_what_is_no_axis_with_a_type_is_refused(item: Any, problem: str):
    with pytest.raises(AnnotationError) as caught:
        AXIS[item]
    assert str(caught.value) == lines(
        problem,
        f"found: {problem[len('VmapAxis[') : problem.index(']')]}",
        "fix: write VmapAxis[1], VmapAxis[None], VmapAxis[1, T] or Annotated[T, VmapAxis[1]]",
    )


def test_a_marker_on_an_option_of_many_is_refused():
    class Options(TypedDict):
        n: Static[int]

    def f(**options: Unpack[Options]) -> None: ...

    assert text(lambda: plan_of(f)) == lines(
        "f(): argument `options` is annotated Unpack[Options], but the marker on its `n` can't be honoured",
        "fix: make `n` a parameter of its own",
    )


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (Donate[Array], "Donate[Array]"),
        (Static[int], "Static[int]"),
        (Traced[float], "Traced[float]"),
        (NoDiff[Array], "NoDiff[Array]"),
        (Diff[Array] | None, "Diff[Array] | None"),
    ],
)
def test_a_result_takes_no_marker_but_an_axis(annotation: Any, shown: str):
    def f(x: Any) -> Any: ...

    f.__annotations__ = {"return": annotation}
    assert text(lambda: plan_of(f)) == lines(
        f"f(): the return value is annotated {shown}, "
        "but a result takes no marker but VmapAxis, ScanAxis and PartitionSpec",
        "fix: drop the marker",
    )


@pytest.mark.parametrize("place", ["x", "args", "k", "kwargs"])
def test_the_parameter_is_named_whatever_its_kind(place: str):
    def f(x: Any, /, *args: Any, k: Any, **kwargs: Any) -> Any: ...

    f.__annotations__ = {place: Donate[int]}
    first = text(lambda: plan_of(f)).split("\n")[0]
    assert first == (
        f"f(): argument `{place}` is annotated Donate[int], "
        "but `int`, which is static, holds no arrays to donate"
    )


def test_the_function_is_named_through_methods_and_partials():
    class Model:
        def step(self, x: Donate[int]) -> None: ...

    for fn in (Model.step, Model().step, functools.partial(Model().step, x=1)):
        assert text(lambda fn=fn: plan_of(fn)).startswith(
            "Model.step(): argument `x` is annotated Donate[int], "
        )


def test_a_field_that_contradicts_itself_is_named():
    class Bad(NamedTuple):
        w: Static[Array]

    expected = lines(
        "Bad(): argument `w` is annotated Static[Array], but arrays can't be static: they are not hashable",
        "fix: drop Static, and it is traced; or annotate a hashable type",
    )
    assert text(lambda: leaf_marks([Bad(X)])) == expected
    assert of_parameter(Bad) == expected


class DonatedField(NamedTuple):
    w: Donate[Array]


class LostField(NamedTuple):
    w: Array


LostField.__annotations__["w"] = "lost.Static[int]"


def test_a_marker_that_no_field_can_have_is_refused():
    assert text(lambda: field_hints(DonatedField)) == lines(
        "DonatedField(): argument `w` is annotated Donate[Array], "
        "but Donate is for whole arguments, not for fields",
        "fix: put it on the parameter of the function",
    )


def test_a_name_that_may_hide_a_marker_is_refused_in_the_end():
    def f(x: Any) -> Any: ...

    f.__annotations__ = {"x": "hidden.Static[int]"}
    assert not plan_of(f).complete
    assert text(lambda: plan_of(f, final=True)) == lines(
        "f(): argument `x` has an annotation in which `hidden.Static` is not found, "
        "and a marker may hide in it",
        "fix: import it also at run time, not only under `if TYPE_CHECKING`",
    )
    assert text(lambda: leaf_marks(LostField(X))) == lines(
        "LostField(): argument `w` has an annotation in which `lost.Static` is not found, "
        "and a marker may hide in it",
        "fix: import it also at run time, not only under `if TYPE_CHECKING`",
    )


# --- a plan and a transform -----------------------------------------------------------------------------


def grad_text(fn: Callable[..., Any], has_aux: bool = False) -> str:
    return text(lambda: check_grad(plan_of(fn), has_aux=has_aux, name="filter_grad"))


def test_nothing_to_differentiate_is_refused():
    def nothing() -> Array: ...
    def options(**more: Array) -> Array: ...

    for fn in (nothing, options):
        assert grad_text(fn) == lines(
            f"{fn.__name__}(): has no argument that filter_grad could differentiate",
            "fix: make what is to be differentiated its first parameter",
        )


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (int, "int"),
        (Int[Array, "n"], "Int[Array, 'n']"),
        (Bool[Array, ""] | None, "Bool[Array, ''] | None"),
        (Static[Any], "Static[Any]"),
        (Traced[int], "Traced[int]"),
    ],
)
def test_an_integer_or_static_value_as_the_only_thing_to_differentiate_is_refused(
    annotation: Any, shown: str
):
    def loss(n, x):
        return x

    loss.__annotations__ = {"n": annotation}
    assert grad_text(loss) == lines(
        f"loss(): argument `n` is annotated {shown} and can't be differentiated, "
        "and filter_grad has nothing else",
        "fix: put a floating-point argument first, or mark one as Diff[...]",
    )


def test_a_frozen_first_argument_is_refused():
    def loss(x: NoDiff[Array], y: Array) -> Array: ...

    assert grad_text(loss) == lines(
        "loss(): argument `x` is annotated NoDiff[Array], but filter_grad differentiates the first argument",
        "fix: put a floating-point argument first, or mark one as Diff[...]",
    )


SCALAR = "return a scalar, annotated Float[Array, '']; for the derivative of an array use filter_jacrev"


@pytest.mark.parametrize(
    ("annotation", "shown", "fix"),
    [
        (Float[Array, "n"], "Float[Array, 'n']", SCALAR),
        (Float[Array, "n ..."], "Float[Array, 'n ...']", SCALAR),
        (Float[Array, "1"], "Float[Array, '1']", SCALAR),
        (Int[Array, ""], "Int[Array, '']", SCALAR),
        (int, "int", SCALAR),
        (None, "None", SCALAR),
        (str, "str", SCALAR),
        (list[Array], "list[Array]", SCALAR),
        (dict[str, Array], "dict[str, Array]", SCALAR),
        (Annotated[Float[Array, "n"], VmapAxis[0]], "Annotated[Float[Array, 'n'], VmapAxis[0]]", SCALAR),
        (Float[Array, "n"] | None, "Float[Array, 'n'] | None", SCALAR),
        (tuple[Array, Array, Array], "tuple[Array, Array, Array]", SCALAR),
        (tuple[Float[Array, "n"], int], "tuple[Float[Array, 'n'], int]", SCALAR),
        (
            tuple[Float[Array, ""], int],
            "tuple[Float[Array, ''], int]",
            "pass has_aux=True, so that only the first of the pair is differentiated",
        ),
    ],
)
def test_a_return_annotation_that_is_no_scalar_is_refused(annotation: Any, shown: str, fix: str):
    def loss(x: Array) -> Any: ...

    loss.__annotations__["return"] = annotation
    assert grad_text(loss) == lines(
        f"loss(): the return value is annotated {shown}, but filter_grad needs a floating-point scalar",
        f"fix: {fix}",
    )


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (Float[Array, ""], "Float[Array, '']"),
        (float, "float"),
        (Array, "Array"),
        (None, "None"),
        (tuple[Array, int, int], "tuple[Array, int, int]"),
        (dict[str, Array], "dict[str, Array]"),
    ],
)
def test_a_return_annotation_that_is_no_pair_is_refused_with_has_aux(annotation: Any, shown: str):
    def loss(x: Array) -> Any: ...

    loss.__annotations__["return"] = annotation
    assert grad_text(loss, has_aux=True) == lines(
        f"loss(): the return value is annotated {shown}, "
        "but has_aux=True needs a pair of value and auxiliary data",
        "fix: return such a pair, annotated tuple[Float[Array, ''], Any]; or leave has_aux out",
    )


def test_a_pair_without_a_scalar_first_is_refused_with_has_aux():
    def loss(x: Array) -> tuple[Float[Array, "n"], int]: ...

    assert grad_text(loss, has_aux=True) == lines(
        "loss(): the return value is annotated tuple[Float[Array, 'n'], int], "
        "but filter_grad needs a floating-point scalar as the first of the pair",
        f"fix: {SCALAR}",
    )


def test_nothing_to_map_is_refused():
    def constant(n: int, w: Annotated[Array, VmapAxis[None]]) -> int: ...
    def nothing() -> int: ...

    assert text(lambda: check_vmap(plan_of(constant))) == lines(
        "constant(): has no argument to map: each is static or VmapAxis[None]",
        "fix: annotate an argument as an array, or pass axis_size",
    )
    assert text(lambda: check_vmap(plan_of(nothing))) == lines(
        "nothing(): has no argument to map",
        "fix: annotate an argument as an array, or pass axis_size",
    )


def test_nothing_to_donate_is_refused():
    def two(x: Array, n: int, k: Static[Any]) -> int: ...
    def one(x: Array, n: int) -> int: ...
    def many(*n: int) -> int: ...

    assert text(lambda: check_jit(plan_of(many), "all-except-first")) == lines(
        "many(): has nothing to donate: `n` is static",
        "found: donate='all-except-first'",
        "fix: leave donate out",
    )
    assert text(lambda: check_jit(plan_of(two), "all-except-first")) == lines(
        "two(): has nothing to donate: `n`, `k` are static",
        "found: donate='all-except-first'",
        "fix: leave donate out",
    )
    assert text(lambda: check_jit(plan_of(one), "warn-except-first")) == lines(
        "one(): has nothing to donate: `n` is static",
        "found: donate='warn-except-first'",
        "fix: leave donate out",
    )


@pytest.mark.parametrize(
    "transform", [tf.filter_jit, tf.filter_grad, tf.filter_value_and_grad, tf.filter_vmap]
)
def test_contradictions_are_refused_when_the_decorator_runs(transform: Any):
    def f(x: Float[Array, ""], y: Donate[int]) -> Float[Array, ""]: ...

    assert text(lambda: transform(f)).startswith("f(): argument `y` is annotated Donate[int], but ")
    assert text(lambda: transform()(f)).startswith("f(): argument `y` is annotated Donate[int], but ")


def test_a_contradiction_behind_a_forward_reference_is_refused_at_the_first_call():
    def f(x: Donate[WaitsForIt]) -> Any: ...

    jitted = tf.filter_jit(f)
    globals()["WaitsForIt"] = int
    try:
        assert text(lambda: jitted(1)).startswith("f(): argument `x` is annotated Donate[int], but ")
    finally:
        del globals()["WaitsForIt"]


def test_a_dtype_of_jaxtyping_without_array_and_shape_is_refused():
    def fn(x: Float): ...

    assert text(lambda: tf.filter_jit(fn)) == (
        "fn(): argument `x` is annotated Float, but `Float` alone says neither array nor shape\n"
        "  fix: write Float[Array, '...']"
    )
