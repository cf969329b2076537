"""Sound functions over the dimension language. The comment above each is the verdict that is expected."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


# proved
def matmul(x: Float[Array, "b n"], w: Float[Array, "n m"]) -> Float[Array, "b m"]:
    return x @ w


# proved
def attention(
    q: Float[Array, "heads seq dim"], k: Float[Array, "heads keys dim"], v: Float[Array, "heads keys out"]
) -> Float[Array, "heads seq out"]:
    scores = jnp.einsum("hqd,hkd->hqk", q, k) / jnp.sqrt(q.shape[-1])
    return jnp.einsum("hqk,hko->hqo", jax.nn.softmax(scores, axis=-1), v)


# proved
def valid_convolution(
    image: Float[Array, "h w cin"], kernel: Float[Array, "3 3 cin cout"]
) -> Float[Array, "h-2 w-2 cout"]:
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(image[None], kernel, (1, 1), "VALID", dimension_numbers=numbers)[0]


# proved
def general_convolution(
    image: Float[Array, "h w cin"], kernel: Float[Array, "kh kw cin cout"]
) -> Float[Array, "h-kh+1 w-kw+1 cout"]:
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(image[None], kernel, (1, 1), "VALID", dimension_numbers=numbers)[0]


# proved
def scanned(xs: Float[Array, "t n"], h: Float[Array, "n"]) -> Float[Array, "t n"]:
    def step(carry, x):
        carry = jnp.tanh(carry + x)
        return carry, carry

    return jax.lax.scan(step, h, xs)[1]


# proved
def loop(x: Float[Array, "n n"], v: Float[Array, "n"]) -> Float[Array, "n"]:
    return jax.lax.fori_loop(0, 10, lambda i, v: x @ v, v)


# proved
def plus_one(x: Float[Array, "n"]) -> Float[Array, "n+1"]:
    return jnp.concatenate([x, jnp.zeros(1)])


# proved
def twice(x: Float[Array, "n"]) -> Float[Array, "2*n"]:
    return jnp.concatenate([x, x])


# proved
def differences(x: Float[Array, "n"]) -> Float[Array, "n-1"]:
    return x[1:] - x[:-1]


# proved
def flattened(x: Float[Array, "n m"]) -> Float[Array, "n*m"]:
    return x.reshape(-1)


# proved
def pairs(x: Float[Array, "2*n"]) -> Float[Array, "n 2"]:
    return x.reshape(-1, 2)


# proved
def every_other(x: Float[Array, "n"]) -> Float[Array, "(n+1)//2"]:
    return x[::2]


# proved
def outer(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n m"]:
    return x[:, None] * y


# proved
def split_heads(
    x: Float[Array, "seq heads*dim"], w: Float[Array, "heads dim"]
) -> Float[Array, "heads seq dim"]:
    heads, dim = w.shape
    return x.reshape(x.shape[0], heads, dim).swapaxes(0, 1)


# proved
def expression_before_its_names(
    x: Float[Array, "n+m"], y: Float[Array, "n"], z: Float[Array, "m"]
) -> Float[Array, "n+m"]:
    return x + jnp.concatenate([y, z])


# proved
def fixed_sizes(x: Float[Array, "3 3"], v: Float[Array, "3"]) -> Float[Array, "3"]:
    return x @ v


# proved
def documented_size(x: Float[Array, "rows=3 n"]) -> Float[Array, "n"]:
    return x[0] + x[1] * x[2]


# proved
def keyword_names(w: Float[Array, "in out"], x: Float[Array, "in"]) -> Float[Array, "out"]:
    return x @ w


# proved
def names_of_the_parser(x: Float[Array, "max min"]) -> Float[Array, "min max"]:
    return x.T


# proved
def any_batch(x: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    return x.sum(axis=-1)


# proved
def batch_in_the_middle(x: Float[Array, "n *batch m"]) -> Float[Array, "*batch"]:
    return x.sum(axis=-1).sum(axis=0)


# proved
def batched_matmul(
    x: Float[Array, "*batch n m"], y: Float[Array, "*batch m k"]
) -> Float[Array, "*batch n k"]:
    return x @ y


# proved
def normalized(x: Float[Array, "... n"]) -> Float[Array, "... n"]:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


# proved
def total(x: Float[Array, "..."]) -> Float[Array, ""]:
    return x.sum()


# proved
def any_rows(x: Float[Array, "_ n"]) -> Float[Array, "n"]:
    return x.mean(axis=0)


# proved
def named_anonymous(x: Float[Array, "_rows n"], y: Float[Array, "_rows n"]) -> Float[Array, "n"]:
    return x.mean(axis=0) + y.mean(axis=0)


# proved
def broadcast_bias(x: Float[Array, "b n"], bias: Float[Array, "#n"]) -> Float[Array, "b n"]:
    return x + bias


# proved
def broadcast_batches(x: Float[Array, "*#batch n"], y: Float[Array, "*#batch n"]) -> Float[Array, "*batch n"]:
    return x + y


# proved
def broadcast_both(x: Float[Array, "#n"], y: Float[Array, "#n"], z: Float[Array, "n"]) -> Float[Array, "n"]:
    return x + y + z


# proved
def scalars(x: Float[Array, ""], y: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(x > y, x, y)


# proved
def only_in_the_return(x: Float[Array, "n"]) -> Float[Array, "m"]:
    return x[1:]


# proved
def size_from_an_argument(x: Float[Array, "n"], k: int = 3) -> Float[Array, "{k} n"]:
    return jnp.tile(x, (k, 1))


# proved
def gram(x: Float[Array, "n d"]) -> Float[Array, "n n"]:
    return x @ x.T


# proved
def larger_of_two(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n+m"]:
    return jnp.sort(jnp.concatenate([x, y]))


# proved
def first_three(x: Float[Array, "n"]) -> Float[Array, "min(n,3)"]:
    return x[:3]


# proved
def spectrum(x: Float[Array, "n"]) -> Float[Array, "n//2+1"]:
    return jnp.abs(jnp.fft.rfft(x))
