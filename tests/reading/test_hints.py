"""Annotations, read one at a time: types, markers, roles, and names that are strings."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import itertools
import sys
import typing
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    ParamSpec,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Union,
)

import jax
import jaxtyping
import ml_dtypes
import numpy as np
import pytest
import typing_extensions
from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import (
    Bool,
    Complex,
    Float,
    Inexact,
    Int,
    Key,
    Num,
    PRNGKeyArray,
    PyTree,
    Real,
    ScalarLike,
    Shaped,
    UInt,
)
from numpy.typing import NDArray

from typedfilter._reading.hints import UNANNOTATED, Hint, class_hints, parse
from typedfilter._reading.names import Scope
from typedfilter._reading.roles import Differentiable, Role
from typedfilter._reading.text import show
from typedfilter.annotations import AxisSpec, Diff, Donate, NoDiff, Static, Traced
from typedfilter.errors import AnnotationError
from typedfilter.vmap_axis import VmapAxis

AUTO, ARRAYS, TRACED, STATIC = Role.AUTO, Role.ARRAYS, Role.TRACED, Role.STATIC
BY_DTYPE, ALWAYS, NEVER = Differentiable.BY_DTYPE, Differentiable.ALWAYS, Differentiable.NEVER

if TYPE_CHECKING:
    Absent = int

T = TypeVar("T")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")
AXIS: Any = VmapAxis  # checkers take it for a type where it stands in brackets
FOO: Any = typing.ForwardRef("Foo")  # of Static["Foo"]
UserId = NewType("UserId", int)
Vector = Float[Array, "n"]


class Colour(enum.Enum):
    RED = 1


class Model:
    pass


class Pair(NamedTuple):
    left: Array
    right: Float[Array, "n"]


class Mixed(NamedTuple):
    left: Array
    name: str


class Batch(TypedDict):
    x: Float[Array, "b n"]
    y: Float[Array, "b"]


class Rates(NamedTuple):
    rate: Traced[float]
    w: NoDiff[Array]


class WithStatic(NamedTuple):
    n: Static[int]
    w: Array


class Box(Generic[T]):
    pass


HERE = Scope(module=globals())

# --- the table of roles ---------------------------------------------------------------------------------

TABLE: list[tuple[Any, Role, Differentiable]] = [
    # none, Any, PyTree, a model class, a Callable, a TypeVar
    (inspect.Parameter.empty, AUTO, BY_DTYPE),
    (Any, AUTO, BY_DTYPE),
    (object, AUTO, BY_DTYPE),
    (PyTree, AUTO, BY_DTYPE),
    (Model, AUTO, BY_DTYPE),
    (Box[Float[Array, "n"]], AUTO, BY_DTYPE),
    (collections.abc.Callable[[int], Array], AUTO, BY_DTYPE),
    (typing.Callable[..., Any], AUTO, BY_DTYPE),
    (T, AUTO, BY_DTYPE),
    (typing.Self, AUTO, BY_DTYPE),
    # Float, Complex, Inexact
    (Float[Array, "b n"], ARRAYS, ALWAYS),
    (Complex[Array, ""], ARRAYS, ALWAYS),
    (Inexact[Array, "..."], ARRAYS, ALWAYS),
    (Float[np.ndarray, "n"], ARRAYS, ALWAYS),
    (Float[Any, "n"], ARRAYS, ALWAYS),
    (Float[ArrayLike, ""], ARRAYS, ALWAYS),
    (Float[Array | np.ndarray, "n"], ARRAYS, ALWAYS),
    (jaxtyping.Float32[Array, "n"], ARRAYS, ALWAYS),
    (jaxtyping.BFloat16[Array, "n"], ARRAYS, ALWAYS),
    (PyTree[Float[Array, "n"]], ARRAYS, ALWAYS),
    (PyTree[Float[Array, "..."], "S"], ARRAYS, ALWAYS),
    (PyTree[list[Float[Array, "n"]] | None], ARRAYS, ALWAYS),
    (PyTree[Any], AUTO, BY_DTYPE),
    (PyTree[float], AUTO, BY_DTYPE),
    (PyTree[Float[Array, "n"] | str], AUTO, BY_DTYPE),
    # Int, UInt, Bool, Key, ...
    (Int[Array, "b"], ARRAYS, NEVER),
    (UInt[Array, "b"], ARRAYS, NEVER),
    (Bool[Array, "b"], ARRAYS, NEVER),
    (Bool[ArrayLike, ""], ARRAYS, NEVER),
    (Int[ArrayLike, ""], ARRAYS, NEVER),
    (Key[Array, ""], ARRAYS, NEVER),
    (PRNGKeyArray, ARRAYS, NEVER),
    (jaxtyping.Integer[Array, "b"], ARRAYS, NEVER),
    # Num, Real, Shaped, Array, ArrayLike, np.ndarray
    (Num[Array, "n"], ARRAYS, BY_DTYPE),
    (Num[ArrayLike, ""], ARRAYS, BY_DTYPE),
    (Real[Array, "n"], ARRAYS, BY_DTYPE),
    (Shaped[Array, "n"], ARRAYS, BY_DTYPE),
    (ScalarLike, ARRAYS, BY_DTYPE),
    (Array, ARRAYS, BY_DTYPE),
    (ArrayLike, ARRAYS, BY_DTYPE),
    (np.ndarray, ARRAYS, BY_DTYPE),
    (NDArray[Any], ARRAYS, BY_DTYPE),
    (NDArray[np.float32], ARRAYS, ALWAYS),
    (NDArray[np.int32], ARRAYS, NEVER),
    (NDArray[np.bool_], ARRAYS, NEVER),
    (NDArray[np.number], ARRAYS, BY_DTYPE),
    (np.float32, ARRAYS, ALWAYS),
    (np.float64, ARRAYS, ALWAYS),  # which is also a subclass of float
    (np.complex64, ARRAYS, ALWAYS),
    (ml_dtypes.bfloat16, ARRAYS, ALWAYS),
    (np.int32, ARRAYS, NEVER),
    (np.bool_, ARRAYS, NEVER),
    (np.number, ARRAYS, BY_DTYPE),
    (np.generic, ARRAYS, BY_DTYPE),
    # what JAX can't trace is like any class
    (np.str_, AUTO, BY_DTYPE),
    (np.datetime64, AUTO, BY_DTYPE),
    (np.timedelta64, AUTO, BY_DTYPE),
    (NDArray[np.str_], AUTO, BY_DTYPE),
    (NDArray[np.object_], AUTO, BY_DTYPE),
    (Float[Model, "n"], AUTO, BY_DTYPE),
    # containers
    (list[Array], ARRAYS, BY_DTYPE),
    (typing.List[Array], ARRAYS, BY_DTYPE),
    (tuple[Float[Array, "n"], ...], ARRAYS, ALWAYS),
    (tuple[Float[Array, ""], Float[Array, "n"]], ARRAYS, ALWAYS),
    (tuple[Float[Array, ""], Int[Array, ""]], ARRAYS, BY_DTYPE),
    (tuple[Int[Array, ""], Key[Array, ""]], ARRAYS, NEVER),
    (tuple[Array | None, Array], ARRAYS, BY_DTYPE),
    (dict[str, Float[Array, "n"]], ARRAYS, ALWAYS),
    (dict[str, list[tuple[Array, Array]]], ARRAYS, BY_DTYPE),
    (dict[int, Array], AUTO, BY_DTYPE),  # JAX finds entries by ==
    (dict[str, Any], AUTO, BY_DTYPE),
    (list, AUTO, BY_DTYPE),
    (tuple, AUTO, BY_DTYPE),
    (tuple[()], AUTO, BY_DTYPE),
    (list[int], AUTO, BY_DTYPE),
    (tuple[Array, int], AUTO, BY_DTYPE),
    (collections.abc.Sequence[Array], AUTO, BY_DTYPE),
    (Pair, ARRAYS, BY_DTYPE),
    (Mixed, AUTO, BY_DTYPE),
    (Batch, ARRAYS, ALWAYS),
    (Rates, ARRAYS, BY_DTYPE),
    (WithStatic, AUTO, BY_DTYPE),
    (tuple[Array, *tuple[Array, ...]], ARRAYS, BY_DTYPE),
    (tuple[Array, *tuple[int, ...]], AUTO, BY_DTYPE),
    (collections.abc.Callable[P, Array], AUTO, BY_DTYPE),
    (P.args, AUTO, BY_DTYPE),
    (tuple[*Ts], AUTO, BY_DTYPE),
    # int float complex bool str bytes None Literal, an Enum, type, np.dtype
    (int, STATIC, NEVER),
    (float, STATIC, NEVER),
    (complex, STATIC, NEVER),
    (bool, STATIC, NEVER),
    (str, STATIC, NEVER),
    (bytes, STATIC, NEVER),
    (None, STATIC, NEVER),
    (Literal["mean", "sum"], STATIC, NEVER),
    (Colour, STATIC, NEVER),
    (type, STATIC, NEVER),
    (type[Model], STATIC, NEVER),
    (np.dtype, STATIC, NEVER),
    (np.dtype[np.float32], STATIC, NEVER),
    (typing.LiteralString, STATIC, NEVER),
    (UserId, STATIC, NEVER),
    # Static, Traced
    (Static[int], STATIC, NEVER),
    (Static[Model], STATIC, NEVER),
    (Static[tuple[int, ...]], STATIC, NEVER),
    (Traced[float], TRACED, BY_DTYPE),
    (Traced[int], TRACED, NEVER),
    (Traced[bool], TRACED, NEVER),
    (Traced[Model], TRACED, BY_DTYPE),
    (Traced[Float[Array, ""]], TRACED, ALWAYS),
    (Traced[Literal[1, 2]], TRACED, BY_DTYPE),
    # Donate, VmapAxis, Diff, NoDiff: as T
    (Donate[Float[Array, "n"]], ARRAYS, ALWAYS),
    (Donate[Model], AUTO, BY_DTYPE),
    (Donate[Traced[float]], TRACED, BY_DTYPE),
    (VmapAxis[1], AUTO, BY_DTYPE),
    (VmapAxis[1, Float[Array, "n"]], ARRAYS, ALWAYS),
    (VmapAxis[None, int], STATIC, NEVER),
    (Diff[Float[Array, "n"]], ARRAYS, ALWAYS),
    (Diff[Traced[float]], TRACED, BY_DTYPE),
    (NoDiff[Float[Array, "n"]], ARRAYS, ALWAYS),
    (NoDiff[int], STATIC, NEVER),
    # T | None, and other unions
    (Float[Array, "n"] | None, ARRAYS, ALWAYS),
    (Optional[Array], ARRAYS, BY_DTYPE),
    (int | None, STATIC, NEVER),
    (Model | None, AUTO, BY_DTYPE),
    (int | str, STATIC, NEVER),
    (Float[Array, "n"] | Int[Array, "n"], ARRAYS, BY_DTYPE),
    (Array | np.ndarray, ARRAYS, BY_DTYPE),
    (Array | float, AUTO, BY_DTYPE),
    (Union[Array, Model], AUTO, BY_DTYPE),
    # a sharding
    (Annotated[Float[Array, "n"], PartitionSpec("x")], ARRAYS, ALWAYS),
    # other people's metadata
    (Annotated[int, "documented"], STATIC, NEVER),
    # not types at all
    (3, AUTO, BY_DTYPE),
    (np.array, AUTO, BY_DTYPE),
    ([int], AUTO, BY_DTYPE),
]


@pytest.mark.parametrize(("annotation", "role", "differentiable"), TABLE, ids=[show(row[0]) for row in TABLE])
def test_each_annotation_has_the_role_of_its_row(annotation: Any, role: Role, differentiable: Differentiable):
    hint = parse(annotation)
    assert (hint.role, hint.differentiable) == (role, differentiable)


def test_what_is_not_annotated_says_so():
    hint = parse(inspect.Parameter.empty)
    assert hint is UNANNOTATED
    assert (hint.type, hint.why, hint.annotated, hint.marked) == (Any, "not annotated", False, False)


# --- markers --------------------------------------------------------------------------------------------


def facts(hint: Hint) -> dict[str, Any]:
    """What of a hint is not as it is for an annotation without markers."""
    plain = Hint(hint.annotation, hint.kind)
    names = ("donate", "static_marker", "axis", "diff", "sharding")
    return {name: getattr(hint, name) for name in names if getattr(hint, name) != getattr(plain, name)}


ONE = AxisSpec(1)
SPEC = PartitionSpec("x", None)
MARKED: list[tuple[Any, Any, dict[str, Any]]] = [
    (Static[int], int, {"static_marker": True}),
    (int, int, {}),
    (Traced[float], float, {}),
    (Donate[Model], Model, {"donate": True}),
    (Diff[Array], Array, {"diff": True}),
    (NoDiff[Array], Array, {"diff": False}),
    (VmapAxis[1], Any, {"axis": ONE}),
    (VmapAxis[1, Array], Array, {"axis": ONE}),
    (VmapAxis[Array, 1], Array, {"axis": ONE}),
    (VmapAxis[None], Any, {"axis": AxisSpec(None)}),
    (VmapAxis[-1], Any, {"axis": AxisSpec(-1)}),
    (Annotated[Array, VmapAxis[1]], Array, {"axis": ONE}),
    (Annotated[Array, VmapAxis[1, Array]], Array, {"axis": ONE}),
    (Annotated[Array, SPEC], Array, {"sharding": SPEC}),
    (Annotated[Array, VmapAxis[1], SPEC], Array, {"axis": ONE, "sharding": SPEC}),
    (Donate[AXIS[1, NoDiff[Array]]], Array, {"donate": True, "axis": ONE, "diff": False}),
    (Annotated[Donate[Array], VmapAxis[1]], Array, {"donate": True, "axis": ONE}),
    (Annotated[Array, Donate], Array, {"donate": True}),
    (Annotated[Array, Donate[AXIS[1]]], Array, {"donate": True, "axis": ONE}),
    (VmapAxis[1, VmapAxis[1, Array]], Array, {"axis": ONE}),
    (Static[int] | None, int | None, {"static_marker": True}),
    (Optional[Donate[Array]], Array | None, {"donate": True}),
    (Donate[Array | None], Array | None, {"donate": True}),
    (Donate[AXIS[1, Array] | None], Array | None, {"donate": True, "axis": ONE}),
    (Final[Static[int]], int, {"static_marker": True}),
    (NewType("Steps", Static[int]), int, {"static_marker": True}),
    (dataclasses.InitVar[Static[int]], int, {"static_marker": True}),
    (typing_extensions.Required[Donate[Array]], Array, {"donate": True}),
    (Annotated[Static[int], "doc"], int, {"static_marker": True}),
    (Static[Annotated[int, "doc"]], int, {"static_marker": True}),
]


@pytest.mark.parametrize(("annotation", "kind", "found"), MARKED, ids=[show(row[0]) for row in MARKED])
def test_markers_are_found_and_taken_off_the_type(annotation: Any, kind: Any, found: dict[str, Any]):
    hint = parse(annotation)
    assert hint.type == kind
    assert facts(hint) == found
    assert hint.marked == bool(found or hint.role is TRACED)


@pytest.mark.parametrize(("annotation", "kind", "found"), MARKED, ids=[show(row[0]) for row in MARKED])
def test_a_string_means_what_it_names(annotation: Any, kind: Any, found: dict[str, Any]):
    hint = parse("NAME", Scope({"NAME": annotation}))
    assert (hint.type, facts(hint), hint.annotation) == (kind, found, annotation)


def test_a_type_without_markers_stays_the_same_object():
    for annotation in (
        Float[ArrayLike, ""],
        tuple[Array, int],
        PyTree[Array],
        dict[str, Any],
        Optional[Array],
        T,
        tuple[Array, *tuple[int, ...]],
        tuple[*Ts],
    ):
        assert parse(annotation).type is annotation


AROUND: list[tuple[str, Any]] = [
    ("Donate[{}]", Donate),
    ("VmapAxis[1, {}]", VmapAxis[1]),
    ("NoDiff[{}]", NoDiff),
    ("Traced[{}]", Traced),
    ("Annotated[{}, SPEC]", SPEC),
]


@pytest.mark.parametrize(
    "order", list(itertools.permutations(AROUND)), ids=lambda order: "".join(t[0][0] for t in order)
)
def test_markers_nest_in_any_order_and_form(order: tuple[tuple[str, Any], ...]):
    expected = {"donate": True, "axis": ONE, "diff": False, "sharding": SPEC}
    text = "Float[Array, 'n']"
    for form, _ in order:
        text = form.format(text)
    flat = Annotated[(Float[Array, "n"], *(metadata for _, metadata in order))]
    for hint in (parse(text, HERE), parse(flat), parse(Optional[flat]), parse(Annotated[flat, "doc"])):
        assert (facts(hint), hint.role) == (expected, TRACED)


# --- aliases --------------------------------------------------------------------------------------------

StaticInt = Static[int]
Batched = Annotated[T, VmapAxis[1]]
Lazy = typing_extensions.TypeAliasType("Lazy", Static[int])
LazyBatched = typing_extensions.TypeAliasType("LazyBatched", Annotated[T, VmapAxis[1]], type_params=(T,))
LazyNested = typing_extensions.TypeAliasType("LazyNested", Donate[LazyBatched[Array]])


def test_plain_aliases_are_what_they_stand_for():
    assert parse("StaticInt", HERE).static_marker
    assert facts(parse("Batched[Array]", HERE)) == {"axis": ONE}
    assert parse("Batched[Array]", HERE).type is Array


def test_type_aliases_are_unwrapped_wherever_they_stand():
    assert parse(Lazy).static_marker
    assert parse(Lazy | None).static_marker
    assert parse(Annotated[Lazy, "doc"]).static_marker
    assert parse(LazyBatched[Array]) == dataclasses.replace(
        parse(Batched[Array]), annotation=LazyBatched[Array], why="annotated LazyBatched[Array]"
    )
    assert facts(parse(LazyNested)) == {"donate": True, "axis": ONE}
    assert parse(LazyNested).type is Array


def test_a_type_alias_around_an_array_has_its_role():
    alias = typing_extensions.TypeAliasType("alias", Float[Array, "n"])
    assert (parse(alias).role, parse(list[alias]).role) == (ARRAYS, ARRAYS)
    assert parse(list[alias]).type.__args__[0] is alias.__value__


PEP_695 = """
type Steps = Static[int]
type Mapped[A] = VmapAxis[1, A]
type Same[A] = A
type Tree = Array | list[Tree]
type Late = Static[Later]
type Typo = Static[Missing]
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
def test_type_statements_are_read():
    names: dict[str, Any] = {"Static": Static, "VmapAxis": VmapAxis, "Array": Array}
    exec(PEP_695, names)
    scope = Scope(module=names)
    assert parse(names["Steps"]).static_marker
    assert parse("Steps | None", scope).static_marker
    assert parse(names["Mapped"][Array]).axis == ONE
    assert parse(names["Mapped"][Array]).type is Array
    assert parse("Donate[Same[Array]]", Scope({"Donate": Donate}, module=names)).role is ARRAYS
    assert parse(names["Tree"]).unresolved == ()  # and it ends


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
def test_a_type_statement_that_names_something_later_waits_for_it():
    names: dict[str, Any] = {"Static": Static, "VmapAxis": VmapAxis, "Array": Array}
    exec(PEP_695, names)
    before = parse(names["Late"])
    assert (before.role, before.unresolved, before.opaque) == (AUTO, ("Later",), ("Later",))
    names["Later"] = int
    assert parse(names["Late"]).static_marker
    assert parse(names["Typo"]).opaque == ("Missing",)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are new in Python 3.12")
