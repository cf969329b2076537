"""Functions with a planted mistake. The comment above each says what the verdict must mention."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


# failed: contracting dimensions to have the same shape, got (n,) and (m,)
def transposed_weight(x: Float[Array, "b n"], w: Float[Array, "m n"]) -> Float[Array, "b m"]:
    return x @ w


# failed: found: f32[b,m]
def wrong_order(x: Float[Array, "b n"], w: Float[Array, "n m"]) -> Float[Array, "m b"]:
    return x @ w


# failed: found: f32[heads,seq,keys]
def forgot_the_values(
    q: Float[Array, "heads seq dim"], k: Float[Array, "heads keys dim"], v: Float[Array, "heads keys out"]
) -> Float[Array, "heads seq out"]:
    return jax.nn.softmax(jnp.einsum("hqd,hkd->hqk", q, k), axis=-1)


# failed: found: f32[h,w,cout]
def same_padding(
    image: Float[Array, "h w cin"], kernel: Float[Array, "3 3 cin cout"]
) -> Float[Array, "h-2 w-2 cout"]:
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(image[None], kernel, (1, 1), "SAME", dimension_numbers=numbers)[0]


# failed: scan body function carry input and carry output must have equal types
def carry_grows(xs: Float[Array, "t n"], h: Float[Array, "n"]) -> Float[Array, "n"]:
    return jax.lax.scan(lambda h, x: (jnp.concatenate([h, x]), None), h, xs)[0]


# failed: found: f32[n]
def returns_the_carry(xs: Float[Array, "t n"], h: Float[Array, "n"]) -> Float[Array, "t n"]:
    return jax.lax.scan(lambda h, x: (h + x, h), h, xs)[0]


# failed: found: f32[n]
def forgot_to_append(x: Float[Array, "n"]) -> Float[Array, "n+1"]:
    return jnp.concatenate([x, jnp.zeros(0)])


# failed: found: f32[n + 1]
def appended(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return jnp.append(x, 0.0)


# failed: (n,), (n - 1,)
def off_by_one(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x - x[1:]


# failed: found: f32[m*n]
def flattened(x: Float[Array, "n m"]) -> Float[Array, "n+m"]:
    return x.reshape(-1)


# failed: n=1
def one_is_special(x: Float[Array, "n"]) -> Float[Array, "n"]:
    if x.shape[0] == 1:
        return x[0]
    return x


# failed: n=7
def seven_is_special(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:] if x.shape[0] == 7 else x


# failed: n=11
def above_ten(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x[1:] if x.shape[0] > 10 else x


# failed: m=1
def squeezed(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return jnp.squeeze(x)


# failed: n=1
def first_three(x: Float[Array, "n"]) -> Float[Array, "3"]:
    return x[:3]


# failed: contracting dimensions to have the same shape
def only_square(x: Float[Array, "n m"]) -> Float[Array, "n m"]:
    return x @ x


# failed: (n,), (m,)
def adds_different_sizes(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n"]:
    return x + y


# failed: axis 0 is 3, not 4
def wrong_fixed_size(x: Float[Array, "3 3"]) -> Float[Array, "4"]:
    return x.sum(axis=0)


# failed: axis 0 is 3, not n
def wrong_documented_axis(x: Float[Array, "rows=3 n"]) -> Float[Array, "n"]:
    return x.sum(axis=1)


# failed: found: f32[n]
def sums_the_wrong_axis(x: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    return x.sum(axis=0)


# failed: *batch of 0 axes
def one_batch_axis_only(x: Float[Array, "*batch n"], w: Float[Array, "n m"]) -> Float[Array, "*batch m"]:
    return jnp.einsum("bn,nm->bm", x, w) if x.ndim < 3 else x


# failed: *batch of 0 axes
def needs_a_batch(x: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    return x - x.mean(axis=1, keepdims=True)


# failed: of size 1
def assumes_the_whole(x: Float[Array, "#n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
    return x


# failed: (2*batch_0,) does not broadcast with (batch_0,)
def assumes_whole_batches(
    x: Float[Array, "*#batch n"], y: Float[Array, "*#batch n"]
) -> Float[Array, "*batch n"]:
    return jnp.concatenate([x, y], axis=0)


# failed: (_x_0, n), (_y_0, n)
def anonymous_axes_differ(x: Float[Array, "_ n"], y: Float[Array, "_ n"]) -> Float[Array, "n"]:
    return (x + y).sum(axis=0)


# failed: 1 axis, not 0
def not_a_scalar(x: Float[Array, "n"]) -> Float[Array, ""]:
    return x * 2


# failed: 0 axes, not 1
def a_scalar(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x.sum()


# failed: axis 0 is 4, not {k} = 3
def wrong_size_from_an_argument(x: Float[Array, "n"], k: int = 3) -> Float[Array, "{k} n"]:
    return jnp.tile(x, (k + 1, 1))


# failed: axis 1 is out of bounds
def missing_axis(x: Float[Array, "n"]) -> Float[Array, ""]:
    return x.sum(axis=1)


# failed: annotated Float[Array, 'n+m'], but no argument binds `m`
def unknown_name(x: Float[Array, "n"]) -> Float[Array, "n+m"]:
    return x


# failed: AssertionError
def asserts_what_is_never_so(x: Float[Array, "n"]) -> Float[Array, "n"]:
    y = jnp.concatenate([x, x])
    assert y.shape == x.shape
    return y


# failed: found: f32[n,n]
def gram_of_the_wrong_side(x: Float[Array, "n d"]) -> Float[Array, "d d"]:
    return x @ x.T


# failed: found: f32[n,1]
def kept_the_axis(x: Float[Array, "n m"]) -> Float[Array, "n"]:
    return x.sum(axis=1, keepdims=True)


# failed: but `2N` is no dimension
def joined_halves(x: Float[Array, "2N"]) -> Float[Array, "2N"]:
    return x


# failed: `{shape[0]}` can't be evaluated where shape is None: 'NoneType' object is not subscriptable
def resized(x: Float[Array, "n"], shape: tuple[int] | None = None) -> Float[Array, "{shape[0]}"]:
    return x if shape is None else jnp.zeros(shape)


# failed: (size 35)
def of_one_size(x: Float[Array, "n"]) -> Float[Array, "m"]:
    return x.reshape(7, 5)[0]  # JAX takes a symbol for any size here: which are good is seen at numbers


# failed: does not evenly divide 3
def half_of_it(x: Float[Array, "n"]) -> Float[Array, "n"]:
    return x.reshape(-1, 2).sum(1)
