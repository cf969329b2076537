"""Sound functions under transforms, in stacks."""

from typing import Annotated

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from typedfilter import (
    Diff,
    Donate,
    NoDiff,
    Static,
    Traced,
    VmapAxis,
    filter_grad,
    filter_jit,
    filter_value_and_grad,
    filter_vmap,
)
from typedfilter.pytree import pytree_dataclass


@pytree_dataclass
class Params:
    w: Float[Array, "n m"]
    b: NoDiff[Float[Array, "m"]]


# proved
@filter_jit
def split_over_devices(
    x: Annotated[Float[Array, "b n"], PartitionSpec("data")],
) -> Annotated[Float[Array, "b"], PartitionSpec("data")]:
    return x.sum(1)


# proved
@filter_jit
def jitted(
    x: Donate[Float[Array, "n"]], k: Static[int] = 2, rate: Traced[float] = 0.5
) -> Float[Array, "{k} n"]:
    return jnp.tile(x * rate, (k, 1))


# proved
@filter_vmap
def mapped(x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, ""]:
    return x @ y


# proved
@filter_vmap(in_axes=(0, None))
def one_broadcast(x: Float[Array, "n"], w: Float[Array, "n m"]) -> Float[Array, "m"]:
    return x @ w


# proved
@filter_vmap
def by_annotation(
    x: Annotated[Float[Array, "n"], VmapAxis[1]], w: VmapAxis[None, Float[Array, "n m"]]
) -> Annotated[Float[Array, "m"], VmapAxis[-1]]:
    return x @ w


# proved
@filter_vmap(in_axes={"x": 1}, out_axes=1)
def by_name(x: Float[Array, "n"], scale: Float[Array, ""]) -> Float[Array, "n"]:
    return x * scale


# proved
@filter_vmap(in_axes=None, axis_size=4)
def fixed_axis(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x


# checked
@filter_vmap(axis_name="batch")
def named_axis(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x - jax.lax.pmean(x, "batch")


# proved
@filter_jit
@filter_vmap(in_axes=1)
@filter_vmap(out_axes=-1)
def twice_mapped(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x / x.sum()


# proved
@filter_grad
def gradient(params: Params, x: Float[Array, "b n"], y: Float[Array, "b m"]) -> Float[Array, ""]:
    return jnp.mean((x @ params.w + params.b - y) ** 2)


# proved
@filter_jit
@filter_value_and_grad(has_aux=True)
def with_aux(
    params: Params, x: Float[Array, "b n"], y: Float[Array, "b m"]
) -> tuple[Float[Array, ""], Float[Array, "b m"]]:
    out = x @ params.w + params.b
    return jnp.mean((out - y) ** 2), out


# proved
@filter_vmap(in_axes=(None, 0, 0))
@filter_grad
def per_example(params: Params, x: Float[Array, "n"], y: Int[Array, ""]) -> Float[Array, ""]:
    return jax.nn.log_softmax(x @ params.w + params.b)[y]


# proved
@filter_grad
def several(x: Diff[Float[Array, "n"]], k: Int[Array, ""], y: Diff[Float[Array, "m"]]) -> Float[Array, ""]:
    return x.sum() * y.sum() * k


# proved
@filter_jit
def step(params: Donate[Params], x: Float[Array, "b n"], y: Float[Array, "b m"]) -> Params:
    grads = gradient(params, x, y)
    return Params(params.w - 0.1 * grads.w, params.b)


# proved
@jax.jit
def plain_jit(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + 1


# proved
@jax.vmap
def plain_vmap(x: Float[Array, "n"]) -> Float[Array, ""]:
    return x.sum()


# proved
@jax.custom_jvp
def custom(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return jnp.sin(x)


custom.defjvps(lambda tangent, out, x: tangent * jnp.cos(x))


# proved
def inner_gradient(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return filter_grad(lambda x: (x**2).sum())(x)


# proved
def inner_hessian(x: Float[Array, "n"]) -> Float[Array, "n n"]:
    return jax.hessian(lambda x: (x**3).sum())(x)


# proved
def inner_jacobian(x: Float[Array, "n"], w: Float[Array, "n m"]) -> Float[Array, "m n"]:
    return jax.jacfwd(lambda x: jnp.tanh(x @ w))(x)


def _loss(x: Float[Array, "n"]) -> Float[Array, ""]:  # typedfilter: ignore
    return (x**2).sum()


# proved (as loss_gradient)
loss_gradient = filter_jit(filter_grad(_loss))
