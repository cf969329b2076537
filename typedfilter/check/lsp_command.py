"""`typedfilter lsp`: what `check` and `shapes` say, for an editor that speaks the Language Server Protocol.

Files are looked at while somebody types, in processes of their own: what a file prints, hangs in or leaves
behind does not reach the server. Exit status: 0 after `shutdown`, 1 where the editor goes without.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import BinaryIO

from typedfilter.check.editor.protocol import Channel
from typedfilter.check.editor.server import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments but `--stdio`, which editors pass."""
    parser.add_argument("--stdio", action="store_true", help="speak over stdin and stdout, as it does anyway")


def run(args: argparse.Namespace) -> int:
    """Serve until the editor says `exit` or closes the pipe."""
    stream, out = _pipes()
    server = Server(Channel(out))
    server.serve(stream)
    return 0 if server.is_shut_down else 1


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes from and to the editor, taken away from whatever else reads stdin or prints."""
    sys.stdout.flush()
    stream, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return stream, out
