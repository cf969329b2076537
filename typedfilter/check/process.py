"""A process that user code is run in: started from one that has imported what all need, asked, and ended.

Knows how processes are made; knows nothing of what they do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# What every process imports is imported once, where processes can be forked from one that has no threads.
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class Process:
    """One process, and the connection to it."""

    def __init__(self, work: Callable[[Connection, Any], None], setup: Any) -> None:
        context: Any = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            context.set_forkserver_preload([work.__module__])
        ours, theirs = context.Pipe()
        self.connection: Connection[Any, Any] = ours
        self._process: BaseProcess = context.Process(target=work, args=(theirs, setup), daemon=True)
        self._process.start()
        theirs.close()

    def ended(self) -> str:
        """How it has ended."""
        self._process.join(5.0)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"ends the process by {signal.Signals(-code).name}"
        return "ends the process" if code is None else f"ends the process with status {code}"

    @property
    def memory(self) -> int:
        """The bytes of memory that it holds; 0 where the system doesn't say so."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        """End it, and the connection to it."""
        self.kill()
        self.connection.close()


def half_of_the_memory() -> float:
    """Half of the bytes that this machine has; no end of them where the system doesn't say so."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError):
        return float("inf")
