"""Functions whose body does not run when they are called: generators take some turns, coroutines all.

Knows Python's protocols; knows nothing of shapes.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from types import FunctionType
from typing import Any

from typedfilter._reading.kinds import Each, Kind, kind_of
from typedfilter.check.inputs.unmade import UnbuildableError

TURNS = 3
_MOST_WAITS = 100


def yields(root: FunctionType) -> bool:
    """Whether a function yields one value after another."""
    return bool(root.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR))


def is_driven(root: FunctionType) -> bool:
    """Whether calling a function does not run its body yet."""
    return yields(root) or bool(root.__code__.co_flags & inspect.CO_COROUTINE)


def returns_of(root: FunctionType, kind: Kind) -> Kind:
    """What is compared with what `driven` returns: a list of what the annotation says is yielded."""
    if not yields(root):
        return kind
    arguments = getattr(kind, "arguments", ())
    one: Any = kind.parts[0].hint if isinstance(kind, Each) else arguments[0] if arguments else Any
    return kind_of(list[one])


def driven(out: Any) -> Any:
    """What the body makes: the first that a generator yields, what a coroutine returns; else `out` itself.

    Raises:
        UnbuildableError: it waits for something that only a running loop brings.
        Exception: whatever the body raises.
    """
    if isinstance(out, Generator):
        values = list(itertools.islice(out, TURNS))
        out.close()
        return values
    if isinstance(out, AsyncGenerator):
        return list(itertools.islice(_turns(out), TURNS))
    return _ended(out) if isinstance(out, Coroutine) else out


def _turns(out: AsyncGenerator[Any, None]) -> Iterator[Any]:
    while True:
        try:
            yield _ended(out.__anext__())
        except StopAsyncIteration:
            return


def _ended(waiting: Any) -> Any:
    try:
        for _ in range(_MOST_WAITS):
            if waiting.send(None) is not None:
                break
    except StopIteration as end:
        return end.value
    except RuntimeError as error:
        if "event loop" not in str(error):
            raise
    waiting.close()
    raise UnbuildableError("it waits for what only a running loop brings", "check what it calls")
