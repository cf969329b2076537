"""What differs between the releases of JAX that are supported: the only place that knows of versions."""

from __future__ import annotations

import jax

__all__ = ["NAMED_STATICS_ARE_EXACT", "SET_MESH"]

NAMED_STATICS_ARE_EXACT = jax.__version_info__ >= (0, 9)
"""Whether `jax.jit` tells static arguments that are passed by name apart by their classes, too.

Before, it did that by position only: `f(n=1)` and `f(n=True)` ran one program."""

SET_MESH = "jax.set_mesh" if hasattr(jax, "set_mesh") else "jax.sharding.use_mesh"
"""What sets the ambient mesh, for people."""
