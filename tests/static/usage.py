"""Functions, methods, training and devices as people put them together, counted as those of `programs.py`.

Equinox modules, decorators with a ParamSpec, unions and lists of functions, `**kwargs`, protocols,
registries, testing helpers. A `kept_` program must be accepted and must run; a `caught_` one has one mistake.
"""

# pyright: standard

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, TypedDict, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, ShapeDtypeStruct
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Float, PRNGKeyArray
from typing_extensions import Self, TypeVar, Unpack, assert_type, override

import typedfilter as tf
from typedfilter import (
    Diff,
    NoDiff,
    Static,
    Traced,
    VmapAxis,
    apply_updates,
    combine,
    explain,
    filter_associative_scan,
    filter_checkpoint,
    filter_closure_convert,
    filter_cond,
    filter_eval_shape,
    filter_fori_loop,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_linearize,
    filter_make_jaxpr,
    filter_map,
    filter_pmap,
    filter_scan,
    filter_shard,
    filter_shard_map,
    filter_switch,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
    filter_while_loop,
    is_inexact_array,
    log_retraces,
    optimiser,
    partition,
    pytree_dataclass,
    trainable,
)
from typedfilter.testing import assert_donated, assert_no_tracer_leaks, max_traces, no_retrace

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound="Net")
X = jnp.arange(3.0)
MESH = Mesh(np.array(jax.devices()[:1]), ("data",))
ROWS = PartitionSpec("data")
Params = dict[str, Array]


class Net(eqx.Module):
    weight: Array
    name: str = eqx.field(static=True, default="net")

    def __call__(self, x: Float[Array, " n"], *, key: PRNGKeyArray | None = None) -> Float[Array, " n"]:
        return self.weight * x

    @filter_jit
    def forward(self, x: Array, train: bool = False) -> Array:
        return self(x)

    @property
    @filter_jit
    def norm(self) -> Array:
        return jnp.sum(self.weight**2)

    @staticmethod
    @filter_jit
    def helper(x: Array, times: int) -> Array:
        return x * times

    @classmethod
    def create(cls, key: PRNGKeyArray) -> Self:
        return cls(jax.random.normal(key, (3,)))

    @classmethod
    @filter_jit
    def zeros(cls, size: Static[int]) -> Self:
        return cls(jnp.zeros(size))

    @filter_jit
    def scaled(self, by: float) -> Self:
        return type(self)(self.weight * by)

    @filter_jit
    @filter_grad
    def slope(self, x: Array) -> Array:
        return self(x).sum()

    @filter_jit
    @filter_value_and_grad
    def valued(self, x: Array, power: int = 1) -> Array:
        return (self(x) ** power).sum()

    @staticmethod
    @filter_value_and_grad
    def energy(w: Params, x: Array) -> Array:
        return (w["w"] * x).sum()

    @filter_vmap(in_axes=(None, 0))
    def batched(self, x: Array) -> Array:
        return self(x)

    @filter_checkpoint
    def saved(self, x: Array) -> Array:
        return self(x)

    @functools.partial(filter_value_and_grad, has_aux=True)
    def loss_aux(self, x: Array) -> tuple[Array, Array]:
        return self(x).sum(), x


NET = Net(X)


@pytree_dataclass
class Stack(Generic[T]):
    items: tuple[T, ...]

    @filter_jit
    def first(self) -> T:
        return self.items[0]

    @filter_jit
    def mapped(self, f: Static[Callable[[T], Array]]) -> Array:
        return f(self.items[0])


@pytree_dataclass
class Vector:
    v: Array

    @filter_jit
    def __add__(self, other: Vector) -> Vector:
        return Vector(self.v + other.v)

    @filter_jit
    def __getitem__(self, i: Static[int]) -> Array:
        return self.v[i]

    @filter_jit
    def __call__(self, x: Array) -> Array:
        return self.v * x


class Small(Net):
    @override
    def __call__(self, x: Float[Array, " n"], *, key: PRNGKeyArray | None = None) -> Float[Array, " n"]:
        return x

    @override
    @filter_jit
    def forward(self, x: Array, train: bool = False) -> Array:
        return super().forward(x, train)


class Model(Protocol):
    def __call__(self, x: Array, /) -> Array: ...


class Layer(ABC):
    @abstractmethod
    def apply(self, x: Array) -> Array: ...


class Dense(Layer):
    @override
    @filter_jit
    def apply(self, x: Array) -> Array:
        return x


class Options(TypedDict, total=False):
    scale: float
    steps: int


class Mode(Enum):
    TRAIN = 1
    TEST = 2


class Batch(NamedTuple):
    x: Array
    y: Array


def loss(net: Net, x: Array) -> Array:
    return net(x).sum()


