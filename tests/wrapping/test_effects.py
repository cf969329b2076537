"""What transforms say of themselves is what they do: `explain` against `is_deleted()`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from typedfilter import Donate, explain, filter_grad, filter_jit, filter_pmap, filter_vmap
from typedfilter._reading.plan import Plan
from typedfilter._wrapping.wrapper import Transform, Wrapper


def arrays(count: int) -> list[Any]:
    return [jnp.arange(4.0) + i for i in range(count)]


def donated_rows(fun: Any, args: list[Any], kwargs: dict[str, Any]) -> dict[str, bool]:
    return {row.path: row.donated for row in explain(fun, *args, **kwargs).leaves or ()}


# Every array comes back changed: a buffer that no result can use is not deleted.
def several(*xs):
    return [x + 1 for x in xs]


def mixed(x, y: Donate[Float[Array, "n"]], *rest, k=None):
    return [x + 1, y + 1, *(one + 1 for one in rest), None if k is None else k + 1]


class Owner:
    def method(self, x, y):
        return x + 1, y + 1


def sharded():
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("x",))
    return jax.device_put(jnp.arange(4.0), NamedSharding(mesh, PartitionSpec("x")))


PROGRAMS: dict[str, tuple[Any, list[Any], dict[str, Any]]] = {
    "variadic, all": (filter_jit(several, donate="all"), arrays(3), {}),
    "variadic, all but the first": (filter_jit(several, donate="all-except-first"), arrays(3), {}),
    "all but the first": (filter_jit(mixed, donate="all-except-first"), arrays(3), {"k": arrays(1)[0]}),
    "annotated": (filter_jit(mixed), arrays(4), {}),
    "a method": (filter_jit(Owner().method, donate="all-except-first"), arrays(2), {}),
    "a stack": (filter_jit(filter_vmap(several), donate="all"), arrays(3), {}),
    "a gradient": (filter_jit(filter_grad(lambda x: (x * x).sum()), donate="all"), arrays(1), {}),
    "over devices": (filter_pmap(lambda x, n: x * n, donate="all"), [sharded(), 2], {}),
}


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.parametrize("program", PROGRAMS)
def test_explain_says_donated_of_the_arrays_that_a_call_deletes(program: str):
    fun, args, kwargs = PROGRAMS[program]
    told = donated_rows(fun, args, kwargs)
    fun(*args, **kwargs)
    deleted = [isinstance(one, Array) and one.is_deleted() for one in (*args, *kwargs.values())]
    given = list(told.values())[: len(deleted)]
    assert given == deleted, told
    assert any(deleted)


def test_what_a_partial_binds_by_name_lives_on_and_is_not_said_to_be_donated():
    w, x = arrays(2)
    fun = filter_jit(functools.partial(lambda x, w: x * w, w=w), donate="all")
    assert donated_rows(fun, [x], {}) == {"x": True, "w": False}
    fun(x)
    assert (x.is_deleted(), w.is_deleted()) == (True, False)


def test_the_table_says_which_of_several_arguments_is_kept():
    (row,) = explain(filter_jit(several, donate="all-except-first")).parameters
    (effect,) = row.effects
    assert effect.what == "by leaf, donated except the first"
    assert effect.why == ("not annotated", "donate='all-except-first'")


def test_the_table_of_a_map_over_devices_says_that_it_donates():
    assert str(explain(filter_pmap(several, donate="all"))) == "\n".join(
        [
            "several: filter_pmap(donate='all')",
            "  parameter  filter_pmap       why",
            "  xs         by leaf, donated  not annotated; donate='all'",
            "  return     by leaf",
            "by leaf: filter_pmap maps axis 0 of arrays, broadcasts the rest",
        ]
    )


def test_a_transform_that_says_nothing_of_its_effects_can_not_be_made():
    @dataclasses.dataclass(frozen=True, eq=False)
    class Forgetful(Transform):
        name: ClassVar[str] = "filter_forgetful"

        def build(self, wrapper: Wrapper, plan: Plan) -> Any:
            return wrapper.__wrapped__

    with pytest.raises(TypeError, match=r"abstract method .?effects"):
        Forgetful()  # type: ignore[abstract]  # that is the point
