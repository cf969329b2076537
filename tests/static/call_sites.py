"""Call sites as they stand in published libraries: solvers, flows, ray tracers, trainers. All are good.

Such code annotates loosely (`PyTree`, `Any`, nothing at all), passes functions on, and uses options and
methods where it finds them. A `kept_` program must be accepted, and is executed.
"""

# pyright: standard

from __future__ import annotations

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import ArrayLike, Float, PyTree
from typing_extensions import TypeVar, assert_type

from typedfilter import (
    apply_updates,
    combine,
    filter_checkpoint,
    filter_closure_convert,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_jvp,
    filter_make_jaxpr,
    filter_pure_callback,
    filter_value_and_grad,
    filter_vjp,
    filter_vmap,
    is_array,
    is_inexact_array,
    partition,
    pytree_dataclass,
)

Y = TypeVar("Y")
Aux = TypeVar("Aux")
X = jnp.arange(3.0)
Scalar = Float[Array, ""]


@pytree_dataclass
class Solver:
    rate: Array

    def init(self, fn: Callable[[Y, Any], Y], y: Y, args: PyTree) -> PyTree:
        return filter_eval_shape(fn, y, args)

    def step(self, fn: Callable[[PyTree, Any], PyTree], y: PyTree, args: Any) -> PyTree:
        lin = filter_closure_convert(fn, y, args)
        return jax.tree.map(lambda a, b: a + self.rate * b, y, lin(y, args))

    @filter_jit
    def solve(self, y0: PyTree, steps: int = 2) -> PyTree:
        for _ in range(steps):
            y0 = self.step(lambda y, args: y, y0, None)
        return y0


@pytree_dataclass
class Flow:
    scale: Array

    def log_prob(self, x: Array, condition: Array | None = None) -> Array:
        return jnp.sum(x * self.scale)

    def batched(self, x: Array) -> Array:
        return filter_vmap(self.log_prob)(x)

    @classmethod
    def make(cls, key: Array) -> Flow:
        return cls(jax.random.normal(key, (3,)))


FLOW = Flow(X)


# ---- call sites


def kept_shape_of_an_unknown_function() -> None:
    def make(key: Array) -> Any:
        return FLOW

    struct = filter_eval_shape(make, jax.random.key(0))
    print(struct.scale.shape)


def kept_shape_of_an_unannotated_function() -> None:
    def make(key):  # type: ignore[no-untyped-def]  # pyright: ignore  # ty: ignore
        return FLOW

    print(filter_eval_shape(make, jax.random.key(0)).scale.shape)


def kept_solver() -> None:
    solver = Solver(jnp.array(0.1))
    print(solver.init(lambda y, args: y, X, None), solver.solve(X), solver.solve({"a": X}, steps=3))


def kept_partition_and_combine() -> None:
    params, static = partition(FLOW, is_inexact_array)

    @filter_jit
    def loss(params: Flow, x: Array) -> Array:
        return combine(params, static).log_prob(x)

    assert_type(filter_grad(loss)(params, X), Flow)


def kept_loss_of_unannotated_parameters() -> None:
    @filter_value_and_grad(has_aux=True)
    def loss(params: Any, x: Any) -> Any:
        return jnp.sum(params.scale * x), x

    (value, aux), grads = loss(FLOW, X)
    print(value, aux, grads.scale)


def kept_loss_function_as_argument() -> None:
    def fit(model: Y, loss_fn: Callable[[Y, Array], Scalar], x: Array, steps: int = 2) -> Y:
        @filter_jit
        def step(model: Y) -> Y:
            grads = filter_grad(loss_fn)(model, x)
            return apply_updates(model, grads)

        for _ in range(steps):
            model = step(model)
        return model

    assert_type(fit(FLOW, lambda m, x: m.log_prob(x), X), Flow)


def kept_loss_with_any_keywords() -> None:
    @filter_value_and_grad
    def loss(flow: Flow, x: Array, *, key: Array | None = None, **kwargs: Any) -> Scalar:
        return flow.log_prob(x)

    print(loss(FLOW, X, key=jax.random.key(0), extra=3))


def kept_partial_method() -> None:
    print(filter_vmap(ft.partial(FLOW.log_prob, condition=None))(jnp.ones((2, 3))))
    print(filter_jit(ft.partial(FLOW.log_prob, condition=X))(X))


