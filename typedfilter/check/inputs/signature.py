"""A signature ready to be tried: a node for each parameter, the ways in which they vary, and the cases.

Knows plans and nodes; knows nothing of arrays, tracing or verdicts.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import typing_extensions

from typedfilter._reading.hints import Hint
from typedfilter._reading.kinds import ANYTHING, Kind, kind_of
from typedfilter._reading.plan import Param, Plan
from typedfilter._reading.received import NOTHING, Returned, returned_by
from typedfilter._reading.roles import Role
from typedfilter.check.inputs import build, classes, guesses
from typedfilter.check.inputs.nodes import (
    NUMBERS,
    ArrayNode,
    GivenNode,
    Node,
    RecordNode,
    children,
    walk,
)
from typedfilter.check.inputs.place import Guess, Place
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.trials.driven import returns_of
from typedfilter.check.trials.subject import Subject

Case = dict[str, int]
"""The chosen option of each point, by key."""

_TRACED: Mapping[Any, Any] = {bool: True, int: 3, float: 0.5, complex: 0.5j}  # traced, so that any will do
_SELVES: tuple[Any, ...] = (typing.Self, typing_extensions.Self)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter, with how to make it."""

    name: str
    kind: Any  # inspect.Parameter.kind
    type: Kind
    node: Node


@dataclasses.dataclass(frozen=True)
class Letter:
    """What is taken to hold beyond the letter of a signature; a verdict that needs it says so."""

    text: str  # the same in words: `where n_minus_1 = n-1`
    fix: str  # what to write
    options: tuple[tuple[str, int], ...] = ()  # the chosen option of points, by key
    without: tuple[tuple[str, int], ...] = ()  # options of points that are not meant, by key
    together: tuple[str, ...] = ()  # keys of points that are chosen alike
    crossed: tuple[str, ...] = ()  # those of them of which the second option goes with the first of others
    # options that do not count in that: the None of an optional, by key
    absent: tuple[tuple[str, int], ...] = ()
    least: tuple[tuple[str, int], ...] = ()  # the smallest size that a name is meant for
    numbers: tuple[float, ...] = ()  # what floats are tried as
    equal: tuple[tuple[str, str], ...] = ()  # names that are another name, or an expression
    rest: bool = False  # whether `...` means the same axes wherever it is written
    own_results: bool = False  # whether the names in the fields of returned instances are their own
    tied: bool = False  # whether a name that an int of the signature has is its value
    # whether axes without a name of what a callable returns are those of what it takes
    alike: bool = False
    same: bool = False  # whether instances of one class hold the same numbers and callables

    @property
    def makes(self) -> tuple[Any, ...]:
        """What arguments and results depend on, at the same sizes and in the same case."""
        return self.numbers, self.rest, self.own_results, self.alike, self.same

    def and_(self, other: Letter) -> Letter:
        """What both take to hold."""
        if self is AS_WRITTEN:
            return other
        both = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
            if field.type.startswith("tuple") and field.name not in ("together", "crossed", "numbers")
        }
        return dataclasses.replace(
            other,
            text=", and ".join(filter(None, (self.text, other.text))),
            fix="; ".join(dict.fromkeys(filter(None, (self.fix, other.fix)))),
            together=other.together or self.together,
            crossed=other.crossed if other.together else self.crossed,
            numbers=other.numbers or self.numbers,
            rest=self.rest or other.rest,
            own_results=self.own_results or other.own_results,
            tied=self.tied or other.tied,
            alike=self.alike or other.alike,
            same=self.same or other.same,
            **both,
        )

    @property
    def fields(self) -> frozenset[str]:
        """The fields, as `Class.field`, of which it says what they are: nobody need have read them."""
        keys = [*self.together, *(key for key, _ in (*self.options, *self.without))]
        return frozenset(key.partition(" of ")[2] for key in keys)

    def allows(self, case: Case) -> bool:
        """Whether a case is one of those that are meant."""
        chosen = {key: case.get(key, 0) for key in self.together}
        chosen = {key: option for key, option in chosen.items() if (key, option) not in self.absent}
        alike = {1 - option if key in self.crossed else option for key, option in chosen.items()}
        meant = all(case.get(key, 0) == option for key, option in self.options)
        return len(alike) <= 1 and meant and not any(case.get(key, 0) == out for key, out in self.without)


