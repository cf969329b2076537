"""`typedfilter check`: the command.

Exit status: 0 where all is good, 1 where a function failed, 2 where there was nothing to judge,
something could not be read, or the settings are wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from typedfilter.check import settings as _settings
from typedfilter.check.report import formats, text
from typedfilter.check.report.progress import Progress
from typedfilter.check.report.report import Report
from typedfilter.check.run import is_unjudged
from typedfilter.check.run import run as run_targets

_FORMATS = ("text", "json", "github")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH_OR_MODULE",
        help="a file, folder, dotted name, or file.py::function; by default `paths` of [tool.typedfilter]",
    )
    parser.add_argument("--format", choices=_FORMATS, default="text", help="how to print the report (text)")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a skipped function is a failure, unless it is asked to be ignored",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print only what failed or was skipped, and the summary"
    )


def run(args: argparse.Namespace) -> int:
    """Check, print the report on stdout, return the exit status."""
    try:
        settings = _settings.read(Path.cwd())
    except _settings.SettingsError as error:
        print(f"typedfilter check: {error}", file=sys.stderr)
        return 2
    targets = args.paths or settings.paths
    if not targets:
        print("typedfilter check: nothing to check: name files, folders or modules,", file=sys.stderr)
        print("  or list them as `paths` under [tool.typedfilter] in pyproject.toml", file=sys.stderr)
        return 2
    with Progress() as progress, _stdout_for_the_report():
        report = run_targets(targets, settings.exclude, settings.ignore, progress)
    _print(report, args.format, args.quiet)
    strict = args.strict or settings.strict
    if report.exit_status == 0 and strict and any(map(is_unjudged, report)):
        return 1
    return report.exit_status


@contextlib.contextmanager
def _stdout_for_the_report() -> Generator[None]:
    """What is written to the descriptor itself (by programs that user code starts) goes to stderr, too."""
    sys.stdout.flush()
    try:
        saved = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _print(report: Report, style: str, quiet: bool) -> None:
    if style == "json":
        print(formats.as_json(report))
    elif style == "github":
        print(formats.as_github(report))
    else:
        _print_text(report, quiet)


def _print_text(report: Report, quiet: bool) -> None:
    lines = list(text.lines(report.results, report.unreadable, quiet))
    console = _console() if sys.stdout.isatty() else None
    if console is None:
        print(text.plain(lines))
    else:
        text.print_rich(lines, console)


def _console() -> Any:
    """A console of rich's; None where rich is not installed."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    return Console()
