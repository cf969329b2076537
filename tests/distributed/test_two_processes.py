"""Two real processes on loopback train one model, and end with equal, correct parameters."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import typedfilter

WORKER = Path(__file__).parent / "worker.py"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """What both processes have in the end."""
    port, folder = str(free_port()), str(tmp_path_factory.mktemp("checkpoints"))
    root = str(Path(str(typedfilter.__file__)).parent.parent)
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    with ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(run_one, rank, port, folder, env) for rank in range(2)]
        yield [worker.result() for worker in workers]


def run_one(rank: int, port: str, folder: str, env: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, str(WORKER), str(rank), port, folder]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(
        [line for line in done.stdout.splitlines() if line.startswith("{")][-1]
    )
    return report


def expected() -> tuple[np.ndarray, float, list[float]]:
    """The same training, by JAX alone, on one device."""
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 3.0], np.float32) + 0.5
    loss = lambda params: jnp.mean((x @ params[0] + params[1] + 0.25 - y) ** 2)
    params = (jnp.zeros(3), jnp.array(0.0))
    losses = []
    for _ in range(50):
        value, grads = jax.value_and_grad(loss)(params)
        params = jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, params, grads)
        losses.append(float(value))
    return np.asarray(params[0]), float(params[1]), losses


def test_both_processes_take_part(reports):
    assert [report["processes"] for report in reports] == [2, 2]
    assert [report["devices"] for report in reports] == [[2, 4], [2, 4]]
    assert [report["spread"] for report in reports] == [4, 4]


def test_they_end_with_equal_parameters(reports):
    one, two = reports
    for name in ("weight", "offset", "frozen", "losses"):
        assert one[name] == two[name]


def test_the_parameters_are_those_of_training_on_one_device(reports):
    weight, offset, losses = expected()
    np.testing.assert_allclose(reports[0]["weight"], weight, rtol=1e-4)
    np.testing.assert_allclose(reports[0]["offset"], offset, rtol=1e-4)
    np.testing.assert_allclose(reports[0]["losses"], losses, rtol=1e-3, atol=1e-6)


def test_what_is_frozen_stays_as_it_was(reports):
    assert [report["frozen"] for report in reports] == [0.25, 0.25]


def test_each_process_traces_once(reports):
    assert [report["traces"] for report in reports] == [["step"], ["step"]]


def test_a_map_over_devices_is_about_those_of_its_process(reports):
    assert [report["sum of mine"] for report in reports] == [[1.0, 1.0], [3.0, 3.0]]


def test_a_numpy_array_of_each_process_is_refused_and_nothing_of_it_is_lost(reports):
    fix = "make it of the parts: jax.make_array_from_process_local_data(sharding, array)"
    assert [report["mistakes"] for report in reports] == [[["x", fix]] * 8] * 2


def test_arrays_that_are_in_part_elsewhere_are_compared_shown_named_and_restored_without_being_fetched(
    reports,
):
    for rank, report in enumerate(reports):
        found = report["beside"]
        assert found.pop("restored") in (True, None)
        assert found == {
            "equal": [True, False],
            "static": ["half", "half", "data"],
            "shown": [True, True],
            "ahead": "data",
            "error": "whole(): argument `x` is f32[16,3], but Float[Array, '4 n'] needs 4 on axis 0",
            "donated": "x",
            "mine": 3.0 + 3 * rank,
        }
