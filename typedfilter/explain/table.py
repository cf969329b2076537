"""`explain`: what a stack of transforms does to every parameter, and why.

Walks a stack from the outside in, and asks each transform for its effects; the answer is a value that
prints as a table. Computes nothing, and never calls the function.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from typedfilter._reading.plan import Param, Plan, plan_of
from typedfilter._reading.slips import slips
from typedfilter._reading.wrappers import is_method
from typedfilter._values.leaves import said_by
from typedfilter._values.text import describe, safe_repr, size_text, steps
from typedfilter._wrapping.call import bound_to
from typedfilter._wrapping.effects import Act, Effect, Effects, Given, Reason
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.stack import unwind
from typedfilter._wrapping.wrapper import BoundWrapper, Transform, Wrapper
from typedfilter.explain.call_path import path_of
from typedfilter.explain.captured import Captured, captured_by, size_of
from typedfilter.explain.grouping import Group, grouped
from typedfilter.explain.loops import loop_call
from typedfilter.explain.page import explanation_page
from typedfilter.transforms.grad import Grad
from typedfilter.transforms.jit import Jit
from typedfilter.transforms.vmap import Vmap

LARGE = 1 << 20
_UNDECORATED: tuple[Transform, ...] = (Jit(), Grad(), Vmap())
_PLACING = ("in_shardings", "out_shardings")  # are told where they matter: they would be long
_WOULD = "what transforms would do"
_BAKED = "is baked into the program; pass it as an argument"
_REPR_LIMIT = 40


@dataclasses.dataclass(frozen=True)
class Stage:
    """One transform of a stack: its name, the options that differ from their defaults, what it does."""

    transform: str
    options: dict[str, Any]
    effects: Effects = dataclasses.field(compare=False, repr=False)

    @classmethod
    def of(cls, transform: Transform, fn: Callable[..., Any]) -> Stage:
        return cls(transform.name, transform.options, transform.effects(fn, plan_of(fn)))

    def __str__(self) -> str:
        shown = [(name, value) for name, value in self.options.items() if name not in _PLACING]
        options = ", ".join(f"{name}={value!r}" for name, value in shown)
        return f"{self.transform}({options})" if options else self.transform

    def parameter(self, name: str) -> Effect:
        """What happens to the parameter of that name."""
        found = [param for param in self.effects.plan.params if param.name == name]
        return self.effects.parameter(found[0]) if found else Effect(self.transform, Act.PASSED_ON)


@dataclasses.dataclass(frozen=True)
class ParameterRow:
    """What happens to one parameter, by transform from the outermost in; also to the `return`."""

    name: str
    effects: tuple[Effect, ...]


@dataclasses.dataclass(frozen=True)
class LeafRow:
    """What happens to one leaf of an argument.

    Attributes:
        path: the parameter and the way into it: `model.layers[0].weight`.
        value: dtype and shape of an array (`f32[3,4]`), or what is there instead.
        bytes: of an array; None for anything else.
        facts: by transform from the outermost in.
    """

    path: str
    value: str
    bytes: int | None
    facts: tuple[Effect, ...]

    @property
    def effects(self) -> tuple[str, ...]:
        """The same in words."""
        return tuple(effect.what for effect in self.facts)

    @property
    def alike(self) -> tuple[object, ...]:
        """Equal for leaves of which one row can tell."""
        return self.value, self.bytes, self.effects

    @property
    def traced(self) -> bool:
        """Whether `filter_jit` traces it."""
        return any(effect.act is Act.TRACED for effect in self.facts)

    @property
    def donated(self) -> bool:
        """Whether its buffer is given to the computation."""
        return any(effect.donated for effect in self.facts)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The answer of `explain`. Its text is an aligned table.

    Attributes:
        function: the qualified name of the user's function.
        stack: the transforms with their options, outermost first; empty for a plain function, for which the
            table then shows what each of the common transforms would do.
        parameters: a row for each parameter.
        returns: the row of the result.
        bound: what is bound beforehand (`self`, a model, arguments of a partial).
        path: how a call reaches `jax.jit`, and why; None where nothing is jitted.
        leaves: a row for each leaf of the arguments, where arguments were given.
        captured: every array that the function closes over, largest first.
        large: the text lists captured arrays of at least so many bytes.
        outside: of a function without transforms of `typedfilter`, whether another package wraps it.
        rules: for each transform of the table, what it does leaf by leaf.
        slips: dimension names that stand in one place only, each with the name that it is nearly.
    """

    function: str
    stack: tuple[Stage, ...]
    parameters: tuple[ParameterRow, ...]
    returns: ParameterRow
    bound: tuple[str, ...] = ()
    path: tuple[str, str] | None = None
    leaves: tuple[LeafRow, ...] | None = None
    captured: tuple[Captured, ...] = ()
    large: int = LARGE
    outside: str = "not transformed"
    rules: tuple[tuple[str, str], ...] = ()
    slips: tuple[tuple[str, str], ...] = ()

    @property
    def constants(self) -> tuple[Captured, ...]:
        """The captured arrays that are large enough to mention."""
        return tuple(one for one in self.captured if one.bytes >= self.large)

    def __str__(self) -> str:
        return "\n".join(_text(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows: the same tables, the leaves of a subtree behind a mark that opens."""
        names = [effect.transform for effect in self.returns.effects]
        leaves = None
        if self.leaves is not None:
            leaves = ["leaf", "value", "size", *names], [_leaf_cells(group) for group in grouped(self.leaves)]
        parameters = ["parameter", *names, "why"], _parameter_cells(self)
        return explanation_page(_head(self), parameters, leaves, [*_notes(self), *_constants(self)])


@ends_at_caller
def explain(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Explanation:
    """What happens to every parameter of a (transformed) function, and why; nothing is run.

    With arguments, also to every leaf of them. The result has all of it as data, and prints as a table.
    Of a loop or branch, what happens to the parameters of its body: `explain(filter_scan, step, init, xs)`.

    Args:
        fun: a function, transformed or not, or any other callable.
        args: arguments of a call that is to be explained; `jax.ShapeDtypeStruct`s may stand for arrays.
        kwargs: the same, by keyword.

    Raises:
        AnnotationError: the annotations of `fun` contradict each other.
        VmapAxisError: the axes that are given for arguments don't fit them.
        TypeError: the arguments don't fit the signature of `fun`.
    """
    loop = loop_call(fun, args, kwargs)
    if loop is None:
        return _explained(fun, (), Given(args, kwargs))
    return _explained(loop.body, (Stage(loop.name, loop.options, loop.effects),), loop.given)


def _explained(fun: Callable[..., Any], around: tuple[Stage, ...], call: Given) -> Explanation:
    """Of a function, and of the loop around it if there is one."""
    links = (*around, *_links(fun))
    stages = tuple(link for link in links if isinstance(link, Stage))
    plan = plan_of(fun)
    shown = stages or tuple(Stage.of(transform, fun) for transform in _UNDECORATED)
    stacks = [links] if stages else [[stage] for stage in shown]
    return Explanation(
        function=plan.function,
        stack=stages,
        parameters=tuple(_parameter(param, shown) for param in plan.params),
        returns=ParameterRow("return", tuple(stage.effects.returned() for stage in shown)),
        bound=tuple(describe(value) for value in unwind(fun).bound),
        path=_path(fun, stages, call.args, call.kwargs),
        leaves=tuple(_leaves(plan, stacks, call)) if call.values else None,
        captured=captured_by(fun),
        outside=_outside(fun),
        rules=tuple((stage.transform, stage.effects.rule) for stage in shown),
        slips=tuple((slip.name, slip.meant) for slip in slips(plan)),
    )


def _links(fun: Any) -> Iterator[Stage | Given]:
    """The transforms of a stack, from the outside in, and what methods and partials between them bind."""
    while True:
        if isinstance(fun, Wrapper):
            yield Stage.of(fun.transform, fun.__wrapped__)
            fun = fun.__wrapped__
        elif isinstance(fun, BoundWrapper) or is_method(fun):
            yield Given((fun.__self__,))
            fun = fun.__func__
        elif isinstance(fun, functools.partial):
            yield Given(fun.args, fun.keywords)
            fun = fun.func
        else:
            return


def _outside(fun: Any) -> str:
    """Whether another package than that of the function is around it: `jax.jit`, `jax.vmap`, say."""
    if not hasattr(fun, "__wrapped__"):
        return "not transformed"
    code = fun.__globals__["__name__"] if isinstance(fun, types.FunctionType) else type(fun).__module__
    package = code.partition(".")[0].replace("jaxlib", "jax")
    own = (getattr(fun, "__module__", None) or "").partition(".")[0]
    return "not transformed" if package == own else f"wrapped by {package}, which is not looked into"


def _parameter(param: Param, stages: Sequence[Stage]) -> ParameterRow:
    return ParameterRow(param.name, tuple(stage.parameter(param.name) for stage in stages))


def _path(fun: Any, stages: Sequence[Stage], args: Any, kwargs: Any) -> tuple[str, str] | None:
    jitted = bool(stages) and stages[0].transform == "filter_jit" and isinstance(fun, Wrapper | BoundWrapper)
    return path_of(fun, args, kwargs) if jitted else None


def _leaves(plan: Plan, stacks: Sequence[Sequence[Stage | Given]], call: Given) -> Iterator[LeafRow]:
    """Each leaf of a call, in the order of the parameters, with what each stack does to it."""
    given = bound_to(plan, call.args, call.kwargs).arguments
    left = [param for param in plan.params if param.name not in given and not param.variadic]
    defaults = [(param, param.default) for param in left]
    params = [*map(plan.positional, range(len(call.args))), *map(plan.keyword, call.kwargs), *left]
    names = plan.bind_names(len(call.args), [*call.kwargs, *(param.name for param in left)])
    values = [*call.values, *(value for _, value in defaults)]
    columns = [column for links in stacks for column in _columns(links, call, defaults)]
    rows = zip(params, names, values, *columns, strict=True)
    for _, name, value, *effects in sorted(rows, key=lambda row: plan.params.index(row[0])):
        flat = jax.tree_util.tree_leaves_with_path(value)
        for (path, leaf), *cells in zip(flat, *effects, strict=True):
            yield LeafRow(name + steps(path), _brief(leaf), size_of(leaf), tuple(cells))


def _columns(
    links: Sequence[Stage | Given], call: Given, defaults: Sequence[tuple[Param, Any]]
) -> Iterator[list[list[Effect]]]:
    """For each stage of a stack what it does to the leaves of each argument, then to those of each default.

    Raises:
        VmapAxisError: axes don't fit the arguments.
    """
    names = list(call.kwargs)
    before = 0  # arguments that are bound in front of those of the call
    for i, link in enumerate(links):
        if isinstance(link, Given):
            before += len(link.args)
            call = call.bind(link)
            continue
        innermost = not any(isinstance(inner, Stage) for inner in links[i + 1 :])
        found, inner_call = link.effects.given(call)
        keyword = dict(zip(call.kwargs, found[len(call.args) :], strict=True))
        given = [*found[before : len(call.args)], *(keyword[name] for name in names)]
        yield [*given, *(link.effects.default(param, value, innermost) for param, value in defaults)]
        call = inner_call


def _brief(leaf: Any) -> str:
    if size_of(leaf) is not None:
        return describe(leaf)
    name = said_by(leaf, "__qualname__") if callable(leaf) else None
    return name if type(name) is str else safe_repr(leaf, _REPR_LIMIT)


# -------------------------------------------------------------------------------------------------- text


def _text(explained: Explanation) -> Iterator[str]:
    names = [effect.transform for effect in explained.returns.effects]
    yield _head(explained)
    yield from _table(["parameter", *names, "why"], _parameter_cells(explained))
    yield from _notes(explained)
    yield from _leaf_text(explained, names)
    yield from _constants(explained)


def _head(explained: Explanation) -> str:
    stages = " of ".join(map(str, explained.stack))
    return f"{explained.function}: {stages or f'{explained.outside}; {_WOULD}'}"


def _parameter_cells(explained: Explanation) -> list[list[str]]:
    rows = [*explained.parameters, explained.returns]
    return [[row.name, *(effect.what for effect in row.effects), _reasons(row)] for row in rows]


def _notes(explained: Explanation) -> Iterator[str]:
    rows = [*explained.parameters, explained.returns]
    by_leaf = {e.transform for row in rows for e in row.effects if e.act is Act.BY_LEAF}
    rules = [f"{name} {rule}" for name, rule in explained.rules if name in by_leaf]
    if rules:
        yield f"{Act.BY_LEAF.value}: {'; '.join(dict.fromkeys(rules))}"
    if explained.bound:
        yield f"bound: {', '.join(explained.bound)}; what is bound travels like an argument"
    if explained.path is not None:
        yield "call path: {} ({})".format(*explained.path)
    for name, like in explained.slips:
        yield f"dimension `{name}` stands in one place only: did you mean `{like}`?"


def _constants(explained: Explanation) -> Iterator[str]:
    for one in explained.constants:
        yield f"constant: `{one.name}` {one.value}, {size_text(one.bytes)}, {_BAKED}"


def _leaf_text(explained: Explanation, names: Sequence[str]) -> Iterator[str]:
    if explained.leaves is None:
        return
    yield ""
    rows = explained.leaves
    yield from _table(["leaf", "value", "size", *names], [_leaf_cells(group) for group in grouped(rows)])
    if "filter_jit" in names:
        counts = (("traced", [r for r in rows if r.traced]), ("donated", [r for r in rows if r.donated]))
        parts = [f"{what} {_leaf_count(found)}, {_total(found)}" for what, found in counts if found]
        static = [row for row in rows if not row.traced]
        yield "; ".join([*parts, *([f"static {_leaf_count(static)}"] if static else [])])


def _leaf_cells(group: Group) -> list[str]:
    row: LeafRow = group.rows[0]
    size = "" if row.bytes is None else size_text(row.bytes)
    times = f" x {len(group.rows)}" if len(group.rows) > 1 else ""
    return [group.path, row.value, size + times, *row.effects]


def _leaf_count(rows: Sequence[LeafRow]) -> str:
    return f"{len(rows)} {'leaf' if len(rows) == 1 else 'leaves'}"


def _total(rows: Sequence[LeafRow]) -> str:
    return size_text(sum(row.bytes or 0 for row in rows))


def _reasons(row: ParameterRow) -> str:
    """Each reason once; with the transform, where it is not the annotation."""
    alone = len(row.effects) == 1

    def text(transform: str, reason: Reason) -> str:
        return reason.text if alone or reason.of_annotation else f"{transform}: {reason.text}"

    return "; ".join(dict.fromkeys(text(e.transform, reason) for e in row.effects for reason in e.reasons))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned columns; where a terminal is too narrow, the last one goes on in lines of its own."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    left = sum(widths[:-1]) + 2 * len(widths)
    room = max(_terminal_width() - left, 24)
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True))
        first, *more = textwrap.wrap(row[-1], room, break_long_words=False) or [""]
        yield ("  " + "  ".join([*cells, first])).rstrip()
        yield from (" " * left + line for line in more)


def _terminal_width() -> int:
    """How wide the terminal is that standard output goes to; no limit elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
