"""Mistakes beside which a forgiving reading would be wrong: keys used twice, names that only look alike."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree


# failed: at line 15 of drawn_twice and at line 16 of drawn_twice
def drawn_twice(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:
    noise = jax.random.normal(key, x.shape)
    return noise + jax.random.uniform(key, x.shape)


# failed: used in each step of a loop, at line 22 of step
def drawn_in_a_scan(key: PRNGKeyArray, x: Float[Array, "n"]) -> Float[Array, "n"]:
    def step(carry, _):
        return carry + jr.normal(key, carry.shape), None

    return jax.lax.scan(step, x, None, length=3)[0]


# failed: used in each step of a loop
def drawn_in_a_loop(key: PRNGKeyArray, x: Float[Array, "n"]) -> Float[Array, "n"]:
    return jax.lax.fori_loop(0, 3, lambda i, carry: carry + jr.normal(key, carry.shape), x)


# failed: a random key is used twice
def one_of_several_twice(key: PRNGKeyArray, x: Float[Array, "n"]) -> Float[Array, "n"]:
    keys = jr.split(key)
    noise = jr.normal(keys[0], x.shape)
    return noise + jr.normal(keys[0], x.shape)


def noise_like(key, x):
    return jr.normal(key, x.shape)


# failed: each time at line 46 of through_a_helper
def through_a_helper(key: PRNGKeyArray, x: Float[Array, "n"]) -> Float[Array, "n"]:
    for _ in range(3):
        x = x + noise_like(key, x)
    return x


# failed: at line 52 of after_its_split and at line 53 of after_its_split
def after_its_split(key: PRNGKeyArray, x: Float[Array, "n"]) -> Float[Array, "n"]:
    (own,) = jr.split(key, 1)
    return noise_like(key, x) + noise_like(own, x)


# failed: a random key is used twice
def of_its_own(x: Float[Array, "n"]) -> Float[Array, "n"]:
    key = jax.random.PRNGKey(0)
    return jr.normal(key, x.shape) + jr.normal(key, x.shape)


# failed: each time at line 64 of shuffled_twice
def shuffled_twice(key: PRNGKeyArray, x: Float[Array, "n"]) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    return jr.permutation(key, x), jr.permutation(key, x)


# failed: each time at line 70 of shuffled_again
def shuffled_again(key: PRNGKeyArray, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    for _ in range(2):
        x = jr.permutation(key, x)
    return x


# failed: each time at line 78 of picked_twice
def picked_twice(
    key: PRNGKeyArray, x: Float[Array, "n"], p: Float[Array, "n"]
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    return jr.choice(key, x, (3,), p=p), jr.choice(key, x, (3,), p=p)


# failed: a random key is used twice
def shuffled_and_picked(
    key: PRNGKeyArray, x: Float[Array, "n"], y: Float[Array, "n"]
) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    return jr.permutation(key, x), jr.choice(key, y, y.shape)


# failed: at line 91 of the_second_twice and at line 92 of the_second_twice
def the_second_twice(key: PRNGKeyArray, x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
    x = jr.permutation(key, x)
    once = jr.permutation(key, y)
    return x + once + jr.permutation(key, y)


class Seeded(eqx.Module):
    key: PRNGKeyArray

    # failed: a random key is used twice
    def drawn_twice(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return jr.normal(self.key, x.shape) + jr.uniform(self.key, x.shape)


# failed: (n - 1,), (m,)
def another_name(x: Float[Array, "n"], d: Float[Array, "m"]) -> Float[Array, "m"]:
    return x[1:] * d


# failed: n_minus_1
def another_size(x: Float[Array, "n"], d: Float[Array, "n_minus_1"]) -> Float[Array, "n_minus_1"]:
    return x[2:] * d


# failed: f32[3]
def of_numpy(x: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "m"]:
    return x.sum(1)


def rows(scales, table):
    if scales.shape[0] != table.shape[0]:
        raise ValueError("one scale a row")
    return scales[:, None] * table


# failed: one scale a row
def refused_by_a_helper(u: Float[Array, "n k"]) -> Float[Array, "n k"]:
    return rows(jnp.ones(u.shape[1]), u)


# failed: dot_general
def contracted(
    params: PyTree[Float[Array, "..."]], grads: PyTree[Float[Array, "..."]]
) -> PyTree[Float[Array, "..."]]:
    return jax.tree.map(lambda p, g: p @ g, params, grads)


# failed: f32[n,1]
def of_wider_leaves(params: PyTree[Float[Array, "n"]], grads: PyTree[Float[Array, "n"]]) -> Float[Array, "n"]:
    return sum(jax.tree.leaves(jax.tree.map(jnp.multiply, params, grads)))[:, None]


class Properties(NamedTuple):
    trainable: bool = True


class Settings(NamedTuple):
    mean: Float[Array, "s"] | Properties
    cov: Float[Array, "s s"] | Properties


class Moments(NamedTuple):
    mean: Float[Array, "s"]
    cov: Float[Array, "s s"]


# failed: 2 axes, not 1
def with_another_field(settings: Settings) -> Moments:
    return Moments(settings.cov, settings.cov)


# failed: Properties(bool False)
def of_what_it_takes(mean: Float[Array, "s"] | Properties) -> Float[Array, "s"]:
    return mean