def test_the_type_parameters_of_a_function_are_names():
    names: dict[str, Any] = {}
    exec("from __future__ import annotations\ndef f[Q](x: list[Q]) -> Q: ...", names)
    hint = parse("list[Q]", Scope.of_function(names["f"]))
    assert (hint.unresolved, hint.type) == ((), list[names["f"].__type_params__[0]])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters are new in Python 3.12")
def test_a_type_parameter_whose_bound_comes_later_waits_for_it():
    names: dict[str, Any] = {}
    exec("def f[Q: Later](x: Q): ...", names)
    (variable,) = names["f"].__type_params__
    before = parse(variable)
    assert (before.unresolved, before.opaque, before.kind.parts) == (("Later",), (), ())
    names["Later"] = int
    after = parse(variable)
    assert (after.unresolved, [part.hint for part in after.kind.parts]) == ((), [int])


# --- strings and unknown names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "found", "unresolved"),
    [
        (Static[FOO], {"static_marker": True}, ("Foo",)),
        ("Static[Foo]", {"static_marker": True}, ("Foo",)),
        ("Static['Foo']", {"static_marker": True}, ("Foo",)),
        ("Donate[mod.Foo]", {"donate": True}, ("mod.Foo",)),
        ("Donate[jax.Foo]", {"donate": True}, ("jax.Foo",)),
        ("Donate[jax.Foo.Bar]", {"donate": True}, ("jax.Foo.Bar",)),
        ("Donate[Foo | None]", {"donate": True}, ("Foo",)),
        ("Donate[None | Foo]", {"donate": True}, ("Foo",)),
        ("Optional[Donate[Foo]]", {"donate": True}, ("Foo",)),
        ("Donate[Foo[int, Bar]]", {"donate": True}, ("Bar", "Foo")),
        ("VmapAxis[1, Foo]", {"axis": ONE}, ("Foo",)),
        ("Annotated[Foo, VmapAxis[1], meta.Bar]", {"axis": ONE}, ("Foo", "meta.Bar")),
        ("Diff[list[Foo]]", {"diff": True}, ("Foo",)),
        ("Donate[Literal['Foo']] | Foo", None, ()),
    ],
)
def test_an_unknown_name_never_loses_the_marker_around_it(
    annotation: Any, found: dict[str, Any] | None, unresolved: tuple[str, ...]
):
    if found is None:
        with pytest.raises(AnnotationError):
            parse(annotation, HERE)
        return
    hint = parse(annotation, HERE)
    assert (facts(hint), hint.unresolved, hint.opaque) == (found, unresolved, ())


