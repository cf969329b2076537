"""A process that imports and judges files for `apart`, and tells what it finds while it goes on.

All user code of a run of the command is in here: what ends the process, takes its memory or never returns
ends one file, and not the run. Never writes to stdout, which belongs to the report.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax

from typedfilter.check import find
from typedfilter.check.report.results import Unreadable
from typedfilter.check.run import examples_from, judged
from typedfilter.check.trials.meshes import Axes

_TRACES = 20_000  # objects, which a few traces make


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a worker is told once."""

    folder: str
    path: tuple[str, ...]  # where modules are looked for
    examples: tuple[str, ...]
    ignore: tuple[str, ...]
    keys: bool
    axes: Axes


@dataclasses.dataclass(frozen=True)
class Enumerate:
    """Asks for the files that a target names."""

    target: str
    exclude: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Judge:
    """Asks for the verdicts on a file; functions that `known` names are left out."""

    source: find.Source
    known: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Ready:
    """The worker can be asked; or not, since the examples could not be read."""

    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Sources:
    """What a target names."""

    found: tuple[find.Source | Unreadable, ...]


@dataclasses.dataclass(frozen=True)
class Begin:
    """A function is judged from now on."""

    function: str
    file: str
    line: int


@dataclasses.dataclass(frozen=True)
class Done:
    """A file is done; `modules` are the files that were imported for it."""

    unreadable: Unreadable | None
    modules: tuple[str, ...]


def work(connection: Connection, setup: Setup) -> None:
    """Answer one question after another, until nobody asks any more."""
    with contextlib.suppress(EOFError, OSError):
        connection.send(begin(setup))
        packages: dict[Path, find.Source] = {}
        while (question := connection.recv()) is not None:
            if isinstance(question, Enumerate):
                connection.send(Sources(tuple(find.sources_of([question.target], question.exclude))))
            else:
                _judge(connection.send, setup, question, packages)


def begin(setup: Setup) -> Ready:
    """Make this process one that user code may run in."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends this process
    os.dup2(2, 1)
    os.chdir(setup.folder)
    sys.path[:] = setup.path
    sys.stdout = sys.stderr
    # What JAX's own frames are is asked for each exception, and trials raise thousands.
    jax.config.update("jax_traceback_filtering", "off")
    # Each trace leaves cycles behind, and what is imported is as many objects as thousands of traces make.
    gc.freeze()
    gc.set_threshold(_TRACES, *gc.get_threshold()[1:])
    try:
        examples_from(setup.examples)
    except Exception as error:  # whatever the user's module does
        return Ready(f"the examples can't be read: {error!r}")
    return Ready()


def _judge(
    send: Callable[[Any], None],
    setup: Setup,
    question: Judge,
    packages: dict[Path, find.Source],
) -> None:
    source = find.of_package(question.source, packages)
    subjects = source.subjects()
    if isinstance(subjects, Unreadable):
        send(Done(subjects, ()))
        return
    for subject in subjects:
        if subject.name not in question.known:
            send(Begin(subject.name, subject.file, subject.line))
            with source.active():
                send(judged(subject, setup.ignore, setup.keys, setup.axes))
    with source.active():
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    send(Done(None, tuple(sorted(file for file in files if isinstance(file, str)))))
