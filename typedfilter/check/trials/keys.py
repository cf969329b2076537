"""Random keys that are used twice: asked of JAX itself, in a trace of its own, and told with both lines.

JAX's public check of keys says that a key is used again; which two lines use it is read from the program
that the same trace makes. Knows traces and programs; knows nothing of annotations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from typedfilter._compat import scan_carried, scan_constants
from typedfilter._shapes.switch import checking
from typedfilter._values.code import codes_of
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.guesses import is_called_key
from typedfilter.check.inputs.nodes import Leaf
from typedfilter.check.report.results import Frame
from typedfilter.check.trials import trial
from typedfilter.check.trials.orders import frames_of, is_one_order
from typedfilter.check.trials.problem import KeyUsedTwice
from typedfilter.check.trials.raised import is_users
from typedfilter.check.trials.verdict import Verdict

_MOST_KEYED = 4  # cases that are asked for keys
_FIX = "split the key, or say with jax.random.clone(key) that the same numbers are meant to come again"
_DEEPEST = 2  # calls from one function of a module to another
_CONSUMES = frozenset({"random_bits", "random_split", "random_unwrap", "random_gamma"})
_MAKES = frozenset({"PRNGKey"})
_DRAWS = tuple(value for name, value in vars(jax.random).items() if callable(value) and name[0].islower())


def with_keys(verdict: Verdict) -> Verdict:
    """A good verdict, unless the function uses a random key twice."""
    for tried in verdict.tried[:_MOST_KEYED]:
        if tried.problem is None and tried.good:
            plan = trial.planned(tried.signature, tried.layout)
            problem = reuse(plan, tried.good[0]) if concern(plan) else None
            if problem is not None and problem.kept:
                return _kept(verdict, problem)
            if problem is not None:
                decisive = dataclasses.replace(tried, problem=problem, sizes=tried.good[0], good=[])
                return Verdict("failed", verdict.tried, decisive, fix=_FIX)
    return verdict


def _kept(verdict: Verdict, problem: KeyUsedTwice) -> Verdict:
    """The verdict, with what to write where the key of an instance is meant to be one seed."""
    only = f"where the key `{problem.kept}` is meant to give the same numbers again: {problem.message}"
    return dataclasses.replace(
        verdict,
        only="; ".join(filter(None, (verdict.only, only))),
        fix="; ".join(dict.fromkeys(filter(None, (verdict.fix, _FIX)))),
        by_letter=True,
    )


def concern(plan: trial.Plan) -> bool:
    """Whether a function takes random keys, or mentions what makes them; or a function that it calls does."""
    if any(leaf.dtype == _types.key_dtype() or _is_raw(leaf) for leaf in plan.layout.leaves):
        return True
    reached = _reached(plan.signature.subject.root, _DEEPEST)
    return any(_makes_keys(code, one.__globals__) for one in reached for code in codes_of(one.__code__))


def _is_raw(leaf: Leaf) -> bool:
    """Whether an array holds the numbers of a key, as keys of old do."""
    name = re.split(r"[.\[]", leaf.label.rstrip("]'\""))[-1]
    return leaf.axes == (2,) and leaf.dtype == np.dtype("uint32") and is_called_key(name)


def _reached(function: types.FunctionType, depth: int) -> Iterator[types.FunctionType]:
    """A function, and those of its module that it calls."""
    yield function
    names = {name for code in codes_of(function.__code__) for name in code.co_names}
    for value in (function.__globals__.get(name) for name in names if depth):
        if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
            yield from _reached(value, depth - 1)


def _makes_keys(code: types.CodeType, known: Mapping[str, Any]) -> bool:
    values = (known.get(name) for name in code.co_names)
    if any(value is jax.random or (callable(value) and value in _DRAWS) for value in values):
        return True
    return bool(_MAKES & set(code.co_names)) or {"jax", "random"} <= set(code.co_names)


def reuse(plan: trial.Plan, sizes: Mapping[str, int]) -> KeyUsedTwice | None:
    """A key that the function uses twice, at these sizes; None where JAX knows of none."""
    raw = [_is_raw(leaf) for leaf in plan.layout.leaves]
    if any(raw):  # the numbers of a key can't be followed, but the key can
        typed = tuple(
            _typed(leaf) if one else leaf for leaf, one in zip(plan.layout.leaves, raw, strict=True)
        )
        known = dataclasses.replace(plan, layout=dataclasses.replace(plan.layout, leaves=typed))
        with checking(False):
            return _reuse(known, sizes) or _reuse(plan, sizes)
    return _reuse(plan, sizes)


def _typed(leaf: Leaf) -> Leaf:
    return dataclasses.replace(leaf, axes=(), dims=(), dtype=_types.key_dtype())


def _reuse(plan: trial.Plan, sizes: Mapping[str, int]) -> KeyUsedTwice | None:
    error = _asked(plan, sizes, jax.eval_shape)
    file = _Root(plan.signature.subject.root)
    reused = isinstance(error, jax.errors.KeyReuseError)
    if error is not None and not reused:
        return None
    programs = _programs_of(plan, sizes)
    labels = [leaf.label for leaf in plan.layout.leaves if not leaf.host]
    found = [uses for program in programs if reused for uses in _repeated(program, file, labels) if uses]
    # What an instance keeps may be meant to give the same numbers again: anything else comes first.
    uses = min(found, key=lambda uses: _field(uses[-1].kept), default=[])
    # Releases of JAX don't look at a key that one step of a loop uses and hands on to the next.
    uses = uses or next((uses for program in programs for uses in _handed_on(program, file)), [])
    # Which of two keys a condition has chosen JAX does not ask: to it both are used then.
    return KeyUsedTwice(_text(uses), uses[-1].frame, _field(uses[-1].kept)) if uses else None


def _asked(plan: trial.Plan, sizes: Mapping[str, int], how: Callable[..., Any]) -> Exception | None:
    """What a trace with keys of JAX's own kind raises, if anything."""
    with contextlib.ExitStack() as stack:
        if how is jax.eval_shape:
            stack.enter_context(jax.debug_key_reuse(True))
        stack.enter_context(jax.enable_custom_prng(True))  # PRNGKey then makes keys that can be followed
        try:
            trial.run(plan, sizes, how)
        except Exception as error:
            return error.with_traceback(None)
    return None


