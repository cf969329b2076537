"""Calls of a mapped function that look like one before: which of their arrays are mapped is known.

Where no option asks a callable, that is a function of the structure of the arguments, and of the classes and
shapes of their leaves. Knows nothing of what is mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

from jax.tree_util import tree_flatten, tree_leaves

from typedfilter._mapping.axes import Mapped
from typedfilter._values.described import is_told, of_leaf
from typedfilter._values.leaves import IfArray
from typedfilter._values.split import Rest
from typedfilter._values.trees import Treedef


class _Layout:
    """Where the mapped arrays are among all leaves of a call, along which axes, and of what size."""

    __slots__ = ("axes", "names", "size", "taken_at")

    def __init__(self, mapped: Mapped, names: tuple[str, ...]) -> None:
        self.axes = tuple(mapped.axes)
        self.size = mapped.size
        self.names = names
        self.taken_at: list[int] = []
        first = 0
        for rest in mapped.taken.rests:
            self.taken_at += [first + at for at in rest.taken_at]
            first += rest.treedef.num_leaves if isinstance(rest, Rest) else 0


class KnownCall:
    """The arguments of a call that is known, with the mapped arrays taken out."""

    __slots__ = ("_layout", "_leaves", "_treedef", "arrays")

    def __init__(self, layout: _Layout, leaves: list[Any], treedef: Treedef) -> None:
        self._layout = layout
        self._leaves = leaves
        self._treedef = treedef
        self.arrays = [leaves[at] for at in layout.taken_at]

    @property
    def axes(self) -> tuple[int, ...]:
        return self._layout.axes

    @property
    def size(self) -> int:
        return self._layout.size

    def join(self, arrays: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments, with `arrays` in the place of what is mapped."""
        leaves = self._leaves.copy()
        for at, array in zip(self._layout.taken_at, arrays, strict=True):
            leaves[at] = array
        args, values = self._treedef.unflatten(leaves)
        return args, dict(zip(self._layout.names, values, strict=True))


class KnownCalls:
    """The calls of one mapped function; `resolve(args, kwargs)` says of a new one what is mapped."""

    limit: ClassVar[int] = 128  # calls; with more, all are forgotten
    patience: ClassVar[int] = 8  # calls in a row that can't be known, until none is looked up any more

    def __init__(
        self,
        in_axes: Any,
        resolve: Callable[[Sequence[Any], Mapping[str, Any]], Mapped],
    ) -> None:
        asked = [axis for axis in tree_leaves(in_axes) if not isinstance(axis, int | IfArray)]
        self._resolve = resolve
        self._layouts: dict[Hashable, _Layout] = {}
        self._refused = self.patience if asked else 0

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> KnownCall | Mapped:
        """The arguments with the mapped arrays taken out."""
        if self._refused >= self.patience:
            return self._resolve(args, kwargs)
        names = tuple(kwargs)
        try:
            leaves, treedef = tree_flatten((args, tuple(kwargs.values())))
        except (TypeError, ValueError):  # JAX's about a node; better is said of each argument
            return self._resolve(args, kwargs)
        try:
            key = treedef, names, tuple(map(of_leaf, leaves))
            layout = self._layouts.get(key)
        except Exception:  # somebody's node that can't be compared
            return self._resolve(args, kwargs)
        if layout is not None:
            return KnownCall(layout, leaves, treedef)
        mapped = self._resolve(args, kwargs)
        self._add(key, (args, tuple(kwargs.values())), _Layout(mapped, names))
        return mapped

    def _add(self, key: Hashable, values: Any, layout: _Layout) -> None:
        if not is_told(values, by_class=True):
            self._refused += 1
            return
        if len(self._layouts) >= self.limit:
            self._layouts.clear()
        self._refused = 0
        self._layouts[key] = layout
