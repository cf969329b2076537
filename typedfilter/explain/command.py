"""`typedfilter explain TARGET`: finds a function by its name on the command line and prints its table.

Knows how a target is spelled and how to import it; knows nothing of plans: the table is `explain`'s.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Generator
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, cast

from typedfilter._values.code import is_ours

_EPILOG = """\
examples:
  typedfilter explain mypackage.training:train_step
  typedfilter explain mypackage.models:MLP.__call__
  typedfilter explain scripts/train.py::train_step
"""


class TargetError(Exception):
    """A target that names nothing; the text says which part of it, and what there is instead."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="module:function or path/to/file.py::function; a dotted name reaches into classes",
    )


def run(args: argparse.Namespace) -> int:
    """Print `explain` of the target; 2 if there is no such target, or annotations contradict each other."""
    from typedfilter import TypedFilterError, explain

    try:
        target = load_target(args.target)
        with _asking(args.target):
            explained = str(explain(target))
    except (TargetError, TypedFilterError) as error:
        print(f"typedfilter explain: {error}", file=sys.stderr)
        return 2
    print(explained)
    return 0


def load_target(text: str) -> Any:
    """The object that `text` names: `module:name` or `file.py::name`, where the name may be dotted.

    Raises:
        TargetError: no such file, module or name, or the module raises while it is imported.
    """
    where, separator, name = text.partition("::") if "::" in text else text.partition(":")
    if not (where and separator and name):
        raise TargetError(f"{text!r} is not a target: write module:function or path/to/file.py::function")
    module = _import_file(Path(where)) if where.endswith(".py") else _import_module(where)
    found: Any = module
    for part in name.split("."):
        with _asking(text):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise TargetError(f"{where} has no {name!r}{_nearest(part, found)}") from None
    if not callable(found):
        raise TargetError(f"{name!r} of {where} is not callable: it is of type {type(found).__name__}")
    return found


@contextlib.contextmanager
def _asking(target: str) -> Generator[None]:
    """Objects of the user run code of theirs when they are asked for an attribute: say what that raised."""
    try:
        yield
    except Exception as error:
        raised_at = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
        if isinstance(error, TargetError) or is_ours(raised_at):
            raise
        raise TargetError(f"{target} can't be looked at: {type(error).__name__}: {error}") from None


def _nearest(name: str, owner: object) -> str:
    match = difflib.get_close_matches(name, dir(owner), n=1)
    return f": did you mean {match[0]!r}?" if match else ""


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TargetError(f"there is no file {path}")
    # As `python file.py` would: its neighbours are importable; its main guard does not run.
    sys.path.insert(0, str(path.resolve().parent))
    name = path.stem if path.stem not in sys.modules else f"_typedfilter_{path.stem}"
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    module = importlib.util.module_from_spec(cast(ModuleSpec, spec))  # None only without a loader
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _broken(str(path), error) from None
    return module


def _import_module(name: str) -> ModuleType:
    sys.path.insert(0, "")  # as `python -m` would: what lies in the current folder is importable
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise TargetError(f"there is no module {missing!r}") from None
        raise _broken(name, error) from None


def _broken(where: str, error: BaseException) -> TargetError:
    text = "".join(traceback.format_exception(error.with_traceback(_user_frames(error)))).rstrip()
    return TargetError(f"{where} can't be imported\n{text}")


def _user_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame of the user's own: this module and the importer come before it."""
    frame = error.__traceback__
    while frame is not None and _is_machinery(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return frame


def _is_machinery(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename in (__file__, importlib.__file__)
