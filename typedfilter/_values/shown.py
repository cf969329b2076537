"""What people see of a model: a short text, and a page that opens and closes, with counts of parameters."""

from __future__ import annotations

import dataclasses
import html
import re
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from typedfilter._values.nodes import one_level
from typedfilter._values.text import describe, size_text

_WIDTH = 88
_LOCAL = re.compile(r"[\w.<>]+\.<locals>\.(?=\w+\()")  # where a class of a function was defined
_ARRAYS = (jax.Array, jax.ShapeDtypeStruct, np.ndarray)


def model_text(model: Any) -> str:
    """A model in as many lines as it needs: arrays by dtype and shape, functions by name.

    `Layer(weight=f32[2,3], activation=<function relu>)`.
    """
    import wadler_lindig

    def custom(obj: Any) -> Any:
        text = shown_leaf(obj)
        return None if text is None else wadler_lindig.TextDoc(text)

    text: str = wadler_lindig.pformat(model, width=_WIDTH, custom=custom, hide_defaults=False)
    return _LOCAL.sub("", text)


def shown_leaf(obj: Any) -> str | None:
    """The short text of an array or a function; `None` of anything else."""
    if isinstance(obj, _ARRAYS):
        return describe(obj)
    name = getattr(obj, "__name__", None) if _is_function(obj) else None
    return f"<function {name}>" if isinstance(name, str) else None


def _is_function(obj: Any) -> bool:
    """Whether an object is a function, or what a decorator has made of one: not a class, and no node."""
    if isinstance(obj, types.FunctionType | types.BuiltinFunctionType):
        return True
    if isinstance(obj, type) or not callable(obj) or dataclasses.is_dataclass(obj):
        return False
    return hasattr(obj, "__wrapped__") and jax.tree_util.all_leaves([obj])


_STYLE = (
    "<style>.typedfilter{font-family:monospace;line-height:1.5}"
    ".typedfilter details{margin-left:1.2em}.typedfilter>details{margin-left:0}"
    ".typedfilter summary{cursor:pointer}.typedfilter div{margin-left:2.4em}"
    ".typedfilter small{opacity:.7}"
    ".typedfilter table{color:inherit;font:inherit;border-collapse:collapse}"
    ".typedfilter td,.typedfilter th"
    "{text-align:left!important;padding:0 .8em;border-bottom:1px solid rgba(128,128,128,.3)}"
    "</style>"
)


def page(body: str) -> str:
    """A piece of HTML that takes its colours from the page that it stands in, light or dark."""
    return f'{_STYLE}<div class="typedfilter">{body}</div>'


def model_html(model: Any) -> str:
    """A model as HTML: every subtree can be opened, and says how many parameters it has, and bytes."""
    return page(_node(type(model).__name__, model, is_open=True))


def _node(name: str, node: Any, *, is_open: bool = False) -> str:
    children = list(_children(node))
    if not children:
        text = shown_leaf(node) or _brief(node)
        return f"<div>{html.escape(name)} = {html.escape(text)}</div>"
    cls = type(node).__name__
    head = html.escape(name if is_open else f"{name}: {cls}")
    inside = "".join(_node(key, child) for key, child in children)
    mark = " open" if is_open else ""
    return f"<details{mark}><summary>{head} <small>{_counts(node)}</small></summary>{inside}</details>"


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        for field in dataclasses.fields(node):
            if field.repr and hasattr(node, field.name):
                yield field.name, getattr(node, field.name)
        return
    if jax.tree_util.all_leaves([node]):
        return
    keys, children, _ = one_level(node)
    yield from zip(map(jax.tree_util.keystr, keys), children, strict=True)


def _counts(node: Any) -> str:
    arrays = [leaf for leaf in jax.tree.leaves(node) if isinstance(leaf, _ARRAYS)]
    count = sum(int(np.prod(array.shape)) for array in arrays)
    size = sum(int(np.prod(array.shape)) * array.dtype.itemsize for array in arrays)
    return f"{count:,} parameter{'' if count == 1 else 's'}, {size_text(size)}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def shown_by_default(cls: Any, *, own_repr: bool) -> None:
    """Give a dataclass its short text, its page and its tree in treescope, where it has none of its own."""
    if not own_repr:
        cls.__repr__ = _short_repr
    if not hasattr(cls, "_repr_html_"):
        cls._repr_html_ = _html
    if not hasattr(cls, "__treescope_repr__"):
        cls.__treescope_repr__ = _treescope


def _short_repr(self: Any) -> str:
    """Arrays by dtype and shape, functions by name: `Layer(weight=f32[2,3], activation=<function relu>)`."""
    return model_text(self)


def _html(self: Any) -> str:
    """What a notebook shows: every subtree can be opened, and says how many parameters it has."""
    return model_html(self)


def _treescope(self: Any, path: str | None, subtree_renderer: Any) -> Any:
    """What treescope shows; treescope itself calls this."""
    from treescope import repr_lib

    fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.repr}
    return repr_lib.render_object_constructor(
        object_type=type(self),
        attributes=fields,
        path=path,
        subtree_renderer=subtree_renderer,
        roundtrippable=True,
    )
