"""Readings under which unions, optionals and trees of a signature go together, as overloads would say it.

Knows the choices of a signature; knows nothing of how readings are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs.nodes import ArrayNode, walk
from typedfilter.check.inputs.signature import Letter, Signature
from typedfilter.check.inputs.trees import STRUCTURE

_ONE_STRUCTURE = 'name the structure, as in PyTree[..., "T"]'
_TOGETHER = "say it with a TypeVar or with overloads, or refuse the other combinations with a `raise`"


def together(signature: Signature) -> Iterator[Letter]:
    """Unions of which the same member is meant everywhere, and optionals that are all there or none."""
    groups: dict[tuple[str, ...], list[str]] = {}
    absent: list[tuple[str, int]] = []
    for point in _layout.points_of(signature):
        kinds = tuple(option.partition(": ")[2] for option in point.options)
        if not point.key.startswith("choice of ") or point.soft or not all(kinds):
            continue
        members = kinds
        if kinds[-1] == "None":
            absent.append((point.key, len(kinds) - 1))
            members = kinds[:-1]
        groups.setdefault(kinds, []).append(point.key)
        count = "optional" if len(members) == 1 else f"{len(members)} members"
        groups.setdefault((count,), []).append(point.key)
    for kinds, keys in groups.items():
        if len(keys) > 1:
            yield _alike(kinds, tuple(keys), () if "None" in kinds else tuple(absent))
    yield from _with_optionals(groups.get(("2 members",), []), groups.get(("optional",), []))
    yield from _trees(signature)


def _with_optionals(pairs: Sequence[str], optional: Sequence[str]) -> Iterator[Letter]:
    """Unions of two, the first for who leaves something out: `f(x)`, and `f(x, u)` where there is `u`."""
    if not (pairs and optional):
        return
    names, left = map(_named, (pairs, optional))
    are = "is" if len(pairs) == 1 else "are"
    said = f"where {names} {are} the first of two without {left}, and else the second"
    yield Letter(said, _TOGETHER, together=(*pairs, *optional), crossed=tuple(optional))


def _trees(signature: Signature) -> Iterator[Letter]:
    """Trees of which nobody names the structure: a model, and its gradient."""
    unnamed = f"{STRUCTURE} of "
    keys = [p.key for p in _layout.points_of(signature) if p.soft == STRUCTURE and p.key.startswith(unnamed)]
    if len(keys) > 1:
        names = " and ".join(f"`{key.removeprefix(unnamed)}`" for key in keys)
        rest = _are_leaves_open(signature)
        said = f"where {names} are trees of one structure" + (" and shape" if rest else "")
        yield Letter(said, _ONE_STRUCTURE, together=tuple(keys), rest=rest)


def _are_leaves_open(signature: Signature) -> bool:
    """Whether `...` stands in leaves of trees, and nowhere else: the name of a structure ties it there."""
    arrays = [n for p in signature.parameters for n in walk(p.node) if isinstance(n, ArrayNode)]
    numbers = [array.number for array in arrays if any(dim.variadic and not dim.text for dim in array.dims)]
    return bool(numbers) and all(numbers)


def _named(keys: Sequence[str]) -> str:
    return " and ".join(f"`{key.removeprefix('choice of ')}`" for key in keys)


def _alike(kinds: tuple[str, ...], keys: tuple[str, ...], absent: tuple[tuple[str, int], ...]) -> Letter:
    names = _named(keys)
    optional = kinds[-1] in ("optional", "None")
    said = "are given together or not at all" if optional else "are of one kind"
    return Letter(f"where {names} {said}", _TOGETHER, together=keys, absent=() if optional else absent)
