"""What holds only beyond the letter of a signature: the readings that are tried when a function fails.

`n_minus_1` beside `n` is a name of its own to jaxtyping, and `n-1` to everybody else. A function that is
good when it is read so is not called wrong: the verdict says how it was read, and what to write.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs.nodes import ArrayNode, Node, RecordNode, children
from typedfilter.check.inputs.signature import Letter, Signature
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.less import less_of

_NUMBERS = {"one": 1, "two": 2, "three": 3}
_SPELLED = re.compile(
    r"^(?P<base>.+?)_?(?P<sign>minus|plus|(?<=[A-Z_0-9])m|(?<=[A-Z_0-9])p|m(?=\d)|p(?=\d))_?(?P<count>\d+|one|two|three)$"
)
_TIMES = re.compile(r"^(?P<times>two|twice|double|half)_?(?P<base>.+)$")
_COMPUTED = re.compile(r"tril|triu|flat|packed|prev|next|total|prod|sum|padded|minus|plus", re.IGNORECASE)
_TRIANGLE = re.compile(r"tril|triu|triang", re.IGNORECASE)
_WHOLE_BLOCKS = re.compile(r"reshape|divi|split|rearrange|multiple|even", re.IGNORECASE)


def letters_of(tried: Tried) -> Iterator[Letter]:
    """Readings under which a function that failed in this case may be good, the likeliest first."""
    signature = tried.signature
    yield from _spelled(tried)
    yield from _triangular(tried)
    yield from _flat_fields(signature)
    yield from _together(signature)
    yield from _rest(signature)
    yield from _own_results(tried)
    yield from less_of(tried)


def _said(tried: Tried) -> str:
    problem = tried.problem
    return f"{problem.message} {problem.expected} {problem.found}" if problem else ""


def _spelled(tried: Tried) -> Iterator[Letter]:
    """Names that say what they are computed from."""
    free = tried.layout.names.free
    equal = {name: text for name in free if (text := _meaning(name, free))}
    if equal:
        yield _equal(equal)
    for name in free:
        if name not in equal and _COMPUTED.search(name):
            for text in _beside(name, _said(tried), free):
                yield _equal({**equal, name: text})


def _triangular(tried: Tried) -> Iterator[Letter]:
    """Names of packed triangles, whose sizes are those of a matrix that no annotation mentions."""
    for name in tried.layout.names.free:
        if _TRIANGLE.search(name):
            yield _equal({name: f"rows_of_{name}*(rows_of_{name}+1)//2"})


def _equal(equal: dict[str, str]) -> Letter:
    said = " and ".join(f"{name} = {text}" for name, text in equal.items())
    fix = f"write {', '.join(equal.values())} in the annotations"
    return Letter(f"where {said}", fix, equal=tuple(equal.items()))


def _meaning(name: str, free: Sequence[str]) -> str:
    """`n-1` for `n_minus_1`, where there is an `n`; empty for other names."""
    match = _SPELLED.match(name)
    if match is not None and (base := _known(match["base"], free, name)):
        count = _NUMBERS.get(match["count"]) or int(match["count"])
        return f"{base}{'+' if match['sign'].startswith('p') else '-'}{count}"
    match = _TIMES.match(name)
    if match is not None and (base := _known(match["base"], free, name)):
        return f"{base}//2" if match["times"] == "half" else f"2*{base}"
    return ""


def _known(base: str, free: Sequence[str], name: str) -> str:
    wanted = base.strip("_").lower()
    return next((one for one in free if one != name and one.lower() == wanted), "")


def _beside(name: str, text: str, free: Sequence[str]) -> Iterator[str]:
    """The expressions that stand where the name stands, in two shapes that an error sets side by side."""
    found: list[str] = []
    for one, other in itertools.permutations(_shapes(text), 2):
        if len(one) == len(other):
            found += [b for a, b in zip(one, other, strict=True) if a == name and not b.isidentifier()]
    for expression in dict.fromkeys(found):
        if set(re.findall(r"[A-Za-z_]\w*", expression)) - {"floordiv", "mod"} <= set(free) - {name}:
            yield re.sub(r"floordiv\(([^,]*), ([^)]*)\)", r"(\1)//\2", expression).replace("^", "**")


def _shapes(text: str) -> Iterator[list[str]]:
    """The axes of every shape in a text: `(n, floordiv(n, 2))` and `float32[n, m]` are two."""
    for match in re.finditer(r"(?<!\w)\(|\[", text):
        axes, depth = [""], 0
        for character in text[match.end() :]:
            if character in ")]" and depth == 0:
                yield [axis.strip() for axis in axes if axis.strip()]
                break
            depth += (character in "([") - (character in ")]")
            if character == "," and depth == 0:
                axes.append("")
            else:
                axes[-1] += character


def _flat_fields(signature: Signature) -> Iterator[Letter]:
    """Fields of `*batch` axes, whose class is written for one example and mapped by `vmap`."""
    inside: set[str] = set()
    outside: set[str] = set()
    owners: dict[str, str] = {}
    for parameter in signature.parameters:
        for name, owner in _variadic(parameter.node, "") if parameter.node is not None else ():
            (inside if owner else outside).add(name)
            owners.setdefault(name, owner.partition(".")[0])
    for name in sorted(inside - outside):
        axes = f"*{name}" if name else "..."
        said = f"where {axes if name else '`...`'} of `{owners[name]}` has 0 axes"
        fix = f"give the arguments the axes {axes} too, or keep the fields those of one example"
        yield Letter(said, fix, options=((axes, 1),))


def _variadic(node: Node, owner: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ArrayNode):
        yield from ((dim.text, owner) for dim in node.dims if dim.variadic)
    for child in children(node):
        yield from _variadic(child, node.label if isinstance(node, RecordNode) else owner)


def _together(signature: Signature) -> Iterator[Letter]:
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


def _alike(kinds: tuple[str, ...], keys: tuple[str, ...], absent: tuple[tuple[str, int], ...]) -> Letter:
    names = " and ".join(f"`{key.removeprefix('choice of ')}`" for key in keys)
    optional = kinds[-1] in ("optional", "None")
    said = "are given together or not at all" if optional else "are of one kind"
    fix = "say it with a TypeVar or with overloads, or refuse the other combinations with a `raise`"
    return Letter(f"where {names} {said}", fix, together=keys, absent=() if optional else absent)


def _rest(signature: Signature) -> Iterator[Letter]:
    """`...` in several arguments, which are meant to be the same axes."""
    with_rest = [
        parameter.name
        for parameter in signature.parameters
        if parameter.node is not None and _has_rest(parameter.node)
    ]
    if len(with_rest) > 1:
        names = " and ".join(f"`{name}`" for name in with_rest)
        yield Letter(f"where `...` means the same axes in {names}", "write a name, as in *batch", rest=True)


def _has_rest(node: Node) -> bool:
    if isinstance(node, ArrayNode) and any(dim.variadic and not dim.text for dim in node.dims):
        return True
    return any(map(_has_rest, children(node)))


def _own_results(tried: Tried) -> Iterator[Letter]:
    problem = tried.problem
    field = (
        problem is not None and problem.kind == "return" and "." in problem.message.partition(" of the")[0]
    )
    if problem is not None and field and not _is_permuted(problem.expected, problem.found):
        said = "with sizes of its own in the instance that it returns"
        yield Letter(said, "", own_results=True)


def _is_permuted(expected: str, found: str) -> bool:
    """Whether an axis is where another axis of the same array ought to be: that is no size of its own."""
    quoted = re.search(r"['\"](.*)['\"]", expected)
    names = quoted[1].split() if quoted else []
    axes = next(_shapes(found), [])
    moved = [axis for name, axis in zip(names, axes, strict=False) if axis != name and axis in names]
    return bool(moved) or len(names) != len(axes)


def multiples(tried: Tried, counts: Sequence[int]) -> Iterator[Letter]:
    """Sizes that come in whole blocks, where the function can't be traced with others."""
    problem = tried.problem
    if problem is None or problem.kind != "trace" or not _WHOLE_BLOCKS.search(problem.message):
        return
    for name in tried.layout.names.varied:
        for count in counts:
            block = f"blocks_of_{name}"
            fix = f"write {count}*k for {name}, or refuse other sizes with a `raise`"
            yield Letter(f"where {name} is a multiple of {count}", fix, equal=((name, f"{count}*{block}"),))
