"""Python frames that a compiled call enters: one on the direct path and by type, a few to split a tree."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

from typedfilter import Diff, Donate, Static, Traced, VmapAxis, filter_grad, filter_jit, filter_vmap
from typedfilter.pytree import pytree_dataclass

X = jnp.ones(3)


def frames(call: Callable[[], Any]) -> list[str]:
    """The names of the Python functions that are entered by a call that has compiled before."""
    jax.block_until_ready((call(), call(), call()))
    entered: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered[1:]  # without `call` itself


@pytree_dataclass
class Typed:
    weight: Float[Array, "n"]
    power: Static[int] = 2

    @filter_jit
    def method(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.weight * x


@filter_jit
def direct(x: Float[Array, "n"], n: Static[int] = 2) -> Float[Array, "n"]:
    return x * n


@filter_jit
def named(x: Float[Array, "n"], *, y: Float[Array, "n"], n: Static[int] = 2) -> Float[Array, "n"]:
    return x * n + y


@filter_jit
def model(model: Typed, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return model.weight**model.power * x


@filter_jit
def containers(xs: list[Float[Array, "n"]], named: dict[str, Float[Array, "n"]]) -> Float[Array, "n"]:
    return sum(xs) + named["a"]


@filter_jit
def rated(x: Float[Array, "n"], rate: Traced[float]) -> Float[Array, "n"]:
    return x * rate


@filter_jit
def by_type(x, n=2, *args, **kwargs):
    return x * n


@filter_jit
def loss(w, x):
    return (w * x).sum()


@filter_jit
@filter_vmap
@filter_grad
def stack(w: Diff[Float[Array, ""]], x: VmapAxis[0], n: Static[int] = 2):
    return w * x.sum() * n


@filter_jit
def donating(x: Donate[Float[Array, "n"]]) -> Float[Array, "n"]:
    return x + 1


XS, NAMED, TYPED = [X, X], {"a": X}, Typed(X)
DIRECT: dict[str, Callable[[], Any]] = {
    "by position": lambda: direct(X, 3),
    "by name": lambda: direct(n=3, x=X),
    "by default": lambda: direct(X),
    "a model": lambda: model(TYPED, X),
    "containers": lambda: containers(XS, NAMED),
    "a traced number": lambda: rated(X, 0.5),
}
BY_TYPE: dict[str, Callable[[], Any]] = {
    "an array and an int": lambda: by_type(X, 3),
    "by name": lambda: by_type(n=3, x=X),
    "by default": lambda: by_type(X),
    "a string, a bool, none": lambda: by_type(X, True, None, "s"),
    "many arrays": lambda: by_type(X, X, X, k=X),
    "arrays only": lambda: loss(X, X),
    "a model without annotation": lambda: loss(X, X),
    "a stack": lambda: stack(X, X, 2),
}


@pytest.mark.parametrize("call", DIRECT)
def test_a_call_on_the_direct_path_enters_one_frame(call):
    assert len(frames(DIRECT[call])) == 1


@pytest.mark.parametrize("call", BY_TYPE)
def test_a_call_by_type_enters_one_frame(call):
    assert len(frames(BY_TYPE[call])) == 1


def test_a_call_that_donates_enters_one_frame():
    arrays = iter([X + i for i in range(4)])
    assert len(frames(lambda: donating(next(arrays)))) == 1


def test_what_is_only_passed_by_name_costs_nothing_more_where_jax_tells_types_apart():
    entered = frames(lambda: named(X, y=X, n=3))
    assert len(entered) <= (1 if jax.__version_info__ >= (0, 9) else 12)
    assert "cache_miss" not in entered


def test_a_method_enters_one_frame_and_two_to_find_it():
    assert len(frames(lambda: TYPED.method(X))) == 3
    method = TYPED.method
    assert len(frames(lambda: method(X))) == 1


def test_checks_cost_a_compiled_call_nothing():
    unchecked = filter_jit(direct.__wrapped__, check=False)
    assert frames(lambda: unchecked(X, 3)) == frames(DIRECT["by position"])


def test_a_static_number_with_a_point_is_looked_up_in_a_few_frames():
    entered = frames(lambda: by_type(X, 2.5))
    assert len(entered) <= 20
    assert "cache_miss" not in entered


# ---------------------------------------------------------------------------------------------------- split


def tree(n: int) -> dict[str, Any]:
    """`n` leaves of each kind."""
    kinds = {"array": X, "fn": jnp.sin, "int": 1, "bool": True, "str": "s", "none": None}
    return {kind: [leaf] * n for kind, leaf in kinds.items()}


@filter_jit
def split(tree):
    return tree["array"][0]


def test_splitting_a_tree_enters_as_many_frames_whatever_its_size():
    small, large = tree(2), tree(200)
    assert len(frames(lambda: split(small))) == len(frames(lambda: split(large))) <= 20
    assert "cache_miss" not in frames(lambda: split(large))


def test_a_tree_is_only_compared_with_the_one_before_once_that_has_come_often():
    steady, first = tree(2), filter_jit(lambda tree: tree["array"][0])
    for _ in range(6):
        first(steady)
    entered = frames(lambda: first(steady))
    assert "Packer._again" in entered
    assert "_pack" not in entered


def test_each_number_with_a_point_costs_a_few_frames():
    def call(n):
        numbers = {"x": [X], "array": [X], "floats": [0.5] * n}
        return len(frames(lambda: split(numbers)))

    assert (call(200) - call(100)) // 100 <= 4


def test_a_module_of_equinox_is_flattened_once():
    module = equinox.nn.MLP(2, 2, 2, 2, key=jax.random.key(0))
    apply = filter_jit(lambda module, x: module(x))
    x = jnp.ones(2)
    flattening = len(frames(lambda: jax.tree_util.tree_flatten(module)))
    entered = frames(lambda: apply(module, x))
    assert len(entered) - flattening <= 20
    assert "cache_miss" not in entered


# --------------------------------------------------------------------------------------------------- results


@filter_jit
def static_result(x, n):
    return x, "s", {"n": n, "more": [1, 2.5] * 20}


def test_a_static_result_leaves_the_call_on_jaxs_own_path():
    entered = frames(lambda: static_result(X, 2))
    assert "cache_miss" not in entered
    assert len(entered) <= 10


def test_jaxs_own_path_is_left_when_something_is_new():
    """What the tests above look for is there where it should be."""
    sizes = iter(range(4, 100))
    assert "cache_miss" in " ".join(frames(lambda: direct(jnp.ones(next(sizes)), 2)))