def kept_ensemble_of_constructors() -> None:
    flows = filter_vmap(Flow.make)(jax.random.split(jax.random.key(0), 4))
    print(filter_vmap(lambda flow, x: flow.log_prob(x), in_axes=(0, None))(flows, X))


def kept_vmap_with_axes() -> None:
    print(filter_vmap(FLOW.log_prob, in_axes=0, out_axes=0)(jnp.ones((2, 3))))
    print(filter_vmap(in_axes=(None, 0))(lambda a, b: a + b)(X, X))


def kept_jit_in_a_loop() -> None:
    fns: list[Callable[[Array], Array]] = [jnp.sin, jnp.cos]
    for fn in map(filter_jit, fns):
        print(fn(X))


def kept_jit_of_an_unknown_callable() -> None:
    def run(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return filter_jit(fn)(*args, **kwargs)

    print(run(jnp.sin, X))


def kept_jit_with_options() -> None:
    @ft.partial(filter_jit, donate="none")
    def f(x: Array) -> Array:
        return x + 1

    print(f(X) + 1)


def kept_checkpointed_step() -> None:
    @filter_checkpoint
    def body(carry: Array, x: Array) -> tuple[Array, Array]:
        return carry + x, carry

    print(jax.lax.scan(body, jnp.zeros(3), jnp.ones((2, 3))))


def kept_jvp_of_a_closure() -> None:
    out, tangent = filter_jvp(lambda x: FLOW.log_prob(x), (X,), (X,))
    print(out, tangent)


def kept_linear_solve_by_vjp() -> None:
    def residual(y: PyTree, args: Any) -> PyTree:
        return jax.tree.map(lambda a: a**2, y)

    out, pull = filter_vjp(lambda y: residual(y, None), {"a": X})
    print(out, pull(out))


def kept_auxiliary_of_vjp() -> None:
    out, pull, aux = filter_vjp(lambda y: (y * 2, "aux"), X, has_aux=True)
    print(out, pull, aux)


def kept_hessian_vector_product() -> None:
    def hvp(f: Callable[[Array], Array], x: Array, v: Array) -> Array:
        return filter_jvp(filter_grad(f), (x,), (v,))[1]

    assert_type(hvp(lambda x: jnp.sum(x**3), X, X), Array)


def kept_custom_rule_with_keywords() -> None:
    @filter_custom_vjp
    def loop(y: Array, *, kind: str, **options: Any) -> Array:
        return y

    @loop.def_fwd
    def fwd(perturbed: Any, y: Array, *, kind: str, checkpoints: int, **options: Any) -> tuple[Array, Array]:
        return y, y

    @loop.def_bwd
    def bwd(residuals: Array, grad: Array, perturbed: Any, y: Array, *, kind: str, **options: Any) -> Array:
        return grad

    print(fwd, bwd, filter_grad(lambda y: loop(y, kind="a", checkpoints=2).sum())(X))


def kept_rules_that_are_not_annotated() -> None:
    @filter_custom_jvp
    def safe(x: Array) -> Array:
        return x

    @safe.def_jvp
    def rule(primals: Any, tangents: Any) -> Any:
        return safe(primals[0]), tangents[0]

    print(rule, filter_grad(lambda x: safe(x).sum())(X))


def kept_callback() -> None:
    def host(x: Any) -> Any:
        return x

    print(filter_pure_callback(host, X, result_shape_dtypes=jax.ShapeDtypeStruct((3,), "float32")))


def kept_jaxpr_of_a_method() -> None:
    jaxpr, out, static = filter_make_jaxpr(FLOW.log_prob)(X)
    print(jaxpr, out, static)


def kept_decorated_function_with_state() -> None:
    @filter_jit
    @filter_vmap(in_axes=(None, 0, None))
    @ft.partial(filter_value_and_grad, has_aux=False)
    def step(flow: Flow, x: Array, weight: ArrayLike) -> Array:
        return flow.log_prob(x) * weight

    print(step(FLOW, jnp.ones((2, 3)), 2.0))


def kept_tree_of_functions() -> None:
    metrics: dict[str, Callable[[Array, Array], Array]] = {
        "mse": filter_jit(lambda p, y: jnp.mean((p - y) ** 2)),
        "mae": lambda p, y: jnp.mean(jnp.abs(p - y)),
    }
    print({name: metric(X, X) for name, metric in metrics.items()})


def kept_filtered_leaves() -> None:
    arrays = [leaf for leaf in jax.tree.leaves(FLOW) if is_array(leaf)]
    print([array.shape for array in arrays])
