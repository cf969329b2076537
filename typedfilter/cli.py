"""The command line: which commands there are, what each needs installed, and what a failure says.

Knows the commands' modules by name only, and imports one when it is asked for: `typedfilter
explain` needs no plotting library. A command's module offers `add_arguments(parser)` and `run(args) -> int`.

Exit status: what the command returns; 2 where the command line is wrong or an extra is not installed; 130
after Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from typedfilter._values.text import meant


@dataclasses.dataclass(frozen=True)
class Command:
    """One subcommand: where it lives, and the extra that brings the packages it needs beyond the core's."""

    module: str
    help: str
    extra: str = ""
    needs: frozenset[str] = frozenset()


COMMANDS = {
    "demo": Command(
        "typedfilter.demo.command",
        "train an annotated classifier on handwritten digits, and show what the annotations decided",
        extra="demo",
        needs=frozenset({"matplotlib", "optax", "rich", "sklearn"}),
    ),
    "check": Command(
        "typedfilter.check.command",
        "prove the shapes of annotated functions, before anything runs",
    ),
    "shapes": Command(
        "typedfilter.check.shapes_command",
        "print the source of annotated functions with the shapes of their locals beside each line",
    ),
    "lsp": Command(
        "typedfilter.check.lsp_command",
        "serve an editor over stdin and stdout: mistakes of shapes as diagnostics, shapes as inlay hints",
    ),
    "explain": Command(
        "typedfilter.explain.command",
        "print what happens to each parameter of a function under its transforms, and why",
    ),
    "docs": Command("typedfilter.docs.command", "show a page of the guide, or what a public name is"),
    "bench": Command(
        "typedfilter.bench.command",
        "measure what typedfilter costs, side by side with jax.jit, jax.vmap, jax.grad and Equinox",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `typedfilter` with `argv` (by default the process's own arguments) and return its exit status.

    Raises:
        SystemExit: as argparse does: status 2 for a command line it can't read, 0 after `--help`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = COMMANDS.get(words[0]) if words else None
    try:
        args = _parsed(chosen, words)
        status: int = importlib.import_module(args.module).run(args)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if chosen is None or missing not in chosen.needs:
            raise
        print(f"typedfilter: `{words[0]}` needs {missing}, which is not installed", file=sys.stderr)
        print(f"  fix: pip install 'typedfilter[{chosen.extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"typedfilter {words[0]}: interrupted" if words else "interrupted", file=sys.stderr)
        return 130  # as a shell says of what a signal has ended
    except BrokenPipeError:  # `typedfilter ... | head` is nobody's mistake
        sys.stderr.close()
        return 1
    return status


def _parsed(chosen: Command | None, words: list[str]) -> argparse.Namespace:
    """What the command line says; for a slip in a command or an option, what was meant."""
    parser = _parser(*(() if chosen is None else (chosen,)))
    slip = meant(words[0], [*COMMANDS]) if words and words[0] not in COMMANDS else ""
    if slip:
        parser.error(f"there is no command {words[0]!r}; {slip}")
    args, unknown = parser.parse_known_args(words)
    if unknown:
        options = re.findall(r"--[a-z-]+", args.parser.format_help())
        slip = meant(unknown[0].partition("=")[0], options)
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}{'; ' * bool(slip)}{slip}")
    return args


def _parser(*chosen: Command) -> argparse.ArgumentParser:
    """The whole parser; only chosen commands have their own arguments, since these need their modules."""
    parser = argparse.ArgumentParser(
        prog="typedfilter", description="Typed, annotation-driven JAX transforms.", allow_abbrev=False
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show which version is installed, and exit"
    )
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help="print a script that completes commands and options in this shell, and exit",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name, help=command.help, description=_sentence(command.help), allow_abbrev=False
        )
        subparser.set_defaults(module=command.module, parser=subparser)
        if command in chosen:
            importlib.import_module(command.module).add_arguments(subparser)
    return parser


class _Completion(argparse.Action):
    """Has shtab write a script from the parser of every command."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, shell: Any, *_: object) -> None:
        try:
            import shtab
        except ModuleNotFoundError:
            parser.exit(
                2,
                "typedfilter: --print-completion needs shtab, which is not installed\n"
                "  fix: pip install 'typedfilter[completion]'\n",
            )
        print(shtab.complete(_parser(*COMMANDS.values()), shell=shell))
        parser.exit()


class _Version(argparse.Action):
    """Looks the version up when it is asked for, and not for every other command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        try:
            version = metadata.version("typedfilter")
        except metadata.PackageNotFoundError:  # a folder with the source on the path
            version = "is not installed: nothing tells its version"
        print(f"typedfilter {version}")
        parser.exit()


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
