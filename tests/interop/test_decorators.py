"""Other people's decorators and import hooks around our classes, functions and methods, in both orders."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import importlib
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import pytest
from beartype import beartype
from beartype.claw import beartype_package
from jax import Array
from jaxtyping import Float, install_import_hook, jaxtyped

from typedfilter import (
    Static,
    Traced,
    filter_checkpoint,
    filter_grad,
    filter_jit,
    filter_vmap,
    pytree_dataclass,
)

X = jnp.arange(3.0)


def typechecked(target: Any) -> Any:
    return pytest.importorskip("typeguard").typechecked(target)


def timed(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as people write them."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = fn(*args, **kwargs)
        wrapper.took = time.perf_counter() - start
        return result

    return wrapper


def registered(cls: type) -> type:
    """A decorator that puts an `__init__` of its own into a class, as many do."""
    init = cls.__init__

    @functools.wraps(init)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        assert isinstance(self.n, int), "built around something else than what users pass"

    cls.__init__ = construct
    return cls


CHECKERS = {
    "jaxtyped, beartype": jaxtyped(typechecker=beartype),
    "jaxtyped alone": lambda cls: jaxtyped(cls, typechecker=None),
    "beartype": beartype,
    "typeguard": typechecked,
    "jaxtyped, typeguard": lambda target: jaxtyped(target, typechecker=typechecked),
}


def scaled_model(above: Callable[[type], type], below: Callable[[type], type]) -> Any:
    @above
    @pytree_dataclass
    @below
    class Scaled:
        w: Float[Array, "n"]
        n: Static[int]
        act: Static[Callable[..., Any]] = jnp.tanh

        def __call__(self, x: Array) -> Array:
            return self.act(self.w * x * self.n)

    return Scaled


def itself(target: Any) -> Any:
    return target


# typeguard 4 reads sources, and says of what has none (a wrapper, a dataclass's `__init__`) that it checks
# nothing; so it does of plain functions under jaxtyping's decorator, which is made for typeguard 2.
UNSEEN = pytest.mark.filterwarnings("ignore:.* -- not typechecking ")
# An `__init__` of one's own stands above only: dataclasses put theirs in the place of one below.
BOTH_ORDERS = {
    f"{name}-{order}": (made, order) for name, made in CHECKERS.items() for order in ("above", "below")
}
ORDERS = {**BOTH_ORDERS, "own __init__-above": (registered, "above")}


@UNSEEN
@pytest.mark.parametrize(("decorator", "order"), ORDERS.values(), ids=list(ORDERS))
def test_a_pytree_dataclass_goes_through_jax_with_a_decorator(decorator, order):
    cls = scaled_model(*((decorator, itself) if order == "above" else (itself, decorator)))
    model = cls(jnp.ones(3), 2)
    expected = jnp.tanh(2 * X)
    assert jnp.allclose(filter_jit(lambda m, x: m(x))(model, X), expected)
    moved = jax.tree.map(lambda leaf: leaf + 1, model)
    assert (moved.n, moved.act) == (2, jnp.tanh)
    assert jax.tree.map(lambda leaf: "anything", model).w == "anything"
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), model)
    assert jnp.allclose(filter_vmap(lambda m: m(X))(stacked), jnp.stack([expected, expected]))
    slope = filter_grad(lambda m: m(X).sum())(model)
    assert jnp.allclose(slope.w, 2 * X * (1 - expected**2), atol=1e-6)
    changed = cls(**{**vars(moved), "n": 3})
    assert (changed.n, jax.tree.structure(changed)) == (3, jax.tree.structure(cls(moved.w, 3)))


def test_jaxtyped_still_checks_what_a_user_constructs():
    cls = scaled_model(jaxtyped(typechecker=beartype), itself)
    model = cls(jnp.ones(3), 2)
    for _ in range(2):  # also after JAX has seen an instance
        with pytest.raises(TypeError, match="Expected type: <class 'Float"):
            cls(jnp.ones((3, 3)), 2)
        jax.tree.map(lambda leaf: None, model)


MODULE = """
    from __future__ import annotations

    from jax import Array
    from jaxtyping import Float
    from typedfilter import (
        Donate, Static, Traced, VmapAxis, filter_grad, filter_jit, filter_value_and_grad, filter_vmap,
        pytree_dataclass,
    )

    traces = []

    @filter_jit
    def step(
        x: Float[Array, "n"], rate: Traced[float], *more: Traced[float], k: Static[int] = 2
    ) -> Float[Array, "n"]:
        traces.append(k)
        return x * rate * k

    @filter_jit
    def optional(x: Float[Array, "n"], rate: Traced[float] | None = None) -> Float[Array, "n"]:
        return x if rate is None else x * rate

    @filter_jit
    def nested(pair: Traced[tuple[float, float]], **rates: Traced[int]) -> Float[Array, ""]:
        return pair[0] * pair[1] * rates["a"]

    @pytree_dataclass
    class Model:
        w: Float[Array, "n"]
        n: Static[int]
        rate: Traced[float] = 0.5

        @filter_jit
        def __call__(self, x: Float[Array, "n"], s: Traced[float] = 1.0) -> Float[Array, "n"]:
            return self.w * x * self.n * self.rate * s

        @staticmethod
        @filter_jit
        def scaled(x: Float[Array, "n"], s: Traced[float]) -> Float[Array, "n"]:
            return x * s

        @classmethod
        @filter_jit
        def ones(cls, x: Float[Array, "n"], s: Traced[float] = 1.0) -> "Model":
            return cls(x * 0 + s, 2)

    @filter_value_and_grad
    def loss(model: Model, x: Float[Array, "n"], s: Traced[float] = 2.0) -> Float[Array, ""]:
        return model(x, s).sum()

    @filter_vmap
    def mapped(x: Float[Array, "n"], y: VmapAxis[1, Float[Array, "n"]]) -> Float[Array, ""]:
        return (x * y).sum()
