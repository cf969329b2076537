"""The mesh of one compiled function, which is the ambient one while that is called."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import jax
from jax.sharding import Mesh

from typedfilter._compat import SET_MESH
from typedfilter._reading.plan import Plan
from typedfilter.errors import AnnotationError

_set_mesh: Any = getattr(jax, "set_mesh", None) or getattr(jax.sharding, "use_mesh", None)


def check_mesh(plan: Plan, mesh: Any, kinds: type | tuple[type, ...] = Mesh) -> None:
    """Refuse what is no mesh of devices, or of one of other kinds.

    Raises:
        AnnotationError: when the decorator runs.
    """
    if mesh is not None and not isinstance(mesh, kinds):
        raise AnnotationError(
            f"is given mesh={mesh!r}, which is no mesh of devices",
            function=plan.function,
            expected="a jax.sharding.Mesh",
            actual=type(mesh).__name__,
            fix="make one: jax.make_mesh(...)",
        )


@contextlib.contextmanager
def under(mesh: Any, plan: Plan) -> Generator[None]:
    """With this ambient mesh; `None` leaves it as it is.

    Raises:
        AnnotationError: another program is being traced, under another mesh.
    """
    if mesh is None:
        yield
        return
    try:
        entered = _set_mesh(mesh)
        entered.__enter__()
    except ValueError:  # in a trace it can't be set
        if jax.sharding.get_abstract_mesh() != mesh.abstract_mesh:
            raise _traced_elsewhere(plan) from None
        yield
        return
    try:
        yield
    finally:
        entered.__exit__(None, None, None)


def _traced_elsewhere(plan: Plan) -> AnnotationError:
    return AnnotationError(
        "is given mesh=, and is called where another function is traced, which has no mesh or another one",
        function=plan.function,
        fix=f"set the mesh around the outermost call: `with {SET_MESH}(mesh):`",
    )