def _field(label: str) -> str:
    """The field of an instance that a key is of; empty for a key that the function is given for this call."""
    return label if "." in label else ""


def _text(uses: list[_Use]) -> str:
    first = "a random key is used twice, so that the same numbers come out again"
    lines = [f"line {use.frame.line} of {use.frame.function}" for use in uses]
    if uses[0].loop:
        return (
            f"a random key is used in each step of a loop, at {lines[-1]}: each step draws the same numbers"
        )
    if len(set(lines)) == 1:
        return f"{first}: each time at {lines[0]}"
    return f"{first}: at {lines[0]} and at {lines[-1]}"


# ------------------------------------------------------------------------------------- where it is used


@dataclasses.dataclass(frozen=True)
class _Use:
    """A place where a key is consumed, and whether that is a loop around the place."""

    frame: Frame
    loop: bool = False
    kept: str = ""  # the argument that the key is of, where one line of what is called twice uses it


class _Root:
    """The function under test: its file, and the names of the functions in it."""

    def __init__(self, root: types.FunctionType) -> None:
        self.name = root.__code__.co_filename
        self.functions = {code.co_name for code in codes_of(root.__code__)} - {"<lambda>"}


def _programs_of(plan: trial.Plan, sizes: Mapping[str, int]) -> list[Any]:
    """What the function is traced into."""
    made: list[Any] = []

    def keep(body: Callable[..., Any], *structs: Any) -> None:
        made.append(jax.make_jaxpr(body)(*structs).jaxpr)

    _asked(plan, sizes, keep)
    return made


def _handed_on(jaxpr: Any, file: _Root) -> Iterator[list[_Use]]:
    """The places in the body of a loop that use a key which the next step is given, and uses again."""
    for equation in jaxpr.eqns:
        for body, constants, count in _bodies(equation):
            for given, out in zip(body.invars[constants : constants + count], body.outvars, strict=False):
                if _is_key(given) and _is_consumed_in(body, given):
                    users = [
                        step for step, var in _consumers(body) if _root_of(body, var) == _root_of(body, out)
                    ]
                    if users and given is not out and not _is_of_arguments(users[0]):
                        yield [_Use(frame, True) for frame in _frames(users[0], file)]
        for inner in _programs(equation):
            yield from _handed_on(inner, file)


def _bodies(equation: Any) -> Iterator[tuple[Any, int, int]]:
    """The body of a loop, how many of its inputs are the same in each step, and how many it hands on."""
    if equation.primitive.name == "scan":
        params = equation.params
        yield params["jaxpr"].jaxpr, scan_constants(params), scan_carried(params)
    if equation.primitive.name == "while":
        body = equation.params["body_jaxpr"].jaxpr
        yield body, int(equation.params["body_nconsts"]), len(body.outvars)


def _consumers(jaxpr: Any) -> Iterator[tuple[Any, Any]]:
    for equation in jaxpr.eqns:
        for position, var in enumerate(equation.invars):
            if _is_key(var) and _consumes(equation, position):
                yield equation, var


def _root_of(jaxpr: Any, var: Any) -> tuple[int, str]:
    """Which key a variable is: the one that it is a part of, and which part."""
    for equation in jaxpr.eqns:
        if _is_view(equation) and equation.outvars[0] is var:
            inner, path = _root_of(jaxpr, equation.invars[0])
            return inner, f"{path}/{equation.primitive}{equation.params}{_others(equation)}"
    return id(var), ""


