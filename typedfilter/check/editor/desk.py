"""The process that looks at files for an editor: it stays, so that only what is edited is executed again.

Knows how verdicts and shapes are found; knows nothing of the protocol. What was imported and is not edited
stays imported; where another file than the edited one has changed, the process asks to be replaced.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from typedfilter._values.code import is_installed
from typedfilter.check import buffers, replay, worker
from typedfilter.check.find import Source
from typedfilter.check.report.listing import Listing
from typedfilter.check.report.results import Unreadable
from typedfilter.check.run import ignored_by, unfinished
from typedfilter.check.trials.subject import Subject


@dataclasses.dataclass(frozen=True)
class Look:
    """Asks for what there is to say of a file; a later question takes the place of an earlier one."""

    number: int  # of the question; answers bear it, too
    path: Path  # the file
    texts: Mapping[str, str]  # of the files that are open in the editor
    changed: range  # the lines that were edited: their functions come first
    without: frozenset[str] = frozenset()  # functions that are left out


@dataclasses.dataclass(frozen=True)
class Taken:
    """The question is looked into from now on."""

    number: int


@dataclasses.dataclass(frozen=True)
class Begin:
    """A function is judged from now on."""

    number: int
    function: str
    file: str
    line: int


@dataclasses.dataclass(frozen=True)
class Told:
    """What there is to say of one function."""

    number: int
    listing: Listing


@dataclasses.dataclass(frozen=True)
class End:
    """All is said of a file; or it could not be read."""

    number: int
    unreadable: Unreadable | None = None


@dataclasses.dataclass(frozen=True)
class Outdated:
    """Another file has changed that this process has imported: another process is to be asked."""

    number: int


def work(connection: Connection, setup: worker.Setup) -> None:
    """Answer the newest question, again and again, until the connection ends."""
    with contextlib.suppress(OSError):  # nobody is there any more, which `listen` finds out
        connection.send(worker.begin(setup))
    desk = _Desk(connection, setup)
    threading.Thread(target=desk.listen, daemon=True).start()
    while True:
        desk.answer(desk.waiting.get())


class _Desk:
    """What this process knows between two questions."""

    def __init__(self, connection: Connection, setup: worker.Setup) -> None:
        self.waiting: queue.SimpleQueue[Look] = queue.SimpleQueue()
        self._connection = connection
        self._setup = setup
        self._newest = 0
        self._sources: dict[Path, Source] = {}
        self._stamps: dict[str, object] = {}

    def listen(self) -> None:
        """Take questions as they come; end the process, whatever it does, when nobody is there any more."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                question: Look = self._connection.recv()
                self._newest = question.number
                self.waiting.put(question)
        os._exit(0)

    def answer(self, question: Look) -> None:
        """Say what there is to say, one function after the other, unless something newer is asked."""
        if question.number != self._newest:
            return
        self._connection.send(Taken(question.number))
        buffers.replace(question.texts)
        importlib.invalidate_caches()  # of what was no file before
        if self._is_outdated(question.path):
            self._connection.send(Outdated(question.number))
            return
        source = self._sources.setdefault(question.path, Source(question.path.name, question.path))
        _forget(source)
        found = source.subjects()
        if not isinstance(found, Unreadable):
            for subject in _edited_first(found, question.changed):
                if question.number != self._newest:
                    return
                if subject.name not in question.without:
                    begun = Begin(question.number, subject.name, subject.file, subject.line)
                    self._connection.send(begun)
                    with source.active():
                        listing = self._listing(subject)
                    self._connection.send(Told(question.number, listing))
        self._remember(source)
        self._connection.send(End(question.number, found if isinstance(found, Unreadable) else None))

    def _listing(self, subject: Subject) -> Listing:
        ignored = ignored_by(subject, self._setup.ignore)
        if ignored is not None:
            return Listing(ignored)
        try:
            return replay.listing_of(subject, self._setup.keys, self._setup.axes)
        except BaseException as error:  # as in a run of the command, sys.exit() included
            return Listing(unfinished(subject, error))

    def _is_outdated(self, path: Path) -> bool:
        """Whether another file has changed, or this one sets flags of JAX in another way."""
        own = str(path)
        flags = self._stamps.get(own)
        self._stamps[own] = [line for line in (buffers.text_of(own) or "").splitlines() if "config" in line]
        changed = any(_stamp(file) != stamp for file, stamp in self._stamps.items() if file != own)
        return changed or (flags is not None and flags != self._stamps[own])

    def _remember(self, source: Source) -> None:
        """What the files that are imported say now, but for those of what is installed."""
        with source.active():
            files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        for file in files:
            if isinstance(file, str) and file not in self._stamps and not is_installed(file):
                self._stamps[file] = _stamp(file)


def _stamp(file: str) -> object:
    """Equal for as long as a file says the same."""
    try:
        text = buffers.text_of(file)
        found = os.stat(file)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if text is None else text


def _edited_first(subjects: list[Subject], changed: range) -> list[Subject]:
    """The functions of the edited lines before the others: the last that begins above them, and those in."""
    above = [subject for subject in subjects if subject.line <= changed.start + 1][-1:]
    inside = [subject for subject in subjects if subject.line - 1 in changed]
    first = [*above, *(one for one in inside if one not in above)]
    return [*first, *(one for one in subjects if one not in first)]


# ------------------------------------------------------------------------------------------ what is stale


def _forget(source: Source) -> None:
    """Let the file of a source be executed again, and the files beside it that import it."""
    modules = source.own
    stale = {name for name, module in modules.items() if _file(module) == source.path}
    wanted = {name: frozenset(_imports(name, module)) for name, module in modules.items()}
    while more := {name for name in wanted.keys() - stale if wanted[name] & stale}:
        stale |= more
    for name in stale:
        del modules[name]


def _file(module: Any) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) else None


def _imports(name: str, module: Any) -> Iterator[str]:
    """The names of the modules that a module imports, or may: `from a import b` may mean `a.b`."""
    file = _file(module)
    try:
        tree = ast.parse(buffers.read(file)) if file is not None else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, name, hasattr(module, "__path__"))
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _absolute(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    """The module that `from ... import` names."""
    above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])