def test_an_unknown_name_is_any_type_and_decided_by_the_rule():
    hint = parse("Foo", HERE)
    assert (hint.type, hint.role, hint.why) == (Any, AUTO, "name `Foo` not found")
    assert parse("dict[Foo, bar.Baz]", HERE).why == "names `Foo`, `bar.Baz` not found"
    assert parse("Donate[Foo]", HERE).why == "annotated Donate[Foo]; name `Foo` not found"
    assert parse("list[Foo]", HERE).type == list[Any]
    assert parse("collections.abc.Callable[[Foo], int]", HERE).type is collections.abc.Callable


def test_an_unknown_array_class_keeps_its_shape():
    hint = parse("Float[Foo, 'b n']", HERE)
    assert (hint.role, hint.differentiable, hint.unresolved) == (ARRAYS, ALWAYS, ("Foo",))
    assert (hint.type.array_type, hint.type.dim_str) == (Any, "b n")
    tree = parse("PyTree[Float[Foo, 'n'], 'S']", HERE)
    assert (tree.type.leaftype.array_type, tree.type.structure) == (Any, "S")


def test_a_marker_that_is_not_imported_at_run_time_may_hide():
    nothing = Scope()
    for text in ("Static[int]", "tf.Donate[int]", "Static"):
        assert parse(text, nothing).opaque == (text.partition("[")[0],)
    assert parse("Foo[int]", nothing).opaque == ()


