"""Short texts of values for messages: `f32[3,4]`, `a tuple of 2`, the path to a leaf."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from typedfilter._values.leaves import is_array

_EVIDENCE_LIMIT = 60


def brief(value: object) -> str:
    """A value in a few words, for messages."""
    if is_array(value):
        aval = jax.typeof(value)
        return f"an array {array_text(aval.dtype, aval.shape)}"
    return f"{type(value).__name__} {_shortened(safe_repr(_with_short_arrays(value), 200), 60)}"


class _Shown:
    """Stands for an array in the repr of what holds it: with its own, a tracer takes a page."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _with_short_arrays(value: Any, depth: int = 5) -> Any:
    if isinstance(value, jax.Array):
        return _Shown(array_text(jax.typeof(value).dtype, value.shape))
    if (type(value) is list or type(value) is tuple) and depth:
        return type(value)([_with_short_arrays(item, depth - 1) for item in value])
    if type(value) is dict and depth:
        return {key: _with_short_arrays(item, depth - 1) for key, item in value.items()}
    return value


def safe_repr(value: object, limit: int) -> str:
    """The repr of a value, at most so long; where that raises, its class and what it raised."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__qualname__}, whose repr raises {type(error).__name__}>"
    return _shortened(text, limit)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def array_annotation(array: Any) -> str:
    """An annotation that takes an array as it is, whatever its sizes: `Float[Array, "..."]`."""
    dims = '"..."' if array.shape else '""'
    return f"{annotation_of(array.dtype)}[Array, {dims}]"


def annotation_of(dtype: Any) -> str:
    """The name of jaxtyping's that takes a dtype: `Float`."""
    for name, kind in _NAMES:
        if jnp.issubdtype(dtype, kind):
            return name
    return "Shaped"


_NAMES = (
    ("Float", jnp.floating),
    ("Int", jnp.signedinteger),
    ("UInt", jnp.unsignedinteger),
    ("Bool", jnp.bool_),
    ("Complex", jnp.complexfloating),
    ("Key", jax.dtypes.prng_key),
)


def describe(value: Any) -> str:
    """A value in a few characters: `f32[3,4]`, `a str`, `None`."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"numpy {array_text(value.dtype, value.shape)}"
    if isinstance(value, np.generic):
        return f"a numpy {value.dtype}"
    if isinstance(value, jax.Array | jax.ShapeDtypeStruct):
        return array_text(value.dtype, value.shape)
    name = type(value).__name__
    if isinstance(value, tuple | list | dict) and type(value).__module__ == "builtins":
        return f"a {name} of {len(value)}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def array_text(dtype: Any, shape: Sequence[Any]) -> str:
    """An array as messages show it: `f32[3,4]`."""
    return _short(dtype) + _shape_suffix(shape)


def _short(dtype: Any) -> str:
    name = str(dtype)
    for long, short in (("bfloat", "bf"), ("float", "f"), ("uint", "u"), ("int", "i"), ("complex", "c")):
        if name.startswith(long):
            return short + name.removeprefix(long)
    return name


def _shape_suffix(shape: Sequence[Any]) -> str:
    return f"[{','.join(map(str, shape))}]"


def evidence(value: Any, described: str) -> str:
    """A plain value itself; of any other, how it is described."""
    if not isinstance(value, str | bytes | int | float | complex | np.generic):
        return described
    text = repr(value)
    return text if len(text) <= _EVIDENCE_LIMIT else f"{text[:_EVIDENCE_LIMIT]}..."


def count_text(count: int, noun: str) -> str:
    plural = "axes" if noun == "axis" else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def struct_text(leaf: Any, batch: Sequence[int] = ()) -> str:
    """The dtype and shape of an array or what stands for one: `f32[3,2]`."""
    dtype = leaf.dtype
    if isinstance(dtype, np.dtype) and not jnp.issubdtype(dtype, jax.dtypes.extended):
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    return array_text(dtype, (*batch, *leaf.shape))


def structure_text(treedef: Any) -> str:
    """A treedef, with `*` for each leaf: `{'a': *, 'b': (*, None)}`."""
    return str(treedef).removeprefix("PyTreeDef(").removesuffix(")")


def steps(path: Any) -> str:
    """The way to a leaf, as JAX gives it, in the same spelling as `subscript`: `["a"][0].weight`."""
    return jax.tree_util.keystr(path).replace("'", '"')


def subscript(key: Any) -> str:
    """A dictionary key as it is written: `["a"]`, `[0]`."""
    return f'["{key}"]' if isinstance(key, str) else f"[{key!r}]"


def size_text(count: int) -> str:
    """A number of bytes: `1.5 KiB`."""
    if count < 1024:
        return f"{count} B"
    size, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}"


def model_cure(value: object) -> str:
    """What to do with an instance that holds arrays and is no pytree; empty of anything else."""
    if not any(isinstance(held, (jax.Array, np.ndarray)) for held in getattr(value, "__dict__", {}).values()):
        return ""
    return f"decorate {type(value).__qualname__} with pytree_dataclass, so that its arrays are leaves"


def among(given: object, choices: Sequence[str]) -> str:
    """For a fix: to pass one of some choices, and which one was meant, where that shows."""
    slip = meant(str(given), list(choices))
    return "pass one of these" + (f" ({slip})" if slip else "")


def meant(name: str, names: list[str]) -> str:
    """`did you mean ...?`, where a name is nearly one of these; empty otherwise."""
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]!r}?" if close else ""
