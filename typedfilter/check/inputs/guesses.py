"""What to try where an annotation says too little: an int, a string, a key, an array of some rank.

Nobody is blamed for what fails with a guess, and every guess is named in the verdict. Knows types and
names; knows nothing of trials.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.dims import Dim
from typedfilter._reading.kinds import Kind, kind_of
from typedfilter.check.inputs import classes, literals, optimisers
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.defaults import Build
from typedfilter.check.inputs.nodes import (
    ArrayNode,
    ChoiceNode,
    GivenNode,
    Node,
    Point,
)
from typedfilter.check.inputs.place import Place, anonymous_stem
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.inputs.values import IntNode, NotedNode, SizeNode

_RANKS = (1, 2, 0, 3)  # after what the name says
_KEY = re.compile(r"(?:^|_)(?:key|rng|prng|prngkey|seed_key)(?:_?\d+)?(?:$|_(?!word|s$))", re.IGNORECASE)
_KEYS = re.compile(r"(?:^|_)(?:keys|rngs)$", re.IGNORECASE)
_AXIS = re.compile(r"(?:^|_)(?:axis|idx|index|position|offset)$|^(?:dim|i)$")
_MATRIX = re.compile(r"weight$|kernel$|matrix|mat$|cov|chol|jac|hess|^[A-Z]|^w$|(?:^|_)w_")
_OTHER = "another"
_MANY = 100  # more than any constructor needs


def guess(kind: Kind, place: Place, build: Build) -> Node | None:
    """A value for a type that does not say enough; None where there is nothing to try."""
    assert place.guess is not None
    if kind.hint is int:
        return _whole(place)
    if kind.hint is str:
        return _said("float32", place) if "dtype" in place.name.lower() else _text(place)
    if kind.hint is bytes:
        return _said(b"text", place)
    if "dtype" in place.name.lower():
        return _said(jax.numpy.float32, place, "float32")
    if is_called_key(place.name) and (_is_bare(kind) or isinstance(kind, kinds.Anything)):
        return array(place)
    found = _of_optimisers(kind, place, build) or _array_of_some_rank(kind, place)
    if found is not None or _is_bare(kind) or isinstance(kind, kinds.Tree):
        return found
    if kind.hint is jax.sharding.Mesh:
        return GivenNode(_one_device(), place.label, f"{place.label} a mesh of one device")
    if _is_bare_callable(kind):
        return GivenNode(_itself, place.label, f"{place.label} the identity")
    return _subclass(kind, place, build)


def _is_bare(kind: Kind) -> bool:
    return _is_bare_array(kind) or isinstance(kind, kinds.Variable)


def _array_of_some_rank(kind: Kind, place: Place) -> Node | None:
    if is_numeric(kind):
        return a_number(place)
    if not (_is_bare(kind) or isinstance(kind, kinds.Tree | kinds.NumpyArray)):
        return None
    return array(place, kind)


def a_number(place: Place) -> Node:
    """An array without axes."""
    node = ArrayNode(place.label, (), (np.dtype("float32"),), place.number)
    return NotedNode(node, f"{place.label} a number")


def _of_optimisers(kind: Kind, place: Place, build: Build) -> Node | None:
    if optimisers.is_optimiser(kind):
        return optimisers.optimiser(place)
    if optimisers.is_tree(kind):
        return optimisers.state(place, build) or array(place)
    unsaid = isinstance(kind, kinds.Tree) and "opt" in place.name
    beside = isinstance(kind, kinds.Tree | kinds.Anything) and optimisers.beside_optimiser(place)
    return optimisers.state(place, build) if unsaid or beside else None


@functools.cache
def _one_device() -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))


def _itself(value: Any, *others: Any, **named: Any) -> Any:
    return value


def _said(value: Any, place: Place, text: str = "") -> Node:
    return GivenNode(value, place.label, f"{place.label}={text or repr(value)}")


def _whole(place: Place) -> Node:
    guess_ = place.guess
    assert guess_ is not None
    if place.name in guess_.names and guess_.round == 0:
        return SizeNode(place.label, place.name)
    if _AXIS.search(place.name):
        return _said((0, 1, -1)[guess_.round % 3], place)
    return IntNode(place.label, place.key or place.label, guess_.round, guess_.offered)


def _text(place: Place) -> Node:
    """Every string that it is compared with, and another one but for a table's key: none of them may fail."""
    assert place.guess is not None
    methods = [value for cls in place.inside[-1:] for value in vars(cls).values() if callable(value)]
    functions = (*place.guess.functions, *methods)
    known = literals.strings_for(place.name, functions)
    if not known:
        return _said("text", place)
    others = () if literals.is_looked_up(place.name, functions) else (_OTHER,)
    options = [(f"{place.label}={text!r}", _said(text, place)) for text in (*known, *others)]
    labels, nodes = zip(*options, strict=True)
    return ChoiceNode(Point(f"text of {place.key or place.label}", labels), nodes)


