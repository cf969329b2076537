"""`pytree_dataclass`: what JAX sees, what is static, and what never runs on unflattening."""

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import pickle
import weakref
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Generic, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter._reading.fields import HIDDEN, is_pytree_dataclass
from typedfilter._values import keys as _keys
from typedfilter.annotations import NoDiff, Static
from typedfilter.errors import AnnotationError, PytreeError, StaticArgumentError
from typedfilter.pytree import pytree_dataclass
from typedfilter.vmap_axis import VmapAxis

T = TypeVar("T")
Size: TypeAlias = Static[int]
constructed: list[str] = []


@pytree_dataclass
class Linear:
    weight: Float[Array, "out in"]
    size: Static[Any]
    bias: Any = None
    shared: ClassVar[int] = 3

    def __post_init__(self) -> None:
        constructed.append("Linear")

    def __call__(self, x: Array) -> Array:
        return self.weight @ x


@pytree_dataclass
class Plain:
    one: Any
    two: Any = 2


@pytree_dataclass
class Deeper(Linear):
    depth: Static[int] = 1
    gain: Any = 1.0


@pytree_dataclass(slots=True, kw_only=True)
class Slotted(Generic[T]):
    value: T
    name: Static[str] = "a"
    rest: list[Any] = dataclasses.field(default_factory=list, repr=False)
    count: int = dataclasses.field(init=False, default=7)


@pytree_dataclass(eq=True)
class Comparable:
    number: int
    name: Static[str]


@pytree_dataclass
class OwnInit:
    total: Any
    label: Static[str]
    spare: Any = dataclasses.field(init=False, default=None)

    def __init__(self, one: int, two: int) -> None:
        constructed.append("OwnInit")
        object.__setattr__(self, "total", one + two)
        object.__setattr__(self, "label", f"{one}+{two}")


ONES = jnp.ones((2, 2))


def linear(size: Any = 3) -> Linear:
    return Linear(ONES, size)


# --- what JAX sees ------------------------------------------------------------------------------------------


def test_data_fields_are_the_children_by_name_and_in_order():
    paths = jax.tree_util.tree_leaves_with_path(Linear(ONES, 3, bias={"b": 1.0}))
    assert [(jax.tree_util.keystr(path), leaf) for path, leaf in paths] == [
        (".weight", ONES),
        (".bias['b']", 1.0),
    ]
    assert paths[0][0] == (jax.tree_util.GetAttrKey("weight"),)


def test_unflattening_gives_an_equal_instance_and_runs_no_code_of_the_class():
    one, two = linear(), OwnInit(1, 2)
    constructed.clear()
    for tree in (one, two, Slotted(value=ONES), Deeper(ONES, 3, gain=2.0, depth=4), Plain(1)):
        leaves, treedef = jax.tree.flatten(tree)
        again = treedef.unflatten(leaves)
        assert type(again) is type(tree)
        assert repr(again) == repr(tree)
        for field in dataclasses.fields(tree):
            assert getattr(again, field.name) is getattr(tree, field.name) or field.name == "rest"
    assert constructed == ["Linear"]  # Deeper(...) itself


def test_anything_may_stand_in_a_data_field_after_unflattening():
    placeholder = object()
    filled = jax.tree.map(lambda leaf: placeholder, Linear(ONES, 3, bias=ONES))
    assert (filled.weight, filled.bias, filled.size) == (placeholder, placeholder, 3)


def test_repeated_flattening_gives_the_same_structure():
    one = linear()
    treedefs = {
        jax.tree.structure(tree) for tree in (one, one, linear(), jax.tree.map(lambda leaf: leaf + 1, one))
    }
    assert len(treedefs) == 1
    assert "size=3" in str(treedefs.pop())


def test_unflattening_keeps_the_very_objects_of_static_fields():
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Named)

        def __hash__(self) -> int:
            return 0

    one, two = linear(Named("one")), linear(Named("two"))
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert jax.tree.map(abs, one).size.name == "one"
    assert jax.tree.map(abs, two).size.name == "two"


def test_marks_on_data_fields_leave_them_data():
    @pytree_dataclass
    class Marked:
        frozen: NoDiff[Any]
        mapped: Annotated[Any, VmapAxis[1]]
        both: Annotated[Static[int], "note"]

    assert jax.tree.leaves(Marked(1, 2, 3)) == [1, 2]


# --- static fields are compared exactly ---------------------------------------------------------------------

SIZES = [1, 1.0, True, 0.0, -0.0, np.int32(1), (1,), (1.0,), (True,), ((0.0,),), ((-0.0,),), frozenset([1])]


