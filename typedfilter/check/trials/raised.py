"""What went wrong in a trial: an exception in, the facts of a verdict out.

Knows tracebacks, and whose code a frame is; knows nothing of how trials are made.
"""

from __future__ import annotations

import ast
import functools
import linecache
import re
import traceback
from collections.abc import Iterator
from types import FunctionType, TracebackType
from typing import NamedTuple

import jax
from jax import export

from typedfilter._compat import ITERATES_SYMBOL, UNBOUND_AXIS, says_needs_mesh
from typedfilter._shapes.construction import WrongModelError
from typedfilter._values.code import JAX_FILES, is_installed
from typedfilter.check.report.results import Frame
from typedfilter.check.trials.compare import MismatchError, StubError
from typedfilter.check.trials.problem import (
    Cause,
    Due,
    Lacks,
    Mismatch,
    NeedsModule,
    Problem,
    Raised,
    Unbound,
    WrongResult,
)
from typedfilter.errors import TypedFilterError

_SYMBOL = type(export.symbolic_shape("n")[0]).__name__
VALUES_NEEDED = (  # what JAX raises where the value of a tracer is asked for
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
# What a container that is shorter, or other, than the function thinks answers with.
_STRUCTURAL = (LookupError, AttributeError, TypeError, ValueError)
_MOST_LINES = 6
_TRACER = re.compile(r"('?)\b\w*Tracer\b\1")  # what JAX calls an array while it traces is nobody's type


def problem_of(error: BaseException, root: FunctionType) -> Problem:
    """The facts of an exception that a trial of the function `root` raised."""
    file = root.__code__.co_filename
    if isinstance(error, MismatchError):
        where = f"`{error.path}` of the return value" if error.path else "the return value"
        why = f": {error.why}" if error.why else ""
        message = f"{where} is not what is annotated{why}"
        return WrongResult(message, expected=error.expected, found=error.found, instead=error.cls)
    place = _place(error, file)
    if isinstance(error, WrongModelError):
        error = error.error
    users = place.users
    frame = None if users is None else Frame(users.filename, users.lineno or 0, users.name)
    needs_mesh = _needs_mesh(error, users)
    if isinstance(error, TypedFilterError) and error.parameter and error.expected and not needs_mesh:
        return _checked_inside(error, frame, root)
    raised_there = users if place.raised_there else None
    statement = None if raised_there is None else _statement_at(raised_there)
    is_jaxs_own = raised_there is None and place.innermost.startswith(JAX_FILES)
    return Raised(
        _text_of(error),
        frame,
        _how(error, statement, is_other=raised_there is None and not is_jaxs_own),
        _plain_causes(error, statement),
        lookup=isinstance(error, (LookupError, AttributeError, TypeError)),
        cause=Due.MESH if needs_mesh else _cause(error, users, is_jaxs_own),
    )


class _Place(NamedTuple):
    """Where something raised."""

    users: traceback.FrameSummary | None  # the innermost frame of the user's code
    raised_there: bool  # whether no other frame is further inside
    innermost: str  # the file of that


def _place(error: BaseException, file: str) -> _Place:
    """Where something raised: of the many frames of a trace, Python looks up the source of one alone."""
    if isinstance(error, WrongModelError):
        users = [frame for frame in error.frames if is_users(frame.filename, file)]
        return _Place(
            users[-1] if users else None, users[-1:] == error.frames[-1:], error.frames[-1].filename
        )
    links = list(links_of(error.__traceback__))
    innermost = links[-1].tb_frame.f_code.co_filename
    link = next((one for one in reversed(links) if is_users(one.tb_frame.f_code.co_filename, file)), None)
    if link is None:
        return _Place(None, False, innermost)
    alone = TracebackType(None, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return _Place(traceback.extract_tb(alone)[0], link is links[-1], innermost)


def links_of(tb: TracebackType | None) -> Iterator[TracebackType]:
    """The parts of a traceback, the outermost first."""
    while tb is not None:
        yield tb
        tb = tb.tb_next


def passes_users(error: BaseException, file: str) -> bool:
    """Whether an exception comes through the user's own code."""
    return any(is_users(link.tb_frame.f_code.co_filename, file) for link in links_of(error.__traceback__))


def _cause(error: BaseException, users: traceback.FrameSummary | None, is_jaxs_own: bool) -> Cause | None:
    if type(error).__name__ == "InconclusiveDimensionOperation" or any(
        said in str(error) for said in (_SYMBOL, ITERATES_SYMBOL)
    ):
        return Due.SYMBOLS
    match error:
        case _ if isinstance(error, VALUES_NEEDED):
            return Due.VALUE
        case ModuleNotFoundError():
            return NeedsModule(error.name or "another module")
        case NotImplementedError():
            return None if is_jaxs_own else Due.UNFINISHED
        case NameError() if unbound := UNBOUND_AXIS.search(str(error)):
            return Unbound(unbound[1])
        case AttributeError() if error.name:
            return Lacks(type(error.obj), error.name)
        case TypeError() if users is not None:
            called = _statement_at(users)
            return Due.SPREADS if called is not None and _spreads(called) else None
        case _:
            return None


def _needs_mesh(error: BaseException, users: traceback.FrameSummary | None) -> bool:
    """Whether a function fails for no other reason than that there is no mesh, or one of other axes."""
    if isinstance(error, TypedFilterError):
        return "needs a mesh" in error.problem or "is no axis of the mesh" in error.problem
    if says_needs_mesh(error):
        return True
    # What a function that looks at the mesh itself finds in an empty one.
    looks = users is not None and "_mesh()" in (users.line or "")
    return looks and isinstance(error, (LookupError, AttributeError, ValueError))


def _checked_inside(error: TypedFilterError, frame: Frame | None, root: FunctionType) -> Problem:
    """What the check at a body said: of the function under test, or of another one that it calls."""
    expected, found = _without_symbols(error.expected), error.actual
    if error.function != root.__qualname__:
        text = str(error).splitlines()[0]
        return Mismatch(text, frame, expected=expected, found=found)
    if error.parameter == "return":
        # The check's own words say how names were bound at these sizes: the verdict says so itself.
        annotated = ", but " in error.problem
        what = "is not what is annotated" if annotated else error.problem
        place = _PLACE.search(error.problem) if annotated else None
        where = f"{place[1]} of the return value" if place else "the return value"
        return WrongResult(f"{where} {what}", expected=expected, found=found)
    text = str(error).splitlines()[0].removeprefix(f"{error.function}(): ")
    return Mismatch(text, frame, expected=expected, found=found, parameter=error.parameter)


_PLACE = re.compile(r" at (`[^`]+`)")  # in a result


def _without_symbols(expected: str) -> str:
    """`... with n=n, m=3` without the names that stand for themselves."""
    head, _, bound = expected.rpartition(" with ")
    pairs = [pair for pair in bound.split(", ") if pair.partition("=")[0] != pair.partition("=")[2]]
    if not head or not all("=" in pair for pair in pairs):
        return expected
    return f"{head} with {', '.join(pairs)}" if pairs else head


def _text_of(error: BaseException) -> str:
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, StubError):
        return str(error)
    text = _TRACER.sub(r"\1Array\1", "\n".join(lines[:_MOST_LINES]))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# ------------------------------------------------------------------------------------------------ refusals


def _how(error: BaseException, statement: ast.stmt | None, is_other: bool) -> str:
    """How an error came about, by this statement of the user's own; or of another library than JAX."""
    if isinstance(statement, ast.Raise):
        return "raise"
    if isinstance(statement, ast.Assert) and isinstance(error, AssertionError):
        return "assert"
    if not isinstance(error, _STRUCTURAL):
        return ""
    return "structure" if statement is not None else "library" if is_other else ""


def _plain_causes(error: BaseException, statement: ast.stmt | None) -> frozenset[str]:
    """Of which choices this error is the plain consequence, whatever else the function was tried with.

    A list without the method `sum` is none: that is a mistake with lists of every length.
    """
    if statement is None or not isinstance(error, _STRUCTURAL):
        return frozenset()
    text = str(error)
    if isinstance(error, KeyError):
        return frozenset({"keys", "structure"})
    if isinstance(error, IndexError):
        return frozenset({"length", "structure"})
    if isinstance(error, ValueError) and "values to unpack" in text:
        # `for key, value in mapping` takes the characters of keys apart.
        return frozenset({"length", "structure"} | (set() if _iterates(statement) else {"keys"}))
    if isinstance(error, ValueError) and text.startswith("zip() argument"):
        return frozenset({"length", "keys", "structure"})
    if isinstance(error, TypeError) and " argument" in text:
        return frozenset({"length", "keys", "structure"} if _spreads(statement) else ())
    on_array = isinstance(error, AttributeError) and isinstance(error.obj, jax.Array)
    return frozenset() if on_array else frozenset({"structure"})


def _iterates(statement: ast.stmt) -> bool:
    return any(isinstance(node, (ast.For, ast.comprehension)) for node in ast.walk(statement))


def _spreads(statement: ast.stmt) -> bool:
    """Whether a call in it takes as many arguments as something has elements."""
    return any(
        isinstance(node, ast.Starred) or (isinstance(node, ast.keyword) and node.arg is None)
        for node in ast.walk(statement)
    )


@functools.lru_cache(maxsize=256)  # files in which something raised: of a package, most of them
def _statements(text: str) -> tuple[ast.stmt, ...]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.stmt))


def _statement_at(frame: traceback.FrameSummary) -> ast.stmt | None:
    """The innermost statement at the place of a frame: of `if n: raise ...` the `raise`, if that raised."""
    if frame.lineno is None:
        return None
    place = (frame.lineno, frame.colno or 0)
    statements = _statements("".join(linecache.getlines(frame.filename)))
    covering = [node for node in statements if (node.lineno, node.col_offset) <= place < _end(node)]
    return max(covering, key=lambda node: (node.lineno, node.col_offset), default=None)


def _end(node: ast.stmt) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or 0


def without_locals(error: BaseException) -> None:
    """Let go of what the frames of a traceback hold: tracers must not outlive their trace."""
    tb: TracebackType | None = error.__traceback__
    traceback.clear_frames(tb)


def is_users(filename: str, file: str) -> bool:
    """Whether a frame is in the user's own code."""
    return filename == file or not is_installed(filename)