def test_names_are_looked_up_from_the_inside_out():
    scope = Scope({"int": str}, {"Array": bytes}, module={"Array": int, "float": bool})
    assert [parse(text, scope).type for text in ("int", "Array", "float", "complex")] == [
        str,
        bytes,
        bool,
        complex,
    ]


def test_a_recursive_alias_ends():
    names: dict[str, Any] = {}
    names["Tree"] = Union[Array, list[typing.ForwardRef("Tree")]]
    hint = parse("Tree", Scope(module=names))
    assert (hint.role, hint.type) == (AUTO, Union[Array, list[Union[Array, list[Any]]]])


def test_metadata_that_calls_something_later_still_finds_its_names():
    validator = parse("Annotated[int, lambda x: Colour.RED]", HERE).annotation.__metadata__[0]
    assert validator(1) is Colour.RED


def test_a_star_is_one_annotation_for_several_arguments():
    for annotation in ("*tuple[Array, ...]", "Unpack[tuple[Array, ...]]"):
        hint = parse(annotation, Scope({"Unpack": typing_extensions.Unpack}, module=globals()))
        assert (hint.role, hint.type) == (AUTO, Any)


# --- classes --------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Base:
    n: Static[int]
    kind: typing.ClassVar[str] = "base"
    _: dataclasses.KW_ONLY
    later: Optional[Derived] = None


