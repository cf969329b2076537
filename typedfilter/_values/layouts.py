"""Where the arrays of pytrees of one structure are, and what tells the rest of one from that of another.

Found once for a structure: of each tree only its other leaves are looked at, and the keys of its
dictionaries. Knows nothing of what is made of the rest, but that it is kept as long as somebody uses it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import jax

from typedfilter._values.dictionaries import Dicts, exact_dict_keys
from typedfilter._values.keys import exact_key, is_self_exact
from typedfilter._values.memory import HasKey, InternTable
from typedfilter._values.split import getter
from typedfilter._values.trees import Treedef


class Part(HasKey, Protocol):
    """What is made of the rest of a tree."""

    stays_equal: bool  # nobody can change an object in it

    @property
    def is_current(self) -> bool:
        """Whether nobody has changed one since its key was made."""
        ...


P = TypeVar("P", bound=Part)


class Layout(Generic[P]):
    """Where the arrays of one structure are, and the live static parts of it."""

    def __init__(self, tree: Any, key: tuple[Treedef, tuple[type | None, ...]]) -> None:
        self.key = key
        self.taken_at = [i for i, kind in enumerate(key[1]) if kind is None]
        self.others_at = [i for i, kind in enumerate(key[1]) if kind is not None]
        self.take = getter(self.taken_at)
        self.take_others = getter(self.others_at)
        self.inexact = [not is_self_exact(kind) for kind in key[1] if kind is not None]
        self.exact = not any(self.inexact)
        self.dicts = Dicts.of(tree)
        paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
        self.names = [jax.tree_util.keystr(paths[i]).removeprefix(".") for i in self.taken_at]
        self.parts: InternTable[P] = InternTable()
        self.by_types: list[Any] = []  # what finds it again, and lives as long

    def keyed(self, statics: Iterable[Any]) -> tuple[Any, ...]:
        """What tells these static leaves from others."""
        return tuple(
            [exact_key(v) if inexact else v for v, inexact in zip(statics, self.inexact, strict=True)]
        )

    def apart(self, tree: Any, leaves: list[Any]) -> tuple[Any, tuple[Hashable, Hashable], P | None]:
        """The arrays of a tree of this structure, the key of the rest, and the live part with this key.

        None where there is no such part, or somebody has changed it.
        """
        statics = self.take_others(leaves)
        key = statics if self.exact else self.keyed(statics), exact_dict_keys(tree, self.dicts)
        part = self.parts.get(key)
        if part is not None and not part.stays_equal and not part.is_current:
            part.key = object()  # nobody finds it any more
            part = None
        return self.take(leaves), key, part