AS_WRITTEN = Letter("", "")


@dataclasses.dataclass(frozen=True)
class Signature:
    """What is called, with what, and what it promises."""

    subject: Subject
    parameters: tuple[Parameter, ...]
    returns: Kind  # `Any` where nothing is said
    sizes: tuple[tuple[str, int], ...] = ()  # of dimensions, from an example
    apart: frozenset[str] = frozenset()  # instances that have dimension names of their own
    guess: Guess | None = None  # what is made up
    computes: Returned = NOTHING  # what an array in the result may stand for
    letter: Letter | None = None  # what is taken to hold beyond the annotations
    # what came of its trials so far; another reading of the same parameters has the same one
    outcomes: dict[Any, Any] = dataclasses.field(default_factory=dict[Any, Any], compare=False, repr=False)

    @property
    def numbers(self) -> tuple[float, ...]:
        """What floats are tried as."""
        return (self.letter.numbers if self.letter else ()) or NUMBERS

    @property
    def shared(self) -> dict[str, Any] | None:
        """Where to keep what instances of one class share beside arrays; None where they share nothing."""
        return {} if self.letter is not None and self.letter.same else None

    @functools.cached_property
    def classes_apart(self) -> frozenset[type]:
        """The classes of those instances."""
        nodes = (node for p in self.parameters for node in walk(p.node))
        return frozenset(
            node.cls for node in nodes if isinstance(node, RecordNode) and node.label in self.apart
        )


def signature_of(
    subject: Subject,
    plan: Plan,
    example: Mapping[str, Any],
    apart: frozenset[str] = frozenset(),
    guess: Guess | None = None,
) -> Signature:
    """Find a node for every parameter.

    Raises:
        UnbuildableError: of one there is none.
    """
    params = list(plan.params)
    parameters: list[Parameter] = []
    if subject.kind == "constructor":
        params = params[1:]
    elif subject.kind not in ("function", "static") and params:
        parameters.append(_receiver(subject, params.pop(0), apart, guess))
    known = {param.name for param in params}
    parameters += [_parameter(_of_class(param, subject.cls), example, apart, guess) for param in params]
    sizes = {name: size for name, size in example.items() if name not in known}
    for name, size in sizes.items():
        if not isinstance(size, int):
            raise UnbuildableError(
                f"the example names `{name}`, which is no parameter of {plan.function}",
                "correct the name; a dimension takes an int",
            )
    if subject.kind == "constructor":
        returns = kind_of(subject.cls)
    else:
        returns = returns_of(subject.root, _type_of("the return", of_class(plan.returns, subject.cls)))
    return Signature(
        subject, tuple(parameters), returns, tuple(sizes.items()), apart, guess, returned_by(plan.params)
    )


def of_class(hint: Hint, cls: type | None) -> Hint:
    """`hint`, with the class for `Self`."""
    if cls is None or hint.annotation not in _SELVES:
        return hint
    return dataclasses.replace(hint, kind=kind_of(cls))


def _of_class(param: Param, cls: type | None) -> Param:
    return dataclasses.replace(param, hint=of_class(param.hint, cls))


def _receiver(subject: Subject, param: Param, apart: frozenset[str], guess: Guess | None) -> Parameter:
    if subject.kind == "class":
        return Parameter(param.name, param.kind, kind_of(type), GivenNode(subject.cls))
    if subject.kind == "bound":
        kind = kind_of(Any if isinstance(subject.receiver, type) else subject.cls)
        return Parameter(param.name, param.kind, kind, GivenNode(subject.receiver, param.name))
    kind = kind_of(subject.cls)
    node = build.node(kind, Place(param.name, param.name, apart=apart, guess=guess))
    return Parameter(param.name, param.kind, kind, node)


