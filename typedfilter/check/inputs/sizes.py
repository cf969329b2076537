"""Sizes for the names of a signature: symbols, for a proof, and sets of numbers, for a check.

Knows `jax.export.symbolic_shape`; knows nothing of annotations or functions. Every axis that an
annotation mentions is taken to hold at least one element: `n-2` says that `n` is 3 or more.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from jax import export

from typedfilter._reading import dims
from typedfilter._reading.dims import Size

# What the parser of symbolic shapes keeps for itself.
_RESERVED = frozenset({"max", "min", "mod", "floordiv", "and", "or", "not"})

_ATTEMPTS = 64


@dataclasses.dataclass(frozen=True)
class Names:
    """The free names of one case, in the order of their first mention, and the expressions over them."""

    free: tuple[str, ...]  # each needs a size
    # what annotations compute from them (`n+1`), with `{...}` already filled in
    expressions: tuple[str, ...] = ()
    fixed: tuple[tuple[str, int], ...] = ()  # names whose size an example gives
    # names that are taken to be another one, or an expression over others
    equal: tuple[tuple[str, str], ...] = ()

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names that get a size of their own."""
        equal = dict(self.equal)
        return tuple(name for name in self.free if name not in equal)

    @property
    def varied(self) -> tuple[str, ...]:
        """The names whose size nobody has said."""
        fixed = dict(self.fixed)
        return tuple(name for name in self.chosen if name not in fixed)

    def complete(self, sizes: Mapping[str, Size]) -> dict[str, Size]:
        """`sizes` of the chosen names, and of those that equal one of them."""
        known = set(sizes)
        equal = {
            n: e
            for n, e in self.equal
            if e in known or (not e.isidentifier() and known.issuperset(dims.names_in(e)))
        }
        return {**sizes, **{name: dims.evaluate(other, sizes) for name, other in equal.items()}}


def symbolic(names: Names) -> dict[str, Size]:
    """One symbol a name, all of one scope, constrained so that every expression is at least 1.

    Raises:
        Exception: whatever JAX says of an expression that it can't represent.
    """
    fixed = dict(names.fixed)
    free = names.varied
    if not free:
        return names.complete(fixed)
    spelled = {name: f"{name}_" if name in _RESERVED else name for name in free}

    def made(*constraints: str) -> dict[str, Size]:
        scope = _scope(constraints)
        return names.complete({**fixed, **{name: scope.symbol(spelled[name]) for name in free}})

    sizes = made()
    # A constraint is written with the symbols of a scope that has none yet.
    values = (dims.evaluate(expression, sizes) for expression in names.expressions)
    constraints = [f"{value} >= 1" for value in values if export.is_symbolic_dim(value)]
    return made(*constraints) if constraints else sizes


class _Scope:
    """A scope, and its symbols: JAX then knows the parts of jax.numpy that it has traced with them."""

    def __init__(self, constraints: tuple[str, ...]) -> None:
        self._scope = export.SymbolicScope(constraints)
        self._symbols: dict[str, Size] = {}

    def symbol(self, name: str) -> Size:
        """The symbol of this name, the same each time."""
        if name not in self._symbols:
            (self._symbols[name],) = export.symbolic_shape(name, scope=self._scope)
        return self._symbols[name]


_scope = functools.lru_cache(maxsize=256)(_Scope)


def concrete(names: Names, extra: Iterable[int] = ()) -> Iterator[dict[str, int]]:
    """Sets of sizes: unequal odd ones, unequal even ones, all one, all equal; then each of `extra`.

    A set that makes an expression smaller than 1 (or not a whole number) is moved up until none is.
    """
    chosen = names.chosen
    count = len(chosen)
    primes = list(itertools.islice(_odd_sizes(), count))
    evens = [2 * (count - i) + 2 for i in range(count)]  # falling, where the odd ones rise
    sets: list[Sequence[int]] = [primes, evens, [1] * count, [4] * count]
    least = [_repaired(dict(zip(chosen, values, strict=True)) | dict(names.fixed), names) for values in sets]
    if least[0] is not None and all(one in (None, least[0]) for one in least):  # all were moved up to one
        sets.insert(1, [2 * least[0][name] + 1 for name in chosen])
    for value in extra:
        # The others get sizes of their own, so that a constant stands out.
        sets.extend([value if i == j else primes[j] + 1 for j in range(count)] for i in range(count))
        if count > 1:
            sets.append([value * (j + 1) for j in range(count)])
    seen: set[tuple[int, ...]] = set()
    for values in sets:
        sizes = _repaired(dict(zip(chosen, values, strict=True)) | dict(names.fixed), names)
        if sizes is not None and tuple(sizes.values()) not in seen:
            seen.add(tuple(sizes.values()))
            yield sizes


def pairs(names: Names) -> Iterator[dict[str, int]]:
    """Sets in which two of the sizes are equal and all others differ; none for two names, or for many."""
    chosen = names.varied
    if not 3 <= len(chosen) <= 5:
        return
    odd = list(itertools.islice(_odd_sizes(), len(chosen)))
    for one, other in itertools.combinations(range(len(chosen)), 2):
        values = [odd[one] if i == other else size for i, size in enumerate(odd)]
        sizes = _repaired(dict(zip(chosen, values, strict=True)) | dict(names.fixed), names)
        if sizes is not None:
            yield sizes


def _odd_sizes() -> Iterator[int]:
    found: list[int] = []
    for number in itertools.count(3, 2):
        if all(number % prime for prime in found):
            found.append(number)
            yield number


def _repaired(sizes: dict[str, int], names: Names) -> dict[str, int] | None:
    """`sizes`, with names made larger until every expression is a size; None where that does not help."""
    fixed = dict(names.fixed)
    equal = dict(names.equal)
    for _ in range(_ATTEMPTS):
        complete = names.complete(sizes)
        failing = next((e for e in names.expressions if not _is_size(_value(e, complete))), None)
        if failing is None:
            return complete
        movable = [equal.get(name, name) for name in dims.names_in(failing)]
        movable = [name for name in movable if name in sizes and name not in fixed]
        better = [name for name in movable if _improves(failing, sizes, name, names)]
        if not better:
            return None
        sizes = sizes | {better[0]: sizes[better[0]] + 1}
    return None


def _value(expression: str, sizes: Mapping[str, int]) -> float:
    try:
        value = dims.evaluate(expression, sizes)
    except ArithmeticError:
        return -1.0
    return value if isinstance(value, (int, float)) else -1.0


def _is_size(value: float) -> bool:
    return value >= 1 and value == int(value)


def _improves(expression: str, sizes: Mapping[str, int], name: str, names: Names) -> bool:
    """Whether a larger `name` brings the expression nearer to a size: it grows, or becomes whole."""
    here = _value(expression, names.complete(sizes))
    larger = ({**sizes, name: sizes[name] + step} for step in (1, 2, 4, 8, 16))
    steps = [_value(expression, names.complete(sizes)) for sizes in larger]
    return any(value > here or _is_size(value) for value in steps)
