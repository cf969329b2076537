"""Annotations in, nodes out: how to make a value of each type that an annotation can say.

Floor 5. Knows types; knows nothing of sizes, transforms or verdicts. What can't be made says why, and what
to write so that it can: nothing is guessed that could decide a shape.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
import typing_extensions

from typedfilter._plan import plan_of
from typedfilter.check import _dims, _types
from typedfilter.check._nodes import (
    ArrayNode,
    ChoiceNode,
    GivenNode,
    Node,
    Point,
    RecordNode,
    SequenceNode,
    StubNode,
    TreeNode,
)

_EXAMPLE = "@typedfilter.check.example"
_LENGTHS = (2, 1, 3)
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_KEYS = ("a", "b")
# A float can't decide a shape, so that any will do; an int or a str can.
_NUMBERS: Mapping[type, Any] = {float: 0.5, complex: 0.5 + 0.5j}


class UnbuildableError(Exception):
    """No value can be made; `fix` says what to add."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclasses.dataclass(frozen=True)
class Place:
    """What is being built: a parameter, or something inside one.

    Attributes:
        label: how messages call it: `x`, `params["a"]`, `model.layers[0]`.
        name: what an example calls it: the parameter, or the field of a class.
        key: what two places share that vary alike: a field of one class has one length in all its instances.
        owner: the class whose field it is; empty for a parameter.
        number: of the leaf of the tree that it is in.
        tree: the name of the structure of that tree.
        inside: the classes that it is in.
        scope: what sets the dimension names of this instance apart.
        apart: the labels of the instances that have names of their own.
    """

    label: str
    name: str
    key: str = ""
    owner: str = ""
    number: str = ""
    tree: str = ""
    inside: tuple[type, ...] = ()
    scope: str = ""
    apart: frozenset[str] = frozenset()

    def at(self, piece: str, **changes: Any) -> Place:
        """A place inside this one."""
        changes.setdefault("key", f"{self.key or self.label}{piece}")
        return dataclasses.replace(self, label=f"{self.label}{piece}", **changes)

    def missing(self, what: str, value: str) -> UnbuildableError:
        """That a value of this place can't be made, and that an example helps."""
        where = f"field `{self.name}` of `{self.owner}`" if self.owner else f"`{self.label}`"
        on = f" on the class `{self.owner}`" if self.owner else ""
        return UnbuildableError(f"{where} {what}", f"add {_EXAMPLE}({self.name}={value}){on}")


def parameter_node(name: str, hint: Any, default: Any, apart: frozenset[str] = frozenset()) -> Node:
    """How to make a parameter that no example gives.

    Raises:
        UnbuildableError: its annotation does not say enough, and it has no default.
    """
    return _or_default(Place(name, name, apart=apart), hint, default)


def _or_default(place: Place, hint: Any, default: Any) -> Node:
    if default is not inspect.Parameter.empty and _decided_by_default(hint):
        return _given(default, place, f"{place.label}={default!r}")
    try:
        return node(hint, place)
    except UnbuildableError:
        if default is inspect.Parameter.empty:
            raise
        return _given(default, place, f"{place.label} its default")


def _decided_by_default(hint: Any) -> bool:
    return _types.plain(hint) in (int, str, bytes, float, complex)


def _given(value: Any, place: Place, note: str = "") -> Node:
    return GivenNode(value, place.label, note)


def node(hint: Any, place: Place) -> Node:
    """How to make a value of type `hint`.

    Raises:
        UnbuildableError: the type does not say enough.
    """
    members = _types.alternatives(hint)
    if len(members) > 1:
        # A type variable stands for the same type wherever it is written.
        variable = _types.plain(hint)
        return _union(members, place, f"type {variable}" if isinstance(variable, TypeVar) else "")
    hint = next(iter(members))
    if hint is None or hint is type(None):
        return _given(None, place)
    if _types.is_array(hint):
        return _array(hint, place)
    if _types.is_tree(hint):
        return _tree(hint, place)
    choices = _choices(hint)
    if choices is not None:
        return _choice(place, [(f"{place.label}={value!r}", _given(value, place)) for value in choices])
    if hint in _NUMBERS:
        return _given(_NUMBERS[hint], place, f"{place.label}={_NUMBERS[hint]}")
    parts = _types.callable_parts(hint)
    if parts is not None:
        return _stub(parts[0], parts[1], place)
    return _container(hint, place) or _record(hint, place)


def _union(members: tuple[Any, ...], place: Place, key: str = "") -> Node:
    options: list[tuple[str, Node]] = []
    problems: list[UnbuildableError] = []
    for member in members:
        try:
            options.append((f"{place.label}: {_types.text(member)}", node(member, place)))
        except UnbuildableError as problem:
            problems.append(problem)
    # Half a union would pass what the other half breaks.
    if problems:
        raise problems[0]
    return _choice(place, options, key=key)


