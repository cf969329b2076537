"""Places inside of containers: each array of a list, a tuple or a dictionary where its type says."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypedDict, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree
from meshes import AUTO, EXPLICIT, set_mesh
from typing_extensions import NotRequired

from typedfilter import (
    AnnotationError,
    Donate,
    NoDiff,
    ShapeError,
    Traced,
    explain,
    filter_grad,
    filter_jit,
    filter_shard_map,
    filter_vmap,
    pytree_dataclass,
)

X = jnp.arange(32.0).reshape(8, 4)
P = PartitionSpec

Any_ = Float[Array, "..."]
Rows = Annotated[Any_, P("data")]
Columns = Annotated[Any_, P(None, "model")]
ROWS, COLUMNS, WHOLE = (2, 4), (8, 2), (8, 4)
T = TypeVar("T")


@pytree_dataclass
class Net:
    weight: Rows
    bias: Any_
    activation: Any = jnp.tanh


@pytree_dataclass
class Deep:
    layers: list[Net]
    pair: tuple[Columns, Any_]


class Batch(TypedDict):
    x: Rows
    y: Columns


class Some(TypedDict):
    x: Rows
    y: NotRequired[Columns]


class Box(Generic[T]):
    pass


NET = Net(X, X)
OF_NET = [ROWS, WHOLE]
CASES = {
    "list": (list[Rows], [X, X], [ROWS, ROWS]),
    "dict": (dict[str, Rows], {"a": X, "b": X}, [ROWS, ROWS]),
    "ordered": (collections.OrderedDict[str, Rows], collections.OrderedDict(b=X), [ROWS]),
    "sequence": (Sequence[Rows], (X, X), [ROWS, ROWS]),
    "mapping": (Mapping[str, list[Rows]], {"a": [X]}, [ROWS]),
    "pytree": (PyTree[Rows], {"a": [X]}, [ROWS]),
    "tuple of any length": (tuple[Rows, ...], (X, X), [ROWS, ROWS]),
    "tuple": (tuple[Rows, Columns, Any_], (X, X, X), [ROWS, COLUMNS, WHOLE]),
    "tuple of alike": (tuple[Rows, Rows], (X, X), [ROWS, ROWS]),
    "list of tuples": (list[tuple[Rows, Columns]], [(X, X)] * 2, [ROWS, COLUMNS] * 2),
    "tuple or None": (tuple[Rows, Columns] | None, (X, X), [ROWS, COLUMNS]),
    "None": (tuple[Rows, Columns] | None, None, []),
    "optional elements": (list[Rows | None], [X, None], [ROWS]),
    "typed dict": (Batch, {"x": X, "y": X}, [ROWS, COLUMNS]),
    "typed dicts": (list[Batch], [{"x": X, "y": X}], [ROWS, COLUMNS]),
    "typed dict of some": (Some, {"x": X}, [ROWS]),
    "typed dict of all": (Some, {"y": X, "x": X}, [ROWS, COLUMNS]),
    "models": (list[Net], [NET, NET], OF_NET * 2),
    "model in a tuple": (tuple[Annotated[Net, P()], Columns], (NET, X), [*OF_NET, COLUMNS]),
    "model of models": (Annotated[Deep, P()], Deep([NET], (X, X)), [*OF_NET, COLUMNS, WHOLE]),
    "mixed": (tuple[Rows, Any, Columns], (X, "text", X), [ROWS, COLUMNS]),
}


def pieces(tree: Any) -> list[Any]:
    """The shape of what each device holds of each array."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "sharding")]
    return [leaf.sharding.shard_shape(leaf.shape) for leaf in leaves]


def pointers(array: Any) -> list[int]:
    return sorted(shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards)


def arrays(tree: Any) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]


def annotated(kind: Any, result: Any = Any) -> Any:
    def f(tree):
        return jax.tree.map(lambda leaf: leaf * 2 if isinstance(leaf, jax.Array) else leaf, tree)

    f.__annotations__ = {"tree": kind, "return": result}
    return f


