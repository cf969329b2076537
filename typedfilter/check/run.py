"""A run over targets: every function of every file judged, one after the other.

What the command and the pytest plugin share. User code prints what it likes while it is imported
and traced: that goes to stderr, so that stdout holds the report alone.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import sys
from collections.abc import Callable, Iterable

from typedfilter.check import find
from typedfilter.check.report.report import Report
from typedfilter.check.report.results import Result, Unreadable
from typedfilter.check.trials.judge import IGNORED, judge
from typedfilter.check.trials.meshes import Axes
from typedfilter.check.trials.subject import Subject

Advance = Callable[[float, str], None]
"""Called with the fraction that is done, and the name of what comes next."""


def run(
    targets: Iterable[str],
    exclude: Iterable[str] = (),
    ignore: Iterable[str] = (),
    advance: Advance = lambda fraction, name: None,
    keys: bool = True,
    axes: Axes = (),
) -> Report:
    """Judge everything in `targets`.

    Args:
        targets: files, folders, dotted names, any of them with `::function`.
        exclude: patterns of files to leave out of folders.
        ignore: patterns of functions that are listed as skipped.
        advance: told of the progress.
        keys: whether a random key that is used twice is a mistake.
        axes: those of the mesh that functions are traced under where they need one.
    """
    results: list[Result] = []
    unreadable: list[Unreadable] = []
    with contextlib.redirect_stdout(sys.stderr):
        sources = list(find.sources_of(targets, exclude))  # imports packages on the way
        for number, source in enumerate(sources):
            if isinstance(source, Unreadable):
                unreadable.append(source)
                continue
            advance(number / len(sources), source.target)
            subjects = source.subjects()
            if isinstance(subjects, Unreadable):
                unreadable.append(subjects)
                continue
            for index, subject in enumerate(subjects):
                advance((number + index / len(subjects)) / len(sources), subject.name)
                with source.active():
                    results.append(judged(subject, ignore, keys, axes))
    return Report(tuple(results), tuple(unreadable))


def examples_from(modules: Iterable[str]) -> None:
    """Import the modules that say with `example_of` how instances of classes are made.

    Raises:
        Exception: whatever importing one raises.
    """
    names = tuple(modules)
    if not names:
        return
    with find.Source("the examples").active(), contextlib.redirect_stdout(sys.stderr):
        for name in names:
            importlib.import_module(name)


def is_unjudged(result: Result) -> bool:
    """What `strict` is about: skipped unasked, good with a guess only, or annotated with too much."""
    return (
        result.by_letter
        or result.guessed
        or (result.status == "skipped" and not result.message.startswith(IGNORED))
    )


def judged(subject: Subject, ignore: Iterable[str], keys: bool = True, axes: Axes = ()) -> Result:
    """The verdict on one function, unless the settings say to ignore it."""
    ignored = ignored_by(subject, ignore)
    if ignored is not None:
        return ignored
    try:
        return judge(subject, keys, axes)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a mistake in here must not hide the other verdicts, nor sys.exit()
        return unfinished(subject, error)


def ignored_by(subject: Subject, ignore: Iterable[str]) -> Result | None:
    """That a function is not judged since a pattern says so; None where none does."""
    pattern = next((p for p in ignore if fnmatch.fnmatch(subject.name, p)), None)
    if pattern is None:
        return None
    text = f"{IGNORED}: it matches {pattern!r}"
    return Result(subject.name, subject.file, subject.line, "skipped", text)


def unfinished(subject: Subject, error: BaseException) -> Result:
    """That the check made a mistake of its own."""
    text = f"the check itself failed: {type(error).__name__}: {error}"
    return Result(subject.name, subject.file, subject.line, "skipped", text, fix="please report it")
