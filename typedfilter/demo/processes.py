"""`typedfilter demo --processes N`: N real processes on this machine train one model, as machines would.

Starts them, watches them, ends them all where one ends early or time is up, and prints what they have found.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, Any

DEVICES = 8
LIMIT = 240.0  # seconds


def run(processes: int, steps: int, limit: float = LIMIT) -> int:
    """Train, and print what happened; 1 where a process ends early or time is up."""
    print(
        f"{processes} processes with {DEVICES // processes} devices each, on the loopback of this machine.\n"
    )
    port = str(_free_port())
    workers = [_start(rank, processes, port, steps) for rank in range(processes)]
    try:
        outputs = _watched(workers, time.monotonic() + limit)
    except _EndedError as error:
        print(f"typedfilter demo: {error}", file=sys.stderr)
        return 1
    finally:
        for worker in workers:
            _end(worker)
    _tell([json.loads(output.splitlines()[-1]) for output in outputs])
    return 0


class _EndedError(Exception):
    """The run has come to an end too early."""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _start(rank: int, processes: int, port: str, steps: int) -> subprocess.Popen[str]:
    flags = f"--xla_force_host_platform_device_count={DEVICES // processes}"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "typedfilter.demo.worker", str(rank), str(processes), port, str(steps)]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _watched(workers: Sequence[subprocess.Popen[str]], until: float) -> list[str]:
    """What each process has printed, once all are done.

    Raises:
        _EndedError: one has failed, or was killed; or time is up.
    """
    while any(worker.poll() is None for worker in workers):
        _refuse_failed(workers)
        if time.monotonic() > until:
            raise _EndedError("time is up; the processes were ended")
        time.sleep(0.1)
    _refuse_failed(workers)
    return [_read(worker.stdout) for worker in workers]


def _refuse_failed(workers: Sequence[subprocess.Popen[str]]) -> None:
    for rank, worker in enumerate(workers):
        if worker.poll():
            said = _read(worker.stderr).strip().splitlines()
            why = f": {said[-1]}" if said else ""
            raise _EndedError(f"process {rank} {_how(worker.returncode)}; the others were ended{why}")


def _how(code: int) -> str:
    """How a process ended, by its exit status."""
    return f"ended with code {code}" if code > 0 else f"was killed by {signal.Signals(-code).name}"


def _end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    for stream in (worker.stdout, worker.stderr):
        if stream is not None:
            stream.close()


def _read(stream: IO[str] | None) -> str:
    return "" if stream is None else stream.read()


def _tell(reports: list[dict[str, Any]]) -> None:
    first = reports[0]
    print("The mesh (data, model)")
    for report in reports:
        print(f"  process {report['rank']}: devices {', '.join(map(str, report['devices']))}")
    print("\nWhere each argument of train_step lives\n" + first["explain"])
    start, end = first["losses"]
    print(f"\nLoss {start:.4f} -> {end:.4f}")
    traces = ", ".join(str(report["traces"]) for report in reports)
    again = ", ".join(str(report["compiles again"]) for report in reports)
    print(f"Traces of train_step by process: {traces}; compiled again while training: {again}")
    print(f"Parameters: {first['bytes'][0]} bytes a device, of {first['bytes'][1]} in all")
    hashes = sorted({report["sha"] for report in reports})
    equal = f"equal in all processes ({hashes[0]})" if len(hashes) == 1 else f"different: {', '.join(hashes)}"
    print(f"Parameters are {equal}")
    difference = max(report["difference"] for report in reports)
    print(f"Against one device: max difference {difference:.1e}")
    counts = ", ".join(f"{name} {count}" for name, count in first["collectives"].items()) or "none"
    print(f"Collectives in the compiled step: {counts}")
    titles = ("A batch that can't be shared out", "A NumPy batch in each process")
    for title, text in zip(titles, first["mistakes"], strict=False):  # one process may pass NumPy's arrays
        print(f"\n{title}, on purpose\n{text}")
