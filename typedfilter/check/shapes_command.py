"""`typedfilter shapes`: the source of annotated functions, with the shapes of their locals.

Exit status: 0 where something was shown, 1 where a body raised or an annotation does not hold, 2 where
nothing could be shown or a target is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from typedfilter.check import find, replay
from typedfilter.check import settings as _settings
from typedfilter.check.command import add_mesh, stdout_for_the_report
from typedfilter.check.report import listing as _listing
from typedfilter.check.report.listing import Listing
from typedfilter.check.report.results import Unreadable
from typedfilter.check.run import examples_from
from typedfilter.check.trials.meshes import Axes

_WIDTH = 100  # where there is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "target",
        metavar="FILE[::FUNCTION]",
        help="a file, for all its annotated functions, or one of these; a dotted name will do, too",
    )
    add_mesh(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print it (text)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for a browser to this file")


def run(args: argparse.Namespace) -> int:
    """Trace, print the listings on stdout, return the exit status."""
    # User code prints what it likes: stdout is for the listing.
    with contextlib.redirect_stdout(sys.stderr), stdout_for_the_report():
        try:
            settings = _settings.read(Path.cwd())
            axes = settings.mesh if args.mesh is None else _settings.mesh_of(args.mesh)
            examples_from(settings.examples)
        except Exception as error:  # of the settings, or whatever the user's module does
            print(f"typedfilter shapes: the settings can't be used: {error}", file=sys.stderr)
            return 2
        found = list(_listings(args.target, axes))
    listings = [one for one in found if isinstance(one, Listing)]
    unreadable = [one for one in found if isinstance(one, Unreadable)]
    for problem in unreadable:
        print(f"typedfilter shapes: {problem.target}: {problem.message}", file=sys.stderr)
    if not found:
        print(f"typedfilter shapes: {args.target}: there is no annotated function in it", file=sys.stderr)
    if args.html is not None and listings:
        try:
            args.html.write_text(_listing.as_html(listings), encoding="utf-8")
        except OSError as error:
            print(f"typedfilter shapes: {args.html}: {error.strerror}", file=sys.stderr)
            return 2
    if args.format == "json":
        print(_listing.as_json(listings, unreadable))
    elif listings and args.html is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
        print("\n\n".join(_listing.as_text(one, width) for one in listings))
    return _status(listings, unreadable)


def _listings(target: str, axes: Axes) -> Iterator[Listing | Unreadable]:
    for source in find.sources_of([target]):
        subjects = source if isinstance(source, Unreadable) else source.subjects()
        if isinstance(subjects, Unreadable):
            yield subjects
            continue
        assert isinstance(source, find.Source)
        for subject in subjects:
            with source.active():
                yield replay.listing_of(subject, axes=axes)


def _status(listings: Sequence[Listing], unreadable: Sequence[Unreadable]) -> int:
    if unreadable or not any(one.shapes or one.result.status == "failed" for one in listings):
        return 2
    return 0 if all(one.ok for one in listings) else 1
