"""What holds only beyond the letter of a signature: the readings that are tried when a function fails.

`n_minus_1` beside `n` is a name of its own to jaxtyping, and `n-1` to everybody else. A function that is
good when it is read so is not called wrong: the verdict says how it was read, and what to write.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from typedfilter._compat import DIFFERENT_NODES
from typedfilter.check.inputs import layout as _layout
from typedfilter.check.inputs.nodes import (
    NO_AXES,
    ArrayNode,
    GivenNode,
    Node,
    RecordNode,
    StubNode,
    children,
    walk,
)
from typedfilter.check.inputs.place import scope_of
from typedfilter.check.inputs.signature import Letter, Signature
from typedfilter.check.inputs.values import FloatNode
from typedfilter.check.trials.blocks import SPLITS, whole_blocks
from typedfilter.check.trials.excuses import Tried
from typedfilter.check.trials.held import held_otherwise
from typedfilter.check.trials.less import less_of
from typedfilter.check.trials.problem import Raised, WrongResult
from typedfilter.check.trials.unions import together

_NUMBERS = {"one": 1, "two": 2, "three": 3}
_SPELLED = re.compile(
    r"^(?P<base>.+?)_?(?P<sign>minus|plus|(?<=[A-Z_0-9])m|(?<=[A-Z_0-9])p|m(?=\d)|p(?=\d))_?(?P<count>\d+|one|two|three)$"
)
_TIMES = re.compile(r"^(?P<times>two|twice|double|half)_?(?P<base>.+)$")
_COMPUTED = re.compile(r"tril|triu|flat|packed|prev|next|total|prod|sum|padded|minus|plus", re.IGNORECASE)
_TRIANGLE = re.compile(r"tril|triu|triang", re.IGNORECASE)
_MOST_FACTORS = 3
_ORDER = "return them in their order, or put `# typedfilter: ignore` on its `def` where another one is meant"
_SOLVED = re.compile(r"equation", re.IGNORECASE)  # what libraries say that solve for sizes
_NO_AXIS = re.compile(r"IndexError|ValueError: axis -?\d+ is out of bounds")


def letters_of(tried: Tried) -> Iterator[Letter]:
    """Readings under which a function that failed in this case may be good, the likeliest first."""
    signature = tried.signature
    yield from spelled(tried)
    yield from _same(tried)
    yield from _tied(tried)
    yield from _triangular(tried)
    yield from _flat_fields(signature)
    yield from together(signature)
    yield from _rest(signature)
    yield from _some_axes(tried)
    yield from _named_otherwise(tried)
    yield from _of_settings(tried)
    yield from _own_results(tried)
    yield from held_otherwise(tried)
    yield from whole_blocks(tried)
    yield from _callables(tried)
    yield from less_of(tried)


def _said(tried: Tried) -> str:
    problem = tried.problem
    return problem.text if problem else ""


def spelled(tried: Tried) -> Iterator[Letter]:
    """Names that say what they are computed from."""
    free = tried.layout.names.free
    equal = {name: text for name in free if (text := _meaning(name, free))}
    if equal:
        yield _equal(equal)
    for name in free:
        if name not in equal and _COMPUTED.search(name):
            for text in _beside(name, _said(tried), free):
                yield _equal({**equal, name: text})


def _same(tried: Tried) -> Iterator[Letter]:
    """Fields of two instances of one class that are no leaves: a model, and the gradient of it."""
    if tried.problem is None or not DIFFERENT_NODES.search(tried.problem.message):
        return
    owners: dict[str, dict[str, None]] = {}
    for node in (n for p in tried.signature.parameters for n in walk(p.node)):
        if isinstance(node, FloatNode | StubNode) and node.key:
            owners.setdefault(node.key, {})[node.label] = None
    alike = [" and ".join(f"`{label}`" for label in labels) for labels in owners.values() if len(labels) > 1]
    if alike:
        yield Letter(f"where {', and '.join(alike)} are the same", "", same=True)


def _tied(tried: Tried) -> Iterator[Letter]:
    """Names of axes that a whole number of the signature has, too: `h: int` beside `h*d`."""
    ints = [name for name, value in tried.layout.arguments.items() if type(value) is int]
    tied = [name for name in ints if name in tried.layout.names.varied]
    if tied:
        names, fix = " and ".join(f"`{name}`" for name in tied), ", ".join(f"{{{name}}}" for name in tied)
        yield Letter(f"where the size {names} is the argument of that name", f"write {fix} for it", tied=True)


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
            facing = [b for a, b in zip(one, other, strict=True) if a == name and "'" not in b]
            # Whatever is 1 goes with every size: that says nothing.
            found += [b for b in facing if not b.isidentifier() and b != "1"]
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
        for name, owner in _variadic(parameter.node, ""):
            (inside if owner else outside).add(name)
            owners.setdefault(name, owner)
    for name in sorted(inside - outside):
        written = name.removeprefix(f"{scope_of(owners[name])}_")  # names of an instance of its own have one
        owner = owners[name].partition(".")[0] if written == name else owners[name]
        axes = f"*{written}" if name else "..."
        said = f"where {axes if name else '`...`'} of `{owner}` has 0 axes"
        fix = f"give the arguments the axes {axes} too, or keep the fields those of one example"
        yield Letter(said, fix, options=((f"*{name}" if name else "...", 1),))


def _variadic(node: Node, owner: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ArrayNode):
        yield from ((dim.text, owner) for dim in node.dims if dim.variadic)
    for child in children(node):
        yield from _variadic(child, node.label if isinstance(node, RecordNode) else owner)


def _named_otherwise(tried: Tried) -> Iterator[Letter]:
    """Sizes that the fields of an instance have another name for than the signature: `in` and `source`."""
    known = dict(tried.layout.names.equal)
    yield from _products(tried, known)
    for name, other, owner in _strangers(tried):
        if name not in known and other not in known.values():
            text = f"where {name} = {other} of `{owner}`"
            yield Letter(text, "give both the same name", equal=((name, other),))


def _of_settings(tried: Tried) -> Iterator[Letter]:
    """Sizes of a model that is made with the numbers of some settings, which no annotation relates."""
    nodes = (node for p in tried.signature.parameters for node in walk(p.node))
    given = {node.label: node.value for node in nodes if isinstance(node, GivenNode) and "." in node.label}
    counts = {label: value for label, value in given.items() if type(value) is int and value > 1}
    owners = {str(value): f"as `{label}` is" for label, value in counts.items()}
    for (one, first), (other, second) in itertools.combinations(counts.items(), 2):
        owners.setdefault(str(first * second), f"as `{one}` times `{other}` is")
    sizes = {str(size): name for name, size in tried.sizes.items()}
    for one, number in dict.fromkeys(_facing(_said(tried))):
        name = _name_in(one, sizes)
        if name in tried.layout.names.varied and number in owners:
            yield Letter(f"where {name} = {number}, {owners[number]}", "", equal=((name, number),))


def _products(tried: Tried, known: Mapping[str, str]) -> Iterator[Letter]:
    """Sizes that are several of an instance, one after the other: `n` of a vector for `N*d` of its blocks."""
    parts: dict[tuple[str, str], dict[str, None]] = {}
    for name, other, owner in _strangers(tried):
        parts.setdefault((name, owner), {})[other] = None
    for (name, owner), others in parts.items():
        if 1 < len(others) <= _MOST_FACTORS and name not in known:
            product = "*".join(others)
            text = f"where {name} = {product} of `{owner}`"
            yield Letter(text, f"write {product} in the annotations", equal=((name, product),))


def unrelated(tried: Tried) -> str:
    """What nobody relates, and a failure is due to: a name of the signature to one of an instance."""
    pair = next(_strangers(tried), None)
    return f"no annotation relates {pair[0]} to {pair[1]} of `{pair[2]}`" if pair else ""


def _strangers(tried: Tried) -> Iterator[tuple[str, str, str]]:
    """Names of the signature and of fields, of which an error sets one beside the other; and whose field."""
    fields: dict[str, set[str]] = {}
    for parameter in tried.signature.parameters:
        for name, owner in _names(parameter.node, ""):
            fields.setdefault(owner, set()).add(name)
    own = fields.pop("", set())
    sizes = {str(size): name for name, size in tried.sizes.items()}
    said = _said(tried)
    facing = [(_name_in(one, sizes), _name_in(other, sizes)) for one, other in _facing(said)]
    words: list[str] = re.findall(r"\w+", said) if _SOLVED.search(said) else []
    solved = [sizes.get(word, word) for word in words]
    facing += list(itertools.permutations(dict.fromkeys(solved), 2))
    for owner, names in fields.items():
        if not names & own:  # whoever shares one name means the others, too
            for name, other in facing:
                if name in own and other in names:
                    yield name, other, owner


def _name_in(axis: str, sizes: Mapping[str, str]) -> str:
    """The name that an axis is, or the only one that it is computed from."""
    names = set(re.findall(r"[A-Za-z_]\w*", axis)) - {"floordiv", "mod"}
    return next(iter(names)) if len(names) == 1 else sizes.get(axis, axis)


def _facing(text: str) -> Iterator[tuple[str, str]]:
    """The axes that stand in one place of two shapes that an error sets side by side, and differ."""
    for one, other in itertools.permutations(_shapes(text), 2):
        yield from ((a, b) for a, b in zip(reversed(one), reversed(other), strict=False) if a != b)


def _names(node: Node, owner: str) -> Iterator[tuple[str, str]]:
    """The names of axes in a node, each with the instance whose field has it."""
    if isinstance(node, ArrayNode):
        yield from ((dim.text, owner) for dim in node.dims if dim.kind == "named" and not dim.variadic)
    for child in children(node):
        yield from _names(child, node.label if isinstance(node, RecordNode) else owner)


def _rest(signature: Signature) -> Iterator[Letter]:
    """`...` in several arguments, which are meant to be the same axes."""
    with_rest = [parameter.name for parameter in signature.parameters if _has_rest(parameter.node)]
    if len(with_rest) > 1:
        names = " and ".join(f"`{name}`" for name in with_rest)
        yield Letter(f"where `...` means the same axes in {names}", "write a name, as in *batch", rest=True)


def _some_axes(tried: Tried) -> Iterator[Letter]:
    """`...` that is written for an axis or more: without one there is nothing to index."""
    problem = tried.problem
    if problem is not None and _NO_AXIS.match(problem.message) and tried.layout.used.get("...") == NO_AXES:
        yield Letter("where `...` has 1 axis or more", "write `_ ...` for it", without=(("...", NO_AXES),))


def _has_rest(node: Node) -> bool:
    if isinstance(node, ArrayNode) and any(dim.variadic and not dim.text for dim in node.dims):
        return True
    return any(map(_has_rest, children(node)))


def _own_results(tried: Tried) -> Iterator[Letter]:
    """Sizes of its own in a returned instance: while a program runs, it has them whatever its axes are."""
    problem = tried.problem
    if not isinstance(problem, WrongResult) or "." not in problem.message.partition(" of the")[0]:
        return
    said = "with sizes of its own in the instance that it returns"
    if _is_permuted(problem.expected, problem.found):
        yield Letter(f"{said}, whose axes are in another order", _ORDER, own_results=True)
    else:
        yield Letter(said, "", own_results=True)


def _is_permuted(expected: str, found: str) -> bool:
    """Whether an axis is where another axis of the same array ought to be: that is no size of its own."""
    quoted = re.search(r"['\"](.*)['\"]", expected)
    names = quoted[1].split() if quoted else []
    axes = next(_shapes(found), [])
    moved = [axis for name, axis in zip(names, axes, strict=False) if axis != name and axis in names]
    return bool(moved) or len(names) != len(axes)


def _callables(tried: Tried) -> Iterator[Letter]:
    """Callables that return arrays with axes of which nobody says how long they are: as they take, likely."""
    stubs = [n for p in tried.signature.parameters for n in walk(p.node) if isinstance(n, StubNode)]
    unsaid = [n.label for n in stubs if any(_is_unsaid(node) for node in walk(n.result))]
    if unsaid and isinstance(tried.problem, Raised):
        names = " and ".join(f"`{label}`" for label in unsaid)
        text = f"where {names} returns axes as long as those that it takes"
        yield Letter(text, "give the axes of both one name", alike=True)


def _is_unsaid(node: Node) -> bool:
    return isinstance(node, ArrayNode) and any(
        dim.kind == "anonymous" or (dim.variadic and not dim.text) for dim in node.dims
    )


def supposed(tried: Tried, counts: Sequence[int]) -> Iterator[Letter]:
    """What may hold beside values that were made up: nobody said anything that it could contradict.

    Args:
        tried: the case that failed.
        counts: numbers that were made up: of groups, of heads.
    """
    yield from enough(tried)
    yield from _same(tried)
    yield from _first_kinds(tried)
    yield from _triangular(tried)
    names, said = tried.layout.names, _said(tried)
    known = dict.fromkeys(_layout.sized(tried.signature), "") | dict(names.equal)
    # What is as large as a size that an argument says is so for that argument alone.
    called = {str(size) for _, size in names.fixed}
    for name in names.varied:
        for text in _beside(name, said, names.free):
            if name not in known and text not in called:
                yield _equal({name: text})
    for name, block in dict.fromkeys(_facing(said)):
        if block.startswith("blocks_of_") and name in names.varied and block not in known.get(name, ""):
            yield _equal({name: block})
    if not isinstance(tried.problem, Raised) or not SPLITS.search(said):
        return
    for count in counts:
        for name in (name for name in reversed(names.varied) if not name.startswith("blocks_of_")):
            block = f"blocks_of_{name}"
            yield Letter(f"where {name} is a multiple of {count}", "", equal=((name, f"{count}*{block}"),))


def enough(tried: Tried) -> Iterator[Letter]:
    """Sizes of which a part is taken that an argument counts: `x[:k]`, and the k largest of x."""
    counts = sorted(_layout.sized(tried.signature))
    varied, known = tried.layout.names.varied, dict(tried.layout.names.equal)
    pairs = re.findall(r"min\((\w+), (\w+)\)", _said(tried))
    if not pairs and isinstance(tried.problem, Raised):
        pairs = list(itertools.product(counts, varied))
    for count, name in dict.fromkeys(pair[::order] for pair in pairs for order in (1, -1)):
        if count in counts and name in varied and name not in (*counts, *known):
            equal = ((name, f"{count}+more_of_{name}"),)
            yield Letter(f"where {name} is more than {count}", "", equal=equal)


def _first_kinds(tried: Tried) -> Iterator[Letter]:
    """The first member of each union, where another one fails."""
    used = tried.layout.used
    points = [p for p in _layout.points_of(tried.signature) if p.key.startswith("choice of ") and not p.soft]
    typed = [p for p in points if ": " in p.options[0]]
    others = [p for p in typed if used.get(p.key)]
    if others:
        said = " and ".join(p.options[0] for p in others)
        said += ", and every other union is the first of its types" if len(typed) > len(others) else ""
        yield Letter(f"where {said}", "", options=tuple((p.key, 0) for p in typed))