def _repeated(jaxpr: Any, file: _Root, labels: Sequence[str]) -> Iterator[list[_Use]]:
    """The places that use a key which is used already; `labels` say which arguments the inputs are."""
    seen: dict[Any, list[Any]] = {}
    views: dict[int, tuple[int, str]] = {}
    known = {id(var): label for var, label in zip(jaxpr.invars, labels, strict=False)}
    for equation in jaxpr.eqns:
        inputs = [known.get(views.get(id(var), (id(var), ""))[0], "") for var in equation.invars]
        if _is_of_arguments(equation):
            known |= dict.fromkeys(map(id, equation.outvars), "".join(inputs[:1]))
        for position, var in enumerate(equation.invars):
            if not _is_key(var):
                continue
            base, path = views.get(id(var), (id(var), ""))
            loop = _loops_over(equation, position)
            if _is_view(equation):
                views[id(equation.outvars[0])] = (
                    base,
                    f"{path}/{equation.primitive}{equation.params}{_others(equation)}",
                )
            elif _consumes(equation, position) and not _is_of_arguments(equation):
                if loop:
                    yield [_Use(frame, True) for frame in _frames(equation, file, inner=True)]
                parts = dict.fromkeys((path, ""))
                for one in (one for part in parts for one in seen.get((base, part), ())):
                    if is_one_order(jaxpr, one, equation):
                        continue
                    kept = known.get(base, "") if _are_of_one_method(one, equation, file) else ""
                    yield [_Use(f, kept=kept) for step in (one, equation) for f in _frames(step, file)]
                seen.setdefault((base, path), []).append(equation)
        for inner in _programs(equation):
            yield from _repeated(inner, file, inputs[-len(inner.invars) :])


def _are_of_one_method(one: Any, other: Any, file: _Root) -> bool:
    """Whether two steps are the same line of what the function calls twice."""
    places = [next(iter(_users(step, file)), None) for step in (one, other)]
    lines = {(frame.file_name, frame.line_num) for frame in places if frame is not None}
    inside = all(frame is not None and _last(frame) not in file.functions for frame in places)
    return inside and len(lines) == 1


def _is_of_arguments(equation: Any) -> bool:
    """Whether a step was made by the constructor of an argument, whose own verdict says what it does."""
    made = trial.constructed
    place = (made.__code__.co_filename, made.__name__)
    return any((one.file_name, _last(one)) == place for one in frames_of(equation))


def _others(equation: Any) -> str:
    return ",".join(str(id(var)) for var in equation.invars[1:])


def _is_key(var: Any) -> bool:
    return "key<" in str(getattr(var.aval, "dtype", ""))


def _is_view(equation: Any) -> bool:
    """Whether a step only hands on some of the keys that it is given."""
    out = equation.outvars
    own = equation.primitive.name.startswith("random_") or any(True for _ in _programs(equation))
    return len(out) == 1 and _is_key(out[0]) and not own


def _programs(equation: Any) -> Iterator[Any]:
    """The programs inside a step."""
    for value in equation.params.values():
        for one in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(one, "jaxpr", one)
            if hasattr(inner, "eqns"):
                yield inner


def _consumes(equation: Any, position: int) -> bool:
    if equation.primitive.name in _CONSUMES:
        return True
    for inner in _programs(equation):
        place = position - len(equation.invars) + len(inner.invars)
        if place >= 0 and _is_consumed_in(inner, inner.invars[place]):
            return True
    return False


def _is_consumed_in(jaxpr: Any, var: Any) -> bool:
    same = {id(var)}
    for equation in jaxpr.eqns:
        for position, one in enumerate(equation.invars):
            if id(one) in same:
                if _is_view(equation):
                    same.add(id(equation.outvars[0]))
                elif _consumes(equation, position):
                    return True
    return False


def _loops_over(equation: Any, position: int) -> bool:
    """Whether each step of a loop is given the same key."""
    if equation.primitive.name == "scan":
        return position < scan_constants(equation.params)
    if equation.primitive.name == "while":
        return position < int(equation.params["cond_nconsts"]) + int(equation.params["body_nconsts"])
    return False


def _frames(equation: Any, file: _Root, inner: bool = False) -> list[Frame]:
    """The line of the user's code that a step comes from; for a loop, that in its body which uses keys."""
    if inner:
        for program in _programs(equation):
            for step in program.eqns:
                keys = [p for p, var in enumerate(step.invars) if _is_key(var)]
                if any(_consumes(step, p) for p in keys):
                    return _frames(step, file)
    frames = _users(equation, file)
    # That of the function under test says more than that of a helper which it calls twice.
    frames = [frame for frame in frames if _last(frame) in file.functions][:1] or frames[:1]
    return [Frame(frame.file_name, int(frame.line_num), _last(frame)) for frame in frames]


def _users(equation: Any, file: _Root) -> list[Any]:
    return [frame for frame in frames_of(equation) if is_users(frame.file_name, file.name)]


def _last(frame: Any) -> str:
    return str(frame.function_name).rpartition(".")[2]
