"""What a process notices: when a call returns, what memory is left over, how long the import takes."""

from __future__ import annotations

import functools
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from typedfilter import filter_jit
from typedfilter.bench._models import mixed_tree, python_module
from typedfilter.bench._rows import OURS, Case, Lab, Row

# ------------------------------------------------------------------------------------- asynchronous dispatch

_READY = "its result is ready"
_LONG = 0.1  # seconds: long against any dispatch


def _dispatch(lab: Lab) -> list[Row]:
    def fn(x: Any, times: Any) -> Any:
        return jax.lax.fori_loop(0, times, lambda _, y: y @ y, x)

    calls: dict[str, Callable[..., Any]] = {OURS: filter_jit(fn), "jax.jit": jax.jit(fn)}
    if lab.equinox is not None:
        calls["equinox.filter_jit"] = lab.equinox.filter_jit(fn)
    arguments = _long_arguments(lab, calls[OURS])
    rows = []
    for name, call in calls.items():
        jax.block_until_ready(call(*arguments))
        pairs = [lab.timer.once(functools.partial(call, *arguments)) for _ in range(lab.rounds(5))]
        returned, ready = map(statistics.median, zip(*pairs, strict=True))
        what = f"time until a call of {'filter_jit' if name == OURS else name} returns"
        target = 0.1 if name == OURS else None
        rows.append(Row("dispatch", what, returned / ready, "", _READY, target, returned, ready))
    return rows


def _long_arguments(lab: Lab, call: Callable[..., Any]) -> tuple[Any, Any]:
    """Arguments with which the function takes long on this machine."""
    arguments = jnp.eye(500), jnp.array(32)
    jax.block_until_ready(call(*arguments))
    for doublings in range(6, 20):
        if lab.timer.once(functools.partial(call, *arguments))[1] >= _LONG:
            break
        arguments = arguments[0], jnp.array(1 << doublings)
    return arguments


# ---------------------------------------------------------------------------------------------------- memory


def _calls(lab: Lab) -> list[Row]:
    def fn(tree: Any, x: Any, n: Any) -> Any:
        return x * n

    jitted, tree, x = filter_jit(fn), mixed_tree(16), jnp.ones(2)
    what = "each of 100,000 calls"
    return _left_over("memory-calls", what, lambda _: jitted(tree, x, 2), 100_000, target=0.0)


_CALLS = 100_000


def _models(lab: Lab) -> list[Row]:
    """Models that are made, passed and dropped: 10,000 of them in 100,000 calls."""

    def fn(model: Any, x: Any) -> Any:
        return x * 2

    jitted, x = filter_jit(fn), jnp.ones(2)
    alive: dict[int, weakref.ref[Any]] = {}
    now: list[Any] = []

    def call(number: int) -> None:
        if number % 10 == 0:
            now[:] = [python_module(2)]
            alive[number] = weakref.ref(now[0], lambda _: alive.pop(number, None))
        jitted(now[0], x)

    what = "each of 100,000 calls with 10,000 models made and dropped"
    rows = _left_over("memory-models", what, call, _CALLS, target=0.0)
    now.clear()
    gc.collect()
    return [*rows, Row("memory-models", "models that are alive after that", len(alive), "models", target=0.0)]


def _wrappers(lab: Lab) -> list[Row]:
    x = jnp.ones(2)

    def make(number: int) -> None:
        def fn(x: Any, n: Any) -> Any:
            return x * n

        jitted = filter_jit(fn)
        if number % 200:
            jitted.eval_shape(x, 2)  # traced; to compile takes too long to do it 10,000 times
        else:
            jitted(x, 2)

    what = "each of 10,000 wrappers of new functions, made, traced and dropped"
    return _left_over("memory-wrappers", what, make, 10_000, target=0.1)


def _left_over(name: str, what: str, work: Callable[[int], Any], times: int, target: float) -> list[Row]:
    """What the process has more after that much work, for each time; not what the first tenth brought."""
    for number in range(times // 10):
        work(number)
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), _resident_bytes()
    for number in range(times):
        work(number)
    gc.collect()
    left = (sys.getallocatedblocks() - blocks) / times
    rows = [Row(name, f"objects that stay allocated after {what}", left, "objects", target=target)]
    now = _resident_bytes()
    if resident is not None and now is not None:
        left = (now - resident) / times
        rows.append(Row(name, f"bytes that the process has more after {what}", left, "bytes"))
    return rows


def _resident_bytes() -> int | None:
    """How much memory the process has; `None` where the system does not tell as Linux does."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


# ---------------------------------------------------------------------------------------------------- import

# With bytecode in a folder of its own: what is measured is an import, not whether an installer compiled.
_IMPORT = """\
import sys, time
import beartype, jax, jaxtyping
sys.pycache_prefix, sys.dont_write_bytecode = sys.argv[1], False
cpu, wall = time.process_time(), time.perf_counter()
import typedfilter
print(time.process_time() - cpu, time.perf_counter() - wall)
"""


def _import(lab: Lab) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        pairs = [_import_once(folder) for _ in range(1 + lab.rounds(7))][1:]
    cpu, wall = map(statistics.median, zip(*pairs, strict=True))
    what = "to import typedfilter, after jax, jaxtyping and beartype"
    return [
        Row("import", f"seconds of the processor {what}", cpu, "s", target=0.1),
        Row("import", f"seconds {what}", wall, "s"),
    ]


def _import_once(folder: str) -> list[float]:
    command = [sys.executable, "-c", _IMPORT, folder]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return list(map(float, done.stdout.split()))


CASES = (
    Case("dispatch", "whether a call waits for its result", _dispatch),
    Case("memory-calls", "memory over 100,000 calls", _calls),
    Case("memory-models", "memory over 100,000 calls with 10,000 models made and dropped", _models),
    Case("memory-wrappers", "memory over 10,000 wrappers made and dropped", _wrappers),
    Case("import", "import time", _import),
)