def is_called_key(name: str) -> bool:
    """Whether a parameter of this name holds a random key, or several."""
    return bool(_KEY.search(name) or _KEYS.search(name))


def array(place: Place, kind: Kind = kinds.ANYTHING) -> Node:
    """An array of which only the name is known, and perhaps that it is one of NumPy's."""
    assert place.guess is not None
    if is_called_key(place.name):
        rank = 1 if _KEYS.search(place.name) else 0
        node: Node = ArrayNode(place.label, (Dim("", "anonymous"),) * rank, (_types.key_dtype(),))
        return NotedNode(node, f"{place.label} a random key" if rank == 0 else f"{place.label} random keys")
    likely = 1 + bool(_MATRIX.search(place.name))
    rank = likely if place.guess.round == 0 else _RANKS[place.guess.round % len(_RANKS)]
    host = isinstance(kind, kinds.NumpyArray)
    dims, dtypes = (Dim("", "anonymous"),) * rank, (_scalar(kind),)
    node = ArrayNode(place.label, dims, dtypes, place.number, anonymous_stem(place), host)
    return NotedNode(node, f"{place.label} of {rank} {'axis' if rank == 1 else 'axes'}")


def _scalar(kind: Kind) -> np.dtype[Any]:
    """The dtype of an array of NumPy's, where the annotation says it."""
    said = kind.scalar if isinstance(kind, kinds.NumpyArray) else None
    try:
        return np.dtype(np.float32 if said is None or not isinstance(said, type) else said)
    except TypeError:
        return np.dtype(np.float32)


def _is_bare_array(kind: Kind) -> bool:
    return isinstance(kind, kinds.Class) and issubclass(kind.cls, jax.Array)


def is_numeric(kind: Kind) -> bool:
    """Whether this is a union of an array of unknown shape with numbers and arrays of NumPy's."""
    members = _types.alternatives(kind)
    numbers = [one for one in members if isinstance(one, kinds.Scalar | kinds.NumpyArray | kinds.NumpyScalar)]
    return any(map(_is_bare_array, members)) and 0 < len(numbers) == len(members) - 1


def _is_bare_callable(kind: Kind) -> bool:
    """Whether this is `Callable`, or `Callable[..., Any]`."""
    match kind:
        case kinds.Callable(_, None, result):
            return result is None or result.hint is Any
        case _:
            return False


def _subclass(kind: Kind, place: Place, build: Build) -> Node | None:
    """An instance of a class of the same package that is not abstract: of the simplest first."""
    cls = kind.instance_class
    if cls is None or not (classes.lacks_parts(cls) or _is_declared_only(cls) or has_others(kind)):
        return None
    assert place.guess is not None
    found = sorted((one for one in concrete(cls) if one not in place.inside), key=_needs)
    first = place.guess.round % len(found) if found and not place.inside else 0
    for chosen in (*found[first:], *found[:first]):
        try:
            return NotedNode(build(kind_of(chosen), place), f"{place.label} a {chosen.__name__}")
        except UnbuildableError:
            continue
    return None


def has_others(kind: Kind) -> bool:
    """Whether a class of another package has subclasses there: of which it is only the general case."""
    cls = kind.instance_class
    return cls is not None and classes.is_of_others(cls) and bool(concrete(cls))


def is_made_whole(kind: Kind) -> bool:
    """Whether a guess is a value of the type as it stands, rather than one made of guesses."""
    return has_others(kind) or optimisers.is_optimiser(kind)


@functools.lru_cache(maxsize=1024)
def _needs(cls: type) -> int:
    """How much a constructor wants to know that no annotation says: what is neither array nor default."""
    try:
        params = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        return _MANY
    hints = [p.annotation for p in params if p.default is inspect.Parameter.empty]
    return sum(1 if "Array" in str(hint) else 3 for hint in hints)


def _is_declared_only(cls: type) -> bool:
    return not classes.is_of_others(cls) and cls.__name__.startswith(("Abstract", "Base"))


def concrete(cls: type) -> Sequence[type]:
    """The subclasses of a class in its own package that can have instances, the nearest first."""
    package = cls.__module__.partition(".")[0]
    found: list[type] = []
    waiting: list[type] = list(cls.__subclasses__()) if cls is not type else []
    while waiting:
        one = waiting.pop(0)
        waiting += one.__subclasses__()
        same = one.__module__.partition(".")[0] == package and "<locals>" not in one.__qualname__
        if same and not classes.lacks_parts(one) and one not in found:
            found.append(one)
    return found
