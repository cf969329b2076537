"""A value against an annotation, every element of it, with sizes that may be symbols.

Knows types, dimensions and pytrees; knows nothing of functions, transforms or how values are made.
The walk is that of the check at run time (`_shapes.walk`); names are bound to symbols here, and instances
are looked into, since what their fields hold is all that a proof can know of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.core
import numpy as np
from jax import export

from typedfilter._reading import dims, kinds
from typedfilter._reading.dims import Bindings, DisagreementError
from typedfilter._reading.fields import filled_kinds
from typedfilter._reading.kinds import Kind, kind_of
from typedfilter._reading.text import show
from typedfilter._shapes.instances import Fields, check_of, fields_fit, fields_in, fields_of
from typedfilter._shapes.standing import Standing
from typedfilter._shapes.walk import Binder, Failure, Missing, Path, attributes, leaves_of, structure_of, walk
from typedfilter._values.text import array_text, structure_text
from typedfilter.check.inputs import types


class MismatchError(Exception):
    """A value does not have its annotated type.

    Attributes:
        path: where in the value: `[0]`, `.hidden`; empty for the value itself.
        expected: the annotation of that place.
        found: what is there.
        why: what exactly disagrees, where the two do not say so themselves.
        cls: the class of what is there; None where that says nothing.
    """

    def __init__(self, path: str, expected: str, found: str, why: str = "", cls: type | None = None) -> None:
        super().__init__(f"{path or 'the value'}: expected {expected}, found {found}")
        self.path = path
        self.expected = expected
        self.found = found
        self.why = why
        self.cls = cls


class StubError(TypeError):
    """A stand-in for a callable was called with what its annotation does not allow."""


def describe(value: Any) -> str:
    """What a value is, in a line: `f32[b,n]`, `int 3`, `tuple of 2`."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = "numpy " if isinstance(value, (np.ndarray, np.generic)) else ""
        is_key = jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)
        return kind + array_text("key" if is_key else value.dtype, value.shape)
    if isinstance(value, jax.tree_util.PyTreeDef):
        return f"a tree {structure_text(value)}"
    if value is None:
        return "None"
    if isinstance(value, (bool, int, float, complex, str)):
        return f"{type(value).__name__} {value!r}"
    name = type(value).__name__
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(describe, value))
        if len(inner) <= 60:
            return f"{name}({inner})" if name not in ("tuple", "list") else f"{name} of {inner or 'nothing'}"
        return f"{name} of {len(value)}"
    if isinstance(value, dict):
        return f"dict of {', '.join(map(repr, value))}" if value else "dict of nothing"
    return f"a {name}"


def check(value: Any, kind: Kind, bindings: Bindings, path: str = "") -> None:
    """Compare `value` with a type; bind the names that it is the first to mention.

    Raises:
        MismatchError: at the first place where they disagree; nothing is bound then.
    """
    failure = Symbols.of(bindings).attempt(kind, value, (path,))
    if failure is not None:
        found = "nothing" if failure.value is Missing else describe(failure.value)
        path, cls = "".join(failure.path).replace('"', "'"), type(failure.value)
        raise MismatchError(path, show(failure.kind.hint), found, failure.why, cls)


