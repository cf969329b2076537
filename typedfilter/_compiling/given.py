"""Arrays that were given away, and that somebody still holds: a program that is given one again must not run.

Releases of JAX end the process there, if the program has run before and is for several devices. To ask every
array of every call costs too much; but a function that was never traced for several devices has no such
program, and one that was takes much longer for a call than that.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.core
from jax.tree_util import default_registry

from typedfilter._compiling.remembered import seen
from typedfilter._wrapping.gone import has_gone


def are_any_gone(arguments: tuple[Any, ...]) -> bool:
    """Whether an array of these arguments is gone; a frozen model that is known is not taken apart again."""
    leaves: list[Any] = []
    for argument in arguments:
        known = seen(id(argument))
        if known is not None and known() is argument:
            leaves += known.arrays
        else:
            leaves += default_registry.flatten(argument)[0]
    return has_gone(leaves)


def are_spread(arguments: Any) -> bool:
    """Whether a program that is being traced, for these arguments, is for several devices.

    Their types tell: what is on several devices has a mesh in its type, or is traced under one.
    """
    leaves = jax.tree_util.tree_leaves(arguments)
    types = (jax.typeof(leaf) for leaf in leaves if isinstance(leaf, jax.core.Tracer))
    meshes = (getattr(getattr(aval, "sharding", None), "mesh", None) for aval in types)
    ambient = jax.sharding.get_abstract_mesh()
    return any(mesh is not None and mesh.size > 1 for mesh in itertools.chain([ambient], meshes))
