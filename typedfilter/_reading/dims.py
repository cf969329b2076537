"""The dimension language of jaxtyping: one string in, a tuple of `Dim` out, matched against a shape.

Knows strings and sizes, concrete or symbolic; knows nothing of annotations, values or functions.
jaxtyping keeps its own parse private and compares without symbols in mind (`n == m` is merely False for two
symbols, NumPy can't broadcast them), so the language is read here again; a test holds the two together.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from jax.core import max_dim, min_dim

Size: TypeAlias = Any
"""A size: an `int`, or a symbolic dimension of `jax.export` (which has no public type)."""


@dataclasses.dataclass(frozen=True)
class Dim:
    """One word of a dimension string."""

    text: str  # the name, the number or the expression; empty where the axis is anonymous
    kind: str  # `named`, `fixed`, `expression` or `anonymous`
    broadcast: bool = False  # `#`: a size of 1 will do as well
    variadic: bool = False  # `*`, or `...`: any number of axes
    per_leaf: bool = False  # `?`: the name means another size at each leaf of a `PyTree`
    word: str = dataclasses.field(default="", compare=False)  # the whole word, as it was written

    @property
    def is_one_axis(self) -> bool:
        """Whether this is the name of a single axis, and nothing else."""
        return self.kind == "named" and not (self.variadic or self.per_leaf or self.broadcast)


class DisagreementError(Exception):
    """A shape does not match; the text says which axis, and why."""


@functools.lru_cache(maxsize=1024)
def parse(dim_str: str) -> tuple[Dim, ...]:
    """Read a dimension string that jaxtyping has already accepted."""
    return tuple(dataclasses.replace(_parse_word(word), word=word) for word in dim_str.split())


def _parse_word(word: str) -> Dim:
    if word == "...":
        return Dim("", "anonymous", variadic=True)
    modifiers: set[str] = set()
    while word:
        if word[0] in "#*_?":
            modifiers.add(word[0])
            word = word[1:]
        elif word.count("=") == 1:  # `rows=3` documents a 3
            word = word.partition("=")[2]
        else:
            break
    flags: dict[str, Any] = {
        "broadcast": "#" in modifiers,
        "variadic": "*" in modifiers,
        "per_leaf": "?" in modifiers,
    }
    if "_" in modifiers or not word:
        return Dim("", "anonymous", variadic=flags["variadic"])
    if word.isidentifier():
        return Dim(word, "named", **flags)
    try:
        return Dim(str(int(word)), "fixed", **flags)
    except ValueError:
        return Dim(word, "expression", **flags)


# CPython 3.11 counts the depth of its parser for all threads together, and fails where two are at it.
PARSING = threading.RLock()


def parsed(text: str) -> ast.Expression:
    """The tree of an expression, of a dimension or of a whole annotation.

    Raises:
        SyntaxError: it is none.
    """
    with PARSING:
        return ast.parse(text.strip(), mode="eval")


def is_readable(dim: Dim) -> bool:
    """Whether an expression is one of Python, as it must be to have a value; so is all else."""
    if dim.kind != "expression":
        return True
    try:
        parsed(f"f{dim.text!r}" if "{" in dim.text else dim.text)
    except SyntaxError:
        return False
    return True


def meant_by(dim: Dim) -> str | None:
    """What is probably meant by a dimension that is not readable: `2*N` by `2N`."""
    times = re.sub(r"(\d)\s*([A-Za-z_])", r"\1*\2", dim.text)
    return times if is_readable(dataclasses.replace(dim, text=times)) else None


@dataclasses.dataclass
class Bindings:
    """What the names of one signature stand for in one call."""

    sizes: dict[str, Size] = dataclasses.field(default_factory=dict[str, Size])  # by name
    # the axes of each `*name`, and whether they were seen with `#` only
    ranks: dict[str, tuple[bool, tuple[Size, ...]]] = dataclasses.field(
        default_factory=dict[str, tuple[bool, tuple[Size, ...]]]
    )
    # the tree structure of each structure name of a `PyTree`
    structures: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    # the arguments by name, for `{...}` in a dimension string
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    apart: frozenset[type] = frozenset()  # the classes of which each instance has names of its own
    # the sizes that these begin with
    known: Mapping[str, Size] = dataclasses.field(default_factory=dict[str, Size])
    # which of its types each type variable stands for
    members: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    returned: bool = False  # whether what is compared is a result: only there a scalar array may be no number
    numbers: bool = False  # whether a scalar array in a result is a number
    numpy: bool = True  # whether a tracer in a result is a NumPy array
    # calls a callable with what its annotation says, and checks what comes out
    call: Callable[[Any, Any, Bindings, str], None] | None = None

    def copy(self) -> Bindings:
        """Bindings that can be added to without touching these."""
        return dataclasses.replace(
            self, sizes=dict(self.sizes), ranks=dict(self.ranks), structures=dict(self.structures)
        )

    def of_instance(self) -> Bindings:
        """Bindings for an instance that has names of its own."""
        return dataclasses.replace(self, sizes=dict(self.known), ranks={}, structures={})

    def take(self, other: Bindings) -> None:
        """Become `other`, for whoever holds this object."""
        self.sizes, self.ranks, self.structures = other.sizes, other.ranks, other.structures


def scoped(dims: Sequence[Dim], scope: str) -> tuple[Dim, ...]:
    """`dims` with names of their own: `n` of the instance `left` is `left_n`."""
    if not scope:
        return tuple(dims)
    out: list[Dim] = []
    for dim in dims:
        if dim.kind == "expression" and "{" not in dim.text:
            text = dim.text
            for name in names_in(text):
                text = re.sub(rf"\b{name}\b", f"{scope}_{name}", text)
            dim = dataclasses.replace(dim, text=text)
        elif dim.kind == "named":
            dim = dataclasses.replace(dim, text=f"{scope}_{dim.text}")
        out.append(dim)
    return tuple(out)


def leaf_name(dim: Dim, leaf: str) -> str:
    """The name under which `dim` is bound; `leaf` tells the leaves of a tree apart for `?name`."""
    return f"{dim.text}_{leaf}" if dim.per_leaf and leaf else dim.text


def interpolate(text: str, arguments: Mapping[str, Any]) -> str:
    """Fill in the `{...}` of an expression, as jaxtyping does: from the arguments of the call.

    Raises:
        ValueError: evaluating the braces raises: of `{shape[0]}` perhaps, since `shape` is None.
    """
    if "{" not in text:
        return text
    try:
        return str(eval(f"f{text!r}", dict(arguments)))
    except Exception as error:
        none = [name for name, value in arguments.items() if value is None and name in text]
        given = ", ".join(f"{name} is None" for name in none)
        where = f" where {given}" if given else ""
        raise ValueError(f"`{text}` can't be evaluated{where}: {error}") from error


@functools.lru_cache(maxsize=1024)
def names_in(expression: str) -> tuple[str, ...]:
    """The names that an expression needs bound, in order; functions such as `min` are not among them."""
    nodes = list(ast.walk(parsed(expression)))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    found = [node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called]
    return tuple(dict.fromkeys(found))


def evaluate(expression: str, sizes: Mapping[str, Size]) -> Size:
    """The value of a dimension expression.

    Raises:
        NameError: a name is not bound.
        Exception: the expression has no value for these (perhaps symbolic) sizes.
    """
    # Python's own min and max compare, which symbols can't always: JAX has a maximum that stays symbolic.
    scope = {"min": _minimum, "max": _maximum, **sizes}
    return eval(expression, scope)


def _minimum(*sizes: Size) -> Size:
    return functools.reduce(min_dim, sizes)


def _maximum(*sizes: Size) -> Size:
    return functools.reduce(max_dim, sizes)


def match(dims: Sequence[Dim], shape: Sequence[Size], bindings: Bindings, leaf: str = "") -> None:
    """Match a shape and bind the names that it is the first to mention; bind nothing where it fails.

    Raises:
        DisagreementError: the shape is not one of those that `dims` allows.
    """
    trial = bindings.copy()
    variadic = next((i for i, dim in enumerate(dims) if dim.variadic), None)
    if variadic is None:
        if len(shape) != len(dims):
            raise DisagreementError(f"{_axes(len(shape))}, not {len(dims)}")
        _match_each(dims, shape, 0, trial, leaf)
    else:
        after = len(dims) - variadic - 1
        if len(shape) < len(dims) - 1:
            raise DisagreementError(f"{_axes(len(shape))}, not {len(dims) - 1} or more")
        end = len(shape) - after
        _match_each(dims[:variadic], shape[:variadic], 0, trial, leaf)
        _match_each(dims[variadic + 1 :], shape[end:], end, trial, leaf)
        _match_variadic(dims[variadic], tuple(shape[variadic:end]), trial, leaf)
    bindings.take(trial)


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"


def _match_each(
    dims: Sequence[Dim], sizes: Sequence[Size], first: int, bindings: Bindings, leaf: str
) -> None:
    for axis, (dim, size) in enumerate(zip(dims, sizes, strict=True), first):
        if dim.kind == "anonymous" or (dim.broadcast and same(size, 1)):
            continue
        if dim.kind == "named":
            name = leaf_name(dim, leaf)
            expected = bindings.sizes.setdefault(name, size)
        elif dim.kind == "fixed":
            name, expected = dim.text, int(dim.text)
        else:
            name, expected = dim.text, _expected_size(dim, axis, bindings)
        if not same(size, expected):
            equal = "" if str(expected) == name else f" = {expected}"
            raise DisagreementError(f"axis {axis} is {size}, not {name}{equal}")


def _expected_size(dim: Dim, axis: int, bindings: Bindings) -> Size:
    try:
        text = interpolate(dim.text, bindings.arguments)
    except ValueError as error:
        raise DisagreementError(f"axis {axis}: {error}") from error
    try:
        return evaluate(text, bindings.sizes)
    except NameError as error:
        raise DisagreementError(
            f"axis {axis}: no size is known for `{error.name}` in `{dim.text}`"
        ) from error


def same(left: Size, right: Size) -> bool:
    """Whether two sizes are equal for every value of their symbols; False where that can't be decided."""
    return bool(left == right)


