"""What mends a mistake, as edits of the text: what the texts of fixes say, where it can be written for them.

Knows verdicts and the syntax of a file; knows nothing of how verdicts are found.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from typedfilter.check.editor.document import Text
from typedfilter.check.report.results import Result

_ARRAY = re.compile(r"(?P<kind>\w+)\[(?P<dims>[^\]]*)\]")
_ANNOTATION = re.compile(
    r"""\b(?P<kind>[A-Z]\w*)(?P<middle>\[[\w.]+,\s*)(?P<quote>["'])(?P<dims>[^"']*)(?P=quote)"""
)
_EQUAL = re.compile(r"(?:where |and |, )(?P<name>[A-Za-z_]\w*) = (?P<text>[^,;]+?)(?= and |,|;|$)")
_SHAPE = re.compile(r"\(([^()]*)\)")
_MISSPELT = re.compile(r"`(?P<dim>[^`]+)` is no dimension\s+fix: write .*`(?P<right>[^`]+)`$")
_KINDS = {"f": "Float", "bf": "Float", "i": "Int", "u": "UInt", "c": "Complex", "bool": "Bool", "key": "Key"}
_SCALAR = {"Int": "int", "UInt": "int", "Integer": "int", "Bool": "bool", "Float": "float"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef
_IGNORE = "  # typedfilter: ignore"


@dataclasses.dataclass(frozen=True)
class Change:
    """One way to mend something: its title, the edits, whether it is what one most likely means."""

    title: str
    edits: list[dict[str, Any]]
    preferred: bool = False


def changes_for(result: Result, text: Text) -> Iterator[Change]:
    """The ways to mend what a verdict says."""
    if not result.line:
        return
    node = _function(result, text)
    if result.status == "failed" and result.span is not None and result.span.line:
        yield from _as_found(result, text)
    if result.by_letter and node is not None:
        yield from _as_it_holds(result, node, text)
    if result.status == "failed" and node is not None:
        yield from _spelt(result, node, text)
        yield from _as_one(result, node, text)
    if node is not None:
        yield from _as_static(result, node, text)
    if result.status == "failed" or (result.status == "skipped" and result.fix):
        yield from _ignored(result, text)


def _function(result: Result, text: Text) -> Definition | None:
    """The `def` of a verdict."""
    try:
        tree = ast.parse(text.text)
    except (SyntaxError, ValueError):
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return next((one for one in ast.walk(tree) if isinstance(one, kinds) and one.lineno == result.line), None)


# ---------------------------------------------------------------------------------- dimensions and dtypes


def _as_found(result: Result, text: Text) -> Iterator[Change]:
    """The annotation that does not hold, as what was found would be annotated."""
    span, found, said = result.span, _ARRAY.fullmatch(result.found), _ANNOTATION.search(result.expected)
    if span is None or found is None or said is None:
        return
    here = [
        one
        for one in _ANNOTATION.finditer(text.line(span.line), span.column, span.end)
        if (one["kind"], one["dims"].split()) == (said["kind"], said["dims"].split())
    ]
    dims = _written(found["dims"]).split(",") if found["dims"] else []
    if len(here) != 1 or not set(re.findall(r"[A-Za-z_]\w*", " ".join(dims))) <= result.dims.keys():
        return
    (old,) = here
    kind = _KINDS.get(found["kind"].rstrip("0123456789"), "") if "dtype" in result.message else old["kind"]
    if kind:
        yield _change(text, span.line, old, kind, dims)


def _written(dims: str) -> str:
    """Dimensions as annotations have them: `(n+1)//2` for JAX's `floordiv(n + 1, 2)`."""
    return re.sub(r"floordiv\(([^,]*), *([^)]*)\)", r"(\1)//\2", dims).replace("^", "**").replace(" ", "")


def _change(text: Text, line: int, old: re.Match[str], kind: str, dims: list[str]) -> Change:
    """Another dtype, other dimensions, or both."""
    edits: list[dict[str, Any]] = []
    if kind != old["kind"]:
        edits.append(_edit(text, line, *old.span("kind"), kind))
    if dims != old["dims"].split():
        edits.append(_edit(text, line, *old.span("dims"), " ".join(dims)))
    renamed = _renamed(old["dims"].split(), dims)
    if renamed is not None and kind == old["kind"]:
        return Change(f"Rename dimension `{renamed[0]}` to `{renamed[1]}`", edits, preferred=True)
    shown = f"{kind}{old['middle']}{old['quote']}{' '.join(dims)}{old['quote']}]"
    return Change(f"Annotate with {shown}", edits, preferred=True)


def _renamed(old: list[str], new: list[str]) -> tuple[str, str] | None:
    """The one name that another stands for; None where more is different."""
    pairs = {(one, other) for one, other in zip(old, new, strict=False) if one != other}
    if len(old) != len(new) or len(pairs) != 1:
        return None
    (pair,) = pairs
    return pair if pair[0].isidentifier() and pair[1].isidentifier() else None


def _as_one(result: Result, node: Definition, text: Text) -> Iterator[Change]:
    """One name for two sizes that an operation needs to be equal: `(n, k), (m, k)`."""
    for shapes in itertools.combinations(_SHAPE.findall(result.message), 2):
        first, second = ([dim.strip() for dim in one.split(",") if dim.strip()] for one in shapes)
        pair = _renamed(second, first)
        if pair is not None and set(pair) <= result.dims.keys():
            name, right = sorted(pair, key=[*result.dims].index, reverse=True)
            edits = list(_in_dimensions(node, text, _whole(name), right))
            if edits:
                yield Change(f"Rename dimension `{name}` to `{right}`", edits)


def _as_it_holds(result: Result, node: Definition, text: Text) -> Iterator[Change]:
    """The names of dimensions as what they have to be: `n-1` for `n_minus_1`."""
    for match in _EQUAL.finditer(result.message.partition(";")[0]):
        name, right = match["name"], match["text"].replace(" ", "")
        edits = list(_in_dimensions(node, text, _whole(name), right))
        if edits and right.isidentifier():
            yield Change(f"Rename dimension `{name}` to `{right}`", edits, preferred=True)
        elif edits:
            yield Change(f"Write `{right}` for `{name}`", edits, preferred=True)


def _whole(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def _spelt(result: Result, node: Definition, text: Text) -> Iterator[Change]:
    """`2*N` for `2N`."""
    match = _MISSPELT.search(result.message)
    if match is not None:
        edits = list(_in_dimensions(node, text, re.escape(match["dim"]), match["right"]))
        yield Change(f"Write `{match['right']}` for `{match['dim']}`", edits, preferred=True)


def _in_dimensions(node: Definition, text: Text, pattern: str, right: str) -> Iterator[dict[str, Any]]:
    """An edit for each match of a pattern in the dimensions of a signature."""
    for number in range(node.lineno, max(node.lineno, node.body[0].lineno - 1) + 1):
        for annotation in _ANNOTATION.finditer(text.line(number)):
            for match in re.compile(pattern).finditer(text.line(number), *annotation.span("dims")):
                yield _edit(text, number, match.start(), match.end(), right)


# ------------------------------------------------------------------------------------------ static values


def _as_static(result: Result, node: Definition, text: Text) -> Iterator[Change]:
    """`Static[int]` for a traced scalar that stands on the line that asks for its value."""
    frame = result.frame
    asks = "uses the value of an array" in result.message or "oncrete" in result.message
    if not asks or frame is None or not node.lineno <= frame.line <= (node.end_lineno or 0):
        return
    used = set(re.findall(r"\w+", text.line(frame.line)))
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        static = _static_of(argument.annotation)
        if argument.arg in used and static and argument.annotation is not None:
            new = f"Static[{static}]"
            edits = [_edit_node(text, argument.annotation, new), *_imported(text, "Static")]
            yield Change(f"Annotate `{argument.arg}` with {new}", edits, preferred=True)


def _static_of(annotation: ast.expr | None) -> str:
    """The Python type whose values a traced scalar has; empty for what is no scalar."""
    if not isinstance(annotation, ast.Subscript):
        return ""
    if ast.unparse(annotation.value).endswith("Traced"):
        return ast.unparse(annotation.slice)
    match = _ANNOTATION.search(ast.unparse(annotation))
    return _SCALAR.get(match["kind"].rstrip("0123456789"), "") if match and not match["dims"].strip() else ""


def _imported(text: Text, name: str) -> Iterator[dict[str, Any]]:
    """An import of a name of the package, behind the last at the top; none where there is one."""
    try:
        tree = ast.parse(text.text)
    except (SyntaxError, ValueError):
        return
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    own = [node for node in imports if isinstance(node, ast.ImportFrom) and node.module == "typedfilter"]
    if any(alias.name == name for node in own for alias in node.names):
        return
    line = (imports[-1].end_lineno or 0) + 1 if imports else 1
    place = {"line": line - 1, "character": 0}
    yield {"range": {"start": place, "end": place}, "newText": f"from typedfilter import {name}\n"}


# ------------------------------------------------------------------------------------------------ leave it


def _ignored(result: Result, text: Text) -> Iterator[Change]:
    line = text.line(result.line)
    if "#" not in line:
        at = len(line.rstrip())
        edit = _edit(text, result.line, at, at, _IGNORE)
        yield Change(f"Leave `{result.function}` out of the check", [edit])


def _edit(text: Text, line: int, start: int, end: int, new: str) -> dict[str, Any]:
    return {"range": text.span(line, start, end), "newText": new}


def _edit_node(text: Text, node: ast.expr, new: str) -> dict[str, Any]:
    start, end = (
        text.place(line, len(text.line(line).encode()[:offset].decode(errors="ignore")))
        for line, offset in (
            (node.lineno, node.col_offset),
            (node.end_lineno or node.lineno, node.end_col_offset or 0),
        )
    )
    return {"range": {"start": start, "end": end}, "newText": new}


def action(change: Change, uri: str, mends: Mapping[str, Any] | None) -> dict[str, Any]:
    """One of the protocol's code actions; `mends` is the diagnostic that it is for."""
    return {
        "title": change.title,
        "kind": "quickfix",
        "isPreferred": change.preferred,
        **({} if mends is None else {"diagnostics": [mends]}),
        "edit": {"changes": {uri: change.edits}},
    }
