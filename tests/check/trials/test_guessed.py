"""What is made up for what nobody says: operators of other packages, numbers; and how much is tried."""

from __future__ import annotations

import abc
import importlib
import sys
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, Int

from typedfilter.check import check_shapes

# Traits of operators as packages have them: an abstract base that says no shape, constructors that a person
# wrote, whose annotations are not those of the fields, a field that anything goes in, functions by class.
_OPERATORS = """
import abc
import functools
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree, Shaped

class Operator(eqx.Module):
    def mv(self, vector):
        raise NotImplementedError

class AbstractOperator(Operator):
    @abc.abstractmethod
    def mv(self, vector): ...

class Matrix(AbstractOperator):
    matrix: Inexact[Array, "a b"]
    tags: frozenset[object] = eqx.field(static=True)

    def __init__(self, matrix: Shaped[Array, "a b"], tags: object | frozenset[object] = ()):
        if matrix.ndim != 2:
            raise ValueError("two axes")
        self.matrix = matrix if jnp.issubdtype(matrix.dtype, jnp.inexact) else matrix.astype(float)
        self.tags = frozenset(tags)

    def mv(self, vector):
        return self.matrix @ vector

class Diagonal(AbstractOperator):
    diagonal: PyTree[Inexact[Array, "..."]]

    def __init__(self, diagonal: PyTree[Array]):
        self.diagonal = diagonal

    def mv(self, vector):
        return self.diagonal * vector

def split(vector, count, width):
    if vector.shape != (count * width,):
        found = f"(N d) = {vector.shape[0]}, N = {count}, d = {width}"
        raise ValueError(f"the equations have no solution: {found}")
    return vector.reshape(count, width)

@functools.singledispatch
def diagonal_of(operator):
    raise NotImplementedError

@diagonal_of.register(Diagonal)
def _(operator):
    return operator.diagonal
"""


@pytest.fixture(scope="module")
def operators(tmp_path_factory):
    """A package that is installed, as far as anybody can tell by where it is."""
    folder = tmp_path_factory.mktemp("env") / "site-packages"
    (folder / "operators_of_others").mkdir(parents=True)
    (folder / "operators_of_others" / "__init__.py").write_text(_OPERATORS)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("operators_of_others")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["operators_of_others"]


def verdict(fn):
    (result,) = check_shapes(fn)
    return result


def test_an_operator_of_another_package_is_guessed_to_be_square(operators):
    def quadratic(matrix: operators.AbstractOperator, x: Float[Array, "n"]) -> Float[Array, ""]:
        return x @ matrix.mv(x)

    quadratic.__annotations__["matrix"] = operators.AbstractOperator
    result = verdict(quadratic)
    assert (result.status, result.guessed) == ("checked", True)
    assert result.message.startswith(
        "with square matrices of floats; for all sizes where matrix_b = n, matrix_a = n"
    )


def test_nobody_is_blamed_for_what_a_class_of_another_package_leaves_to_its_subclasses(operators):
    def product(matrix: operators.Operator, x: Float[Array, "n"]) -> Float[Array, "m"]:
        return matrix.mv(x)

    product.__annotations__["matrix"] = operators.Operator
    result = verdict(product)
    assert (result.status, result.message) == ("skipped", "it raises NotImplementedError")


