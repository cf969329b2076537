"""The function that a call of `filter_jit` enters: written for its signature, once.

Knows signatures, and nothing of what is compiled. Python's own argument binding makes every call look the
same (keywords in their places, defaults filled in), and is some ten times cheaper than `Signature.bind`.
`dataclasses` and `collections.namedtuple` write functions in the same way.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import CodeType
from typing import Any

from typedfilter._compiling.given import are_any_gone
from typedfilter._wrapping.frames import GENERATED, hidden
from typedfilter._wrapping.gone import gone_error

Kind = inspect._ParameterKind
NAME = "_typedfilter_call"

# `{_}` begins all names but those of parameters, so that it is none of them that they begin with.
_TEMPLATE = """\
def {name}({signature}):
    try:
        try:{guard}{quick}
            {finish}
        except {_}Exception as {_}error:
            {_}again = {_}explain({_}error, ({positional}), {{{keywords}}})
            if {_}again is None:
                raise
            return {_}again()
    except {_}BaseException as {_}error:
        {_}outside({_}error)
        raise
"""
_GUARD = """
            if {_}watched and {_}are_any_gone(({names},)):
                raise {_}gone_error()"""
_QUICK = """
            if {tests}:
                return {_}quick({moving})"""
_QUICK_PACKED = """
            if {tests}:
                {_}out = {_}quick({moving})
                return {_}out if {_}type({_}out) is not {_}packed else {_}unpack({_}out)"""
# A program that is not there yet is made when it is called: its errors are not those of the look-up. The
# table is a plain dictionary, in which Python looks up fastest.
_PROGRAM = """\
try:
                {_}program = {_}table[{key}]
            except {_}KeyError:
                {_}program = {_}partial({_}first, {key})
            """
_FINISH = "return {_}program({call})"
# The program is held until its result is unpacked: the rest of that lives as long as the program does.
_FINISH_PACKED = """\
{_}out = {_}program({call})
            return {_}out if {_}type({_}out) is not {_}packed else {_}unpack({_}out)"""


@dataclasses.dataclass
class Quick:
    """One program that is entered without a look into the table, where the arguments pass tests."""

    tests: tuple[str, ...]  # texts of conditions, in which `{_}` stands before each of the names
    moving: tuple[str, ...]  # the texts of the arguments that the program takes
    names: dict[str, Any]  # what the names stand for

    def written(self, prefix: str, may_be_packed: bool) -> str:
        """The lines of it."""
        template = _QUICK_PACKED if may_be_packed else _QUICK
        tests, moving = " and ".join(self.tests) or "True", ", ".join(self.moving)
        lines = template.replace("{tests}", tests).replace("{moving}", moving)
        return lines.replace("{_}", prefix)

    @staticmethod
    def set(shim: Callable[..., Any], name: str, value: Any) -> None:
        """Let a name stand for something else, in a function of `write_shim`."""
        names: dict[str, Any] = getattr(shim, "__globals__", {})
        names[f"{_prefix(inspect.signature(shim).parameters)}{name}"] = value


def write_shim(
    signature: inspect.Signature,
    by_type: frozenset[str],
    may_be_packed: bool,
    omitted: Mapping[str, Any] | None = None,
    guarded: tuple[str, ...] = (),
    quick: Quick | None = None,
    /,
    **names: Any,
) -> Callable[..., Any]:
    """A function of this signature that calls `table[key]`.

    Args:
        signature: of the user's function.
        by_type: the parameters whose classes decide which program runs: together they are the key.
        may_be_packed: the result may be an instance of `packed`, and then has to be unpacked.
        omitted: what stands for a parameter that is left out, in the place of its default.
        guarded: the parameters whose arrays may be gone: they are asked once `watch` was called.
        quick: what is tried first; `names` has the program as `quick`.
        names: `table`, and `first(key, *args, **kwargs)`, which is called for a key that is not in it yet;
            `explain(error, args, kwargs)`, which raises a better error if there is one, or returns what to
            do instead of raising, `outside(error)`, through which every error goes, `packed`, and
            `unpack(result)`.
    """
    parameters = list(signature.parameters.values())
    prefix = _prefix(signature.parameters)
    shape = tuple((p.name, p.kind, p.default is not p.empty) for p in parameters)
    namespace = {f"{prefix}{name}": value for name, value in names.items()}
    namespace |= {f"{prefix}{own.__name__}": own for own in _BUILTINS}
    namespace[f"{prefix}watched"] = False
    namespace |= {f"{prefix}{name}": value for name, value in (quick.names if quick else {}).items()}
    namespace["__name__"] = __name__  # by which tracebacks know whose frame it is
    namespace["__tracebackhide__"] = hidden
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty} | dict(omitted or {})
    namespace |= {f"{prefix}default_{name}": default for name, default in defaults.items()}
    first = quick.written(prefix, may_be_packed) if quick else ""
    exec(_compiled(_source(shape, by_type, may_be_packed, prefix, guarded, first)), namespace)
    shim: Callable[..., Any] = namespace.pop(NAME)
    return shim


_BUILTINS = (type, map, len, Exception, BaseException, KeyError, functools.partial, are_any_gone, gone_error)


def _prefix(parameters: Iterable[str]) -> str:
    """What no parameter begins with."""
    prefix = "_tf_"
    while any(name.startswith(prefix) for name in parameters):
        prefix = f"_{prefix}"
    return prefix


def watch(shim: Callable[..., Any]) -> None:
    """Have a function of `write_shim` look for arrays that are gone, from now on."""
    names: dict[str, Any] = getattr(shim, "__globals__", {})
    names[f"{_prefix(inspect.signature(shim).parameters)}watched"] = True


@functools.lru_cache(maxsize=1024)
def _compiled(source: str) -> CodeType:
    return compile(source, f"{GENERATED}: the call of a jitted function>", "exec")


@functools.lru_cache(maxsize=1024)
def _source(
    parameters: tuple[tuple[str, Kind, bool], ...],
    by_type: frozenset[str],
    may_be_packed: bool,
    prefix: str,
    guarded: tuple[str, ...],
    quick: str,
) -> str:
    positional = [
        _star(name, kind) for name, kind, _ in parameters if kind not in (Kind.KEYWORD_ONLY, Kind.VAR_KEYWORD)
    ]
    keywords = [(name, kind) for name, kind, _ in parameters if kind in (Kind.KEYWORD_ONLY, Kind.VAR_KEYWORD)]
    passed = [f"{name}={name}" if kind is Kind.KEYWORD_ONLY else f"**{name}" for name, kind in keywords]
    key = _key([(name, kind) for name, kind, _ in parameters if name in by_type], prefix)
    call = ", ".join(positional + passed)
    return _TEMPLATE.format(
        _=prefix,
        name=NAME,
        signature=_signature(parameters, prefix),
        positional="".join(f"{each}, " for each in positional),
        keywords=", ".join(
            f"{name!r}: {name}" if kind is Kind.KEYWORD_ONLY else f"**{name}" for name, kind in keywords
        ),
        guard=_GUARD.format(_=prefix, names=", ".join(guarded)) if guarded else "",
        quick=quick,
        finish=(_PROGRAM + (_FINISH_PACKED if may_be_packed else _FINISH)).format(
            _=prefix, key=key, call=call
        ),
    )


def _star(name: str, kind: Kind) -> str:
    return f"*{name}" if kind is Kind.VAR_POSITIONAL else name


def _signature(parameters: tuple[tuple[str, Kind, bool], ...], prefix: str) -> str:
    pieces: list[str] = []
    kinds = [kind for _, kind, _ in parameters]
    for i, (name, kind, has_default) in enumerate(parameters):
        if kind is Kind.KEYWORD_ONLY and Kind.VAR_POSITIONAL not in kinds and kind not in kinds[:i]:
            pieces.append("*")
        stars = {Kind.VAR_POSITIONAL: "*", Kind.VAR_KEYWORD: "**"}.get(kind, "")
        pieces.append(f"{stars}{name}" + (f"={prefix}default_{name}" if has_default else ""))
        if kind is Kind.POSITIONAL_ONLY and kind not in kinds[i + 1 :]:
            pieces.append("/")
    return ", ".join(pieces)


def _key(by_type: list[tuple[str, Kind]], prefix: str) -> str:
    type_of, types_of = f"{prefix}type", f"{prefix}map({prefix}type, "
    pieces = []
    for name, kind in by_type:
        if kind is Kind.VAR_POSITIONAL:
            pieces.append(f"*{types_of}{name}), None")  # None ends *args
        elif kind is Kind.VAR_KEYWORD:
            pieces.append(f"*{name}, *{types_of}{name}.values())")
        else:
            pieces.append(f"{type_of}({name})")
    if len(pieces) == 1 and not pieces[0].startswith("*"):
        return pieces[0]
    return "(" + "".join(f"{piece}, " for piece in pieces) + ")"
