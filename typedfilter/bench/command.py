"""`typedfilter bench`: its flags.

Exit status: 0 where it ran, whether or not a target was met, since a busy machine misses some; 2 where the
command line is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from types import ModuleType
from typing import IO

from typedfilter.bench import _machine, _report
from typedfilter.bench._cases import CASES
from typedfilter.bench._rows import Lab, Row
from typedfilter.bench._timing import Timer

_EPILOG = """\
A ratio is the time of typedfilter in terms of the time of what it is compared with: the median over many
rounds, in each of which all contenders have their turn. Other applications make it less exact.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--only",
        action="append",
        choices=list(CASES),
        metavar="NAME",
        help=f"measure this case only; may be repeated. One of: {', '.join(CASES)}",
    )
    parser.add_argument(
        "--rounds", type=_count, metavar="N", help="rounds of every case (by default as many as it needs)"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the rows as JSON, too; with - to stdout, in the place of the table",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, and print each row when it is known."""
    try:
        out = _output(args.json)
    except OSError as error:
        print(f"typedfilter bench: --json {args.json}: {error.strerror}", file=sys.stderr)
        return 2
    equinox = _optional("equinox")
    machine, quiet = _machine.describe(), args.json == "-"
    rows: list[Row] = []
    with out as file:
        if not quiet:
            print(_report.head(machine, [] if equinox else ["equinox"]), flush=True)
        lab = Lab(Timer(), equinox, args.rounds)
        for name in args.only or CASES:
            found = CASES[name].run(lab)
            rows += found
            if not quiet:
                print(*_report.lines(found), sep="\n", flush=True)
        if not quiet:
            print(f"\n{_report.summary(rows, _machine.busy(machine))}")
        if file is not None:
            print(_report.as_json(machine, rows), file=file)
    return 0


def _output(path: str | None) -> contextlib.AbstractContextManager[IO[str] | None]:
    """Where the JSON goes: opened before anything is measured, so that a mistake costs no minutes."""
    if path is None or path == "-":
        return contextlib.nullcontext(sys.stdout if path else None)
    return open(path, "w", encoding="utf-8")


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)