@pytest.mark.parametrize("cls", [Linear, Slotted])
def test_each_distinguishable_static_value_is_traced_once_and_seen_as_it_is(cls):
    seen = []

    @jax.jit
    def f(tree: Any) -> Array:
        seen.append(tree.name if cls is Slotted else tree.size)
        return jnp.zeros(())

    for _ in range(3):
        for size in SIZES:
            f(Slotted(value=ONES, name=size) if cls is Slotted else linear(size))
    assert [repr(one) for one in seen] == [repr(size) for size in SIZES]


def test_a_nan_in_a_static_field_is_traced_once():
    seen = []
    f = jax.jit(lambda tree: seen.append(tree.size))
    for _ in range(3):
        f(linear(float("nan")))
        f(linear((1, float("nan"))))
    assert len(seen) == 2


def test_branches_on_a_static_field_see_the_value_of_the_call():
    f = jax.jit(lambda tree: tree.weight[0, 0] / jnp.float32(tree.size))
    assert [float(f(linear(size))) for size in (0.0, -0.0, 0.0)] == [np.inf, -np.inf, np.inf]


def test_two_classes_with_equal_static_values_differ():
    @pytree_dataclass
    class Copy:
        weight: Any
        size: Static[int]
        bias: Any = None

    @pytree_dataclass
    class PlainCopy:
        one: Any
        two: Any

    assert jax.tree.structure(Copy(ONES, 3)) != jax.tree.structure(linear(3))
    assert jax.tree.structure(PlainCopy(1, 2)) != jax.tree.structure(Plain(1, 2))


# --- it is an ordinary frozen dataclass ---------------------------------------------------------------------


def test_it_is_frozen_and_compares_by_identity_unless_asked():
    one = linear()
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.size = 4
    assert one != linear()
    assert len({one, linear()}) == 2
    assert Comparable(1, "a") == Comparable(1, "a") != Comparable(2, "a")
    assert hash(Comparable(1, "a")) == hash(Comparable(1, "a"))


