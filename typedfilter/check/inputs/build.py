"""Annotations in, nodes out: how to make a value of each type that an annotation can say.

Knows types; knows nothing of sizes, transforms or verdicts. What can't be made says why, and what
to write so that it can: nothing is guessed that could decide a shape.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
import typing_extensions

from typedfilter._reading import dims as _dims
from typedfilter._reading.forms import arguments_of, is_array_class, is_tree_class, plain
from typedfilter._reading.plan import plan_of
from typedfilter._reading.text import show
from typedfilter.check.inputs import classes, examples, guesses
from typedfilter.check.inputs import types as _types
from typedfilter.check.inputs.nodes import (
    ArrayNode,
    ChoiceNode,
    GivenNode,
    Node,
    Point,
    RecordNode,
    SequenceNode,
    StubNode,
    UnmadeNode,
)
from typedfilter.check.inputs.place import EXAMPLE, Guess, Place, anonymous_stem, scope_of
from typedfilter.check.inputs.protocols import protocol
from typedfilter.check.inputs.trees import TreeNode
from typedfilter.check.inputs.unmade import UnbuildableError
from typedfilter.check.inputs.values import FloatNode

_LENGTHS = (2, 1, 3)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_KEYS = ("a", "b")


def parameter_node(
    name: str, hint: Any, default: Any, apart: frozenset[str] = frozenset(), guess: Guess | None = None
) -> Node:
    """How to make a parameter that no example gives.

    Raises:
        UnbuildableError: its annotation does not say enough, and it has no default.
    """
    return _or_default(Place(name, name, apart=apart, guess=guess), hint, default)


def _or_default(place: Place, hint: Any, default: Any, left_out: bool = False) -> Node:
    if left_out and default is not inspect.Parameter.empty:
        return _given(default, place, f"{place.label} its default")
    if default is not inspect.Parameter.empty and _decided_by_default(hint):
        return _given(default, place, f"{place.label}={default!r}")
    try:
        return node(hint, place)
    except UnbuildableError:
        # A caller may leave a parameter out; a field that is None by default is filled in later.
        taken = default is not None or not place.owner or type(None) in _types.alternatives(hint)
        if default is inspect.Parameter.empty or not taken:
            raise
        return _given(default, place, f"{place.label} its default")


def _decided_by_default(hint: Any) -> bool:
    return plain(hint) in (int, str, bytes, float, complex)


def _given(value: Any, place: Place, note: str = "") -> Node:
    return GivenNode(value, place.label, note)


def node(hint: Any, place: Place) -> Node:
    """How to make a value of type `hint`.

    Raises:
        UnbuildableError: the type does not say enough, and there is nothing to guess.
    """
    try:
        return _node(hint, place)
    except UnbuildableError:
        known = place.guess is not None and not place.guess.constructor
        guess = guesses.guess(plain(hint), place, node) if known else None
        if guess is None:
            raise
        return guess


def _node(hint: Any, place: Place) -> Node:
    members = _types.alternatives(hint)
    if len(members) > 1:
        # A type variable stands for the same type wherever it is written.
        variable = plain(hint)
        return _union(members, place, f"type {variable}" if isinstance(variable, TypeVar) else "")
    hint = next(iter(members))
    if hint is None or hint is type(None):
        return _given(None, place)
    if is_array_class(hint):
        return _array(hint, place)
    if is_tree_class(hint):
        return _tree(hint, place)
    choices = _choices(hint)
    if choices is not None:
        return _choice(place, [(f"{place.label}={value!r}", _given(value, place)) for value in choices])
    if hint in (float, complex):
        return FloatNode(place.label, hint)
    parts = _types.callable_parts(hint)
    if parts is not None:
        return _stub(parts[0], parts[1], place)
    return _container(hint, place) or _record(hint, place)


def _union(members: tuple[Any, ...], place: Place, key: str = "") -> Node:
    options: list[tuple[str, Node]] = []
    problems: list[UnbuildableError] = []
    for member in members:
        try:
            options.append((f"{place.label}: {show(member)}", node(member, place)))
        except UnbuildableError as problem:
            problems.append(problem)
    # Half a union would pass what the other half breaks.
    if problems:
        raise problems[0]
    return _choice(place, options, key=key)


def _choice(place: Place, options: list[tuple[str, Node]], soft: str = "", key: str = "") -> Node:
    if len(options) == 1:
        return options[0][1]
    labels, nodes = zip(*options, strict=True)
    return ChoiceNode(Point(key or f"choice of {place.key or place.label}", labels, soft), nodes)


def _choices(hint: Any) -> Iterable[Any] | None:
    if hint is bool:
        return (False, True)
    if _types.is_enum(hint):
        return list(hint)
    return _types.literal_values(hint)


def _array(hint: Any, place: Place) -> Node:
    host = hint.array_type is np.ndarray
    if not _types.takes_tracers(hint) and not host:
        kind = getattr(hint.array_type, "__name__", str(hint.array_type))
        raise UnbuildableError(
            f"`{place.label}` is a {kind}, which can't be traced",
            "annotate with jax.Array, or with a union that has it",
        )
    # Of the numbers in an operator of another package nobody here says that they may be complex.
    others = bool(place.inside) and classes.is_of_others(place.inside[-1])
    dtypes = _types.dtypes_to_try(hint)[: 1 if others else None]
    if not dtypes:
        raise UnbuildableError(
            f"`{place.label}` has a dtype that JAX does not make here: {show(hint)}",
            "enable 64-bit types (JAX_ENABLE_X64=1) if it is one of those",
        )
    dims = _dims.scoped(_types.dims_of(hint), place.scope)
    return ArrayNode(place.label, dims, dtypes, place.number, anonymous_stem(place), host)


def _tree(hint: Any, place: Place) -> Node:
    leaf = getattr(hint, "leaftype", Any)
    if leaf is Any:
        raise place.missing("is a PyTree that does not say what its leaves are", "...")

    structure = getattr(hint, "structure", None)

    if structure is None and place.inside and classes.is_of_others(place.inside[-1]):
        return _plain_leaf(node(leaf, place))  # nobody here says of which leaves

    def make_leaf(index: str) -> Node:
        return node(leaf, place.at(f"<{index}>", number=index, tree=structure or ""))

    make_leaf("0")
    return TreeNode(place.label, place.key or place.label, structure, make_leaf)


def _plain_leaf(made: Node) -> Node:
    """An array of one axis, where it may have any."""
    dims = made.dims if isinstance(made, ArrayNode) else ()
    if isinstance(made, ArrayNode) and len(dims) == 1 and dims[0].variadic and not dims[0].text:
        return dataclasses.replace(made, dims=(_dims.Dim("", "anonymous"),))
    return made


def _stub(parameters: list[Any] | None, result: Any, place: Place) -> Node:
    made = node(result, place.at("()"))
    return StubNode(place.label, None if parameters is None else tuple(parameters), made)


def _container(hint: Any, place: Place) -> Node | None:
    """The node of a built-in container; None where `hint` is none."""
    origin, arguments = typing.get_origin(hint), arguments_of(hint)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        items = [node(item, place.at(f"[{i}]")) for i, item in enumerate(arguments) if item != ()]
        return SequenceNode(tuple, tuple(items))
    if origin is tuple or (origin in _LISTS and arguments):
        build = tuple if origin is tuple else list
        lengths = [
            (f"`{place.label}` of length {n}", _repeated(build, arguments[0], n, place)) for n in _LENGTHS
        ]
        return _choice(place.at(" length"), lengths, soft="length")
    if origin in _DICTS and len(arguments) == 2:
        return _dictionary(arguments[0], arguments[1], place)
    if typing_extensions.is_typeddict(hint):
        hints = typing_extensions.get_type_hints(hint)
        return _mapping({key: node(value, place.at(f'["{key}"]')) for key, value in hints.items()})
    cls: Any = origin or hint
    if _types.is_namedtuple(cls):
        fields = _types.fields_of(hint)
        items = [_field(cls, name, fields.get(name, Any), place) for name in cls._fields]
        return SequenceNode(lambda values: cls(*values), tuple(items), cls)
    return None


def _repeated(build: Callable[[list[Any]], Any], item: Any, length: int, place: Place) -> Node:
    return SequenceNode(build, tuple(node(item, place.at(f"[{i}]")) for i in range(length)))


def _dictionary(key: Any, item: Any, place: Place) -> Node:
    keys = _choices(plain(key))
    if keys is not None:
        return _mapping({key: node(item, place.at(f"[{key!r}]")) for key in keys})
    if key is int:
        names: tuple[Any, ...] = (0, 1)
    elif key is str:
        names = _KEYS
    else:
        raise place.missing(f"has keys of type {show(key)}", "{...}")
    items = {key: node(item, place.at(f"[{key!r}]".replace("'", '"'))) for key in names}
    first = {names[0]: items[names[0]]}
    options = [
        (f"`{place.label}` of 2 items", _mapping(items)),
        (f"`{place.label}` of 1 item", _mapping(first)),
    ]
    return _choice(place.at(" length"), options, soft="keys")


def _mapping(items: Mapping[Any, Node]) -> Node:
    keys = tuple(items)
    return SequenceNode(lambda values: dict(zip(keys, values, strict=True)), tuple(items.values()))


# ------------------------------------------------------------------------------------------------ classes


def _record(hint: Any, place: Place) -> Node:
    cls = typing.get_origin(hint) or hint
    if cls is Any:
        raise place.missing("may be anything, which says no shape", "...")
    if isinstance(cls, type) and any(base.__module__.startswith("flax.linen") for base in cls.__mro__):
        reason = f"`{place.label}` is a flax.linen module: it has parameters inside `init` and `apply` only"
        raise UnbuildableError(reason, "check the function that calls `apply`")
    if not isinstance(cls, type):
        raise place.missing(f"has the annotation {show(hint)}, which says no shape", "...")
    if cls in place.inside:
        raise UnbuildableError(
            f"`{place.label}` is a {cls.__name__} in a {cls.__name__}", f"add {EXAMPLE} with one"
        )
    if issubclass(cls, (jax.Array, np.ndarray)):
        reason = f"`{place.label}` is an array of unknown shape"
        raise UnbuildableError(reason, 'say its shape, as in Float[Array, "n"]')
    place = dataclasses.replace(place, scope=scope_of(place.label) if place.label in place.apart else "")
    return protocol(cls, place, node, _field) if _types.is_protocol(cls) else _of_class(cls, hint, place)


def _of_class(cls: type, hint: Any, place: Place) -> Node:
    """An instance: by its constructor, if one can know what that takes, else by its annotated fields."""
    shown = examples.of(cls)
    if shown is not None:
        return examples.node(shown, place)
    fields = _types.fields_of(hint)
    if classes.lacks_parts(cls):
        if not fields:
            raise place.missing(f"is of type {cls.__name__} and has no default", "...")
        raise UnbuildableError(
            f"`{place.label}`: the class {cls.__name__} is abstract", "check a class that is not"
        )
    init = classes.written_constructor_of(cls)
    if init is not None and not _is_filled(cls, fields, place):
        made = _by_constructor(cls, init, hint, place)
        if made is not None:
            return made
    if dataclasses.is_dataclass(cls):
        return _instance(cls, fields, place)
    if not fields and (not classes.is_stateless(cls) or classes.is_of_others(cls)):
        raise place.missing(f"is of type {cls.__name__} and has no default", _value_text(cls))
    return _instance(cls, fields, place)


def _is_filled(cls: type, fields: Mapping[str, Any], place: Place) -> bool:
    """Whether an instance is made of its fields alone, though somebody wrote a constructor.

    Where all that a dataclass holds can be made to the letter, the sizes stay symbols; a constructor is for
    what it derives.
    """
    if not dataclasses.is_dataclass(cls) or (place.guess is not None and place.guess.constructor):
        return False
    if place.guess is not None and place.guess.fields:
        return True
    given, defaults, letter = (
        _given_fields(cls),
        classes.defaults(cls),
        dataclasses.replace(place, guess=None),
    )
    try:
        for name, hint in fields.items():
            if name not in given:
                _field(cls, name, hint, letter, defaults)
    except UnbuildableError:
        return False
    return True


def _by_constructor(cls: type, init: types.FunctionType, hint: Any, place: Place) -> Node | None:
    """An instance by its constructor; None where its parameters can't be made, but its fields perhaps can.

    Raises:
        UnbuildableError: a class of others is never filled: it has more attributes than annotations.
    """
    fields = _types.fields_of(hint)
    try:
        return _constructed(cls, init, place)
    except UnbuildableError as problem:
        wrapped = _around(cls, init, hint, place)
        if wrapped is not None:
            return wrapped
        if not fields:
            raise
        if classes.is_laid_out_by_others(cls):
            raise place.missing(
                f"is a {cls.__name__}, whose annotations do not say its shapes", "..."
            ) from problem
    return None


def _around(cls: type, init: types.FunctionType, hint: Any, place: Place) -> Node | None:
    """An instance of `Box[A]`, whose constructor takes the A first and needs nothing else."""
    arguments = arguments_of(hint)
    params = plan_of(init).params[1:]
    needed = [p for p in params if p.default is inspect.Parameter.empty and p.kind not in _VARIADIC]
    if len(arguments) != 1 or len(needed) != 1 or needed[0] is not params[0]:
        return None
    inner = node(arguments[0], dataclasses.replace(place, inside=(*place.inside, cls)).at(".value"))
    return SequenceNode(lambda values: cls(*values), (inner,))


def _constructed(cls: type, init: types.FunctionType, place: Place) -> Node:
    """An instance by the parameters of the constructor that somebody wrote."""
    inner = dataclasses.replace(place, owner=cls.__name__, inside=(*place.inside, cls))
    given = _given_fields(cls)
    made: list[tuple[str, Node]] = []
    for param in plan_of(init).params[1:]:
        if param.name in given:
            made.append((param.name, _given_field(param.name, given, place)))
        elif param.kind not in _VARIADIC:
            at = dataclasses.replace(inner.at(f".{param.name}"), name=param.name)
            made.append((param.name, _or_default(at, param.hint.type, param.default, place.leaves_out)))
    if not given.keys() <= dict(made).keys():
        raise UnbuildableError("the example names fields", "name parameters of the constructor")
    return RecordNode(place.label, cls, tuple(made), tuple(name for name, _ in made))


def _value_text(cls: type) -> str:
    return {int: "3", str: '"..."', bytes: 'b"..."'}.get(cls, "...")


def _instance(cls: type, fields: Mapping[str, Any], place: Place) -> Node:
    given = _given_fields(cls)
    defaults = classes.defaults(cls)
    made: list[tuple[str, Node]] = []
    for name, hint in fields.items():
        if name in given:
            made.append((name, _given_field(name, given, place)))
            continue
        try:
            made.append((name, _field(cls, name, hint, place, defaults)))
        except UnbuildableError as problem:
            if classes.is_of_others(cls):
                raise place.missing(
                    f"is a {cls.__name__}, whose annotations do not say its shapes", "..."
                ) from problem
            made.append((name, UnmadeNode(problem)))
    init = classes.init_fields(cls)
    whole = dataclasses.is_dataclass(cls)
    return RecordNode(place.label, cls, tuple(made), init, complete=whole, tracked=True)


def _given_fields(cls: type) -> dict[str, Any]:
    """What an example on the class says of its instances."""
    return {key: value for example in classes.examples_of(cls)[:1] for key, value in example.items()}


def _given_field(name: str, given: Mapping[str, Any], place: Place) -> Node:
    return _given(given[name], place.at(f".{name}"), f"{place.label}.{name}={given[name]!r}")


def _field(cls: Any, name: str, hint: Any, place: Place, defaults: Mapping[str, Any] | None = None) -> Node:
    known = getattr(cls, "_field_defaults", {}) if defaults is None else defaults
    key = f"{cls.__qualname__}.{name}"
    inner = place.at(f".{name}", name=name, key=key, owner=cls.__name__, inside=(*place.inside, cls))
    return _or_default(inner, hint, known.get(name, inspect.Parameter.empty))