@pytest.mark.parametrize("mesh", [AUTO, EXPLICIT], ids=["auto", "explicit"])
@pytest.mark.parametrize(("kind", "value", "expected"), CASES.values(), ids=CASES)
def test_each_array_is_where_its_type_says(kind, value, expected, mesh):
    with set_mesh(mesh):
        taken, made = filter_jit(annotated(kind)), filter_jit(annotated(Any, kind))
        for out in (taken(value), made(value), taken.lower(value).compile()(value)):
            assert pieces(out) == expected
            for array, given in zip(jax.tree.leaves(out), jax.tree.leaves(value), strict=True):
                assert not isinstance(given, jax.Array) or np.array_equal(array, 2 * given)
        shapes = jax.tree.leaves(made.eval_shape(value))
    said = [leaf for leaf in shapes if isinstance(getattr(leaf, "sharding", None), NamedSharding)]
    assert [part for part in pieces(said) if part != WHOLE] == [part for part in expected if part != WHOLE]


@pytest.mark.parametrize(("kind", "value", "expected"), CASES.values(), ids=CASES)
def test_a_block_of_each_array_is_what_its_type_says(kind, value, expected):
    seen: list[Any] = []

    def f(tree):
        seen.append([leaf.shape for leaf in arrays(tree)])
        return tree

    f.__annotations__ = {"tree": kind, "return": kind}
    with set_mesh(AUTO):
        out = filter_shard_map(f, check_vma=False)(value)
    assert seen[-1] == expected
    assert all(map(np.array_equal, arrays(out), arrays(value)))


def test_arrays_that_are_placed_so_already_stay_where_they_are():
    rows, columns, whole = (NamedSharding(AUTO, spec) for spec in (P("data"), P(None, "model"), P()))

    def f(state: Donate[tuple[Annotated[Net, P()], Columns]]) -> tuple[Annotated[Net, P()], Columns]:
        return jax.tree.map(lambda leaf: leaf + 1 if isinstance(leaf, jax.Array) else leaf, state)

    with set_mesh(AUTO):
        weight, bias, other = jax.jit(lambda x: (x, x, x), out_shardings=(rows, whole, columns))(X)
        state = Net(weight, bias), other
        before = pointers(weight)
        compiled = filter_jit(f).lower(state).compile()
        out = filter_jit(f)(state)
    assert before == pointers(out[0].weight)
    assert other.is_deleted()
    text = compiled.as_text()
    assert text.count("may-alias") + text.count("must-alias") == 3
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))


def test_numbers_that_are_traced_are_placed():
    def f(tree: Traced[dict[str, Annotated[float, P()]]]) -> Any:
        return tree["a"] * 2

    with set_mesh(AUTO):
        assert filter_jit(f)({"a": 1.5}).sharding.is_fully_replicated


def test_under_vmap_it_is_about_one_example():
    def f(pair: tuple[Annotated[Float[Array, "n"], P("model")], Float[Array, "n"]]) -> Any:
        return pair

    with set_mesh(AUTO):
        first, second = filter_jit(filter_vmap(f))((X, X))
    assert (first.sharding.spec, pieces(second)) == (P(None, "model"), [WHOLE])


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("value", "found"), [([X, X], "a list of 2"), ((X, X, X), "a tuple of 3"), (X, "f32[8,4]")]
)
def test_another_structure_is_refused(value, found, check):
    def f(pair: tuple[Rows, Columns]) -> Any:
        return pair

    with set_mesh(AUTO), pytest.raises(ShapeError) as caught:
        filter_jit(f, check=check)(value)
    function = "f()"
    text = "tuple[Annotated[Float[Array, '...'], PartitionSpec('data')], "
    reason = "but its annotation says of the parts of another type where they are"
    assert str(caught.value).splitlines() == [
        f"{function}: argument `pair` is {found}, {reason}",
        f"  expected: {text}Annotated[Float[Array, '...'], PartitionSpec(None, 'model')]]",
        f"  found: {found}",
        "  fix: pass a value of this type, or correct the annotation",
    ]


