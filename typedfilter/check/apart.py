"""A run over targets in processes of their own: side by side, and apart from the command.

A file that ends its process, never returns from being imported, or takes all memory is told as that, and the
rest is judged. What was judged before, and has not changed since, is not judged again.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import sys
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from typedfilter.check import worker
from typedfilter.check.cache import Cache
from typedfilter.check.find import Source, sources_of
from typedfilter.check.process import Process, half_of_the_memory
from typedfilter.check.report.report import Report
from typedfilter.check.report.results import Result, Unreadable
from typedfilter.check.run import Advance
from typedfilter.check.trials.meshes import Axes


class ExamplesError(Exception):
    """The modules with examples can't be read."""


@dataclasses.dataclass
class _File:
    """One file, and what is known of it so far."""

    number: int
    source: Source
    results: list[Result] = dataclasses.field(default_factory=list[Result])
    unreadable: Unreadable | None = None
    lost: list[Result] = dataclasses.field(default_factory=list[Result])  # of what ended the process
    modules: tuple[str, ...] = ()


_LOOK = 0.5  # seconds from one look at what a process holds to the next
_MOST = half_of_the_memory()


class _Worker:
    """One process, and what it is doing."""

    def __init__(self, setup: worker.Setup) -> None:
        self._setup = setup
        self.file: _File | None = None
        self.begun: worker.Begin | None = None
        self.heard = time.monotonic()
        self._process = Process(worker.work, setup)

    @property
    def connection(self) -> Connection[Any, Any]:
        """To its process."""
        return self._process.connection

    def ask(self, question: Any) -> None:
        """Put a question; the answer comes through the connection."""
        self.heard = time.monotonic()
        self.connection.send(question)

    def answer(self, patience: float) -> Any:
        """The next answer; what has happened, as text, where there is none to come."""
        try:
            while not self.connection.poll(max(0.0, min(_LOOK, self.heard + patience - time.monotonic()))):
                if self.is_full:
                    return f"takes more than {_MOST / 1e9:.2g} GB of memory"
                if time.monotonic() - self.heard >= patience:
                    return f"takes more than {patience:g} seconds"
            self.heard = time.monotonic()
            return self.connection.recv()
        except (EOFError, OSError):
            return self._process.ended()

    @property
    def is_full(self) -> bool:
        """Whether its process holds so much memory that others would soon have none."""
        return self._process.memory > _MOST

    def restart(self) -> None:
        """Go on with another process."""
        self.stop()
        self.file = self.begun = None
        self._process = Process(worker.work, self._setup)
        self.heard = time.monotonic()

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.stop()


def run(
    targets: Iterable[str],
    exclude: Iterable[str],
    setup: worker.Setup,
    advance: Advance,
    *,
    jobs: int,
    patience: float,
    cache: Cache,
) -> Report:
    """Judge everything in `targets`, in `jobs` processes.

    Args:
        targets: files, folders, dotted names, any of them with `::function`.
        exclude: patterns of files to leave out of folders.
        setup: what each process is told.
        advance: told of the progress.
        jobs: how many processes.
        patience: so many seconds a file has to be imported, and a function to be judged.
        cache: of earlier runs.

    Raises:
        ExamplesError: the examples can't be read.
    """
    workers: list[_Worker] = []
    try:
        found = _enumerated(workers, setup, targets, tuple(exclude), patience)
        files = [_File(number, one) for number, one in enumerate(found) if isinstance(one, Source)]
        new = [file for file in files if not _is_cached(file, cache)]
        waiting = collections.deque(sorted(new, key=_length, reverse=True))
        begun = [_Worker(setup) for _ in range(min(jobs, len(waiting)) - len(workers))]
        workers += begun
        for one in begun:
            _expect_ready(one, patience)
        _judge(workers, waiting, len(files), patience, advance, cache)
    finally:
        for one in workers:
            one.stop()
    return _report(found, files)


def _length(file: _File) -> int:
    """How long a file is: the longest are the first, so that no process is left alone with one in the end."""
    try:
        return 0 if file.source.path is None else file.source.path.stat().st_size
    except OSError:
        return 0


def _expect_ready(one: _Worker, patience: float) -> None:
    answer = one.answer(patience + _START)
    problem = answer.problem if isinstance(answer, worker.Ready) else f"importing the examples {answer}"
    if problem:
        raise ExamplesError(problem)


