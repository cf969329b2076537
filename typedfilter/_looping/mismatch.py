"""What does not come back as it went in, or differs between branches: by path, with a fix for each kind.

Knows leaves and structures; knows nothing of loops. One error lists all that differs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax.tree_util import keystr, tree_flatten_with_path

from typedfilter._looping.pieces import exact_keys_of_dicts, is_traced
from typedfilter._values.leaves import is_passed
from typedfilter._values.split import Rest
from typedfilter._values.template import same_static
from typedfilter._values.text import array_text, structure_text
from typedfilter._values.trees import same_structure
from typedfilter.errors import ShapeError

_NOTHING = object()


class Found:
    """A tree as it was seen: by path, what is traced as its type and everything else as it is."""

    def __init__(self, tree: Any, traced: Sequence[bool]) -> None:
        flat, treedef = tree_flatten_with_path(tree)
        self.treedef: Any = treedef
        self.leaves = {
            keystr(path): _Traced.of(leaf) if is_traced else leaf
            for (path, leaf), is_traced in zip(flat, traced, strict=True)
        }
        self.dicts = exact_keys_of_dicts(tree)

    @classmethod
    def of(cls, rest: Rest, leaves: Sequence[Any]) -> Found:
        """What `rest.join(leaves)` is."""
        taken = set(rest.taken_at)
        return cls(rest.join(leaves), [i in taken for i in range(rest.treedef.num_leaves)])

    @classmethod
    def beside(cls, other: Found, tree: Any) -> Found:
        """A tree that must be like another one: a number is traced unless it is static there."""
        flat, _ = tree_flatten_with_path(tree)
        wanted = [other.leaves.get(keystr(path), _NOTHING) for path, _ in flat]
        numbers = [one is _NOTHING or isinstance(one, _Traced) for one in wanted]
        pairs = zip(flat, numbers, strict=True)
        return cls(tree, [is_passed(leaf) or (number and is_traced(leaf)) for (_, leaf), number in pairs])

    def is_like(self, other: Found) -> bool:
        """Whether both have one structure, exactly."""
        return same_structure(self.treedef, other.treedef) and self.dicts == other.dicts


@dataclasses.dataclass(frozen=True)
class _Traced:
    """The type of an array, or of the array that a number becomes."""

    shape: tuple[Any, ...]
    dtype: Any
    weak: bool

    @classmethod
    def of(cls, leaf: Any) -> _Traced:
        if isinstance(leaf, cls):
            return leaf
        aval: Any = jax.typeof(leaf)
        return cls(aval.shape, aval.dtype, bool(getattr(aval, "weak_type", False)))

    def __str__(self) -> str:
        return array_text(self.dtype, self.shape) + (" (weakly typed)" if self.weak else "")


def types_of(leaves: Sequence[Any]) -> list[Any]:
    """What is remembered of leaves, in their place, for `Found.of`: no tracer may be, beyond its trace."""
    return list(map(_Traced.of, leaves))


@dataclasses.dataclass(frozen=True)
class Difference:
    """One place where two trees differ."""

    path: str  # to the leaf; empty for the tree as a whole
    what: str  # the shape, dtype, structure or static value
    first: str  # what the first tree has there
    second: str  # what the second has
    weak: bool = False  # whether the first is weakly typed: JAX then promotes it to the type of the second


def differences(first: Found, second: Found) -> list[Difference]:
    """Every place where two trees differ; weak types aside, which JAX promotes."""
    found = [
        difference
        for path in dict.fromkeys([*first.leaves, *second.leaves])
        if (difference := _at(path, first.leaves.get(path, _NOTHING), second.leaves.get(path, _NOTHING)))
    ]
    if first.is_like(second) or any(one.what == "structure" for one in found):
        return found
    texts = structure_text(first.treedef), structure_text(second.treedef)
    if texts[0] == texts[1]:
        texts = texts[0], f"{texts[1]}, of which the static parts differ"
    return [Difference("", "structure", *texts), *found]


def _at(path: str, first: Any, second: Any) -> Difference | None:
    if first is _NOTHING or second is _NOTHING:
        return Difference(path, "structure", _shown(first), _shown(second))
    if isinstance(first, _Traced) and isinstance(second, _Traced):
        whats = [name for name in ("shape", "dtype") if getattr(first, name) != getattr(second, name)]
        what = " and ".join(whats)
        return Difference(path, what, str(first), str(second), weak=first.weak) if whats else None
    if isinstance(first, _Traced) or isinstance(second, _Traced):
        return Difference(path, "static value", _shown(first), _shown(second))
    if same_static(first, second):
        return None
    return Difference(path, "static value", _shown(first), _shown(second))


def _shown(leaf: Any) -> str:
    if leaf is _NOTHING:
        return "nothing"
    if isinstance(leaf, _Traced):
        return str(leaf)
    text = repr(leaf)
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"static {type(leaf).__name__} {text}"


_CARRY_FIXES = {
    "shape": "keep the shape in the body, or start with the one that it returns",
    "dtype": "cast what the body returns to the dtype that went in, or start with the one that it returns",
    "structure": "return the structure that went in",
    "static value": "keep what is static as it is: what changes must be an array or a number at the start",
}
_BRANCH_FIXES = {
    "shape": "return one shape from all branches",
    "dtype": "cast to one dtype in all branches",
    "structure": "return one structure from all branches",
    "static value": "return one static value from all branches; what differs must be an array or a number",
}


def mismatch(
    found: Sequence[Difference], problem: str, function: str, name: str, verbs: tuple[str, str]
) -> ShapeError:
    """The error for all that differs.

    Args:
        found: what differs.
        problem: the predicate of the function, before the list.
        function: whose fault it is.
        name: what the tree is called.
        verbs: what to say after what each of the two trees has.
    """
    first, second = verbs
    lines = [
        f"    {name}{one.path}: {one.first} {first}, {one.second} {second} ({one.what})" for one in found
    ]
    fixes = _CARRY_FIXES if first == "went in" else _BRANCH_FIXES
    whats = [what for one in found for what in one.what.split(" and ")]
    return ShapeError(
        "\n".join([f"{problem}:", *lines]),
        function=function,
        fix="; ".join(fixes[what] for what in dict.fromkeys(whats)),
    )
