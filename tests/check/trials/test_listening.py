"""Which lines are told as they run, and which of the user's functions a function may reach."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from typedfilter.check.trials import listening as module
from typedfilter.check.trials.listening import listening, reached_from


def asked(n: int) -> int:
    if n > 1:
        return n
    return -n


def calls_asked(n: int) -> int:
    return asked(n) + 1


def lines_told(codes: list[CodeType], n: int) -> list[tuple[str, int]]:
    told: list[tuple[str, int]] = []

    def tell(frame: FrameType, line: int) -> None:
        told.append((frame.f_code.co_name, line - frame.f_code.co_firstlineno))
        assert frame.f_locals == {"n": n}

    with listening(codes, tell):
        calls_asked(n)
    asked(n)  # nobody listens any more
    return told


def test_lines_of_the_chosen_code_alone_are_told_before_they_run() -> None:
    assert lines_told([asked.__code__], 2) == [("asked", 1), ("asked", 2)]
    assert lines_told([asked.__code__], 1) == [("asked", 1), ("asked", 3)]
    assert lines_told([], 1) == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python tells lines of chosen code from 3.12 on")
def test_python_itself_tells_lines_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def traced(codes: object, tell: object) -> Any:
        raise AssertionError("each call of JAX's is traced")

    monkeypatch.setattr(module, "_traced", traced)
    for _ in range(10):  # there are six tools, so that each is given back
        assert lines_told([asked.__code__], 2) == [("asked", 1), ("asked", 2)]


def test_lines_are_told_where_all_tools_of_python_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_free_tool", lambda: None)
    before = sys.gettrace()
    assert lines_told([asked.__code__], 2) == [("asked", 1), ("asked", 2)]
    assert sys.gettrace() is before


# ---------------------------------------------------------------------------------------- what is reached


def imported(folder: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> list[ModuleType]:
    monkeypatch.syspath_prepend(folder)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # forgotten afterwards
        del sys.modules[name]
    return [importlib.import_module(name) for name in texts]


ROOT = "def root(x, other):\n    return other.helper(x)\n"
HELPER = "class Other:\n    def helper(self, x):\n        return x\n"


def test_code_is_reached_by_name_in_every_module_though_it_reads_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, one, two = imported(tmp_path, monkeypatch, reaching=ROOT, alike_one=HELPER, alike_two=HELPER)
    helpers = [one.Other.helper.__code__, two.Other.helper.__code__]
    assert helpers[0] == helpers[1]  # their files are another
    found = {id(code) for code in reached_from(root.root)}
    assert found >= {id(root.root.__code__), *map(id, helpers)}


def test_what_a_module_has_by_now_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, late = imported(tmp_path, monkeypatch, reaching_late=ROOT, filled_late="")
    before = reached_from(root.root)
    exec(compile("def helper(x): return x", late.__file__ or "", "exec"), vars(late))
    assert late.helper.__code__ not in before
    assert late.helper.__code__ in reached_from(root.root)


COMPARING = """
class Meta(type):
    def __eq__(cls, other):
        raise RuntimeError

    __hash__ = None

class Odd(metaclass=Meta):
    class Inner(metaclass=Meta):
        def helper(self, x):
            return x
"""


def test_classes_are_looked_into_that_have_no_hash_and_can_not_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, odd = imported(tmp_path, monkeypatch, reaching_odd=ROOT, odd_classes=COMPARING)
    assert odd.Odd.Inner.helper.__code__ in reached_from(root.root)


def test_modules_that_were_looked_through_are_not_again_for_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = imported(tmp_path, monkeypatch, reaching_more=ROOT, helpers=HELPER)
    reached_from(root.root)
    looked: list[str] = []
    read = module._codes_in

    def codes_in(items: Any) -> Any:
        names = dict(items)
        looked.extend(value for name, value in names.items() if name == "__name__")
        return read(names.items())

    monkeypatch.setattr(module, "_codes_in", codes_in)
    (more,) = imported(tmp_path, monkeypatch, one_more=ROOT.replace("root", "root_of_more"))
    assert other.Other.helper.__code__ in reached_from(more.root_of_more)
    assert looked == ["one_more"]
