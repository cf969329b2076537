"""Jitted functions and processes: forked after use, spawned with pickled wrappers, ended while calls run."""

from __future__ import annotations

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


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_process_that_is(kind: str, tmp_path: Path):
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[kind])
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