@dataclasses.dataclass
class Derived(Base):
    n: int = 3
    w: Float[Array, "n"] | None = None


def test_the_attributes_of_a_class_have_hints():
    hints = class_hints(Derived)
    assert list(hints) == ["n", "later", "w"]
    assert (hints["n"].static_marker, class_hints(Base)["n"].static_marker) == (False, True)
    assert hints["w"].role is ARRAYS
    assert hints["later"].type == Optional[Derived]
    assert class_hints(Derived) is hints


def test_a_class_of_a_function_sees_its_locals_and_itself():
    Local = Static[int]

    class Node:
        size: Local
        next: Node | None

    hints = class_hints(Node)
    assert hints["size"].static_marker
    assert hints["next"].type == Node | None


def test_a_class_may_name_itself_before_anything_else_can():
    found: list[Hint] = []

    def read(cls: type[T]) -> type[T]:
        found.append(class_hints(cls)["next"])
        return cls

    @read
    class Node:
        next: Node | None

    assert found[0].type == Node | None


def test_a_local_alias_is_remembered_when_its_frame_is_gone():
    def make() -> type:
        Local = Static[int]

        class Made:
            size: Local
            other: Absent

        class_hints(Made)
        return Made

    made = make()
    assert class_hints(made)["size"].static_marker
    assert class_hints(made)["other"].unresolved == ("Absent",)


