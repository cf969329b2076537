"""Targets of the command line in, modules and the functions in them out.

Imports user code as `import` would, never as a program: `__name__` is not `"__main__"`. While a file
is looked at, its folder is on `sys.path`; afterwards everything is as it was, so that two folders may both
have a `model.py`.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import fnmatch
import importlib
import importlib.util
import os
import sys
import traceback
import types
from collections.abc import Generator, Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import jax

from typedfilter.check import buffers, scripts
from typedfilter.check.report.results import Unreadable
from typedfilter.check.trials import judge
from typedfilter.check.trials.subject import Subject, subjects_of

_NOT_MODULES = frozenset({"__main__.py", "setup.py"})
_NOT_FOLDERS = frozenset({"__pycache__", "node_modules", "build", "dist", "site-packages"})


@dataclasses.dataclass
class Source:
    """One file, or one module that has none, and what of it is asked for."""

    target: str  # how it is called in messages
    path: Path | None = None  # the file; None for a module that is found by its name
    module: str = ""  # the dotted name of a module
    only: str = ""  # the qualified name of the one function or class that is asked for
    _own: dict[str, types.ModuleType] = dataclasses.field(default_factory=dict[str, types.ModuleType])
    _flags: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])  # of JAX, that it has set

    def __reduce__(self) -> tuple[object, ...]:
        return Source, (self.target, self.path, self.module, self.only)  # modules stay where they are

    @property
    def key(self) -> tuple[object, str]:
        """Equal for two targets that mean the same."""
        return self.path or self.module, self.only

    @property
    def own(self) -> dict[str, types.ModuleType]:
        """The modules that only files of the same folder or package mean by their names."""
        return self._own

    def subjects(self) -> list[Subject] | Unreadable:
        """The functions to judge, in the order of their lines; or why there are none to be had."""
        tree = None if self.path is None else scripts.tree_of(self.path)
        if tree is not None and not self.only and not scripts.has_annotations(tree):
            return []  # nothing of it is run
        try:
            with self.active():
                module = self._imported(tree)
                found = [s for s in subjects_of(module) if self._is_asked_for(s.name) and _is_to_be_judged(s)]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever user code does when it is imported, sys.exit() included
            line = 0 if self.path is None else _line_in(self.path, error)
            return Unreadable(self.target, f"can't be imported: {_said(error)}", _own_traceback(error), line)
        if self.only and not found:
            return Unreadable(self.target, f"there is no annotated function `{self.only}` in it")
        return sorted(found, key=lambda subject: (subject.line, subject.name))

    def _is_script(self, tree: ast.Module) -> bool:
        assert self.path is not None
        return self.path.suffix == scripts.NOTEBOOK or scripts.is_script(tree)

    def _is_asked_for(self, name: str) -> bool:
        return not self.only or name == self.only or name.startswith(f"{self.only}.")

    @contextlib.contextmanager
    def active(self) -> Generator[None]:
        """With the file's folder on `sys.path`, and what it imported from there in `sys.modules`."""
        before, modules, folder = list(sys.path), dict(sys.modules), Path.cwd()
        flags = _set_flags(self._flags)
        # A parser in the file reads no words of ours.
        words, sys.argv = sys.argv, [str(self.path or self.module)]
        sys.path[:0] = [folder for folder in self._search() if folder not in sys.path]
        sys.modules.update(self._own)
        try:
            yield
        finally:
            self._flags |= {name: jax.config.values[name] for name in _changed_flags(flags)}
            _set_flags({name: flags[name] for name in _changed_flags(flags)})
            sys.path[:] = before
            sys.argv = words
            os.chdir(folder)
            self._own.update(
                (name, module)
                for name, module in sys.modules.items()
                if name not in modules and self._own.get(name) is not module and self._is_own(name, module)
            )
            for name in self._own:
                if name in modules:
                    sys.modules[name] = modules[name]
                else:
                    sys.modules.pop(name, None)

    def _search(self) -> list[str]:
        folder = [] if self.path is None else [str(_package_root(self.path))]
        return [*folder, str(Path.cwd())]

    def _is_own(self, name: str, module: types.ModuleType) -> bool:
        """Whether only files of the same folder, or of the same package, can mean a module by this name."""
        file = getattr(module, "__file__", None)
        if file is None:  # a folder without an `__init__.py`, of which its parent knows where it is
            file = next(iter(getattr(module, "__path__", ())), None)
        if self.path is None or file is None:
            return False
        root = _package_root(self.path)
        if root == self.path.parent:  # it is in no package
            return Path(file).resolve().parent == root
        package = self.path.relative_to(root).parts[0]
        return name.partition(".")[0] == package and Path(file).resolve().is_relative_to(root / package)

    def _imported(self, tree: ast.Module | None) -> types.ModuleType:
        if self.path is None:
            return importlib.import_module(self.module)
        if tree is None and self.path.suffix == scripts.NOTEBOOK:
            raise ImportError("it is no notebook")
        if tree is not None and not _is_in_package(self.path) and self._is_script(tree):
            return scripts.module_of(f"_typedfilter_{self.path.stem}", self.path, tree)
        root = _package_root(self.path)
        parts = list(self.path.relative_to(root).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            if _leads_to(name, self.path):
                return importlib.import_module(name)
            return _from_file(f"_typedfilter_{self.path.stem}", self.path)
        except ImportError as error:
            if "relative import" not in str(error):
                raise
            return _from_namespace(self.path)


def _set_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Set flags of JAX, and say what all were before."""
    before = dict(jax.config.values)
    for name, value in flags.items():
        jax.config.update(name, value)
    return before


def _changed_flags(before: Mapping[str, Any]) -> list[str]:
    return [name for name, value in jax.config.values.items() if before.get(name, value) is not value]


def _is_to_be_judged(subject: Subject) -> bool:
    try:
        return judge.is_annotated(subject)
    except Exception:  # the verdict says what is wrong with it; the rest of the file is judged
        return True


def _is_in_package(path: Path) -> bool:
    return _package_root(path) != path.parent


def _package_root(path: Path) -> Path:
    """The folder from which a file is imported: the one that holds its outermost package."""
    folder = path.parent
    while (folder / "__init__.py").exists() and folder.parent != folder:
        folder = folder.parent
    return folder


def _leads_to(name: str, path: Path) -> bool:
    """Whether `import name` would import this file, and not another of the same name."""
    if not all(part.isidentifier() for part in name.split(".")):
        return False
    loaded = sys.modules.get(name)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        file = spec.origin if spec is not None else None
    return file is not None and Path(file).resolve() == path


def _from_file(name: str, path: Path) -> types.ModuleType:
    spec = buffers.with_text(importlib.util.spec_from_file_location(name, path))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _from_namespace(path: Path) -> types.ModuleType:
    """A file that imports its neighbours as a package would, in a folder without an `__init__.py`."""
    sys.path.insert(0, str(path.parent.parent))
    return importlib.import_module(f"{path.parent.name}.{path.stem}")


def _said(error: BaseException) -> str:
    try:
        text = str(error).strip().splitlines()
    except BaseException:  # an error of a user's class: its text is code, too
        text = []
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _line_in(path: Path, error: BaseException) -> int:
    """The line of a file that an error comes from; 0 where it comes from elsewhere."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == str(path)), 0)


def _own_traceback(error: BaseException) -> str:
    """The traceback without the frames of this module and of the import system."""
    lines = traceback.TracebackException.from_exception(error)
    ours = (__file__, scripts.__file__)
    kept = [f for f in lines.stack if f.filename not in ours and "importlib" not in f.filename]
    lines.stack = traceback.StackSummary.from_list(kept)
    return "".join(lines.format()).rstrip()


# ------------------------------------------------------------------------------------------------ targets


def sources_of(targets: Iterable[str], exclude: Iterable[str] = ()) -> Iterator[Source | Unreadable]:
    """What the targets (files, folders, dotted names, any with `::function`) name; each file once."""
    patterns = tuple(exclude)
    seen: set[tuple[object, str]] = set()
    packages: dict[Path, Source] = {}
    for target in targets:
        for source in _sources(target, patterns):
            if isinstance(source, Unreadable):
                yield source
            elif source.key not in seen:
                seen.add(source.key)
                yield of_package(source, packages)


def of_package(source: Source, packages: dict[Path, Source]) -> Source:
    """The source, with the modules and the flags of its package that were there for others."""
    if source.path is not None and _is_in_package(source.path):
        first = packages.setdefault(_package_root(source.path), source)
        source._own, source._flags = first._own, first._flags
    return source


def _sources(target: str, exclude: tuple[str, ...]) -> Iterator[Source | Unreadable]:
    name, _, only = (target, "", "") if Path(target).exists() else target.partition("::")
    only = only.replace("::", ".")
    path = Path(name)
    if path.is_dir():
        every = list(_files_in(path))
        files = [file for file in every if not is_excluded(file, exclude)]
        if not files:
            which = (
                "all Python files in this folder are excluded"
                if every
                else "there is no Python file in this folder"
            )
            yield Unreadable(target, which)
        for file in files:
            yield Source(_shown(file), file.resolve())
    elif path.is_file():
        yield Source(target, path.resolve(), only=only)
    elif path.suffix == ".py" or len(path.parts) > 1:
        yield Unreadable(target, "there is no such file or folder")
    else:
        yield from _by_name(target, name, only, exclude)


def _files_in(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            hidden = entry.name.startswith(".") or (entry / "pyvenv.cfg").exists()
            if not hidden and entry.name not in _NOT_FOLDERS:
                yield from _files_in(entry)
        elif entry.suffix == ".py" and entry.name not in _NOT_MODULES:
            yield entry


def is_excluded(file: Path, patterns: tuple[str, ...]) -> bool:
    """By the path as it is shown, or the whole one: settings say their patterns so."""
    both = [variant for p in patterns for variant in (p, f"{p.rstrip('/')}/*")]
    return any(fnmatch.fnmatch(path, p) for path in (_shown(file), str(file.resolve())) for p in both)


def unmatched(targets: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The patterns that leave no file out of the folders among the targets; of packages nobody knows yet."""
    paths = [Path(target) for target in targets]
    if not all(path.exists() for path in paths if "::" not in path.name):
        return []
    files = [file for path in paths if path.is_dir() for file in _files_in(path)]
    return [one for one in patterns if not any(is_excluded(file, (one,)) for file in files)]


def _shown(file: Path) -> str:
    resolved = file.resolve()
    return (
        resolved.relative_to(Path.cwd()).as_posix() if resolved.is_relative_to(Path.cwd()) else str(resolved)
    )


def _by_name(target: str, name: str, only: str, exclude: tuple[str, ...]) -> Iterator[Source | Unreadable]:
    """A module or package by its dotted name; the rest of the name may be a function in it."""
    with Source(target).active():
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            module = ".".join(parts[:count])
            try:
                spec = _spec(module)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a package above it is imported on the way
                yield Unreadable(target, f"can't be imported: {_said(error)}", _own_traceback(error))
                return
            if spec is None:
                continue
            inner = ".".join(part for part in (*parts[count:], only) if part)
            if spec.submodule_search_locations and not inner:
                for folder in spec.submodule_search_locations:
                    yield from _sources(folder, exclude)
            elif spec.origin and Path(spec.origin).suffix == ".py":
                yield Source(target, Path(spec.origin).resolve(), only=inner)
            else:
                yield Source(target, module=module, only=inner)
            return
    yield Unreadable(target, "there is no such file, folder or module")


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a parent is missing, or is no package
        return None
