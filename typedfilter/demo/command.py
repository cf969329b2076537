"""`typedfilter demo`: its flags. Imports nothing of the extra, so that `--help` needs none of it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.add_argument(
        "--steps", type=_whole(1, 1_000_000), default=1000, metavar="N", help="training steps (default: 1000)"
    )
    parser.add_argument(
        "--ensemble", type=_whole(1, 1000), default=1, metavar="N", help="train N models at once (default: 1)"
    )
    parser.add_argument(
        "--seed",
        type=_whole(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="decides everything random (default: 0)",
    )
    parser.add_argument(
        "--processes",
        type=int,
        choices=(1, 2, 4),
        metavar="N",
        help="train one model in N processes with 8 devices together instead: 1, 2 or 4",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="save the learning curve and a grid of digits, as .png, .pdf, ...",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and show what happened.

    2 if the plot can't be saved where it is asked for; 1 if one of several processes ended early.
    """
    if args.processes is not None:
        from typedfilter.demo import processes

        return processes.run(args.processes, min(args.steps, 50))
    from typedfilter.demo import plot, session

    try:
        opened = contextlib.nullcontext() if args.plot is None else plot.open_picture(args.plot)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"typedfilter demo: --plot {args.plot}: {why}", file=sys.stderr)
        return 2
    with opened as picture:
        session.run(steps=args.steps, ensemble=args.ensemble, seed=args.seed, picture=picture)
    return 0


def _whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from `low` to `high` that says so when it gets something else."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text!r}")
        return number

    return read
