"""Where an error ends: at the line of the user's that called, or inside the user's own body.

Frames of this package, and those of JAX, are taken out of a traceback where an error leaves a
transformed callable. Nothing is done before something is raised; JAX_TRACEBACK_FILTERING=off keeps all.
What JAX itself says of a place (in jaxprs, programs, profiles) it is told to say of the user's lines, too.
"""

from __future__ import annotations

import enum
import functools
import inspect
import itertools
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
from jax.extend.source_info_util import register_exclusion

from typedfilter._compat import LEAVES_FRAMES_OUT, says_frames_left_out
from typedfilter._reading.wrappers import is_method, is_proxy
from typedfilter._values.code import JAX_FILES
from typedfilter._wrapping.keywords import better_refusal
from typedfilter.errors import TypedFilterError

F = TypeVar("F", bound=Callable[..., Any])


class Kind(enum.Enum):
    """Whose a frame is."""

    OURS = "this package's"
    JAX = "JAX's"
    SUPPORT = "Python's, or that of a library that this package calls"
    USERS = "the user's"


def outside(error: BaseException) -> None:
    """Take the frames of this package out of the traceback of an error, and of those that it was raised from.

    The caller re-raises with a bare `raise`, which adds no frame of its own.
    """
    if _all_shown():
        return
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen or type(one).__name__ == "UnfilteredStackTrace":
            continue
        seen.add(id(one))
        shown = _trimmed(_own(one, "__traceback__"))
        BaseException.with_traceback(one, _line_behind_jax() if one is error and shown is None else shown)
        waiting += (_own(one, "__cause__"), _own(one, "__context__"))
        if isinstance(one, TypedFilterError) and hasattr(one, "__notes__"):  # no frame of JAX's tells more
            one.__notes__ = [text for text in one.__notes__ if not says_frames_left_out(text)]
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()


def _own(error: BaseException, name: str) -> Any:
    """What Python itself has of an error, whose class may answer anything, or let nothing be set."""
    return object.__getattribute__(error, name)


def ends_at_caller(function: F) -> F:
    """The function, with errors that end at the line of whoever calls it."""

    @functools.wraps(function)
    def entered(*args: Any, **kwargs: Any) -> Any:
        try:
            try:
                return function(*args, **kwargs)
            except TypeError as error:
                better = better_refusal(function, error, args, kwargs)
                if better is None:
                    raise
                raise better from None
        except BaseException as error:
            outside(error)
            raise

    return entered  # type: ignore[return-value]  # with the signature of what it wraps


def raised_in_jax(error: BaseException) -> bool:
    """Whether the innermost frame of an error that is on its way is one of JAX's."""
    links = list(_links(error.__traceback__))
    return bool(links) and _kind(links[-1].tb_frame) is Kind.JAX


def reached_user(error: BaseException) -> bool:
    """Whether an error that is on its way has come out of a function of the user's."""
    return any(_kind(link.tb_frame) is Kind.USERS for link in _links(_own(error, "__traceback__")))


def raised_at(error: BaseException, place: tuple[str, int] | None) -> bool:
    """Whether an error that is on its way has come out of the function that is written at this place."""
    codes = (link.tb_frame.f_code for link in _links(_own(error, "__traceback__")))
    return any((code.co_filename, code.co_firstlineno) == place for code in codes)


def raise_as_it_is(error: BaseException) -> NoReturn:
    """Raise an error in the place of what is handled: a new one alone, one that was raised before as it was.

    So that the exception of a callback keeps its own cause and context.
    """
    if _own(error, "__traceback__") is None:
        raise error from None
    before = {name: _own(error, name) for name in ("__context__", "__suppress_context__")}
    try:
        raise error
    finally:
        for name, value in before.items():
            object.__setattr__(error, name, value)