"""


@pytest.fixture(params=["jaxtyping", "beartype.claw"])
def hooked(request, tmp_path, monkeypatch):
    """A module that was imported under an import hook."""
    name = f"hooked_by_{request.param.partition('.')[0]}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(str(tmp_path))
    with contextlib.ExitStack() as stack:
        if request.param == "jaxtyping":
            stack.enter_context(install_import_hook(name, "beartype.beartype"))
        else:  # of one package: a hook for all would stay, and see what later tests import
            beartype_package(name)
        module = importlib.import_module(name)
    yield module
    del sys.modules[name]


def test_under_an_import_hook_traced_numbers_are_traced(hooked):
    for rate in (0.5, 1.5, 2.5):
        assert jnp.allclose(hooked.step(X, rate, 1.0), X * rate * 2)
    assert hooked.traces == [2]
    if hasattr(hooked.step, "lower"):  # beartype.claw puts a function above
        assert jnp.allclose(hooked.step.lower(X, 0.5).compile()(X, 3.0), X * 6)
    assert jnp.allclose(hooked.optional(X, 0.5), X / 2)
    assert jnp.allclose(hooked.optional(X), X)
    assert jnp.allclose(hooked.nested((0.5, 2.0), a=3), 3.0)


def test_under_an_import_hook_models_and_maps_work(hooked):
    model = hooked.Model.ones(X)
    assert jnp.allclose(model(X, 3.0), 3 * X)
    assert jnp.allclose(model.scaled(X, 2.0), 2 * X)
    value, slope = hooked.loss(model, X)
    assert jnp.allclose(value, 6.0)
    assert jnp.allclose(slope.w, 2 * X)
    assert jnp.allclose(hooked.mapped(jnp.ones((2, 3)), jnp.ones((3, 2))), jnp.full(2, 3.0))


def test_under_an_import_hook_what_is_wrong_is_found(hooked):
    with pytest.raises(Exception, match="rate"):
        hooked.step(X, "half")
    with pytest.raises(Exception, match=r"\by\b"):
        hooked.mapped(jnp.ones((2, 3)), jnp.ones((4, 2)))


def test_under_an_import_hook_a_jitted_function_may_construct_a_model(hooked):
    replace = filter_jit(lambda model, rate: dataclasses.replace(model, rate=rate))
    assert replace(hooked.Model(jnp.ones(3), 2), jnp.array(3.0)).rate == 3.0


def rated(
    x: Array,
    rate: Traced[float],
    *more: Traced[int],
    pair: Traced[tuple[float, int] | list[float]] = (1.0, 2),
    maybe: Traced[float] | None = None,
    k: Static[int] = 2,
) -> Array:
    return x * rate * k * pair[0] * sum(more, start=1) * (1.0 if maybe is None else maybe)


@pytest.mark.parametrize("wrap", [filter_jit, filter_checkpoint, lambda fn: filter_jit(filter_vmap(fn))])
def test_a_function_that_typeguard_rewrites_gets_arrays_for_traced_numbers(wrap):
    checked = typechecked(rated)
    f = wrap(checked)
    assert jnp.allclose(f(X, 0.5, 1, 2, pair=[3.0], maybe=2.0), X * 0.5 * 2 * 3.0 * 4 * 2.0)
    assert jnp.allclose(f(X, 0.5), X)
    for wrong in ({"rate": "half"}, {"rate": 1.0, "pair": (1.0, "x")}, {"rate": 1.0, "k": "x"}):
        for call in (f, checked):  # typeguard's own error where it is called alone
            with pytest.raises(Exception, match=[*wrong][-1]):
                call(X, **wrong)


@UNSEEN
@pytest.mark.parametrize("transform", [filter_jit, filter_checkpoint])
@pytest.mark.parametrize("order", ["above", "below"])
@pytest.mark.parametrize("decorator", [*CHECKERS.values(), timed], ids=[*CHECKERS, "functools.wraps"])
def test_a_function_computes_the_same_with_a_decorator(decorator, order, transform):
    def f(x: Array, k: int = 2) -> Array:
        return x * k

    g = decorator(transform(f)) if order == "above" else transform(decorator(f))
    assert jnp.array_equal(g(X), 2 * X)
    assert jnp.array_equal(g(X, k=3), 3 * X)
    assert g.__name__ == "f"


@pytest.mark.parametrize("decorator", [beartype, jaxtyped(typechecker=beartype)])
def test_a_decorator_reads_annotations_that_are_strings_in_what_a_transform_makes(decorator):
    @decorator
    @filter_jit
    def f(x: Float[Array, "n"], k: int = 2) -> Float[Array, "n"]:
        return x * k

    assert jnp.array_equal(f(X, k=3), 3 * X)
    with pytest.raises(Exception, match="Float"):
        f("x")


@pytest.mark.parametrize("order", ["above", "below"])
def test_a_jitted_method_can_be_a_cached_property(order):
    made = []

    def double(self: Any) -> Any:
        made.append(self.n)
        return self.w * 2

    class Base(abc.ABC):
        w: Array
        n: Static[int]
        doubled = functools.cached_property(filter_jit(double) if order == "above" else timed(double))

    Base.doubled.__set_name__(Base, "doubled")

    @pytree_dataclass
    class Model(Base):
        w: Array
        n: Static[int]

    model = Model(X, 1)
    for tree in (model, jax.tree.map(lambda leaf: leaf, model)):
        made.clear()
        assert jnp.array_equal(tree.doubled, 2 * X)
        assert tree.doubled is tree.doubled
    assert "doubled" in vars(model)


@attrs.frozen
class Attributes:
    w: Any
    n: int = 2

    @filter_jit
    def __call__(self, x: Float[Array, "n"], rate: Traced[float]) -> Float[Array, "n"]:
        return self.w * x * self.n * rate


jax.tree_util.register_pytree_node(Attributes, lambda a: ((a.w,), a.n), lambda n, w: Attributes(w[0], n))


def test_methods_of_a_class_made_by_attrs_can_be_transformed():
    model = Attributes(jnp.ones(3))
    assert jnp.array_equal(model(X, 0.5), X)
    slope = filter_grad(lambda m: m(X, 1.0).sum())(model)
    assert jnp.array_equal(slope.w, 2 * X)
