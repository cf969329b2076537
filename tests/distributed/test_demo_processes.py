"""`typedfilter demo --processes N`: real processes train one model, and none outlives another."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from typedfilter.cli import main
from typedfilter.demo import processes


def test_two_processes_train_one_model_and_show_two_mistakes(capsys):
    assert main(["demo", "--processes", "2", "--steps", "3"]) == 0
    shown = capsys.readouterr().out
    assert "process 1: devices" in shown
    assert "Traces of train_step by process: 1, 1; compiled again while training: 0, 0" in shown
    assert "Parameters: 2560 bytes a device, of 5120 in all" in shown
    assert "Parameters are equal in all processes" in shown
    assert float(shown.partition("max difference ")[2].split()[0]) < 1e-5
    assert "all-reduce" in shown
    assert "argument `x` has size 63 along axis 0, which is split into 4 equal parts" in shown
    assert "argument `x` is a NumPy array of this process alone" in shown


@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_process_is_killed_in_the_middle_the_others_are_ended(rank, capsys, monkeypatch):
    started: list[subprocess.Popen[str]] = []
    start = processes._start

    def recorded(*arguments) -> subprocess.Popen[str]:
        started.append(start(*arguments))
        return started[-1]

    def killed(workers, until):
        time.sleep(4)  # wherever they are: they never end by themselves
        started[rank].kill()
        return watched(workers, until)

    watched = processes._watched
    monkeypatch.setattr(processes, "_start", recorded)
    monkeypatch.setattr(processes, "_watched", killed)
    assert processes.run(2, 1_000_000, limit=90) == 1
    assert all(worker.poll() is not None for worker in started)
    said = f"typedfilter demo: process {rank} was killed by SIGKILL; the others were ended"
    assert capsys.readouterr().err.startswith(said)


def sleeper(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def workers(monkeypatch):
    started: list[subprocess.Popen[str]] = []

    def start(rank: int, *_: object) -> subprocess.Popen[str]:
        code = "import time; time.sleep(60)"
        started.append(sleeper("raise SystemExit('no more memory')" if rank == failing[0] else code))
        return started[-1]

    failing = [1]
    monkeypatch.setattr(processes, "_start", start)
    return started, failing


def test_where_one_process_ends_the_others_are_ended(workers, capsys):
    started, _ = workers
    assert processes.run(3, 1) == 1
    assert all(worker.poll() is not None for worker in started)
    assert capsys.readouterr().err == (
        "typedfilter demo: process 1 ended with code 1; the others were ended: no more memory\n"
    )


def test_where_time_is_up_all_are_ended(workers, capsys):
    started, failing = workers
    failing[0] = None
    before = time.monotonic()
    assert processes.run(2, 1, limit=0.5) == 1
    assert time.monotonic() - before < 30
    assert all(worker.poll() is not None for worker in started)
    assert "time is up" in capsys.readouterr().err
