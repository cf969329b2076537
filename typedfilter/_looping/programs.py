"""The program of a loop or branch: one `jax.jit` object for each body, structure and static part.

`jax.lax` recognises a body that it has seen by the very function object. So what is handed to JAX is kept
as long as the user's function lives, on that function, and holds it weakly. Arrays that a body brings along
(those of a model whose method it is) are inputs of the program and never constants of it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax

from typedfilter._looping.pieces import Piece, take_captured, take_result
from typedfilter._placing.bodies import is_placing
from typedfilter._reading.plan import Plan
from typedfilter._shapes.switch import check_mode
from typedfilter._values.fresh import fresh_rest
from typedfilter._values.keys import exact_key, may_be_read_anew
from typedfilter._values.memory import Attached, weakly
from typedfilter._values.split import Rest
from typedfilter._wrapping.blame import naming_deleted
from typedfilter._wrapping.host_errors import asking
from typedfilter._wrapping.stack import Link, rewind, unwind

Leaves = list[Any]
Trace = Callable[[Sequence[Callable[..., Any]], Sequence[Piece], Any], Any]
"""What is traced: from the bodies, the pieces (with tracers for leaves) and the options to the result."""

_MOST = 64  # programs that are kept for one body


def run(
    trace: Trace,
    bodies: Sequence[Callable[..., Any]],
    pieces: Sequence[Piece],
    options: Hashable,
    called: tuple[Plan, tuple[Any, ...]],
) -> Any:
    """Run `trace` under `jax.jit`: at the first call for these bodies, structures, static parts and options.

    Args:
        trace: a function of a module, which calls `jax.lax`.
        bodies: the user's functions.
        pieces: the arguments.
        options: what else decides what is traced.
        called: the plan of the first body and what it is called with, whose names errors give.
    """
    functions = [_Function.of(body) for body in bodies]
    given = [function.bound for function in functions] + list(pieces)
    program = _program(trace, functions, given, options)
    leaves = [piece.leaves for piece in given]
    with naming_deleted(*called, {}, leaves), asking:
        return program(leaves)


@dataclasses.dataclass(frozen=True, slots=True)
class _Function:
    """A body: a plain function, weakly, and what is around it and bound to it."""

    root: Callable[[], Any]
    name: int
    links: tuple[Link, ...]
    bound: Piece

    @classmethod
    def of(cls, body: Callable[..., Any]) -> _Function:
        taken = unwind(body)
        return cls(weakly(taken.root), id(taken.root), taken.links, take_captured(taken.bound))

    @property
    def key(self) -> Hashable:
        return _SameObject(self.root, self.name), self.links

    def open(self, bound: Piece) -> Any:
        """The body again, around what is bound now: tracers."""
        return rewind(self.root(), self.links, bound.rest.join(bound.leaves), lent=True)


class _SameObject:
    """Equal for references to one live object, whatever that compares equal to."""

    __slots__ = ("name", "ref")

    def __init__(self, ref: Callable[[], Any], name: int) -> None:
        self.ref = ref
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and self.name == other.name and self.ref() is other.ref()

    def __hash__(self) -> int:
        return self.name


def _program(
    trace: Trace, functions: Sequence[_Function], given: Sequence[Piece], options: Hashable
) -> _Program:
    key = _key(trace, functions, given, options)
    if key is None:
        return _Program(trace, functions, given, options)
    table = _programs.of(functions[0].root())
    found = table.get(key)
    if found is None:
        if len(table) >= _MOST:
            table.clear()
        found = table.setdefault(key, _Program(trace, functions, given, options))
        found.shared = True
    return found


def _key(
    trace: Trace, functions: Sequence[_Function], given: Sequence[Piece], options: Hashable
) -> Hashable | None:
    """What tells one program from others; `None` where nothing does: something unhashable, or mutable."""
    static = itertools.chain.from_iterable(piece.rest.others for piece in given)
    if any(map(may_be_read_anew, [*(f.root() for f in functions), *static])):
        return None
    context = check_mode(), is_placing()
    key = trace, context, tuple([f.key for f in functions]), tuple([p.key for p in given])
    try:
        whole = *key, exact_key(options)
        hash(whole)
    except TypeError:
        return None
    return whole


_programs: Attached[dict[Hashable, _Program]] = Attached("__typedfilter_loops__", dict)


class _Program:
    """A loop as a function of its arrays, compiled; and what else it returned, by the number of the trace."""

    __slots__ = ("jitted", "rests", "shared")

    def __init__(
        self, trace: Trace, functions: Sequence[_Function], given: Sequence[Piece], options: Any
    ) -> None:
        without = [dataclasses.replace(piece, leaves=[]) for piece in given]
        bodies = [dataclasses.replace(f, bound=piece) for f, piece in zip(functions, without, strict=False)]
        rests: dict[int, Rest] = {}
        numbers = itertools.count()

        def loop(leaves: list[Leaves]) -> _Result:
            pieces = [dataclasses.replace(p, leaves=new) for p, new in zip(without, leaves, strict=True)]
            opened = [body.open(piece) for body, piece in zip(bodies, pieces, strict=False)]
            arrays, rest = take_result(trace(opened, pieces[len(bodies) :], options))
            number = next(numbers)
            rests[number] = rest
            return _Result(arrays, number)

        loop.__name__ = loop.__qualname__ = trace.__name__.lstrip("_")
        self.rests = rests
        self.shared = False  # by several calls
        # Inlined: inside of another trace there is the loop, and no call of it.
        self.jitted = jax.jit(loop, inline=True)

    def __call__(self, leaves: list[Leaves]) -> Any:
        result = self.jitted(leaves)
        rest = self.rests[result.number]
        return (fresh_rest(rest) if self.shared else rest).join(result.arrays)  # each caller gets its own


class _Result:
    """What a program returns to JAX, which keeps the number for as long as it likes, and nothing else."""

    __slots__ = ("arrays", "number")

    def __init__(self, arrays: Sequence[Any], number: int) -> None:
        self.arrays = arrays
        self.number = number


jax.tree_util.register_pytree_node(
    _Result, lambda result: (result.arrays, result.number), lambda number, arrays: _Result(arrays, number)
)