def _parameter(
    param: Param, example: Mapping[str, Any], apart: frozenset[str], guess: Guess | None
) -> Parameter:
    name = param.name
    if name in example:
        note = "" if jax.tree.leaves(example[name]) == [] else f"{name}={_short(example[name])}"
        node: Node = GivenNode(example[name], name, note)
        return Parameter(name, param.kind, param.hint.kind, node)
    if param.variadic:
        return Parameter(name, param.kind, param.hint.kind, _variadic(param, apart, guess))
    kind = _type_of(f"`{name}`", param.hint)
    if not param.hint.annotated and param.default is Param.empty:
        if guess is not None and guesses.is_called_key(name):
            return Parameter(name, param.kind, ANYTHING, guesses.array(Place(name, name, guess=guess)))
        raise UnbuildableError(
            f"`{name}` has no annotation", f"annotate it, or add @typedfilter.check.example({name}=...)"
        )
    if param.hint.role is Role.TRACED and kind.hint in _TRACED and param.default is Param.empty:
        return Parameter(name, param.kind, kind, GivenNode(_TRACED[kind.hint], name))
    node = build.parameter_node(name, kind, param.default, apart, guess)
    return Parameter(name, param.kind, kind, node)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def _variadic(param: Param, apart: frozenset[str], guess: Guess | None) -> Node:
    """`*args` as a tuple and `**kwargs` as a dictionary; empty where nobody says what they hold."""
    positional = param.kind is param.kind.VAR_POSITIONAL
    one: Any = param.hint.type
    many: Any = tuple[one, ...] if positional else dict[str, one]
    try:
        if param.hint.annotated:
            return build.node(kind_of(many), Place(param.name, param.name, apart=apart, guess=guess))
    except UnbuildableError:
        pass
    stars = "*" if positional else "**"
    return GivenNode(() if positional else {}, param.name, f"nothing in {stars}{param.name}")


def _type_of(where: str, hint: Hint) -> Kind:
    if hint.unresolved:
        raise UnbuildableError(
            f"the name `{hint.unresolved[0]}` in the annotation of {where} can't be found",
            "import it outside `if TYPE_CHECKING`",
        )
    return hint.kind


def colliding(signature: Signature) -> frozenset[str]:
    """The instances of classes whose fields share dimension names with those of another instance.

    Names are shared by default, which is what `params: P, grads: P` needs; two layers of one class need it
    not, and nothing in their annotations says how their sizes are related.
    """
    owners: dict[str, set[str]] = {}
    for parameter in signature.parameters:
        for label, name in _owned_names(parameter.node):
            owners.setdefault(name, set()).add(label)
    # The names of `self` are those of its methods, too.
    own = signature.parameters[0].name if signature.subject.kind in ("method", "property") else ""
    several = (label for labels in owners.values() if len(labels) > 1 for label in labels - {own})
    return frozenset([*several, *foreign(signature)])


def foreign(signature: Signature) -> Iterator[str]:
    """The instances of other people's classes, whose names are not those of this signature."""
    for parameter in signature.parameters:
        for node in walk(parameter.node):
            if isinstance(node, RecordNode) and classes.is_of_others(node.cls):
                yield node.label


def _owned_names(node: Node, owner: str = "") -> Iterator[tuple[str, str]]:
    """The instance in whose fields each dimension name is, for every array below `node`."""
    if isinstance(node, ArrayNode) and owner:
        yield from ((owner, dim.text) for dim in node.dims if dim.kind == "named")
    for child in children(node):
        yield from _owned_names(child, node.label if isinstance(node, RecordNode) else owner)
