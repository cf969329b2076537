"""One of two processes that train one model together. Run by `test_two_processes.py`, not by pytest.

Usage: worker.py RANK PORT FOLDER. Prints one line of JSON: what this process has in the end.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Float

from typedfilter import (
    Donate,
    DonationError,
    NoDiff,
    ShapeError,
    Static,
    combine,
    explain,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_pmap,
    filter_pure_callback,
    filter_shard,
    filter_shard_map,
    filter_value_and_grad,
    is_array_or_struct,
    partition,
    pytree_dataclass,
    tree_equal,
)

set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh  # the name before JAX 0.7.1
traces: list[str] = []


@pytree_dataclass
class Model:
    weight: Float[Array, "n"]
    offset: Float[Array, ""]
    frozen: NoDiff[Float[Array, ""]]
    power: Static[int] = 1


Rows = Annotated[Float[Array, "b n"], PartitionSpec("data")]


@pytree_dataclass
class Half:
    weight: Rows
    name: Any = "another"


Targets = Annotated[Float[Array, "b"], PartitionSpec("data")]


def loss(model: Model, x: Float[Array, "b n"], y: Float[Array, "b"]) -> Float[Array, ""]:
    return jnp.mean((x @ model.weight + model.offset + model.frozen - y) ** (2 * model.power))


@filter_jit
def step(
    model: Donate[Model], x: Rows, y: Targets, rate: Static[float]
) -> Annotated[tuple[Model, Float[Array, ""]], PartitionSpec()]:
    traces.append("step")
    value, grads = filter_value_and_grad(loss)(model, x, y)
    new = jax.tree_util.tree_map(
        lambda p, g: p - rate * g, (model.weight, model.offset), (grads.weight, grads.offset)
    )
    return Model(*new, model.frozen, model.power), value


def rows_sum(x: Rows) -> Float[Array, ""]:
    return x.sum()


def whole(x: Float[Array, "4 n"]) -> Float[Array, ""]:
    return x.sum()


def taken(x: Donate[Rows]) -> Rows:
    return x + 1


def beside(x: Array, folder: str) -> dict[str, object]:
    """What else is done with arrays that are in part in the other process; none of it may fetch them."""
    half = Half(x, "half")
    found: dict[str, object] = {"equal": [bool(tree_equal(half, half)), bool(tree_equal(half, Half(x + 1)))]}
    doubled = filter_jit(lambda half: (Half(half.weight * 2, half.name), {"static": half.name}))
    out, named = doubled(half)
    found["static"] = [out.name, named["static"], out.weight.sharding.spec[0]]
    found["shown"] = ["f32[16,3]" in str(explain(doubled, half)), "f32[16,3]" in repr(half)]
    found["ahead"] = str(doubled.lower(half).compile()(half)[0].weight.sharding.spec[0])
    try:
        filter_jit(whole)(x)
    except ShapeError as error:
        found["error"] = str(error).splitlines()[0]
    given = x + 0
    kept = filter_jit(taken)
    kept(given)
    try:
        kept(given)
    except DonationError as error:
        found["donated"] = error.parameter
    found["restored"] = restored(half, folder)
    return found


def on_this_host() -> float:
    """What a callback calculates from an array of this process alone."""
    like = jax.ShapeDtypeStruct((), jnp.float32)
    total = lambda x: np.float32(x.sum())
    back = filter_jit(lambda x: filter_pure_callback(total, x, result_shape_dtypes=like))
    return float(back(jnp.ones(3) + jax.process_index()))


def restored(half: Half, folder: str) -> bool | None:
    """Whether orbax gives a model back as it was, in the places that its fields say."""
    if importlib.util.find_spec("orbax") is None:
        return None
    orbax = importlib.import_module("orbax.checkpoint")
    shapes = filter_eval_shape(filter_jit(lambda: Half(jnp.ones((16, 3)), "half")))
    structs, rest = partition(shapes, is_array_or_struct)
    saver = orbax.StandardCheckpointer()
    saver.save(f"{folder}/half", partition(half, is_array_or_struct)[0])
    saver.wait_until_finished()
    again = combine(saver.restore(f"{folder}/half", structs), rest)
    same = np.array_equal(again.weight.addressable_data(0), half.weight.addressable_data(0))
    return same and again.name == "half" and again.weight.sharding.is_equivalent_to(half.weight.sharding, 2)


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 3)).astype(np.float32)
    return x, x @ np.array([1.0, -2.0, 3.0], np.float32) + 0.5


def main(rank: int, port: str, folder: str) -> None:
    # After the imports: none of them may have started JAX, or it is too late for this.
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    mine = slice(8 * rank, 8 * rank + 8)
    rows = NamedSharding(mesh, PartitionSpec("data"))
    x, y = (jax.make_array_from_process_local_data(rows, array[mine]) for array in data())
    model = Model(jnp.zeros(3), jnp.array(0.0), jnp.array(0.25))
    model = filter_shard(model, NamedSharding(mesh, PartitionSpec()))
    losses = []
    with set_mesh(mesh):
        for _ in range(50):
            model, value = step(model, x, y, 0.1)
            losses.append(float(value))
    on_my_devices = filter_pmap(lambda x: jax.lax.psum(x, "i"), axis_name="i")(np.arange(2.0) + rank)
    mistakes = []
    with set_mesh(mesh):
        by_option = filter_jit(lambda x: x.sum(), in_shardings=PartitionSpec("data"))
        over_blocks = filter_shard_map(
            lambda x: jax.lax.psum(x.sum(), "data"),
            in_specs=PartitionSpec("data"),
            out_specs=PartitionSpec(),
        )
        for total in (
            by_option,
            by_option.lower(x).compile(),
            filter_jit(rows_sum),
            filter_jit(rows_sum).lower(x).compile(),
            filter_jit(filter_grad(rows_sum)),
            filter_jit(filter_shard_map(rows_sum, out_specs=PartitionSpec(), check_vma=False)),
            over_blocks,
            filter_jit(over_blocks),
        ):
            total(x)  # what is one array of both processes is taken
            try:
                total(np.ones((4, 3), np.float32) * (rank + 1))
            except ShapeError as error:
                mistakes.append([error.parameter, error.fix])
    with set_mesh(mesh):
        others = beside(x, folder)
    report = {
        "beside": {**others, "mine": on_this_host()},
        "mistakes": mistakes,
        "processes": jax.process_count(),
        "devices": [jax.local_device_count(), jax.device_count()],
        "weight": np.asarray(model.weight.addressable_data(0)).tolist(),
        "offset": float(model.offset.addressable_data(0)),
        "frozen": float(model.frozen.addressable_data(0)),
        "losses": losses,
        "traces": traces,
        "spread": len(model.weight.sharding.device_set),
        "sum of mine": np.asarray(on_my_devices).tolist(),
    }
    print(json.dumps(report))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