def broadcast(left: Sequence[Size], right: Sequence[Size]) -> tuple[Size, ...]:
    """NumPy's broadcasting, for symbolic sizes too.

    Raises:
        DisagreementError: the shapes do not broadcast.
    """
    longer, shorter = (tuple(left), tuple(right)) if len(left) >= len(right) else (tuple(right), tuple(left))
    padded = (1,) * (len(longer) - len(shorter)) + shorter
    out: list[Size] = []
    for a, b in zip(longer, padded, strict=True):
        if not (same(a, b) or same(a, 1) or same(b, 1)):
            raise DisagreementError(f"{shape_text(left)} does not broadcast with {shape_text(right)}")
        out.append(b if same(a, 1) else a)
    return tuple(out)


def _match_variadic(dim: Dim, axes: tuple[Size, ...], bindings: Bindings, leaf: str) -> None:
    if dim.kind == "anonymous":
        return
    name = leaf_name(dim, leaf)
    if name not in bindings.ranks:
        bindings.ranks[name] = (dim.broadcast, axes)
        return
    seen_broadcast, seen = bindings.ranks[name]
    found = f"the axes of *{name} are {shape_text(axes)}, not {shape_text(seen)}"
    if not seen_broadcast and not dim.broadcast:
        joint = seen if _same_shape(axes, seen) else None
    else:
        joint = broadcast(axes, seen)
        # Whichever side was written without # is what the other has to broadcast to.
        fixed = [shape for shape, free in ((axes, dim.broadcast), (seen, seen_broadcast)) if not free]
        if not all(_same_shape(joint, shape) for shape in fixed):
            joint = None
    if joint is None:
        raise DisagreementError(found)
    if seen_broadcast:
        bindings.ranks[name] = (dim.broadcast, joint)


def _same_shape(left: Sequence[Size], right: Sequence[Size]) -> bool:
    return len(left) == len(right) and all(map(same, left, right))


def shape_text(shape: Sequence[Size]) -> str:
    """A shape as people write one: `(b, n + 1)`."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def aligned(dims: tuple[Dim, ...], shape: tuple[int, ...]) -> list[tuple[Dim, int, tuple[int, ...]]]:
    """Each dimension of an annotation with the first axis that it stands for, and the sizes there."""
    extra = len(shape) - len(dims) + 1
    rows: list[tuple[Dim, int, tuple[int, ...]]] = []
    axis = 0
    for dim in dims:
        width = extra if dim.variadic else 1
        rows.append((dim, axis, tuple(shape[axis : axis + width])))
        axis += width
    return rows
