"""`typedfilter check`: the command.

Exit status: 0 where all is good, 1 where a function failed or less was judged than is asked for, 2 where
there was nothing to judge, something could not be read, or the settings are wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from typedfilter.check import apart
from typedfilter.check import settings as _settings
from typedfilter.check.cache import FOLDER, Cache
from typedfilter.check.find import unmatched
from typedfilter.check.report import formats, text
from typedfilter.check.report.progress import Progress
from typedfilter.check.report.report import Report
from typedfilter.check.report.results import share
from typedfilter.check.run import examples_from, is_unjudged
from typedfilter.check.run import run as run_targets
from typedfilter.check.trials.meshes import Axes

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
        help="a skipped function is a failure, unless it is asked to be ignored; so is one that is good only "
        "where more holds than its annotations say",
    )
    parser.add_argument(
        "--no-keys", action="store_true", help="do not look for random keys that are used twice"
    )
    add_mesh(parser)
    parser.add_argument(
        "--no-skipped", action="store_true", help="do not list what was skipped; count it only"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print only what failed or was skipped, and the summary"
    )
    _add_patterns(parser)
    _add_processes(parser)


def _add_patterns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exclude",
        action="append",
        type=_pattern("a pattern of files, such as 'src/legacy/*'"),
        default=[],
        metavar="PATTERN",
        help="leave files out of folders",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        type=_pattern("a pattern of names, such as 'Model.plot*'"),
        default=[],
        metavar="PATTERN",
        help="do not judge functions of this name",
    )


def _pattern(what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not text.strip():
            raise argparse.ArgumentTypeError(what)
        return text

    return read


def add_mesh(parser: argparse.ArgumentParser) -> None:
    """The option that says a mesh."""
    parser.add_argument(
        "--mesh",
        metavar="AXIS=SIZE,...",
        help="the axes of the mesh that functions are traced under where they need one: data=4,model=2; by "
        "default `mesh` of [tool.typedfilter]",
    )


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-j", "--jobs", type=_count, metavar="N", help="so many processes (one a processor); 0: in this one"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long a file may take to be imported, and a function to be judged (120)",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="judge again what has not changed, and remember nothing"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("a number of processes, 0 or more")
    return number


def run(args: argparse.Namespace) -> int:
    """Check, print the report on stdout, return the exit status."""
    try:
        settings = _settings.read(Path.cwd())
        axes = settings.mesh if args.mesh is None else _settings.mesh_of(args.mesh)
    except _settings.SettingsError as error:
        print(f"typedfilter check: {error}", file=sys.stderr)
        return 2
    targets = args.paths or settings.paths
    if not targets:
        print("typedfilter check: nothing to check: name files, folders or modules,", file=sys.stderr)
        print("  or list them as `paths` under [tool.typedfilter] in pyproject.toml", file=sys.stderr)
        return 2
    with Progress() as progress, stdout_for_the_report():
        try:
            report = _report(targets, settings, args, axes, progress)
        except apart.ExamplesError as error:
            print(f"typedfilter check: {error}", file=sys.stderr)
            return 2
    _print(report, args)
    _tell_of_patterns(args, targets, report)
    return _status(report, args.strict or settings.strict, settings.judged)


def _report(
    targets: Sequence[str],
    settings: _settings.Settings,
    args: argparse.Namespace,
    axes: Axes,
    progress: Progress,
) -> Report:
    exclude, ignore = (*settings.exclude, *args.exclude), (*settings.ignore, *args.ignore)
    keys = settings.keys and not args.no_keys
    if args.jobs == 0:
        try:
            examples_from(settings.examples)
        except Exception as error:  # whatever the user's module does
            raise apart.ExamplesError(f"the examples can't be read: {error!r}") from error
        return run_targets(targets, exclude, ignore, progress, keys, axes)
    setup = apart.setup_of(settings.examples, ignore, keys, axes)
    cached = not args.no_cache and not settings.examples  # a module with examples may be anywhere
    cache = Cache(Path.cwd() / FOLDER if cached else None, (ignore, keys, axes))
    jobs = apart.processes() if args.jobs is None else args.jobs
    return apart.run(targets, exclude, setup, progress, jobs=jobs, patience=args.patience, cache=cache)


def _tell_of_patterns(args: argparse.Namespace, targets: Sequence[str], report: Report) -> None:
    """A slip in a name leaves nothing out: say so, where something was looked at."""
    for pattern in unmatched(targets, args.exclude):
        print(
            f"typedfilter check: --exclude {pattern!r}: no file in a folder has such a path", file=sys.stderr
        )
    for pattern in args.ignore:
        if report.results and not any(fnmatch.fnmatch(one.function, pattern) for one in report):
            print(f"typedfilter check: --ignore {pattern!r}: no function has such a name", file=sys.stderr)


def _status(report: Report, strict: bool, least: float) -> int:
    """The exit status of the report, and 1 where less is judged than is asked for."""
    if report.exit_status == 0 and strict and any(map(is_unjudged, report)):
        return 1
    if report.exit_status == 0 and share(report.results) < least:
        told = f"{share(report.results):.0%} of the functions are judged, less than {least:.0%}"
        print(f"typedfilter check: {told}, as [tool.typedfilter] asks", file=sys.stderr)
        return 1
    return report.exit_status


@contextlib.contextmanager
def stdout_for_the_report() -> Generator[None]:
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


def _print(report: Report, args: argparse.Namespace) -> None:
    if args.format == "json":
        print(formats.as_json(report, not args.no_skipped))
    elif args.format == "github":
        print(formats.as_github(report, not args.no_skipped))
    else:
        _print_text(report, args.quiet, not args.no_skipped)


def _print_text(report: Report, quiet: bool, skipped: bool) -> None:
    lines = list(text.lines(report.results, report.unreadable, quiet, skipped))
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