_START = 120.0  # seconds that a process may take to begin, on a machine that has much to do


def _enumerated(
    workers: list[_Worker],
    setup: worker.Setup,
    targets: Iterable[str],
    exclude: tuple[str, ...],
    patience: float,
) -> list[Source | Unreadable]:
    """What the targets name, each file once. Packages are imported to be found: by a worker."""
    found: dict[Any, Source | Unreadable] = {}
    for target in targets:
        if Path(target.partition("::")[0]).exists():
            named: Iterable[Source | Unreadable] = sources_of([target], exclude)
        else:
            if not workers:
                workers.append(_Worker(setup))
                _expect_ready(workers[0], patience)
            named = _named(workers[0], target, exclude, patience)
        for source in named:
            found.setdefault(source.key if isinstance(source, Source) else source, source)
    return list(found.values())


def _named(
    one: _Worker, target: str, exclude: tuple[str, ...], patience: float
) -> tuple[Source | Unreadable, ...]:
    one.ask(worker.Enumerate(target, exclude))
    answer = one.answer(patience)
    if isinstance(answer, worker.Sources):
        return answer.found
    one.restart()
    _expect_ready(one, patience)
    return (Unreadable(target, f"can't be imported: it {answer}"),)


def _is_cached(file: _File, cache: Cache) -> bool:
    known = cache.get(file.source)
    if known is None:
        return False
    file.results, file.modules = known
    return True


def _judge(
    workers: list[_Worker],
    waiting: collections.deque[_File],
    count: int,
    patience: float,
    advance: Advance,
    cache: Cache,
) -> None:
    while True:
        for one in workers:
            if one.file is None and waiting:
                one.file = waiting.popleft()
                names = (result.function for result in (*one.file.results, *one.file.lost))
                one.ask(worker.Judge(one.file.source, frozenset(names)))
        busy = [one for one in workers if one.file is not None]
        if not busy:
            return
        left = min(one.heard for one in busy) + patience - time.monotonic()
        ready = wait([one.connection for one in busy], max(0.0, min(_LOOK, left)))
        for one in busy:
            if one.connection in ready or time.monotonic() - one.heard > patience or one.is_full:
                _hear(one, waiting, patience, cache)
                done = count - len(waiting) - sum(other.file is not None for other in workers)
                advance(done / count, "" if one.file is None else one.file.source.target)


def _hear(one: _Worker, waiting: collections.deque[_File], patience: float, cache: Cache) -> None:
    """One answer of a busy worker."""
    file = one.file
    assert file is not None
    answer = one.answer(patience)
    match answer:
        case worker.Begin():
            one.begun = answer
        case Result():
            file.results.append(answer)
            one.begun = None
        case worker.Done(unreadable, modules):
            file.unreadable, file.modules = unreadable, modules
            one.file = None
            if unreadable is None and not file.lost:  # at once: a run that is broken off goes on there
                cache.add(file.source, file.results, modules)
        case _:
            _lose(file, one.begun, str(answer))
            if one.begun is not None:
                waiting.appendleft(file)
            one.restart()
            _expect_ready(one, patience)


def _lose(file: _File, begun: worker.Begin | None, what: str) -> None:
    """Note what the process was doing when it was lost: importing the file, or judging a function."""
    if begun is None:
        file.unreadable = Unreadable(file.source.target, f"can't be imported: it {what}")
        return
    text = f"tracing it {what}"
    file.lost.append(Result(begun.function, begun.file, begun.line, "skipped", text))


def _report(found: list[Source | Unreadable], files: list[_File]) -> Report:
    unreadable = [one for one in found if isinstance(one, Unreadable)]
    unreadable += [file.unreadable for file in files if file.unreadable is not None]
    results = [
        result
        for file in files
        for result in sorted((*file.results, *file.lost), key=lambda one: (one.line, one.function))
    ]
    return Report(tuple(results), tuple(unreadable))


def setup_of(examples: tuple[str, ...], ignore: Iterable[str], keys: bool, axes: Axes) -> worker.Setup:
    """What workers are told, as things are in this process."""
    return worker.Setup(str(Path.cwd()), tuple(sys.path), examples, tuple(ignore), keys, axes)


def processes() -> int:
    """How many processes this machine has processors for."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