def mse(params: Params, batch: Batch) -> Float[Array, ""]:
    return jnp.mean((params["w"] * batch.x - batch.y) ** 2)


def penalty(w: Params, *, strength: float) -> Array:
    return strength * w["w"].sum()


compiled, derived = filter_jit(loss), filter_grad(loss)


@dataclass
class Config:
    step: Callable[[Net, Array], Array] = compiled
    grad: Callable[[Net, Array], Net] = derived


PARAMS: Params = {"w": X}
BATCH = Batch(X, X)


def decorated(fn: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(fn)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        return fn(*args, **kwargs)

    return inner


def summed(params: Params, x: Array) -> Array:
    return (params["w"] * x).sum()


def summed_and_named(params: Params, x: Array) -> tuple[Array, str]:
    return summed(params, x), "sum"


def cubes(x: Array) -> Array:
    return (x**3).sum()


# ---- functions


def kept_union_of_functions(flag: bool = True) -> None:
    f = (lambda x: x * 2) if flag else jnp.sin
    print(filter_jit(f)(X), filter_vmap(f)(X), filter_checkpoint(f)(X), filter_closure_convert(f, X)(X))


def kept_function_chosen_by_branch(flag: bool = True) -> None:
    def double(x: Array) -> Array:
        return 2 * x

    if flag:
        f: Callable[[Array], Array] = functools.partial(jnp.multiply, 2.0)
    else:
        f = double
    print(filter_jit(f)(X), filter_vmap(f)(X), filter_grad(lambda x: f(x).sum())(X))


def kept_rebound_function() -> None:
    def f(x: Array) -> Array:
        return x * 2

    g = filter_vmap(f)
    g = filter_checkpoint(g)
    assert_type(filter_jit(g)(X), Array)


def kept_rebound_annotated_function() -> None:
    def step(net: Net, x: Array) -> Array:
        return loss(net, x)

    fast = filter_jit(step)
    for fn in (step, fast):
        assert_type(fn(NET, X), Array)


def kept_list_of_jitted_and_plain() -> None:
    def f(x: Array) -> Array:
        return x

    fns = [filter_jit(f), f]
    print([fn(X) for fn in fns])
    for name, fn in {"jit": filter_jit(f), "plain": f}.items():
        print(name, fn(X))
    for fn in (f, filter_jit(f)):
        assert_type(fn(X), Array)


def kept_conditional_jit(debug: bool = False) -> None:
    def f(x: Array) -> Array:
        return x

    g = f if debug else filter_jit(f)
    assert_type(g(X), Array)


def kept_plain_function_of_self_lowered() -> None:
    @filter_jit
    def run(self: Net, x: Array) -> Array:
        return self(x)

    print(run.lower(NET, X).compile()(NET, X))


def kept_cotangents_of_up_to_four_primals() -> None:
    def pair(a: Array, b: Params) -> tuple[Array, list[str]]:
        return a.sum() * b["w"].sum(), ["aux"]

    def four(a: Array, b: Params, c: Array, d: Params) -> Array:
        return a.sum() * b["w"].sum() + c.sum() * d["w"].sum()

    _, pull, aux = filter_vjp(pair, X, PARAMS, has_aux=True)
    one = jnp.ones(())
    assert_type(pull(one), tuple[Array, Params])
    assert_type(aux, list[str])
    _, pull_four = filter_vjp(four, X, PARAMS, X, PARAMS)
    assert_type(pull_four(one), tuple[Array, Params, Array, Params])


def kept_keyword_only_loss() -> None:
    assert_type(filter_grad(penalty)(PARAMS, strength=2.0), Params)
    assert_type(filter_jit(filter_grad(penalty))(PARAMS, strength=2.0), Params)


def kept_open_keyword_only_loss() -> None:
    def f(w: Params, *, strength: float, **rest: float) -> Array:
        return strength * w["w"].sum()

    assert_type(filter_grad(f)(PARAMS, strength=2.0, other=1.0), Params)
    assert_type(filter_value_and_grad(f)(PARAMS, strength=2.0), tuple[Array, Params])


def kept_open_loss_of_many() -> None:
    def f(w: Params, a: Array, b: Array, c: Array, d: Array, **rest: float) -> Array:
        return (w["w"] * a * b * c * d).sum()

    assert_type(filter_grad(f)(PARAMS, X, X, X, X, other=1.0), Params)


def kept_open_jacobians() -> None:
    def f(x: Array, *, power: int, **rest: float) -> Array:
        return x**power

    print(filter_jacfwd(f)(X, power=2) + 1, filter_jacrev(f)(X, power=2) + 1, filter_hessian(f)(X, power=2))


def kept_typed_keywords() -> None:
    def f(w: Params, **options: Unpack[Options]) -> Array:
        return options.get("scale", 1.0) * w["w"].sum()

    assert_type(filter_grad(f)(PARAMS, scale=2.0), Params)
    assert_type(filter_jit(f)(PARAMS, steps=2), Array)


def kept_variable_aux(has_aux: bool = False) -> None:
    def f(w: Params) -> Any:
        return w["w"].sum()

    print(filter_grad(f, has_aux=has_aux)(PARAMS))


def kept_variable_aux_of_typed_loss(has_aux: bool = False) -> None:
    print(filter_value_and_grad(has_aux=has_aux)(mse)(PARAMS, BATCH))
    print(filter_grad(has_aux=has_aux)(mse)(PARAMS, BATCH))


def kept_variable_aux_of_other_derivatives(flag: bool = False) -> None:
    def f(x: Array) -> Any:
        return x * 2

    print(filter_jacfwd(f, has_aux=flag)(X), filter_jacrev(f, flag)(X), filter_hessian(f, has_aux=flag)(X))
    print(filter_vjp(f, X, has_aux=flag), filter_linearize(f, X, has_aux=flag))
    print(filter_jacfwd(has_aux=flag)(jnp.sin)(X), filter_jacrev(has_aux=flag)(jnp.sin)(X))
    print(filter_hessian(has_aux=flag)(jnp.sin)(X))


def kept_forwarded_aux(has_aux: bool = False) -> None:
    def value_and_grad(f: Callable[..., Any], has_aux: bool) -> Any:
        return filter_jit(filter_value_and_grad(f, has_aux=has_aux))

    print(value_and_grad(mse, has_aux)(PARAMS, BATCH))


def kept_decorator_with_paramspec() -> None:
    def timed(fn: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(fn)
        def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            return fn(*args, **kwargs)

        return inner

    assert_type(timed(filter_jit(loss))(NET, X), Array)
    assert_type(filter_jit(timed(loss))(NET, x=X), Array)
    assert_type(timed(filter_grad(loss))(NET, X), Net)


def kept_own_jit_with_paramspec() -> None:
    def my_jit(fn: Callable[P, R]) -> Callable[P, R]:
        return filter_jit(fn)

    def my_vmap(fn: Callable[P, R]) -> Callable[P, R]:
        return filter_vmap(fn)

    assert_type(my_jit(loss)(NET, x=X), Array)
    assert_type(my_vmap(jnp.sin)(X), Array)


def kept_own_grad() -> None:
    def my_grad(fn: Callable[Concatenate[T, P], Array]) -> Callable[Concatenate[T, P], T]:
        return filter_grad(fn)

    assert_type(my_grad(loss)(NET, X), Net)


def kept_key_adding_decorator() -> None:
    def with_key(fn: Callable[Concatenate[PRNGKeyArray, P], R]) -> Callable[P, R]:
        @functools.wraps(fn)
        def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            return fn(jax.random.key(0), *args, **kwargs)

        return inner

    @filter_jit
    @with_key
    def noisy(key: PRNGKeyArray, x: Array) -> Array:
        return x + jax.random.normal(key, x.shape)

    assert_type(noisy(X), Array)


def kept_parameter_adding_decorator() -> None:
    def counted(fn: Callable[P, R]) -> Callable[Concatenate[int, P], R]:
        def inner(n: int, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return fn(*args, **kwargs)

        return inner

    assert_type(counted(filter_jit(loss))(1, NET, X), Array)
    assert_type(filter_jit(counted(loss))(1, NET, X), Array)


def kept_decorator_class() -> None:
    class Timer(Generic[P, R]):
        def __init__(self, fn: Callable[P, R]) -> None:
            self.fn = fn

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            return self.fn(*args, **kwargs)

    assert_type(Timer(filter_jit(loss))(NET, X), Array)
    assert_type(Timer(filter_grad(loss))(NET, X), Net)


def kept_own_transform() -> None:
    def compiled(fn: Callable[Concatenate[T, P], Array]) -> Callable[Concatenate[T, P], tuple[Array, T]]:
        return filter_jit(filter_value_and_grad(fn))

    assert_type(compiled(loss)(NET, X), tuple[Array, Net])


def kept_overloaded() -> None:
    @overload
    def f(x: Array) -> Array: ...
    @overload
    def f(x: list[Array]) -> list[Array]: ...
    def f(x: Any) -> Any:
        return x

    print(filter_jit(f)(X))


def kept_callable_object() -> None:
    model: Model = jnp.tanh
    assert_type(filter_jit(model)(X), Array)
    assert_type(filter_vmap(model)(jnp.ones((3, 3))), Array)


def kept_builtin_functions() -> None:
    assert_type(filter_jit(jnp.sin)(X), Array)
    print(filter_jit(jnp.where)(X > 0, X, X), filter_vmap(jnp.dot)(X, X), filter_jit(jax.nn.relu)(X))
    print(filter_jit(jnp.sum)(X), filter_grad(jnp.sum)(X), filter_value_and_grad(jnp.sum)(X))


def kept_lambdas() -> None:
    print(filter_jit(lambda x, y=2: x * y)(X), filter_grad(lambda w: (w * X).sum())(X))
    print(filter_vmap(lambda a, b: a @ b, in_axes=(0, None))(jnp.ones((2, 3)), X))
    print(filter_value_and_grad(lambda m, x: m(x).sum())(NET, X))


def kept_defaults_and_positional_only() -> None:
    @filter_jit
    def f(x: Array, /, y: Array | None = None, *rest: Array, mode: Mode = Mode.TRAIN) -> Array:
        return x

    assert_type(f(X), Array)
    assert_type(f(X, X, X, mode=Mode.TEST), Array)


def kept_generic_function() -> None:
    @filter_jit
    def tree_double(tree: T) -> T:
        out: T = jax.tree.map(lambda x: 2 * x, tree)
        return out

    assert_type(tree_double(PARAMS), Params)
    assert_type(tree_double(NET), Net)


def kept_bounded_generic() -> None:
    @filter_jit
    def update(model: M, x: Array) -> M:
        return apply_updates(model, filter_grad(loss)(model, x))

    assert_type(update(Small(X), X), Small)


def kept_generic_training() -> None:
    def train(model: M, fn: Callable[[M, Array], Array], xs: Sequence[Array]) -> M:
        step = filter_jit(filter_value_and_grad(fn))
        for x in xs:
            _, grads = step(model, x)
            model = apply_updates(model, grads)
        return model

    assert_type(train(NET, loss, [X]), Net)


def kept_call_in_a_thread() -> None:
    step = filter_jit(filter_value_and_grad(loss))

    async def run() -> Array:
        value, grads = await asyncio.to_thread(step, NET, X)
        assert_type(grads, Net)
        return value

    assert_type(asyncio.run(run()), Array)


def kept_async_loop() -> None:
    step = filter_jit(loss)

    async def train() -> Array:
        return step(NET, X)

    print(train)


def kept_cached_factory() -> None:
    @functools.cache
    def make_step(rate: float) -> Callable[[Net, Array], Net]:
        @filter_jit
        def step(net: Net, x: Array) -> Net:
            return apply_updates(net, filter_grad(loss)(net, x))

        return step

    assert_type(make_step(0.1)(NET, X), Net)


def kept_step_in_dataclass() -> None:
    class Trainer(NamedTuple):
        step: Callable[[Net, Array], Array]
        metrics: dict[str, Callable[[Net, Array], Array]]

    trainer = Trainer(filter_jit(loss), {"loss": filter_jit(loss), "raw": loss})
    assert_type(trainer.step(NET, X), Array)
    assert_type(trainer.metrics["raw"](NET, X), Array)


def kept_defaults_of_a_dataclass() -> None:
    assert_type(Config().step(NET, X), Array)
    assert_type(Config().grad(NET, X), Net)


def kept_any_arguments() -> None:
    @filter_jit
    def f(*xs: Array, scale: Static[float] = 1.0, **more: Array) -> Array:
        return sum(xs, jnp.zeros(3)) * scale

    args = (NET, X)
    assert_type(f(X, X, scale=2.0, other=X), Array)
    assert_type(filter_jit(loss)(*args), Array)
    assert_type(filter_grad(loss)(*args), Net)


def kept_jitted_in_init() -> None:
    class Trainer:
        def __init__(self, net: Net) -> None:
            self.net = net
            self._step = filter_jit(self._raw)
            self.grad = filter_jit(filter_value_and_grad(loss))

        def _raw(self, x: Array, train: bool = True) -> Array:
            return self.net(x)

        def run(self, x: Array) -> Array:
            value, _ = self.grad(self.net, x)
            return self._step(x, train=False) + value

    assert_type(Trainer(NET).run(X), Array)


def kept_partials() -> None:
    step = functools.partial(filter_jit(loss), NET)
    print(step(X))
    assert_type(filter_jit(functools.partial(loss, NET))(X), Array)
    print(filter_vmap(functools.partial(loss, NET))(jnp.ones((2, 3))))


def kept_options_of_jit() -> None:
    @filter_jit(donate="all", inline=True, keep_unused=True, max_traces=3, check="warn")
    def f(x: Array, n: Static[int] = 1) -> Array:
        return x * n

    assert_type(f(jnp.copy(X), n=2), Array)
    f.clear_cache()
    assert_type(f.__name__, str)
    assert_type(f.__wrapped__(X), Array)
    print(f.eval_shape(ShapeDtypeStruct((3,), "float32")))


def kept_module_access() -> None:
    @tf.filter_jit
    def f(x: tf.Static[int], y: tf.Donate[Array]) -> Array:
        return y * x

    assert_type(f(2, jnp.copy(X)), Array)


# ---- methods


def kept_methods_of_a_module() -> None:
    assert_type(NET.forward(X, train=True), Array)
    assert_type(NET.norm, Array)
    assert_type(Net.helper(X, 2), Array)
    assert_type(NET.helper(X, times=2), Array)
    assert_type(Net.zeros(2), Net)
    assert_type(NET.scaled(2.0), Net)
    assert_type(Small(X).scaled(2.0), Small)
    assert_type(Small(X).forward(X), Array)
    assert_type(NET.slope(X), Net)
    assert_type(NET.batched(jnp.ones((2, 3))), Array)
    assert_type(NET.saved(X), Array)
    assert_type(Net.forward(NET, X), Array)
    print(NET.loss_aux(X))


def kept_method_lowered_under_a_gradient() -> None:
    print(Net.slope)
    assert_type(filter_jit(NET.forward)(X), Array)


def kept_method_above_a_gradient() -> None:
    assert_type(NET.valued(X, power=2), tuple[Array, Net])
    assert_type(Net.energy(PARAMS, X), tuple[Array, Params])
    print(Net.helper.lower(X, 2), filter_jit(NET.forward).lower(X).compile()(X))


def kept_generic_class() -> None:
    assert_type(Stack((X, X)).first(), Array)
    assert_type(Stack((NET,)).mapped(lambda net: net.weight), Array)


def kept_operators() -> None:
    assert_type(Vector(X) + Vector(X), Vector)
    assert_type(Vector(X)[0], Array)
    assert_type(Vector(X)(X), Array)


def kept_abstract_method() -> None:
    layers: Sequence[Layer] = [Dense(), Dense()]
    for layer in layers:
        assert_type(layer.apply(X), Array)


def kept_vmapped_method() -> None:
    assert_type(filter_vmap(NET.forward)(jnp.ones((2, 3))), Array)
    assert_type(filter_vmap(Net.create)(jax.random.split(jax.random.key(0), 2)), Net)
    assert_type(filter_eval_shape(Net.create, jax.random.key(0)), Net)


def kept_jit_of_a_class() -> None:
    print(filter_jit(Net)(X), filter_vmap(Net)(jnp.ones((2, 3))))


def kept_equinox_layers() -> None:
    mlp = eqx.nn.MLP(3, 3, 4, 1, key=jax.random.key(0))
    print(filter_jit(mlp)(X), filter_vmap(mlp)(jnp.ones((2, 3))))

    @filter_value_and_grad
    def f(model: eqx.nn.MLP, x: Array) -> Array:
        return filter_vmap(model)(x).sum()

    value, grads = f(mlp, jnp.ones((2, 3)))
    assert_type(value, Array)
    assert_type(grads, eqx.nn.MLP)
    print(eqx.apply_updates(mlp, grads))


# ---- training


def kept_optax_loop() -> None:
    optim = optimiser(optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)))
    state = optim.init(trainable(NET))

    @filter_jit(donate="all")
    def step(net: Net, state: optax.OptState, x: Array) -> tuple[Net, optax.OptState, Array]:
        value, grads = filter_value_and_grad(loss)(net, x)
        updates, state = optim.update(grads, state, trainable(net))
        return apply_updates(net, updates), state, value

    net, history = Net(jnp.copy(X)), list[float]()
    for _ in range(2):
        net, state, value = step(net, state, X)
        history.append(value.item())
    assert_type(net, Net)


def kept_optax_on_parameters() -> None:
    optim = optax.sgd(0.1)
    state = optim.init(PARAMS)
    grads = filter_grad(mse)(PARAMS, BATCH)
    updates, state = optim.update(grads, state, PARAMS)
    print(optax.apply_updates(PARAMS, updates))


def kept_multi_loss() -> None:
    def f(nets: tuple[Net, Net], x: Array, y: Array) -> tuple[Array, dict[str, Array]]:
        return nets[0](x).sum() + nets[1](y).sum(), {"x": x}

    (value, logs), grads = filter_jit(filter_value_and_grad(f, has_aux=True))((NET, NET), X, X)
    assert_type(value, Array)
    assert_type(logs, dict[str, Array])
    assert_type(grads, tuple[Net, Net])


def kept_gradient_arithmetic() -> None:
    def f(w: Array, x: Array) -> Array:
        return (w * x).sum()

    assert_type(X - 0.1 * filter_grad(f)(X, X), Array)


def kept_gradient_by_its_keyword() -> None:
    def f(w: Array, x: Array) -> Array:
        return (w * x).sum()

    assert_type(filter_grad(f)(w=X, x=X), Array)


def kept_second_derivatives() -> None:
    def f(x: Array) -> Array:
        return (x**3).sum()

    assert_type(filter_hessian(f)(X), Array)
    assert_type(filter_jacfwd(filter_grad(f))(X), Array)
    print(filter_vmap(filter_grad(lambda x: x**2))(X) + 1)


def kept_scalar_functions() -> None:
    def f(x: Traced[float]) -> Array:
        return jnp.square(x)

    print(filter_grad(f)(2.0))


def kept_per_example_gradients() -> None:
    per = filter_vmap(filter_grad(loss), in_axes=(None, 0))
    assert_type(per(NET, jnp.ones((2, 3))), Net)
    both = filter_vmap(filter_value_and_grad(loss), in_axes=(None, 0))
    assert_type(both(NET, jnp.ones((2, 3))), tuple[Array, Net])
    assert_type(filter_checkpoint(filter_value_and_grad(loss))(NET, X), tuple[Array, Net])


def kept_objects_and_methods_as_losses() -> None:
    class Problem:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def __call__(self, w: Params, x: Array) -> Array:
            return self.scale * (w["w"] * x).sum()

    assert_type(filter_grad(Problem(2.0))(PARAMS, X), Params)
    assert_type(filter_jit(filter_value_and_grad(Problem(2.0).__call__))(PARAMS, X), tuple[Array, Params])


def kept_gradients_beside_anything() -> None:
    def f(
        w: Params, batch: Any, table: np.ndarray, *rest: Any, options: dict[str, Any] | None = None
    ) -> Array:
        return w["w"].sum() + jnp.sum(batch)

    assert_type(filter_grad(f)(PARAMS, X, np.ones(3)), Params)
    assert_type(filter_value_and_grad(f)(PARAMS, X, np.ones(3), options={}), tuple[Array, Params])
    assert_type(filter_grad()(f)(PARAMS, X, np.ones(3)), Params)


def kept_frozen_parts() -> None:
    dynamic, static = partition(NET, is_inexact_array)

    @filter_jit
    @filter_grad
    def f(dynamic: Net, static: Net, x: Array) -> Array:
        return combine(dynamic, static)(x).sum()

    assert_type(f(dynamic, static, X), Net)


def kept_scan_over_steps() -> None:
    def body(carry: tuple[Net, Array], x: Array) -> tuple[tuple[Net, Array], Array]:
        net, total = carry
        value, grads = filter_value_and_grad(loss)(net, x)
        return (apply_updates(net, grads), total + value), value

    (net, total), values = filter_scan(body, (NET, jnp.zeros(())), jnp.ones((4, 3)))
    assert_type(net, Net)
    assert_type(values, Array)
    print(total)


# ---- devices, branches, testing helpers, options


def kept_shard_map() -> None:
    @filter_shard_map(mesh=MESH, in_specs=ROWS, out_specs=ROWS, check_vma=True)
    def double(x: Array, times: Static[int] = 2) -> Array:
        return x * times

    assert_type(double(X), Array)
    assert_type(double(X, times=3), Array)


def kept_shard_map_of_a_function() -> None:
    def f(x: Array) -> dict[str, Array]:
        return {"x": x}

    g = filter_shard_map(
        f,
        mesh=MESH,
        in_specs=ROWS,
        out_specs=ROWS,
        axis_names={"data"},
        check="warn",
    )
    assert_type(g(X), dict[str, Array])
    assert_type(filter_jit(g)(X), dict[str, Array])


def kept_shard() -> None:
    assert_type(filter_shard(NET, jax.devices()[0]), Net)


def kept_pmap() -> None:
    @filter_pmap(axis_name="i", devices=jax.devices()[:1], donate="none")
    def f(x: Array) -> Array:
        return x

    assert_type(f(X[None]), Array)


def kept_testing_helpers() -> None:
    @filter_jit(donate="all")
    def f(x: Array) -> Array:
        return x * 2

    x = jnp.copy(X)
    with max_traces(f, 1):
        assert_type(f(x), Array)
    assert_donated(x, {"a": x})
    with no_retrace(), assert_no_tracer_leaks():
        print(f(jnp.copy(X)))
    with max_traces(NET.forward, 2), log_retraces():
        print(NET.forward(X))


def kept_masks() -> None:
    mask = trainable(NET, mask=True)
    optim = optimiser(optax.masked(optax.sgd(0.1), mask))
    assert_type(trainable(NET), Net)
    print(optim.init(trainable(NET, loss=loss)))


def kept_linearized() -> None:
    out, push = filter_linearize(lambda x: jnp.sin(x), X)
    print(out, push(X))
    value, push2, aux = filter_linearize(lambda n: (loss(n, X), "aux"), NET, has_aux=True)
    print(value, push2(NET), aux)


def kept_loops() -> None:
    total = filter_fori_loop(0, 3, lambda i, t: t + i, jnp.zeros(()))
    state = filter_while_loop(lambda s: s["w"].sum() < 10, lambda s: {"w": s["w"] * 2}, PARAMS)
    assert_type(state, Params)
    print(total, filter_map(lambda x: x * 2, X), filter_associative_scan(jnp.add, X))
    print(filter_cond(X[0] > 0, lambda x: x, lambda x: -x, X))
    print(filter_switch(0, [jnp.sin, jnp.cos], X))


def kept_explained() -> None:
    print(explain(filter_jit(loss), NET, X))


def kept_jaxpr() -> None:
    print(filter_make_jaxpr(loss)(NET, X)[0])
    print(filter_make_jaxpr(lambda x: x * 2)(ShapeDtypeStruct((3,), "float32"))[1])


def kept_axes_of_annotations() -> None:
    @filter_vmap
    def f(net: NoDiff[Net], x: VmapAxis[1], scale: Traced[float] = 1.0) -> Array:
        return net(x) * scale

    print(f(Net(jnp.ones((2, 3))), jnp.ones((3, 2))))


def kept_second_parameter() -> None:
    @filter_grad
    def f(x: Array, w: Diff[Array]) -> Array:
        return (x * w).sum()

    print(f(X, X))


# ---- in one expression


def kept_derivatives_of_what_a_decorator_returns() -> None:
    assert_type(filter_grad(decorated(summed))(PARAMS, X), Params)
    assert_type(filter_grad()(decorated(summed))(PARAMS, X), Params)
    assert_type(filter_value_and_grad(decorated(filter_jit(summed)))(PARAMS, X), tuple[Array, Params])
    assert_type(filter_jacrev(decorated(decorated(summed)))(PARAMS, X), Params)
    assert_type(filter_hessian(decorated(cubes))(X), Array)


def kept_auxiliary_results_of_what_a_decorator_returns() -> None:
    assert_type(filter_grad(decorated(summed_and_named), has_aux=True)(PARAMS, X), tuple[Params, str])
    assert_type(filter_grad(has_aux=True)(decorated(summed_and_named))(PARAMS, X), tuple[Params, str])
    assert_type(filter_jacfwd(decorated(summed_and_named), has_aux=True)(PARAMS, X), tuple[Params, str])


def kept_transforms_around_derivatives_of_decorated_functions() -> None:
    assert_type(filter_jit(filter_grad(decorated(summed)))(PARAMS, X), Params)
    assert_type(decorated(filter_grad(decorated(summed)))(PARAMS, X), Params)
    assert_type(filter_checkpoint(filter_value_and_grad(decorated(summed)))(PARAMS, X), tuple[Array, Params])


def kept_derivatives_of_derivatives() -> None:
    assert_type(filter_jacfwd(filter_grad(cubes))(X), Array)
    assert_type(filter_jacrev(decorated(filter_grad(cubes)))(X), Array)
    assert_type(filter_jacfwd(filter_grad(decorated(cubes)))(X), Array)


def kept_products_with_decorated_functions() -> None:
    out, pull = filter_vjp(decorated(summed), PARAMS, X)
    assert_type(pull(out), tuple[Params, Array])
    assert_type(filter_linearize(decorated(cubes), X)[0], Array)
    assert_type(filter_eval_shape(decorated(filter_jit(summed)), PARAMS, X), ShapeDtypeStruct)


def kept_hessian_of_a_tree() -> None:
    assert_type(filter_hessian(summed)(PARAMS, X), Any)
    assert_type(filter_hessian()(summed)(PARAMS, X), Any)


def kept_class_wrapper_of_a_derivative() -> None:
    class Wrapped(Generic[P, R]):
        def __init__(self, fn: Callable[P, R]) -> None:
            self.fn = fn

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            return self.fn(*args, **kwargs)

    assert_type(filter_grad(Wrapped(summed))(PARAMS, X), Params)
    assert_type(Wrapped(filter_grad(summed))(PARAMS, X), Params)
    assert_type(Wrapped(filter_jit(summed))(PARAMS, x=X), Array)


def kept_compiled_function_as_a_protocol() -> None:
    class Summing(Protocol):
        def __call__(self, params: Params, x: Array) -> Array: ...

    def called(fn: Summing) -> Array:
        return fn(params=PARAMS, x=X)

    print(called(summed), called(decorated(summed)), called(filter_checkpoint(summed)))
    print(called(filter_jit(summed)), called(filter_jit(donate="none")(summed)))


def caught_argument_of_a_decorated_derivative() -> None:
    filter_grad(decorated(summed))("x", X)  # mistake


def caught_result_of_a_decorated_function() -> None:
    def f(x: Array) -> str:
        return str(x)

    filter_grad(decorated(f))(X)  # mistake


def caught_argument_of_a_second_derivative() -> None:
    filter_jacfwd(filter_grad(cubes))("x")  # mistake


# ---- mistakes


def caught_union_argument(flag: bool = True) -> None:
    def a(x: Array) -> Array:
        return x

    def b(x: Array, y: int = 0) -> Array:
        return x

    f = a if flag else b
    filter_jit(f)("no")  # mistake


def caught_gradient_beside_anything() -> None:
    def f(w: Params, batch: Any) -> Array:
        return w["w"].sum()

    wrong: Array = filter_grad(f)(PARAMS, X)  # mistake
    print(wrong)


def caught_argument_of_a_decorator_class() -> None:
    class Timer(Generic[P, R]):
        def __init__(self, fn: Callable[P, R]) -> None:
            self.fn = fn

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            return self.fn(*args, **kwargs)

    Timer(filter_jit(loss))(X)  # mistake


def caught_protocol() -> None:
    class Step(Protocol):
        def __call__(self, net: Net, x: Array) -> Net: ...

    step: Step = filter_jit(loss)  # mistake
    print(step)


def caught_result_in_a_list() -> None:
    fns: list[Callable[[Array], str]] = [filter_jit(jnp.sin)]  # mistake
    print(fns)


def caught_override() -> None:
    class Bad(Net):
        @filter_jit
        def forward(self, x: Array, train: bool = False) -> str:  # mistake
            return ""

    print(Bad)


def caught_class_method_argument() -> None:
    Net.zeros("3")  # mistake


def caught_checkpoint_argument() -> None:
    filter_checkpoint(loss)(NET)  # mistake


def caught_branches() -> None:
    def f(x: Array) -> Array:
        return x

    filter_cond(X[0] > 0, f, loss, X)  # mistake


def caught_pair_without_aux() -> None:
    def f(net: Net) -> tuple[Array, str]:
        return net(X).sum(), ""

    filter_jacfwd(loss, has_aux=True)  # mistake
    filter_value_and_grad(f)  # mistake


def caught_method_keyword() -> None:
    NET.forward(X, training=True)  # mistake


def caught_static_method() -> None:
    Net.helper(X)  # mistake


def caught_property() -> None:
    NET.norm.weight  # mistake


def caught_open_loss_argument() -> None:
    def f(w: Params, *, strength: float) -> Array:
        return w["w"].sum()

    filter_grad(f)(PARAMS)  # mistake


def caught_wrapped_argument() -> None:
    def timed(fn: Callable[P, R]) -> Callable[P, R]:
        return fn

    timed(filter_jit(loss))(NET, 1, 2)  # mistake


def caught_shard_map_argument() -> None:
    @filter_shard_map(mesh=MESH)
    def f(x: Array) -> Array:
        return x

    f("x")  # mistake


def caught_shard_map_option() -> None:
    filter_shard_map(loss, mesh=3)  # mistake


def caught_testing_count() -> None:
    max_traces(filter_jit(loss), "1")  # mistake


def caught_testing_function() -> None:
    max_traces(3, 1)  # mistake


def caught_jit_option() -> None:
    filter_jit(loss, donate="everything")  # mistake


def caught_pmap_option() -> None:
    filter_pmap(loss, donate="all-except-first")  # mistake


def caught_linear_argument() -> None:
    out, push = filter_linearize(loss, NET, X)
    push("x", X)  # mistake


def caught_scan_result() -> None:
    def body(c: Array, x: Array) -> Array:
        return c

    filter_scan(body, X, X)  # mistake


def caught_mode() -> None:
    @filter_jit
    def f(x: Array, mode: Mode) -> Array:
        return x

    f(X, "train")  # mistake


def caught_gradient_of_bool() -> None:
    def f(x: Array) -> bool:
        return True

    filter_grad(f)  # mistake


def caught_variable_aux_of_strings(has_aux: bool = False) -> None:
    def f(x: Array) -> list[str]:
        return []

    filter_grad(f, has_aux=has_aux)  # mistake


def caught_self_lower() -> None:
    @filter_jit
    def f(x: Array) -> Array:
        return x

    f.lower("x", 2, 3).compil()  # mistake


def caught_argument_of_a_mixed_list() -> None:
    def f(x: Array) -> Array:
        return x

    for fn in [f, filter_jit(f)]:
        fn("x")  # mistake


def caught_lower() -> None:
    def f(x: Array) -> Array:
        return x

    filter_jit(f).lower("x", 2)
    filter_jit(f)("x")  # mistake
