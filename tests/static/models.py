"""Programs as people write them around models, counted as those of `programs.py`, and executed.

A `kept_` program must be accepted, with the types that it asserts, and must run; a `caught_` program has one
mistake, which must be reported on its line and nowhere else.
"""

# pyright: standard

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import Array, ShapeDtypeStruct
from jaxtyping import Float, Int, PyTree
from typing_extensions import Self, TypeVar, assert_type

from typedfilter import (
    Donate,
    Optimiser,
    Static,
    Traced,
    apply_updates,
    filter_cond,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_eval_shape,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_make_jaxpr,
    filter_scan,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
    optimiser,
    pytree_dataclass,
    trainable,
)

T = TypeVar("T")
M = TypeVar("M")
X = jnp.arange(3.0)
STRUCT = ShapeDtypeStruct((3,), "float32")


@pytree_dataclass
class Linear:
    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]
    activation: Static[Callable[[Array], Array]] = jnp.tanh

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.activation(self.weight @ x + self.bias)

    @filter_jit
    def apply(self, x: Array, times: Static[int] = 1) -> Array:
        return self(x) * times

    @filter_grad
    def slope(self, x: Array) -> Array:
        return self(x).sum()


@pytree_dataclass
class MLP:
    first: Linear
    last: Linear
    scale: Array

    @classmethod
    def init(cls, key: Array, *, width: int = 3) -> Self:
        one, two = jax.random.split(key)
        return cls(linear(one, width), linear(two, width), jnp.ones(()))

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.scale * self.last(self.first(x))


@pytree_dataclass
class Box(Generic[M]):
    inner: M
    count: Static[int] = 0

    def map(self, f: Callable[[M], M]) -> Box[M]:
        return Box(f(self.inner), self.count + 1)


class State(NamedTuple):
    model: MLP
    step: Array


class Loss(Protocol):
    def __call__(self, model: MLP, x: Array) -> Array: ...


def linear(key: Array, width: int) -> Linear:
    return Linear(jax.random.normal(key, (width, width)), jnp.zeros(width))


MODEL = MLP.init(jax.random.key(0))