@pytest.mark.parametrize("name", ["value", "name", "other"])
def test_slots_are_frozen_too(name):
    slotted = Slotted(value=1)
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(slotted, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
        delattr(slotted, name)
    assert not hasattr(slotted, "__dict__")


def test_the_hidden_field_shows_nowhere():
    one = Comparable(1, "a")
    jax.tree.flatten(one)
    assert repr(one) == "Comparable(number=1, name='a')".replace("Comparable", Comparable.__qualname__)
    assert [field.name for field in dataclasses.fields(one)] == ["number", "name"]
    assert dataclasses.asdict(one) == {"number": 1, "name": "a"}
    assert list(inspect.signature(Comparable).parameters) == ["number", "name"]
    assert Comparable.__match_args__ == ("number", "name")
    assert one == Comparable(1, "a")


def test_replace_makes_a_changed_copy_whose_structure_is_its_own():
    one = linear()
    jax.tree.flatten(one)
    two = dataclasses.replace(one, size=4)
    assert two.size == 4
    assert two.weight is ONES
    assert jax.tree.structure(two) == jax.tree.structure(linear(4)) != jax.tree.structure(one)


def test_a_subclass_has_the_fields_of_both():
    deeper = Deeper(ONES, 3, gain=2.0, depth=4)
    assert jax.tree.leaves(deeper) == [ONES, 2.0]
    assert jax.tree.structure(deeper) != jax.tree.structure(Deeper(ONES, 3, gain=2.0, depth=5))
    assert jax.tree.structure(deeper) != jax.tree.structure(Deeper(ONES, 4, gain=2.0, depth=4))


def test_a_subclass_may_make_a_data_field_static():
    @pytree_dataclass
    class Fixed(Plain):
        two: Static[int] = 5

    assert jax.tree.leaves(Fixed(1)) == [1]
    assert jax.tree.leaves(Plain(1)) == [1, 2]


def test_a_subclass_without_slots_of_a_class_with_slots_works():
    @pytree_dataclass(slots=True)
    class Tight:
        value: Any
        name: Static[str]

    @pytree_dataclass
    class Open(Tight):
        more: Any = 1

    tree = jax.tree.map(lambda leaf: leaf + 1, Open(1, "b"))
    assert (tree.value, tree.name, tree.more) == (2, "b", 2)
    assert jax.tree.structure(tree) == jax.tree.structure(Open(1, "b")) != jax.tree.structure(Open(1, "c"))


def test_a_base_with_its_own_init_can_be_called_by_the_subclass():
    @pytree_dataclass
    class Longer(OwnInit):
        extra: Any = None

        def __init__(self, one: int) -> None:
            super().__init__(one, one)
            object.__setattr__(self, "extra", one)

    tree = Longer(2)
    assert jax.tree.leaves(tree) == [4, 2]
    assert jax.tree.map(lambda leaf: leaf + 1, tree).extra == 3


@pytest.mark.parametrize("make", [lambda: linear(), lambda: Slotted[int](value=1), lambda: OwnInit(1, 2)])
def test_instances_pickle_and_copy_flattened_or_not(make):
    for flattened in (False, True):
        tree = make()
        if flattened:
            jax.tree.flatten(tree)
        for again in (pickle.loads(pickle.dumps(tree)), copy.deepcopy(tree), copy.copy(tree)):
            assert repr(again) == repr(tree)
            assert jax.tree.structure(again) == jax.tree.structure(tree)


def test_a_copy_does_not_inherit_the_static_part_of_the_original():
    one = linear()
    jax.tree.flatten(one)
    two = copy.copy(one)
    object.__setattr__(two, "size", 4)
    assert jax.tree.structure(two) == jax.tree.structure(linear(4))


def test_a_state_of_its_own_is_left_to_the_class():
    @pytree_dataclass
    class Stateful:
        one: Any

        def __getstate__(self) -> dict[str, Any]:
            return {"one": "kept"}

    assert copy.copy(Stateful(1)).one == "kept"


def test_docs_names_and_signature_stay():
    assert Linear.__name__ == "Linear"
    assert str(inspect.signature(Plain)) == "(one: Any, two: Any = 2) -> None"
    assert is_pytree_dataclass(Linear)
    assert not is_pytree_dataclass(int)


def test_an_instance_with_code_works_under_the_transforms_of_jax():
    x = jnp.arange(2.0)
    assert jax.jit(lambda model, x: model(x))(linear(), x).tolist() == [1.0, 1.0]
    gradient = jax.grad(lambda model: model(x).sum())(linear())
    assert (gradient.weight.tolist(), gradient.size) == ([[0.0, 1.0], [0.0, 1.0]], 3)
    batch = jax.vmap(lambda scale: Linear(ONES * scale, 3))(x)
    assert (batch.weight.shape, batch.size) == ((2, 2, 2), 3)


# --- annotations that are not spelled out -------------------------------------------------------------------


def test_static_is_found_through_an_alias_and_in_the_scope_of_a_function():
    Word = Static[str]

    @pytree_dataclass
    class Local:
        size: Size
        word: Word
        callback: Static[Callable[[Array], Array]]
        itself: Local | None = None

    assert jax.tree.leaves(Local(1, "a", abs, Local(2, "b", abs))) == []


def test_an_unknown_name_inside_static_does_not_lose_it():
    @pytree_dataclass
    class Odd:
        thing: Static[NotDefinedAnywhere]  # pyright: ignore[reportUndefinedVariable]
        other: AlsoNotDefined  # pyright: ignore[reportUndefinedVariable]

    assert jax.tree.leaves(Odd(1, 2)) == [2]


def test_a_name_that_turns_out_to_be_static_after_the_class_is_an_error():
    @pytree_dataclass
    class Early:
        number: Late  # pyright: ignore[reportUndefinedVariable]

    globals()["Late"] = Static[int]
    try:
        with pytest.raises(AnnotationError) as e:
            Early(1)
    finally:
        del globals()["Late"]
    assert str(e.value) == (
        "Early(): argument `number` is Static by a name that was defined after the class\n"
        "  found: Static[int]\n"
        "  fix: define the name before the class, or write Static[...] at the field itself"
    )


# --- bad input ----------------------------------------------------------------------------------------------

STATIC_FIX = "\n  fix: drop Static from an array; of anything else pass what is hashable, a tuple for a list"


@pytest.mark.parametrize(
    ("value", "problem", "found"),
    [
        ([1], "is unhashable: list", "list [1]"),
        (ONES, "is an array", "an array f32[2,2]"),
        (np.ones(2), "is an array", "an array f32[2]"),
        ((1, ONES), "is unhashable: tuple with an array inside", "tuple (1, f32[2,2])"),
    ],
)
def test_an_unhashable_value_or_an_array_in_a_static_field_is_refused_at_once(value, problem, found):
    expected = f"\n  expected: a hashable value, since the field is Static[Any]\n  found: {found}"
    with pytest.raises(StaticArgumentError) as e:
        linear(value)
    assert str(e.value) == f"Linear(): argument `size` {problem}{expected}{STATIC_FIX}"
    with pytest.raises(StaticArgumentError) as e:
        dataclasses.replace(linear(), size=value)
    assert str(e.value) == f"Linear(): argument `size` {problem}{expected}{STATIC_FIX}"


def test_a_traced_value_in_a_static_field_is_refused():
    with pytest.raises(StaticArgumentError, match=r"^Linear\(\): argument `size` is an array\n"):
        jax.jit(linear)(1.0)


def test_what_only_shows_when_values_are_compared_is_refused_then():
    class Incomparable:
        def __eq__(self, other: object) -> Any:
            raise RuntimeError("can't say")

        def __hash__(self) -> int:
            return 0

        def __repr__(self) -> str:
            return "..."

    one, two = linear(Incomparable()), linear(Incomparable())
    held = jax.tree.structure(one)
    with pytest.raises(StaticArgumentError) as e:
        jax.tree.flatten(two)
    assert held.num_leaves == 1
    assert str(e.value) == (
        "Linear(): argument `size` has an __eq__ that raised RuntimeError: can't say\n"
        f"  expected: a hashable value, since the field is Static[Any]\n  found: Incomparable ...{STATIC_FIX}"
    )


def test_a_subclass_that_is_not_decorated_is_refused_at_its_first_instance():
    class Forgotten(Linear):
        pass

    with pytest.raises(PytreeError) as e:
        Forgotten(ONES, 3)
    assert str(e.value) == (
        "Forgotten(): derives from the pytree_dataclass Linear and isn't one itself\n"
        "  fix: decorate it with @pytree_dataclass too: JAX would take its instances for leaves"
    )


def test_a_pytree_can_not_be_mutable():
    with pytest.raises(PytreeError) as e:
        pytree_dataclass(frozen=False)
    assert str(e.value) == (
        "pytree_dataclass(): is always frozen\n  found: frozen=False\n"
        "  fix: drop the option; dataclasses.replace(x, field=value) makes a changed copy"
    )


def test_a_contradiction_in_a_field_is_an_error_of_the_decorator():
    with pytest.raises(AnnotationError, match=r"^Wrong\(\): argument `weight` "):

        @pytree_dataclass
        class Wrong:
            weight: Static[Float[Array, "n"]]


# --- memory -------------------------------------------------------------------------------------------------


def test_static_values_are_freed_with_the_last_instance_and_structure():
    class Value:
        pass

    gc.collect()
    before = len(_keys._TABLE)
    trees = [linear(Value()) for _ in range(50)]
    refs = [weakref.ref(tree.size) for tree in trees]
    mapped = [jax.tree.map(lambda leaf: leaf, tree) for tree in trees]
    assert len(_keys._TABLE) == before + 50
    del trees, mapped
    gc.collect()
    assert [ref for ref in refs if ref() is not None] == []
    assert len(_keys._TABLE) == before


def test_an_instance_whose_static_field_leads_back_to_it_is_freed():
    class Cell:
        content: Any = None

    cell = Cell()
    tree = linear(cell)
    cell.content = tree
    jax.tree.flatten(tree)
    ref = weakref.ref(cell)
    del cell, tree
    gc.collect()
    assert ref() is None


def test_the_static_part_is_computed_once_for_an_instance():
    asked = []

    class Counted:
        def __hash__(self) -> int:
            asked.append("hash")
            return 0

    tree = linear(Counted())
    jax.tree.flatten(tree)
    asked.clear()
    for _ in range(5):
        tree = jax.tree.map(lambda leaf: leaf, tree)
    assert asked == []


def test_attributes_go_round_through_the_constructor_also_after_jax_has_seen_them():
    made = []

    @pytree_dataclass
    class Counted:
        w: Array
        n: Static[int]

        def __post_init__(self) -> None:
            made.append(self.n)

    one = Counted(jnp.ones(2), 2)
    for tree in (one, jax.tree.map(lambda leaf: leaf, one)):
        jax.tree.flatten(tree)
        assert set(vars(tree)) == {"w", "n"}
        changed = Counted(**{**vars(tree), "n": 3})
        assert (changed.n, jax.tree.structure(changed)) == (3, jax.tree.structure(Counted(tree.w, 3)))
    assert made == [2, 3, 3, 3, 3]


def test_the_hidden_field_is_taken_from_nobody_but_jax():
    with pytest.raises(TypeError, match="unexpected keyword argument '__typedfilter_static__'"):
        Comparable(1, "a", **{HIDDEN: "a"})


def test_a_namespace_that_was_taken_before_is_still_that_of_the_copy():
    one = linear()
    jax.tree.flatten(one)
    assert type(pickle.loads(pickle.dumps(vars(one)))) is dict
    assert type(copy.copy(one).__getstate__()) is dict
