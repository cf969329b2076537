"""A progress bar on stderr, for runs that take longer than a second and are watched on a terminal.

With rich where it is installed; a counter where it is not.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_PATIENCE = 1.0  # seconds


class Progress:
    """Shows nothing for a second, and nothing at all where nobody watches."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._watched = sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None
        self._plain = False

    def __enter__(self) -> Progress:
        return self

    def __call__(self, fraction: float, name: str) -> None:
        """Note that this fraction is done, and that `name` comes next."""
        if not self._watched or time.monotonic() - self._began < _PATIENCE:
            return
        if self._bar is None and not self._plain:
            self._start()
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction, description=name)
        else:
            print(f"\r{fraction:4.0%} {name[:60]:<60}", end="", file=sys.stderr, flush=True)

    def _start(self) -> None:
        try:
            from rich.console import Console
            from rich.progress import Progress as Bar
        except ModuleNotFoundError:
            self._plain = True
            return
        self._bar = Bar(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._plain:
            print(f"\r{'':70}\r", end="", file=sys.stderr, flush=True)