def loss(model: MLP, x: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.sum(model(x) ** 2)


def loss_aux(model: MLP, x: Array) -> tuple[Array, dict[str, Array]]:
    out = model(x)
    return jnp.sum(out), {"out": out}


def scaled_loss(model: MLP, x: Array, scale: float = 1.0) -> Array:
    return scale * loss(model, x)


def open_loss(model: MLP, x: Array, **options: float) -> Array:
    return loss(model, x) * sum(options.values(), 1.0)


# ---- training loops


def kept_step() -> None:
    @filter_jit
    def step(model: MLP, x: Float[Array, " n"], rate: Traced[float] = 0.1) -> tuple[MLP, Array]:
        value, grads = filter_value_and_grad(loss)(model, x)
        return apply_updates(model, jax.tree.map(lambda g: -rate * g, grads)), value

    model, value = step(MODEL, X)
    assert_type(model, MLP)
    assert_type(value, Array)


def kept_donating_step() -> None:
    @filter_jit(donate="none")
    def step(state: Donate[State], x: Array) -> State:
        return State(apply_updates(state.model, filter_grad(loss)(state.model, x)), state.step + 1)

    assert_type(step(State(jax.tree.map(jnp.copy, MODEL), jnp.zeros(())), X).step, Array)


def kept_optax_recipe() -> None:
    optim = optimiser(optax.adam(1e-2))
    state = optim.init(trainable(MODEL))

    @filter_jit
    def step(model: MLP, state: PyTree, x: Array) -> tuple[MLP, PyTree, Array]:
        value, grads = filter_value_and_grad(loss)(model, x)
        updates, state = optim.update(grads, state, trainable(model))
        assert_type(updates, MLP)
        return apply_updates(model, updates), state, value

    model, state, value = step(MODEL, state, X)
    assert_type(model, MLP)
    assert_type(value, Array)


def kept_optimiser_as_argument() -> None:
    @filter_jit
    def step(model: MLP, state: PyTree, x: Array, optim: Static[Optimiser]) -> MLP:
        updates, _ = optim.update(filter_grad(loss)(model, x), state, trainable(model))
        return apply_updates(model, updates)

    optim = optimiser(optax.chain(optax.clip(1.0), optax.sgd(0.1)))
    assert_type(step(MODEL, optim.init(trainable(MODEL)), X, optim), MLP)


def kept_trainable() -> None:
    assert_type(trainable(MODEL), MLP)


def kept_batched_loss() -> None:
    def batch_loss(model: MLP, xs: Float[Array, "b n"]) -> Float[Array, ""]:
        return jnp.mean(filter_vmap(loss, in_axes=(None, 0))(model, xs))

    assert_type(filter_value_and_grad(batch_loss)(MODEL, jnp.ones((2, 3))), tuple[Array, MLP])


def kept_loop_over_batches() -> None:
    def batches() -> Iterator[Array]:
        yield X

    step = filter_jit(filter_value_and_grad(loss_aux, has_aux=True))
    for x in batches():
        (value, aux), grads = step(MODEL, x)
        assert_type(aux, dict[str, Array])
        assert_type(grads, MLP)
        print(value)


def kept_metrics() -> None:
    @filter_jit
    def metrics(model: MLP, x: Array) -> dict[str, Array | float]:
        return {"loss": loss(model, x), "size": 3.0}

    assert_type(metrics(MODEL, X), dict[str, Array | float])


def caught_swapped_step() -> None:
    @filter_jit
    def step(model: MLP, x: Array) -> MLP:
        return model

    step(X, MODEL)  # mistake


def caught_forgotten_model() -> None:
    filter_value_and_grad(loss)(X)  # mistake


def caught_unpacked_gradient() -> None:
    value, aux, grads = filter_value_and_grad(loss)(MODEL, X)  # mistake
    print(value, aux, grads)


def caught_optimiser_of_nothing() -> None:
    optimiser(3)  # mistake


# ---- losses


def kept_open_loss() -> None:
    assert_type(filter_grad(open_loss)(MODEL, X, weight=2.0), MLP)


def kept_open_value_and_grad() -> None:
    @filter_value_and_grad
    def value(model: MLP, x: Array, **options: float) -> Array:
        return loss(model, x)

    assert_type(value(MODEL, X, weight=2.0), tuple[Array, MLP])


def kept_open_loss_with_aux() -> None:
    @filter_grad(has_aux=True)
    def gradient(model: MLP, x: Array, **options: float) -> tuple[Array, str]:
        return loss(model, x), "aux"

    assert_type(gradient(MODEL, X, weight=2.0), tuple[MLP, str])


def kept_open_jacobian() -> None:
    def f(x: Array, **options: float) -> Array:
        return 2 * x

    print(filter_jacfwd(f)(X, a=1.0) + 1, filter_jacrev(f)(X, a=1.0) + 1, filter_hessian(f)(X, a=1.0) + 1)


def kept_partial_loss() -> None:
    print(filter_grad(partial(scaled_loss, scale=2.0))(MODEL, X).first.weight + 1)


def kept_gradient_by_keyword_argument() -> None:
    assert_type(filter_grad(scaled_loss)(MODEL, x=X, scale=2.0), MLP)


def kept_summed_loss() -> None:
    print(filter_grad(lambda xs: sum(x.sum() for x in xs))([X, X]))


def kept_loss_with_variable_aux(has_aux: bool = False) -> None:
    def gradient_of(f: Callable[[MLP, Array], Any], has_aux: bool) -> Any:
        return filter_value_and_grad(f, has_aux=has_aux)

    print(gradient_of(loss, has_aux)(MODEL, X))


def kept_loss_by_protocol() -> None:
    def gradient(f: Loss) -> MLP:
        return filter_grad(f)(MODEL, X)

    assert_type(gradient(loss), MLP)


def kept_generic_loss() -> None:
    def norm(tree: T, x: Array) -> Array:
        return sum((leaf.sum() for leaf in jax.tree.leaves(tree)), x.sum())

    assert_type(filter_grad(norm)({"a": X}, X), dict[str, Array])


def kept_jitted_loss() -> None:
    assert_type(filter_grad(filter_jit(loss))(MODEL, X), MLP)


def kept_loss_of_several() -> None:
    def f(pair: tuple[MLP, Linear], x: Array) -> Array:
        return pair[0](x).sum() + pair[1](x).sum()

    assert_type(filter_grad(f)((MODEL, MODEL.first), X), tuple[MLP, Linear])


def kept_regularised_loss() -> None:
    def gradient(model: MLP, x: Array, *, decay: float = 0.1) -> MLP:
        return filter_grad(lambda m: loss(m, x) + decay * jnp.sum(m.first.weight**2))(model)  # type: ignore[no-any-return]

    assert_type(gradient(MODEL, X), MLP)


def caught_integer_loss() -> None:
    def f(x: Array) -> int:
        return 1

    filter_grad(f)  # mistake


def caught_open_loss_without_aux() -> None:
    def f(model: MLP, **options: float) -> tuple[Array, str]:
        return loss(model, X), "aux"

    filter_grad(f)  # mistake


def caught_vector_of_strings() -> None:
    def f(x: Array) -> list[str]:
        return ["a"]

    filter_value_and_grad(f)  # mistake


def caught_gradient_for_another_model() -> None:
    wrong: Linear = filter_grad(loss)(MODEL, X)  # mistake
    print(wrong)


def caught_misspelt_hyperparameter() -> None:
    filter_grad(scaled_loss)(MODEL, X, scael=2.0)  # mistake


# ---- models


def kept_method() -> None:
    assert_type(MODEL.first.apply(X, times=2), Array)


def kept_method_gradient() -> None:
    assert_type(MODEL.first.slope(X), Linear)


def kept_class_method_constructor() -> None:
    assert_type(filter_jit(MLP.init)(jax.random.key(1)), MLP)


def kept_ensemble() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    models = filter_vmap(MLP.init)(keys)
    assert_type(models, MLP)
    assert_type(filter_vmap(loss, in_axes=(0, None))(models, X), Array)


def kept_generic_box() -> None:
    assert_type(filter_jit(Box[Array].map)(Box(X), jnp.sin), Box[Array])
    assert_type(Box(X).map(filter_jit(jnp.sin)).inner, Array)


def kept_model_shape() -> None:
    def make(key: Any) -> Any:
        return MLP.init(key)

    print(filter_eval_shape(make, jax.random.key(0)).first.weight.shape)


def kept_typed_model_shape() -> None:
    assert_type(filter_eval_shape(MLP.init, jax.random.key(0)), MLP)


def kept_model_as_function() -> None:
    assert_type(filter_jit(MODEL)(X), Array)
    assert_type(filter_vmap(MODEL.first)(jnp.ones((2, 3))), Array)


def kept_registry() -> None:
    registry: dict[str, Callable[[Array], Array]] = {"a": filter_jit(MODEL), "b": jnp.tanh}
    layers: list[Callable[[Array], Array]] = [filter_jit(MODEL.first), MODEL.last]
    assert_type(registry["a"](X), Array)
    assert_type(layers[0](X), Array)


def kept_plain_function_of_self() -> None:
    @filter_jit
    def forward(self: MLP, x: Array) -> Array:
        return self(x)

    assert_type(forward(MODEL, X), Array)


def kept_wrapped_in_decorator() -> None:
    def logged(f: Callable[[MLP, Array], T]) -> Callable[[MLP, Array], T]:
        return f

    assert_type(filter_jit(logged(loss))(MODEL, X), Array)
    assert_type(logged(filter_jit(loss))(MODEL, X), Array)


def kept_compiled_ahead() -> None:
    compiled = filter_jit(loss).lower(MODEL, STRUCT).compile()
    assert_type(compiled(MODEL, X), Array)


def kept_program_of_structs() -> None:
    def f(x: Array, y: dict[str, Array]) -> Array:
        return x + y["a"]

    print(
        filter_make_jaxpr(f)(STRUCT, {"a": STRUCT})[1].shape, filter_make_jaxpr(f)(X, {"a": STRUCT})[0].jaxpr
    )


def caught_text_for_an_array() -> None:
    filter_make_jaxpr(jnp.ones_like)
    filter_make_jaxpr(loss)("no", X)  # mistake


def caught_method_argument() -> None:
    MODEL.first.apply("x")  # mistake


def caught_ensemble_argument() -> None:
    filter_vmap(loss, in_axes=(0, None))(MODEL, "x")  # mistake


def caught_mode() -> None:
    @filter_jit
    def f(x: Array, mode: Literal["train", "eval"] = "train") -> Array:
        return x

    f(X, mode="test")  # mistake


# ---- loops, rules and other derivatives


def kept_recurrent_network() -> None:
    def cell(h: Array, x: Array) -> tuple[Array, Array]:
        h = jnp.tanh(h + x)
        return h, h

    h, hs = filter_scan(cell, jnp.zeros(3), jnp.ones((5, 3)))
    assert_type(h, Array)
    assert_type(hs, Array)


def kept_training_scan() -> None:
    def step(model: MLP, x: Array) -> tuple[MLP, Array]:
        value, grads = filter_value_and_grad(loss)(model, x)
        return apply_updates(model, grads), value

    model, values = filter_scan(step, MODEL, jnp.ones((5, 3)))
    assert_type(model, MLP)
    assert_type(values, Array)


def kept_branches() -> None:
    def double(x: Array) -> Array:
        return 2 * x

    assert_type(filter_cond(X[0] > 0, double, jnp.tanh, X), Array)


def kept_jvp_rule() -> None:
    @filter_custom_jvp
    def f(x: Array, y: Array) -> Array:
        return x * y

    @f.def_jvp
    def rule(
        primals: tuple[Array, Array], tangents: tuple[Array | None, Array | None]
    ) -> tuple[Array, Array]:
        return f(*primals), primals[0]

    assert_type(rule((X, X), (X, None)), tuple[Array, Array])
    assert_type(f(X, X), Array)


def kept_vjp_rules() -> None:
    @filter_custom_vjp
    def f(x: Array, limit: float) -> Array:
        return x

    @f.def_fwd
    def fwd(perturbed: Any, x: Array, limit: float) -> tuple[Array, None]:
        return x, None

    @f.def_bwd
    def bwd(residuals: None, grad: Array, perturbed: Any, x: Array, limit: float) -> Array:
        return jnp.clip(grad, -limit, limit)

    assert_type(fwd(True, X, 1.0), tuple[Array, None])
    assert_type(bwd(None, X, True, X, 1.0), Array)
    assert_type(f(X, 1.0), Array)


def kept_rules_that_name_keywords() -> None:
    @filter_custom_vjp
    def solve(y: Array, **options: float) -> Array:
        return y * options["rate"]

    @solve.def_fwd
    def fwd(perturbed: Any, y: Array, *, rate: float, **options: float) -> tuple[Array, None]:
        return y * rate, None

    @solve.def_bwd
    def bwd(residuals: None, grad: Array, perturbed: Any, y: Array, *, rate: float) -> Array:
        return grad * rate

    assert_type(solve(X, rate=2.0), Array)
    assert_type(fwd(True, X, rate=1.0), tuple[Array, None])
    assert_type(bwd(None, X, True, X, rate=1.0), Array)


def kept_pullback() -> None:
    out, pull = filter_vjp(loss, MODEL, X)
    assert_type(out, Array)
    assert_type(pull(out), tuple[MLP, Array])


def kept_linear_map() -> None:
    out, push = filter_linearize(loss, MODEL, X)
    assert_type(push(MODEL, X), Array)
    print(out)


def kept_directional_derivative() -> None:
    assert_type(filter_jvp(loss, (MODEL, X), (MODEL, X)), tuple[Array, Array])


def kept_jacobian_of_model() -> None:
    assert_type(filter_jacfwd(MODEL)(X), Array)


def kept_mapping_of_parameters() -> None:
    def f(params: Mapping[str, Array], labels: Int[Array, " b"]) -> Array:
        return params["w"].sum() + labels.sum()

    print(filter_grad(f)({"w": X}, jnp.arange(3)))


def caught_scan_carry() -> None:
    def cell(h: Array, x: Array) -> tuple[Array, Array]:
        return h, x

    filter_scan(cell, "h", X)  # mistake


def caught_rule_result() -> None:
    @filter_custom_jvp
    def f(x: Array) -> Array:
        return x

    def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[str, str]:
        return "a", "b"

    f.def_jvp(rule)  # mistake


def caught_rule_parameters() -> None:
    @filter_custom_vjp
    def f(x: Array, n: int) -> Array:
        return x

    def fwd(perturbed: Any, x: Array) -> tuple[Array, None]:
        return x, None

    f.def_fwd(fwd)  # mistake


def caught_rule_gradient() -> None:
    @filter_custom_vjp
    def f(x: Array, n: int) -> Array:
        return x

    def bwd(residuals: None, grad: Array, perturbed: Any, x: Array, n: int) -> str:
        return "x"

    f.def_bwd(bwd)  # mistake


def caught_pullback_argument() -> None:
    out, pull = filter_vjp(loss, MODEL, X)
    print(out)
    pull("x")  # mistake
