"""The function that a call of `filter_jit` enters: written for its signature, once.

Knows signatures; knows nothing of JAX. Python's own argument binding makes every call look the
same (keywords in their places, defaults filled in), and is some ten times cheaper than `Signature.bind`.
`dataclasses` and `collections.namedtuple` write functions in the same way.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

__all__ = ["NAME", "Programs", "write_shim"]

Kind = inspect._ParameterKind
NAME = "_typedfilter_call"

_TEMPLATE = """\
def {name}({signature}):
    try:
        try:
            {finish}
        except _tf_exception as _tf_error:
            _tf_explain(_tf_error, ({positional}), {{{keywords}}})
            raise
    except _tf_anything as _tf_error:
        _tf_outside(_tf_error)
        raise
"""
_FINISH = "return _tf_table[{key}]({call})"
# The program is held until its result is unpacked: the rest of that lives as long as the program does.
_FINISH_PACKED = """\
_tf_program = _tf_table[{key}]
            _tf_out = _tf_program({call})
            return _tf_out if _tf_type(_tf_out) is not _tf_packed else _tf_unpack(_tf_out)"""


class Programs(dict[Any, Callable[..., Any]]):
    """What to call, by the classes of the arguments; what is not there yet is made when it is called.

    So that a miss is no exception: that could not be told from one of the user's where another thread fills
    the table at the same moment.
    """

    __slots__ = ("first",)

    def __init__(self, first: Callable[..., Any]) -> None:
        super().__init__()
        self.first = first

    def __missing__(self, key: Any) -> Callable[..., Any]:
        return functools.partial(self.first, key)


def write_shim(
    signature: inspect.Signature, by_type: frozenset[str], may_be_packed: bool, **names: Any
) -> Callable[..., Any]:
    """A function of this signature that calls `table[key]`.

    Args:
        signature: of the user's function.
        by_type: the parameters whose classes decide which program runs: together they are the key.
        may_be_packed: the result may be an instance of `packed`, and then has to be unpacked.
        names: `table` (`Programs`), `explain(error, args, kwargs)`, which raises a better error if there is
            one, `outside(error)`, through which every error goes, `packed`, and `unpack(result)`.
    """
    parameters = list(signature.parameters.values())
    source = _source(
        tuple((p.name, p.kind, p.default is not p.empty) for p in parameters), by_type, may_be_packed
    )
    namespace = {f"_tf_{name}": value for name, value in names.items()}
    # Parameters may be named so.
    namespace |= {"_tf_type": type, "_tf_map": map, "_tf_exception": Exception, "_tf_anything": BaseException}
    namespace["__name__"] = __name__  # by which tracebacks know whose frame it is
    namespace |= {f"_tf_default_{p.name}": p.default for p in parameters if p.default is not p.empty}
    exec(_compiled(source), namespace)
    shim: Callable[..., Any] = namespace.pop(NAME)
    return shim


@functools.lru_cache(maxsize=1024)
def _compiled(source: str) -> CodeType:
    return compile(source, "<typedfilter: the call of a jitted function>", "exec")


@functools.lru_cache(maxsize=1024)
def _source(
    parameters: tuple[tuple[str, Kind, bool], ...], by_type: frozenset[str], may_be_packed: bool
) -> str:
    positional = [
        _star(name, kind) for name, kind, _ in parameters if kind not in (Kind.KEYWORD_ONLY, Kind.VAR_KEYWORD)
    ]
    keywords = [(name, kind) for name, kind, _ in parameters if kind in (Kind.KEYWORD_ONLY, Kind.VAR_KEYWORD)]
    passed = [f"{name}={name}" if kind is Kind.KEYWORD_ONLY else f"**{name}" for name, kind in keywords]
    key = _key([(name, kind) for name, kind, _ in parameters if name in by_type])
    call = ", ".join(positional + passed)
    return _TEMPLATE.format(
        name=NAME,
        signature=_signature(parameters),
        key=key,
        positional="".join(f"{each}, " for each in positional),
        keywords=", ".join(
            f"{name!r}: {name}" if kind is Kind.KEYWORD_ONLY else f"**{name}" for name, kind in keywords
        ),
        finish=(_FINISH_PACKED if may_be_packed else _FINISH).format(key=key, call=call),
    )


def _star(name: str, kind: Kind) -> str:
    return f"*{name}" if kind is Kind.VAR_POSITIONAL else name


def _signature(parameters: tuple[tuple[str, Kind, bool], ...]) -> str:
    pieces: list[str] = []
    kinds = [kind for _, kind, _ in parameters]
    for i, (name, kind, has_default) in enumerate(parameters):
        if kind is Kind.KEYWORD_ONLY and Kind.VAR_POSITIONAL not in kinds and kind not in kinds[:i]:
            pieces.append("*")
        stars = {Kind.VAR_POSITIONAL: "*", Kind.VAR_KEYWORD: "**"}.get(kind, "")
        pieces.append(f"{stars}{name}" + (f"=_tf_default_{name}" if has_default else ""))
        if kind is Kind.POSITIONAL_ONLY and kind not in kinds[i + 1 :]:
            pieces.append("/")
    return ", ".join(pieces)


def _key(by_type: list[tuple[str, Kind]]) -> str:
    pieces = []
    for name, kind in by_type:
        if kind is Kind.VAR_POSITIONAL:
            pieces.append(f"*_tf_map(_tf_type, {name}), None")  # None ends *args
        elif kind is Kind.VAR_KEYWORD:
            pieces.append(f"*{name}, *_tf_map(_tf_type, {name}.values())")
        else:
            pieces.append(f"_tf_type({name})")
    if len(pieces) == 1 and not pieces[0].startswith("*"):
        return pieces[0]
    return "(" + "".join(f"{piece}, " for piece in pieces) + ")"
