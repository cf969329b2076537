"""The shapes of a function's locals, line by line: one trace of it, watched by a trace function of Python's.

Knows frames, and which names a statement binds; knows nothing of verdicts or of how lines are shown. A line
is that on which its statement begins. Functions that are defined inside are watched as well: the body of a
scan is part of the source.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import sys
from collections.abc import Generator, Iterator
from types import CodeType, FrameType
from typing import Any

import jax
import numpy as np

from typedfilter._reading.dims import Bindings
from typedfilter._reading.kinds import Kind, kind_of
from typedfilter._values.code import codes_of
from typedfilter._values.nodes import one_level
from typedfilter._values.text import steps, subscript
from typedfilter.check.inputs import types
from typedfilter.check.trials import compare

_MOST_LEAVES = 4  # of one local
_DEEPEST = 6
_ARRAYS = (jax.Array, jax.ShapeDtypeStruct, np.ndarray)

Shapes = dict[int, dict[str, list[str]]]
"""By line and by name (`params["w"]`): the texts, in the order in which they were first seen."""


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A local that is not what its annotation says."""

    annotation: ast.expr
    name: str
    expected: str
    found: str
    why: str

    @property
    def line(self) -> int:
        """That of its annotation."""
        return self.annotation.lineno

    @property
    def message(self) -> str:
        """What is wrong, in a sentence."""
        why = f": {self.why}" if self.why else ""
        return f"`{self.name}` is not what is annotated{why}"