def test_a_diagonal_of_another_package_has_the_size_that_the_function_needs(operators):
    def solve(operator: operators.Diagonal, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x / operators.diagonal_of(operator)

    solve.__annotations__["operator"] = operators.Diagonal
    result = verdict(solve)
    assert (result.status, result.message) == ("proved", "for all sizes where _operator_diagonal_0 = n")


def test_what_is_refused_whatever_is_guessed_is_given_up_soon():
    tried = []

    def fn(x: Float[Array, "n m k"], parts: int, flag: bool, other: bool) -> Float[Array, "n"]:
        tried.append(x.shape)
        if parts not in (64, 128, 256, 512) or x.shape[0] != 77:
            raise ValueError(f"no {parts} parts of {x.shape[0]}")
        return x.sum((1, 2))

    assert verdict(fn).status == "skipped"
    assert len(tried) <= 80


class Vector(NamedTuple):
    x: int
    y: int


class Walls(NamedTuple):
    left: int = 0


class Settings(NamedTuple):
    """Of which no annotation says what goes with what."""

    size: Float[Array, "n"]
    velocity: int | Vector = 1
    walls: Walls | None = None
    door: Vector | Walls = Walls()


def squared(x: Float[Array, "k n"], settings: Settings) -> Float[Array, "n"]:
    return x[settings.velocity.x] ** 2  # pyright: ignore


def padded(x: Float[Array, "n"], settings: Settings) -> Float[Array, "n"]:
    return jnp.roll(x, settings.walls.left + settings.door.left)  # pyright: ignore


def chosen(x: Float[Array, "n"], settings: Settings) -> Float[Array, "n"]:
    return x * (settings.walls.left if settings.size.ndim else settings.velocity.x)  # pyright: ignore


def test_another_type_than_that_of_a_default_is_guessed_where_settings_may_hold_it():
    result = verdict(squared)
    assert (result.status, result.guessed) == ("checked", True)
    assert result.message.startswith("for all sizes; with settings.velocity.x=4")


@pytest.mark.parametrize("fn", [padded, chosen])
def test_nobody_is_blamed_for_which_type_settings_hold(fn):
    assert verdict(fn).status != "failed"


def test_what_no_settings_can_hold_is_a_mistake():
    def missing(x: Float[Array, "n"], settings: Settings) -> Float[Array, "n"]:
        return x * settings.speed

    def planted(x: Float[Array, "n"], scale: Float[Array, "n"] | None) -> Float[Array, "n"]:
        return x * scale.sum()

    def reduced(x: Float[Array, "n"], settings: Settings) -> Float[Array, "n"]:
        return x.sum() * settings.size.sum()

    assert [verdict(fn).status for fn in (missing, planted, reduced)] == ["failed"] * 3


class Layer(eqx.Module):
    weight: Float[Array, "i o"]

    def __init__(self, size: int) -> None:
        self.weight = jnp.eye(size)


class Stack(eqx.Module):
    """Annotated as a list of layers, made as one layer of stacked weights."""

    layers: list[Layer]
    shift: Float[Array, "n"]

    def __init__(self, size: int, depth: int) -> None:
        self.layers = jax.tree.map(lambda leaf: jnp.stack([leaf] * depth), Layer(size))
        self.shift = jnp.zeros(size)

    def forward(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return jax.lax.scan(lambda y, layer: (y @ layer.weight, None), x + self.shift, self.layers)[0]

    def wrong(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return self.forward(x).sum()


def test_fields_that_a_constructor_fills_with_something_else_are_made_by_it():
    found = {result.function.rpartition(".")[2]: result for result in check_shapes(Stack)}
    forward = found["forward"]
    assert (forward.status, forward.guessed) == ("checked", True)
    assert forward.message.startswith("with instances as their constructors make them")
    assert found["wrong"].status == "failed"


def test_a_size_that_a_library_solves_for_is_that_of_the_blocks_of_an_instance(operators):
    class Blocks(eqx.Module):
        blocks: Float[Array, "N d d"]

        def product(self, vector: Float[Array, "n"]) -> Float[Array, "n"]:
            parts = operators.split(vector, *self.blocks.shape[:2])
            return jnp.einsum("nij,nj->ni", self.blocks, parts).reshape(-1)

        def wrong(self, vector: Float[Array, "n"]) -> Float[Array, "n"]:
            return operators.split(vector, *self.blocks.shape[:2]).sum(axis=0)

    found = {result.function.rpartition(".")[2]: result for result in check_shapes(Blocks)}
    product = found["product"]
    assert (product.status, product.by_letter) in (("checked", True), ("proved", True))
    assert product.message.startswith("where n = N*d of `self`; ")
    assert product.fix == "write N*d in the annotations"
    assert found["wrong"].status not in ("proved", "checked")


class Ends:
    """A row of blocks, and what is between them."""

    def __init__(self, blocks: Float[Array, "N d"], between: Float[Array, "Nm1 d"]) -> None:
        if between.shape[0] != blocks.shape[0] - 1:
            raise ValueError(f"there are {blocks.shape[0] - 1} places between blocks")
        self.blocks = blocks
        self.between = between

    def sums(self) -> Float[Array, "Nm1 d"]:
        return self.blocks[1:] + self.between

    def wrong(self) -> Float[Array, "Nm1 d"]:
        return self.blocks + jnp.pad(self.between, ((0, 1), (0, 0)))


def test_a_constructor_that_refuses_all_but_what_a_name_says_is_given_that():
    found = {result.function.rpartition(".")[2]: result for result in check_shapes(Ends)}
    sums = found["sums"]
    assert (sums.status, sums.by_letter) == ("proved", True)
    assert sums.message.startswith("where Nm1 = N-1; for all sizes")
    assert sums.fix == "write N-1 in the annotations"
    assert (found["wrong"].status, found["wrong"].found) == ("failed", "f32[N,d]")


class Many(eqx.Module):
    times: int  # made up
    first: Literal[1, 2, 3, 4, 5, 6]
    second: Literal[1, 2, 3, 4, 5, 6]

    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x * self.first * self.second * self.times


def test_a_verdict_that_stops_at_so_many_trials_says_so():
    (result,) = check_shapes(Many.__call__)
    assert (result.status, result.guessed) == ("checked", True)
    assert "no more cases were tried: with guesses 60 trials are the most" in result.message


def scaled_by(x, *, factor):
    return x * factor


def passes_on(x: Float[Array, "n"], **options) -> Float[Array, "n"]:
    return scaled_by(
        x,
        **options,
    )


def test_nobody_is_blamed_for_what_nobody_says_that_it_passes_on():
    result = verdict(passes_on)
    assert result.status == "skipped"
    assert result.message == "nobody says what it is to pass on: in **options"


class Member:
    def __init__(self, of: type) -> None:
        self.of = of


class Members(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Member) and value.of is cls


class Ending(metaclass=Members):
    pass


def ended(x: Float[Array, "n"], ending: Ending) -> Float[Array, "n"]:
    return x if ending.of is Ending else x + 1


def test_no_instance_is_made_of_a_class_that_says_itself_what_its_instances_are():
    result = verdict(ended)
    assert (result.status, result.message) == ("skipped", "`ending` is of type Ending and has no default")


class Marked(Protocol):
    """Any tree of parameters."""


def of_any_tree(x: Float[Array, "n"], tree: Marked) -> Float[Array, "n"]:
    return x * tree.first


def test_a_protocol_that_declares_nothing_is_no_object_without_attributes():
    result = verdict(of_any_tree)
    assert (result.status, result.message) == ("skipped", "`tree` is a Marked, which declares nothing")


class _Blocks(eqx.Module):
    u: Float[Array, "m k"]
    v: Float[Array, "n k"]

    def __init__(self, size: int, u: Float[Array, "n k"], v: Float[Array, "n k"]):
        if size != 17:
            raise ValueError("17 only")
        self.u, self.v = u, v


def test_nobody_is_blamed_for_fields_that_a_constructor_refuses():
    def diagonal(blocks: _Blocks) -> Float[Array, "n"]:
        return (blocks.u * blocks.v).sum(axis=1)

    (result,) = check_shapes(diagonal)
    assert result.status == "skipped"
    assert result.message == (
        "with instances as their constructors make them it refuses all that was tried: ValueError: 17 only"
    )


def test_a_result_that_is_wrong_is_not_right_for_numbers_that_are_all_the_same():
    class Layer(eqx.Module):
        weight: Array

        def __init__(self, into: int, out: int):
            self.weight = jnp.ones((out, into))

    def forgotten(layer: Layer, x: Float[Array, "b into"]) -> Float[Array, "b into"]:
        return x @ layer.weight.T

    (result,) = check_shapes(forgotten)
    assert result.status == "skipped"


class _Settings(NamedTuple):
    width: int = 32
    heads: int = 4


class _Net(eqx.Module):
    norm: eqx.nn.LayerNorm
    weight: Array

    def __init__(self, settings: _Settings):
        self.norm = eqx.nn.LayerNorm(settings.width)
        self.weight = jnp.ones((settings.width * settings.heads, settings.width))

    def __call__(self, x: Float[Array, "t d"]) -> Float[Array, "t d"]:
        return x + jax.vmap(self.norm)(x)

    def turned(self, x: Float[Array, "t d"]) -> Float[Array, "t d"]:
        return jax.vmap(self.norm)(x).T

    def spread(self, x: Float[Array, "t e"]) -> Float[Array, "t d"]:
        return x @ self.weight


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (_Net.__call__, "where d = 32, as `self.settings.width` is; for all sizes"),
        (
            _Net.spread,
            "where e = 128, as `self.settings.width` times `self.settings.heads` is; for all sizes",
        ),
    ],
    ids=["one", "a product"],
)
def test_the_sizes_of_a_model_may_be_those_of_its_settings(fn, said):
    (result,) = check_shapes(fn)
    assert result.status == "proved"
    assert not result.by_letter
    assert result.message.startswith(said)


def test_a_model_of_settings_that_turns_its_axes_is_wrong():
    (result,) = check_shapes(_Net.turned)
    assert result.status == "failed"


def mean_of_groups(x: Float[Array, "n d"], group: Int[Array, "n"], k: int) -> Float[Array, "k d"]:
    total = jax.ops.segment_sum(x, group, k)
    count = jax.ops.segment_sum(jnp.ones(x.shape[0]), group, k)
    return total / jnp.maximum(count, 1)[None]  # [:, None] would be right


def test_a_size_that_goes_with_one_number_only_is_no_success():
    (result,) = check_shapes(mean_of_groups)
    assert result.status == "skipped"
    assert result.message == (
        "`k` is of type int and has no default; with k the size k it raises TypeError: "
        "div got incompatible shapes for broadcasting: (k, d), (1, k)."
    )
    assert result.fix == "add @typedfilter.check.example(k=3)"


def of_many(x: Float[Array, "d"], n: int) -> Float[Array, "{n} d"]:
    return jnp.ones((n + 1, x.shape[0]))


def test_a_number_that_an_argument_says_is_told_as_one():
    (result,) = check_shapes(of_many)
    assert result.dims == {"d": "axis 0 of `x`", "n": "the argument `n`"}


_FLAX = """
from __future__ import annotations
from flax import nnx
import jax
from jaxtyping import Array, Float

class Net(nnx.Module):
    def __init__(self, into: int, out: int, *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(into, out, rngs=rngs)
        self.dropout = nnx.Dropout(rate=0.5, rngs=rngs)

    def __call__(self, x: Float[Array, "b into"]) -> Float[Array, "b out"]:
        return self.dropout(self.linear(x))

def noisy(rngs: nnx.Rngs, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + jax.random.normal(rngs.noise(), x.shape)
"""


def test_the_streams_of_keys_of_a_model_of_flax_are_made_anew_for_each_trial(tmp_path, monkeypatch):
    pytest.importorskip("flax.nnx")
    (tmp_path / "net_of_flax.py").write_text(_FLAX)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("net_of_flax")
    results = [*check_shapes(module.Net.__call__), *check_shapes(module.noisy)]
    assert [result.status for result in results] == ["checked", "proved"]
    assert "self.rngs of seed 0" in results[0].message
    assert results[1].message == "for all sizes; with rngs of seed 0"


def _normed(x: Float[Array, "n d"], kind: str) -> Float[Array, "n d"]:
    return jnp.linalg.norm(x, axis=-1) if kind == "norm" else jax.nn.relu(x)


def _repeated(x: Float[Array, "n d"], y: Float[Array, "m e"], times: int) -> Float[Array, "n d"]:
    return jnp.repeat(x, times, axis=0) @ y


_NORMED = "with kind='norm' the return value is not what is annotated: 1 axis, not 2: f32[n]"
_CONTRACTED = "dot_general requires contracting dimensions to have the same shape, got (d,) and (m,)."


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (_normed, f"`kind` is of type str and has no default; {_NORMED}"),
        (
            _repeated,
            f"`times` is of type int and has no default; with times=3 it raises TypeError: {_CONTRACTED}",
        ),
    ],
)
def test_what_fails_with_all_that_was_guessed_is_told_beside_what_nobody_says(fn, said):
    (result,) = check_shapes(fn)
    assert (result.status, result.message) == ("skipped", said)
    assert result.fix.startswith("add @typedfilter.check.example(")


