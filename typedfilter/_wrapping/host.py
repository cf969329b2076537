"""What JAX calls on the host in the place of a callback: a function from arrays to arrays.

Knows callbacks that hold arrays (methods, partials, modules, dataclasses): those arrays are inputs, too.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct

from typedfilter._reading.callables import name_of
from typedfilter._values.leaves import is_passed
from typedfilter._values.split import Taken
from typedfilter._values.template import Difference, Template
from typedfilter._wrapping import host_errors as _raised
from typedfilter._wrapping.stack import Unwound, rewind, unwind
from typedfilter.errors import HostShapeError, HostStaticArgumentError, ShapeError, StaticArgumentError


def taken_apart(callback: Callable[..., Any]) -> tuple[Unwound, tuple[Any, ...]]:
    """A callback as what is called, without what it is bound to; and that, as a pytree of all its arrays."""
    if _holds_arrays(callback):
        call: Any = type(callback).__call__
        callback = call.__get__(callback)
    unwound = unwind(callback)
    return dataclasses.replace(unwound, bound=()), opened(unwound.bound)


class _Record:
    """An object of a dataclass that JAX knows nothing of, as a node whose children are its fields."""

    def __init__(self, shell: _Shell, values: Sequence[Any]) -> None:
        self.shell = shell
        self.values = values


class _Shell:
    """Such an object without its fields; equal to another one of the same class."""

    def __init__(self, blank: Any, names: tuple[str, ...]) -> None:
        self.blank = blank
        self.names = names

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shell) and type(self.blank) is type(other.blank)

    def __hash__(self) -> int:
        return hash(type(self.blank))


jax.tree_util.register_pytree_node(
    _Record, lambda record: (record.values, record.shell), lambda shell, values: _Record(shell, tuple(values))
)


def opened(tree: Any) -> Any:
    """`tree` with every object that is a leaf to JAX, and holds arrays in its fields, as a node."""
    return jax.tree_util.tree_map(_opened, tree)


def _opened(leaf: Any) -> Any:
    if not _holds_arrays(leaf):
        return leaf
    names = _field_names(leaf)
    return _Record(_Shell(_with(leaf, names, [None] * len(names)), names), opened(_values(leaf, names)))


def closed(tree: Any) -> Any:
    """The inverse of `opened`: objects as they were, with whatever is in the place of their arrays now."""
    return jax.tree_util.tree_map(
        lambda node: (
            _with(node.shell.blank, node.shell.names, closed(node.values))
            if isinstance(node, _Record)
            else node
        ),
        tree,
        is_leaf=lambda node: isinstance(node, _Record),
    )


def _holds_arrays(leaf: Any) -> bool:
    if not dataclasses.is_dataclass(type(leaf)) or not jax.tree_util.all_leaves([leaf]):
        return False
    leaves = jax.tree_util.tree_leaves(_values(leaf, _field_names(leaf)))
    return any(is_passed(value) or _holds_arrays(value) for value in leaves)


def _field_names(leaf: Any) -> tuple[str, ...]:
    return tuple([field.name for field in dataclasses.fields(leaf) if hasattr(leaf, field.name)])


def _values(leaf: Any, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple([getattr(leaf, name) for name in names])


def _with(leaf: Any, names: Sequence[str], values: Sequence[Any]) -> Any:
    """A copy with other values in its fields; none of the user's code is run."""
    made = copy.copy(leaf)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(made, name, value)
    return made


class _Hashable:
    """A callable as a part of a key: by itself where it can be hashed, else as the very object."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        try:
            self.digest = hash(fn)
        except TypeError:
            self.digest = id(fn)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Hashable) or self.digest != other.digest:
            return False
        return self.fn is other.fn or (self.digest != id(self.fn) and bool(self.fn == other.fn))

    def __hash__(self) -> int:
        return self.digest


class Host:
    """The function that JAX calls on the host: from arrays to arrays.

    Two are equal where they call the same with the same, so that JAX compiles an eager call once. What the
    callback is bound to is its first argument: arrays in it are inputs as all others are.
    """

    def __init__(
        self,
        callback: Unwound,
        arguments: Taken,
        inputs: Template,
        results: Template,
        received: bool,
    ) -> None:
        self.callback = callback
        self.arguments = arguments.without_arrays()  # JAX keeps this with what it compiles
        self.results = results
        self.ndims: list[int] = list(map(_host_ndim, inputs.structs))
        self.received = received  # whether those who call the program ask for what it raises
        called = _Hashable(callback.root), callback.links
        self.key: tuple[Any, ...] = called, arguments.names, inputs.key, results.key, received

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Host) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __call__(self, *arrays: Any) -> list[Any]:
        if self.received or _raised.asking.count:
            return _raised.kept(lambda: self.run(arrays))
        return self.run(arrays)

    def run(self, arrays: tuple[Any, ...]) -> list[Any]:
        (bound, *args), kwargs = self.arguments.join(arrays)
        callback = rewind(self.callback.root, self.callback.links, closed(bound))
        found = self.results.fit(callback(*args, **kwargs), self.batch(arrays))
        if isinstance(found, Difference):
            raise self.error(found)
        return found

    def batch(self, arrays: tuple[Any, ...]) -> tuple[int, ...]:
        """The axes that `jax.vmap` has put in front of the arrays."""
        fronts = [array.shape[: array.ndim - ndim] for array, ndim in zip(arrays, self.ndims, strict=True)]
        return np.broadcast_shapes(*fronts)

    def error(self, difference: Difference) -> ShapeError | StaticArgumentError:
        where = f" at `{difference.where}`" if difference.where else ""
        return (HostStaticArgumentError if difference.static else HostShapeError)(
            f"differs in {difference.what} from what result_shape_dtypes declares{where}",
            function=name_of(self.callback.root),
            parameter="return",
            expected=difference.expected,
            actual=difference.actual,
            fix="return what is declared, or declare what is returned",
        )


def _host_ndim(struct: ShapeDtypeStruct) -> int:
    """How many axes an array has on the host, where a random key is the numbers that it is made of."""
    if jnp.issubdtype(struct.dtype, jax.dtypes.prng_key):
        struct = jax.eval_shape(jax.random.key_data, struct)
    return len(struct.shape)
