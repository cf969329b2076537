"""What is annotated to hold arrays only travels whole: containers, unions and classes. If not, it says so."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Optional, TypedDict

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


# ------------------------------------------------------------------------------------ models that hold models


@pytree_dataclass
class Counting(Ours):
    n: Any = 2


@pytree_dataclass
class Model:
    layers: list[Ours]
    head: Ours


def scaled(log: list[str], model: Model, x: Float[Array, "n"]) -> tuple[Model, Any]:
    log.append("traced")
    numbers = [type(layer.n).__name__ for layer in model.layers if isinstance(layer, Counting)]
    return jax.tree.map(lambda a: 2 * a, model), numbers


def counted() -> tuple[list[str], Any]:
    log: list[str] = []

    @filter_jit
    def scale(model: Model, x: Float[Array, "n"]) -> tuple[Model, Any]:
        return scaled(log, model, x)

    return log, scale


PLAIN = Model([Ours(X), Ours(X)], Ours(X))
WITH_NUMBER = Model([Ours(X), Counting(X, 3)], Ours(X))


def test_a_model_of_models_travels_whole_and_is_traced_once_for_each_structure():
    log, scale = counted()
    for _ in range(3):
        out, _ = scale(PLAIN, X)
        out, _ = scale(out, X)
        assert out.layers[1].a.tolist() == [4.0, 4.0]
    scale(Model([], Ours(X)), X)
    assert log == ["traced"] * 2
    assert "split" not in str(explain(scale, PLAIN, X))


@pytest.mark.parametrize("first", ["plain", "with number"])
def test_an_instance_of_a_subclass_keeps_its_static_field_whichever_comes_first(first: str):
    log, scale = counted()
    order = [PLAIN, WITH_NUMBER] if first == "plain" else [WITH_NUMBER, PLAIN]
    for _ in range(3):
        for model in order:
            out, numbers = scale(model, X)
            assert numbers == (["int"] if model is WITH_NUMBER else [])
            assert out.layers[0].a.tolist() == [2.0, 2.0]
    # The plain model is traced again, once, after its class turned out not to travel whole.
    assert log == ["traced"] * (3 if first == "plain" else 2)


@pytest.mark.parametrize("n", [3, "text", jnp.sin], ids=["number", "text", "function"])
def test_a_static_leaf_in_a_subclass_is_static_below_other_transforms_as_well(n: Any):
    seen: list[Any] = []

    @filter_jit
    def total(model: Model) -> Array:
        seen.extend(layer.n for layer in model.layers if isinstance(layer, Counting))
        return model.layers[0].a.sum() + model.layers[1].a.sum()

    def loss(a: Array, last: Any) -> Array:
        return total(Model([Ours(a), last(a)], Ours(a)))

    assert jax.jit(jax.grad(lambda a: loss(a, Ours)))(X).tolist() == [2.0, 2.0]
    assert jax.jit(jax.grad(lambda a: loss(a, lambda a: Counting(a, n))))(X).tolist() == [2.0, 2.0]
    assert jax.vmap(lambda a: loss(a, lambda a: Counting(a, n)))(jnp.ones((2, 2))).tolist() == [4.0, 4.0]
    with jax.disable_jit():
        assert loss(X, lambda a: Counting(a, n)).tolist() == 4.0
    assert all(value is n or value == n for value in seen)


def test_an_error_of_the_body_is_raised_once_also_where_a_model_travels_whole():
    log: list[str] = []

    @filter_jit
    def fails(model: Model, x: Float[Array, "n"]) -> Array:
        log.append("traced")
        raise KeyError("of the body")

    with pytest.raises(KeyError, match="of the body"):
        fails(PLAIN, X)
    with pytest.raises(KeyError, match="of the body"):
        fails(WITH_NUMBER, X)
    assert log == ["traced"] * 2


@pytree_dataclass
class Chain:
    head: Float[Array, "n"]
    tail: Any


def test_a_model_may_be_as_deep_as_jax_takes_it():
    chain = None
    for _ in range(sys.getrecursionlimit() // 2):  # more than that JAX does not take
        chain = Chain(X, chain)

    @filter_jit
    def first(chain: Chain) -> Array:
        return chain.head

    assert first(chain).tolist() == [1.0, 1.0]