def _choice(place: Place, options: list[tuple[str, Node]], soft: bool = False, key: str = "") -> Node:
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
    if not _types.takes_tracers(hint):
        kind = getattr(hint.array_type, "__name__", str(hint.array_type))
        raise UnbuildableError(
            f"`{place.label}` is a {kind}, which can't be traced",
            "annotate with jax.Array, or with a union that has it",
        )
    dtypes = _types.dtypes_to_try(hint)
    if not dtypes:
        raise UnbuildableError(
            f"`{place.label}` has a dtype that JAX does not make here: {_types.text(hint)}",
            "enable 64-bit types (JAX_ENABLE_X64=1) if it is one of those",
        )
    dims = _dims.scoped(_types.dims_of(hint), place.scope)
    return ArrayNode(place.label, dims, dtypes, place.number, _anonymous_stem(place))


def _anonymous_stem(place: Place) -> str:
    """What names of anonymous axes begin with.

    Trees that share the name of a structure share them, leaf by leaf: nobody who writes
    `params: PyTree[Float[Array, "..."], "T"], grads: PyTree[Float[Array, "..."], "T"]` means other shapes.
    """
    shared = (
        f"{place.tree} leaf {place.number}{place.label.rpartition('>')[2]}" if place.tree else place.label
    )
    return "_" + re.sub(r"[^0-9A-Za-z]+", "_", shared).strip("_")


def _tree(hint: Any, place: Place) -> Node:
    leaf = getattr(hint, "leaftype", Any)
    if leaf is Any:
        raise place.missing("is a PyTree that does not say what its leaves are", "...")

    structure = getattr(hint, "structure", None)

    def make_leaf(index: str) -> Node:
        return node(leaf, place.at(f"<{index}>", number=index, tree=structure or ""))

    make_leaf("0")
    return TreeNode(place.label, place.key or place.label, structure, make_leaf)


def _stub(parameters: list[Any] | None, result: Any, place: Place) -> Node:
    made = node(result, place.at("()"))
    return StubNode(place.label, None if parameters is None else tuple(parameters), made)


def _protocol(cls: type, place: Place) -> Node:
    """A stand-in for a protocol that is nothing but callable."""
    plan = plan_of(cls.__call__)
    made = node(plan.returns.type, place.at("()"))
    return StubNode(place.label, tuple(p.hint.type for p in plan.params[1:]), made, own_names=True)


def _container(hint: Any, place: Place) -> Node | None:
    """The node of a built-in container; None where `hint` is none."""
    origin, arguments = typing.get_origin(hint), _types.arguments(hint)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        items = [node(item, place.at(f"[{i}]")) for i, item in enumerate(arguments) if item != ()]
        return SequenceNode(tuple, tuple(items))
    if origin is tuple or (origin in _LISTS and arguments):
        build = tuple if origin is tuple else list
        lengths = [
            (f"`{place.label}` of length {n}", _repeated(build, arguments[0], n, place)) for n in _LENGTHS
        ]
        return _choice(place.at(" length"), lengths, soft=True)
    if origin in _DICTS and len(arguments) == 2:
        return _dictionary(arguments[0], arguments[1], place)
    if typing_extensions.is_typeddict(hint):
        hints = typing_extensions.get_type_hints(hint)
        return _mapping({key: node(value, place.at(f'["{key}"]')) for key, value in hints.items()})
    cls: Any = origin or hint
    if _types.is_namedtuple(cls):
        fields = _types.fields_of(hint)
        items = [_field(cls, name, fields.get(name, Any), place) for name in cls._fields]
        return SequenceNode(lambda values: cls(*values), tuple(items))
    return None


def _repeated(build: Callable[[list[Any]], Any], item: Any, length: int, place: Place) -> Node:
    return SequenceNode(build, tuple(node(item, place.at(f"[{i}]")) for i in range(length)))