def test_a_class_that_contains_itself_is_read():
    class Chain(NamedTuple):
        head: Array
        tail: Chain | None

    assert class_hints(Chain)["tail"].type == Chain | None
    assert parse(Chain).role is AUTO


def test_prose_in_the_annotations_of_other_classes_is_no_error():
    class Documented:
        pass

    Documented.__annotations__ = {"x": "the input, of any size", "n": Static[int]}
    hints = class_hints(Documented)
    assert (hints["x"].why, hints["x"].type) == ("annotation can't be read", Any)
    assert hints["n"].static_marker
    Documented.__annotations__["x"] = "the Static input"
    with pytest.raises(
        AnnotationError, match=r"Documented.*argument `x` has an annotation that can't be read"
    ):
        class_hints(type("Derived", (Documented,), {}))


# --- rendering ------------------------------------------------------------------------------------------

SHOWN: list[tuple[Any, str]] = [
    (inspect.Parameter.empty, ""),
    (Float[Array, "b n"], "Float[Array, 'b n']"),
    (Float[np.ndarray, "n"], "Float[ndarray, 'n']"),
    (Float[ArrayLike, ""], "Float[ArrayLike, '']"),
    (Num[ArrayLike, ""], "Num[ArrayLike, '']"),
    (ArrayLike, "ArrayLike"),
    (Array, "Array"),
    (PRNGKeyArray, "PRNGKeyArray"),
    (PyTree, "PyTree"),
    (PyTree[Float[Array, "n"]], "PyTree[Float[Array, 'n']]"),
    (PyTree[Array, "S"], "PyTree[Array, 'S']"),
    (Static[int], "Static[int]"),
    (Static, "Static"),
    (VmapAxis, "VmapAxis"),
    (VmapAxis[1], "VmapAxis[1]"),
    (VmapAxis[None], "VmapAxis[None]"),
    (VmapAxis[1, Array], "VmapAxis[1, Array]"),
    (Annotated[Array, VmapAxis[1]], "Annotated[Array, VmapAxis[1]]"),
    (Annotated[Donate[Array], VmapAxis[1], "doc"], "Annotated[Donate[Array], VmapAxis[1], 'doc']"),
    (Donate[AXIS[0, NoDiff[Traced[Array]]]], "Donate[VmapAxis[0, NoDiff[Traced[Array]]]]"),
    (Diff[Array], "Diff[Array]"),
    (Annotated[Array, PartitionSpec("x", None)], "Annotated[Array, PartitionSpec('x', None)]"),
    (tuple[Static[int], Donate[Model]], "tuple[Static[int], Donate[Model]]"),
    (tuple[Array, ...], "tuple[Array, ...]"),
    (tuple[()], "tuple[()]"),
    (dict[str, list[Array]], "dict[str, list[Array]]"),
    (typing.Dict[str, Array], "dict[str, Array]"),
    (Array | None, "Array | None"),
    (Optional[Static[int]], "Static[int] | None"),
    (Literal[1, "a"], "Literal[1, 'a']"),
    (collections.abc.Callable[[int, Model], Array], "Callable[[int, Model], Array]"),
    (typing.Callable[..., Any], "Callable[..., Any]"),
    (NDArray[np.float32], "NDArray[float32]"),
    (np.bool_, "np.bool_"),
    (type[Model], "type[Model]"),
    (None, "None"),
    (Any, "Any"),
    (T, "T"),
    (UserId, "UserId"),
    (Lazy, "Lazy"),
    (LazyBatched[Array], "LazyBatched[Array]"),
    (Static[FOO], "Static[Foo]"),
    ("Foo", "Foo"),
    (dataclasses.InitVar[int], "InitVar[int]"),
    (typing.Self, "Self"),
    (3, "3"),
]


