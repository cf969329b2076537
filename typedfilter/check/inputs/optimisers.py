"""Optimisers of Optax's and their states, which are annotated as trees of anything: made by an optimiser.

The function often says itself which one that is: in its body, or in a name of its module. Knows Optax's
public names, where it is imported; knows nothing of trials.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from typedfilter._reading import kinds
from typedfilter._reading.kinds import Kind, kind_of
from typedfilter._reading.plan import plan_of
from typedfilter.check.inputs import classes, literals, types
from typedfilter.check.inputs.nodes import GivenNode, Maker, Node, Point
from typedfilter.check.inputs.place import Place

_STATE = re.compile(r"opt\w*_?state|state_?opt|^state$|^opt$", re.IGNORECASE)
_METHODS = {"init", "update"}
_PARAMS = re.compile(r"param|model|weight|net|theta|module|policy", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class StateNode:
    """The state that an optimiser begins with, for parameters that are made as another argument is."""

    label: str
    params: Node
    init: Callable[[Any], Any]
    text: str

    def points(self) -> Iterator[Point]:
        return self.params.points()

    def make(self, maker: Maker) -> Any:
        params = self.params.make(maker)
        maker.notes.append(f"{self.label} as {self.text} begins")
        return self.init(jax.tree.map(_inexact, params)) if maker.construct else None


def _inexact(leaf: Any) -> Any:
    is_trained = isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)
    return leaf if is_trained else None


def is_optimiser(kind: Kind) -> bool:
    """Whether a type is `optax.GradientTransformation`, what extends it, or a protocol that it follows."""
    cls = kind.instance_class
    if cls is None:
        return False
    if types.is_protocol(cls):
        return classes.protocol_methods(cls).keys() == _METHODS and not types.fields_of(kind)
    return cls.__module__.startswith("optax.") and vars(cls).keys() >= _METHODS


def is_tree(kind: Kind) -> bool:
    """Whether a type is the tree of arrays that Optax calls `Params`, `Updates` and `OptState`."""
    members = types.alternatives(kind)
    nested = any(isinstance(one, kinds.Mapping | kinds.Each) for one in members)
    return nested and any(isinstance(one, kinds.Class) and issubclass(one.cls, jax.Array) for one in members)


def optimiser(place: Place) -> Node | None:
    """One of the optimisers that the function speaks of, or that are usual; None without Optax."""
    known = _known(place)
    if not known:
        return None
    text, found = known[_round(place) % len(known)]
    return GivenNode(found, place.label, f"{place.label} {text}")


def state(place: Place, build: Callable[[Kind, Place], Node]) -> Node | None:
    """The state of that optimiser; None where there is none, or nothing that it could be the state of."""
    known = _known(place) if _STATE.search(place.name) or beside_optimiser(place) else []
    beside = _parameters_beside(place) if known else None
    if beside is None:
        return None
    text, found = known[_round(place) % len(known)]
    return StateNode(place.label, build(*beside), found.init, text)


def beside_optimiser(place: Place) -> bool:
    """Whether the call or the instance has an optimiser, too: what says nothing is likely its state."""
    assert place.guess is not None
    given = [p.hint.kind for function in place.guess.functions[:1] for p in plan_of(function).params]
    fields = types.fields_of(kind_of(place.inside[-1])).values() if place.owner else ()
    return any(map(is_optimiser, (*given, *fields)))


def _round(place: Place) -> int:
    assert place.guess is not None
    return place.guess.round


def _parameters_beside(place: Place) -> tuple[Kind, Place] | None:
    """The argument, or the field of the same instance, that holds what is trained."""
    assert place.guess is not None
    if place.owner:
        cls = place.inside[-1]
        siblings = dict(types.fields_of(kind_of(cls)))
        base = place.label.removesuffix(place.name)
    else:
        siblings = {p.name: p.hint.kind for p in plan_of(place.guess.functions[0]).params}
        base = ""
    siblings = {n: kind for n, kind in siblings.items() if n != place.name and not is_optimiser(kind)}
    named = [name for name in siblings if _PARAMS.search(name) and not _STATE.search(name)]
    arrays = [name for name, kind in siblings.items() if any(True for _ in types.arrays_in(kind))]
    for name in (*named, *arrays):
        key = f"{place.inside[-1].__qualname__}.{name}" if place.owner else ""
        return siblings[name], dataclasses.replace(place, label=f"{base}{name}", name=name, key=key)
    return None


def _known(place: Place) -> list[tuple[str, Any]]:
    """The optimisers to try, each with what it is called: the function's own, then the usual ones."""
    optax: Any = sys.modules.get("optax")
    if optax is None:
        return []
    assert place.guess is not None
    own = [one for function in place.guess.functions[:1] for one in _of_function(function)]
    return [*own, ("optax.adam", optax.adam(1e-3)), ("optax.sgd", optax.sgd(1e-3))]


def _of_function(function: Any) -> Iterator[tuple[str, Any]]:
    written = inspect.unwrap(function)
    tree = literals.tree_of(written) if inspect.isfunction(written) else None
    if tree is None:
        return
    known = inspect.getclosurevars(written)
    names = {**known.globals, **known.nonlocals}
    yield from ((name, value) for name, value in names.items() if _optimises(value))
    given = {
        p.name: p.default for p in inspect.signature(written).parameters.values() if p.default is not p.empty
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_of_optax(node.func, names):
            value = _evaluated(node, {**names, **given})
            if _optimises(value):
                yield ast.unparse(node), value


def _optimises(value: Any) -> bool:
    return isinstance(value, tuple) and callable(getattr(value, "init", None)) and hasattr(value, "update")


def _is_of_optax(node: ast.expr, names: Mapping[str, Any]) -> bool:
    base = node
    while isinstance(base, ast.Attribute):
        base = base.value
    found = names.get(base.id) if isinstance(base, ast.Name) else None
    home = getattr(found, "__name__" if inspect.ismodule(found) else "__module__", "")
    return str(home).partition(".")[0] == "optax"


def _evaluated(node: ast.expr, names: dict[str, Any]) -> Any:
    """What a call of Optax's makes of constants and defaults; None where it takes what only a call knows."""
    try:
        return eval(compile(ast.Expression(node), "<optimiser>", "eval"), names)
    except Exception:  # whatever its arguments make of it: another optimiser is tried
        return None