def called_from(first: types.TracebackType) -> types.TracebackType | None:
    """The links behind the first one, up to the last one whose frame the first one has called.

    From there on an error was in another thread, inside a generator, or on its way before.
    """
    links = list(_links(first))
    last = max(i for i, link in enumerate(links) if first.tb_frame in _stack(link.tb_frame))
    kept: types.TracebackType | None = None
    for link in reversed(links[1 : last + 1]):
        kept = types.TracebackType(kept, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return kept


def holding(call: Callable[..., Any], fn: Any) -> Callable[..., Any]:
    """A copy of a function that an engine has written, with a reference to what it calls, which that has not.

    So that `filter_jit(f).__call__` alone keeps `f`, at no cost for a call.
    """
    if isinstance(call, types.FunctionType):
        copy = types.FunctionType(
            call.__code__, call.__globals__, call.__name__, call.__defaults__, call.__closure__
        )
        copy.__kwdefaults__, copy.__qualname__ = call.__kwdefaults__, call.__qualname__
        copy.__module__ = call.__module__
        call = copy
    call.__dict__["__typedfilter_holds__"] = fn
    return call


def _all_shown() -> bool:
    return bool(getattr(jax.config, "jax_traceback_filtering", None) == "off")


def _trimmed(traceback: types.TracebackType | None) -> types.TracebackType | None:
    links = list(_links(traceback))
    kinds = [_kind(link.tb_frame) for link in links]
    if Kind.OURS not in kinds:
        return traceback
    last = max((i for i, kind in enumerate(kinds) if kind is Kind.USERS), default=-1)
    # What this package called and that raised, such as `inspect.Signature.bind`, is not where to look.
    end = next((i for i, kind in enumerate(kinds) if i > last and kind is Kind.OURS), len(kinds))
    kept: types.TracebackType | None = None
    for link, kind in reversed(list(zip(links[:end], kinds[:end], strict=True))):
        if kind not in (Kind.OURS, Kind.JAX):
            kept = types.TracebackType(kept, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return kept


def _line_behind_jax() -> types.TracebackType | None:
    """The user's line that has called this package through JAX, as `jax.tree.map(wrapper, tree)` does.

    The frames of JAX's that will stand in front of it can't be left out here: they are added while the
    error passes through them. Where an entry of JAX's or of this package leaves them out, it needs no more.
    """
    frames = list(itertools.dropwhile(_is_ours, _stack(sys._getframe(1))))
    if not frames or _kind(frames[0]) is not Kind.JAX:
        return None
    jaxs = list(itertools.takewhile(lambda frame: _kind(frame) is Kind.JAX, frames))
    if any(map(_is_ours, frames)) or any(frame.f_code.co_name == LEAVES_FRAMES_OUT for frame in jaxs):
        return None
    users = next((frame for frame in frames if _kind(frame) is Kind.USERS), None)
    return None if users is None else types.TracebackType(None, users, users.f_lasti, users.f_lineno)


def _stack(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_ours(frame: types.FrameType) -> bool:
    return _kind(frame) is Kind.OURS


def _links(traceback: types.TracebackType | None) -> Iterator[types.TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


_OURS = __name__.partition(".")[0]
_PROGRAMS = ("bench", "demo")  # which use the package as anybody else does
_ROOT = Path(__file__).parents[1]
_OUR_FILES = str(_ROOT) + os.sep
_STDLIB = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")})
_CALLED = ("jaxtyping", "beartype", "numpy", "typing_extensions")


def _kind(frame: types.FrameType) -> Kind:
    # By its globals and not by its file: what JAX traces has the place of the user's function.
    module = frame.f_globals.get("__name__")
    first, _, rest = module.partition(".") if isinstance(module, str) else ("", "", "")
    if first == _OURS:
        return Kind.USERS if rest.partition(".")[0] in _PROGRAMS else Kind.OURS
    filename = frame.f_code.co_filename
    if not first and filename.startswith(_OUR_FILES):  # a frame that JAX tells of has no globals
        return Kind.OURS
    if filename.startswith(JAX_FILES):
        return Kind.JAX
    if first in _CALLED or (filename.startswith(_STDLIB) and "site-packages" not in filename):
        return Kind.SUPPORT
    return Kind.USERS


# --------------------------------------------------------------------------------- what JAX says is traced


def hidden(_: object = None) -> bool:
    """For `__tracebackhide__` of a module: whether pytest leaves its frames out, where an error keeps them.

    It asks the globals of a frame, too, so that no call has to set anything.
    """
    return not _all_shown()


__tracebackhide__ = hidden

GENERATED = "<typedfilter"
"""How the names of files begin that hold what this package has written."""

# JAX asks for files, and takes what begins like one of these for nobody's line.
for _room in ("_", "check", "explain", "pytree", "testing", "transforms"):
    register_exclusion(str(_ROOT / _room))
register_exclusion(GENERATED)


def _holds_one(fn: Any) -> bool:
    """Whether there is one more callable inside: of a partial, a method, or a wrapper of ours."""
    ours = hasattr(type(fn), "__typedfilter_plan__")
    return ours or isinstance(fn, functools.partial) or is_method(fn)


def place_of(fn: Any) -> tuple[str, int] | None:
    """The file and first line of the function inside of any callable; `None` where none is Python's."""
    while type(fn) is not types.FunctionType and not is_proxy(fn) and _holds_one(fn):
        if isinstance(fn, functools.partial):
            fn = fn.func
        else:
            fn = fn.__func__ if is_method(fn) else getattr(fn, "__wrapped__", None)
        if fn is None:  # what is converted has a program in the place of a function
            return None
    if type(fn) is types.FunctionType:
        fn = inspect.unwrap(fn)
    elif not isinstance(fn, types.BuiltinFunctionType):
        name = "__init__" if isinstance(fn, type) else "__call__"
        fn = inspect.getattr_static(fn if isinstance(fn, type) else type(fn), name, None)
    code = fn.__code__ if type(fn) is types.FunctionType else None
    return None if code is None else (code.co_filename, code.co_firstlineno)


def _short(function: str) -> str:
    """The name of a function without where it was defined; of a class's `__call__`, that of the class."""
    owner = function.removesuffix(".__call__")
    return owner.rpartition(".")[2].strip("<>") or "function"


def located(traced: Callable[..., Any], place: tuple[str, int] | None, function: str) -> Callable[..., Any]:
    """`traced` as a function that, to JAX, has the name and the place of the user's.

    JAX names the place of what it traces in errors, in its explanations of cache misses and in profiles.
    """
    run = lambda *args, **kwargs: traced(*args, **kwargs)  # noqa: E731, PLW0108 (of one line, which is moved)
    name = _short(function)
    if place is not None:
        filename, line = place
        code = run.__code__
        run.__code__ = code.replace(
            co_filename=filename, co_firstlineno=line, co_name=name, co_qualname=function
        )
    run.__name__ = run.__qualname__ = name
    return run
