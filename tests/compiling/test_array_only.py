"""What is annotated to hold arrays only travels whole: containers, unions and classes. If not, it says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Optional, TypedDict, final

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float, Int, PyTree

from typedfilter import ShapeError, explain, filter_jit, pytree_dataclass

X = jnp.ones(2)
ANY = Float[Array, "..."]


class Pair(NamedTuple):
    a: Float[Array, "..."]
    b: Float[Array, "..."]


class Named(TypedDict):
    a: Float[Array, "..."]


@final
@pytree_dataclass
class Ours:
    a: Float[Array, "..."]


@pytree_dataclass
class Nested:
    inner: Ours


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    a: Float[Array, "..."]


def leaf(value: Any) -> Any:
    return value


CASES: dict[str, tuple[Any, Callable[[Any], Any], str]] = {
    "array or None": (ANY | None, leaf, ""),
    "tree": (PyTree[ANY], lambda x: [{"a": X, "b": x}], "[0]['b']"),
    "named tree": (PyTree[ANY, "T"], lambda x: (X, (x,)), "[1][0]"),
    "tree of trees": (PyTree[PyTree[ANY]], lambda x: [x], "[0]"),
    "tree of a union": (PyTree[ANY | Int[Array, "..."]], lambda x: [x], "[0]"),
    "tree of records": (PyTree[Pair], lambda x: [Pair(X, x)], "[0].b"),
    "tree of arrays or None": (PyTree[Array | None], lambda x: [None, x], "[1]"),
    "list of dictionaries": (list[dict[str, ANY]], lambda x: [{"a": x}], "[0]['a']"),
    "tuple": (tuple[ANY, ...], lambda x: (X, x), "[1]"),
    "fixed tuple": (tuple[ANY, list[ANY]], lambda x: (X, [X, x]), "[1][1]"),
    "optional": (Optional[PyTree[ANY]], lambda x: {"a": x}, "['a']"),
    "union": (ANY | list[ANY], lambda x: [X, x], "[1]"),
    "named tuple": (Pair, lambda x: Pair(X, x), ".b"),
    "typed dictionary": (Named, lambda x: {"a": x}, "['a']"),
    "dataclass of ours": (Ours, Ours, ".a"),
    "nested dataclass": (Nested, lambda x: Nested(Ours(x)), ".inner.a"),
    "registered dataclass": (Registered, Registered, ".a"),
    "dataclass or None": (Ours | None, Ours, ".a"),
}


def taking(annotation: Any) -> Callable[..., Any]:
    def step(tree: Any, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x + 1

    step.__annotations__["tree"] = annotation
    return filter_jit(step)


@pytest.mark.parametrize("name", CASES)
def test_what_holds_arrays_only_travels_whole(name: str):
    annotation, make, _ = CASES[name]
    step, tree = taking(annotation), make(X)
    for _ in range(2):
        assert step(tree, X).tolist() == [2.0, 2.0]
    assert "split" not in str(explain(step, tree, X))


@pytest.mark.parametrize("wrong", ["text", jnp.sin], ids=["text", "function"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_no_array_in_one_is_an_error_that_names_its_path(name: str, wrong: Any):
    annotation, make, path = CASES[name]
    step = taking(annotation)
    for _ in range(2):  # before anything is compiled, and after
        with pytest.raises(ShapeError) as caught:
            step(make(wrong), X)
        assert f"argument `tree{path}` is not an array" in str(caught.value)
        step(make(X), X)
