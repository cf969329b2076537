"""Planted mistakes under transforms."""

from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from typedfilter import VmapAxis, filter_grad, filter_jit, filter_value_and_grad, filter_vmap
from typedfilter.pytree import pytree_dataclass


@pytree_dataclass
class Params:
    w: Float[Array, "n m"]
    b: Float[Array, "m"]


# failed: found: f32[n - 1]
@filter_jit
def jitted(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:]


# failed: found: f32[n - 1]
@filter_jit(check=False)
def unchecked(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:]


# failed: TracerBoolConversionError
@filter_jit
def branches_on_a_value(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x if x.sum() > 0 else -x


# failed: found: f32[m]
@filter_vmap
def mapped(x: Float[Array, "n"], w: VmapAxis[None, Float[Array, "n m"]]) -> Float[Array, "n"]:
    return x @ w


# failed: has no axis 2 to map over
@filter_vmap
def no_such_axis(x: Annotated[Float[Array, "n"], VmapAxis[2]]) -> Float[Array, "n"]:
    return x


# failed: got no array to map over
@filter_vmap(in_axes=None)
def nothing_mapped(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x


# failed: does not depend on mapped arguments
@filter_vmap(out_axes=None)
def unmapped_result(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x


# failed: found: f32[]
@filter_jit
@filter_vmap(in_axes=1)
@filter_vmap
def twice_mapped(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x.sum()


# failed: (b, m), (b, n)
@filter_grad
def loss(params: Params, x: Float[Array, "b n"], y: Float[Array, "b m"]) -> Float[Array, ""]:
    return jnp.mean((x @ params.w + params.b - x) ** 2)


# failed: can't be differentiated by filter_grad
@filter_grad
def not_a_scalar(params: Params, x: Float[Array, "b n"]):
    return (x @ params.w).sum(axis=1)


# failed: `[1]` of the return value
@filter_value_and_grad(has_aux=True)
def wrong_aux(params: Params, x: Float[Array, "b n"]) -> tuple[Float[Array, ""], Float[Array, "b m"]]:
    return jnp.sum(x @ params.w), x


# failed: got (n,) and (m,)
@filter_vmap(in_axes=(None, 0))
@filter_grad
def per_example(params: Params, x: Float[Array, "n"]) -> Float[Array, ""]:
    return (x @ params.w.T).sum()


# failed: found: f32[m,n]
def inner_jacobian(x: Float[Array, "n"], w: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return jax.jacfwd(lambda x: jnp.tanh(x @ w))(x)


# failed: `.b` of the return value
@filter_jit
def step(params: Params, x: Float[Array, "b n"]) -> Params:
    grads = filter_grad(lambda p: jnp.mean(x @ p.w + p.b))(params)
    return Params(params.w.T - 0.1 * grads.w.T, params.b)


# failed: argument `x`
@filter_jit
def calls_another(x: Float[Array, "n m"]) -> Float[Array, "m"]:
    return vector_only(x)


@filter_jit
def vector_only(x: Float[Array, "m"]) -> Float[Array, "m"]:  # typedfilter: ignore
    return x


# failed: found: f32[]
@jax.jit
def plain_jit(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x.sum()


# failed: found: f32[]
@jax.vmap
def plain_vmap(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x.sum()