def _dictionary(key: Any, item: Any, place: Place) -> Node:
    keys = _choices(_types.plain(key))
    if keys is not None:
        return _mapping({key: node(item, place.at(f"[{key!r}]")) for key in keys})
    if key is int:
        names: tuple[Any, ...] = (0, 1)
    elif key is str:
        names = _KEYS
    else:
        raise place.missing(f"has keys of type {_types.text(key)}", "{...}")
    items = {key: node(item, place.at(f"[{key!r}]".replace("'", '"'))) for key in names}
    first = {names[0]: items[names[0]]}
    options = [
        (f"`{place.label}` of 2 items", _mapping(items)),
        (f"`{place.label}` of 1 item", _mapping(first)),
    ]
    return _choice(place.at(" length"), options, soft=True)


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
        raise place.missing(f"has the annotation {_types.text(hint)}, which says no shape", "...")
    if _types.is_protocol(cls) and "__call__" in vars(cls):
        return _protocol(cls, place)
    if cls in place.inside:
        raise UnbuildableError(
            f"`{place.label}` is a {cls.__name__} in a {cls.__name__}", f"add {_EXAMPLE} with one"
        )
    fields = _types.fields_of(hint)
    if issubclass(cls, (jax.Array, np.ndarray)):
        reason = f"`{place.label}` is an array of unknown shape"
        raise UnbuildableError(reason, 'say its shape, as in Float[Array, "n"]')
    if not fields and not dataclasses.is_dataclass(cls):
        init = vars(cls).get("__init__")
        if init is not None and not inspect.isabstract(cls):
            return _constructed(cls, init, place)
        raise place.missing(f"is of type {cls.__name__} and has no default", _value_text(cls))
    if inspect.isabstract(cls):
        raise UnbuildableError(
            f"`{place.label}`: the class {cls.__name__} is abstract", "check a class that is not"
        )
    scope = scope_of(place.label) if place.label in place.apart else ""
    return _instance(cls, fields, dataclasses.replace(place, scope=scope))


def _constructed(cls: type, init: Any, place: Place) -> Node:
    """An instance of a class without annotated fields, by the parameters of its constructor."""
    inner = dataclasses.replace(place, owner=cls.__name__, inside=(*place.inside, cls))
    made: list[tuple[str, Node]] = []
    for param in plan_of(init).params[1:]:
        if param.kind in (param.kind.VAR_POSITIONAL, param.kind.VAR_KEYWORD):
            continue
        at = dataclasses.replace(inner.at(f".{param.name}"), name=param.name)
        made.append((param.name, _or_default(at, param.hint.type, param.default)))
    return RecordNode(place.label, cls, tuple(made), tuple(name for name, _ in made))


def scope_of(label: str) -> str:
    """What the dimension names of an instance begin with where they are its own."""
    return re.sub(r"[^0-9A-Za-z]+", "_", label.removeprefix("self.")).strip("_")


def _value_text(cls: type) -> str:
    return {int: "3", str: '"..."', bytes: 'b"..."'}.get(cls, "...")


def _instance(cls: type, fields: Mapping[str, Any], place: Place) -> Node:
    given = {key: value for example in examples_of(cls)[:1] for key, value in example.items()}
    defaults = _defaults(cls)
    made: list[tuple[str, Node]] = []
    for name, hint in fields.items():
        if name in given:
            made.append(
                (name, _given(given[name], place.at(f".{name}"), f"{place.label}.{name}={given[name]!r}"))
            )
        else:
            made.append((name, _field(cls, name, hint, place, defaults)))
    init = [f.name for f in dataclasses.fields(cls) if f.init] if _generated_init(cls) else None
    return RecordNode(place.label, cls, tuple(made), None if init is None else tuple(init))


def _field(cls: Any, name: str, hint: Any, place: Place, defaults: Mapping[str, Any] | None = None) -> Node:
    known = _namedtuple_defaults(cls) if defaults is None else defaults
    key = f"{cls.__qualname__}.{name}"
    inner = place.at(f".{name}", name=name, key=key, owner=cls.__name__, inside=(*place.inside, cls))
    return _or_default(inner, hint, known.get(name, inspect.Parameter.empty))


def _namedtuple_defaults(cls: Any) -> Mapping[str, Any]:
    return getattr(cls, "_field_defaults", {})


def _defaults(cls: type) -> dict[str, Any]:
    if not dataclasses.is_dataclass(cls):
        return {name: getattr(cls, name) for name in _types.fields_of(cls) if hasattr(cls, name)}
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = _from_factory(field.default_factory)
    return {name: value for name, value in defaults.items() if value is not inspect.Parameter.empty}


def _from_factory(factory: Callable[[], Any]) -> Any:
    """What a factory makes, without making its arrays."""
    try:
        return jax.eval_shape(factory)
    except TypeError:  # it makes something that is no array
        return factory()


def _generated_init(cls: type) -> bool:
    """Whether `dataclass` wrote the constructor of `cls`."""
    if not dataclasses.is_dataclass(cls):
        return False
    code = getattr(inspect.unwrap(cls.__init__), "__code__", None)
    return code is not None and code.co_filename == "<string>"


def examples_of(target: Any) -> list[dict[str, Any]]:
    """What `example` was given on a function or a class (not on a base of the class)."""
    found = target.__dict__.get("__typedfilter_examples__", ()) if hasattr(target, "__dict__") else ()
    return list(found)


def is_abstract(target: Any) -> bool:
    """Whether a function is only declared: abstract, or of a protocol."""
    return bool(getattr(target, "__isabstractmethod__", False))