@dataclasses.dataclass
class Symbols(Binder):
    """Names that are bound to sizes which may be symbols, and what stands for arrays and numbers there."""

    bindings: Bindings = dataclasses.field(default_factory=Bindings)
    leaf: str = ""

    @classmethod
    def of(cls, bindings: Bindings) -> Symbols:
        returned = bindings.returned
        return cls(
            returned,
            numbers=returned and bindings.numbers,
            numpy=bindings.numpy or not returned,
            bindings=bindings,
        )

    def array(self, kind: kinds.Array, value: Any, path: Path) -> Failure | None:
        traced = self.numpy and isinstance(value, jax.core.Tracer)
        cls = (kind.with_tracers if traced else kind.hint).array_type
        stands = isinstance(value, jax.ShapeDtypeStruct) and kind.takes_tracers
        stands = stands or isinstance(value, Standing)
        if not (stands or (hasattr(value, "dtype") if cls is Any else isinstance(value, cls))):
            return Failure(path, kind, value)
        if not kind.takes_dtype(value.dtype):
            return Failure(path, kind, value, f"the dtype is {types.dtype_text(value.dtype)}")
        try:
            dims.match(kind.dims, value.shape, self.bindings, self.leaf)
        except DisagreementError as problem:
            return Failure(path, kind, value, str(problem))
        return None

    def tree(self, kind: kinds.Tree, value: Any, path: Path) -> Failure | None:
        leaves = list(leaves_of(kind, value, self))
        if kind.structure is not None:
            treedef = structure_of(kind, value, self)
            if failure := _structure(kind, kind.structure, treedef, self.bindings, path):
                return failure
        for index, (place, item) in enumerate(leaves):
            inside = dataclasses.replace(self, leaf=str(index))
            if failure := walk(kind.leaf, item, (*path, place), inside):
                return failure
        return None

    def attempt(self, kind: Kind, value: Any, path: Path) -> Failure | None:
        trial = self.bindings.copy()
        failure = walk(kind, value, path, dataclasses.replace(self, bindings=trial))
        if failure is None:
            self.bindings.take(trial)
        return failure

    def is_instance(self, value: Any, cls: Any) -> bool:
        stands = isinstance(value, jax.ShapeDtypeStruct) and issubclass(jax.Array, cls)
        return stands or isinstance(value, cls)

    def is_number(self, value: Any) -> bool:
        return export.is_symbolic_dim(value)

    def members(self, kind: kinds.Variable) -> tuple[Kind, ...]:
        chosen = self.bindings.members.get(str(kind.hint))  # by an argument
        return kind.members if chosen is None else (types.alternatives(kind)[chosen],)

    def called(self, kind: kinds.Callable, value: Any, path: Path) -> Failure | None:
        if self.bindings.call is not None:
            self.bindings.call(value, kind, self.bindings, "".join(path))
        return None

    def instance(self, kind: kinds.Class, value: Any, path: Path) -> Failure | None:
        filled = filled_kinds(kind) if kind.arguments else {}
        fields = fields_of(type(value), filled) if check_of(type(value)) else Fields({}, {})
        bindings = self.bindings
        if type(value) in bindings.apart:
            bindings = bindings.of_instance()
        inside = dataclasses.replace(
            self, bindings=bindings, fields=True, filtered=True, numbers=True, numpy=True
        )

        def attempt(found: Mapping[str, Kind], stacked: int) -> Failure | None:
            trial = bindings.copy()
            within = dataclasses.replace(inside, bindings=trial, stacked=stacked)
            failure = attributes(found, value, path, within)
            if failure is None:
                bindings.take(trial)
            return failure

        return (
            attributes(filled, value, path, dataclasses.replace(inside, bindings=self.bindings))
            or fields_fit(fields.sharing, value, attempt)
            or attributes(fields_in(fields.apart, value), value, path, inside)
        )


def repeated_classes(value: Any) -> frozenset[type]:
    """The classes whose instances in `value` share dimension names with one another."""
    owners: dict[str, list[type]] = {}
    for instance in _instances(value):
        for name in {
            d.text for a in _own_arrays(kind_of(type(instance))) for d in a.dims if d.kind == "named"
        }:
            owners.setdefault(name, []).append(type(instance))
    return frozenset(cls for classes in owners.values() if len(classes) > 1 for cls in classes)


def _instances(value: Any) -> Iterator[Any]:
    """Every instance of a class with annotated fields in `value`."""
    if isinstance(value, (list, tuple, set, frozenset)):
        inner: list[Any] = list(value)
    elif isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, (jax.Array, np.ndarray, str)):
        return
    else:
        fields = types.fields_of(kind_of(type(value)))
        inner = [getattr(value, name) for name in fields if hasattr(value, name)]
        if fields:
            yield value
    for item in inner:
        yield from _instances(item)


def _own_arrays(kind: Kind) -> Iterator[kinds.Array]:
    """The arrays in the fields of a class, but not in those of a class that is in a field."""
    for child in types.children(kind):
        if isinstance(child, kinds.Array):
            yield child
        elif not types.fields_of(child):
            yield from _own_arrays(child)


def _structure(
    kind: kinds.Tree, structure: str, treedef: Any, bindings: Bindings, path: Path
) -> Failure | None:
    pieces = structure.split()
    if len(pieces) == 1 and pieces[0] != "...":
        expected = bindings.structures.setdefault(pieces[0], treedef)
        return None if treedef == expected else _other(kind, treedef, expected, path)
    names = [piece for piece in pieces if piece != "..."]
    unknown = [name for name in names if name not in bindings.structures]
    if unknown:
        return Failure(path, kind, treedef, f"no structure is known for `{unknown[0]}`")
    tree: Any = 0
    for name in names:
        known = bindings.structures[name]
        inner = jax.tree.unflatten(known, [0] * known.num_leaves)
        tree = jax.tree.map(lambda _, inner=inner: inner, tree)
    expected = jax.tree.structure(tree)
    if pieces[0] == "...":
        good = _all_parts_are(treedef, expected)
    elif pieces[-1] == "...":
        good = _begins_with(treedef, expected)
    else:
        good = treedef == expected
    return None if good else _other(kind, treedef, expected, path)


def _other(kind: kinds.Tree, found: Any, expected: Any, path: Path) -> Failure:
    return Failure(
        path, kind, found, f"the structure is {structure_text(found)}, not {structure_text(expected)}"
    )


def _all_parts_are(treedef: Any, part: Any) -> bool:
    tree = treedef.unflatten([0] * treedef.num_leaves)
    parts = jax.tree.leaves(tree, is_leaf=lambda x: jax.tree.structure(x) == part)
    return all(jax.tree.structure(x) == part for x in parts)


def _begins_with(treedef: Any, outer: Any) -> bool:
    try:
        outer.flatten_up_to(treedef.unflatten([0] * treedef.num_leaves))
    except ValueError:
        return False
    return True