def _turned_grid(shape: tuple[int, int]) -> Float[Array, "y x 2"]:
    return jnp.zeros((*shape, 2)).T


def test_a_number_that_the_result_promises_hides_no_wrong_result():
    (result,) = check_shapes(_turned_grid)
    unsaid = "`shape[0]` is of type int and has no default"
    found = "the return value is not what is annotated: axis 2 is 3, not 2: f32[2,4,3]"
    assert (result.status, result.message) == ("skipped", f"{unsaid}; with shape[0]=3, shape[1]=4 {found}")


_OF_A_TUPLE = "with shape[0]=3, shape[1]=4, shape[2]=5"


def _zeros(shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    return jnp.zeros(shape)


def test_a_number_in_a_tuple_is_the_size_of_no_axes_that_are_called_like_the_tuple():
    (result,) = check_shapes(_zeros)
    assert (result.status, result.message) == (
        "checked",
        f"its sizes are fixed; in 3 cases; {_OF_A_TUPLE}; `*shape` may be any size: only the result says it",
    )


_COUNTS = "waves.count=3, others.count=3"
_TURNED = f"{_CONTRACTED.partition('(')[0]}(waves_d,) and (others_d,)."


class _Waves:
    """A matrix of the user's, whose axes have two names."""

    def __init__(self, frequencies: Float[Array, "m d"], count: int) -> None:
        self.frequencies = frequencies
        self.count = count


def _waves_of(waves: _Waves, others: _Waves, x: Float[Array, "n d"]) -> Float[Array, "n l"]:
    return jnp.cos(x @ waves.frequencies.T) @ others.frequencies


def _waves_turned(waves: _Waves, others: _Waves, x: Float[Array, "n d"]) -> Float[Array, "n l"]:
    return jnp.cos(x @ waves.frequencies) @ others.frequencies.T


def test_a_matrix_whose_axes_the_user_gave_two_names_is_not_taken_for_a_square_one():
    (sound,), (wrong,) = check_shapes(_waves_of), check_shapes(_waves_turned)
    related = f"for all sizes where waves_d = d, waves_m = others_m; with {_COUNTS}"
    assert (sound.status, sound.message) == (
        "checked",
        f"{related}; `l` may be any size: only the result says it",
    )
    unsaid = "field `count` of `_Waves` is of type int and has no default"
    assert (wrong.status, wrong.message) == (
        "skipped",
        f"{unsaid}; with {_COUNTS} it raises TypeError: {_TURNED}",
    )


class _Dense(eqx.Module):
    weight: Float[Array, "o i"]
    bias: Float[Array, "o"]

    def __init__(self, i: int, o: int) -> None:
        self.weight, self.bias = jnp.zeros((o, i)), jnp.zeros(o)

    def turned(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return x @ self.weight + self.bias


class _Deep(eqx.Module):
    first: _Dense
    second: _Dense
    act: Callable

    def __init__(self, i: int, hidden: int, o: int, act: Callable = jnp.tanh) -> None:
        self.first, self.second, self.act = _Dense(i, hidden), _Dense(hidden, o), act

    def applied(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.second.weight @ self.act(self.first.weight @ x)

    def turned(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        return self.second.weight.T @ self.act(self.first.weight @ x)


def test_a_number_that_is_called_as_a_size_is_no_other_one_beside_which_a_mistake_would_not_show():
    (dense,) = check_shapes(_Dense.turned)
    assert dense.status == "failed"
    assert dense.message.endswith("got (i,) and (o,).")
    (sound,), (wrong,) = check_shapes(_Deep.applied), check_shapes(_Deep.turned)
    made = "self.i the size i, self.hidden=3, self.o the size o, self.act its default"
    assert (sound.status, sound.message) == ("checked", f"for all sizes; with {made}")
    assert wrong.status == "skipped"


class _Operator(eqx.Module):
    @abc.abstractmethod
    def dense(self) -> Float[Array, "m n"]: ...


class _Matrix(_Operator):
    matrix: Float[Array, "m n"]

    def dense(self) -> Float[Array, "m n"]:
        return self.matrix


class _Shifted(eqx.Module):
    operator: _Operator
    shift: Float[Array, "n"]

    def solved(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return jnp.linalg.solve(self.operator.dense(), x - self.shift)


def test_a_class_that_is_chosen_for_an_abstract_one_may_have_square_matrices():
    (result,) = check_shapes(_Shifted.solved)
    assert result.status == "checked"
    assert result.message.startswith("with square matrices of floats; for all sizes where ")
    assert result.message.endswith("; with self.operator a _Matrix")
