"""The fields of an instance: which are looked at, by the option of the class, and what is made of a failure.

One instance, one scope: its fields bind names for one another. Who binds them is a `Binder`'s matter; here
is what the check at run time and a proof have in common.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import jax

from typedfilter._declarations import Check
from typedfilter._reading import dims, kinds
from typedfilter._reading.fields import chosen_axes, may_bind, own_kinds
from typedfilter._reading.kinds import Kind, kind_of
from typedfilter._shapes.standing import depths, holds_arrays
from typedfilter._shapes.switch import refuse_check

F = TypeVar("F")
Kinds: TypeAlias = Mapping[str, Kind]
_CHECK = "__typedfilter_check__"


def choose_check(cls: type, check: Check) -> None:
    """Let the fields of this class be checked as an option says.

    Raises:
        AnnotationError: the option is neither a bool nor "warn".
    """
    refuse_check(check, cls.__qualname__)
    setattr(cls, _CHECK, check)


def check_of(cls: type) -> Check:
    """How the fields of exactly this class are checked."""
    check: Check = vars(cls).get(_CHECK, True)
    return check


@dataclasses.dataclass(frozen=True, eq=False)
class Fields:
    """Fields of one class, in two groups."""

    sharing: Kinds  # those that bind names, which they share
    apart: Kinds  # those that bind none themselves, such as instances
    # what has been seen to fit in the first group: in a scope of its own, shapes and types decide
    fitting: set[Hashable] = dataclasses.field(default_factory=set[Hashable])

    @classmethod
    def of(cls, found: Kinds) -> Fields:
        sharing = {name: kind for name, kind in found.items() if kind.binds or _has_arguments(kind)}
        return cls(sharing, {name: kind for name, kind in found.items() if name not in sharing})

    @property
    def kinds(self) -> Kinds:
        return {**self.sharing, **self.apart}

    def __bool__(self) -> bool:
        return bool(self.sharing or self.apart)

    def remember(self, key: Hashable) -> None:
        if key is not None:
            if len(self.fitting) >= _MOST_REMEMBERED:
                self.fitting.clear()
            self.fitting.add(key)

    def key(self, value: Any) -> Hashable:
        """What decides of an instance whether its fields fit; None where that is not known beforehand."""
        facts: list[Hashable] = []
        for name, kind in self.sharing.items():
            held = getattr(value, name, None)
            simple = isinstance(kind, kinds.Array) and "{" not in kind.hint.dim_str
            if not simple or not (held is None or isinstance(held, jax.Array)):
                return None
            facts.append(None if held is None else (held.shape, held.dtype))
        return tuple(facts)


_MOST_REMEMBERED = 64
_crossing: WeakKeyDictionary[type, Fields] = WeakKeyDictionary()


def _has_arguments(kind: Kind) -> bool:
    return any(isinstance(one, kinds.Class) and one.arguments for one in kind.every)


def fields_of(cls: type, besides: Kinds) -> Fields:
    """The fields of the instances of a class, without those named, as far as names can be bound there."""
    if besides:
        return Fields.of({n: k for n, k in own_kinds(cls).items() if n not in besides and may_bind(k)})
    known = _crossing.get(cls)
    if known is None:
        found = {name: kind for name, kind in own_kinds(cls).items() if may_bind(kind)}
        known = _crossing[cls] = Fields.of(found)
    return known


def fields_in(fields: Kinds, value: Any) -> Kinds:
    """Those of these fields that an instance has, and that hold what they are annotated with.

    A class that is not ours may be annotated with prose: nobody has asked whether a field holds an instance
    of the class that it says, or a dictionary in its place.
    """
    found = {name: kind for name, kind in fields.items() if hasattr(value, name)}
    if _CHECK in vars(type(value)):
        return found
    return {name: kind for name, kind in found.items() if not _is_another(kind, getattr(value, name))}


def _is_another(kind: Kind, held: Any) -> bool:
    """Whether a value, or a part of it, is of another class than is said."""
    match kind:
        case kinds.Record() if kind.keyed:  # of which Python asks no instance
            return not isinstance(held, dict)
        case kinds.Class():
            return kind.refuses and not isinstance(held, kind.cls)
        case kinds.Scalar():
            return not isinstance(held, kind.hint)
        case kinds.Union():
            return all(_is_another(member, held) for member in kind.members)
        case kinds.Each() if isinstance(held, list | tuple):
            return any(_is_another(kind.item, one) for one in held)
        case kinds.Mapping() if isinstance(held, dict):
            return any(_is_another(kind.item, one) for one in held.values())
        case _:
            return False


def fields_fit(
    fields: Kinds, value: Any, attempt: Callable[[Kinds, int], F | None], *, made: bool = False
) -> F | None:
    """None where these fields of an instance fit, of one in a stack of instances, or of a tree of no arrays.

    Args:
        fields: that share names.
        value: the instance.
        attempt: walks them, each array without so many axes in front; binds nothing where that fails, and
            says why.
        made: somebody makes it, to be mapped over perhaps: where one array alone has more axes, it may be a
            stack too. Nobody maps over what has arrived in a body that is annotated with the class.
    """
    held = {name: getattr(value, name) for name in fields_in(fields, value)}
    found = {name: _filled_in(fields[name], value, held) for name in held}
    failure = attempt(found, 0)
    if failure is None or not holds_arrays(held.values()):
        return None
    chosen = chosen_axes(type(value))
    mapped = {name: kind for name, kind in found.items() if name not in chosen}  # along the axis in front
    alone = made or any(axis is not None for axis in chosen.values())
    stack = depths((held[name] for name in mapped), 1 if alone else 2)
    return None if any(attempt(mapped, depth) is None for depth in stack) else failure


def _filled_in(kind: Kind, value: Any, held: Mapping[str, Any]) -> Kind:
    """The kind with `{width}` filled in: there stands the field of that name."""
    if not isinstance(kind, kinds.Array) or "{" not in kind.hint.dim_str:
        return kind
    names = {**getattr(value, "__dict__", {}), **held, "self": value}
    try:
        text = " ".join(dims.interpolate(word, names) for word in kind.hint.dim_str.split())
        return kind_of(kind.hint.dtype[kind.hint.array_type, text])
    except Exception:  # whatever the user's expression raises: jaxtyping is to say it
        return kind
