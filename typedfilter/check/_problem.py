"""What went wrong in a trial: an exception in, the facts of a verdict out.

Floor 5. Knows tracebacks, and whose code a frame is; knows nothing of how trials are made.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import linecache
import re
import sysconfig
import traceback
from pathlib import Path
from types import FunctionType, TracebackType

import jax

from typedfilter.check._compare import MismatchError, StubError
from typedfilter.check._report import Frame
from typedfilter.errors import TypedFilterError

_JAX = str(Path(jax.__file__).parent)
_OURS = str(Path(__file__).resolve().parent.parent)
_VALUES_NEEDED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
# What a container that is shorter, or other, than the function thinks answers with.
_STRUCTURAL = (LookupError, AttributeError, TypeError, ValueError)
_MOST_LINES = 6
_TRACER = re.compile(r"'\w*Tracer'")  # what JAX calls an array while it traces is nobody's type


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a trial failed.

    Attributes:
        kind: `return`: the result is wrong; `argument`: a check inside says so; `trace`: something raised.
        message: one sentence or a few lines.
        expected, found: where the kind is not `trace`.
        parameter: whose annotation does not hold; `return`, or empty where none is to blame.
        frame: the innermost line of the user's code, where something raised.
        refusal: how the function itself refused, if it did: `raise`, `assert`, `structure`.
        value: it asked for the value of an array.
        foreign: another library than JAX raised it, and it is what a value of another structure causes.
        lookup: it is what a value without structure causes, whoever raised it.
        unfinished: the function raised NotImplementedError.
    """

    kind: str
    message: str
    expected: str = ""
    found: str = ""
    parameter: str = ""
    frame: Frame | None = None
    refusal: str = ""
    value: bool = False
    foreign: bool = False
    lookup: bool = False
    unfinished: bool = False

    def is_like(self, other: Problem) -> bool:
        """Whether the two are the same mistake, seen at other sizes."""
        here, there = self.frame, other.frame
        same_place = (here and (here.file, here.line)) == (there and (there.file, there.line))
        return (self.kind, self.parameter) == (other.kind, other.parameter) and same_place


def problem_of(error: Exception, root: FunctionType) -> Problem:
    """The facts of an exception that a trial of the function `root` raised."""
    file = root.__code__.co_filename
    if isinstance(error, MismatchError):
        where = f"`{error.path}` of the return value" if error.path else "the return value"
        why = f": {error.why}" if error.why else ""
        return Problem(
            "return", f"{where} is not what is annotated{why}", error.expected, error.found, "return"
        )
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if is_users(frame.filename, file)]
    frame = Frame(users[-1].filename, users[-1].lineno or 0, users[-1].name) if users else None
    if isinstance(error, TypedFilterError) and error.parameter and error.expected:
        return _checked_inside(error, frame, root)
    text = _text_of(error)
    return Problem(
        "trace",
        text,
        frame=frame,
        refusal=_refusal(error, frame, bool(users) and users[-1] is frames[-1]),
        value=isinstance(error, _VALUES_NEEDED),
        foreign=isinstance(error, _STRUCTURAL) and not frames[-1].filename.startswith(_JAX),
        lookup=isinstance(error, (LookupError, AttributeError, TypeError)),
        unfinished=isinstance(error, NotImplementedError) and bool(users) and users[-1] is frames[-1],
    )


def _checked_inside(error: TypedFilterError, frame: Frame | None, root: FunctionType) -> Problem:
    """What the check at a body said: of the function under test, or of another one that it calls."""
    expected, found = _without_symbols(error.expected), _long_dtypes(error.actual)
    if error.function != root.__qualname__:
        text = _long_dtypes(str(error).splitlines()[0])
        return Problem("argument", text, expected, found, frame=frame)
    if error.parameter == "return":
        # The check's own words say how names were bound at these sizes: the verdict says so itself.
        annotated = ", but " in error.problem
        what = "is not what is annotated" if annotated else error.problem
        return Problem("return", f"the return value {what}", expected, found, "return")
    text = _long_dtypes(str(error).splitlines()[0].removeprefix(f"{error.function}(): "))
    return Problem("argument", text, expected, found, error.parameter, frame)


def _without_symbols(expected: str) -> str:
    """`... with n=n, m=3` without the names that stand for themselves."""
    head, _, bound = expected.rpartition(" with ")
    pairs = [pair for pair in bound.split(", ") if pair.partition("=")[0] != pair.partition("=")[2]]
    if not head or not all("=" in pair for pair in pairs):
        return expected.replace("'", '"')
    return f"{head} with {', '.join(pairs)}".replace("'", '"') if pairs else head.replace("'", '"')


def _long_dtypes(text: str) -> str:
    kinds = {"f": "float", "i": "int", "u": "uint", "c": "complex", "bf": "bfloat"}
    long = re.sub(r"\b(f|i|u|c|bf)(\d+)\[", lambda m: f"{kinds[m[1]]}{m[2]}[", text)
    return re.sub(r",(?=\S)", ", ", long)


def _text_of(error: Exception) -> str:
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, StubError):
        return str(error)
    text = _TRACER.sub("'Array'", "\n".join(lines[:_MOST_LINES]))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@functools.lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(
        {str(Path(paths[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    )


@functools.lru_cache(maxsize=4096)
def _is_installed(filename: str) -> bool:
    if filename.startswith("<"):
        return True
    resolved = str(Path(filename).resolve())
    return "site-packages" in resolved or resolved.startswith((_OURS, *_installed()))


def is_users(filename: str, file: str) -> bool:
    """Whether a frame is in the user's own code."""
    return filename == file or not _is_installed(filename)


# ------------------------------------------------------------------------------------------------ refusals


def _refusal(error: Exception, frame: Frame | None, raised_there: bool) -> str:
    """How the function refused what it got, if the user's own line raised the error."""
    if frame is None or not raised_there:
        return ""
    statement = _statement_at(frame.file, frame.line)
    if isinstance(statement, ast.Raise):
        return "raise"
    if isinstance(statement, ast.Assert) and isinstance(error, AssertionError):
        return "assert"
    return "structure" if isinstance(error, _STRUCTURAL) else ""


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except SyntaxError:
        return None


def _statement_at(file: str, line: int) -> ast.stmt | None:
    """The smallest statement that covers a line."""
    tree = _parsed("".join(linecache.getlines(file)))
    if tree is None:
        return None
    covering = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return min(covering, key=lambda node: (node.end_lineno or node.lineno) - node.lineno, default=None)


def without_locals(error: BaseException) -> None:
    """Let go of what the frames of a traceback hold: tracers must not outlive their trace."""
    tb: TracebackType | None = error.__traceback__
    traceback.clear_frames(tb)
