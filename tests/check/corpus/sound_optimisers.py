"""Steps of training: the state of an optimiser, which says nothing of itself, is made by the optimiser."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from typedfilter import pytree_dataclass

State = optax.OptState
ADAMW = optax.chain(optax.clip(1.0), optax.adamw(1e-3))


# checked: with state as optax.sgd(rate, momentum=0.9) begins, rate=0.1
def made_inside(
    params: Float[Array, "n"], grads: Float[Array, "n"], state: "optax.OptState", rate: float = 0.1
) -> tuple[Float[Array, "n"], optax.OptState]:
    updates, state = optax.sgd(rate, momentum=0.9).update(grads, state, params)
    return params + updates, state


# checked: with state as ADAMW begins
def of_the_module(x: Float[Array, "b n"], params: Float[Array, "n"], state: State) -> Float[Array, "n"]:
    updates, state = ADAMW.update(jax.grad(lambda p: (x @ p).sum())(params), state, params)
    return optax.apply_updates(params, updates)


# checked: state as optax.adam begins
def given(
    weights: dict[str, Float[Array, "n m"]], state: State, optimiser: optax.GradientTransformation
) -> tuple[dict[str, Float[Array, "n m"]], State]:
    updates, state = optimiser.update(weights, state, weights)
    return optax.apply_updates(weights, updates), state


class Train(NamedTuple):
    step: Int[Array, ""]
    params: Float[Array, "n m"]
    opt_state: optax.OptState


# checked: with t.opt_state as optax.adam(0.001) begins
def of_a_tuple(t: Train, x: Float[Array, "b n"]) -> tuple[Train, Float[Array, ""]]:
    value, grads = jax.value_and_grad(lambda p: jnp.mean(x @ p))(t.params)
    updates, state = optax.adam(0.001).update(grads, t.opt_state, t.params)
    return Train(t.step + 1, optax.apply_updates(t.params, updates), state), value


class Layer(eqx.Module):
    weight: Float[Array, "n"]
    size: int = 3

    # proved: for all sizes
    def __call__(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return self.weight @ x


# checked: with opt_state as optax.adam begins
def of_a_model(
    model: Layer, x: Float[Array, "n"], opt_state: PyTree, opt: optax.GradientTransformation
) -> Layer:
    grads = eqx.filter_grad(lambda m: m(x))(model)
    updates, _ = opt.update(grads, opt_state, eqx.filter(model, eqx.is_inexact_array))
    return eqx.apply_updates(model, updates)


# checked: for all sizes
def any_trees(params: optax.Params, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x * sum(leaf.sum() for leaf in jax.tree.leaves(params))


# checked: for all sizes
def by_a_schedule(x: Float[Array, "n"], count: Int[Array, ""], schedule: optax.Schedule) -> Float[Array, "n"]:
    return x * schedule(count)


class Optimises(Protocol):
    def init(self, params: Any) -> Any: ...
    def update(self, updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]: ...


class Active(eqx.Module):
    weight: Float[Array, "n"]
    activation: Callable[[Float[Array, "n"]], Float[Array, "n"]] = eqx.field(static=True)


# checked: with optimiser optax.adam
def by_a_protocol(model: Active, gradient: Active, optimiser: Optimises) -> Active:
    updates, _ = optimiser.update(gradient, optimiser.init(model), model)
    return optax.apply_updates(model, updates)


@pytree_dataclass
class Trained:
    model: Layer
    moments: Any


# checked: with trained.moments as optax.adam begins, optimiser optax.adam
def of_a_record(
    trained: Trained, x: Float[Array, "n"], optimiser: optax.GradientTransformation
) -> tuple[Trained, Float[Array, ""]]:
    value, gradient = eqx.filter_value_and_grad(lambda model: model(x))(trained.model)
    updates, moments = optimiser.update(gradient, trained.moments, trained.model)
    return Trained(eqx.apply_updates(trained.model, updates), moments), value


# checked: with beside as optax.adam begins
def beside_an_optimiser(
    params: Float[Array, "n"], beside: Any, by: optax.GradientTransformation
) -> Float[Array, "n"]:
    updates, _ = by.update(params, beside, params)
    return params + updates


class Training(NamedTuple):
    params: dict[str, Float[Array, "i o"]]
    opt: optax.OptState
    tx: optax.GradientTransformation
    rest: Any = None


# checked: with training.opt as optax.adam begins, training.tx optax.adam
def of_its_own_optimiser(training: Training, x: Float[Array, "b i"], y: Float[Array, "b o"]) -> Training:
    grads = jax.grad(lambda p: jnp.mean((x @ p["a"] - y) ** 2))(training.params)
    updates, opt = training.tx.update(grads, training.opt, training.params)
    return training._replace(params=optax.apply_updates(training.params, updates), opt=opt)


class Learner(eqx.Module):
    model: Layer
    memory: Any
    by: optax.GradientTransformation = eqx.field(static=True)

    # checked: with self.memory as optax.adam begins, self.by optax.adam
    def learned(self, x: Float[Array, "n"]) -> "Learner":
        updates, memory = self.by.update(eqx.filter_grad(lambda m: m(x))(self.model), self.memory)
        return Learner(eqx.apply_updates(self.model, updates), memory, self.by)