@pytest.mark.parametrize(("annotation", "text"), SHOWN, ids=[row[1] for row in SHOWN])
def test_annotations_are_shown_as_they_are_written(annotation: Any, text: str):
    assert show(annotation) == text


def test_what_is_shown_can_be_read_again():
    names = SimpleNamespace(**{name: getattr(typing, name) for name in typing.__all__})
    scope = Scope(
        vars(names), {"NDArray": NDArray, "float32": np.float32, "ndarray": np.ndarray}, module=globals()
    )
    unreadable = {"", "Static", "VmapAxis", "3", "Self", "InitVar[int]", "np.bool_"}
    unreadable.add("tuple[Static[int], Donate[Model]]")  # not where markers may be
    for annotation, text in SHOWN:
        if text not in unreadable:
            again, first = parse(text, scope), parse(annotation)
            assert (facts(again), again.role) == (facts(first), first.role), text


def test_local_classes_are_shown_without_where_they_are_defined():
    class Inner:
        pass

    assert show(list[Inner]) == "list[Inner]"
    assert show(jax.ShapeDtypeStruct) == "ShapeDtypeStruct"


def test_a_class_that_has_attributes_of_jaxtypings_is_shown_by_its_name():
    class Sampler:
        leaftype, structure = int, None

    class Layout:
        dim_str, array_type = "n", int

    assert [show(Sampler), show(Layout)] == ["Sampler", "Layout"]


@pytest.mark.parametrize(
    "bare",
    [typing.Callable, typing.List, typing.Dict, typing.Tuple, typing.Type, typing.Hashable, typing.Sized],
)
def test_names_of_typing_may_stand_without_arguments(bare):
    assert parse(bare).type is bare
