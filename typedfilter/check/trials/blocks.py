"""Readings under which a size comes in whole blocks: of two for a half, of as many as there are groups.

`n` is any size to an annotation, and code that splits it into parts means those that can be split. What the
blocks are is read from the error, or from what the signature offers. Knows texts of errors; knows nothing
of how readings are tried.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from typedfilter.check.inputs.numbers import offered_by
from typedfilter.check.inputs.signature import Letter
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.problem import Raised

_LARGEST = 1024
_FIX = "write the product in the annotations, or refuse other sizes with a `raise`"
SPLITS = re.compile(r"reshape|divi|split|rearrange|multiple|even", re.IGNORECASE)
_DIVIDED = re.compile(r"\b(?:floordiv|mod)\((\w+), (\w+)\)")
_HALF = re.compile(r"(\w+)\s*//\s*(\d+)")  # who writes it in an annotation means what it divides
_RESHAPED = re.compile(r"reshape array of shape \(([\d, ]*)\).* into shape \(([-\d, ]*)\)")
_CHUNKS = re.compile(r"divide axis of length (\d+) in chunks of (\d+)")


def whole_blocks(tried: Tried) -> Iterator[Letter]:
    """Sizes in whole blocks, of a function that raises for others; the likeliest first."""
    problem, names = tried.problem, tried.layout.names
    if problem is None:
        return
    raised = isinstance(problem, Raised)
    if raised:
        yield from _of_offered(tried, problem.message)
    known = dict(names.equal)
    halves = [(found[1], found[2]) for text in names.expressions for found in _HALF.finditer(text)]
    told = _divided(problem.message, tried.sizes) if raised else ()
    evens = [(name, "2") for name in names.varied if raised and _is_good_if_even(tried, name)]
    for name, block in dict.fromkeys([*told, *halves, *evens]):
        counts = 1 < int(block) <= _LARGEST if block.isdigit() else block != name
        if name in names.varied and name not in known and counts:
            text = f"where {name} is a multiple of {block}"
            yield Letter(text, _FIX, equal=((name, f"{block}*blocks_of_{name}"),))


def _is_good_if_even(tried: Tried, name: str) -> bool:
    """Whether a function was good at even sizes alone, and failed at an odd one."""
    good = [sizes[name] for sizes in tried.good]
    return bool(good) and all(size % 2 == 0 for size in good) and tried.sizes.get(name, 0) % 2 == 1


def _of_offered(tried: Tried, said: str) -> Iterator[Letter]:
    """Blocks of as many as an argument says: `size: Literal[32, 64]`."""
    counts = sorted({count for count in offered_by(tried.signature) if count > 1})
    whole = math.lcm(*counts)
    if not (counts and tried.good and whole <= _LARGEST and SPLITS.search(said)):
        return
    for name in reversed(tried.layout.names.varied):
        if all(good[name] % counts[0] == 0 for good in tried.good):
            block = f"{whole}*blocks_of_{name}"
            text, fix = f"where {name} is a multiple of {whole}", "refuse other sizes with a `raise`"
            yield Letter(text, fix, equal=((name, block),))


def _sizes_in(shape: str) -> Counter[str]:
    return Counter(found[0] for found in re.finditer(r"-?\d+", shape))


def _divided(said: str, sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Names that an error tells to be divided, each with a number or with the name that divides it."""
    called = {str(size): name for name, size in sizes.items()}
    yield from ((found[1], found[2]) for found in _DIVIDED.finditer(said))
    for found in _CHUNKS.finditer(said):
        yield called.get(found[1], ""), called.get(found[2], found[2])
    for found in _RESHAPED.finditer(said):
        before, after = (_sizes_in(found[1]), _sizes_in(found[2]))
        parts = [called.get(size, size) for size in (after - before).elements() if size not in ("1", "-1")]
        for size in before - after:
            if len(before - after) == 1 < len(parts):
                yield called.get(size, ""), "*".join(parts)
            yield from ((called.get(size, ""), part) for part in parts)
