"""When open files are looked at, and the process that does so for each: a moment after each edit.

Knows what to do with a process that does not answer; knows nothing of the protocol, nor of what is found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import re
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from typedfilter.check import find, settings, worker
from typedfilter.check.apart import setup_of
from typedfilter.check.editor import desk
from typedfilter.check.editor.document import Text
from typedfilter.check.editor.findings import Findings
from typedfilter.check.process import Process
from typedfilter.check.report.listing import Listing
from typedfilter.check.report.results import Result, Unreadable

_PAUSE = 0.1  # seconds without an edit, after which a file is looked at
_GRACE = 1.0  # seconds until what was asked before is given up; twice as many each time, for slow imports
_PATIENCE = 30.0  # seconds for importing a file, and for one function
_START = 120.0  # seconds that a process may take to begin
_MOST_LOOKS = 300  # by one process: classes that are executed again and again are not all forgotten
_MOST_PROCESSES = 4
_PLAIN = re.compile(r"(Syntax|Indentation|Tab|Name|ModuleNotFound)Error")  # that any process would say


class Reader(Protocol):
    """Who is told what is found."""

    def publish(self, file: File) -> None:
        """Something new is known of a file."""

    def refresh(self) -> None:
        """All is known that there was to find."""

    def tell(self, problem: str) -> None:
        """Something is wrong that is not of one file."""


@dataclasses.dataclass
class File:
    """An open file."""

    uri: str
    path: Path
    version: int | None
    findings: Findings
    changed: range  # the lines (from 0) that were edited since it was looked at
    due: float | None = 0.0  # when to look at it; None where there is nothing new
    desk: Desk | None = None
    is_current: bool = False  # whether what is asked is about the text as it is now
    lost: set[str] = dataclasses.field(default_factory=set[str])  # functions that have ended a process
    # functions that something was said of since the last look
    found: set[str] = dataclasses.field(default_factory=set[str])
    grace: float = _GRACE

    def edit(self, text: Text) -> None:
        """Go on with another text."""
        changed, before = self.findings.edit(text), self.changed
        if self.due is not None:
            changed = range(min(changed.start, before.start), max(changed.stop, before.stop))
        self.changed, self.due, self.is_current = changed, time.monotonic() + _PAUSE, False
        self.lost.clear()


class Desk:
    """The process of one file, and what it does."""

    def __init__(self, inbox: queue.SimpleQueue[Any], setup: worker.Setup) -> None:
        self.setup = setup
        self.ready = False
        self.number: int = 0  # of what is asked; 0: nothing is
        self.is_urged: bool = False  # asked while it was busy with what is not wanted any more
        self.begun: desk.Begin | None = None
        self.looks: int = 0
        self.deadline: float = time.monotonic() + _START
        self._process = Process(desk.work, setup)
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def _listen(self, inbox: queue.SimpleQueue[Any]) -> None:
        while True:
            try:
                inbox.put((self, self._process.connection.recv()))
            except (EOFError, OSError):
                break
        self._process.connection.close()
        inbox.put((self, None))

    @property
    def is_waited_for(self) -> bool:
        """Whether it is to say something."""
        return self.number != 0 or not self.ready

    def ask(self, question: desk.Look, patience: float) -> None:
        self.is_urged = self.number != 0
        self.number, self.looks, self.begun = question.number, self.looks + 1, None
        self.deadline = time.monotonic() + patience
        with contextlib.suppress(OSError):  # it has ended, which is heard of
            self._process.connection.send(question)

    def ended(self) -> str:
        return self._process.ended()

    def stop(self) -> None:
        self._process.kill()  # whoever listens to it closes the connection


class Files:
    """The files that are open, by their URIs, and what comes of them."""

    def __init__(self, reader: Reader, inbox: queue.SimpleQueue[Any]) -> None:
        self.open: dict[str, File] = {}
        self._reader = reader
        self._inbox = inbox
        self._numbers = 0

    def until(self) -> float | None:
        """Seconds until something is to be done; None where nothing is."""
        times = [file.due for file in self.open.values() if file.due is not None]
        desks = [file.desk for file in self.open.values() if file.desk is not None]
        times += [one.deadline for one in desks if one.is_waited_for]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def look_around(self) -> None:
        now = time.monotonic()
        for file in list(self.open.values()):
            one = file.desk
            if one is not None and one.is_waited_for and now >= one.deadline:
                self._lose(file, f"takes more than {_PATIENCE:g} seconds")
            if file.due is not None and now >= file.due:
                self._look(file)

    def _look(self, file: File) -> None:
        """Ask the process of a file, or have one started, which is asked when it is ready."""
        setup = self._setup(file)
        if file.desk is not None and (file.desk.setup != setup or file.desk.looks >= _MOST_LOOKS):
            self.dismiss(file)
        if setup is None:
            file.due = None
            return
        if file.desk is None:
            self._make_room()
            file.desk = Desk(self._inbox, setup)
        one = file.desk
        if not one.ready:
            file.due = None  # it is looked at when the process says that it is there
            return
        self._ask(file, one)

    def _ask(self, file: File, one: Desk) -> None:
        self._numbers += 1
        texts = {str(other.path): other.findings.text.text for other in self.open.values()}
        question = desk.Look(self._numbers, file.path, texts, file.changed, frozenset(file.lost))
        file.due, file.found, file.is_current = None, set(file.lost), True
        one.ask(question, file.grace if one.number else _PATIENCE)

    def _setup(self, file: File) -> worker.Setup | None:
        """What a process is told; None where the settings can't be used, or leave the file out."""
        try:
            found = settings.read(file.path.parent)
        except settings.SettingsError as error:
            self._reader.tell(str(error))
            return None
        if find.is_excluded(file.path, found.exclude):
            return None
        file.findings.strict = found.strict
        setup = setup_of(found.examples, found.ignore, found.keys, found.mesh)
        return dataclasses.replace(setup, folder=str(settings.folder_of(file.path.parent)))

    def _make_room(self) -> None:
        """End a process that has nothing to do, where there are many."""
        running = [file for file in self.open.values() if file.desk is not None]
        idle = [file for file in running if file.desk is not None and not file.desk.number]
        if len(running) >= _MOST_PROCESSES and idle:
            self.dismiss(idle[0])

    def dismiss(self, file: File) -> None:
        if file.desk is not None:
            file.desk.stop()
            file.desk = None

    # ----------------------------------------------------------------------------------- what is answered

    def hear(self, one: Desk, answer: Any) -> None:
        file = next((file for file in self.open.values() if file.desk is one), None)
        if file is None:
            return  # its file is closed, or has another process
        if answer is None:
            self._lose(file, one.ended())
        elif isinstance(answer, worker.Ready):
            one.ready = True
            if answer.problem:
                self._reader.tell(answer.problem)
            self._ask(file, one)
        elif answer.number == one.number:
            self._note(file, one, answer)

    def _note(self, file: File, one: Desk, answer: Any) -> None:
        one.deadline, one.is_urged = time.monotonic() + _PATIENCE, False
        if not file.is_current:
            one.number = 0 if isinstance(answer, desk.End | desk.Outdated) else one.number
            return
        match answer:
            case desk.Begin():
                one.begun = answer
                file.grace = _GRACE  # what is imported is so
            case desk.Told(_, listing):
                one.begun = None
                self._add(file, listing)
            case desk.Outdated():
                self.dismiss(file)
                file.due = 0.0
            case desk.End(_, unreadable):
                one.number = 0
                if unreadable is not None and one.looks > 1 and not _PLAIN.search(unreadable.message):
                    self.dismiss(file)  # perhaps it can be executed, but not again in the same process
                    file.due = 0.0
                else:
                    self._finish(file, unreadable)
            case _:
                pass

    def _add(self, file: File, listing: Listing) -> None:
        """What is said of one function; the first is shown at once, as it is the one that was edited."""
        first = len(file.found) == len(file.lost)
        file.found.add(listing.result.function)
        file.findings.listings[listing.result.function] = listing
        if first:
            file.findings.unreadable = None
            self._reader.publish(file)

    def _finish(self, file: File, unreadable: Unreadable | None) -> None:
        file.findings.unreadable = unreadable
        if unreadable is None:
            known = file.findings.listings
            file.findings.listings = {name: one for name, one in known.items() if name in file.found}
        self._reader.publish(file)
        self._reader.refresh()

    def _lose(self, file: File, what: str) -> None:
        """Go on without a process that has ended or does not answer; say why, unless the text has changed."""
        one = file.desk
        assert one is not None
        self.dismiss(file)
        if one.is_urged or not file.is_current:
            file.grace = min(2 * file.grace, _PATIENCE)
            file.due = file.due or 0.0
        elif one.begun is not None:
            begun = one.begun
            result = Result(begun.function, begun.file, begun.line, "skipped", f"tracing it {what}")
            file.lost.add(begun.function)
            file.found.add(begun.function)
            file.findings.listings[begun.function] = Listing(result)
            file.due = 0.0
        else:
            self._finish(file, Unreadable(file.path.name, f"can't be imported: it {what}"))
