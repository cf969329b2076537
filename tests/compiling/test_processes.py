"""Jitted functions and processes: forked after use, spawned with pickled wrappers, ended while calls run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = """
import jax, jax.numpy as jnp, numpy as np
import typedfilter as tf

@tf.filter_jit
def scaled(x, by):
    return x * by["by"], by["name"]

@tf.filter_grad
def slope(x):
    return (x ** 2).sum()
"""

FORKED = """
import os, warnings
warnings.simplefilter("ignore")  # JAX has threads: what it computes itself may wait for ever in the child
from functions import *

x, tree = jnp.arange(3.0), {"by": 2, "name": "n"}
scaled(x, tree)
child = os.fork()
if child == 0:
    # What needs no computation works: tables, structure, tracing.
    shape, name = scaled.eval_shape(x, {"by": 3, "name": "m"})
    good = shape.shape == (3,) and name == "m" and "by" in str(tf.explain(scaled))
    os._exit(0 if good else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert scaled(x, {"by": 3, "name": "m"})[1] == "m"  # the parent goes on
"""

SPAWNED = """
import multiprocessing
from functions import *

def work(job):
    wrapper, slope, n = job
    total, name = wrapper(np.arange(3.0), {"by": n, "name": "n"})
    return float(total.sum()), name, slope(np.float32(3.0)).tolist()

if __name__ == "__main__":
    scaled(jnp.ones(3), {"by": 1, "name": "used before"})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(work, [(scaled, slope, n) for n in (1, 2)])
    assert found == [(3.0, "n", 6.0), (6.0, "n", 6.0)], found
"""

ENDED = """
import atexit, threading
from functions import *

def call(number):
    for n in range(20):
        scaled(jnp.ones(3), {"by": number, "name": f"{n % 3}"})
        slope(jnp.ones(2))

for number in range(4):
    threading.Thread(target=call, args=(number,)).start()  # these call on when the program is at its end
atexit.register(call, 7)
big = jnp.ones((500, 500))
for _ in range(5):
    big = scaled(big @ big, {"by": 0.001, "name": "nobody waits for it"})[0]
"""
PROGRAMS = {"forked": FORKED, "spawned": SPAWNED, "ended": ENDED}


CACHED = """
import sys
from collections import Counter
from functools import partial
from typing import Annotated, Any
from jax import Array
from jax.sharding import AxisType, PartitionSpec as P
from functions import *

for name, value in (
    ("jax_compilation_cache_dir", sys.argv[1]),
    ("jax_persistent_cache_min_compile_time_secs", 0),
    ("jax_persistent_cache_min_entry_size_bytes", -1),
):
    jax.config.update(name, value)
events = Counter()
jax.monitoring.register_event_listener(lambda event, **facts: events.update([event.rpartition("/")[2]]))
set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh

@tf.pytree_dataclass
class Net:
    w: Array
    act: Any = jnp.tanh
    name: tf.Static[str] = "net"

    def __call__(self, x):
        return self.act(x @ self.w)

    @tf.filter_jit
    def apply(self, x):
        return self(x) * 1.5

def placed(x: Annotated[Array, P("d")]) -> Annotated[Array, P("d")]:
    return x * 3

def power(x, n: tf.Static[int] = 2, *, text: tf.Static[str] = "q"):
    return x**n + len(text)

def given(x: tf.Donate[Array]):
    return x + 1

x, net = np.arange(16.0, dtype="float32").reshape(8, 2), Net(np.ones((2, 2), "float32"))
jit, rows = tf.filter_jit, P("d")
with set_mesh(jax.make_mesh((len(jax.devices()),), ("d",), axis_types=(AxisType.Auto,))):
    jit(lambda x: x + 2)(x)
    jit(lambda m, x: m(x))(net, x)
    jit(net)(x)
    net.apply(x)
    jit(power)(x)
    jit(power)(x, 3, text="abc")
    jit(partial(power, n=5))(x)
    jit(given)(jax.device_put(x))
    jit(tf.filter_grad(lambda m, x: m(x).sum()))(net, x)
    jit(tf.filter_vmap(net))(x)
    jit(placed)(x)
    jit(lambda t: t["x"] * 2, in_shardings=rows, out_shardings=rows)({"x": x, "n": 1})
    jit(tf.filter_shard_map(placed))(x)
    tf.filter_shard_map(placed)(x)
    jit(lambda m, x: tf.filter_scan(lambda c, _: (m(c), None), x, None, length=3)[0])(net, x)
    jit(tf.filter_grad(lambda m, x: tf.filter_checkpoint(lambda m, x: m(x))(m, x).sum()))(net, x)
    jit(lambda **k: k["a"] - k["b"])(b=x, a=x)
    jit(lambda x: (x * 7, "n", jnp.tanh))(x)
    jit(lambda m, x: m(x) - 1).lower(net, x).compile()(net, x)
    jit(tf.filter_hessian(lambda x: (x**3).sum()))(x[0])
tf.filter_pmap(lambda x: x * 11)(x[: len(jax.devices())])
print(events["cache_hits"], events["cache_misses"])
"""


def test_programs_are_found_in_a_persistent_cache_by_other_processes(tmp_path: Path):
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    (tmp_path / "program.py").write_text(CACHED)
    found = []
    for seed in ("1", "2"):  # of the hashes of strings
        command = [sys.executable, "program.py", str(tmp_path / "cache")]
        env = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        found.append(list(map(int, done.stdout.split())))
    (_, compiled), (hits, misses) = found
    assert compiled >= 20
    assert (hits >= compiled, misses) == (True, 0)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_process_that_is(kind: str, tmp_path: Path):
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[kind])
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