def test_an_element_that_does_not_fit_is_named():
    def f(batches: list[tuple[Rows, Columns]]) -> Any:
        return batches

    with set_mesh(AUTO), pytest.raises(ShapeError) as caught:
        filter_jit(f)([(X, X), (X, X[:, :3])])
    assert str(caught.value).splitlines()[0] == (
        "f(): argument `batches[1][1]` has size 3 along axis 1, which is split into 2 equal parts"
    )
    with pytest.raises(AnnotationError, match="argument `batches` needs a mesh, and none is set"):
        filter_jit(f)([(X, X)])


AROUND = "put the place around the whole annotation, or make what it is about an argument of its own"
REFUSED = {
    "callable": (Callable[[Rows], Any_], "a place inside of Callable[...] can't be honoured", AROUND),
    "generic": (Box[Rows], "a place inside of Box[...] can't be honoured", AROUND),
    "key": (dict[Rows, int], "a place inside of dict[...] can't be honoured", AROUND),
    "leaves": (PyTree[tuple[Rows, Columns]], "the leaves of a PyTree are in one place each", AROUND),
    "static": (
        tuple[Rows, Annotated[int, P()]],
        "`int`, which is static, is not on any device",
        "drop the PartitionSpec",
    ),
    "twice": (Annotated[list[Rows], P()], "it has two shardings", "keep one PartitionSpec"),
    "members": (
        Rows | Columns,
        "a marker on one member of a union can't be honoured",
        "put the marker around the whole union, as in Donate[A | B]",
    ),
}


@pytest.mark.parametrize(("kind", "reason", "fix"), REFUSED.values(), ids=REFUSED)
def test_where_it_can_t_be_honoured_it_is_refused(kind, reason, fix):
    with pytest.raises(AnnotationError) as caught:
        filter_jit(annotated(kind))
    first, *rest = str(caught.value).splitlines()
    assert first.endswith(f", but {reason}")
    assert rest == [f"  fix: {fix}"]


def test_other_markers_on_the_keys_of_a_typed_dict_are_refused():
    class Frozen(TypedDict):
        x: NoDiff[Any_]

    def loss(tree: Frozen) -> Float[Array, ""]:
        return tree["x"].sum()

    loss.__annotations__["tree"] = Frozen
    with pytest.raises(AnnotationError) as caught:
        filter_grad(loss)
    reason = "but of a TypedDict a key has no marker but a place"
    assert str(caught.value).splitlines() == [
        f"Frozen(): argument `x` is annotated NoDiff[Float[Array, '...']], {reason}",
        "  fix: make it a parameter of its own, or a field of a pytree_dataclass",
    ]


def test_explain_says_which_elements_are_placed():
    kind = tuple[Rows, Any_, Columns]
    with set_mesh(AUTO):
        jitted = str(explain(filter_jit(annotated(kind, kind)), (X, X, X)))
        mapped = str(explain(filter_shard_map(annotated(kind, kind)), (X, X, X)))
    effects = ["traced, placed", "traced", "traced, placed"]
    assert [line.split("128 B  ")[1] for line in jitted.splitlines() if "128 B" in line] == effects
    blocks = ["blocks of axis 0 along data", "copied", "blocks of axis 1 along model"]
    assert [line.split("128 B  ")[1] for line in mapped.splitlines() if "128 B" in line] == blocks


def test_of_several_processes_a_numpy_array_in_a_placed_field_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with (
        set_mesh(AUTO),
        pytest.raises(ShapeError, match=r"argument `nets\[0\].weight` is a NumPy array of this"),
    ):
        filter_jit(lambda nets: nets)([Net(np.asarray(X), np.asarray(X))])
