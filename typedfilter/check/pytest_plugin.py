"""The pytest plugin: `pytest --typedfilter-check PATH` makes each annotated function an item.

The option is in the package `typedfilter_pytest`, which brings this module in where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from typedfilter.check.find import Source
    from typedfilter.check.report.results import Result, Unreadable
    from typedfilter.check.settings import Settings
    from typedfilter.check.trials.subject import Subject


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose among the items
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add an item for each function."""
    targets: Any = config.getoption("--typedfilter-check")
    if targets:
        items.extend(_items(session, targets, config.invocation_params.dir))


def _items(session: pytest.Session, targets: list[str], folder: Path) -> Iterator[pytest.Item]:
    from typedfilter.check import find
    from typedfilter.check import settings as _settings
    from typedfilter.check.report.results import Unreadable

    try:
        settings = _settings.read(folder)
    except _settings.SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    found = 0
    for source in find.sources_of(targets, settings.exclude):
        subjects = source if isinstance(source, Unreadable) else source.subjects()
        path = None if isinstance(source, Unreadable) else source.path
        parent: Any = _Shapes.from_parent(session, path=path) if path else session
        if isinstance(subjects, Unreadable):
            found += 1
            yield _NotRead.from_parent(parent, name=subjects.target, problem=subjects)
            continue
        for subject in subjects:
            found += 1
            yield _Function.from_parent(
                parent, name=subject.name, source=source, subject=subject, settings=settings
            )
    if not found:
        from typedfilter.check.report.results import Unreadable as Nothing

        problem = Nothing(", ".join(targets), "no annotated function found: nothing was checked")
        yield _NotRead.from_parent(session, name=problem.target, problem=problem)


class _FailureError(Exception):
    """Carries the text of a verdict to the report."""


class _Shapes(pytest.File):
    """A file under check; its items are made elsewhere."""

    def collect(self) -> Iterator[pytest.Item]:
        return iter(())


class _Shown(pytest.Item):
    """An item whose failures are text already."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, _FailureError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class _Function(_Shown):
    """The proof of one function's shapes."""

    def __init__(self, *, source: Source, subject: Subject, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.subject = subject
        self.settings = settings

    def runtest(self) -> None:
        from typedfilter.check.report import text
        from typedfilter.check.run import is_unjudged, judged

        with self.source.active():
            result: Result = judged(self.subject, self.settings.ignore, axes=self.settings.mesh)
        strictly = self.settings.strict and is_unjudged(result)
        if result.status == "skipped" and not strictly:
            pytest.skip(f"{result.message}{f'; {result.fix}' if result.fix else ''}")
        if result.status == "failed" or strictly:
            raise _FailureError(text.plain(text.result_lines(result)))

    def reportinfo(self) -> tuple[Path, int, str]:
        return Path(self.subject.file), self.subject.line - 1, f"shapes of {self.subject.name}"


class _NotRead(_Shown):
    """A file in which nothing could be judged: a failure, never a success."""

    def __init__(self, *, problem: Unreadable, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problem = problem

    def runtest(self) -> None:
        raise _FailureError(
            f"{self.problem.target}: {self.problem.message}\n{self.problem.traceback}".rstrip()
        )
