"""Settings of the check: `[tool.typedfilter]` in `pyproject.toml`."""

from __future__ import annotations

import dataclasses
import glob
import tomllib
from pathlib import Path
from typing import Any

from typedfilter._values.text import meant


class SettingsError(Exception):
    """`[tool.typedfilter]` says something that is not understood."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `[tool.typedfilter]` can say.

    Attributes:
        paths: what to check when the command line names nothing; relative to the file.
        exclude: patterns of files to leave out of folders; relative to the file, made absolute here.
        ignore: patterns of function names that are not judged.
        strict: whether a skipped function is a failure, and one that is good only beyond its annotations.
        examples: modules with `@example_of(...)`, by their dotted names.
        judged: the least share of functions that must be judged, from 0 to 1.
        keys: whether a random key that is used twice is a mistake.
        mesh: the axes of the mesh, with their sizes, that functions are traced under where they need one.
    """

    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    strict: bool = False
    examples: tuple[str, ...] = ()
    judged: float = 0.0
    keys: bool = True
    mesh: tuple[tuple[str, int], ...] = ()


def read(start: Path) -> Settings:
    """The settings of the nearest `pyproject.toml` at or above a folder.

    Raises:
        SettingsError: the file can't be read, or has a key or a value that is not understood.
    """
    file = folder_of(start) / _FILE
    return _parsed(file) if file.is_file() else Settings()


_FILE = "pyproject.toml"


def folder_of(start: Path) -> Path:
    """The nearest folder at or above one that has a `pyproject.toml`; that one itself where none has."""
    return next((folder for folder in (start, *start.parents) if (folder / _FILE).is_file()), start)


def _table(file: Path) -> dict[str, Any]:
    try:
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"{file}: its values are nested too deep to be read") from error
    table = tool.get("typedfilter", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise SettingsError(f"{file}: [tool.typedfilter] is {table!r}, not a table of settings")
    return table


def _parsed(file: Path) -> Settings:
    table: dict[str, Any] = _table(file)
    known = {field.name for field in dataclasses.fields(Settings)}
    for key, value in table.items():
        if key not in known:
            slip = meant(key, sorted(known)) or f"it has {', '.join(sorted(known))}"
            raise SettingsError(f"{file}: [tool.typedfilter] has no setting `{key}`; {slip}")
        if not _is_right(key, value):
            raise SettingsError(
                f"{file}: `{key}` of [tool.typedfilter] is {value!r}, not {_KINDS[_kind(key)]}"
            )
    if isinstance(table.get("examples"), str):
        table = {**table, "examples": [table["examples"]]}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    if "paths" in values:
        values["paths"] = tuple(_from(file.parent, path) for path in values["paths"])
    values["mesh"] = tuple(values.get("mesh", {}).items())
    folder = glob.escape(str(file.parent.resolve()))
    values["exclude"] = tuple(f"{folder}/{pattern}" for pattern in values.get("exclude", ()))
    return Settings(**values)


_KINDS = {
    "flag": "true or false",
    "share": "a number from 0 to 1",
    "names": "the name of a module, or a list of them",
    "list": "a list of strings",
    "mesh": "a table of sizes by the names of axes, such as {data = 4, model = 2}",
}


def _kind(key: str) -> str:
    flags = {"strict": "flag", "keys": "flag"}
    return (flags | {"judged": "share", "examples": "names", "mesh": "mesh"}).get(key, "list")


def _is_right(key: str, value: Any) -> bool:
    kind = _kind(key)
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "mesh":
        return isinstance(value, dict) and all(map(_is_size, value.values()))
    if kind == "share":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
    if kind == "names" and isinstance(value, str):
        return True
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1


def mesh_of(text: str) -> tuple[tuple[str, int], ...]:
    """The axes of a mesh, of a text such as `data=4,model=2`.

    Raises:
        SettingsError: it is another text.
    """
    pairs = [tuple(map(str.strip, part.split("="))) for part in text.split(",")]
    sizes = {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0] and pair[1].isdecimal()}
    if len(sizes) != len(pairs) or not all(map(int, sizes.values())):
        raise SettingsError(f"--mesh {text!r} is not what a mesh looks like: --mesh data=4,model=2")
    return tuple((name, int(size)) for name, size in sizes.items())


def _from(folder: Path, path: str) -> str:
    name, separator, only = path.partition("::")
    return f"{folder / name}{separator}{only}" if (folder / name).exists() else path