class Statements:
    """Where each statement of a function begins, what it binds, and which annotations stand there."""

    def __init__(self, node: ast.AST) -> None:
        self.first: dict[int, int] = {}
        self.bound: dict[int, set[str]] = {}
        self.annotated: dict[int, ast.AnnAssign] = {}
        self.handed: dict[int, str] = {}  # how a line hands something to the caller
        self.globals: set[str] = set()
        self.parameters: dict[tuple[str, int], int] = {}
        for one in ast.walk(node):
            if isinstance(one, ast.stmt):
                self._add(one)
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([one.lineno, *(d.lineno for d in one.decorator_list)])
                for argument in ast.walk(one.args):
                    if isinstance(argument, ast.arg):
                        self.parameters[argument.arg, first] = argument.lineno

    def _add(self, statement: ast.stmt) -> None:
        body: list[ast.stmt] = getattr(statement, "body", [])
        end = statement.end_lineno or statement.lineno
        last = max(body[0].lineno - 1, statement.lineno) if body else end
        for line in range(statement.lineno, last + 1):
            self.first[line] = statement.lineno
        names = self.bound.setdefault(statement.lineno, set())
        names.update(_bound_by(statement))
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            self.annotated[statement.lineno] = statement
        if isinstance(statement, ast.Global):
            self.globals.update(statement.names)
        if isinstance(statement, ast.Return):
            self.handed[statement.lineno] = "return"
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield):
            self.handed[statement.lineno] = "yield"


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement itself binds, without those in its body."""
    for field, value in ast.iter_fields(statement):
        if field in ("body", "orelse", "finalbody", "handlers", "cases", "decorator_list"):
            continue
        for part in value if isinstance(value, list) else [value]:
            for node in ast.walk(part) if isinstance(part, ast.AST) else ():
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id


_RESUMED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


@dataclasses.dataclass
class _Frame:
    """What is known of a call that is under way."""

    line: int
    bindings: Bindings | None
    entries: dict[str, dict[str, str]]
    raised: bool = False


@dataclasses.dataclass
class Recorder:
    """What a trace function saw."""

    code: CodeType  # of the function under test
    statements: Statements  # of its source
    shapes: Shapes = dataclasses.field(default_factory=Shapes)  # of the locals, by line
    # the annotated locals that are something else
    wrong: list[Wrong] = dataclasses.field(default_factory=list[Wrong])
    _open: dict[FrameType, _Frame] = dataclasses.field(default_factory=dict[FrameType, _Frame])
    _bindings: Bindings | None = None

    def line_of(self, error: BaseException) -> int:
        """The statement of the function at which an exception was raised; 0 where it was somewhere else."""
        own, line, tb = set(codes_of(self.code)), 0, error.__traceback__
        while tb is not None:
            line = tb.tb_lineno if tb.tb_frame.f_code in own else line
            tb = tb.tb_next
        return self.statements.first.get(line, line)

    @contextlib.contextmanager
    def watching(self, bindings: Bindings) -> Generator[None]:
        """Record what runs inside; the trace function that was there before comes back."""
        own = {code for code in codes_of(self.code) if not code.co_name.startswith("<")}
        self._bindings = dataclasses.replace(bindings, returned=True)

        def begin(frame: FrameType, event: str, arg: object) -> Any:
            if frame.f_code not in own:
                return None
            self._begin(frame)
            return self._follow

        before = sys.gettrace()
        sys.settrace(begin)
        try:
            yield
        finally:
            sys.settrace(before)
            self._open.clear()
            self._bindings = None

    def _begin(self, frame: FrameType) -> None:
        code = frame.f_code
        if frame in self._open:  # a generator or coroutine goes on
            self._open[frame].line = self.statements.first.get(frame.f_lineno, frame.f_lineno)
            return
        bindings = None
        if code is self.code:  # the names of annotations are those of the first call alone
            bindings, self._bindings = self._bindings, None
        entries = _entries(frame)
        self._open[frame] = _Frame(code.co_firstlineno, bindings, entries)
        for name, leaves in entries.items():
            line = self.statements.parameters.get((name, code.co_firstlineno))
            if line is not None:
                self._note(line, leaves)

    def _follow(self, frame: FrameType, event: str, arg: Any) -> Any:
        known = self._open.get(frame)
        if known is None:
            return None
        if event == "exception":
            awaited = frame.f_code.co_flags & _RESUMED and issubclass(arg[0], StopIteration)
            known.raised = not awaited  # so ends what a coroutine has waited for
        elif event == "line":
            self._done(frame, known)
            known.raised = False
            known.line = self.statements.first.get(frame.f_lineno, frame.f_lineno)
        elif event == "return":
            self._done(frame, known)
            if not known.raised and known.line in self.statements.handed:
                self._note(known.line, dict(_leaves(self.statements.handed[known.line], arg)))
            if not frame.f_code.co_flags & _RESUMED:
                del self._open[frame]
        return self._follow

    def _done(self, frame: FrameType, known: _Frame) -> None:
        """Note what the statement bound that has just run, and what it changed."""
        before, known.entries = known.entries, _entries(frame)
        if known.raised:
            return
        bound = self.statements.bound.get(known.line, set())
        for name, leaves in known.entries.items():
            if name in bound or before.get(name, {}) != leaves:
                self._note(known.line, leaves)
        for name in bound & self.statements.globals & frame.f_globals.keys():
            self._note(known.line, dict(_leaves(name, frame.f_globals[name])))
        statement = self.statements.annotated.get(known.line)
        if statement is not None and statement.value is not None and known.bindings is not None:
            self._compare(frame, statement, known.bindings)

    def _note(self, line: int, leaves: dict[str, str]) -> None:
        for name, text in leaves.items():
            texts = self.shapes.setdefault(line, {}).setdefault(name, [])
            if text not in texts:
                texts.append(text)

    def _compare(self, frame: FrameType, statement: ast.AnnAssign, bindings: Bindings) -> None:
        assert isinstance(statement.target, ast.Name)
        name = statement.target.id
        if name not in frame.f_locals:
            return
        kind = _kind(statement, frame)
        if kind is None:
            return
        try:
            compare.check(frame.f_locals[name], kind, bindings)
        except compare.MismatchError as error:
            if any(True for _ in compare._instances(frame.f_locals[name])):
                return  # the names in the fields of an instance are its own
            found = Wrong(statement.annotation, name + error.path, error.expected, error.found, error.why)
            if found not in self.wrong:
                self.wrong.append(found)


def _kind(statement: ast.AnnAssign, frame: FrameType) -> Kind | None:
    """What the annotation of a local says, if it says a shape; Python itself evaluates none."""
    try:
        text = compile(ast.Expression(statement.annotation), frame.f_code.co_filename, "eval")
        hint = eval(text, frame.f_globals, dict(frame.f_locals))
        if isinstance(hint, str):  # quotes are common around what ruff takes for forward references
            hint = eval(hint, frame.f_globals, dict(frame.f_locals))
        kind = kind_of(hint)
        return kind if types.says_shape(kind) else None
    except Exception:  # a name that only type checkers know, or a form that is none of ours
        return None


# ------------------------------------------------------------------------------------------------- texts


def _entries(frame: FrameType) -> dict[str, dict[str, str]]:
    values = list(frame.f_locals.items())
    return {name: dict(_leaves(name, value)) for name, value in values if name != "_"}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The arrays in a value, by their way there: the first few, and how many more there are."""
    found = list(_arrays(value, name, _DEEPEST))
    yield from found[:_MOST_LEAVES]
    if len(found) > _MOST_LEAVES:
        more = len(found) - _MOST_LEAVES
        yield name, f"{more} more array{'' if more == 1 else 's'}"


def _arrays(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, _ARRAYS):
        yield path, compare.describe(value)
        return
    for step, child in _children(value) if depth else ():
        yield from _arrays(child, path + step, depth - 1)


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """What is in a container or a model, each with the step to it; nothing of anything else."""
    if value is None or isinstance(value, (str, bytes, int, float, complex, type)):
        return
    if isinstance(value, dict):
        yield from ((subscript(key), child) for key, child in value.items())
    elif isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        yield from ((f"[{number}]", child) for number, child in enumerate(value))
    elif fields := types.fields_of(kind_of(type(value))):
        yield from (
            (f".{name}", vars(value)[name]) for name in fields if name in getattr(value, "__dict__", ())
        )
    elif not jax.tree_util.all_leaves([value]):
        keys, children, _ = one_level(value)
        yield from zip(map(steps, keys), children, strict=True)
