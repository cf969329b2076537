"""`filter_shard`: put arrays on devices, inside and outside of `filter_jit`.

How arrays are placed is decided in `_placing.places`; here are the errors of the public function.
"""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from typedfilter._placing.moving import place_tree
from typedfilter._placing.places import NoPrefixError, no_place, prefix_problem
from typedfilter._placing.specs import Problem
from typedfilter._reading.plan import plan_of
from typedfilter._wrapping.blame import explain_deleted
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter.errors import ShapeError

T = TypeVar("T")


@ends_at_caller
def filter_shard(x: T, device_or_shardings: Any) -> T:
    """Move arrays to a device, or split them over several; whatever is no array stays as it is.

    Outside of compiled code arrays are really moved, also those that are committed to other devices. Inside
    it is a constraint that the compiler fulfils, as `jax.lax.with_sharding_constraint` and, for explicit
    mesh axes, `jax.sharding.reshard` do.

    Args:
        x: any pytree.
        device_or_shardings: a `jax.Device`, a `jax.sharding.Sharding`, a `jax.sharding.PartitionSpec` of
            the ambient mesh (`jax.set_mesh`), or a pytree of these whose structure is a prefix of that of
            `x`; `None` in it leaves a subtree alone.

    Returns:
        A copy of `x` with its arrays placed; NumPy arrays become JAX arrays.

    Raises:
        ShapeError: `device_or_shardings` is none of these, or is not a prefix; a `PartitionSpec` has more
            dimensions than an array, or does not fit the ambient mesh.
        DonationError: an array was donated to an earlier call.
    """
    wrong = no_place(device_or_shardings)
    if wrong is not None:
        path, problem = wrong
        raise problem.error(ShapeError, "filter_shard", "device_or_shardings" + path)
    try:
        moved: T = place_tree(x, device_or_shardings, _refused)
    except NoPrefixError:
        misfit = prefix_problem(
            "does not fit the structure of x", device_or_shardings, x, "pass one for all of x"
        )
        raise misfit.error(ShapeError, "filter_shard", "device_or_shardings") from None
    except RuntimeError as error:
        explain_deleted(plan_of(inspect.unwrap(filter_shard)), error, (x, device_or_shardings), {})
        raise
    return moved


def _refused(path: str, problem: Problem) -> ShapeError:
    return problem.error(ShapeError, "filter_shard", "x" + path)
