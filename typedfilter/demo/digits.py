"""The handwritten digits that scikit-learn ships, as arrays. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

SIDE = 8  # an image is SIDE x SIDE pixels


class Digits(NamedTuple):
    """Images as rows of pixels in 0..1, and the digit that each one shows."""

    images: Float[Array, "batch pixels"]
    labels: Int[Array, "batch"]


def load_digits(seed: int) -> tuple[Digits, Digits]:
    """All 1797 digits, shuffled by `seed`: four fifths to train on, the rest to test on."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    whole = Digits(
        jnp.asarray(images[order] / images.max(), jnp.float32), jnp.asarray(labels[order], jnp.int32)
    )
    cut = len(order) * 4 // 5
    return Digits(*(x[:cut] for x in whole)), Digits(*(x[cut:] for x in whole))


def batches(data: Digits, size: int, steps: int, seed: int) -> Iterator[Digits]:
    """`steps` batches of exactly `size` digits, in a new order for each pass over the data."""
    images, labels = map(np.asarray, data)  # picked on the host, where that is cheaper than a launch
    rng = np.random.default_rng(seed)
    order = np.empty(0, int)
    for _ in range(steps):
        if len(order) < size:
            order = np.concatenate([order, rng.permutation(len(labels))])
        now, order = order[:size], order[size:]
        yield Digits(*jax.device_put((images[now], labels[now])))
