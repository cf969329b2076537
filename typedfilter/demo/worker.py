"""One of several processes that train one model: `... -m typedfilter.demo.worker RANK PROCESSES PORT STEPS`.

Its fields and parameters say how the model and the data are split; nothing else here knows how many
processes there are. Prints one line of JSON: what this process has in the end.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Key

from typedfilter import (
    Donate,
    Static,
    Traced,
    TypedFilterError,
    explain,
    filter_jit,
    filter_value_and_grad,
    pytree_dataclass,
)

AXES = ("data", "model")
SIZES = (16, 64, 4)
BATCH = 64
Batch = Annotated[Float[Array, "batch in"], PartitionSpec("data")]
Targets = Annotated[Float[Array, "batch out"], PartitionSpec("data")]
_COLLECTIVES = re.compile(r"= \S+ (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)[(-]")
_COMPILE = "/jax/core/compile/backend_compile_duration"

set_mesh: Any = getattr(jax, "set_mesh", None) or getattr(jax.sharding, "use_mesh", None)
traces: Counter[str] = Counter()


@pytree_dataclass
class Wide:
    """Two layers, whose hidden units are split over the devices along `model`."""

    inner: Annotated[Float[Array, "in hidden"], PartitionSpec(None, "model")]
    outer: Annotated[Float[Array, "hidden out"], PartitionSpec("model")]


@filter_jit
def init(key: Key[Array, ""], sizes: Static[tuple[int, int, int]]) -> Wide:
    """A fresh model; its fields say where its weights are made."""
    one, two = jax.random.split(key)
    n_in, hidden, n_out = sizes
    inner = jax.random.normal(one, (n_in, hidden)) / np.sqrt(n_in)
    return Wide(inner, jax.random.normal(two, (hidden, n_out)) / np.sqrt(hidden))


@filter_value_and_grad
def loss(model: Wide, x: Float[Array, "batch in"], y: Float[Array, "batch out"]) -> Float[Array, ""]:
    """The mean squared error, and its gradient with respect to the model."""
    return jnp.mean((jnp.tanh(x @ model.inner) @ model.outer - y) ** 2)


@filter_jit
def train_step(
    model: Donate[Wide], x: Batch, y: Targets, rate: Traced[float]
) -> tuple[Wide, Float[Array, ""]]:
    """One step down the gradient."""
    traces["train_step"] += 1
    value, gradient = loss(model, x, y)
    return jax.tree.map(lambda p, g: p - rate * g, model, gradient), value


def batches(steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same data in every process, to take one's own rows of."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(SIZES[0], SIZES[2])).astype(np.float32)
    xs = [random.normal(size=(BATCH, SIZES[0])).astype(np.float32) for _ in range(steps)]
    return [(x, np.sin(x @ hidden)) for x in xs]


def train(mesh: Mesh, steps: int) -> tuple[Wide, list[float]]:
    """Train on the devices of a mesh, of which each process gives its own rows."""
    rows = NamedSharding(mesh, PartitionSpec("data"))
    count = jax.process_count() if len({device.process_index for device in mesh.devices.flat}) > 1 else 1
    size = BATCH // count
    mine = slice(jax.process_index() * size, (jax.process_index() + 1) * size) if count > 1 else slice(None)
    losses = []
    with set_mesh(mesh):
        model = init(jax.random.key(0), SIZES)
        for x, y in batches(steps):
            batch = [jax.make_array_from_process_local_data(rows, part[mine]) for part in (x, y)]
            model, value = train_step(model, batch[0], batch[1], 0.1)
            losses.append(float(value))
    return model, losses


def whole(model: Wide, mesh: Mesh) -> list[np.ndarray]:
    """The weights in full, in this process."""
    gathered = jax.jit(lambda m: m, out_shardings=NamedSharding(mesh, PartitionSpec()))(model)
    return [np.asarray(leaf.addressable_data(0)) for leaf in jax.tree.leaves(gathered)]


def mistakes(model: Wide, mesh: Mesh) -> list[str]:
    """What two mistakes of a first run on several machines say."""
    found = []
    for rows in (BATCH - 1, BATCH):
        x: Any = np.zeros((rows, SIZES[0]), np.float32)
        y: Any = np.zeros((rows, SIZES[2]), np.float32)
        try:
            with set_mesh(mesh):
                train_step(model, x, y, 0.1)
        except TypedFilterError as error:
            found.append(str(error))
    return found


def report(rank: int, steps: int) -> dict[str, Any]:
    """What this process has to tell when all is done."""
    compiles: list[str] = []
    kinds = (AxisType.Auto, AxisType.Auto)
    count = jax.device_count()
    mesh = jax.make_mesh((count // 2, 2), AXES, axis_types=kinds)
    model, losses = train(mesh, 1)  # what is made on the way is compiled here

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == _COMPILE:
            compiles.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    traced = traces["train_step"]
    model, losses = train(mesh, steps)
    recompiled = len(compiles)
    weights = whole(model, mesh)
    with set_mesh(mesh):
        x, y = (jax.ShapeDtypeStruct((BATCH, n), jnp.float32) for n in (SIZES[0], SIZES[2]))
        text = train_step.lower(model, x, y, 0.1).compile().as_text()
    first = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(model)]
    said: dict[str, Any] = {
        "rank": rank,
        "devices": [device.id for device in jax.local_devices()],
        "explain": str(explain(train_step)),
        "losses": [losses[0], losses[-1]],
        "traces": traced,
        "compiles again": recompiled,
        "bytes": [sum(first), sum(leaf.nbytes for leaf in weights)],
        "sha": hashlib.sha256(b"".join(leaf.tobytes() for leaf in weights)).hexdigest()[:12],
        "collectives": dict(Counter(_COLLECTIVES.findall(str(text)))),
        "mistakes": mistakes(model, mesh),
    }
    alone = Mesh(np.array(jax.local_devices()[:1]).reshape(1, 1), AXES, axis_types=kinds)
    single = [np.asarray(leaf) for leaf in jax.tree.leaves(train(alone, steps)[0])]
    said["difference"] = max(float(np.abs(a - b).max()) for a, b in zip(weights, single, strict=True))
    return said


def main(rank: int, processes: int, port: str, steps: int) -> None:
    """Take part as process `rank`."""
    if processes > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=processes, process_id=rank)
    print(json.dumps(report(rank, steps)), flush=True)
    if processes > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
